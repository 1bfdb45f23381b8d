//! `config.json`: reading it, and refusing what cannot work before anything is made.

mod kernel;
mod labels;
mod namespaces;
mod place;
mod process;

pub(crate) use process::{check as check_process, warn_of_capabilities};

use crate::error::{Error, Step as _, said};
use crate::plan;
use hull_linux::mount::Options;
use hull_spec::runtime::{Hooks, IdMapping, Linux, Mount, NamespaceKind, Spec};
use std::io;
use std::path::Path;

/// The most bytes of a configuration we read; real ones have some ten thousand.
pub(crate) const MAX_BYTES: u64 = 16 * 1024 * 1024;

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
    match serde_json::from_slice(&text) {
        Ok(spec) => Ok((text, spec)),
        Err(error) => {
            let place = place::path(&text, error.line(), error.column());
            let colon = if place.is_empty() { "" } else { ": " };
            Err(error).step(|| format!("parse config.json{colon}{place}"))
        }
    }
}

/// Checks a configuration as a whole. What cannot work is refused here, in runc's words.
pub(crate) fn check(spec: &Spec) -> Result<(), Error> {
    // runc reads documents without a version.
    if !spec.oci_version.is_empty() && !hull_spec::runtime::is_supported(&spec.oci_version) {
        return Err(said(format!(
            "unsupported spec version: {:?}",
            spec.oci_version
        )));
    }
    let process = spec
        .process
        .as_ref()
        .ok_or_else(|| said("process property must not be empty"))?;
    process::check(process)?;
    if process.args.is_empty() {
        return Err(said("args must not be empty"));
    }
    let root = spec
        .root
        .as_ref()
        .ok_or_else(|| said("root must be specified"))?;
    if root.path.is_empty() {
        return Err(said("root path must not be empty"));
    }
    check_hooks(&spec.hooks)?;
    let nothing = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&nothing);
    crate::cgroups::check(linux)?;
    for mount in &spec.mounts {
        check_mount(linux, mount)?;
    }
    namespaces::check(spec, linux)?;
    labels::check(&linux.mount_label, "mount label")?;
    kernel::check(linux)
}

/// What a configuration asks for that is left undone without harm, in runc's words.
pub(crate) fn warnings(spec: &Spec) -> Vec<String> {
    let mut texts = Vec::new();
    for mount in &spec.mounts {
        if !mount.destination.starts_with('/') {
            texts.push(format!(
                "mount destination {} is not absolute. Support for non-absolute mount destinations \
                 will be removed in a future release.",
                mount.destination
            ));
        }
    }
    let personality = spec
        .linux
        .as_ref()
        .and_then(|linux| linux.personality.as_ref());
    if let Some(personality) = personality.filter(|personality| !personality.flags.is_empty()) {
        texts.push(format!(
            "ignoring unsupported personality flags: [{}] because personality flag has not supported \
             at this time",
            personality.flags.join(" ")
        ));
    }
    let process = spec.process.as_ref();
    if let Some(sets) = process.and_then(|process| process.capabilities.as_ref()) {
        process::warn_of_capabilities(sets, &mut texts);
    }
    texts
}

/// A hook that has no time to run is a mistake.
fn check_hooks(hooks: &Hooks) -> Result<(), Error> {
    let kinds = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    for (kind, hooks) in kinds {
        for (index, hook) in hooks.iter().enumerate() {
            let wrong = |what: &str| Err(said(format!("{kind} hook #{index}: {what}")));
            if !hook.path.starts_with('/') {
                return wrong(&format!("path {:?} is not absolute", hook.path));
            }
            if hook.timeout.is_some_and(|timeout| timeout <= 0) {
                return wrong("timeout must be greater than zero");
            }
        }
    }
    Ok(())
}

fn check_mount(linux: &Linux, mount: &Mount) -> Result<(), Error> {
    let wrong = |what: &str| {
        Err(said(what)).step(|| {
            format!(
                "invalid mount {:?} ({:?}) at {:?}",
                mount.source, mount.kind, mount.destination
            )
        })
    };
    if mount.destination.is_empty() {
        return Err(said("mount destination must not be empty"));
    }
    if [&mount.destination, &mount.source, &mount.kind]
        .iter()
        .any(|text| text.contains('\0'))
    {
        return wrong("mount field contains null byte");
    }
    if plan::plain(&mount.destination) == Path::new("/") {
        return wrong("mountpoint is on the top of rootfs");
    }
    let options = Options::parse(&mount.options);
    let binds = options.bind || mount.kind == "bind";
    if binds && !options.data.is_empty() {
        return wrong("bind mounts cannot have any filesystem-specific options applied");
    }
    let own = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
    if !own && options.id_map.is_none() {
        return Ok(());
    }
    if !binds {
        return wrong("id-mapped mounts are only supported for bind-mounts");
    }
    let whole = |uids: &[IdMapping], gids: &[IdMapping]| !uids.is_empty() && !gids.is_empty();
    let joins = linux
        .namespaces
        .iter()
        .any(|namespace| namespace.kind == NamespaceKind::User && !namespace.path.is_empty());
    if whole(&mount.uid_mappings, &mount.gid_mappings)
        || !own && (joins || whole(&linux.uid_mappings, &linux.gid_mappings))
    {
        Ok(())
    } else {
        wrong("id-mapped mounts must have both uid and gid mappings specified")
    }
}

/// Whether the configuration names a namespace of this kind, new or joined.
pub(crate) fn has(linux: &Linux, kind: NamespaceKind) -> bool {
    linux
        .namespaces
        .iter()
        .any(|namespace| namespace.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said about a configuration whose `linux` and other properties are these.
    fn told(linux: &str, more: &str) -> Option<String> {
        let text = format!(
            r#"{{"ociVersion":"1.0.2","root":{{"path":"r"}},"process":{{"cwd":"/","args":["x"]}},
            "linux":{{{linux}}}{more}}}"#
        );
        let spec = serde_json::from_str(&text).expect("parses");
        check(&spec).err().map(|error| crate::error::chain(&error))
    }

    #[test]
    fn a_parameter_needs_the_namespace_it_belongs_to() {
        for (namespaces, name, said) in [
            (r#"{"type":"network"}"#, "net.ipv4.ip_forward", None),
            (
                "",
                "net/ipv4/ip_forward",
                Some(r#"sysctl "net.ipv4.ip_forward" not allowed in host network namespace"#),
            ),
            (
                "",
                "kernel.nosuch",
                Some(r#"sysctl "kernel.nosuch" is not in a separate kernel namespace"#),
            ),
            (
                "",
                "kernel.shmmax",
                Some(r#"sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace"#),
            ),
            (r#"{"type":"ipc"}"#, "fs.mqueue.msg_max", None),
            (r#"{"type":"uts"}"#, "kernel.domainname", None),
            (
                r#"{"type":"uts"}"#,
                "kernel.hostname",
                Some(
                    r#"sysctl "kernel.hostname" is not allowed as it conflicts with the OCI "hostname" field"#,
                ),
            ),
            (
                r#"{"type":"network"}"#,
                "net/../kernel/core_pattern",
                Some(r#"sysctl "net/../kernel/core_pattern" is not valid"#),
            ),
            (
                r#"{"type":"network","path":"/proc/self/ns/net"}"#,
                "net.ipv4.ip_forward",
                Some(r#"sysctl "net.ipv4.ip_forward" not allowed in host network namespace"#),
            ),
        ] {
            let linux = format!(r#""namespaces":[{namespaces}],"sysctl":{{"{name}":"1"}}"#);
            assert_eq!(told(&linux, "").as_deref(), said, "{linux}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn contradictions_are_told_in_runcs_words() {
        for (linux, more, said) in [
            (
                r#""namespaces":[{"type":"pid"},{"type":"pid"}]"#,
                "",
                r#"malformed spec file: duplicated ns {"pid" ""}"#,
            ),
            (
                r#""namespaces":[{"type":"user"}]"#,
                "",
                "user namespaces enabled, but no uid mappings found",
            ),
            (
                r#""timeOffsets":{"monotonic":{"secs":1}}"#,
                "",
                "time namespace offsets specified, but time namespace isn't enabled in the config",
            ),
            (
                r#""rootfsPropagation":"x""#,
                "",
                "rootfsPropagation=x is not supported",
            ),
            (
                r#""personality":{"domain":"X"}"#,
                "",
                "invalid personality domain X",
            ),
            (
                r#""memoryPolicy":{"mode":"X"}"#,
                "",
                r#"invalid memory policy mode "X""#,
            ),
            (
                r#""netDevices":{"eth0":{}}"#,
                "",
                "unable to move network devices without a NET namespace",
            ),
            (
                r#""namespaces":[{"type":"network"}],"netDevices":{"eth0":{"name":"a/b"}}"#,
                "",
                r#"invalid network device name "a/b""#,
            ),
            (
                r#""devices":[{"type":"x","path":"/d"}]"#,
                "",
                r#"invalid device type "x""#,
            ),
            (
                "",
                r#","hooks":{"poststart":[{"path":"/x","timeout":0}]}"#,
                "poststart hook #0: timeout must be greater than zero",
            ),
            (
                "",
                r#","mounts":[{"destination":"/x","source":"/y","type":"bind","options":["bind","size=1"]}]"#,
                r#"invalid mount "/y" ("bind") at "/x": bind mounts cannot have any filesystem-specific options applied"#,
            ),
            (
                "",
                r#","mounts":[{"destination":"/x","source":"/y","options":["bind","idmap"]}]"#,
                r#"invalid mount "/y" ("") at "/x": id-mapped mounts must have both uid and gid mappings specified"#,
            ),
        ] {
            assert_eq!(told(linux, more).as_deref(), Some(said));
        }
    }
}
