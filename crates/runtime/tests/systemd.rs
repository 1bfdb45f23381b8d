//! `--systemd-cgroup`: with the host's systemd where one runs, and with one that is made up where none
//! does.

mod kit;

use hull_linux::systemd::{Kind, Message, Value, is_running};
use kit::Host;
use serde_json::{Value as Json, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Writes a bundle whose container is the scope `hulltest-<id>-<pid>` with a few limits, and gives the
/// scope's name.
fn write(host: &Host, id: &str) -> String {
    let mut config = host.config("sleep 1000");
    config["linux"]["resources"] = json!({
        "pids": {"limit": 40},
        "memory": {"limit": 64 << 20},
        "cpu": {"quota": 20000, "period": 100_000},
    });
    config["annotations"] = json!({
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.TimeoutStopSec": "3",
    });
    let name = format!("{id}-{}", std::process::id());
    config["linux"]["cgroupsPath"] = json!(format!("system.slice:hulltest:{name}"));
    fs_err::write(host.path("config.json"), config.to_string()).expect("written");
    format!("hulltest-{name}.scope")
}

/// Runs the program with its output in a file, which a container may keep open.
fn call(command: &mut Command, host: &Host) -> String {
    let file = || {
        fs_err::File::create(host.path("output"))
            .expect("made")
            .into_parts()
            .0
    };
    let status = command
        .stdout(file())
        .stderr(file())
        .status()
        .expect("runs");
    let said = fs_err::read_to_string(host.path("output")).expect("read");
    assert!(status.success(), "{said}");
    said
}

fn pid(host: &Host, id: &str) -> u64 {
    let output = host.call(&["state", id]);
    let state: Json = serde_json::from_slice(&output.stdout).expect("parses");
    state["pid"].as_u64().expect("a number")
}

fn show(unit: &str, property: &str) -> String {
    let output: Output = Command::new("systemctl")
        .args(["show", "--value", "-p", property, unit])
        .stdin(Stdio::null())
        .output()
        .expect("runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn a_container_is_a_scope_of_systemd() {
    let Some(host) = Host::new() else { return };
    if !is_running() {
        println!("skipped: no systemd runs here");
        return;
    }
    let id = "scope";
    let unit = write(&host, id);
    call(
        &mut host.command(&["--systemd-cgroup", "create", id]),
        &host,
    );
    let listed = fs_err::read_to_string(format!("/proc/{}/cgroup", pid(&host, id)));
    let found = [
        "ActiveState",
        "TasksMax",
        "Delegate",
        "CollectMode",
        "DevicePolicy",
    ]
    .map(|property| show(&unit, property));
    let update = host.call(&["update", "--pids-limit", "30", id]);
    let after = show(&unit, "TasksMax");
    let refused = host.call(&["update", "--pids-limit", "20", "--cpu-idle", "7", id]);
    let undone = show(&unit, "TasksMax");
    let frozen = host.call(&["pause", id]).status.success()
        && host.status(id) == "paused"
        && host.call(&["resume", id]).status.success();
    let deleted = host.call(&["delete", "--force", id]);
    assert!(
        listed
            .expect("read")
            .contains(&format!("/system.slice/{unit}"))
    );
    assert_eq!(
        found,
        ["active", "40", "yes", "inactive-or-failed", "strict"]
    );
    assert!(update.status.success(), "{}", kit::stderr(&update));
    assert_eq!(after, "30");
    // systemd took the first limit, the kernel refused the second.
    assert!(!refused.status.success());
    assert_eq!(undone, "30");
    assert!(frozen);
    assert!(deleted.status.success(), "{}", kit::stderr(&deleted));
    assert_eq!(show(&unit, "ActiveState"), "inactive");
    let v2 = Path::new("/sys/fs/cgroup/system.slice").join(&unit);
    assert!(!v2.exists());
}

/// A bus with a manager behind it that says yes to everything, and passes on what it was asked.
fn made_up(listener: UnixListener, calls: Sender<Message>) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let calls = calls.clone();
            std::thread::spawn(move || serve(stream.expect("accepted"), &calls));
        }
    });
}

fn serve(mut stream: UnixStream, calls: &Sender<Message>) {
    let mut reader = BufReader::new(stream.try_clone().expect("another"));
    let mut line = String::new();
    for answer in ["DATA\r\n", "OK 00\r\n", ""] {
        reader.read_line(&mut line).expect("a line");
        stream.write_all(answer.as_bytes()).expect("sent");
    }
    let mut start = [0; 16];
    while reader.read_exact(&mut start).is_ok() {
        let mut bytes = start.to_vec();
        bytes.resize(Message::length(start).expect("a message"), 0);
        reader.read_exact(&mut bytes[16..]).expect("the rest");
        let call = Message::decode(&bytes).expect("a message");
        let mut reply = Message {
            reply_to: call.serial,
            ..Message::new(Kind::Return, 9)
        };
        if ["StartTransientUnit", "StopUnit"].contains(&call.member.as_str()) {
            reply.body = vec![Value::Path("/job/1".to_owned())];
        }
        if call.member == "Get" {
            reply.body = vec![Value::Variant(Box::new(Value::text("252.1")))];
        }
        stream.write_all(&reply.encode()).expect("sent");
        if reply.body.first() == Some(&Value::Path("/job/1".to_owned())) {
            let path = Value::Path("/job/1".to_owned());
            let signal = Message {
                path: "/org/freedesktop/systemd1".to_owned(),
                interface: MANAGER.to_owned(),
                member: "JobRemoved".to_owned(),
                body: vec![Value::U32(1), path, Value::text("u"), Value::text("done")],
                ..Message::new(Kind::Signal, 10)
            };
            stream.write_all(&signal.encode()).expect("sent");
        }
        if call.interface == MANAGER {
            // The test may have what it wanted already.
            let _ = calls.send(call);
        }
    }
}

/// The program where a systemd seems to run, which is reached by the bus at `$1`.
const SEEMING: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir -p /run/systemd/system
export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$1"
shift
exec "$@"
"#;

fn seeming(host: &Host, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", SEEMING, "sh"]);
    command.arg(host.path("bus"));
    command.arg(env!("CARGO_BIN_EXE_hull-runtime"));
    command.arg("--root").arg(host.path("state")).args(words);
    command.current_dir(host.path("")).stdin(Stdio::null());
    command
}

fn next(calls: &Receiver<Message>, member: &str) -> Message {
    let all = std::iter::from_fn(|| calls.recv().ok());
    let mut all = all.filter(|call| call.member == member);
    all.next().expect("a call")
}

/// The value of a property in the list at this place of a call.
fn property(call: &Message, at: usize, wanted: &str) -> Option<Value> {
    let Value::Array(_, properties) = &call.body[at] else {
        return None;
    };
    let found = properties.iter().find_map(|pair| match pair {
        Value::Struct(pair) => match pair.as_slice() {
            [Value::Text(name), Value::Variant(value)] if name == wanted => Some(&**value),
            _ => None,
        },
        _ => None,
    });
    found.cloned()
}

#[test]
fn what_systemd_is_asked_for() {
    let Some(host) = Host::new() else { return };
    if is_running() || Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        println!("skipped: a real systemd, or a group that only it could make");
        return;
    }
    let (sender, calls) = channel();
    made_up(UnixListener::bind(host.path("bus")).expect("bound"), sender);
    let id = "asked";
    let unit = write(&host, id);
    call(
        &mut seeming(&host, &["--systemd-cgroup", "create", id]),
        &host,
    );
    let started = next(&calls, "StartTransientUnit");
    assert_eq!(
        started.body[..2],
        [Value::text(&unit), Value::text("replace")]
    );
    for (name, value) in [
        ("Slice", Value::text("system.slice")),
        ("Delegate", Value::Bool(true)),
        ("TasksMax", Value::U64(40)),
        ("MemoryLimit", Value::U64(64 << 20)),
        ("CPUQuotaPerSecUSec", Value::U64(200_000)),
        ("CollectMode", Value::text("inactive-or-failed")),
        ("TimeoutStopUSec", Value::U64(3_000_000)),
        ("DevicePolicy", Value::text("strict")),
    ] {
        assert_eq!(property(&started, 2, name), Some(value), "{name}");
    }
    let first = u32::try_from(pid(&host, id)).expect("a process");
    let Some(Value::Array(_, pids)) = property(&started, 2, "PIDs") else {
        panic!("no processes");
    };
    assert_eq!(pids, [Value::U32(first)]);
    // What systemd was asked for, the kernel was told as well.
    let group = Path::new("/sys/fs/cgroup/pids/system.slice").join(&unit);
    let read = |file: &str| fs_err::read_to_string(group.join(file)).expect("read");
    assert_eq!(
        (read("pids.max").trim(), read("cgroup.procs").trim()),
        ("40", &*first.to_string())
    );
    call(
        &mut seeming(&host, &["update", "--pids-limit", "30", id]),
        &host,
    );
    let updated = next(&calls, "SetUnitProperties");
    assert_eq!(property(&updated, 2, "TasksMax"), Some(Value::U64(30)));
    assert_eq!(property(&updated, 2, "MemoryLimit"), None);
    assert_eq!(read("pids.max").trim(), "30");
    call(&mut seeming(&host, &["delete", "--force", id]), &host);
    assert_eq!(next(&calls, "StopUnit").body[0], Value::text(&unit));
    assert!(!group.exists());
    for hierarchy in fs_err::read_dir("/sys/fs/cgroup")
        .expect("listed")
        .flatten()
    {
        // Others may be in it.
        let _ = fs_err::remove_dir(hierarchy.path().join("system.slice"));
    }
}
