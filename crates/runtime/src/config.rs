//! `config.json`: reading it, and refusing what cannot work before anything is made.

use crate::error::{Error, Step as _, said};
use hull_spec::runtime::{Linux, NamespaceKind, Process, Spec};
use std::io;
use std::path::Path;

/// The most bytes of a configuration we read; real ones have some ten thousand.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Reads the configuration of a bundle: its text and what it says.
pub(crate) fn read(bundle: &Path) -> Result<(Vec<u8>, Spec), Error> {
    let path = bundle.join("config.json");
    match fs_err::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(said("JSON specification file config.json not found"));
        }
        Ok(data) if data.len() > MAX_BYTES => return Err(said("config.json is too large")),
        other => other.step(|| "read config.json")?,
    };
    let text = fs_err::read(&path).step(|| "read config.json")?;
    let spec: Spec = serde_json::from_slice(&text).step(|| "parse config.json")?;
    Ok((text, spec))
}

/// Reads a process document, of `exec --process`.
pub(crate) fn read_process(path: &Path) -> Result<Process, Error> {
    let text = fs_err::read(path).step(|| "read the process document")?;
    serde_json::from_slice(&text).step(|| "parse the process document")
}

/// Checks a configuration as a whole.
pub(crate) fn check(spec: &Spec) -> Result<(), Error> {
    if !hull_spec::runtime::is_supported(&spec.oci_version) {
        return Err(said(format!(
            "unsupported spec version: {:?}",
            spec.oci_version
        )));
    }
    let root = spec
        .root
        .as_ref()
        .ok_or_else(|| said("root must be specified"))?;
    if root.path.is_empty() {
        return Err(said("root path must not be empty"));
    }
    let process = spec
        .process
        .as_ref()
        .ok_or_else(|| said("process property must not be empty"))?;
    check_process(process)?;
    if process.args.is_empty() {
        return Err(said("args must not be empty"));
    }
    let nothing = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&nothing);
    check_namespaces(spec, linux)?;
    crate::cgroups::check(linux)?;
    for name in linux.sysctl.keys() {
        check_parameter(linux, name)?;
    }
    for mount in &spec.mounts {
        if mount.destination.is_empty() || mount.destination.contains('\0') {
            return Err(said("mount destination must not be empty"));
        }
    }
    Ok(())
}

/// Checks a process.
pub(crate) fn check_process(process: &Process) -> Result<(), Error> {
    if process.cwd.is_empty() {
        return Err(said("Cwd property must not be empty"));
    }
    if !process.cwd.starts_with('/') {
        return Err(said("Cwd must be an absolute path"));
    }
    let texts = process
        .args
        .iter()
        .chain(&process.env)
        .chain([&process.cwd]);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(said(
            "arguments and environment must not contain zero bytes",
        ));
    }
    Ok(())
}

fn check_namespaces(spec: &Spec, linux: &Linux) -> Result<(), Error> {
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        if linux.namespaces[..index]
            .iter()
            .any(|other| other.kind == namespace.kind)
        {
            return Err(said(format!(
                "malformed spec file: duplicated ns {:?}",
                namespace.kind
            )));
        }
    }
    if !spec.hostname.is_empty() && !has(linux, NamespaceKind::Uts) {
        return Err(said(
            "unable to set hostname without a private UTS namespace",
        ));
    }
    if !spec.domainname.is_empty() && !has(linux, NamespaceKind::Uts) {
        return Err(said(
            "unable to set domainname without a private UTS namespace",
        ));
    }
    let hides = !linux.masked_paths.is_empty() || !linux.readonly_paths.is_empty();
    if hides && !has(linux, NamespaceKind::Mount) {
        return Err(said(
            "unable to restrict sys entries without a private MNT namespace",
        ));
    }
    if !linux.uid_mappings.is_empty() && !has(linux, NamespaceKind::User) {
        return Err(said(
            "user namespace mappings specified, but user namespace isn't enabled in the config",
        ));
    }
    Ok(())
}

/// Whether the configuration names a namespace of this kind, new or joined.
pub(crate) fn has(linux: &Linux, kind: NamespaceKind) -> bool {
    linux
        .namespaces
        .iter()
        .any(|namespace| namespace.kind == kind)
}

/// A kernel parameter may be set only where it belongs to a namespace of the container.
fn check_parameter(linux: &Linux, name: &str) -> Result<(), Error> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let dotted = match (name.find('.'), name.find('/')) {
        (Some(dot), Some(slash)) if dot < slash => name.to_owned(),
        _ => name.replace('/', "."),
    };
    if dotted.contains("..") {
        return Err(said(format!("sysctl {name:?} is not valid")));
    }
    let alone = |kind| {
        if has(linux, kind) {
            Ok(())
        } else {
            Err(said(
                format!("sysctl {name:?} is not allowed in the hosts {kind:?} namespace")
                    .to_lowercase(),
            ))
        }
    };
    if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
        return alone(NamespaceKind::Ipc);
    }
    if dotted.starts_with("net.") {
        return alone(NamespaceKind::Network);
    }
    if dotted == "kernel.domainname" {
        return alone(NamespaceKind::Uts);
    }
    if dotted.starts_with("user.") {
        return alone(NamespaceKind::User);
    }
    if dotted == "kernel.hostname" {
        return Err(said(format!(
            "sysctl {name:?} is not allowed as it conflicts with the OCI \"hostname\" field"
        )));
    }
    Err(said(format!(
        "sysctl {name:?} is not in a separate kernel namespace"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(namespaces: &str, sysctl: &str) -> Result<(), Error> {
        let text = format!(
            r#"{{"ociVersion":"1.0.2","root":{{"path":"r"}},"process":{{"cwd":"/","args":["x"]}},
            "linux":{{"namespaces":[{namespaces}],"sysctl":{{{sysctl}}}}}}}"#
        );
        check(&serde_json::from_str(&text).expect("parses"))
    }

    #[test]
    fn a_parameter_needs_the_namespace_it_belongs_to() {
        with(r#"{"type":"network"}"#, r#""net.ipv4.ip_forward":"1""#).expect("its own network");
        with("", r#""net.ipv4.ip_forward":"1""#).expect_err("the host's network");
        let error = with("", r#""kernel.nosuch":"1""#).expect_err("the host's");
        assert_eq!(
            error.to_string(),
            "sysctl \"kernel.nosuch\" is not in a separate kernel namespace"
        );
        with(
            r#"{"type":"network"}"#,
            r#""net/../kernel/core_pattern":"x""#,
        )
        .expect_err("not valid");
    }

    #[test]
    fn a_namespace_is_named_once() {
        with(r#"{"type":"pid"},{"type":"pid"}"#, "").expect_err("twice");
    }
}
