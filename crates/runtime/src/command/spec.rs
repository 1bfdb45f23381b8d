//! `spec`: a configuration to start from.

use super::{Command, Context};
use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::error::{Error, Step as _, said};
use hull_linux::cgroup::Layout;
use hull_spec::runtime::VERSION;
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

/// Writes `config.json` in the bundle. As text, so that it is in the order people read it in.
fn run(_: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let bundle = arguments.text("bundle").unwrap_or(".");
    if !Path::new(bundle).is_dir() {
        let missing = std::io::Error::from(rustix::io::Errno::NOENT);
        return Err(missing).step(|| format!("chdir {bundle}"));
    }
    let path = Path::new(bundle).join("config.json");
    if path.symlink_metadata().is_ok() {
        return Err(said("File config.json exists. Remove it first"));
    }
    let unified = Layout::detect().is_ok_and(|layout| layout.is_v2());
    let text = document(arguments.is_set("rootless"), unified);
    fs_err::write(path, text).step(|| "write config.json")?;
    Ok(ExitCode::SUCCESS)
}

/// A container of root, or of a user without privileges: with the one id that user has, without ids that
/// are not mapped, without limits, in the host's network, whose `/sys` is then the host's too.
fn document(rootless: bool, unified: bool) -> String {
    let mut kinds = vec!["pid", "network", "ipc", "uts", "mount"];
    if unified {
        kinds.push("cgroup");
    }
    let (gid, sys, before) = if rootless {
        kinds.retain(|kind| *kind != "network");
        kinds.push("user");
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let maps = [("uid", uid.as_raw()), ("gid", gid.as_raw())].map(|(kind, id)| {
            OWN_ID
                .replace("KIND", kind)
                .replace("HOST", &id.to_string())
        });
        ("", SYS_OF_HOST, maps.concat())
    } else {
        (GID, SYS, RESOURCES.to_owned())
    };
    let namespaces: Vec<String> = kinds
        .iter()
        .map(|kind| format!("\t\t\t{{\n\t\t\t\t\"type\": \"{kind}\"\n\t\t\t}}"))
        .collect();
    DOCUMENT
        .replace("VERSION", VERSION)
        .replace(",GID", gid)
        .replace("\t\tSYS\n", sys)
        .replace("\t\tBEFORE\n", &before)
        .replace("\t\t\tNAMESPACES", &namespaces.join(",\n"))
}

/// The group of terminals, whom root can give them to.
const GID: &str = r#",
				"gid=5""#;

/// A new sysfs.
const SYS: &str = r#"		{
			"destination": "/sys",
			"type": "sysfs",
			"source": "sysfs",
			"options": [
				"nosuid",
				"noexec",
				"nodev",
				"ro"
			]
		},
"#;

/// A user without a network namespace of its own cannot mount sysfs.
const SYS_OF_HOST: &str = r#"		{
			"destination": "/sys",
			"type": "none",
			"source": "/sys",
			"options": [
				"rbind",
				"nosuid",
				"noexec",
				"nodev",
				"ro"
			]
		},
"#;

/// No device but those every container has.
const RESOURCES: &str = r#"		"resources": {
			"devices": [
				{
					"allow": false,
					"access": "rwm"
				}
			]
		},
"#;

/// The one id of a user.
const OWN_ID: &str = r#"		"KINDMappings": [
			{
				"containerID": 0,
				"hostID": HOST,
				"size": 1
			}
		],
"#;

/// All the rest.
const DOCUMENT: &str = r#"{
	"ociVersion": "VERSION",
	"process": {
		"terminal": true,
		"user": {
			"uid": 0,
			"gid": 0
		},
		"args": [
			"sh"
		],
		"env": [
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"TERM=xterm"
		],
		"cwd": "/",
		"capabilities": {
			"bounding": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			],
			"effective": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			],
			"permitted": [
				"CAP_AUDIT_WRITE",
				"CAP_KILL",
				"CAP_NET_BIND_SERVICE"
			]
		},
		"rlimits": [
			{
				"type": "RLIMIT_NOFILE",
				"hard": 1024,
				"soft": 1024
			}
		],
		"noNewPrivileges": true
	},
	"root": {
		"path": "rootfs",
		"readonly": true
	},
	"hostname": "runc",
	"mounts": [
		{
			"destination": "/proc",
			"type": "proc",
			"source": "proc"
		},
		{
			"destination": "/dev",
			"type": "tmpfs",
			"source": "tmpfs",
			"options": [
				"nosuid",
				"strictatime",
				"mode=755",
				"size=65536k"
			]
		},
		{
			"destination": "/dev/pts",
			"type": "devpts",
			"source": "devpts",
			"options": [
				"nosuid",
				"noexec",
				"newinstance",
				"ptmxmode=0666",
				"mode=0620",GID
			]
		},
		{
			"destination": "/dev/shm",
			"type": "tmpfs",
			"source": "shm",
			"options": [
				"nosuid",
				"noexec",
				"nodev",
				"mode=1777",
				"size=65536k"
			]
		},
		{
			"destination": "/dev/mqueue",
			"type": "mqueue",
			"source": "mqueue",
			"options": [
				"nosuid",
				"noexec",
				"nodev"
			]
		},
		SYS
		{
			"destination": "/sys/fs/cgroup",
			"type": "cgroup",
			"source": "cgroup",
			"options": [
				"nosuid",
				"noexec",
				"nodev",
				"relatime",
				"ro"
			]
		}
	],
	"linux": {
		BEFORE
		"namespaces": [
			NAMESPACES
		],
		"maskedPaths": [
			"/proc/acpi",
			"/proc/asound",
			"/proc/kcore",
			"/proc/keys",
			"/proc/latency_stats",
			"/proc/timer_list",
			"/proc/timer_stats",
			"/proc/sched_debug",
			"/sys/firmware",
			"/proc/scsi"
		],
		"readonlyPaths": [
			"/proc/bus",
			"/proc/fs",
			"/proc/irq",
			"/proc/sys",
			"/proc/sysrq-trigger"
		]
	}
}"#;

#[cfg(test)]
mod tests {
    use super::*;
    use hull_spec::runtime::{NamespaceKind, Spec};

    #[test]
    fn both_documents_are_configurations_we_take() {
        for (rootless, unified, namespaces) in [
            (false, false, 5),
            (false, true, 6),
            (true, false, 5),
            (true, true, 6),
        ] {
            let text = document(rootless, unified);
            let spec: Spec = serde_json::from_str(&text).expect("JSON");
            crate::config::check(&spec).expect("valid");
            assert_eq!(spec.mounts.len(), 7);
            let linux = spec.linux.expect("there");
            assert_eq!(linux.namespaces.len(), namespaces);
            assert_eq!(linux.resources.is_some(), !rootless);
            let user = |kind| linux.namespaces.iter().any(|one| one.kind == kind);
            assert_eq!(user(NamespaceKind::User), rootless);
            assert_eq!(linux.uid_mappings.len(), usize::from(rootless));
        }
    }
}
