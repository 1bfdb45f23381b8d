//! What a container uses without owning it. CRIU keeps a name of it, and at the restore is told what has
//! that name now.

use super::message::Message;
use crate::error::{Error, Step as _, said};
use hull_linux::cgroup::Cgroup;
use hull_linux::device;
use hull_linux::mount::{self, Options};
use hull_linux::path::Root;
use hull_spec::runtime::{Linux, Mount, NamespaceKind, Spec};
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// The name under which all masked files are kept.
const NULL: &str = "/dev/null";

/// A mount from outside: its place in the container, which is also its name, and its source.
pub(super) type External = (String, PathBuf);

/// The mounts from outside, but for those that mask.
pub(super) fn mounts(
    spec: &Spec,
    bundle: &Path,
    rootfs: &Path,
    group: Option<&Cgroup>,
) -> Result<Vec<External>, Error> {
    let root = Root::open(rootfs).step(|| format!("open {}", rootfs.display()))?;
    let mut found = Vec::new();
    for mount in &spec.mounts {
        let place = place(&root, rootfs, &mount.destination);
        if is_bind(mount) {
            found.push((place, bundle.join(&mount.source)));
        } else if let ("cgroup" | "cgroup2", Some(group)) = (mount.kind.as_str(), group) {
            let hierarchies = group.layout().hierarchies().iter();
            for (hierarchy, directory) in hierarchies.zip(group.directories()) {
                let name = if group.layout().is_v2() {
                    place.clone()
                } else {
                    format!("{place}/{}", hierarchy.name())
                };
                found.push((name, directory));
            }
        }
    }
    // Where nodes cannot be made, they are mounts of the host's; elsewhere nothing has these names.
    let linux = spec.linux.iter();
    let named = linux
        .flat_map(|linux| &linux.devices)
        .map(|device| device.path.clone());
    let usual = device::DEFAULT
        .iter()
        .map(|(name, ..)| format!("/dev/{name}"));
    found.extend(named.chain(usual).map(|path| (path.clone(), path.into())));
    Ok(found)
}

pub(super) fn is_bind(mount: &Mount) -> bool {
    let options = Options::parse(&mount.options);
    (options.bind || mount.kind == "bind") && !options.remount
}

/// Where a mount is once links of the root file system are followed.
fn place(root: &Root, rootfs: &Path, destination: &str) -> String {
    let plain = plain(destination);
    let found = root.open_at(&plain, OFlags::PATH).ok();
    let found = found
        .and_then(|file| fs_err::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok());
    let inside = found
        .as_deref()
        .and_then(|path| path.strip_prefix(rootfs).ok());
    let path = inside.map_or(plain, |path| Path::new("/").join(path));
    path.to_string_lossy().into_owned()
}

fn plain(path: &str) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    plain
}

/// Adds `ext_mnt`: a name and, at the dump, the place that has it; at the restore, the source it has now.
pub(super) fn add_mount(message: &mut Message, key: &str, value: &str) {
    let mut entry = Message::default();
    entry.text(1, key).text(2, value);
    message.message(23, &entry);
}

/// Names the files that are masked in a running container.
pub(super) fn add_masked(message: &mut Message, linux: &Linux, pid: i32) {
    for path in &linux.masked_paths {
        let path = plain(path);
        let seen = format!("/proc/{pid}/root{}", path.display());
        // What is not there was not masked; directories have file systems of their own over them.
        if rustix::fs::stat(seen)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory)
        {
            add_mount(message, &path.to_string_lossy(), NULL);
        }
    }
}

/// Gives the masks back.
pub(super) fn add_mask(message: &mut Message, linux: &Linux) {
    if !linux.masked_paths.is_empty() {
        add_mount(message, NULL, NULL);
    }
}

/// Kinds of namespaces that CRIU can leave alone, by its word and the name we give them, which is runc's.
const NAMESPACES: [(NamespaceKind, &str, &str); 2] = [
    (NamespaceKind::Network, "net", "extRootNetNS"),
    (NamespaceKind::Pid, "pid", "extRootPidNS"),
];

/// Names the namespaces that were joined by path.
pub(super) fn add_namespaces(message: &mut Message, linux: &Linux) -> Result<(), Error> {
    for namespace in linux.namespaces.iter().filter(|one| !one.path.is_empty()) {
        if let Some((_, word, name)) = NAMESPACES.iter().find(|(kind, ..)| *kind == namespace.kind)
        {
            let inode = fs_err::metadata(&namespace.path)
                .step(|| format!("stat {}", namespace.path))?
                .ino();
            message.text(37, &format!("{word}[{inode}]:{name}"));
        }
    }
    Ok(())
}

/// Gives namespaces back. Those in the list must be open in CRIU under the same numbers.
pub(super) fn give_namespaces(message: &mut Message, linux: &Linux) -> Result<Vec<OwnedFd>, Error> {
    let mut files = Vec::new();
    for namespace in linux.namespaces.iter().filter(|one| !one.path.is_empty()) {
        if let Some((_, _, name)) = NAMESPACES.iter().find(|(kind, ..)| *kind == namespace.kind) {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file = rustix::fs::open(&namespace.path, flags, Mode::empty())
                .step(|| format!("open {}", namespace.path))
                .step(|| "the namespace of the container must exist")?;
            add_inherited(message, name, file.as_raw_fd());
            files.push(file);
            continue;
        }
        let word = match namespace.kind {
            NamespaceKind::Mount => "mnt",
            NamespaceKind::Ipc => "ipc",
            NamespaceKind::Uts => "uts",
            NamespaceKind::User => "user",
            NamespaceKind::Time => "time",
            _ => {
                return Err(said(format!(
                    "Do not know how to handle namespace {:?}",
                    namespace.kind
                )));
            }
        };
        let mut join = Message::default();
        join.text(1, word).text(2, &namespace.path);
        message.message(39, &join);
    }
    Ok(files)
}

/// Adds `inherit_fd`: a name, and the number of the descriptor in CRIU that has it.
pub(super) fn add_inherited(message: &mut Message, name: &str, file: i32) {
    let mut entry = Message::default();
    entry.text(1, name).number(2, file.into());
    message.message(27, &entry);
}

/// Makes the places on which CRIU will mount, which it does not do itself: in a tree of mounts that the
/// caller takes away afterwards. What lies on a tmpfs is in the dump.
pub(super) fn make_places(root: &Root, bundle: &Path, mounts: &[Mount]) -> Result<(), Error> {
    let on_tmpfs = |mount: &Mount| {
        let destination = plain(&mount.destination);
        let over = |other: &Mount| {
            let other_place = plain(&other.destination);
            other.kind == "tmpfs"
                && destination != other_place
                && destination.starts_with(other_place)
        };
        mounts.iter().any(over)
    };
    for mount in mounts {
        if on_tmpfs(mount) || matches!(mount.kind.as_str(), "cgroup" | "cgroup2") {
            continue;
        }
        let path = plain(&mount.destination);
        let step = || {
            format!(
                "create criu restore mountpoint for {} mount",
                mount.destination
            )
        };
        if !is_bind(mount) {
            root.ensure_directory(&path, 0o755).step(step)?;
            continue;
        }
        let source = bundle.join(&mount.source);
        let tree =
            mount::clone_tree(CWD, &source, true).step(|| format!("open {}", source.display()))?;
        let stat = rustix::fs::fstat(&tree).step(|| format!("stat {}", source.display()))?;
        let place = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            root.ensure_directory(&path, 0o755).step(step)?
        } else {
            root.ensure_file(&path).step(step)?
        };
        // Places of later mounts may be in it.
        mount::attach(tree.as_fd(), place.as_fd()).step(step)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_do_not_lead_out() {
        for (path, expected) in [
            ("/a/../b", "/b"),
            ("a", "/a"),
            ("/../..", "/"),
            ("/a/./b//c", "/a/b/c"),
        ] {
            assert_eq!(plain(path), Path::new(expected));
        }
    }
}
