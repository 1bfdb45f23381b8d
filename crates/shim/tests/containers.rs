//! A shim with a real runtime: `hull-runtime` where it is built, else Debian's `runc`.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "tests, and what they share"
)]

use hull_shim::{AttachOptions, Event, ExecRequest, ExitRecord, Handle, Launch, LogConfig};
use hull_spec::rootfs::RootFs;
use hull_spec::runtime::Process;
use serde_json::json;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

const ALL: AttachOptions = AttachOptions {
    stdin: true,
    stdout: true,
    stderr: true,
};

/// A bundle, and the life of the container in it.
struct Container {
    directory: tempfile::TempDir,
    launch: Launch,
    /// Then it could not remove its socket.
    shim_was_killed: bool,
}

fn runtime() -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap();
    let ours = own
        .ancestors()
        .map(|directory| directory.join("hull-runtime"))
        .find(|path| path.is_file());
    let works = |path: &PathBuf| {
        std::process::Command::new(path)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
    };
    ours.filter(works)
        .or_else(|| Some(PathBuf::from("/usr/sbin/runc")).filter(|path| path.is_file()))
}

/// A container that will run `command` in a shell of Debian's busybox; `None`, with the reason
/// printed, where that cannot be.
fn container(command: &str) -> Option<Container> {
    let (Some(runtime), true) = (runtime(), Path::new("/bin/busybox").is_file()) else {
        eprintln!("skipped: no OCI runtime or no busybox-static");
        return None;
    };
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in [
        "lower/bin",
        "lower/proc",
        "lower/dev",
        "lower/tmp",
        "upper",
        "work",
        "bundle",
        "runtime",
    ] {
        fs_err::create_dir_all(at(name)).unwrap();
    }
    fs_err::copy("/bin/busybox", at("lower/bin/busybox")).unwrap();
    for applet in ["sh", "cat", "sleep", "stty", "seq", "head", "true", "tty"] {
        std::os::unix::fs::symlink("busybox", at("lower/bin").join(applet)).unwrap();
    }
    let id = format!(
        "shimtest{}",
        directory
            .path()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .replace('.', "")
    );
    let launch = Launch {
        foreign_mounts: None,
        foreign_sources: None,
        first: false,
        sources: Vec::new(),
        shared_memory: None,
        id: id.clone(),
        bundle: at("bundle"),
        runtime,
        runtime_args: Vec::new(),
        runtime_root: at("runtime"),
        rootfs: RootFs::Overlay {
            lower: vec![at("lower")],
            upper: Some(at("upper")),
            work: Some(at("work")),
            volatile: false,
        },
        receiver: None,
        log: Some(LogConfig {
            path: at("log"),
            max_files: 1,
            ..LogConfig::default()
        }),
        held: 0,
        relays: Vec::new(),
        tty: false,
        open_stdin: false,
        stdin_once: false,
        console_size: None,
        cgroup: Some(format!("hull-test-{id}")),
        exit_file: at("exit.json"),
        restore: None,
        root_first: false,
    };
    let container = Container {
        directory,
        launch,
        shim_was_killed: false,
    };
    container.configure(command);
    Some(container)
}

impl Container {
    fn configure(&self, command: &str) {
        let spec = json!({
            "ociVersion": "1.0.2",
            "process": self.process(command, self.launch.tty),
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
            ],
            "linux": {
                "cgroupsPath": format!("/{}", self.launch.cgroup.as_ref().unwrap()),
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}],
            },
        });
        fs_err::write(self.launch.bundle.join("config.json"), spec.to_string()).unwrap();
    }

    fn process(&self, command: &str, terminal: bool) -> Process {
        let document = json!({"args": ["/bin/sh", "-c", command], "cwd": "/", "env": ["PATH=/bin"], "terminal": terminal, "user": {"uid": 0, "gid": 0}});
        serde_json::from_value(document).unwrap()
    }

    fn spawn(&self) -> Handle {
        Handle::spawn(
            Path::new(env!("CARGO_BIN_EXE_hull-shim")),
            &self.launch,
            Vec::new(),
        )
        .unwrap()
    }

    fn exit(&self) -> ExitRecord {
        ExitRecord::read(&self.launch.exit_file)
            .unwrap()
            .expect("the exit is recorded")
    }

    fn log(&self) -> Vec<(String, String)> {
        let text = fs_err::read_to_string(&self.launch.log.as_ref().unwrap().path).unwrap();
        let entry = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            (
                value["stream"].as_str().unwrap().to_owned(),
                value["log"].as_str().unwrap().to_owned(),
            )
        };
        text.lines().map(entry).collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        let path = self.directory.path().to_str().unwrap();
        if !std::thread::panicking() {
            let group = self.launch.cgroup.as_deref().unwrap();
            for hierarchy in fs_err::read_dir("/sys/fs/cgroup").unwrap().flatten() {
                let left = hierarchy.path().join(group);
                assert!(!left.exists(), "{} was left behind", left.display());
            }
            let socket = self.launch.bundle.join("shim.sock");
            assert!(!socket.exists() || self.shim_was_killed, "a socket is left");
            assert!(
                !mounts.contains(path),
                "a mount is visible on the host: {mounts}"
            );
        }
    }
}

/// Waits for the end: all events up to it, `Cleaned` included.
fn wait(handle: &Handle) -> Vec<Event> {
    let Ok(mut events) = handle.events() else {
        return Vec::new();
    };
    std::iter::from_fn(|| events.wait().unwrap()).collect()
}

/// Undoes Docker's framing.
fn frames(bytes: &[u8]) -> (String, String) {
    let mut streams = [Vec::new(), Vec::new()];
    let mut rest = bytes;
    while let Some((header, body)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes(*header.last_chunk::<4>().unwrap()) as usize;
        streams[usize::from(header[0]) - 1].extend_from_slice(&body[..length]);
        rest = &body[length..];
    }
    let [out, err] = streams.map(|stream| String::from_utf8(stream).unwrap());
    (out, err)
}

fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn output_exit_and_end_are_told() {
    let Some(container) = container("echo out; echo err >&2; exit 3") else {
        return;
    };
    let handle = container.spawn();
    let stream = handle.attach(ALL).unwrap();
    let mut events = handle.events().unwrap();
    handle.start().unwrap();
    assert_eq!(
        frames(&read_all(stream)),
        ("out\n".to_owned(), "err\n".to_owned())
    );
    let Some(Event::Exited(record)) = events.wait().unwrap() else {
        panic!("no exit")
    };
    assert_eq!((record.exit_code, record.oom_killed), (3, false));
    assert_eq!(events.wait().unwrap(), Some(Event::Cleaned));
    assert_eq!(events.wait().unwrap(), None);
    assert_eq!(container.exit(), record);
    let mut log = container.log();
    log.sort();
    assert_eq!(
        log,
        [("stderr", "err\n"), ("stdout", "out\n")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    assert!(Handle::connect(&container.launch.bundle, PATIENCE).is_err());
}

#[test]
fn a_root_that_somebody_waits_for_is_unmounted_first() {
    let Some(mut container) = container("echo written > /tmp/file") else {
        return;
    };
    container.launch.root_first = true;
    let handle = container.spawn();
    let mut events = handle.events().unwrap();
    handle.start().unwrap();
    assert!(matches!(events.wait().unwrap(), Some(Event::Exited(_))));
    assert_eq!(events.wait().unwrap(), Some(Event::Unmounted));
    let written = container.directory.path().join("upper/tmp/file");
    assert_eq!(fs_err::read_to_string(written).unwrap(), "written\n");
    assert_eq!(events.wait().unwrap(), Some(Event::Cleaned));
    assert_eq!(events.wait().unwrap(), None);
}

#[test]
fn a_command_that_is_not_there_is_told_in_the_runtimes_words() {
    let Some(container) = container("true") else {
        return;
    };
    let mut spec: serde_json::Value =
        serde_json::from_slice(&fs_err::read(container.launch.bundle.join("config.json")).unwrap())
            .unwrap();
    spec["process"]["args"] = json!(["nosuch"]);
    fs_err::write(
        container.launch.bundle.join("config.json"),
        spec.to_string(),
    )
    .unwrap();
    let error = Handle::spawn(
        Path::new(env!("CARGO_BIN_EXE_hull-shim")),
        &container.launch,
        Vec::new(),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("executable file not found in $PATH"),
        "{error}"
    );
    for file in ["shim.sock", "shim.pid"] {
        assert!(!container.launch.bundle.join(file).exists(), "{file}");
    }
}

#[test]
fn input_reaches_the_process_and_ends() {
    let Some(mut container) = container("cat; echo end") else {
        return;
    };
    (container.launch.open_stdin, container.launch.stdin_once) = (true, true);
    let handle = container.spawn();
    let mut stream = handle.attach(ALL).unwrap();
    handle.start().unwrap();
    let input = "x".repeat(300_000);
    let mut writer = stream.try_clone().unwrap();
    let sent = input.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(sent.as_bytes()).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let output = frames(&read_all(&mut stream)).0;
    writing.join().unwrap();
    assert!(output == input + "end\n");
    wait(&handle);
}

#[test]
fn a_terminal_has_its_size_and_is_not_framed() {
    let Some(mut container) = container("stty size; read x; stty size; echo $x") else {
        return;
    };
    (
        container.launch.tty,
        container.launch.open_stdin,
        container.launch.console_size,
    ) = (true, true, Some((33, 77)));
    container.configure("stty size; read x; stty size; echo got $x");
    let handle = container.spawn();
    let mut stream = handle.attach(ALL).unwrap();
    handle.start().unwrap();
    let mut seen = String::new();
    while !seen.contains("33 77") {
        let mut buffer = [0; 100];
        let length = stream.read(&mut buffer).unwrap();
        seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    handle.resize(None, 50, 100).unwrap();
    stream.write_all(b"word\n").unwrap();
    let rest = String::from_utf8(read_all(stream)).unwrap();
    assert!(
        rest.contains("50 100") && rest.contains("got word"),
        "{rest:?}"
    );
    wait(&handle);
}

#[test]
fn several_clients_see_the_same() {
    let Some(container) = container("echo one; sleep 0.1; echo two") else {
        return;
    };
    let handle = container.spawn();
    let streams = [
        handle.attach(ALL).unwrap(),
        handle
            .attach(AttachOptions {
                stdin: false,
                stdout: true,
                stderr: false,
            })
            .unwrap(),
    ];
    handle.start().unwrap();
    for stream in streams {
        assert_eq!(frames(&read_all(stream)).0, "one\ntwo\n");
    }
    wait(&handle);
}

#[test]
fn a_client_that_does_not_read_does_not_stop_the_others() {
    let Some(container) = container("seq 1000000; echo end") else {
        return;
    };
    let handle = container.spawn();
    let silent = handle.attach(ALL).unwrap();
    let reading = handle.attach(ALL).unwrap();
    handle.start().unwrap();
    let output = frames(&read_all(reading)).0;
    assert!(output.ends_with("1000000\nend\n"));
    drop(silent);
    wait(&handle);
    assert_eq!(container.log().len(), 1_000_001);
}

#[test]
fn a_slow_client_alone_loses_nothing() {
    let Some(container) = container("seq 1000000") else {
        return;
    };
    let handle = container.spawn();
    let slow = handle.attach(ALL).unwrap();
    let mut events = handle.events().unwrap();
    handle.start().unwrap();
    let snapshot = handle.snapshot().unwrap();
    assert!(snapshot.started);
    assert!(frames(&read_all(slow)).0.ends_with("\n1000000\n"));
    assert!(matches!(events.wait().unwrap(), Some(Event::Exited(_))));
    while events.wait().unwrap().is_some() {}
}

#[test]
fn another_process_joins() {
    let Some(container) = container("sleep 1000") else {
        return;
    };
    let handle = container.spawn();
    handle.start().unwrap();
    let mut events = handle.events().unwrap();
    let request = |id: &str, command: &str, attach| ExecRequest {
        id: id.to_owned(),
        process: container.process(command, false),
        attach,
        console_size: None,
    };
    let (_, stream) = handle
        .exec(request("e1", "echo hello; cat; exit 5", Some(ALL)))
        .unwrap();
    let mut stream = stream.unwrap();
    stream.write_all(b"typed").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(frames(&read_all(stream)).0, "hello\ntyped");
    assert_eq!(
        events.wait().unwrap(),
        Some(Event::ExecExited {
            id: "e1".to_owned(),
            exit_code: 5
        })
    );
    let (pid, stream) = handle.exec(request("e2", "sleep 1000", None)).unwrap();
    assert!(stream.is_none());
    assert_eq!(handle.snapshot().unwrap().execs, [("e2".to_owned(), pid)]);
    let mut missing = request("e3", "", Some(ALL));
    missing.process.args = vec!["nosuch".to_owned()];
    let error = handle.exec(missing).unwrap_err().to_string();
    assert!(
        error.contains("executable file not found in $PATH"),
        "{error}"
    );
    handle.kill(9).unwrap();
    let told: Vec<Event> = std::iter::from_fn(|| events.wait().unwrap()).collect();
    assert!(
        matches!(told.iter().find(|event| matches!(event, Event::Exited(_))), Some(Event::Exited(record)) if record.exit_code == 137),
        "{told:?}"
    );
}

#[test]
fn pausing_holds_and_a_new_daemon_finds_the_shim() {
    let Some(container) = container("sleep 1000") else {
        return;
    };
    let handle = container.spawn();
    handle.start().unwrap();
    handle.pause().unwrap();
    let (again, snapshot) = Handle::connect(&container.launch.bundle, PATIENCE).unwrap();
    assert!(snapshot.started && snapshot.paused && snapshot.pid == handle.pid());
    again.resume().unwrap();
    assert!(!again.snapshot().unwrap().paused);
    let mut events = again.events().unwrap();
    again.kill(15).unwrap();
    // While there is somebody to get it.
    assert!(again.kill(99).is_err());
    again.kill(9).unwrap();
    while events.wait().unwrap().is_some() {}
    assert_eq!(container.exit().exit_code, 137);
}

#[test]
fn a_killed_shim_is_noticed() {
    let Some(mut container) = container("sleep 1000") else {
        return;
    };
    let handle = container.spawn();
    handle.start().unwrap();
    let mut events = handle.events().unwrap();
    let pid: i32 = fs_err::read_to_string(container.launch.bundle.join("shim.pid"))
        .unwrap()
        .parse()
        .unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert_eq!(events.wait().unwrap(), None, "no `Cleaned` before the end");
    assert!(handle.snapshot().is_err());
    container.shim_was_killed = true;
    let launch = &container.launch;
    let deleted = std::process::Command::new(&launch.runtime)
        .arg("--root")
        .arg(&launch.runtime_root)
        .args(["delete", "--force", &launch.id])
        .status()
        .unwrap();
    assert!(deleted.success());
}

#[test]
fn input_that_nobody_read_does_not_spoil_the_end_of_the_output() {
    let Some(mut container) = container("read x; echo got $x") else {
        return;
    };
    container.launch.open_stdin = true;
    let handle = container.spawn();
    let mut stream = handle.attach(ALL).unwrap();
    handle.start().unwrap();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer.write_all(b"word\n").unwrap();
        // Until nobody takes it any more.
        while writer.write_all(&[b'x'; 4096]).is_ok() {}
    });
    // `read_to_end` would give `ECONNRESET`.
    assert_eq!(frames(&read_all(&mut stream)).0, "got word\n");
    writing.join().unwrap();
    wait(&handle);
}

#[test]
fn a_paused_container_can_be_killed() {
    let Some(container) = container("sleep 1000") else {
        return;
    };
    let handle = container.spawn();
    handle.start().unwrap();
    let mut events = handle.events().unwrap();
    handle.pause().unwrap();
    handle.kill(9).unwrap();
    while events.wait().unwrap().is_some() {}
    assert_eq!(container.exit().exit_code, 137);
}

#[test]
fn an_exec_that_dies_with_the_container_is_told() {
    let Some(container) = container("busybox mkfifo /tmp/end; read x < /tmp/end") else {
        return;
    };
    let handle = container.spawn();
    handle.start().unwrap();
    let mut events = handle.events().unwrap();
    let request = ExecRequest {
        id: "e1".to_owned(),
        process: container.process(
            "until [ -p /tmp/end ]; do :; done; echo last words; echo > /tmp/end; sleep 1000",
            false,
        ),
        attach: Some(ALL),
        console_size: None,
    };
    let (_, stream) = handle.exec(request).unwrap();
    assert_eq!(frames(&read_all(stream.unwrap())).0, "last words\n");
    let told: Vec<Event> = std::iter::from_fn(|| events.wait().unwrap()).collect();
    let exec = Event::ExecExited {
        id: "e1".to_owned(),
        exit_code: 137,
    };
    assert!(told[0] == exec && told.len() == 3, "{told:?}");
}

#[test]
fn an_exec_has_a_terminal_of_its_own() {
    let Some(container) = container("sleep 1000") else {
        return;
    };
    let handle = container.spawn();
    handle.start().unwrap();
    let mut events = handle.events().unwrap();
    let request = ExecRequest {
        id: "e1".to_owned(),
        process: container.process("stty size; read x; stty size; exit 7", true),
        attach: Some(ALL),
        console_size: Some((20, 60)),
    };
    let (_, stream) = handle.exec(request).unwrap();
    let mut stream = stream.unwrap();
    let mut first = [0; 7];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"20 60\r\n");
    handle.resize(Some("e1"), 21, 61).unwrap();
    assert!(handle.resize(None, 1, 1).is_err(), "no terminal there");
    stream.write_all(b"\n").unwrap();
    let rest = String::from_utf8(read_all(stream)).unwrap();
    assert!(rest.contains("21 61"), "{rest:?}");
    let exited = Event::ExecExited {
        id: "e1".to_owned(),
        exit_code: 7,
    };
    assert_eq!(events.wait().unwrap(), Some(exited));
    handle.kill(9).unwrap();
    while events.wait().unwrap().is_some() {}
}

#[test]
fn a_terminal_without_input_takes_none() {
    let Some(mut container) = container("") else {
        return;
    };
    container.launch.tty = true;
    container.configure("read -t 1 x; echo \"got ($x)\"");
    let handle = container.spawn();
    let mut stream = handle.attach(ALL).unwrap();
    handle.start().unwrap();
    stream.write_all(b"word\n").unwrap();
    let seen = String::from_utf8(read_all(stream)).unwrap();
    assert_eq!(seen, "got ()\r\n");
    wait(&handle);
}

#[test]
fn mount_points_that_are_made_can_be_entered_by_everybody() {
    use std::os::unix::fs::PermissionsExt;
    let Some(container) = container("true") else {
        return;
    };
    let path = container.launch.bundle.join("config.json");
    let mut spec: serde_json::Value =
        serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    let mount = json!({"destination": "/made", "type": "tmpfs", "source": "tmpfs"});
    spec["mounts"].as_array_mut().unwrap().push(mount);
    fs_err::write(&path, spec.to_string()).unwrap();
    let handle = container.spawn();
    let socket = fs_err::metadata(container.launch.bundle.join("shim.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o077, 0, "for root alone");
    handle.start().unwrap();
    wait(&handle);
    let made = fs_err::metadata(container.directory.path().join("upper/made")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o755);
}
