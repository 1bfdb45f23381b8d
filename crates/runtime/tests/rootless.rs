//! Containers of a user without privileges, and of root in a user namespace.

mod kit;

use kit::{Host, stderr};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A user that no system has.
const UID: u32 = 64_242;
/// The first of its subordinate ids.
const SUBORDINATE: u32 = 2_100_000_000;

/// A bundle that belongs to the user.
struct User {
    host: Host,
}

impl User {
    fn new() -> Option<Self> {
        let host = Host::new()?;
        if !works(Command::new("true").uid(UID).gid(UID)) || !works(&mut unshare_as_user()) {
            skip("a user without privileges gets no user namespace");
            return None;
        }
        fs::create_dir(host.path("state")).expect("made");
        own(&host.path(""));
        Some(Self { host })
    }

    /// A configuration with a user namespace in which the user is root.
    fn config(&self, script: &str) -> Value {
        let mut config = self.host.config(script);
        let linux = &mut config["linux"];
        let namespaces = linux["namespaces"].as_array_mut().expect("a list");
        namespaces.push(json!({"type": "user"}));
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": UID, "size": 1}]);
        linux["gidMappings"] = linux["uidMappings"].clone();
        linux.as_object_mut().expect("a map").remove("cgroupsPath");
        config
    }

    fn write(&self, config: &Value) {
        fs_err::write(self.host.path("config.json"), config.to_string()).expect("written");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.host.command(words);
        command.uid(UID).gid(UID);
        command
    }

    fn call(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("runs")
    }

    fn run(&self, id: &str, config: &Value) -> (i32, String, String) {
        self.write(config);
        result(&self.call(&["run", id]))
    }

    /// Starts a container whose streams are a file.
    fn start(&self, id: &str, config: &Value) {
        self.write(config);
        let path = self.host.path("output");
        let file = || fs::File::create(&path).expect("made");
        let mut command = self.command(&["run", "-d", id]);
        let done = command.stdout(file()).stderr(file()).status();
        let text = fs_err::read_to_string(&path).expect("read");
        assert!(done.expect("runs").success(), "{text}");
    }

    fn state(&self, id: &str) -> Value {
        serde_json::from_slice(&self.call(&["state", id]).stdout).unwrap_or_default()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // What a failed test has left.
        for entry in fs::read_dir(self.host.path("state")).into_iter().flatten() {
            let id = entry.map(|entry| entry.file_name()).unwrap_or_default();
            let _ = self.command(&["delete", "--force"]).arg(id).output();
        }
    }
}

#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn skip(why: &str) {
    println!("skipped: {why}");
}

fn works(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn unshare_as_user() -> Command {
    let mut command = Command::new("unshare");
    command.args(["-Ur", "true"]).uid(UID).gid(UID);
    command
}

/// Gives everything below a directory to the user.
fn own(path: &Path) {
    lchown(path, Some(UID), Some(UID)).expect("given");
    if fs::symlink_metadata(path).expect("there").is_dir() {
        for entry in fs::read_dir(path).expect("listed") {
            own(&entry.expect("listed").path());
        }
    }
}

fn result(output: &Output) -> (i32, String, String) {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap_or(-1), out, stderr(output))
}

#[test]
fn a_user_is_root_in_a_container_of_its_own() {
    let Some(user) = User::new() else { return };
    let script = "id -u; cat /proc/self/uid_map /proc/self/setgroups; echo x > /dev/null && \
                  readlink /dev/ptmx; stat -c %t:%T /dev/zero; exit 7";
    let mut config = user.config(script);
    config["process"]["oomScoreAdj"] = json!(500);
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]);
    let (code, out, err) = user.run("one", &config);
    let words: Vec<&str> = out.split_whitespace().collect();
    let uid = UID.to_string();
    assert_eq!(
        words,
        ["0", "0", &uid, "1", "deny", "pts/ptmx", "1:5"],
        "{err}"
    );
    assert_eq!(code, 7, "{err}");
    assert!(!user.host.path("state/one").exists());
}

#[test]
fn a_users_container_is_driven_by_the_same_user() {
    let Some(user) = User::new() else { return };
    let mut config = user.config("exec sleep 1000");
    config["process"]["oomScoreAdj"] = json!(600);
    user.start("life", &config);
    let state = user.state("life");
    assert_eq!(state["status"], "running");
    let script = "id -u; cat /proc/1/cmdline; cat /proc/self/oom_score_adj; exit 5";
    let (code, out, err) = result(&user.call(&["exec", "life", "sh", "-c", script]));
    assert_eq!(code, 5, "{err}");
    assert_eq!(out, "0\nsleep\u{0}1000\u{0}600\n");
    let (_, _, err) = result(&user.call(&["exec", "-g", "5", "life", "id"]));
    assert!(
        err.contains("cannot set any additional groups in a rootless container"),
        "{err}"
    );
    for (words, text) in [
        (
            ["pause", "life"],
            "cannot toggle freezer: cgroups not configured",
        ),
        (
            ["ps", "life"],
            "unable to get all container pids: cgroups not configured",
        ),
    ] {
        let (code, _, err) = result(&user.call(&words));
        assert!(code == 1 && err.contains(text), "{err}");
    }
    let (_, _, err) = result(&user.call(&["delete", "life"]));
    assert!(err.contains("is not stopped: running"), "{err}");
    assert!(user.call(&["kill", "life", "KILL"]).status.success());
    assert!(user.call(&["delete", "--force", "life"]).status.success());
    assert!(!user.host.path("state/life").exists());
}

#[test]
fn a_created_container_waits_and_starts() {
    let Some(user) = User::new() else { return };
    user.write(&user.config("exec sleep 1000"));
    let null = || fs::File::create(user.host.path("output")).expect("made");
    let mut create = user.command(&["create", "wait"]);
    assert!(
        create
            .stdout(null())
            .stderr(null())
            .status()
            .expect("runs")
            .success()
    );
    assert_eq!(user.state("wait")["status"], "created");
    let (code, _, err) = result(&user.call(&["exec", "wait", "true"]));
    assert!(code == 255 && err.contains("has not been started"), "{err}");
    assert!(user.call(&["start", "wait"]).status.success());
    assert_eq!(user.state("wait")["status"], "running");
    assert!(user.call(&["delete", "--force", "wait"]).status.success());
}

#[test]
fn what_a_user_cannot_have_is_refused_in_runcs_words() {
    let Some(user) = User::new() else { return };
    let refused = |config: &Value, text: &str| {
        let (code, _, err) = user.run("no", config);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(text), "{err}");
        assert!(!user.host.path("state/no").exists());
    };
    refused(
        &user.host.config("true"),
        "rootless container requires user namespaces",
    );
    let mut config = user.config("true");
    config["linux"]["uidMappings"] = json!([]);
    refused(
        &config,
        "user namespaces enabled, but no uid mappings found",
    );
    let mut config = user.config("true");
    config["mounts"][2]["options"] = json!(["newinstance", "gid=5"]);
    refused(
        &config,
        "cannot specify gid=5 mount option for rootless container",
    );
    let mut config = user.config("true");
    config["process"]["user"]["additionalGids"] = json!([5]);
    refused(
        &config,
        "cannot set any additional groups in a rootless container",
    );
    let mut config = user.config("true");
    config["linux"]["resources"] = json!({"pids": {"limit": 10}});
    refused(
        &config,
        "rootless needs no limits + no cgrouppath when no permission is granted",
    );
    let mut config = user.config("true");
    config["linux"]["cgroupsPath"] = json!("/hull-test/no");
    refused(&config, "permission denied");
    let mut config = user.config("true");
    config["process"]["user"]["uid"] = json!(1);
    refused(
        &config,
        "unable to setup user: cannot setuid to unmapped uid 1 in user namespace",
    );
}

#[test]
fn the_hosts_files_are_shown_where_no_file_system_can_be_made() {
    let Some(user) = User::new() else { return };
    let mut config = user.config("ls /sys/class/net; grep ' /sys ' /proc/self/mountinfo");
    let namespaces = config["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list");
    namespaces.retain(|namespace| namespace["type"] != "network");
    let sys = json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"]});
    config["mounts"].as_array_mut().expect("a list").push(sys);
    let (code, out, err) = user.run("sys", &config);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("lo\n") && out.contains(" ro,nosuid,nodev,noexec"),
        "{out}"
    );
}

#[test]
fn the_runtime_of_a_user_cannot_be_overwritten_through_a_container() {
    let Some(user) = User::new() else { return };
    user.write(&user.config("exec sleep 1000"));
    let own_program = user.host.path("runtime");
    // By another process: a descriptor of ours would be inherited by what other tests start meanwhile.
    let mut copy = Command::new("cp");
    assert!(works(
        copy.arg(env!("CARGO_BIN_EXE_hull-runtime"))
            .arg(&own_program)
    ));
    own(&own_program);
    let null = || fs::File::create(user.host.path("output")).expect("made");
    let mut create = Command::new(&own_program);
    create.uid(UID).gid(UID).current_dir(user.host.path(""));
    create
        .arg("--root")
        .arg(user.host.path("state"))
        .args(["create", "own"]);
    create.stdin(Stdio::null()).stdout(null()).stderr(null());
    assert!(create.status().expect("runs").success());
    let pid = user.state("own")["pid"].clone();
    let program = fs::read_link(format!("/proc/{pid}/exe")).expect("read");
    assert!(
        program.starts_with("/memfd:hull-runtime (deleted)"),
        "{}",
        program.display()
    );
    assert!(user.call(&["delete", "--force", "own"]).status.success());
}

/// The program in a mount namespace in which the user has subordinate ids.
fn with_subordinates(user: &User, words: &[&str]) -> Command {
    let line = format!("hull-test:{SUBORDINATE}:1000\n");
    let passwd = format!("root:x:0:0::/:/bin/sh\nhull-test:x:{UID}:{UID}::/:/bin/sh\n");
    let file = |name: &str, text: &str| {
        let path = user.host.path(name);
        fs_err::write(&path, text).expect("written");
        path
    };
    let script = r#"mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/subuid &&
        mount --bind "$2" /etc/subgid && shift 2 && exec setpriv --reuid="$1" --regid="$1" --clear-groups -- "$@""#;
    let script = script.replacen(
        r#""$1" --regid="$1" --clear"#,
        r#""$0" --regid="$0" --clear"#,
        1,
    );
    let inner = user.host.command(words);
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", &script])
        .arg(UID.to_string());
    command.args([file("passwd", &passwd), file("subid", &line)]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.current_dir(user.host.path("")).stdin(Stdio::null());
    command
}

fn has_mapping_programs() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join("newuidmap").exists());
    let files = ["/etc/subuid", "/etc/subgid"]
        .iter()
        .all(|file| Path::new(file).exists());
    if !found || !files {
        skip("newuidmap is not installed");
    }
    found && files
}

/// Root, and a thousand subordinate ids.
fn many(user: &User, script: &str) -> Value {
    let mut config = user.config(script);
    let maps = json!([
        {"containerID": 0, "hostID": UID, "size": 1},
        {"containerID": 1, "hostID": SUBORDINATE, "size": 999},
    ]);
    config["linux"]["uidMappings"] = maps.clone();
    config["linux"]["gidMappings"] = maps;
    config
}

#[test]
fn several_ids_are_mapped_by_the_programs_for_it() {
    let Some(user) = User::new() else { return };
    if !has_mapping_programs() {
        return;
    }
    let mut config = many(
        &user,
        "id; cat /proc/self/setgroups; cat /proc/self/uid_map | wc -l",
    );
    fs::remove_file(user.host.path("rootfs/etc/passwd")).expect("removed");
    std::os::unix::fs::symlink("busybox", user.host.path("rootfs/bin/wc")).expect("made");
    config["process"]["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7, 8]});
    user.write(&config);
    let output = with_subordinates(&user, &["run", "many"])
        .output()
        .expect("runs");
    let (code, out, err) = result(&output);
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, "uid=5 gid=6 groups=7,8\nallow\n2\n");
    // A range that nobody gave the user.
    let mut config = many(&user, "true");
    config["linux"]["uidMappings"][1]["hostID"] = json!(1);
    user.write(&config);
    let output = with_subordinates(&user, &["run", "many"])
        .output()
        .expect("runs");
    let (_, _, err) = result(&output);
    assert!(err.contains("newuidmap failed"), "{err}");
}

#[test]
fn a_missing_mapping_program_is_named_with_its_package() {
    let Some(user) = User::new() else { return };
    user.write(&many(&user, "true"));
    let mut command = user.command(&["run", "many"]);
    let (_, _, err) = result(&command.env("PATH", "/nosuch").output().expect("runs"));
    assert!(
        err.contains("newuidmap") && err.contains("package uidmap"),
        "{err}"
    );
}

/// A configuration for somebody who is root of a user namespace already.
fn without_user_namespace(user: &User, script: &str) -> Value {
    let mut config = user.host.config(script);
    let linux = config["linux"].as_object_mut().expect("a map");
    linux.remove("cgroupsPath");
    config
}

/// The program as root of a new user namespace, as podman starts it.
fn in_namespace(user: &User, words: &[&str]) -> Command {
    let inner = user.host.command(words);
    let mut command = Command::new("unshare");
    command.args([OsStr::new("-Urm"), inner.get_program()]);
    command.args(inner.get_args()).uid(UID).gid(UID);
    command.current_dir(user.host.path("")).stdin(Stdio::null());
    command
}

#[test]
fn root_of_a_user_namespace_makes_containers_as_root_does() {
    let Some(user) = User::new() else { return };
    let script = "id -u; stat -c %t:%T /dev/zero; cat /proc/self/uid_map; exit 3";
    user.write(&without_user_namespace(&user, script));
    let (code, out, err) = result(&in_namespace(&user, &["run", "in"]).output().expect("runs"));
    assert_eq!(code, 3, "{err}");
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words, ["0", "1:5", "0", &UID.to_string(), "1"]);
    // Who insists on control groups gets an error.
    let strict = in_namespace(&user, &["run", "in"]);
    let mut words: Vec<_> = strict.get_args().map(OsStr::to_owned).collect();
    words.insert(2, "--rootless=false".into());
    let mut strict = Command::new("unshare");
    strict
        .args(words)
        .uid(UID)
        .gid(UID)
        .current_dir(user.host.path(""))
        .stdin(Stdio::null());
    let (code, _, err) = result(&strict.output().expect("runs"));
    assert_eq!(code, 1);
    assert!(err.contains("could not create cgroup"), "{err}");
}

/// A v2 group that belongs to the user, and what must be done to be alone with cgroup v2. It ends with it.
struct Delegated(PathBuf);

impl Delegated {
    fn new(name: &str) -> Option<Self> {
        let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
            .iter()
            .map(Path::new)
            .find(|root| root.join("cgroup.subtree_control").exists());
        let Some(root) = root else {
            skip("there is no cgroup v2");
            return None;
        };
        let group = root.join(format!("hull-test-{}-{name}", std::process::id()));
        let made = Self(group.clone());
        fs::create_dir(&group).expect("made");
        fs::create_dir(group.join("session")).expect("made");
        for directory in [group.clone(), group.join("session")] {
            own_file(&directory);
            for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                own_file(&directory.join(file));
            }
        }
        Some(made)
    }

    /// The program as the user in its session's group, with v2 as the only hierarchy.
    fn command(&self, user: &User, words: &[&str]) -> Command {
        let script = r#"echo 0 > "$0/session/cgroup.procs" &&
            { [ "$1" = /sys/fs/cgroup ] || mount --rbind "$1" /sys/fs/cgroup; } && uid=$2 && shift 2 &&
            exec setpriv --reuid="$uid" --regid="$uid" --clear-groups -- "$@""#;
        let inner = user.host.command(words);
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]).arg(&self.0);
        command
            .arg(self.0.parent().expect("a root"))
            .arg(UID.to_string());
        command.arg(inner.get_program()).args(inner.get_args());
        command.current_dir(user.host.path("")).stdin(Stdio::null());
        command
    }
}

fn own_file(path: &Path) {
    lchown(path, Some(UID), Some(UID)).expect("given");
}

impl Drop for Delegated {
    fn drop(&mut self) {
        // What a failed test has left ends here; its directory is found by its name.
        let _ = fs_err::write(self.0.join("cgroup.kill"), "1");
        let _ = fs::remove_dir(self.0.join("session"));
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_delegated_group_is_used() {
    let Some(user) = User::new() else { return };
    let Some(group) = Delegated::new("own") else {
        return;
    };
    user.write(&user.config("exec sleep 1000"));
    let path = user.host.path("output");
    let file = || fs::File::create(&path).expect("made");
    let mut run = group.command(&user, &["run", "-d", "group"]);
    let done = run.stdout(file()).stderr(file()).status().expect("runs");
    assert!(
        done.success(),
        "{}",
        fs_err::read_to_string(&path).expect("read")
    );
    assert!(group.0.join("group").is_dir());
    assert_eq!(
        fs::metadata(group.0.join("group")).expect("there").uid(),
        UID
    );
    let call = |words: &[&str]| result(&group.command(&user, words).output().expect("runs"));
    assert_eq!(call(&["pause", "group"]).0, 0);
    assert!(call(&["state", "group"]).1.contains("\"paused\""));
    assert_eq!(call(&["resume", "group"]).0, 0);
    let (code, out, err) = call(&["exec", "group", "cat", "/proc/self/cgroup"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("0::/\n"), "{out}");
    let pids: Vec<u32> =
        serde_json::from_str(&call(&["ps", "-f", "json", "group"]).1).expect("a list");
    assert_eq!(pids.len(), 1);
    assert_eq!(call(&["delete", "--force", "group"]).0, 0);
    assert!(!group.0.join("group").exists());
}

#[test]
fn the_default_place_of_the_state_is_the_users_own() {
    let Some(user) = User::new() else { return };
    user.write(&user.config("true"));
    let run = user.host.path("xdg");
    fs::create_dir(&run).expect("made");
    own(&run);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hull-runtime"));
    command
        .args(["run", "xdg"])
        .current_dir(user.host.path(""))
        .stdin(Stdio::null());
    command.uid(UID).gid(UID).env("XDG_RUNTIME_DIR", &run);
    let (code, _, err) = result(&command.output().expect("runs"));
    assert_eq!(code, 0, "{err}");
    let mode = fs::metadata(run.join("hull/runtime"))
        .expect("made")
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}
