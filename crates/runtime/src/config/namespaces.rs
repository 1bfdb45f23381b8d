//! Namespaces, and what may only be set because there is one.

use super::has;
use crate::error::{Error, Step as _, said};
use crate::plan::word;
use hull_spec::runtime::{Linux, NamespaceKind, Spec};
use std::os::unix::fs::MetadataExt as _;

/// Checks the namespaces and what depends on them.
pub(super) fn check(spec: &Spec, linux: &Linux) -> Result<(), Error> {
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        if linux.namespaces[..index]
            .iter()
            .any(|other| other.kind == namespace.kind)
        {
            return Err(said(format!(
                "malformed spec file: duplicated ns {{{:?} {:?}}}",
                word(namespace.kind),
                namespace.path
            )));
        }
    }
    needs(
        !spec.hostname.is_empty(),
        linux,
        NamespaceKind::Uts,
        "unable to set hostname without a private UTS namespace",
    )?;
    needs(
        !spec.domainname.is_empty(),
        linux,
        NamespaceKind::Uts,
        "unable to set domainname without a private UTS namespace",
    )?;
    needs(
        !linux.masked_paths.is_empty() || !linux.readonly_paths.is_empty(),
        linux,
        NamespaceKind::Mount,
        "unable to restrict sys entries without a private MNT namespace",
    )?;
    needs(
        !linux.net_devices.is_empty(),
        linux,
        NamespaceKind::Network,
        "unable to move network devices without a NET namespace",
    )?;
    needs(
        !linux.time_offsets.is_empty(),
        linux,
        NamespaceKind::Time,
        "time namespace offsets specified, but time namespace isn't enabled in the config",
    )?;
    check_user(linux)?;
    check_time(linux)?;
    linux
        .sysctl
        .keys()
        .try_for_each(|name| check_parameter(linux, name))
}

fn needs(wanted: bool, linux: &Linux, kind: NamespaceKind, otherwise: &str) -> Result<(), Error> {
    if wanted && !has(linux, kind) {
        return Err(said(otherwise));
    }
    Ok(())
}

/// The path of a namespace that is joined.
fn joined(linux: &Linux, kind: NamespaceKind) -> Option<&str> {
    let mut namespaces = linux.namespaces.iter();
    namespaces
        .find(|namespace| namespace.kind == kind && !namespace.path.is_empty())
        .map(|namespace| namespace.path.as_str())
}

/// A new user namespace has maps.
fn check_user(linux: &Linux) -> Result<(), Error> {
    if !has(linux, NamespaceKind::User) || joined(linux, NamespaceKind::User).is_some() {
        return Ok(());
    }
    for (maps, what) in [(&linux.uid_mappings, "uid"), (&linux.gid_mappings, "gid")] {
        if maps.is_empty() {
            return Err(said(format!(
                "user namespaces enabled, but no {what} mappings found"
            )));
        }
    }
    Ok(())
}

fn check_time(linux: &Linux) -> Result<(), Error> {
    if joined(linux, NamespaceKind::Time).is_some() && !linux.time_offsets.is_empty() {
        return Err(said(
            "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one",
        ));
    }
    let known = |clock: &&String| !matches!(clock.as_str(), "monotonic" | "boottime");
    match linux.time_offsets.keys().find(known) {
        Some(clock) => Err(said(format!("time offset of an unknown clock {clock:?}"))),
        None => Ok(()),
    }
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
    let dotted = dotted(name);
    // A part of nothing but slashes is one of nothing but dots.
    if dotted
        .split('.')
        .any(|part| part.chars().all(|letter| letter == '/'))
    {
        return Err(said(format!("sysctl {name:?} is not valid")));
    }
    let refused = |why: &str| Err(said(format!("sysctl {dotted:?} {why}")));
    if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
        return match has(linux, NamespaceKind::Ipc) {
            true => Ok(()),
            false => refused("is not allowed in the hosts ipc namespace"),
        };
    }
    if dotted.starts_with("net.") {
        return match is_hosts_network(linux)? {
            false => Ok(()),
            true => refused("not allowed in host network namespace"),
        };
    }
    if has(linux, NamespaceKind::Uts) {
        match dotted.as_str() {
            "kernel.domainname" => return Ok(()),
            "kernel.hostname" => {
                return refused("is not allowed as it conflicts with the OCI \"hostname\" field");
            }
            _ => {}
        }
    }
    if dotted.starts_with("user.") {
        return match has(linux, NamespaceKind::User) {
            true => Ok(()),
            // Written from elsewhere it would be everybody's limit.
            false => Err(said(format!(
                "setting ucounts without a user namespace not allowed: {dotted}"
            ))),
        };
    }
    refused("is not in a separate kernel namespace")
}

/// A parameter's name with dots between its parts: what comes first, dot or slash, separates (sysctl(8)).
fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name
            .chars()
            .map(|letter| match letter {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

/// Whether the container's network is the runtime's own, also when it is named by its path.
fn is_hosts_network(linux: &Linux) -> Result<bool, Error> {
    if !has(linux, NamespaceKind::Network) {
        return Ok(true);
    }
    let Some(path) = joined(linux, NamespaceKind::Network) else {
        return Ok(false);
    };
    let identity = |path: &str| {
        std::fs::metadata(path)
            .map(|data| (data.dev(), data.ino()))
            .step(|| format!("invalid netns path: stat {path}"))
    };
    Ok(identity(path)? == identity("/proc/self/ns/net")?)
}
