//! A container's life: start, stop, kill, pause, restart, wait, rename, remove.

use hull_tests::setup::with_each_client;

#[test]
fn a_detached_container_lives_until_it_is_stopped() {
    with_each_client(|s| {
        let id = s
            .run(&[
                "run",
                "-d",
                "--name",
                "web",
                "busybox",
                "sh",
                "-c",
                "trap 'exit 7' TERM; while :; do sleep 0.1; done",
            ])
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
            .run(&[
                "run",
                "-d",
                "--name",
                "deaf",
                "busybox",
                "sh",
                "-c",
                "trap '' TERM; while :; do sleep 0.1; done",
            ])
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
        assert!(
            s.run(&["ps", "--format", "{{.Status}}"])
                .ok()
                .ends_with("(Paused)")
        );
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
        let names = s.run(&["ps", "-a", "--format", "{{.Names}}"]);
        let mut names: Vec<&str> = names.ok().lines().collect();
        names.sort_unstable();
        assert_eq!(names, ["three", "two"]);
        assert_eq!(s.line("start -a three").code, 0);
    });
}

#[test]
fn starting_and_attaching_shows_the_output_and_passes_the_code_on() {
    with_each_client(|s| {
        let _ = s
            .run(&[
                "create",
                "-i",
                "--name",
                "cc",
                "busybox",
                "sh",
                "-c",
                "cat; exit 4",
            ])
            .ok();
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
            .run(&[
                "run",
                "-d",
                "--name",
                "again",
                "--restart",
                "on-failure:2",
                "busybox",
                "sh",
                "-c",
                "exit 5",
            ])
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
