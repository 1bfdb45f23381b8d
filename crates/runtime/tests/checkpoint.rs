//! Checkpoint and restore, with a CRIU that runs here.

mod kit;

use kit::{Host, stderr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
    SocketType, accept, bind, listen, recvmsg, socket,
};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// A host where CRIU says that it works, or a printed reason.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn host() -> Option<Host> {
    let host = Host::new()?;
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    if let Err(why) = TRIED.get_or_init(|| try_out(&host)) {
        println!("skipped: {why}");
        return None;
    }
    fs::create_dir(host.path("data")).expect("made");
    for name in ["mkfifo", "rm"] {
        let link = host.path("rootfs/bin").join(name);
        std::os::unix::fs::symlink("busybox", link).expect("made");
    }
    Some(host)
}

/// Has CRIU alone save a plain container: `criu check` says yes where programs and parts of the kernel are
/// missing that this needs.
fn try_out(host: &Host) -> Result<(), String> {
    let call = |words: &[&str]| {
        let mut criu = Command::new("criu");
        let criu = criu.args(words).stdin(Stdio::null());
        match criu.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(format!("criu {words:?}: {}", stderr(&output))),
            Err(error) => Err(format!("criu: {error}")),
        }
    };
    call(&["check"])?;
    let mut config = host.config("exec sleep 1000");
    config["linux"]["maskedPaths"] = json!([]);
    start(host, "try", config);
    let state: Value =
        serde_json::from_slice(&host.call(&["state", "try"]).stdout).expect("a state");
    let images = host.path("try");
    fs::create_dir(&images).expect("made");
    let (pid, images, root) = (
        state["pid"].to_string(),
        images.to_string_lossy().into_owned(),
        host.path("rootfs").to_string_lossy().into_owned(),
    );
    let words = [
        "dump",
        "--tree",
        &pid,
        "--images-dir",
        &images,
        "--root",
        &root,
    ];
    let tried = call(&[&words[..], &["--leave-running", "--manage-cgroups=ignore"]].concat());
    delete(host, "try");
    tried
}

/// A configuration with everything that is not the container's own: bind mounts, masks, control groups.
fn config(host: &Host, script: &str) -> Value {
    let mut config = host.config(script);
    let mounts = config["mounts"].as_array_mut().expect("a list");
    mounts.push(
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid"]}),
    );
    mounts.push(
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}),
    );
    mounts.push(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "ro"]}),
    );
    mounts.push(
        json!({"destination": "/data", "type": "bind", "source": "data", "options": ["rbind"]}),
    );
    config
}

/// Blocks until somebody writes to a fifo that the test shares with the container; `say` answers.
const WAITING: &str = "read word < /data/in; echo \"$kept $word\" > /data/out";

fn make_fifos(host: &Host) {
    for name in ["in", "out"] {
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        rustix::fs::mkfifoat(rustix::fs::CWD, host.path("data").join(name), mode).expect("made");
    }
}

/// Says a word to the script and gives its answer.
fn say(host: &Host, word: &str) -> String {
    fs_err::write(host.path("data/in"), format!("{word}\n")).expect("written");
    fs_err::read_to_string(host.path("data/out")).expect("read")
}

fn start(host: &Host, id: &str, config: Value) {
    host.write(config, id);
    let done = detached(host.command(&["run", "-d", id]));
    assert!(done.status.success(), "{}", stderr(&done));
}

/// Runs a command whose container keeps the null device, not our pipes.
fn detached(mut command: Command) -> Output {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.output().expect("runs")
}

/// Saves a container. CRIU looks into every hierarchy of control groups the kernel has, and fails when
/// another test's comes or goes meanwhile; the container goes on then, and it is tried again.
fn checkpoint(host: &Host, words: &[&str]) -> Output {
    let mut all = vec!["checkpoint", "--image-path", "images"];
    all.extend(words);
    let mut done = host.call(&all);
    for _ in 0..20 {
        let text = stderr(&done);
        let gone = ["cg: Unable to create the cgroup", "cg: controller"];
        if done.status.success() || !gone.iter().any(|words| text.contains(words)) {
            break;
        }
        done = host.call(&all);
    }
    done
}

fn restore(host: &Host, id: &str) {
    let words = [
        "--log",
        "log",
        "restore",
        "-d",
        "--image-path",
        "images",
        "--pid-file",
        "pid",
        id,
    ];
    let done = detached(host.command(&words));
    let log = fs_err::read_to_string(host.path("log")).unwrap_or_default();
    assert!(done.status.success(), "{log}");
}

fn delete(host: &Host, id: &str) {
    let done = host.call(&["delete", "--force", id]);
    assert!(done.status.success(), "{}", stderr(&done));
}

#[test]
fn a_container_goes_on_where_it_was_saved() {
    let Some(host) = host() else { return };
    make_fifos(&host);
    let script = format!("kept=memory; echo x > /dev/shm/file; while :; do {WAITING}; done");
    let mut config = config(&host, &script);
    let hook = "#!/bin/sh\ncat > \"$(dirname \"$0\")/hook-state\"\n";
    fs_err::write(host.path("hook"), hook).expect("written");
    make_executable(&host.path("hook"));
    config["hooks"] =
        json!({"createRuntime": [{"path": host.path("hook"), "env": ["PATH=/bin:/usr/bin"]}]});
    start(&host, "life", config);
    assert_eq!(say(&host, "before"), "memory before\n");
    fs::remove_file(host.path("hook-state")).expect("the hook has run");
    let done = checkpoint(&host, &["life"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(host.status("life"), "none");
    for file in ["inventory.img", "descriptors.json", "dump.log"] {
        assert!(host.path("images").join(file).exists(), "{file}");
    }
    restore(&host, "life");
    assert_eq!(host.status("life"), "running");
    assert_eq!(say(&host, "after"), "memory after\n");
    let state: Value =
        serde_json::from_slice(&host.call(&["state", "life"]).stdout).expect("a state");
    let pid = fs_err::read_to_string(host.path("pid")).expect("read");
    assert_eq!(state["pid"].to_string(), pid);
    let seen = fs_err::read_to_string(host.path("hook-state")).expect("the hook has run again");
    let seen: Value = serde_json::from_str(&seen).expect("a state");
    assert_eq!(seen["pid"], state["pid"]);
    let output = host.call(&[
        "exec",
        "life",
        "sh",
        "-c",
        "cat /dev/shm/file /proc/kcore; ls /sys/fs/cgroup",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("x\n"));
    let pids: Vec<u32> =
        serde_json::from_slice(&host.call(&["ps", "-f", "json", "life"]).stdout).expect("a list");
    assert_eq!(pids.len(), 1);
    // It can be saved again, under another name.
    let done = checkpoint(&host, &["life"]);
    assert!(done.status.success(), "{}", stderr(&done));
    restore(&host, "other");
    assert_eq!(say(&host, "again"), "memory again\n");
    delete(&host, "other");
    assert!(!host.path("state/other").exists());
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
}

#[test]
fn a_container_can_be_saved_and_go_on() {
    let Some(host) = host() else { return };
    make_fifos(&host);
    let script = format!("kept=here; while :; do {WAITING}; done");
    start(&host, "on", config(&host, &script));
    let done = checkpoint(&host, &["--leave-running", "--work-path", "work", "on"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(host.path("work/dump.log").exists());
    assert_eq!(host.status("on"), "running");
    assert_eq!(say(&host, "still"), "here still\n");
    assert!(host.call(&["pause", "on"]).status.success());
    let done = checkpoint(&host, &["on"]);
    assert!(done.status.success(), "{}", stderr(&done));
    restore(&host, "on");
    let status = host.status("on");
    if status == "paused" {
        assert!(host.call(&["resume", "on"]).status.success());
    }
    assert_eq!(say(&host, "again"), "here again\n");
    delete(&host, "on");
}

#[test]
fn pipes_and_the_exit_code_are_those_of_who_restores() {
    let Some(host) = host() else { return };
    make_fifos(&host);
    host.write(
        config(
            &host,
            "kept=x; read word < /data/in; echo \"out $word\"; exit 7",
        ),
        "pipes",
    );
    let mut run = host.command(&["run", "pipes"]);
    let mut run = run
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    // Once it reads, it has begun.
    let writer = File::options()
        .write(true)
        .open(host.path("data/in"))
        .expect("opened");
    let done = checkpoint(&host, &["pipes"]);
    assert!(done.status.success(), "{}", stderr(&done));
    drop(writer);
    run.wait().expect("ended");
    let words = ["restore", "--image-path", "images", "pipes"];
    let restored = host
        .command(&words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let restored = restored.expect("runs");
    fs_err::write(host.path("data/in"), "word\n").expect("written");
    let output = restored.wait_with_output().expect("ended");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "out word\n",
        "{}",
        stderr(&output)
    );
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(host.status("pipes"), "none");
}

/// A socket for terminals, and the next one that is sent to it.
struct Terminals(OwnedFd);

impl Terminals {
    fn listen(host: &Host) -> Self {
        let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("made");
        let address = SocketAddrUnix::new(host.path("console")).expect("a path");
        bind(&listener, &address)
            .and_then(|()| listen(&listener, 1))
            .expect("listens");
        Self(listener)
    }

    fn next(&self) -> File {
        let connection = accept(&self.0).expect("accepted");
        let mut name = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut name)];
        recvmsg(
            &connection,
            &mut parts,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
        .expect("received");
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut files) = message {
                return files.next().expect("a terminal").into();
            }
        }
        panic!("no terminal was sent");
    }
}

#[test]
fn a_terminal_is_sent_to_who_restores() {
    let Some(host) = host() else { return };
    let mut config = config(&host, "while read line; do echo \"<$line>\"; done");
    config["process"]["terminal"] = json!(true);
    host.write(config, "tty");
    let terminals = Terminals::listen(&host);
    let done = detached(host.command(&["run", "-d", "--console-socket", "console", "tty"]));
    assert!(done.status.success());
    let terminal = terminals.next();
    expect(&terminal, "one");
    let done = checkpoint(&host, &["tty"]);
    assert!(done.status.success(), "{}", stderr(&done));
    drop(terminal);
    let words = [
        "--log",
        "log",
        "restore",
        "-d",
        "--console-socket",
        "console",
        "--image-path",
        "images",
        "tty",
    ];
    let done = detached(host.command(&words));
    let log = fs_err::read_to_string(host.path("log")).unwrap_or_default();
    assert!(done.status.success(), "{log}");
    expect(&terminals.next(), "two");
    delete(&host, "tty");
}

/// Types a line and reads until it comes back in brackets.
fn expect(mut terminal: &File, line: &str) {
    writeln!(terminal, "{line}").expect("typed");
    let mut seen = String::new();
    while !seen.contains(&format!("<{line}>")) {
        let mut buffer = [0; 256];
        let length = terminal.read(&mut buffer).expect("read");
        assert_ne!(length, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
}

#[test]
fn a_network_from_outside_is_given_back() {
    let Some(host) = host() else { return };
    make_fifos(&host);
    let mut owner = Command::new("unshare");
    owner.args(["-n", "sh", "-c", "echo; exec cat"]);
    let mut owner = owner
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    // Once it speaks, it has its namespace.
    let mut ready = [0];
    owner
        .stdout
        .as_mut()
        .expect("piped")
        .read_exact(&mut ready)
        .expect("ready");
    let path = format!("/proc/{}/ns/net", owner.id());
    let script = format!("kept=$(readlink /proc/self/ns/net); while :; do {WAITING}; done");
    let mut config = config(&host, &script);
    config["linux"]["namespaces"][1] = json!({"type": "network", "path": path});
    start(&host, "net", config);
    let own = fs::read_link(&path).expect("read");
    assert_eq!(say(&host, "1"), format!("{} 1\n", own.display()));
    let done = checkpoint(&host, &["net"]);
    assert!(done.status.success(), "{}", stderr(&done));
    restore(&host, "net");
    let state: Value =
        serde_json::from_slice(&host.call(&["state", "net"]).stdout).expect("a state");
    let restored = fs::read_link(format!("/proc/{}/ns/net", state["pid"])).expect("read");
    assert_eq!(restored, own);
    delete(&host, "net");
    drop(owner.stdin.take());
    owner.wait().expect("ended");
}

#[test]
fn what_cannot_be_saved_goes_on() {
    let Some(host) = host() else { return };
    make_fifos(&host);
    let script = format!("kept=still; while :; do {WAITING}; done");
    host.write(config(&host, &script), "fails");
    // A file that is in none of the container's mounts.
    let output = File::create(host.path("output")).expect("made");
    let mut run = host.command(&["run", "-d", "fails"]);
    let run = run
        .stdout(output.as_fd().try_clone_to_owned().expect("copied"))
        .stderr(Stdio::null());
    assert!(run.status().expect("runs").success());
    let done = checkpoint(&host, &["fails"]);
    assert!(!done.status.success());
    let text = stderr(&done);
    assert!(
        text.contains("criu failed: type DUMP") && text.contains("Quoting"),
        "{text}"
    );
    assert_eq!(host.status("fails"), "running");
    assert_eq!(say(&host, "there"), "still there\n");
    delete(&host, "fails");
}

#[test]
fn what_is_missing_is_named() {
    let Some(host) = host() else { return };
    host.create("waits", host.config("true"));
    let text = stderr(&checkpoint(&host, &["waits"]));
    assert!(
        text.contains("Container cannot be checkpointed in created state"),
        "{text}"
    );
    delete(&host, "waits");
    let text = stderr(&host.call(&["restore", "--image-path", "nosuch", "new"]));
    assert!(text.contains("nosuch: no such file or directory"), "{text}");
    assert!(!host.path("state/new").exists());
    let text = stderr(&host.call(&["restore", "--manage-cgroups-mode", "odd", "new"]));
    assert!(text.contains("invalid manage-cgroups-mode value"), "{text}");
}

#[test]
fn without_criu_its_package_is_named() {
    let Some(host) = Host::new() else { return };
    start(&host, "plain", host.config("exec sleep 1000"));
    let mut command = host.command(&["checkpoint", "--image-path", "images", "plain"]);
    let text = stderr(&command.env("PATH", "/nosuch").output().expect("runs"));
    assert!(text.contains("package criu"), "{text}");
    assert_eq!(host.status("plain"), "running");
    delete(&host, "plain");
}
