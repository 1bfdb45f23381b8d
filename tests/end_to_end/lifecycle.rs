//! A container's life: start, stop, kill, pause, restart, wait, rename, remove.

use hull_tests::setup::with_each_client;

#[test]
fn a_detached_container_lives_until_it_is_stopped() {
    with_each_client(|s| {
        let id = s
            .script(
                "run -d --name web busybox",
                "trap 'exit 7' TERM; while :; do sleep 0.1; done",
            )
            .ok()
            .to_owned();
        assert_eq!(id.len(), 64);
        assert_eq!(
            s.run(&["ps", "--format", "{{.Names}} {{.Image}} {{.State}}"])
                .ok(),
            "web busybox running"
        );
        assert_eq!(s.line("stop -t 20 web").ok(), "web");
        assert_eq!(s.inspect("web", "/State/ExitCode"), 7);
        assert_eq!(s.inspect("web", "/State/Status"), "exited");
        assert_eq!(s.line("stop web").ok(), "web", "stopping twice is no error");
        assert_eq!(s.line("start web").ok(), "web");
        assert_eq!(s.inspect("web", "/State/Running"), true);
        assert_eq!(s.line("restart -t 0 web").ok(), "web");
        assert_eq!(s.line("kill -s KILL web").ok(), "web");
        assert_eq!(s.line("wait web").ok(), "137");
        assert_eq!(s.line("rm web").ok(), "web");
        assert!(
            s.line("inspect web")
                .fails(1)
                .contains("No such object: web")
        );
    });
}

#[test]
fn a_process_that_ignores_its_signal_is_killed_after_the_timeout() {
    with_each_client(|s| {
        let _ = s
            .script(
                "run -d --name deaf busybox",
                "trap '' TERM; while :; do sleep 0.1; done",
            )
            .ok();
        assert_eq!(s.line("stop -t 1 deaf").ok(), "deaf");
        assert_eq!(s.inspect("deaf", "/State/ExitCode"), 137);
    });
}

#[test]
fn pausing_stops_and_unpausing_goes_on() {
    with_each_client(|s| {
        let _ = s.line("run -d --name pp busybox sleep 1000").ok();
        assert_eq!(s.line("pause pp").ok(), "pp");
        assert_eq!(s.inspect("pp", "/State/Paused"), true);
        assert!(s.line("ps --format {{.Status}}").ok().ends_with("(Paused)"));
        assert!(s.line("pause pp").fails(1).contains("is already paused"));
        assert_eq!(s.line("unpause pp").ok(), "pp");
        assert!(s.line("unpause pp").fails(1).contains("is not paused"));
        assert_eq!(s.inspect("pp", "/State/Status"), "running");
        assert_eq!(s.line("rm -f pp").ok(), "pp");
    });
}

#[test]
fn names_change_and_stay_unique() {
    with_each_client(|s| {
        let _ = s.line("create --name one busybox true").ok();
        let _ = s.line("create --name two busybox true").ok();
        assert!(
            s.line("rename one two")
                .fails(1)
                .contains("is already in use")
        );
        let _ = s.line("rename one three").ok();
        let names = s.line("ps -a --format {{.Names}}");
        let mut names: Vec<&str> = names.ok().lines().collect();
        names.sort_unstable();
        assert_eq!(names, ["three", "two"]);
        assert_eq!(s.line("start -a three").code, 0);
    });
}

#[test]
fn starting_and_attaching_shows_the_output_and_passes_the_code_on() {
    with_each_client(|s| {
        let _ = s.script("create -i --name cc busybox", "cat; exit 4").ok();
        let started = s
            .client
            .feed(&s.daemon, &["start", "-ai", "cc"], b"typed\n");
        assert_eq!(
            (started.stdout.as_str(), started.code),
            ("typed\n", 4),
            "{started:?}"
        );
    });
}

#[test]
fn a_running_container_is_removed_only_by_force() {
    with_each_client(|s| {
        let _ = s.line("run -d --name rr busybox sleep 1000").ok();
        let refused = s.line("rm rr");
        assert!(
            refused.fails(1).contains(
                "container is running: stop the container before removing or force remove"
            ),
            "{refused:?}"
        );
        assert_eq!(s.line("rm -f rr").ok(), "rr");
        assert!(s.line("rm rr").fails(1).contains("No such container: rr"));
        let unknown = s.line("start rr");
        assert!(
            unknown.fails(1).contains("No such container: rr"),
            "{unknown:?}"
        );
    });
}

#[test]
fn top_shows_the_processes() {
    with_each_client(|s| {
        let _ = s.line("run -d --name tt busybox sleep 1234").ok();
        let top = s.line("top tt");
        let mut lines = top.ok().lines();
        assert!(lines.next().unwrap().starts_with("UID"));
        assert!(lines.next().unwrap().ends_with("sleep 1234"));
    });
}

#[test]
fn a_restart_policy_starts_it_again() {
    with_each_client(|s| {
        let _ = s
            .script(
                "run -d --name again --restart on-failure:2 busybox",
                "exit 5",
            )
            .ok();
        hull_tests::daemon::wait_until("two restarts", || {
            let (count, status) = (
                s.inspect("again", "/RestartCount"),
                s.inspect("again", "/State/Status"),
            );
            if count == 2 && status == "exited" {
                Ok(())
            } else {
                Err((count, status))
            }
        });
        assert_eq!(s.inspect("again", "/State/ExitCode"), 5);
    });
}

/// What keeps ending itself, when told so from inside, and is started again.
const AGAIN: &str = "trap 'exit 5' USR1; while :; do sleep 0.1; done";

#[test]
fn waiting_ends_with_a_run_even_if_a_policy_starts_the_next() {
    with_each_client(|s| {
        let _ = s
            .script("run -d --name again --restart always busybox", AGAIN)
            .ok();
        let waited = std::thread::scope(|scope| {
            let wait = scope.spawn(|| s.daemon.ask("POST", "/containers/again/wait", &[]));
            hull_tests::daemon::wait_until("the end of the waiting", || {
                let _ = s.line("exec again kill -USR1 1");
                if wait.is_finished() { Ok(()) } else { Err(()) }
            });
            wait.join().expect("the reply")
        });
        assert_eq!(waited.json()["StatusCode"], 5, "{waited:?}");
        assert_eq!(s.line("rm -f again").ok(), "again");
    });
}

#[test]
fn a_container_that_waits_to_be_restarted_can_be_told_not_to() {
    with_each_client(|s| {
        let _ = s
            .line("run -d --name loop --restart always busybox false")
            .ok();
        hull_tests::daemon::wait_until("some restarts", || {
            let (count, state) = (
                s.inspect("loop", "/RestartCount"),
                s.inspect("loop", "/State"),
            );
            if count.as_u64() >= Some(4) && state["Restarting"] == true {
                Ok(())
            } else {
                Err((count, state))
            }
        });
        let start = s.daemon.ask("POST", "/containers/loop/start", &[]);
        assert_eq!(
            start.status, 304,
            "a container that is being restarted counts as running"
        );
        assert_eq!(s.line("kill loop").ok(), "loop");
        assert_eq!(s.line("wait loop").ok(), "1");
        assert_eq!(s.inspect("loop", "/State/Status"), "exited");
        assert_eq!(s.line("rm loop").ok(), "loop");
    });
}

#[test]
fn memory_that_runs_out_is_told_while_the_container_goes_on() {
    if hull_tests::host::reference().is_some() {
        return; // dockerd says nothing of it on hosts with version 1 control groups.
    }
    with_each_client(|s| {
        let eat = "sh -c 'x=a; while :; do x=$x$x; done'; sleep 1000";
        let _ = s.script("run -d --name oom -m 20m busybox", eat).ok();
        hull_tests::daemon::wait_until("the news", || {
            let state = s.inspect("oom", "/State");
            if state["OOMKilled"] == true {
                Ok(())
            } else {
                Err(state)
            }
        });
        assert_eq!(s.inspect("oom", "/State/Running"), true);
        let filters = "%7B%22container%22:%7B%22oom%22:true%7D,%22event%22:%7B%22oom%22:true%7D%7D";
        let until = std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |time| time.as_secs() + 1);
        let events = s
            .daemon
            .get(&format!("/events?since=1&until={until}&filters={filters}"));
        assert!(events.text().contains("\"oom\""), "{events:?}");
        // What a new daemon finds is no less.
        s.daemon.kill();
        s.daemon.restart();
        assert_eq!(s.inspect("oom", "/State/OOMKilled"), true);
        assert_eq!(s.line("rm -f oom").ok(), "oom");
    });
}

/// Whoever asks something of a container hears that it runs, or that it does not: never of what is in between.
#[test]
fn an_end_in_the_middle_of_a_request_is_an_end() {
    hull_tests::setup::with(hull_tests::client::Client::available()[0], |s| {
        for round in 0..15 {
            let body = format!(
                r#"{{"Image":"busybox","Cmd":["usleep","{}"],"HostConfig":{{"NetworkMode":"none"}}}}"#,
                round * 2000
            );
            let name = format!("brief{round}");
            let ask = |method: &str, path: &str, body: &str| {
                let path = format!("/containers/{name}{path}");
                s.daemon.ask(method, &path, body.as_bytes())
            };
            let target = format!("/containers/create?name={name}");
            assert_eq!(s.daemon.ask("POST", &target, body.as_bytes()).status, 201);
            assert_eq!(ask("POST", "/start", "").status, 204);
            while ask("GET", "/json", "").json()["State"]["Running"] == true {
                let paused = ask("POST", "/pause", "");
                assert!(matches!(paused.status, 204 | 409), "{paused:?}");
                let thawed = ask("POST", "/unpause", "");
                // It may have ended just before it froze.
                let fine = matches!(thawed.status, 204 | 409);
                let ended = thawed.text().contains("is not paused");
                assert!(fine || ended, "{thawed:?}");
                let seen = ask("GET", "/archive?path=/etc/hostname", "");
                assert_eq!(seen.status, 200, "{seen:?}");
                let made = ask("POST", "/exec", r#"{"Cmd":["true"]}"#);
                assert!(matches!(made.status, 201 | 409), "{made:?}");
                if made.status == 201 {
                    let id = made.json()["Id"].as_str().unwrap_or_default().to_owned();
                    let path = format!("/exec/{id}/start");
                    let run = s.daemon.ask("POST", &path, br#"{"Detach":true}"#);
                    assert!(matches!(run.status, 200 | 404 | 409), "{run:?}");
                }
            }
            assert_eq!(ask("DELETE", "", "").status, 204);
        }
    });
}

/// Sends a request about the container `saved`.
fn about_saved(
    s: &hull_tests::setup::Setup<'_>,
    method: &str,
    path: &str,
    body: &str,
) -> hull_tests::http::Reply {
    s.daemon
        .ask(method, &format!("/containers/saved{path}"), body.as_bytes())
}

/// Real where there is a CRIU that works on this kernel; elsewhere the error is what is tested.
#[test]
fn a_container_is_saved_and_goes_on_from_there() {
    if hull_tests::host::reference().is_some() {
        return; // dockerd has it in experimental mode only.
    }
    // The real client knows of checkpoints only where the daemon is experimental.
    hull_tests::setup::with(hull_tests::client::Client::Hull, |s| {
        let count = "i=0; while :; do i=$((i+1)); echo $i > /n; sleep 0.05; done";
        let mut line = vec!["run", "-d", "--name", "saved", "--network", "none"];
        line.extend(["busybox", "sh", "-c", count]);
        let _ = s.run(&line).ok();
        let ask = |method: &str, path: &str, body: &str| about_saved(s, method, path, body);
        let bad = ask("POST", "/checkpoints", r#"{"CheckpointID":"../up"}"#);
        assert_eq!(bad.status, 400, "{bad:?}");
        assert_eq!(ask("DELETE", "/checkpoints/none", "").status, 404);
        assert_eq!(ask("POST", "/start?checkpoint=none", "").status, 404);
        let one = r#"{"CheckpointID":"one","Exit":true}"#;
        let made = ask("POST", "/checkpoints", one);
        if made.status != 201 {
            eprintln!("skipped: no CRIU that works here: {}", made.text());
            assert!(made.text().contains("Cannot checkpoint container saved"));
            assert_eq!(s.inspect("saved", "/State/Status"), "running");
            assert_eq!(ask("GET", "/checkpoints", "").text().trim(), "[]");
            return;
        }
        let _ = s.line("wait saved").ok();
        assert_eq!(ask("GET", "/checkpoints", "").json()[0]["Name"], "one");
        assert_eq!(s.line("checkpoint ls saved").ok(), "CHECKPOINT NAME\none");
        assert_eq!(s.line("start --checkpoint one saved").ok(), "");
        goes_on(s);
        let more = "checkpoint create --leave-running saved two";
        assert_eq!(s.line(more).ok(), "two");
        goes_on(s);
        assert_eq!(s.line("checkpoint rm saved two").ok(), "");
        assert_eq!(ask("DELETE", "/checkpoints/one", "").status, 204);
        assert_eq!(s.line("checkpoint ls saved").ok(), "CHECKPOINT NAME");
        assert_eq!(s.line("rm -f saved").ok(), "saved");
    });
}

/// Waits until the container `saved` counts further.
fn goes_on(s: &hull_tests::setup::Setup<'_>) {
    let number = || {
        let read = s.line("exec saved cat /n");
        read.stdout.trim().parse::<u32>().unwrap_or(0)
    };
    let first = number().max(1);
    hull_tests::daemon::wait_until("it goes on", || {
        let now = number();
        if now > first {
            Ok(())
        } else {
            Err((first, now))
        }
    });
}
