//! `spec`: a configuration to start from.

use super::{Command, Context};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::error::{Error, Step as _, said};
use hull_spec::runtime::VERSION;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "spec",
    summary: "write a configuration to start from",
    arguments: "[arguments...]",
    description: "Writes \"config.json\" of a bundle: a shell in namespaces of its own, with little\nmore than what every program expects. What is to be run is in its process.args.\n\nEXAMPLE:\n    mkdir -p hello/rootfs\n    tar -C hello/rootfs -xf hello.tar\n    hull-runtime spec --bundle hello\n    sed -i 's;\"sh\";\"/hello\";' hello/config.json\n    hull-runtime run --bundle hello hello1\n\nWith --rootless the container is one that a user without privileges may make: in\na user namespace, with the user's own id as root.",
    flags: &[
        Flag::new("bundle", Kind::Text, "directory of the bundle").letter('b'),
        Flag::new(
            "rootless",
            Kind::Switch,
            "a container for a user without privileges",
        ),
    ],
    order: Order::Anywhere,
    count: (0, 0),
    run,
};

/// Writes `config.json` in the bundle.
fn run(_: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let path = Path::new(arguments.value("bundle").unwrap_or(".")).join("config.json");
    if path.exists() {
        return Err(said("File config.json exists. Remove it first"));
    }
    let text = serde_json::to_string_pretty(&document(arguments.is_set("rootless")))
        .step(|| "encode it")?;
    fs_err::write(path, text).step(|| "write config.json")?;
    Ok(ExitCode::SUCCESS)
}

fn document(rootless: bool) -> Value {
    let mut document = json!({
        "ociVersion": VERSION,
        "process": process(),
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "runc",
        "mounts": mounts(),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"}],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    if rootless {
        let one = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
        document["linux"]["uidMappings"] = one(rustix::process::geteuid().as_raw());
        document["linux"]["gidMappings"] = one(rustix::process::getegid().as_raw());
        document["linux"]["resources"] = Value::Null;
        if let Some(namespaces) = document["linux"]["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "network");
            namespaces.push(json!({"type": "user"}));
        }
        document["mounts"] = rootless_mounts(mounts());
    }
    document
}

/// Without ids that are not mapped, and with the host's `/sys`, which shows the network it shares.
fn rootless_mounts(mut mounts: Value) -> Value {
    let Some(list) = mounts.as_array_mut() else {
        return mounts;
    };
    let below_sys = |mount: &Value| {
        let destination = mount["destination"].as_str().unwrap_or_default();
        destination.starts_with("/sys")
    };
    list.retain(|mount| !below_sys(mount));
    for options in list
        .iter_mut()
        .filter_map(|mount| mount["options"].as_array_mut())
    {
        options.retain(|option| {
            let option = option.as_str().unwrap_or_default();
            !option.starts_with("uid=") && !option.starts_with("gid=")
        });
    }
    list.push(
        json!({"destination": "/sys", "type": "none", "source": "/sys",
        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}),
    );
    mounts
}

fn process() -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "terminal": true,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": true,
    })
}

fn mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
    ])
}
