//! Version 1: a directory per hierarchy (kernel documentation, `cgroup-v1/`).

mod devices;
mod freezer;
mod limits;
mod stats;

pub(super) use devices::set_devices;
pub(super) use freezer::set_frozen;
pub(super) use limits::apply;
pub(super) use stats::{amount, stats};

use super::{Error, Hierarchy, Limits, read, write};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Makes the directory with missing parents, and tells whether it was there already.
pub(super) fn create(hierarchy: &Hierarchy, path: &Path, limits: &Limits) -> Result<bool, Error> {
    let directory = hierarchy.mount.join(path);
    let existed = match fs::create_dir(&directory) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(&directory).map(|()| false)
        }
        Err(error) => Err(error),
    };
    let existed = existed.map_err(|source| Error::Create {
        path: directory.clone(),
        source,
    })?;
    let has = |name: &str| hierarchy.controllers.iter().any(|has| has == name);
    if has("cpuset") && !existed {
        fill_cpuset(&hierarchy.mount, path, limits)?;
    }
    if has("cpu") {
        // A process of a realtime class cannot be moved into a group without realtime.
        limits::set_realtime(&directory, &limits.cpu)?;
    }
    Ok(existed)
}

/// A new cpuset is empty, and nothing can be moved into it until it has processors and memory: what is
/// asked for, else what the parent has; and so its parents, from the top down.
fn fill_cpuset(mount: &Path, path: &Path, limits: &Limits) -> Result<(), Error> {
    for (file, own) in [
        ("cpuset.cpus", &limits.cpu.cpus),
        ("cpuset.mems", &limits.cpu.mems),
    ] {
        let mut parent = mount.to_owned();
        let depth = path.iter().count();
        for (level, part) in path.iter().enumerate() {
            let child = parent.join(part);
            match own {
                Some(own) if level + 1 == depth => write(&child.join(file), own)?,
                _ => {
                    if read(&child.join(file))?.trim().is_empty() {
                        write(&child.join(file), read(&parent.join(file))?.trim())?;
                    }
                }
            }
            parent = child;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpuset_is_copied_from_its_parents() {
        let root = tempfile::tempdir().unwrap();
        for (directory, cpus, mems) in [("", "0-3\n", "0\n"), ("a", "", ""), ("a/b", "", "")] {
            let directory = root.path().join(directory);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("cpuset.cpus"), cpus).unwrap();
            fs::write(directory.join("cpuset.mems"), mems).unwrap();
        }
        let mut limits = Limits::default();
        limits.cpu.cpus = Some("2".to_owned());
        fill_cpuset(root.path(), Path::new("a/b"), &limits).unwrap();
        let holds = |file: &str| fs::read_to_string(root.path().join(file)).unwrap();
        assert_eq!(holds("a/cpuset.cpus"), "0-3");
        assert_eq!(holds("a/b/cpuset.cpus"), "2");
        assert_eq!(holds("a/b/cpuset.mems"), "0");
    }
}
