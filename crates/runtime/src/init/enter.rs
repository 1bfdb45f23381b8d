//! The first steps: session, namespaces that could not be entered at birth, keyring, loopback.

use super::{Common, First};
use crate::error::{Error, Step as _, said};
use hull_linux::namespace::{self, flag};
use hull_linux::process;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::ffi::CString;
use std::io::Write as _;

/// Before anything is mounted.
pub(super) fn first(common: &Common<'_>, first: &First<'_>) -> Result<(), Error> {
    let offsets = time_offsets(common, first)?;
    not_dumpable()?;
    rustix::process::setsid().step(|| "setsid")?;
    if first.namespaces.new_time {
        // While the host's /proc is in sight.
        time_namespace(common, offsets)?;
    }
    if let Some(file) = &first.namespaces.joined_mount {
        namespace::join(file.as_fd(), flag::MOUNT).step(|| "setns to the mount namespace")?;
    }
    if common.has_user {
        process::set_identity(0, 0, None).step(|| "become root of the user namespace")?;
    }
    if let Some(file) = &first.namespaces.joined_cgroup {
        namespace::join(file.as_fd(), flag::CGROUP)
            .step(|| "failed to setns into cgroup namespace given by path")?;
    }
    if first.namespaces.new_cgroup {
        namespace::unshare(flag::CGROUP).step(|| "unshare the cgroup namespace")?;
    }
    if first.namespaces.is_new(flag::NETWORK) {
        namespace::bring_up_loopback().step(|| "bring up the loopback device")?;
    }
    keyring(common)
}

/// Joins the namespaces of a running container.
pub(super) fn joining(
    common: &Common<'_>,
    enter: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    not_dumpable()?;
    enter()?;
    rustix::process::setsid().step(|| "setsid")?;
    if common.has_user {
        process::set_identity(0, 0, None).step(|| "become root of the user namespace")?;
    }
    keyring(common)
}

/// What lives in the container's PID namespace may not look into this process, which has the host's
/// program as its executable and the host's descriptors. This is done before a user namespace is
/// entered in which others have power over us (CVE-2016-9962).
fn not_dumpable() -> Result<(), Error> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .step(|| "make the process not dumpable")
}

/// The file of the clocks' offsets, when there are any: once the process is not dumpable, its files in
/// procfs belong to the host's root.
fn time_offsets(common: &Common<'_>, first: &First<'_>) -> Result<Option<OwnedFd>, Error> {
    let linux = common.spec.linux.as_ref();
    let wanted =
        first.namespaces.new_time && linux.is_some_and(|linux| !linux.time_offsets.is_empty());
    let open = || common.proc.open_own("timens_offsets");
    wanted
        .then(open)
        .transpose()
        .step(|| "open the time offsets")
}

/// The offsets must be written before the first process is in the namespace. Since kernel 6.3 the next program is,
/// before that only children are: so the process enters it itself.
fn time_namespace(common: &Common<'_>, file: Option<OwnedFd>) -> Result<(), Error> {
    namespace::unshare(flag::TIME).step(|| "unshare the time namespace")?;
    if let (Some(linux), Some(file)) = (&common.spec.linux, file) {
        let mut text = Vec::new();
        for (clock, offset) in &linux.time_offsets {
            // Writing to memory cannot fail.
            let _ = writeln!(text, "{clock} {} {}", offset.secs, offset.nanosecs);
        }
        rustix::io::write(&file, &text).step(|| "set the time offsets")?;
    }
    let path = "/proc/thread-self/ns/time_for_children";
    let own = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step(|| "open the time namespace")?;
    namespace::join(own.as_fd(), flag::TIME).step(|| "enter the time namespace")
}

/// The session keyring of the container, not the one of who called the runtime. A kernel without keyrings, or a user who has too many of
/// them, has none to share either: runc goes on too.
fn keyring(common: &Common<'_>) -> Result<(), Error> {
    if common.keep_keyring {
        return Ok(());
    }
    let name =
        CString::new(format!("_ses.{}", common.id)).map_err(|_| said("an id with a zero byte"))?;
    match process::join_session_keyring(&name) {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.raw_os_error(), Some(ENOSYS | EDQUOT | EPERM | EACCES)) => {
            Ok(())
        }
        Err(error) => Err(error).step(|| "unable to join session keyring"),
    }
}

const ENOSYS: i32 = rustix::io::Errno::NOSYS.raw_os_error();
const EDQUOT: i32 = rustix::io::Errno::DQUOT.raw_os_error();
const EPERM: i32 = rustix::io::Errno::PERM.raw_os_error();
const EACCES: i32 = rustix::io::Errno::ACCESS.raw_os_error();
