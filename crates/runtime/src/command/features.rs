//! `features`: what this runtime can do, as the specification's features document.

use super::{Command, Context, output};
use crate::arguments::{Arguments, Order};
use crate::error::{Error, Step as _};
use hull_linux::capability;
use hull_linux::mount::Options;
use hull_spec::runtime::VERSION;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use std::collections::BTreeMap;
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

/// The document, in the order of the specification (features.md).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: [&'static str; 6],
    mount_options: Vec<&'static str>,
    linux: Linux,
    annotations: BTreeMap<&'static str, &'static str>,
    potentially_unsafe_config_annotations: &'static [&'static str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: [&'static str; 8],
    capabilities: &'static [&'static str],
    cgroup: Groups,
    seccomp: Filters,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: Enabled,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Groups {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Filters {
    enabled: bool,
    actions: &'static [&'static str],
    operators: &'static [&'static str],
    archs: &'static [&'static str],
    known_flags: &'static [&'static str],
    supported_flags: &'static [&'static str],
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
struct MemoryPolicy {
    modes: &'static [&'static str],
    flags: &'static [&'static str],
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
const OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];
/// Names that profiles may have; of those of other machines no program runs here.
const ARCHITECTURES: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];
const FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// Prints it, indented as by runc.
fn run(_: &Context, _: &Arguments) -> Result<ExitCode, Error> {
    let mut text = Vec::new();
    let format = PrettyFormatter::with_indent(b"    ");
    features()
        .serialize(&mut Serializer::with_formatter(&mut text, format))
        .step(|| "encode the features")?;
    text.push(b'\n');
    output(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

fn features() -> Features {
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: VERSION,
        hooks: [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        mount_options: mount_options(),
        linux: linux(),
        annotations: BTreeMap::from([("org.hull.runtime.version", env!("CARGO_PKG_VERSION"))]),
        // Those that make the runtime do something nobody sees in the rest of the configuration.
        potentially_unsafe_config_annotations: &["org.systemd.property.", "org.criu.config"],
    }
}

fn linux() -> Linux {
    const ENABLED: Enabled = Enabled { enabled: true };
    Linux {
        namespaces: [
            "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts",
        ],
        capabilities: &capability::NAMES,
        cgroup: Groups {
            v1: true,
            v2: true,
            systemd: true,
            systemd_user: true,
            rdma: true,
        },
        seccomp: Filters {
            enabled: true,
            actions: ACTIONS,
            operators: OPERATORS,
            archs: ARCHITECTURES,
            known_flags: FLAGS,
            supported_flags: FLAGS,
        },
        apparmor: ENABLED,
        selinux: ENABLED,
        intel_rdt: ENABLED,
        memory_policy: MemoryPolicy {
            modes: &[
                "MPOL_DEFAULT",
                "MPOL_PREFERRED",
                "MPOL_BIND",
                "MPOL_INTERLEAVE",
                "MPOL_LOCAL",
                "MPOL_PREFERRED_MANY",
                "MPOL_WEIGHTED_INTERLEAVE",
            ],
            flags: &[
                "MPOL_F_STATIC_NODES",
                "MPOL_F_RELATIVE_NODES",
                "MPOL_F_NUMA_BALANCING",
            ],
        },
        mount_extensions: MountExtensions { idmap: ENABLED },
        net_devices: ENABLED,
    }
}

fn mount_options() -> Vec<&'static str> {
    let propagation = [
        "shared",
        "slave",
        "private",
        "unbindable",
        "rshared",
        "rslave",
        "rprivate",
        "runbindable",
    ];
    let mut options: Vec<&str> = Options::known().chain(propagation).collect();
    options.sort_unstable();
    options
}
