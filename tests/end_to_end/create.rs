//! What `create`, `run` and `update` ask for beside the plain things, and what becomes of it.

use hull_tests::client::Client;
use hull_tests::command::Finished;
use hull_tests::host::reference;
use hull_tests::setup::{Setup, with, with_each_client};
use std::path::Path;

/// What a shell says in a container of its own, which is run with `flags`.
fn script(s: &Setup<'_>, flags: &str, text: &str) -> Finished {
    let mut words = vec!["run", "--rm"];
    words.extend(flags.split(' '));
    words.extend(["busybox", "sh", "-c", text]);
    s.run(&words)
}

/// A limit of a running container, as it sees it itself; control groups of versions 1 and 2.
fn limit(s: &Setup<'_>, name: &str, v1: &str, v2: &str) -> String {
    let script = format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}");
    s.run(&["exec", name, "sh", "-c", &script]).ok().to_owned()
}

#[test]
fn an_init_reaps_passes_signals_on_and_ends_with_its_command() {
    with_each_client(|s| {
        let shown = script(
            s,
            "--init",
            "tr '\\0' ' ' </proc/1/cmdline; cat /proc/1/comm; ls -d /proc/[0-9]*",
        );
        let lines: Vec<&str> = shown.ok().lines().collect();
        assert!(
            lines[0].starts_with("/sbin/docker-init -- sh -c"),
            "{shown:?}"
        );
        assert!(shown.stdout.contains("docker-init\n"), "{shown:?}");
        assert!(shown.stdout.contains("/proc/1\n"), "{shown:?}");
        let code = script(s, "--init -u 1000", "id -u; exit 7");
        assert_eq!((code.stdout.as_str(), code.code), ("1000\n", 7), "{code:?}");
        let log = script(s, "--init -u 1000", "echo logged >/proc/1/fd/1");
        assert_eq!(log.ok(), "logged");
        let killed = script(s, "--init", "kill -9 $$");
        assert_eq!(killed.code, 137, "{killed:?}");
        // A child whose parent has gone is reaped: nothing is left in state Z.
        let orphan = script(
            s,
            "--init",
            "(sh -c 'exit 0' &) ; for i in 1 2 3 4 5 6 7 8 9; do grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null || exit 0; sleep 1; done; exit 1",
        );
        assert_eq!(orphan.code, 0, "{orphan:?}");
        // SIGTERM reaches the command, which has a handler: docker stop need not wait and kill.
        let _ = s
            .script(
                "run -d --name inits --init busybox",
                "trap 'exit 9' TERM; touch /ready; while :; do sleep 0.1; done",
            )
            .ok();
        let waited = s.script("exec inits", "while ! test -e /ready; do sleep 0.1; done");
        assert_eq!(waited.code, 0, "{waited:?}");
        let _ = s.line("stop -t 60 inits").ok();
        assert_eq!(s.inspect("inits", "/State/ExitCode"), 9);
        let missing = s.line("run --rm --init busybox nosuch");
        assert_eq!(missing.code, 127, "{missing:?}");
    });
}

#[test]
fn limits_and_policies_are_updated_while_a_container_runs() {
    with_each_client(|s| {
        let _ = s.line("run -d --name up -m 64m busybox sleep 1000").ok();
        let changed = s.line(
            "update -m 96m --memory-swap 128m --pids-limit 77 --cpus 0.5 --restart on-failure:3 up",
        );
        assert_eq!(changed.ok(), "up", "{changed:?}");
        assert_eq!(
            limit(s, "up", "memory/memory.limit_in_bytes", "memory.max"),
            "100663296"
        );
        assert_eq!(limit(s, "up", "pids/pids.max", "pids.max"), "77");
        assert!(limit(s, "up", "cpu/cpu.cfs_quota_us", "cpu.max").starts_with("50000"));
        assert_eq!(s.inspect("up", "/HostConfig/Memory"), 96 << 20);
        assert_eq!(s.inspect("up", "/HostConfig/NanoCpus"), 500_000_000);
        assert_eq!(
            s.inspect("up", "/HostConfig/RestartPolicy/MaximumRetryCount"),
            3
        );
        let few = s.line("update -m 100 up");
        assert!(
            few.fails(1).contains("Minimum memory limit allowed is 6MB"),
            "{few:?}"
        );
        let quota = s.line("update --cpu-quota 50000 up");
        assert!(
            quota.fails(1).contains(
                "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"
            ),
            "{quota:?}"
        );
        assert_eq!(s.line("update --pids-limit -1 up").ok(), "up");
        assert_eq!(limit(s, "up", "pids/pids.max", "pids.max"), "max");
        // What is kept outlives the daemon, and a stopped container starts with it.
        s.daemon.kill();
        s.daemon.restart();
        assert_eq!(s.inspect("up", "/HostConfig/Memory"), 96 << 20);
        let _ = s.line("restart -t 0 up").ok();
        assert_eq!(
            limit(s, "up", "memory/memory.limit_in_bytes", "memory.max"),
            "100663296"
        );
        let _ = s.line("create --name gone --rm busybox").ok();
        let policy = s.line("update --restart always gone");
        assert!(
            policy.fails(1).contains(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
            ),
            "{policy:?}"
        );
    });
}

#[test]
fn process_ids_and_memory_are_shared_with_another_container() {
    with_each_client(|s| {
        let _ = s
            .line("run -d --name donor --ipc shareable --shm-size 8m busybox sleep 1000")
            .ok();
        let _ = s.script("exec donor", "echo hello >/dev/shm/word").ok();
        let read = script(
            s,
            "--ipc container:donor",
            "cat /dev/shm/word; readlink /proc/self/ns/ipc",
        );
        let namespace = s.line("exec donor readlink /proc/self/ns/ipc");
        assert_eq!(read.ok(), format!("hello\n{}", namespace.ok()));
        let seen = script(s, "--pid container:donor", "tr '\\0' ' ' </proc/1/cmdline");
        assert_eq!(seen.ok().trim(), "sleep 1000");
        let _ = s.line("run -d --name alone busybox sleep 1000").ok();
        let refused = s.line("run --rm --ipc container:alone busybox true");
        assert!(
            refused.fails(125).contains(
                "non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
            ),
            "{refused:?}"
        );
        let missing = s.line("create --pid container:nosuch busybox");
        assert!(
            missing.stderr.contains("No such container: nosuch"),
            "{missing:?}"
        );
        let _ = s.line("stop -t 0 donor").ok();
        let stopped = s.line("run --rm --pid container:donor busybox true");
        assert!(
            stopped
                .fails(125)
                .contains("failed to join PID namespace: container"),
            "{stopped:?}"
        );
        let shm = s.daemon.path("run").join("shm");
        let left = std::fs::read_dir(&shm).map_or(0, Iterator::count);
        assert_eq!(left, 0, "shared memory is gone with its container");
    });
}

#[test]
fn options_that_other_systems_have_are_refused_with_the_reason() {
    with_each_client(|s| {
        for (line, code, text) in [
            (
                "run --rm --isolation hyperv busybox",
                125,
                "invalid isolation (hyperv): linux only supports 'default'",
            ),
            (
                "run --rm --storage-opt size=1G busybox",
                125,
                "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            ),
            (
                "run --rm --security-opt nope busybox",
                125,
                "nvalid --security-opt",
            ),
            (
                "run --rm --cap-add NOPE busybox",
                125,
                "invalid CapAdd: unknown capability: \"CAP_NOPE\"",
            ),
            (
                "run --rm --uts host --hostname x busybox",
                125,
                "conflicting options: hostname and the UTS mode",
            ),
            (
                "run --rm --gpus all busybox true",
                125,
                "could not select device driver \"\" with capabilities: [[gpu]]",
            ),
            (
                "run --rm --device /dev/nosuch busybox true",
                127,
                "error gathering device information while adding custom device \"/dev/nosuch\": no such file or directory",
            ),
            (
                "run --rm --runtime nosuch busybox true",
                125,
                "unknown or invalid runtime name: nosuch",
            ),
        ] {
            let refused = s.line(line);
            assert!(refused.fails(code).contains(text), "{line}: {refused:?}");
        }
        assert_eq!(s.line("ps -aq").ok(), "");
    });
}

/// What a vendor says of a device that is `node` on the host.
fn device_document(node: &str, driver: &Path) -> String {
    serde_json::json!({
        "cdiVersion": "0.6.0",
        "kind": "hull.test/box",
        "containerEdits": {"env": ["EVERY=box"]},
        "devices": [{"name": "one", "containerEdits": {
            "env": ["BOX=one"],
            "deviceNodes": [{"path": "/dev/box", "hostPath": node, "permissions": "r"}],
            "mounts": [{"hostPath": driver, "containerPath": "/driver", "options": ["ro", "nosuid", "nodev", "bind"]}],
        }}],
    })
    .to_string()
}

/// Real docker clients know such names only since 25.
#[test]
fn devices_and_inits_are_of_the_daemons_choice() {
    // A device that containers do not have by themselves.
    let there = |node: &&str| Path::new(node).exists();
    let nodes = ["/dev/fuse", "/dev/loop-control", "/dev/kmsg"];
    let node = nodes.into_iter().find(there);
    if reference().is_some() || !hull_tests::can_run("a spare device", node.is_some()) {
        return;
    }
    let node = node.unwrap_or_default();
    with(Client::Hull, |s| {
        let directory = tempfile::tempdir().expect("a directory");
        let (documents, driver) = (
            directory.path().join("cdi"),
            directory.path().join("driver"),
        );
        fs_err::create_dir(&documents).expect("a directory");
        fs_err::create_dir(&driver).expect("a directory");
        fs_err::write(driver.join("version"), "7").expect("a file");
        let document = device_document(node, &driver);
        fs_err::write(documents.join("box.json"), document).expect("a document");
        let init = directory.path().join("init");
        let text = "#!/bin/sh\nshift\necho by $0\nexec \"$@\"\n";
        fs_err::write(&init, text).expect("an init");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs_err::set_permissions(&init, mode).expect("an executable");
        s.daemon.stop();
        s.daemon.set_arguments(&[
            &format!("--cdi-spec-dir={}", documents.display()),
            &format!("--init-path={}", init.display()),
        ]);
        s.daemon.restart();
        let info = s.daemon.get("/info").json();
        assert_eq!(info["CDISpecDirs"][0], documents.display().to_string());
        assert_eq!(info["InitBinary"], init.display().to_string());
        let seen = script(
            s,
            "--net=none --device hull.test/box=one",
            "echo $EVERY $BOX $(cat /driver/version); (: </dev/box) && echo open; (: >/dev/box) 2>/dev/null || echo denied; (: >/driver/x) 2>/dev/null || echo read-only",
        );
        assert_eq!(seen.ok(), "box one 7\nopen\ndenied\nread-only");
        let none = script(s, "--net=none --device hull.test/box=two", "true");
        let told = "CDI device injection failed: unresolvable CDI devices hull.test/box=two";
        assert!(none.fails(125).contains(told), "{none:?}");
        let run = script(s, "--net=none --init", "echo in $$; exit 5");
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (5, "by /sbin/docker-init\nin 1\n"),
            "{run:?}"
        );
    });
}
