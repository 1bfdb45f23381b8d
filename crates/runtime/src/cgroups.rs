//! The container's control group: where it is, and what the configuration wants of it.

mod change;
mod devices;
mod document;
mod limits;

pub(crate) use change::Change;
pub(crate) use devices::rules as device_rules;
pub(crate) use document::Event;
pub(crate) use limits::of as limits_of;

use crate::error::{Error, Step as _, said};
use crate::rootless;
use crate::systemd::Unit;
use hull_linux::cgroup::{self, Cgroup, Layout, Limits};
use hull_spec::runtime::{Linux, Resources};
use serde::{Deserialize, Serialize};

/// Where a container's group is. Kept with the container's state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Place {
    /// Path in every hierarchy; empty where there is no group.
    pub(crate) path: String,
    /// Whether it is also in the v2 hierarchy of the hybrid layout.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unified: bool,
    /// The unit that has it, where systemd made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<Unit>,
}

impl Place {
    /// As configured, or below `/hull`. A path may not lead out of the hierarchies: `..` stops at their
    /// root.
    pub(crate) fn of(linux: &Linux, id: &str) -> Self {
        let resources = linux.resources.as_ref();
        Self {
            path: path(&linux.cgroups_path, id),
            unified: resources.is_some_and(wants_unified),
            unit: None,
        }
    }
}

/// What may be limited only by a controller that no v1 hierarchy has.
pub(crate) fn wants_unified(resources: &Resources) -> bool {
    !resources.hugepage_limits.is_empty() || !resources.rdma.is_empty()
}

/// The systemd form `slice:prefix:name` becomes the path systemd would choose.
fn path(configured: &str, id: &str) -> String {
    if configured.is_empty() {
        return format!("/hull/{id}");
    }
    let parts: Vec<&str> = configured.split(':').collect();
    if let ([slice, prefix, name], false) = (parts.as_slice(), configured.contains('/')) {
        let slice = if slice.is_empty() {
            "system.slice"
        } else {
            slice
        };
        return format!("{}/{prefix}-{name}.scope", expand_slice(slice));
    }
    let mut clean: Vec<&str> = Vec::new();
    for part in configured.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    format!("/{}", clean.join("/"))
}

/// `a-b.slice` lies in `a.slice` (systemd.slice(5)).
pub(crate) fn expand_slice(slice: &str) -> String {
    let stem = slice.strip_suffix(".slice").unwrap_or(slice);
    let mut path = String::new();
    let ends = stem
        .match_indices('-')
        .map(|(at, _)| at)
        .chain([stem.len()]);
    for end in ends.filter(|end| *end > 0) {
        path.push('/');
        path.push_str(&stem[..end]);
        path.push_str(".slice");
    }
    path
}

/// Refuses resources that cannot be meant, before anything is made.
pub(crate) fn check(linux: &Linux) -> Result<(), Error> {
    let Some(resources) = &linux.resources else {
        return Ok(());
    };
    devices::check(&resources.devices)?;
    if !resources.unified.is_empty() && Layout::detect().is_ok_and(|layout| !layout.is_v2()) {
        return Err(said(cgroup::Refused::UnifiedOnV1.to_string()));
    }
    Ok(())
}

/// Whether anything is to be limited, beside devices.
pub(crate) fn wants_limits(linux: &Linux) -> bool {
    let resources = linux.resources.as_ref();
    resources.is_some_and(|resources| !limits::of(resources).is_empty())
}

/// The container's group, when this host has control groups at all.
pub(crate) fn open(place: &Place) -> Result<Option<Cgroup>, Error> {
    if place.path.is_empty() {
        return Ok(None);
    }
    let mut layout = Layout::detect().step(|| "find the control groups")?;
    if place.unified {
        layout = layout.with_unified();
    }
    Cgroup::new(layout, &place.path)
        .map(Some)
        .step(|| "name the control group")
}

/// The group of a container that must have one, or an error that says what cannot be done without.
pub(crate) fn needed(place: &Place, what: &str) -> Result<Cgroup, Error> {
    open(place)?.ok_or_else(|| said(format!("{what}: cgroups not configured for container")))
}

/// Refuses a group that somebody is in already, before the record says that it is the container's: were
/// the runtime killed then, `delete --force` would end that somebody.
pub(crate) fn refuse_foreign(place: &mut Place) -> Result<(), Error> {
    match open(place)? {
        Some(group) if group.directories().any(|directory| directory.exists()) => {
            check_empty(&group).inspect_err(|_| *place = Place::default())
        }
        _ => Ok(()),
    }
}

/// Makes the group and sets its limits, before any process is in it.
///
/// A group that is somebody else's is left alone; `place` then names none. `rootless` says whether a
/// device filter that may not be set is to be done without: it is asked only then.
pub(crate) fn make(
    place: &mut Place,
    linux: &Linux,
    rootless: impl Fn() -> bool,
) -> Result<Option<Cgroup>, Error> {
    let Some(group) = open(place)? else {
        return Ok(None);
    };
    let resources = linux.resources.as_ref();
    let limits = resources.map(limits::of).unwrap_or_default();
    let existed = group
        .create_for(&limits)
        .step(|| "unable to apply cgroup configuration")
        .step(|| "unable to start container process")?;
    if existed {
        check_empty(&group).inspect_err(|_| {
            group.remove_unused();
            *place = Place::default();
        })?;
    }
    if let Err(error) = limit(&group, &limits, resources, rootless) {
        // The group is empty and ours; that it cannot be removed changes nothing about the failure.
        let _ = group.remove();
        return Err(error);
    }
    Ok(Some(group))
}

/// Sets limits and device filter.
pub(crate) fn limit(
    group: &Cgroup,
    limits: &Limits,
    resources: Option<&Resources>,
    rootless: impl Fn() -> bool,
) -> Result<(), Error> {
    let set = || -> Result<(), cgroup::Error> {
        group.apply(limits)?;
        match group.set_devices(&devices::rules(resources)) {
            // Whoever may not make nodes of devices needs no filter.
            Err(error) if rootless::is_denied(&error) && rootless() => Ok(()),
            other => other,
        }
    };
    set()
        .step(|| "error setting cgroup config for procHooks process")
        .step(|| "error during container init")
        .step(|| "unable to start container process")
}

/// A container shares its group with nobody: it would be frozen, killed and removed with them.
fn check_empty(group: &Cgroup) -> Result<(), Error> {
    let count = group.population().step(|| "unable to get cgroup PIDs")?;
    if count != 0 {
        return Err(said(format!(
            "container's cgroup is not empty: {count} process(es) found"
        )));
    }
    if group.is_frozen() {
        return Err(said("container's cgroup unexpectedly frozen"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_from_the_root_and_systemd_names_are_expanded() {
        for (configured, expected) in [
            ("", "/hull/id"),
            ("a/b", "/a/b"),
            ("/a/b", "/a/b"),
            ("../../a/./b", "/a/b"),
            ("/a/../../../b//c/", "/b/c"),
            ("system.slice:hull:id", "/system.slice/hull-id.scope"),
            ("a-b.slice:hull:id", "/a.slice/a-b.slice/hull-id.scope"),
        ] {
            assert_eq!(path(configured, "id"), expected);
        }
    }
}
