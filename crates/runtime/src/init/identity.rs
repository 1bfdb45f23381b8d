//! From root to the user the configuration names, with the rights it names.

use super::program::{self, Program};
use super::{Common, label};
use crate::error::{Error, Step as _, said};
use crate::rootless;
use hull_linux::capability::{self, Set};
use hull_linux::process;
use hull_spec::runtime::{Capabilities, IdMapping};
use rustix::fs::Uid;
use std::io;

/// Gives up what the program is not to have, and finds the program as its user would.
pub(super) fn become_user(common: &Common<'_>) -> Result<Program, Error> {
    let process = common.process;
    // Before a filter can forbid what is needed for it.
    let environment = program::environment(process);
    label::set(common)?;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).step(|| "set no_new_privs")?;
    }
    let filter = common
        .spec
        .linux
        .as_ref()
        .and_then(|linux| linux.seccomp.as_ref());
    let filter = filter.map(crate::seccomp::compile).transpose()?;
    let filter = match filter {
        // Without no_new_privs a filter needs CAP_SYS_ADMIN, which the program may not have.
        Some(filter) if !process.no_new_privileges => {
            filter.enforce(common.channel)?;
            None
        }
        other => other,
    };
    own_standard_streams(process.user.uid);
    let nothing = Capabilities::default();
    let wanted = process.capabilities.as_ref().unwrap_or(&nothing);
    let (permitted, bounding) = capability::own().step(|| "read the capabilities")?;
    let set = |names: &[String], most: Set| {
        // A capability this kernel does not know, or this host does not have, cannot be had.
        Set(Set::of(names.iter().map(String::as_str), |_| ()).0 & most.0)
    };
    capability::limit_bounding(set(&wanted.bounding, bounding)).step(|| "apply bounding set")?;
    rustix::thread::set_keep_capabilities(true).step(|| "set keep caps")?;
    let home_before = change_directory(&process.cwd);
    identity(common)?;
    if home_before.is_err() {
        // A directory only this user may enter.
        change_directory(&process.cwd)?;
    }
    verify_directory()?;
    rustix::thread::set_keep_capabilities(false).step(|| "clear keep caps")?;
    capability::set(
        set(&wanted.effective, permitted),
        set(&wanted.permitted, permitted),
        set(&wanted.inheritable, permitted),
    )
    .step(|| "apply caps")?;
    capability::set_ambient(set(&wanted.ambient, permitted)).step(|| "apply ambient caps")?;
    let mut program = Program::find(process, &environment, filter)?;
    program.enforce_if_listened(common)?;
    Ok(program)
}

/// The program must be able to open its standard streams again by name, whoever it runs as.
fn own_standard_streams(uid: u32) {
    let null = rustix::fs::makedev(1, 3);
    for stream in [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ] {
        let Ok(stat) = rustix::fs::fstat(stream) else {
            continue;
        };
        if stat.st_uid != uid && stat.st_rdev != null {
            // Streams on read-only or foreign file systems stay as they are, as in runc.
            let _ = rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None);
        }
    }
}

fn identity(common: &Common<'_>) -> Result<(), Error> {
    let user = &common.process.user;
    let groups = user.additional_gids.as_slice();
    match process::set_identity(user.uid, user.gid, Some(groups)) {
        // A user namespace whose maker may not have groups dropped (user_namespaces(7), "setgroups").
        // Groups that were asked for are ignored then, as in runc.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && groups_denied(common) => {
            process::set_identity(user.uid, user.gid, None)
        }
        other => other,
    }
    .map_err(|error| unmapped(common, &error).unwrap_or(error))
    .step(|| "unable to setup user")
}

/// What the kernel means with its answer to an id of a user namespace.
fn unmapped(common: &Common<'_>, error: &io::Error) -> Option<io::Error> {
    let linux = common.spec.linux.as_ref()?;
    let user = &common.process.user;
    let is_unknown = |id, maps: &[IdMapping]| !maps.is_empty() && !rootless::is_mapped(id, maps);
    if error.kind() != io::ErrorKind::InvalidInput {
        return None;
    }
    let text = if is_unknown(user.uid, &linux.uid_mappings) {
        format!(
            "cannot setuid to unmapped uid {} in user namespace",
            user.uid
        )
    } else if is_unknown(user.gid, &linux.gid_mappings) {
        format!(
            "cannot setgid to unmapped gid {} in user namespace",
            user.gid
        )
    } else {
        format!("set uid {} and gid {}: {error}", user.uid, user.gid)
    };
    Some(io::Error::other(text))
}

/// Whether setgroups(2) is denied for good in this user namespace.
fn groups_denied(common: &Common<'_>) -> bool {
    let own = common.proc.own_id().unwrap_or_default();
    let file = std::path::Path::new(&own).join("setgroups");
    let mut text = [0; 4];
    let read = common
        .proc
        .open_at(&file, rustix::fs::OFlags::RDONLY)
        .map(|file| rustix::io::read(file, &mut text));
    matches!(read, Ok(Ok(4))) && &text == b"deny"
}

fn change_directory(cwd: &str) -> Result<(), Error> {
    rustix::process::chdir(cwd).step(|| format!("chdir to cwd ({cwd:?}) set in config.json failed"))
}

/// The directory must be one of the container: a descriptor of the host that was left open, reached by
/// `/proc/self/fd`, is outside of its root (CVE-2024-21626).
fn verify_directory() -> Result<(), Error> {
    let outside = || {
        said(
            "current working directory is outside of container mount namespace root -- possible container breakout detected",
        )
    };
    let cwd = match rustix::process::getcwd(Vec::new()) {
        Err(rustix::io::Errno::NOENT) => return Err(outside()),
        other => other.step(|| "failed to verify if current working directory is safe")?,
    };
    if cwd.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(outside())
    }
}
