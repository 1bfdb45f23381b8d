//! What may be mounted on procfs: almost nothing.

use crate::error::{Error, Step as _, said};
use crate::plan::plain;
use hull_linux::procfs;
use hull_spec::runtime::Mount;
use rustix::fd::OwnedFd;
use std::path::Path;

/// What may be covered in `/proc`: files that only inform about the machine (lxcfs does so).
const INFORMING: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// `PROC_SUPER_MAGIC` of statfs(2).
const PROCFS: u32 = 0x9fa0;

/// Refuses to cover procfs: what is written to it and hidden in it must be the real one's
/// (CVE-2019-16884). An image can ask for such a mount by declaring a volume.
pub(super) fn check(tree: &OwnedFd, place: &OwnedFd, mount: &Mount) -> Result<(), Error> {
    let is_procfs = |file: &OwnedFd| {
        let kind = rustix::fs::fstatfs(file).step(|| "statfs a mount")?.f_type;
        Ok::<_, Error>(u32::try_from(kind) == Ok(PROCFS))
    };
    let destination = plain(&mount.destination);
    if destination == Path::new("/proc") {
        // A part of one would show whatever is in it as `self`.
        return if procfs::is_root(tree).step(|| "look at a mount")? {
            Ok(())
        } else {
            Err(said(format!(
                "{:?} cannot be mounted because it is not of type proc",
                mount.destination
            )))
        };
    }
    // By its path, or because a link leads there.
    let inside = destination.starts_with("/proc") || is_procfs(place)? && !is_procfs(tree)?;
    if !inside || INFORMING.iter().any(|file| destination == Path::new(file)) {
        return Ok(());
    }
    Err(said(format!(
        "{:?} cannot be mounted because it is inside /proc",
        mount.destination
    )))
}
