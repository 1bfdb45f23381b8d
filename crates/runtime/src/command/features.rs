//! `features`: what this runtime can do, as the specification's features document.

use super::{Command, Context, output};
use crate::arguments::{Arguments, Order};
use crate::error::{Error, Step as _};
use hull_linux::capability;
use hull_linux::mount::Options;
use hull_spec::runtime::VERSION;
use serde_json::json;
use std::process::ExitCode;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "features",
    summary: "tell what this runtime can do",
    arguments: "[arguments...]",
    description: "Prints the features document of the OCI runtime specification, which is JSON.",
    flags: &[],
    order: Order::Anywhere,
    count: (0, 0),
    run,
};

/// Prints it.
fn run(_: &Context, _: &Arguments) -> Result<ExitCode, Error> {
    let mut options: Vec<&str> = Options::known().collect();
    for word in [
        "shared",
        "slave",
        "private",
        "unbindable",
        "rshared",
        "rslave",
        "rprivate",
        "runbindable",
    ] {
        options.push(word);
    }
    options.sort_unstable();
    let document = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": options,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capability::NAMES.as_slice(),
            "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false},
            "seccomp": {
                "enabled": true,
                "actions": ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"],
                "operators": ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT",
                    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"],
                "archs": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"],
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": true}},
        },
        "annotations": {},
        "potentiallyUnsafeConfigAnnotations": [],
    });
    let text = serde_json::to_string_pretty(&document).step(|| "encode the features")?;
    output(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}
