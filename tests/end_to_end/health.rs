//! Health checks, and what follows from them.

use hull_tests::daemon::wait_until;
use hull_tests::setup::{Setup, with_each_client};

/// Waits until a container's health has this status.
fn until(s: &Setup<'_>, name: &str, status: &str) {
    wait_until(&format!("{name} is {status}"), || {
        let state = s.inspect(name, "/State");
        if state["Health"]["Status"] == status {
            Ok(())
        } else {
            Err(state)
        }
    });
}

/// A container that is healthy as long as it has a file.
fn checked(s: &Setup<'_>, name: &str, more: &[&str]) {
    let mut line = vec!["run", "-d", "--name", name];
    let check = [
        "--health-cmd",
        "echo looked; test -e /ok",
        "--health-interval",
        "20ms",
        "--health-timeout",
        "20s",
        "--health-retries",
        "2",
    ];
    line.extend(check);
    line.extend(more);
    line.extend(["busybox", "sleep", "1000"]);
    let _ = s.run(&line).ok();
}

/// The actions of a container's events so far, without those of execs.
fn actions(s: &Setup<'_>, name: &str) -> Vec<String> {
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |time| time.as_secs())
        + 1;
    let filters = format!("%7B%22container%22:%7B%22{name}%22:true%7D%7D");
    let events = s
        .daemon
        .get(&format!("/events?since=1&until={now}&filters={filters}"));
    let text = events.text();
    let actions = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|event| Some(event["Action"].as_str()?.to_owned()));
    actions
        .filter(|action| !action.starts_with("exec"))
        .collect()
}

#[test]
fn checks_make_a_container_healthy_and_unhealthy() {
    with_each_client(|s| {
        checked(s, "sick", &[]);
        until(s, "sick", "unhealthy");
        let health = s.inspect("sick", "/State/Health");
        assert!(health["FailingStreak"].as_u64() >= Some(2), "{health}");
        assert_eq!(health["Log"][0]["ExitCode"], 1, "{health}");
        assert_eq!(health["Log"][0]["Output"], "looked\n", "{health}");
        let status = s.line("ps --format {{.Status}}");
        assert!(status.ok().ends_with("(unhealthy)"), "{status:?}");
        let _ = s.line("exec sick touch /ok").ok();
        until(s, "sick", "healthy");
        let filtered = |value: &str| {
            let filter = format!("health={value}");
            let names = s.run(&["ps", "--filter", &filter, "--format", "{{.Names}}"]);
            names.ok().to_owned()
        };
        assert_eq!(
            (filtered("healthy"), filtered("none")),
            ("sick".to_owned(), String::new())
        );
        // Nobody checks what stands still, and Docker shows that as unhealthy.
        let _ = s.line("pause sick").ok();
        assert_eq!(s.inspect("sick", "/State/Health/Status"), "unhealthy");
        let _ = s.line("unpause sick").ok();
        until(s, "sick", "healthy");
        let _ = s.line("kill sick").ok();
        let _ = s.line("wait sick").ok();
        assert_eq!(s.inspect("sick", "/State/Health/Status"), "unhealthy");
        let _ = s.line("start sick").ok();
        let log = s.inspect("sick", "/State/Health/Log");
        assert!(
            !log.as_array().unwrap().is_empty(),
            "results stay to be seen: {log}"
        );
        until(s, "sick", "healthy");
        let told: Vec<String> = actions(s, "sick");
        let mut told: Vec<&str> = told.iter().map(String::as_str).collect();
        // A check that the kill meets on its way fails with the container, and may be told before its end.
        let kill = told.iter().position(|&action| action == "kill").unwrap();
        if told.get(kill + 1) == Some(&"health_status: unhealthy") {
            let _ = told.remove(kill + 1);
        }
        let expected = [
            "create",
            "start",
            "health_status: unhealthy",
            "health_status: healthy",
            "pause",
            "unpause",
            "health_status: healthy",
            "kill",
            "die",
            "start",
            "health_status: healthy",
        ];
        assert_eq!(told, expected);
    });
}

#[test]
fn a_check_that_hangs_or_cannot_run_has_failed() {
    with_each_client(|s| {
        let run = |name: &str, command: &str| {
            let _ = s
                .run(&[
                    "run",
                    "-d",
                    "--name",
                    name,
                    "--health-cmd",
                    command,
                    "--health-interval",
                    "20ms",
                    "--health-timeout",
                    "1s",
                    "--health-retries",
                    "1",
                    "busybox",
                    "sleep",
                    "1000",
                ])
                .ok();
            until(s, name, "unhealthy");
            s.inspect(name, "/State/Health/Log/0")
        };
        let hung = run("hung", "echo hi; sleep 1000");
        assert_eq!(hung["ExitCode"], -1, "{hung}");
        assert_eq!(
            hung["Output"], "Health check exceeded timeout (1s): hi\n",
            "{hung}"
        );
        let missing = run("missing", "/nope");
        assert_eq!(missing["ExitCode"], 127, "{missing}");
        let bad = s.daemon.ask(
            "POST",
            "/containers/create",
            br#"{"Image":"busybox","Cmd":["true"],"Healthcheck":{"Test":["CMD","x"],"Interval":5}}"#,
        );
        assert_eq!(bad.status, 400);
        assert!(
            bad.text()
                .contains("Interval in Healthcheck cannot be less than 1ms")
        );
        // Words that are none check nothing, as in Docker.
        let none = s.line("run -d --name none --no-healthcheck busybox sleep 9");
        let _ = none.ok();
        let state = s.inspect("none", "/State");
        assert!(state.get("Health").is_none(), "{state}");
    });
}

#[test]
fn failures_do_not_count_in_the_start_period() {
    with_each_client(|s| {
        checked(
            s,
            "slow",
            &[
                "--health-start-period",
                "1000s",
                "--health-start-interval",
                "20ms",
            ],
        );
        wait_until("five results", || {
            let health = s.inspect("slow", "/State/Health");
            let count = health["Log"].as_array().map_or(0, Vec::len);
            if count == 5 { Ok(()) } else { Err(health) }
        });
        let health = s.inspect("slow", "/State/Health");
        assert_eq!(
            (&health["Status"], &health["FailingStreak"]),
            (&"starting".into(), &0.into())
        );
        let status = s.line("ps --format {{.Status}}");
        assert!(status.ok().ends_with("(health: starting)"), "{status:?}");
        let _ = s.line("exec slow touch /ok").ok();
        until(s, "slow", "healthy");
    });
}

#[test]
fn a_new_daemon_goes_on_with_what_the_last_one_knew() {
    with_each_client(|s| {
        checked(s, "kept", &[]);
        let _ = s.line("exec kept touch /ok").ok();
        until(s, "kept", "healthy");
        s.daemon.kill();
        s.daemon.restart();
        assert_eq!(s.inspect("kept", "/State/Health/Status"), "healthy");
        let _ = s.line("exec kept rm /ok").ok();
        until(s, "kept", "unhealthy");
    });
}

/// Hull's own: asked for by a member of the request that other engines do not look at.
#[test]
fn an_unhealthy_container_is_stopped_killed_or_restarted_if_asked() {
    with_each_client(|s| {
        let create = |name: &str, action: &str, policy: &str| {
            let body = serde_json::json!({
                "Image": "busybox", "Cmd": ["sleep", "1000"], "StopSignal": "KILL",
                "Healthcheck": {
                    "Test": ["CMD", "false"], "Interval": 20_000_000, "Retries": 1,
                },
                "HostConfig": {"RestartPolicy": {"Name": policy}},
                "Hull": {"OnUnhealthy": action},
            });
            let body = serde_json::to_vec(&body).unwrap();
            let made = s
                .daemon
                .ask("POST", &format!("/containers/create?name={name}"), &body);
            assert_eq!(made.status, 201, "{made:?}");
            assert_eq!(s.inspect(name, "/Hull/OnUnhealthy"), action);
            assert_eq!(s.line(&format!("start {name}")).ok(), name);
        };
        create("stopped", "stop", "always");
        create("killed", "kill", "no");
        create("again", "restart", "no");
        create("policy", "kill", "always");
        for name in ["stopped", "killed"] {
            wait_until("its end", || {
                let state = s.inspect(name, "/State");
                if state["Status"] == "exited" {
                    Ok(())
                } else {
                    Err(state)
                }
            });
        }
        for name in ["again", "policy"] {
            wait_until("a restart", || {
                let count = s.inspect(name, "/RestartCount");
                if count.as_u64() >= Some(1) {
                    Ok(())
                } else {
                    Err(count)
                }
            });
        }
        let refused = s.daemon.ask(
            "POST",
            "/containers/create",
            br#"{"Image":"busybox","Cmd":["true"],"Hull":{"OnUnhealthy":"destroy"}}"#,
        );
        assert_eq!(refused.status, 400, "{refused:?}");
    });
}
