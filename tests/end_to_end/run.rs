//! `run`: what a container gets, and how its end is told.

use hull_tests::setup::with_each_client;

#[test]
fn output_and_exit_code_are_the_commands() {
    with_each_client(|s| {
        let run = s.script("run --rm busybox", "echo out; echo err >&2; exit 3");
        assert_eq!(
            (run.stdout.as_str(), run.stderr.as_str(), run.code),
            ("out\n", "err\n", 3),
            "{run:?}"
        );
        assert_eq!(s.line("ps -aq").ok(), "", "--rm removes the container");
        assert_eq!(s.line("run --rm busybox sh -c exit").code, 0);
        let killed = s.script("run --rm busybox", "sh -c 'kill -9 $$'; exit $?");
        assert_eq!(killed.code, 137, "{killed:?}");
    });
}

#[test]
fn a_command_that_cannot_run_has_dockers_exit_codes() {
    with_each_client(|s| {
        let missing = s.line("run --rm busybox nosuch");
        assert!(
            missing
                .fails(127)
                .contains("executable file not found in $PATH"),
            "{missing:?}"
        );
        let missing = s.line("run --rm busybox /nosuch");
        assert!(
            missing.fails(127).contains("no such file or directory"),
            "{missing:?}"
        );
        let data = s.line("run --rm busybox /etc/not-executable");
        assert!(data.fails(126).contains("permission denied"), "{data:?}");
        let directory = s.line("run --rm busybox /etc");
        assert_eq!(directory.code, 126, "{directory:?}");
        assert_eq!(s.line("ps -aq").ok(), "");
    });
}

#[test]
fn environment_directory_user_and_names_are_as_asked() {
    with_each_client(|s| {
        let shown = s.run(&[
            "run",
            "--rm",
            "-e",
            "A=1",
            "-e",
            "B=two words",
            "-w",
            "/srv/deep",
            "-u",
            "1000",
            "--hostname",
            "h",
            "busybox",
            "sh",
            "-c",
            "echo $A $B $(pwd) $(id -u):$(id -g) $(hostname) $HOME",
        ]);
        assert_eq!(shown.ok(), "1 two words /srv/deep 1000:1000 h /home");
        assert_eq!(s.line("run --rm -u user busybox id -un").ok(), "user");
        assert_eq!(
            s.line("run --rm -u 5:6 busybox id").ok(),
            "uid=5 gid=6 groups=6"
        );
        assert_eq!(
            s.line("run --rm -u root --group-add 50 busybox id -G").ok(),
            "0 50"
        );
        let unknown = s.line("run --rm -u nosuch busybox id");
        assert!(
            unknown
                .stderr
                .contains("unable to find user nosuch: no matching entries in passwd file"),
            "{unknown:?}"
        );
        assert_eq!(s.line("run --rm --entrypoint echo busybox a b").ok(), "a b");
    });
}

#[test]
fn binds_show_the_hosts_files() {
    with_each_client(|s| {
        let directory = s.daemon.path("bound");
        fs_err::create_dir(&directory).unwrap();
        fs_err::write(directory.join("file"), "from the host\n").unwrap();
        let source = directory.display().to_string();
        let mounted = format!("{source}:/srv");
        assert_eq!(
            s.run(&["run", "--rm", "-v", &mounted, "busybox", "cat", "/srv/file"])
                .ok(),
            "from the host"
        );
        let _ = s
            .run(&[
                "run", "--rm", "-v", &mounted, "busybox", "touch", "/srv/new",
            ])
            .ok();
        assert!(directory.join("new").exists());
        let read_only = s.run(&[
            "run",
            "--rm",
            "-v",
            &format!("{mounted}:ro"),
            "busybox",
            "touch",
            "/srv/x",
        ]);
        assert!(
            read_only.fails(1).contains("Read-only file system"),
            "{read_only:?}"
        );
        let missing = s.run(&[
            "run",
            "--rm",
            "--mount",
            &format!("type=bind,source={source}/none,target=/x"),
            "busybox",
            "true",
        ]);
        assert!(
            missing
                .fails(125)
                .contains("bind source path does not exist"),
            "{missing:?}"
        );
    });
}

#[test]
fn file_systems_in_memory_are_mounted() {
    with_each_client(|s| {
        assert_eq!(
            s.line("run --rm --tmpfs /scratch busybox stat -f -c %T /scratch")
                .ok(),
            "tmpfs"
        );
    });
}

#[test]
fn standard_input_is_passed_on_and_closed() {
    with_each_client(|s| {
        let counted = s.client.feed(
            &s.daemon,
            &["run", "--rm", "-i", "busybox", "wc", "-c"],
            &[b'x'; 300_000],
        );
        assert_eq!(counted.ok(), "300000");
        let without = s.client.feed(
            &s.daemon,
            &["run", "--rm", "busybox", "wc", "-c"],
            b"not passed on",
        );
        assert_eq!(without.ok(), "0");
    });
}

#[test]
fn a_container_is_confined() {
    with_each_client(|s| {
        let status =
            s.line("run --rm busybox grep -E ^(CapEff|Seccomp|NoNewPrivs): /proc/self/status");
        let words: Vec<&str> = status.ok().split_whitespace().collect();
        assert_eq!(
            words,
            [
                "CapEff:",
                "00000000a80425fb",
                "NoNewPrivs:",
                "0",
                "Seccomp:",
                "2"
            ]
        );
        for denied in [
            "mount -t tmpfs t /mnt",
            "hostname x",
            "sh -c echo>/proc/sys/kernel/panic",
            "mknod /tmp/k b 8 0 -",
            "unshare -U true",
        ] {
            let run = s.run(&[
                "run",
                "--rm",
                "busybox",
                "sh",
                "-c",
                denied.trim_end_matches(" -"),
            ]);
            let mknod = denied.starts_with("mknod");
            // Making a device node is in Docker's default capabilities; opening it is refused by the cgroup.
            assert_eq!(run.code == 0, mknod, "{denied}: {run:?}");
        }
        let masked = s.line("run --rm busybox cat /proc/keys");
        assert_eq!(masked.ok(), "", "masked by an empty file");
        let read_only = s.line("run --rm --read-only busybox touch /x");
        assert!(read_only.fails(1).contains("Read-only file system"));
        assert_eq!(
            s.line("run --rm --cap-drop ALL busybox grep CapEff /proc/self/status")
                .ok(),
            "CapEff:\t0000000000000000"
        );
        assert_eq!(
            s.line("run --rm busybox ls /proc/self/fd")
                .ok()
                .split_whitespace()
                .collect::<Vec<_>>(),
            ["0", "1", "2", "3"]
        );
    });
}

#[test]
fn limits_reach_the_kernel() {
    with_each_client(|s| {
        let limited = "run --rm -m 64m --pids-limit 33 --cpus 0.5 busybox sh -c";
        let mut words: Vec<&str> = limited.split(' ').collect();
        words.push("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max");
        let shown = s.run(&words);
        let lines: Vec<&str> = shown.ok().split_whitespace().collect();
        assert_eq!(&lines[..3], ["67108864", "33", "50000"]);
        let little = s.line("run --rm -m 1m busybox true");
        assert!(
            little
                .fails(125)
                .contains("Minimum memory limit allowed is 6MB"),
            "{little:?}"
        );
    });
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    with_each_client(|s| {
        let unknown = s.line("run --nosuch busybox");
        assert!(
            unknown.fails(125).contains("unknown flag: --nosuch"),
            "{unknown:?}"
        );
        let image = s.line("run --rm --pull never nosuch:1");
        assert!(
            image.fails(125).contains("No such image: nosuch:1"),
            "{image:?}"
        );
        let workdir = s.line("run --rm -w relative busybox true");
        assert!(
            workdir.fails(125).contains(
                "the working directory 'relative' is invalid, it needs to be an absolute path"
            ),
            "{workdir:?}"
        );
        let name = s.line("run --rm --name -x busybox true");
        assert!(
            name.fails(125).contains("Invalid container name"),
            "{name:?}"
        );
        let _ = s.line("run -d --name web busybox sleep 100").ok();
        let taken = s.line("run --name web busybox true");
        assert!(
            taken
                .fails(125)
                .contains("The container name \"/web\" is already in use by container"),
            "{taken:?}"
        );
        assert_eq!(s.line("ps -aq").ok().lines().count(), 1);
    });
}
