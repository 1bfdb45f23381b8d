//! Hooks: where, when and with what they run, and what becomes of a container whose hooks fail.

mod kit;

use kit::{Host, stderr};
use rustix::event::{PollFd, PollFlags};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::OwnedFd;

const KINDS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// A configuration whose hooks of every kind run a script of the host's or the container's shell. What
/// they write to `$LOG` is in the file that is returned.
fn with_hooks(host: &Host, script: &str, env: Option<&[&str]>) -> (Value, std::path::PathBuf) {
    let log = host.path("log");
    fs::create_dir_all(host.path("rootfs/log")).expect("made");
    fs::create_dir_all(&log).expect("made");
    let mut config = host.config("sleep 0");
    let mount = json!({"destination": "/log", "type": "bind", "source": log, "options": ["bind"]});
    config["mounts"].as_array_mut().expect("a list").push(mount);
    for kind in KINDS {
        let place = if kind == "startContainer" {
            "/log/all".to_owned()
        } else {
            log.join("all").display().to_string()
        };
        let script = format!("KIND={kind} LOG={place}; {script}");
        let mut hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        if let Some(env) = env {
            hook["env"] = json!(env);
        }
        config["hooks"][kind] = json!([hook]);
    }
    (config, log.join("all"))
}

/// The first process of a container.
fn process_of(host: &Host, id: &str) -> OwnedFd {
    let state = host.call(&["state", id]);
    let state: Value = serde_json::from_slice(&state.stdout).expect("a state");
    let pid = i32::try_from(state["pid"].as_i64().expect("a number")).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("opened")
}

fn wait_for_end(process: &OwnedFd) {
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    rustix::event::poll(&mut ended, None).expect("ended");
}

const PATH: &[&str] = &["PATH=/bin:/usr/bin", "WORD=of the hook"];

#[test]
fn all_six_kinds_run_in_order_with_the_state_of_the_moment() {
    let Some(host) = Host::new() else { return };
    let (mut config, log) = with_hooks(&host, "echo $KIND $(cat) >> $LOG", Some(PATH));
    config["annotations"] = json!({"key": "value"});
    host.create("order", config);
    let kinds = |log: &std::path::Path| {
        let text = fs_err::read_to_string(log).expect("read");
        let lines = text.lines().map(|line| {
            let (kind, state) = line.split_once(' ').expect("two words");
            let state: Value = serde_json::from_str(state).expect("JSON");
            assert_eq!(state["id"], "order");
            assert_eq!(state["annotations"], json!({"key": "value"}));
            assert_eq!(
                state["bundle"],
                host.path("").to_string_lossy().trim_end_matches('/')
            );
            assert_eq!(
                state["pid"].as_i64().is_some_and(|pid| pid > 1),
                kind != "poststop"
            );
            (
                kind.to_owned(),
                state["status"].as_str().expect("a word").to_owned(),
            )
        });
        lines.collect::<Vec<_>>()
    };
    let of = |kinds: &[(&str, &str)]| {
        let owned = kinds
            .iter()
            .map(|(kind, status)| ((*kind).to_owned(), (*status).to_owned()));
        owned.collect::<Vec<_>>()
    };
    let created = [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
    ];
    assert_eq!(kinds(&log), of(&created));
    let process = process_of(&host, "order");
    let start = host.call(&["start", "order"]);
    assert!(start.status.success(), "{}", stderr(&start));
    // `start` does not wait for the container's own hook.
    wait_for_end(&process);
    assert!(host.call(&["delete", "--force", "order"]).status.success());
    let mut all = kinds(&log);
    assert_eq!(all.pop(), of(&[("poststop", "stopped")]).pop());
    // These two run in two processes at the same time.
    all[3..].sort();
    let started = [("poststart", "running"), ("startContainer", "created")];
    assert_eq!(all[..3], of(&created));
    assert_eq!(all[3..], of(&started));
}

#[test]
fn hooks_run_in_the_namespaces_of_their_kind() {
    let Some(host) = Host::new() else { return };
    let script =
        "echo $KIND $(readlink /proc/self/ns/net) $(readlink /proc/self/ns/mnt) $(pwd) >> $LOG";
    let (mut config, log) = with_hooks(&host, script, Some(PATH));
    config["process"]["cwd"] = json!("/tmp");
    let (code, _, err) = host.run("where", config);
    assert_eq!(code, 0, "{err}");
    let text = fs_err::read_to_string(log).expect("read");
    let ours = |kind: &str| {
        let link = fs::read_link(format!("/proc/self/ns/{kind}")).expect("read");
        link.to_string_lossy().into_owned()
    };
    let bundle = host
        .path("")
        .to_string_lossy()
        .trim_end_matches('/')
        .to_owned();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let inside = matches!(words[0], "createContainer" | "startContainer");
        assert_eq!(words[1] != ours("net"), inside, "{line}");
        assert_eq!(words[2] != ours("mnt"), inside, "{line}");
        let place = match words[0] {
            "createContainer" => format!("{bundle}/rootfs"),
            "startContainer" => "/tmp".to_owned(),
            _ => bundle.clone(),
        };
        assert_eq!(words[3], place, "{line}");
    }
    assert_eq!(text.lines().count(), KINDS.len());
}

#[test]
fn an_environment_is_the_hooks_own_or_the_callers() {
    let Some(host) = Host::new() else { return };
    let script = "echo $KIND ${WORD:-none} ${FROM_US:-none} ${INSIDE:-none} >> $LOG";
    for (env, runtime, container) in [
        (Some(PATH), "of the hook none none", "of the hook none none"),
        (Some(&[][..]), "none none none", "none none none"),
        (None, "none yes none", "none none yes"),
    ] {
        let (mut config, log) = with_hooks(&host, script, env);
        let _ = fs::remove_file(&log);
        config["process"]["env"] = json!(["PATH=/bin", "INSIDE=yes"]);
        host.write(config, "env");
        let output = host
            .command(&["run", "env"])
            .env("FROM_US", "yes")
            .output()
            .expect("runs");
        assert!(output.status.success(), "{}", stderr(&output));
        let text = fs_err::read_to_string(&log).expect("read");
        for line in text.lines() {
            let (kind, words) = line.split_once(' ').expect("two words");
            let said = if kind == "startContainer" {
                container
            } else {
                runtime
            };
            assert_eq!(words, said, "{kind}");
        }
        assert_eq!(text.lines().count(), KINDS.len());
    }
}

#[test]
fn a_failure_before_the_start_undoes_the_container() {
    let Some(host) = Host::new() else { return };
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
    ] {
        for (script, more, said) in [
            (
                "echo out; echo err >&2; exit 4",
                json!({}),
                "exit status 4, stdout: out\\n, stderr: err\\n",
            ),
            (
                "kill -9 $$",
                json!({}),
                "signal: killed, stdout: , stderr: ",
            ),
            (
                "sleep 100",
                json!({"timeout": 1}),
                "hook ran past specified timeout of 1.0s",
            ),
            (
                "",
                json!({"path": "/nosuch"}),
                "fork/exec /nosuch: no such file or directory",
            ),
        ] {
            let mut config = host.config("echo ran");
            let mut hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": PATH});
            for (key, value) in more.as_object().expect("an object") {
                hook[key] = value.clone();
            }
            let good = json!({"path": "/bin/sh", "args": ["sh", "-c", "true"], "env": PATH});
            config["hooks"][kind] = json!([good, hook, good]);
            let (code, out, err) = host.run("failing", config);
            let said = format!("error running {kind} hook #1: {said}");
            assert!(code == 1 && err.contains(&said), "{err}");
            assert_eq!(out, "");
            assert!(!host.path("state/failing").exists());
        }
    }
}

#[test]
fn a_failing_start_container_hook_is_told_where_the_container_writes() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("echo ran");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "exit 4"]});
    config["hooks"]["startContainer"] = json!([hook]);
    host.create("late", config);
    let process = process_of(&host, "late");
    assert!(host.call(&["start", "late"]).status.success());
    wait_for_end(&process);
    let text = fs_err::read_to_string(host.path("output")).expect("read");
    assert!(
        text.contains("error running startContainer hook #0: exit status 4"),
        "{text}"
    );
    assert!(!text.contains("ran\n"));
    assert!(host.call(&["delete", "late"]).status.success());
}

#[test]
fn a_failure_after_the_start_ends_it_and_one_after_the_end_is_a_warning() {
    let Some(host) = Host::new() else { return };
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 4"]}]);
    let mut config = host.config("exec sleep 1000");
    config["hooks"]["poststart"] = hook.clone();
    host.create("after", config);
    let start = host.call(&["start", "after"]);
    assert_eq!(start.status.code(), Some(1));
    assert!(stderr(&start).contains("error running poststart hook #0: exit status 4"));
    assert_eq!(host.status("after"), "stopped");
    assert!(host.call(&["delete", "after"]).status.success());
    let mut config = host.config("echo ran");
    config["hooks"]["poststop"] = hook;
    let (code, out, err) = host.run("after", config);
    assert_eq!((code, out.as_str()), (0, "ran\n"), "{err}");
    assert!(
        err.contains("error running poststop hook #0: exit status 4"),
        "{err}"
    );
    assert!(!host.path("state/after").exists());
}
