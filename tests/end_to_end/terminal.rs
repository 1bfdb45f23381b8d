//! Interactive use, on a real pseudo-terminal.

use hull_tests::setup::with_each_client;

#[test]
fn a_shell_has_a_terminal() {
    with_each_client(|s| {
        let words = ["run", "--rm", "-it", "busybox", "sh"];
        let seen = s.client.converse(
            &s.daemon,
            &words,
            &[
                ("# ", "stty size; tty; ls -l /dev/console\n"),
                ("/dev/console", "exit 6\n"),
            ],
        );
        assert_eq!(seen.code, 6, "{seen:?}");
        assert!(seen.stdout.contains("/dev/pts/0"), "{seen:?}");
    });
}

#[test]
fn interrupting_reaches_the_command() {
    with_each_client(|s| {
        let script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done";
        let words = ["run", "--rm", "-it", "busybox", "sh", "-c", script];
        let seen = s.client.converse(&s.daemon, &words, &[("ready", "\x03")]);
        assert_eq!(seen.code, 3, "{seen:?}");
        assert!(seen.stdout.contains("caught"), "{seen:?}");
    });
}

#[test]
fn a_shell_has_job_control() {
    with_each_client(|s| {
        let words = ["run", "--rm", "-it", "busybox", "sh"];
        let steps = [
            ("# ", "sh -c 'echo u''p; exec sleep 100'\n"),
            ("up\r\n", "\x1a"),
            ("Stopped", "exit 0\nexit 0\n"),
        ];
        let seen = s.client.converse(&s.daemon, &words, &steps);
        assert_eq!(seen.code, 0, "{seen:?}");
    });
}

#[test]
fn the_detach_keys_leave_the_container_running() {
    with_each_client(|s| {
        let words = [
            "run",
            "-it",
            "--name",
            "dd",
            "busybox",
            "sh",
            "-c",
            "echo ready; cat",
        ];
        let seen = s
            .client
            .converse(&s.daemon, &words, &[("ready", "\x10\x11")]);
        assert_eq!(seen.code, 0, "{seen:?}");
        assert_eq!(s.inspect("dd", "/State/Running"), true);
        let words = ["attach", "--detach-keys", "ctrl-x,x", "dd"];
        let seen = s.client.converse(
            &s.daemon,
            &words,
            &[("", "word\n"), ("word\r\nword", "\x18x")],
        );
        assert!(seen.stdout.contains("read escape sequence"), "{seen:?}");
        assert_eq!(s.inspect("dd", "/State/Running"), true);
        let _ = s.line("rm -f dd").ok();
    });
}

#[test]
fn exec_has_a_terminal_too() {
    with_each_client(|s| {
        let _ = s.line("run -d --name xx busybox sleep 1000").ok();
        let seen = s.client.converse(
            &s.daemon,
            &["exec", "-it", "xx", "sh"],
            &[("# ", "tty; exit 4\n")],
        );
        assert_eq!(seen.code, 4, "{seen:?}");
        assert!(seen.stdout.contains("/dev/pts/0"), "{seen:?}");
    });
}

#[test]
fn a_terminal_is_refused_where_there_is_none() {
    with_each_client(|s| {
        let refused = s.line("run --rm -it busybox true");
        assert!(
            refused.fails(1).contains("the input device is not a TTY"),
            "{refused:?}"
        );
    });
}
