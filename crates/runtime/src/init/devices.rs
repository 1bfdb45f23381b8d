//! Device nodes and links in `/dev`.

use super::rootfs::inside;
use super::{Common, mounts};
use crate::error::{Error, Step as _, said};
use hull_linux::device::{self, Node};
use hull_linux::mount;
use hull_linux::path::Root;
use hull_spec::runtime::{Device, Linux, Spec};
use rustix::fd::AsFd as _;
use rustix::fs::{AtFlags, CWD, FileType, OFlags};
use std::path::Path;

/// Links every container has (runtime-spec, "Dev symbolic links"); the last only where it leads somewhere.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/proc/kcore", "core"),
];

/// A `/dev` that is bound from elsewhere is complete.
pub(super) fn wanted(spec: &Spec) -> bool {
    !mounts::is_bound(&spec.mounts, "/dev")
}

/// Makes the default nodes, those of the configuration, and the links.
pub(super) fn all(common: &Common<'_>, linux: &Linux, root: &Root) -> Result<(), Error> {
    let named = |path: &str| linux.devices.iter().any(|device| device.path == path);
    for (name, major, minor) in device::DEFAULT {
        let path = format!("/dev/{name}");
        if !named(&path) {
            let node = Node {
                kind: FileType::CharacterDevice,
                major,
                minor,
                mode: 0o666,
                uid: 0,
                gid: 0,
            };
            make(common, root, &path, &node)?;
        }
    }
    for device in linux
        .devices
        .iter()
        .filter(|device| device.path != "/dev/ptmx")
    {
        make(common, root, &device.path, &node(device)?)?;
    }
    own_null(common, root)?;
    links(root)
}

/// Standard streams that are the host's null device become the container's, made a moment ago: nothing of
/// the host's tree is left in the process, and a checkpoint finds them in the container's.
fn own_null(common: &Common<'_>, root: &Root) -> Result<(), Error> {
    let step = || "open /dev/null";
    let path = Path::new("/dev/null");
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    let mut own = None;
    for (number, stream) in streams.into_iter().enumerate() {
        if !device::is_null(stream).unwrap_or(false) {
            continue;
        }
        if own.is_none() {
            // Looked at before it is opened: the configuration or an image may have something else there
            // (CVE-2026-88265).
            let place = root.open_at(path, OFlags::PATH).step(step)?;
            if !device::is_null(place.as_fd()).step(step)? {
                return Ok(());
            }
            let flags = OFlags::RDWR | OFlags::NOCTTY;
            own = Some(common.proc.reopen(place.as_fd(), flags).step(step)?);
        }
        if let Some(own) = &own {
            match number {
                0 => rustix::stdio::dup2_stdin(own),
                1 => rustix::stdio::dup2_stdout(own),
                _ => rustix::stdio::dup2_stderr(own),
            }
            .step(step)?;
        }
    }
    Ok(())
}

fn node(device: &Device) -> Result<Node, Error> {
    let number =
        |number: i64| u32::try_from(number).step(|| format!("device {}: its number", device.path));
    Ok(Node {
        kind: match device.kind.as_str() {
            "c" | "u" => FileType::CharacterDevice,
            "b" => FileType::BlockDevice,
            "p" => FileType::Fifo,
            other => {
                return Err(said(format!(
                    "device {}: unknown type {other:?}",
                    device.path
                )));
            }
        },
        major: number(device.major)?,
        minor: number(device.minor)?,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}

/// A node; where nodes cannot be made (user namespaces), the host's one is mounted.
fn make(common: &Common<'_>, root: &Root, path: &str, node: &Node) -> Result<(), Error> {
    let step = || format!("error creating device nodes: mknod {path}");
    let inside = inside(path);
    if !common.has_user || node.kind == FileType::Fifo {
        let (directory, name) = root.ensure_parent(&inside).step(step)?;
        match device::make(directory.as_fd(), &name, node) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            other => return other.step(step),
        }
    }
    let host = mount::clone_tree(CWD, Path::new(path), false).step(step)?;
    if !device::is(host.as_fd(), node).step(step)? {
        let text = format!(
            "{path} of the host is not the device {}:{}",
            node.major, node.minor
        );
        return Err(said(text)).step(step);
    }
    let place = root.ensure_file(&inside).step(step)?;
    mount::attach(host.as_fd(), place.as_fd()).step(step)
}

fn links(root: &Root) -> Result<(), Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let dev = root
        .open_at(Path::new("/dev"), flags)
        .step(|| "open /dev")?;
    let dumps = rustix::fs::access("/proc/kcore", rustix::fs::Access::EXISTS).is_ok();
    let wanted = if dumps { LINKS.len() } else { LINKS.len() - 1 };
    for (target, name) in LINKS.into_iter().take(wanted) {
        match rustix::fs::symlinkat(target, &dev, name) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error).step(|| format!("symlink {target} /dev/{name}")),
        }
    }
    // The multiplexer of the container's own devpts, whatever an image put there.
    match rustix::fs::unlinkat(&dev, "ptmx", AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error).step(|| "remove /dev/ptmx"),
    }
    rustix::fs::symlinkat("pts/ptmx", &dev, "ptmx").step(|| "symlink dev ptmx")
}
