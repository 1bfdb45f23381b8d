//! The program, with real namespaces: what runc's users expect of it.

mod kit;

use kit::{Host, stderr};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

#[test]
fn a_program_runs_in_namespaces_of_its_own_and_its_code_is_ours() {
    let Some(host) = Host::new() else { return };
    let script = "echo pid $$; readlink /proc/self/ns/net; ls /dev; exit 7";
    let (code, out, err) = host.run("ns", host.config(script));
    assert_eq!(code, 7, "{err}");
    assert!(out.starts_with("pid 1\n"));
    let ours = fs::read_link("/proc/self/ns/net").expect("read");
    assert!(!out.contains(&*ours.to_string_lossy()));
    for name in [
        "null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd", "stdin", "pts",
    ] {
        assert!(out.lines().any(|line| line == name), "{name} in {out}");
    }
    assert!(!host.path("state/ns").exists());
}

#[test]
fn a_missing_program_is_told_by_create_in_runcs_words() {
    let Some(host) = Host::new() else { return };
    for (name, text) in [
        (
            "nosuch",
            "exec: \\\"nosuch\\\": executable file not found in $PATH",
        ),
        (
            "/nosuch",
            "exec: \\\"/nosuch\\\": stat /nosuch: no such file or directory",
        ),
        (
            "/etc/passwd",
            "exec: \\\"/etc/passwd\\\": permission denied",
        ),
    ] {
        let mut config = host.config("");
        config["process"]["args"] = json!([name]);
        let (code, _, err) = host.run("missing", config);
        assert_eq!(code, 1);
        let text =
            format!("unable to start container process: error during container init: {text}");
        assert!(err.contains(&text), "{err}");
        assert!(!host.path("state/missing").exists());
    }
}

#[test]
fn a_container_lives_through_all_its_states() {
    let Some(host) = Host::new() else { return };
    host.create("life", host.config("exec sleep 100"));
    assert_eq!(host.status("life"), "created");
    assert!(
        stderr(&host.call(&["create", "life"])).contains("container with given ID already exists")
    );
    assert!(host.call(&["start", "life"]).status.success());
    assert!(
        stderr(&host.call(&["start", "life"]))
            .contains("cannot start an already running container")
    );
    assert_eq!(host.status("life"), "running");
    assert!(
        stderr(&host.call(&["delete", "life"]))
            .contains("cannot delete container life that is not stopped: running")
    );
    let output = host.call(&[
        "exec",
        "life",
        "sh",
        "-c",
        "echo $(cat /proc/1/cmdline); exit 9",
    ]);
    assert_eq!(output.status.code(), Some(9), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("sleep"));
    let output = host.call(&["exec", "life", "nosuch"]);
    assert_eq!(output.status.code(), Some(255));
    assert!(
        stderr(&output)
            .contains("exec failed: unable to start container process: exec: \\\"nosuch\\\"")
    );
    assert!(host.call(&["pause", "life"]).status.success());
    assert_eq!(host.status("life"), "paused");
    assert!(host.call(&["delete", "--force", "life"]).status.success());
    assert_eq!(host.status("life"), "none");
    assert!(stderr(&host.call(&["kill", "life", "9"])).contains("container does not exist"));
}

#[test]
fn a_killed_container_is_stopped_and_can_be_deleted() {
    let Some(host) = Host::new() else { return };
    host.create("kill", host.config("exec sleep 100"));
    let state = host.call(&["state", "kill"]);
    let state: Value = serde_json::from_slice(&state.stdout).expect("a state");
    let pid = i32::try_from(state["pid"].as_i64().expect("a number")).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    let pidfd =
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("opened");
    assert!(host.call(&["kill", "kill", "KILL"]).status.success());
    let mut ended = [rustix::event::PollFd::new(
        &pidfd,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut ended, None).expect("ended");
    assert_eq!(host.status("kill"), "stopped");
    assert!(
        stderr(&host.call(&["start", "kill"]))
            .contains("cannot start a container that has stopped")
    );
    assert!(stderr(&host.call(&["kill", "kill", "TERM"])).contains("container not running"));
    assert!(host.call(&["delete", "kill"]).status.success());
    assert!(!host.path("state/kill").exists());
}

#[test]
fn what_a_killed_create_has_left_is_removed_by_force() {
    let Some(host) = Host::new() else { return };
    fs::create_dir_all(host.path("state/half")).expect("made");
    assert!(!host.call(&["delete", "half"]).status.success());
    assert!(host.call(&["delete", "--force", "half"]).status.success());
    assert!(!host.path("state/half").exists());
    fs::create_dir_all(host.path("state/torn")).expect("made");
    fs_err::write(host.path("state/torn/state.json"), "{\"id\":").expect("written");
    assert!(host.call(&["delete", "--force", "torn"]).status.success());
    assert!(!host.path("state/torn").exists());
    assert!(host.call(&["delete", "--force", "nosuch"]).status.success());
}

#[test]
fn ids_cannot_name_other_directories() {
    let Some(host) = Host::new() else { return };
    host.write(host.config("true"), "ids");
    for id in ["../x", "a/b", "..", ""] {
        assert!(
            stderr(&host.call(&["create", id])).contains("container"),
            "{id:?}"
        );
        assert!(
            !host.call(&["delete", "--force", id]).status.success(),
            "{id:?}"
        );
    }
}

#[test]
fn capabilities_are_exactly_those_asked_for() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("grep -E 'Cap|NoNew' /proc/self/status");
    config["process"]["noNewPrivileges"] = json!(true);
    let (_, out, _) = host.run("caps", config);
    for line in [
        "CapPrm:\t0000000000000021",
        "CapEff:\t0000000000000021",
        "CapBnd:\t0000000000000021",
        "CapInh:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
}

#[test]
fn a_user_has_its_ids_groups_mask_and_home() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("id; umask; echo $HOME; echo again > /dev/stdout");
    config["process"]["user"] =
        json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o27});
    let (code, out, err) = host.run("user", config);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with("uid=1000 gid=1001 groups=5,6\n0027\n/\n"),
        "{out}"
    );
}

#[test]
fn masked_paths_show_nothing_and_read_only_paths_cannot_be_written() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config(
        "cat /etc/secret; ls /etc/hidden; (echo 1 > /proc/sys/kernel/hostname) 2>/dev/null && echo WRITTEN; \
         (echo x > /etc/fixed/file) 2>/dev/null && echo WRITTEN; echo done",
    );
    fs::create_dir_all(host.path("rootfs/etc/hidden/inner")).expect("made");
    fs::create_dir_all(host.path("rootfs/etc/fixed")).expect("made");
    fs_err::write(host.path("rootfs/etc/secret"), "secret").expect("written");
    config["linux"]["maskedPaths"] =
        json!(["/etc/secret", "/etc/hidden", "/etc/secret", "/nosuch"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/etc/fixed", "/nosuch"]);
    let (_, out, err) = host.run("mask", config);
    assert_eq!(out, "done\n", "{err}");
}

#[test]
fn a_root_is_read_only_when_asked_and_mounts_keep_their_options() {
    let Some(host) = Host::new() else { return };
    fs::create_dir_all(host.path("source")).expect("made");
    let mut config = host.config("(echo x > /file) 2>/dev/null && echo WRITTEN; grep -E ' /mnt | /tmp ' /proc/self/mountinfo");
    config["root"]["readonly"] = json!(true);
    fs::create_dir_all(host.path("rootfs/mnt")).expect("made");
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts.push(
        json!({"destination": "/mnt", "type": "bind", "source": "source",
        "options": ["rbind", "ro", "nosuid", "noexec", "rprivate"]}),
    );
    mounts.push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "nodev"]}));
    let (_, out, err) = host.run("ro", config);
    assert!(!out.contains("WRITTEN"), "{out}");
    assert!(out.contains(" /mnt ro,nosuid,noexec,"), "{out} {err}");
    assert!(out.contains(" /tmp rw,nodev,"), "{out}");
}

#[test]
fn a_link_in_the_image_cannot_lead_a_mount_out_of_the_root() {
    let Some(host) = Host::new() else { return };
    let outside = host.path("outside");
    fs::create_dir_all(&outside).expect("made");
    symlink(&outside, host.path("rootfs/link")).expect("made");
    symlink("../../../../../../../../", host.path("rootfs/up")).expect("made");
    let mut config = host.config("ls /link/; ls -d /marker");
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts.push(json!({"destination": "/link/below", "type": "tmpfs", "source": "tmpfs"}));
    mounts.push(json!({"destination": "/up/marker", "type": "tmpfs", "source": "tmpfs"}));
    let (code, out, err) = host.run("link", config);
    assert_eq!((code, out.as_str()), (0, "below\n/marker\n"), "{err}");
    assert_eq!(fs::read_dir(&outside).expect("read").count(), 0);
    assert!(host.path("rootfs/marker").is_dir());
}

#[test]
fn proc_must_not_be_mounted_on_a_link() {
    let Some(host) = Host::new() else { return };
    fs::remove_dir(host.path("rootfs/proc")).expect("removed");
    symlink("/tmp", host.path("rootfs/proc")).expect("made");
    let (code, _, err) = host.run("proclink", host.config("true"));
    assert_eq!(code, 1);
    assert!(
        err.contains("must be mounted on ordinary directory"),
        "{err}"
    );
}

#[test]
fn a_descriptor_of_the_host_is_no_way_out() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("readlink /proc/self/cwd");
    for number in 3..12 {
        config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        let (code, out, err) = host.run("leak", config.clone());
        assert_ne!(code, 0, "{number}: {out}");
        assert!(err.contains("runc run failed"), "{err}");
    }
    let leaked = fs_err::File::open("/").expect("opened");
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).expect("set");
    let (_, out, _) = host.run("leak", host.config("ls -l /proc/self/fd"));
    assert!(!out.lines().any(|line| line.ends_with("-> /")), "{out}");
}

#[test]
fn the_runtimes_file_cannot_be_reached_for_writing() {
    let Some(host) = Host::new() else { return };
    // The script's interpreter is whatever the process about to become the container's was run from.
    fs_err::write(host.path("rootfs/bin/evil"), "#!/proc/self/exe\n").expect("written");
    fs::set_permissions(
        host.path("rootfs/bin/evil"),
        fs::Permissions::from_mode(0o755),
    )
    .expect("set");
    let program = Path::new(env!("CARGO_BIN_EXE_hull-runtime"));
    let before = fs::metadata(program).expect("stat");
    host.create("evil", host.config("exec sleep 100"));
    assert!(host.call(&["start", "evil"]).status.success());
    let output = host.call(&["exec", "evil", "/bin/evil"]);
    assert!(!output.status.success());
    let mut config = host.config("");
    config["process"]["args"] = json!(["/proc/self/exe", "--version"]);
    let (_, _, _) = host.run("self", config);
    // A container's process that holds the executable open cannot open it again for writing.
    let mut config = host.config("");
    config["process"]["args"] = json!(["sh", "-c", "cat /proc/1/exe > /dev/null"]);
    host.run("self", config);
    assert!(host.call(&["delete", "--force", "evil"]).status.success());
    assert_eq!(
        fs::metadata(program)
            .expect("stat")
            .modified()
            .expect("time"),
        before.modified().expect("time")
    );
}

#[test]
fn a_user_namespace_maps_ids_and_sees_mounts_only_root_may_reach() {
    let Some(host) = Host::new() else { return };
    let secret = host.path("private/source");
    fs::create_dir_all(&secret).expect("made");
    fs_err::write(secret.join("file"), "inside").expect("written");
    fs::set_permissions(host.path("private"), fs::Permissions::from_mode(0o700)).expect("set");
    fs::create_dir_all(host.path("rootfs/mnt")).expect("made");
    let mut config =
        host.config("cat /proc/self/uid_map; cat /mnt/file; echo > /dev/null && echo null");
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"type": "user"}));
    let mount =
        json!({"destination": "/mnt", "type": "bind", "source": secret, "options": ["bind", "ro"]});
    config["mounts"].as_array_mut().expect("a list").push(mount);
    let (code, out, err) = host.run("userns", config);
    assert_eq!(code, 0, "{err}");
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words, ["0", "100000", "65536", "insidenull"]);
}

#[test]
fn hooks_run_in_their_order_with_the_state_on_standard_input() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("true");
    let log = host.path("hooks");
    let hook = |name: &str| {
        let script = format!("echo {name} $(cat) >> {}", log.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}])
    };
    let names = [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ];
    for name in names {
        config["hooks"][name] = hook(name);
    }
    let (code, _, err) = host.run("hooks", config.clone());
    assert_eq!(code, 0, "{err}");
    let text = fs_err::read_to_string(&log).expect("read");
    let order: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(order, names);
    for line in text.lines() {
        let state: Value =
            serde_json::from_str(line.split_once(' ').expect("a state").1).expect("JSON");
        assert_eq!(state["id"], "hooks");
    }
    config["hooks"] =
        json!({"prestart": [{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]});
    let (code, _, err) = host.run("slow", config);
    assert_eq!(code, 1);
    assert!(err.contains("error running prestart hook #0"), "{err}");
}

#[test]
fn hooks_without_an_environment_have_the_runtimes_and_the_last_one_the_programs() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("cat /tmp/inherited");
    let hook = |script: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    config["process"]["env"] = json!(["PATH=/bin", "OF=program"]);
    let log = host.path("inherited").display().to_string();
    config["hooks"]["createRuntime"] = hook(&format!("echo $OF >{log}"));
    config["hooks"]["startContainer"] = hook("echo $OF >/tmp/inherited");
    config["hooks"]["createContainer"] = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo none${{OF}} >>{log}")], "env": []}]);
    host.write(config, "environment");
    let output = host
        .command(&["run", "environment"])
        .env("OF", "runtime")
        .output()
        .expect("runs");
    assert_eq!(output.stdout, b"program\n", "{}", stderr(&output));
    let text = fs_err::read_to_string(log).expect("read");
    assert_eq!(text, "runtime\nnone\n");
}

/// A foreground runtime blocks every signal to read them from a descriptor.
#[test]
fn hooks_start_with_no_signal_blocked() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("true");
    let log = host.path("blocked").display().to_string();
    let script = format!("grep SigBlk /proc/self/status >>{log}");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    for name in ["createRuntime", "createContainer", "poststart", "poststop"] {
        config["hooks"][name] = hook.clone();
    }
    let (code, _, err) = host.run("blocked", config);
    assert_eq!(code, 0, "{err}");
    let text = fs_err::read_to_string(log).expect("read");
    assert_eq!(text, "SigBlk:\t0000000000000000\n".repeat(4));
}

#[test]
fn a_container_whose_last_hook_fails_is_gone_all_the_same() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("exit 3");
    config["hooks"]["poststop"] = json!([{"path": "/bin/false"}]);
    let (code, _, err) = host.run("poststop-run", config.clone());
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("error running poststop hook #0"), "{err}");
    host.create("poststop", config);
    let output = host.call(&["delete", "poststop"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("error running poststop hook #0"));
    assert_eq!(host.status("poststop"), "none");
}

#[test]
fn a_terminal_is_the_console_and_has_its_size() {
    let Some(host) = Host::new() else { return };
    let mut config =
        host.config("stty size; readlink /proc/self/fd/0; stat -c %F /dev/console; exit 5");
    config["process"]["terminal"] = json!(true);
    config["process"]["consoleSize"] = json!({"height": 33, "width": 77});
    let (code, out, err) = host.run("tty", config);
    assert_eq!(code, 5, "{err}");
    assert_eq!(out, "33 77\r\n/dev/pts/0\r\ncharacter special file\r\n");
}

#[test]
fn limits_are_those_of_the_control_group() {
    let Some(host) = Host::new() else { return };
    let mut config = host
        .config("cat /sys/fs/cgroup/*/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null");
    config["linux"]["resources"] = json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 50}});
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts.push(
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}),
    );
    mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}));
    let (_, out, err) = host.run("limits", config);
    assert_eq!(out.trim(), "67108864", "{err}");
}

#[test]
fn a_filter_refuses_what_it_says() {
    let Some(host) = Host::new() else { return };
    let mut config =
        host.config("mkdir /tmp/new || busybox mkdir /tmp/new; grep Seccomp: /proc/self/status");
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]});
    let (_, out, err) = host.run("filter", config);
    assert!(out.contains("Seccomp:\t2"), "{out}");
    assert!(err.contains("Function not implemented"), "{err}");
    assert!(!host.path("rootfs/tmp/new").exists());
}

/// Filters from before a call was invented refuse it, and are in force before the program is executed.
#[test]
fn a_filter_older_than_this_program_does_not_stop_it() {
    let Some(host) = Host::new() else { return };
    let newer = [
        "pidfd_send_signal",
        "pidfd_open",
        "pidfd_getfd",
        "clone3",
        "close_range",
        "openat2",
        "faccessat2",
        "open_tree",
        "move_mount",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
        "fchmodat2",
    ];
    let mut config = host.config("ls /proc/self/fd | wc -l; exec sleep 1000");
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": newer, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]});
    let mut once = config.clone();
    once["process"]["args"] = json!(["ls", "/proc/self/fd"]);
    let (code, out, err) = host.run("old-filter", once);
    // The fourth is the listing's own.
    assert_eq!((code, out.as_str()), (0, "0\n1\n2\n3\n"), "{err}");

    host.create("old-filter", config);
    assert!(host.call(&["start", "old-filter"]).status.success());
    let output = host.call(&["exec", "old-filter", "ls", "/proc/self/fd"]);
    assert_eq!(output.stdout, b"0\n1\n2\n3\n", "{}", stderr(&output));
    assert!(
        host.call(&["delete", "--force", "old-filter"])
            .status
            .success()
    );
}
