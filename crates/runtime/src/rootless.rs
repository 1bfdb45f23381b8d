//! What differs for a user without privileges. Nothing of it costs root anything: it is asked for where
//! the privileged way has failed, or where the caller is not root.

use crate::cgroups;
use crate::config;
use crate::error::{Error, Step as _, said};
use crate::state::Record;
use hull_linux::cgroup::{Cgroup, Layout};
use hull_spec::runtime::{IdMapping, Linux, NamespaceKind, Process, Spec};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

/// Whether the caller may mount, and enter other namespaces, without a user namespace of its own.
pub(crate) fn may_administer() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Whether the caller is in a user namespace that does not map every id (user_namespaces(7)).
pub(crate) fn in_user_namespace() -> bool {
    let map = fs_err::read_to_string("/proc/self/uid_map").unwrap_or_default();
    // Without user namespaces in the kernel there is no such file.
    !map.is_empty() && !map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether control groups that may not be made are done without: what `--rootless` says, or else
/// whether the caller is no root, or root of a user namespace only.
pub(crate) fn does_without_groups(said: Option<bool>) -> bool {
    said.unwrap_or_else(|| !rustix::process::geteuid().is_root() || in_user_namespace())
}

/// Whether an error comes down to a lack of rights.
pub(crate) fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    const ERRORS: [Errno; 3] = [Errno::ACCESS, Errno::PERM, Errno::ROFS];
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            let code = error.raw_os_error();
            return code.is_some_and(|code| ERRORS.iter().any(|e| e.raw_os_error() == code));
        }
        next = error.source();
    }
    false
}

/// Makes the container's control group: where the record says; when that is not allowed and nobody asked
/// for it, beside the runtime's own group, which may have been delegated to this user (cgroups(7),
/// "Delegation"); and else none, as long as there is nothing to limit. The record learns which.
pub(crate) fn make_group(
    record: &mut Record,
    linux: &Linux,
    said_so: Option<bool>,
) -> Result<Option<Cgroup>, Error> {
    let rootless = || does_without_groups(said_so);
    let denied = match cgroups::make(&mut record.cgroup, linux, rootless) {
        Err(error) if is_denied(&error) && linux.cgroups_path.is_empty() && rootless() => error,
        other => return other,
    };
    remove_parts(&record.cgroup)?;
    record.cgroup.path = beside_own(&record.id).unwrap_or_default();
    match cgroups::make(&mut record.cgroup, linux, rootless) {
        Err(error) if is_denied(&error) => remove_parts(&record.cgroup)?,
        other => return other,
    }
    if cgroups::wants_limits(linux) {
        return Err(denied).step(
            || "rootless needs no limits + no cgrouppath when no permission is granted for cgroups",
        );
    }
    record.cgroup = cgroups::Place::default();
    Ok(None)
}

/// Takes away what an attempt has made in the hierarchies in which it was allowed to.
fn remove_parts(place: &cgroups::Place) -> Result<(), Error> {
    if let Some(group) = cgroups::open(place)? {
        // What is not ours to remove was not made by us.
        let _ = group.remove();
    }
    Ok(())
}

/// The path of a group beside the runtime's own. On v2 that has processes, so that it cannot have groups
/// below it that have limits; on v1 it is the parent, as in runc.
fn beside_own(id: &str) -> Option<String> {
    let v2 = Layout::detect().ok()?.is_v2();
    own_group(&fs_err::read_to_string("/proc/self/cgroup").ok()?, v2, id)
}

fn own_group(listed: &str, v2: bool, id: &str) -> Option<String> {
    let path = |line: &str| line.splitn(3, ':').nth(2).map(str::to_owned);
    let parent = if v2 {
        let own = path(listed.lines().find(|line| line.starts_with("0::"))?)?;
        own.rsplit_once('/')?.0.to_owned()
    } else {
        let controllers = |line: &str| line.split(':').nth(1).map(str::to_owned);
        let has_some = |line: &&str| {
            controllers(line).is_some_and(|names| !names.is_empty() && !names.starts_with("name="))
        };
        path(listed.lines().find(has_some)?)?
    };
    Some(format!("{}/{id}", parent.trim_end_matches('/')))
}

/// Checks what a user who is not root can have at all. The texts are runc's.
pub(crate) fn check(spec: &Spec) -> Result<(), Error> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let nothing = Linux::default();
    check_mappings(spec, spec.linux.as_ref().unwrap_or(&nothing))
}

fn check_mappings(spec: &Spec, linux: &Linux) -> Result<(), Error> {
    if !config::has(linux, NamespaceKind::User) {
        return Err(said("rootless container requires user namespaces"));
    }
    let user = |namespace: &&hull_spec::runtime::Namespace| namespace.kind == NamespaceKind::User;
    let joins = linux.namespaces.iter().find(user);
    if joins.is_some_and(|namespace| !namespace.path.is_empty()) {
        return Ok(());
    }
    if linux.uid_mappings.is_empty() {
        return Err(said("user namespaces enabled, but no uid mappings found"));
    }
    if linux.gid_mappings.is_empty() {
        return Err(said("user namespaces enabled, but no gid mappings found"));
    }
    if let Some(process) = &spec.process {
        check_groups(process, linux)?;
    }
    for option in spec.mounts.iter().flat_map(|mount| &mount.options) {
        let (kind, text, maps) = match option.split_once('=') {
            Some((kind @ "uid", text)) => (kind, text, &linux.uid_mappings),
            Some((kind @ "gid", text)) => (kind, text, &linux.gid_mappings),
            _ => continue,
        };
        // What is no number, the file system refuses or has a meaning for.
        if text.parse().is_ok_and(|id| !is_mapped(id, maps)) {
            return Err(said(format!(
                "cannot specify {option} mount option for rootless container: \
                 user namespaces enabled, but no mapping found for {kind} {text}"
            )));
        }
    }
    Ok(())
}

/// A user who has mapped no more than the own group has to do without setgroups(2).
pub(crate) fn check_groups(process: &Process, linux: &Linux) -> Result<(), Error> {
    let only_own = matches!(linux.gid_mappings.as_slice(), [map] if map.size == 1);
    if only_own && !process.user.additional_gids.is_empty() {
        return Err(said(
            "cannot set any additional groups in a rootless container",
        ));
    }
    Ok(())
}

/// Whether an id inside has one outside.
pub(crate) fn is_mapped(id: u32, maps: &[IdMapping]) -> bool {
    maps.iter().any(|map| {
        let offset = id.checked_sub(map.container_id);
        offset.is_some_and(|offset| offset < map.size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(linux: serde_json::Value, options: &[&str]) -> String {
        let spec: Spec = serde_json::from_value(json!({
            "ociVersion": "1.0.2", "linux": linux,
            "mounts": [{"destination": "/m", "type": "tmpfs", "options": options}],
        }))
        .expect("parses");
        let linux = spec.linux.clone().expect("there");
        check_mappings(&spec, &linux).map_or_else(|error| error.to_string(), |()| "fine".into())
    }

    #[test]
    fn a_group_lies_below_the_own_one_on_v1_and_beside_it_on_v2() {
        let v1 = "5:name=systemd:/a\n4:memory:/b\n0::/c\n";
        assert_eq!(own_group(v1, false, "id").as_deref(), Some("/b/id"));
        assert_eq!(own_group("0::/a/b\n", true, "id").as_deref(), Some("/a/id"));
        assert_eq!(own_group("0::/\n", true, "id").as_deref(), Some("/id"));
        assert_eq!(own_group("", true, "id"), None);
    }

    #[test]
    fn a_user_needs_a_user_namespace_with_maps_that_know_the_ids_of_mounts() {
        let user = json!([{"type": "user"}]);
        let one = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        assert_eq!(
            checked(json!({}), &[]),
            "rootless container requires user namespaces"
        );
        assert_eq!(
            checked(json!({"namespaces": user}), &[]),
            "user namespaces enabled, but no uid mappings found"
        );
        assert_eq!(
            checked(json!({"namespaces": user, "uidMappings": one}), &[]),
            "user namespaces enabled, but no gid mappings found"
        );
        let linux = json!({"namespaces": user, "uidMappings": one, "gidMappings": one});
        assert_eq!(
            checked(linux.clone(), &["uid=0", "gid=x", "mode=755"]),
            "fine"
        );
        let text = checked(linux, &["gid=5"]);
        assert!(text.starts_with("cannot specify gid=5 mount option for rootless container"));
        let joined = json!({"namespaces": [{"type": "user", "path": "/x"}]});
        assert_eq!(checked(joined, &["uid=7"]), "fine");
    }
}
