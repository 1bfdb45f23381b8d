//! The documents of the OCI runtime specification 1.3: `config.json` of a bundle, the process
//! document of `exec --process`, and the state a runtime reports.
//!
//! Own structs with public fields: a list or map that is absent, empty or `null` is empty here, a
//! scalar whose absence means something is an `Option`. Unknown properties are ignored, as the
//! specification demands. <https://github.com/opencontainers/runtime-spec/blob/main/config.md>

pub mod docker;
mod hooks;
mod linux;
mod mount;
mod process;
mod resources;
mod seccomp;
mod state;

pub use hooks::{Hook, Hooks};
pub use linux::{
    Device, IdMapping, IntelRdt, Linux, MemoryPolicy, Namespace, NamespaceKind, NetDevice,
    Personality, TimeOffset,
};
pub use mount::{Mount, Root};
pub use process::{
    Capabilities, ConsoleSize, CpuAffinity, IoPriority, Process, Rlimit, Scheduler, User,
};
pub use resources::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, Memory, Network, Pids, Priority, RdmaLimit, Resources,
    ThrottleDevice, WeightDevice,
};
pub use seccomp::{Seccomp, SeccompAction, SeccompArg, SeccompOperator, SeccompSyscall};
pub use state::{ContainerProcessState, ContainerStatus, State};

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// The version of the runtime specification that Hull writes and reports.
pub const VERSION: &str = "1.3.0";

/// Whether a document of this version can be read: SemVer, any 1.x (the specification's minor versions
/// only add), with a pre-release and build or without.
pub fn is_supported(version: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    // runc reads documents whose writers were sparing with the number.
    parts.len() <= 3 && parts[0] == "1" && parts[1..].iter().all(|part| number(part))
}

/// `config.json`: everything a runtime must know to make a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Version of the specification the document follows, as SemVer.
    pub oci_version: String,
    /// The first process; without it the container can be created but not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The container's root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Host name inside a new UTS namespace; empty leaves it alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// NIS domain name inside a new UTS namespace; empty leaves it alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// Mounts below the root, made in this order.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Programs run at points of the container's life.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// Free text for tools; the runtime copies it into the state.
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What only Linux has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// Reads `null` as the default: Go writes it for nil slices and maps.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_runc_is_read_and_unknown_properties_are_ignored() {
        let text = r#"{"ociVersion":"1.0.2-dev","process":{"terminal":true,"user":{"uid":0,"gid":0},
            "args":["sh"],"env":null,"cwd":"/","capabilities":{"bounding":["CAP_KILL"]},
            "rlimits":[{"type":"RLIMIT_NOFILE","hard":1024,"soft":1024}],"noNewPrivileges":true},
            "root":{"path":"rootfs","readonly":true},"hostname":"h","somethingNew":{"a":1},
            "mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
            "linux":{"resources":{"devices":[{"allow":false,"access":"rwm"}]},
            "namespaces":[{"type":"pid"},{"type":"network","path":"/run/netns/x"},{"type":"mount"}],
            "maskedPaths":["/proc/kcore"]}}"#;
        let spec: Spec = serde_json::from_str(text).expect("parses");
        let process = spec.process.expect("a process");
        assert!(process.terminal && process.no_new_privileges && process.env.is_empty());
        let linux = spec.linux.expect("linux");
        assert_eq!(linux.namespaces[1].kind, NamespaceKind::Network);
        assert_eq!(linux.namespaces[1].path, "/run/netns/x");
        assert!(!linux.resources.expect("resources").devices[0].allow);
        assert_eq!(spec.mounts[0].kind, "proc");
    }

    #[test]
    fn what_is_written_is_read_back_and_empty_properties_are_left_out() {
        let spec = Spec {
            oci_version: VERSION.into(),
            hostname: "h".into(),
            ..Spec::default()
        };
        let text = serde_json::to_string(&spec).expect("serialises");
        assert_eq!(text, r#"{"ociVersion":"1.3.0","hostname":"h"}"#);
        assert_eq!(serde_json::from_str::<Spec>(&text).expect("parses"), spec);
    }

    #[test]
    fn a_device_rule_without_numbers_means_all_devices() {
        let rule: DeviceRule =
            serde_json::from_str(r#"{"allow":false,"access":"rwm"}"#).expect("parses");
        assert_eq!(
            (rule.major, rule.minor, rule.kind.as_str()),
            (None, None, "")
        );
    }

    /// Every property of the specification for Linux.
    const DOCUMENT: &str = include_str!("runtime/everything.json");

    /// Whatever is read is written so that it reads the same.
    fn survives(text: &[u8]) -> bool {
        let Ok(spec) = serde_json::from_slice::<Spec>(text) else {
            return false;
        };
        let written = serde_json::to_vec(&spec).expect("serialises");
        assert_eq!(
            serde_json::from_slice::<Spec>(&written).expect("parses"),
            spec
        );
        true
    }

    #[test]
    fn every_property_is_read_and_written_again() {
        assert!(survives(DOCUMENT.as_bytes()));
        let spec: Spec = serde_json::from_str(DOCUMENT).expect("parses");
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).expect("parses");
        assert_eq!(serde_json::to_value(&spec).expect("serialises"), document);
    }

    #[test]
    fn versions_before_and_after_ours_are_read_as_long_as_the_major_number_stays() {
        for version in [
            "1.0.0",
            "1.0.2-dev",
            "1.2.1",
            "1.3.0+dev",
            "1.99.0-rc.1",
            "1.0",
        ] {
            assert!(is_supported(version), "{version}");
        }
        for version in ["", "0.9.0", "2.0.0", "10.0.0", "1.0.x", "1.0.0.0"] {
            assert!(!is_supported(version), "{version}");
        }
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        for (text, said) in [
            (
                r#"{"process":{"terminal":"yes"}}"#,
                r#"string "yes", expected a boolean"#,
            ),
            (
                r#"{"linux":{"namespaces":[{"type":"nosuch"}]}}"#,
                "unknown variant `nosuch`",
            ),
            (
                r#"{"linux":{"uidMappings":[{"size":-1}]}}"#,
                "`-1`, expected u32",
            ),
            (r#"{"mounts":{}}"#, "map, expected a sequence"),
            ("{", "EOF"),
            ("[]x", "at line 1"),
        ] {
            let error = serde_json::from_str::<Spec>(text)
                .expect_err(text)
                .to_string();
            assert!(
                error.contains(said) && error.contains("at line 1 column"),
                "{error}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn spoiled_documents_are_refused_or_survive(
            changes in proptest::collection::vec((0..DOCUMENT.len(), 0..4_usize, "[ -~]{0,3}"), 1..6),
        ) {
            let mut text = DOCUMENT.as_bytes().to_vec();
            for (at, removed, added) in changes {
                let at = at.min(text.len());
                let end = (at + removed).min(text.len());
                text.splice(at..end, added.into_bytes());
            }
            survives(&text);
        }
    }
}
