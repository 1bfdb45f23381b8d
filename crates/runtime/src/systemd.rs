//! systemd as the one who makes the control group (`--systemd-cgroup`): the container is a scope, a unit
//! of processes that somebody else has started (systemd.scope(5)).
//!
//! systemd makes the group when the first process is there, and moves it in; what it has no property for,
//! or no property that is exact, is written to the group as without systemd: the scope is delegated to us.

mod annotations;
mod devices;
mod properties;

use crate::cgroups::{self, Change, Place, expand_slice};
use crate::error::{Error, Step as _, said};
use crate::rootless;
use hull_linux::cgroup::{Cgroup, Layout};
use hull_linux::systemd::{self, Manager, Property, Type, Value};
use hull_spec::runtime::{Linux, Spec};
use serde::{Deserialize, Serialize};

/// The unit of a container. Kept with the container's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Its name, `hull-<id>.scope`.
    pub(crate) name: String,
    /// The slice it is in.
    pub(crate) slice: String,
    /// Whether it is the user's manager that has it, not the system's.
    pub(crate) user: bool,
}

impl Unit {
    /// From `slice:prefix:name`.
    fn of(configured: &str, id: &str, user: bool) -> Result<Self, Error> {
        let (slice, prefix, name) = if configured.is_empty() {
            ("", "hull", id)
        } else {
            match configured.split(':').collect::<Vec<_>>().as_slice() {
                [slice, prefix, name] => (*slice, *prefix, *name),
                _ => {
                    return Err(said(format!(
                        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, \
                         got {configured:?} instead"
                    )));
                }
            }
        };
        let slice = match slice {
            "" if user => "user.slice",
            "" => "system.slice",
            slice => slice,
        };
        if !is_slice(slice) {
            return Err(said(format!("invalid slice name: {slice}")));
        }
        Ok(Self {
            name: format!("{prefix}-{name}.scope"),
            slice: slice.to_owned(),
            user,
        })
    }

    /// Its group, below the manager's own.
    fn path(&self) -> String {
        let slice = if self.slice == "-.slice" {
            String::new()
        } else {
            expand_slice(&self.slice)
        };
        format!("{slice}/{}", self.name)
    }

    fn manager(&self) -> Result<Manager, Error> {
        let connected = if self.user {
            Manager::user()
        } else {
            Manager::system()
        };
        connected.step(|| "connect to systemd")
    }
}

/// A slice's name is its path: no part may be empty (systemd.slice(5)).
fn is_slice(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".slice") else {
        return false;
    };
    stem == "-" || (!stem.contains('/') && stem.split('-').all(|part| !part.is_empty()))
}

/// Where the container's group will be.
pub(crate) fn place(linux: &Linux, id: &str) -> Result<Place, Error> {
    if !systemd::is_running() {
        return Err(said(
            "systemd not running on this host, cannot use systemd cgroups manager",
        ));
    }
    let user = !rustix::process::geteuid().is_root() || rootless::in_user_namespace();
    let layout = Layout::detect().step(|| "find the control groups")?;
    if user && !layout.is_v2() {
        return Err(said(
            "cannot use rootless systemd cgroups manager on cgroup v1",
        ));
    }
    let unit = Unit::of(&linux.cgroups_path, id, user)?;
    let mut path = unit.path();
    if user {
        let own = unit.manager()?.control_group();
        let own = own.step(|| "find the control group of systemd")?;
        path = format!("{}{path}", own.display().to_string().trim_end_matches('/'));
    }
    Ok(Place {
        path,
        unified: linux.resources.as_ref().is_some_and(cgroups::wants_unified),
        unit: Some(unit),
    })
}

/// Has systemd make the unit around the container's first process, and sets what systemd has not.
///
/// A unit that is somebody else's is left alone; `place` then names none.
pub(crate) fn adopt(
    place: &mut Place,
    group: &Cgroup,
    pid: i32,
    spec: &Spec,
    rootless: impl Fn() -> bool,
) -> Result<(), Error> {
    let kept = std::mem::take(place);
    let unit = kept.unit.as_ref();
    let unit = unit.ok_or_else(|| said("no systemd unit"))?;
    let nothing = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&nothing);
    let resources = linux.resources.as_ref();
    let mut limits = resources.map(cgroups::limits_of).unwrap_or_default();
    let v2 = group.layout().is_v2();
    let mut manager = unit.manager()?;
    let mut all = base(unit, pid, v2);
    all.extend(devices::properties(&cgroups::device_rules(resources)));
    all.extend(properties::of(&mut limits, v2, &mut manager)?);
    all.extend(properties::at_start(&limits, &mut manager)?);
    // Last: they are the user's word against ours.
    all.extend(annotations::properties(&spec.annotations)?);
    manager
        .start_transient(&unit.name, &all)
        .step(|| format!("unable to start unit {:?}", unit.name))
        .step(|| "unable to apply cgroup configuration")
        .step(|| "unable to start container process")?;
    *place = kept;
    let enter = || -> Result<(), hull_linux::cgroup::Error> {
        group.create_for(&limits)?;
        if v2 {
            return Ok(());
        }
        // systemd moves into the hierarchies it uses, which are not all.
        group.add(pid.unsigned_abs())
    };
    enter()
        .step(|| "unable to apply cgroup configuration")
        .step(|| "unable to start container process")?;
    cgroups::limit(group, &limits, resources, rootless)
}

/// What every container's unit has.
fn base(unit: &Unit, pid: i32, v2: bool) -> Vec<Property> {
    let io = if v2 {
        "IOAccounting"
    } else {
        "BlockIOAccounting"
    };
    let pids = vec![Value::U32(pid.unsigned_abs())];
    let description = format!("Hull container {}", unit.name);
    let mut properties = vec![
        Property::new("Description", Value::Text(description)),
        Property::new("Slice", Value::text(&unit.slice)),
        Property::new("Delegate", Value::Bool(true)),
        Property::new("PIDs", Value::Array(Type::Plain('u'), pids)),
        Property::new("DefaultDependencies", Value::Bool(false)),
    ];
    for name in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        properties.push(Property::new(name, Value::Bool(true)));
    }
    properties
}

/// Changes the limits, and systemd's idea of them last: what it refuses is undone. Without it, it would set
/// its old ones again some day.
pub(crate) fn update(unit: &Unit, group: &Cgroup, change: &mut Change) -> Result<(), Error> {
    let v2 = group.layout().is_v2();
    let mut manager = unit.manager()?;
    let wanted = properties::of(&mut change.limits, v2, &mut manager)?;
    let tell = || match wanted.as_slice() {
        [] => Ok(()),
        wanted => manager
            .set_properties(&unit.name, wanted)
            .step(|| "unable to set unit properties"),
    };
    let done = group.update_then(&change.limits, tell);
    done.map_err(|error| said(crate::error::chain(&error)))?
}

/// Ends the unit. Its group may outlive it where systemd does not know all hierarchies.
pub(crate) fn stop(unit: &Unit) -> Result<(), Error> {
    unit.manager()?
        .stop(&unit.name)
        .step(|| format!("stop unit {:?}", unit.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_named_by_slice_prefix_and_name() {
        for (configured, user, name, path) in [
            ("", false, "hull-c.scope", "/system.slice/hull-c.scope"),
            ("", true, "hull-c.scope", "/user.slice/hull-c.scope"),
            (
                "a-b.slice:docker:7",
                false,
                "docker-7.scope",
                "/a.slice/a-b.slice/docker-7.scope",
            ),
            ("-.slice:p:n", false, "p-n.scope", "/p-n.scope"),
        ] {
            let unit = Unit::of(configured, "c", user).expect(configured);
            assert_eq!((unit.name.as_str(), unit.path().as_str()), (name, path));
        }
        for (configured, text) in [
            (
                "/a/b",
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, \
                 got \"/a/b\" instead",
            ),
            ("x:a:b", "invalid slice name: x"),
            ("a--b.slice:a:b", "invalid slice name: a--b.slice"),
            ("a/b.slice:a:b", "invalid slice name: a/b.slice"),
            (".slice:a:b", "invalid slice name: .slice"),
        ] {
            let error = Unit::of(configured, "c", false).expect_err(configured);
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn without_systemd_there_is_a_clear_error() {
        if systemd::is_running() {
            println!("skipped: systemd runs here");
            return;
        }
        let error = place(&Linux::default(), "c").expect_err("no systemd");
        let text = "systemd not running on this host, cannot use systemd cgroups manager";
        assert_eq!(error.to_string(), text);
    }
}
