//! Version 2: one directory (kernel documentation, `admin-guide/cgroup-v2`).

mod freezer;
mod limits;
mod stats;

pub(super) use freezer::set_frozen;
pub(super) use limits::{apply, set_huge_pages, set_rdma, swap_alone, weight_of_shares};
pub(super) use stats::{huge_pages, stats};

use super::{Error, Hierarchy, read, write};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Makes the directories, hands every controller that is there down to the group itself (a controller is
/// in a group when the group's parent lists it in `cgroup.subtree_control`), and tells whether the group
/// was there already.
pub(super) fn create(hierarchy: &Hierarchy, path: &Path) -> Result<bool, Error> {
    let mut parent = hierarchy.mount.clone();
    let mut existed = false;
    for part in path {
        let child = parent.join(part);
        enable_controllers(&parent)?;
        existed = match fs::create_dir(&child) {
            Ok(()) => false,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => true,
            Err(source) => {
                return Err(Error::Create {
                    path: child,
                    source,
                });
            }
        };
        parent = child;
    }
    Ok(existed)
}

fn enable_controllers(parent: &Path) -> Result<(), Error> {
    let available = read(&parent.join("cgroup.controllers"))?;
    let enabled = read(&parent.join("cgroup.subtree_control"))?;
    let missing: Vec<String> = available
        .split_whitespace()
        .filter(|controller| !enabled.split_whitespace().any(|have| have == *controller))
        .map(|controller| format!("+{controller}"))
        .collect();
    let file = parent.join("cgroup.subtree_control");
    if missing.is_empty() || write(&file, &missing.join(" ")).is_ok() {
        return Ok(());
    }
    // All or nothing failed (a parent with processes of its own, or a controller that cannot be
    // delegated): take those that can be had. A limit that then cannot be set says so by itself.
    for controller in missing {
        let _ = write(&file, &controller);
    }
    Ok(())
}
