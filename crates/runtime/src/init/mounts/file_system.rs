//! New file systems, and the options of those that are mounted already.

use super::{attach, set};
use crate::error::{Error, Step as _, said};
use crate::init::rootfs::inside;
use crate::init::{Common, copy_up};
use hull_linux::mount::{self, Attributes, Options};
use hull_linux::path::Root;
use hull_spec::runtime::Mount;
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use rustix::fs::{CWD, OFlags};
use rustix::mount::{MountAttrFlags, MountFlags};
use std::ffi::CString;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Changes the options of what is mounted already, those of the file system too.
pub(super) fn remount(
    root: &Root,
    mount: &Mount,
    options: &Options,
) -> Result<Option<OwnedFd>, Error> {
    let place = root
        .open_at(&inside(&mount.destination), OFlags::PATH)
        .step(|| format!("open {}", mount.destination))?;
    let words = options.data.iter().map(String::as_str);
    let words: Vec<&str> = options.superblock.iter().copied().chain(words).collect();
    if !words.is_empty() {
        mount::reconfigure(place.as_fd(), words.into_iter()).step(|| "remount the file system")?;
    }
    if options.has_attributes {
        mount::set_attributes(place.as_fd(), false, &options.added()).step(|| "remount")?;
    }
    set(&place, options)?;
    Ok(None)
}

/// The place of a procfs or sysfs. A link on the way there could hide what the masked paths are to be
/// applied to, and lead what is written to procfs elsewhere (CVE-2019-16884, CVE-2019-19921,
/// CVE-2023-27561, CVE-2023-28642, CVE-2025-54867): what is mounted on is what was seen to be none.
fn without_links(root: &Root, path: &Path, kind: &str) -> Result<OwnedFd, Error> {
    let place = root.open_without_links(path, OFlags::PATH | OFlags::DIRECTORY);
    place.map_err(|_| {
        said(format!(
            "filesystem {kind:?} must be mounted on ordinary directory"
        ))
    })
}

/// Mounts a new file system.
pub(super) fn make(
    common: &Common<'_>,
    root: &Root,
    mount: &Mount,
    options: &Options,
) -> Result<Option<OwnedFd>, Error> {
    let path = inside(&mount.destination);
    let (place, existed) = match root.open_at(&path, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(place) => (place, true),
        Err(_) => {
            let place = root.ensure_directory(&path, 0o755);
            let step = || format!("create mount point for {:?} mount", mount.destination);
            (place.step(step)?, false)
        }
    };
    let place = if matches!(mount.kind.as_str(), "proc" | "sysfs") {
        without_links(root, &path, &mount.kind)?
    } else {
        place
    };
    let mut data = words(common, mount, options);
    if mount.kind == "tmpfs" && existed && !data.iter().any(|word| word.starts_with("mode=")) {
        // As the directory it covers had it; a place that had to be made says nothing.
        let stat = rustix::fs::fstat(&place).step(|| "stat the mount point")?;
        data.insert(0, format!("mode={:04o}", stat.st_mode & 0o7777));
    }
    let later = options.read_only() && (mount.kind == "tmpfs" || mount.destination == "/dev");
    let mut attributes = options.attributes;
    if later {
        attributes.set &= !u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    }
    if data.iter().any(|word| word.len() > LONGEST) {
        return classic(root, mount, &place, options, &data);
    }
    // MS_RDONLY of a file system as a whole: nothing else could be written to it by another way in.
    if options.read_only() && !later && !matches!(mount.kind.as_str(), "proc" | "sysfs" | "mqueue")
    {
        data.push("ro".to_owned());
    }
    let tree = new_file_system(mount, &data, attributes)?;
    set(&tree, options)?;
    if options.copy_up && mount.kind == "tmpfs" {
        copy_up::copy(common.proc, &place, &tree).step(|| "tmpcopyup")?;
    }
    attach(&tree, &place, mount)?;
    Ok(later.then_some(tree))
}

/// A file system that shows a namespace can be made only by who owns the namespace; for somebody who is
/// root in no more than a user namespace, the host's one shows the same namespace.
fn new_file_system(
    mount: &Mount,
    data: &[String],
    attributes: Attributes,
) -> Result<OwnedFd, Error> {
    let words = data.iter().map(String::as_str);
    let made = mount::new_file_system(&mount.kind, &mount.source, words, attributes.set);
    let of_host = match mount.kind.as_str() {
        "sysfs" => Some("/sys"),
        "mqueue" => Some("/dev/mqueue"),
        _ => None,
    };
    let tree: io::Result<OwnedFd> = match (made, of_host) {
        (Err(error), Some(path)) if error.kind() == ErrorKind::PermissionDenied => {
            host_tree(path, attributes).map_err(|_| error)
        }
        (made, _) => made,
    };
    tree.step(|| {
        format!(
            "mount src={}, dst={}, data={}",
            mount.source,
            mount.destination,
            data.join(",")
        )
    })
}

/// `MOUNT_ATTR__ATIME`.
const ACCESS_TIMES: u64 = 0x70;

fn host_tree(path: &str, attributes: Attributes) -> io::Result<OwnedFd> {
    let tree = mount::clone_tree(CWD, Path::new(path), true)?;
    // What is locked cannot be cleared, nor access times be changed: there is more than was asked for, never less.
    let change = Attributes {
        set: attributes.set & !ACCESS_TIMES,
        ..Attributes::default()
    };
    mount::set_attributes(tree.as_fd(), true, &change)?;
    Ok(tree)
}

/// What the file system is told: words for all, words for its type, and its label. procfs and sysfs label
/// themselves.
fn words(common: &Common<'_>, mount: &Mount, options: &Options) -> Vec<String> {
    let for_all = options.superblock.iter().map(|word| (*word).to_owned());
    let mut words: Vec<String> = for_all.chain(options.data.iter().cloned()).collect();
    let label = common
        .spec
        .linux
        .as_ref()
        .map(|linux| linux.mount_label.as_str());
    if let Some(label) = label.filter(|label| !label.is_empty())
        && !matches!(mount.kind.as_str(), "proc" | "sysfs" | "mqueue")
        && !words.iter().any(|word| word.starts_with("context="))
    {
        words.push(format!("context={label}"));
    }
    words
}

/// The longest text fsconfig(2) takes, a key and its value each; less, as they are measured together here.
const LONGEST: usize = 255;

/// mount(2), for options that are longer than fsconfig(2) takes: an overlay of many layers. The place is a
/// descriptor here too, named through the host's procfs, which is what `/proc` still is.
fn classic(
    root: &Root,
    mount: &Mount,
    place: &OwnedFd,
    options: &Options,
    data: &[String],
) -> Result<Option<OwnedFd>, Error> {
    let step = || format!("mount src={}, dst={}", mount.source, mount.destination);
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let data = CString::new(data.join(",")).step(step)?;
    let flags = MountFlags::from_bits_retain(mount::classic_flags(options.attributes.set));
    let (source, kind) = (mount.source.as_str(), mount.kind.as_str());
    rustix::mount::mount(source, path.as_str(), kind, flags, Some(data.as_c_str())).step(step)?;
    if !options.propagation.is_empty() || options.recursive_attributes != Attributes::default() {
        set(
            &root
                .open_at(&inside(&mount.destination), OFlags::PATH)
                .step(step)?,
            options,
        )?;
    }
    Ok(None)
}
