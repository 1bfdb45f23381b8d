//! The mounts of the configuration. Each is made detached, completed, and then attached to a descriptor
//! of its place, which was looked up once inside the root (CVE-2021-30465): what the path leads to a
//! moment later does not matter.

pub(crate) mod bind;
mod file_system;
mod over_proc;

use super::{Common, First, cgroup_mount};
use crate::error::{Error, Step as _};
use hull_linux::mount::{self, Attributes, Options};
use hull_linux::path::Root;
use hull_spec::runtime::Mount;
use rustix::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// Makes all mounts in order. Gives those that become read-only once their content is complete.
pub(super) fn all(
    common: &Common<'_>,
    first: &First<'_>,
    root: &Root,
) -> Result<Vec<OwnedFd>, Error> {
    let mut later = Vec::new();
    for (index, mount) in common.spec.mounts.iter().enumerate() {
        let options = Options::parse(&mount.options);
        let made = match mount.kind.as_str() {
            "cgroup" | "cgroup2" if !options.bind => {
                cgroup_mount::make(first, root, mount, &options)
            }
            _ if options.remount => file_system::remount(root, mount, &options),
            _ if options.bind || mount.kind == "bind" => {
                let tree = bind::source(first, index, mount, &options);
                tree.and_then(|tree| bind::make(common, &tree, root, mount, &options))
            }
            _ => file_system::make(common, root, mount, &options),
        };
        later.extend(made.step(|| {
            format!(
                "error mounting {:?} to rootfs at {:?}",
                mount.source, mount.destination
            )
        })?);
    }
    Ok(later)
}

fn attach(tree: &OwnedFd, place: &OwnedFd, mount: &Mount) -> Result<Option<OwnedFd>, Error> {
    over_proc::check(tree, place, mount)?;
    mount::attach(tree.as_fd(), place.as_fd())
        .step(|| format!("mount src={}, dst={}", mount.source, mount.destination))?;
    Ok(None)
}

/// The attributes of the mount's tree, and its propagation.
fn set(tree: &OwnedFd, options: &Options) -> Result<(), Error> {
    if options.recursive_attributes != Attributes::default() {
        mount::set_attributes(tree.as_fd(), true, &options.recursive_attributes)
            .step(|| "set the attributes of the mounts")?;
    }
    for (propagation, recursive) in &options.propagation {
        let change = Attributes {
            propagation: *propagation,
            ..Attributes::default()
        };
        mount::set_attributes(tree.as_fd(), *recursive, &change)
            .step(|| "set the mount's propagation")?;
    }
    Ok(())
}

/// Whether a path is the destination of a bind mount that brings its own `/dev`.
pub(super) fn is_bound(mounts: &[Mount], destination: &str) -> bool {
    mounts.iter().any(|mount| {
        let options = Options::parse(&mount.options);
        Path::new(&mount.destination) == Path::new(destination)
            && (options.bind || mount.kind == "bind")
    })
}
