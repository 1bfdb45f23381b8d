//! From root to the user the configuration names, with the rights it names.

use super::Common;
use super::program::Program;
use crate::error::{Error, Step as _, said};
use hull_linux::capability::{self, Set};
use hull_linux::process;
use hull_spec::runtime::Capabilities;
use rustix::fs::Uid;
use std::path::Path;

/// Gives up what the program is not to have, and finds the program as its user would.
pub(super) fn become_user(common: &Common<'_>) -> Result<Program, Error> {
    let process = common.process;
    if !process.apparmor_profile.is_empty() {
        apparmor(common)?;
    }
    if !process.selinux_label.is_empty() && Path::new("/sys/fs/selinux").exists() {
        label(common, "attr/exec", &process.selinux_label)?;
    }
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
            filter.install().step(|| "install the seccomp filter")?;
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
    Program::find(process, filter)
}

fn apparmor(common: &Common<'_>) -> Result<(), Error> {
    let profile = &common.process.apparmor_profile;
    let enabled = fs_err::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"));
    let step =
        || format!("unable to apply apparmor profile: apparmor failed to apply profile: {profile}");
    if !enabled && !Path::new("/sys/kernel/security/apparmor").exists() {
        return Err(said("apparmor: config provided but apparmor not supported")).step(step);
    }
    label(common, "attr/apparmor/exec", &format!("exec {profile}"))
        .or_else(|_| label(common, "attr/exec", &format!("exec {profile}")))
        .step(step)
}

/// Writes a label for the next program through the host's procfs (CVE-2019-16884, CVE-2025-52881).
fn label(common: &Common<'_>, file: &str, text: &str) -> Result<(), Error> {
    let own = common.proc.own_id().step(|| "find the process in procfs")?;
    common
        .proc
        .write(&Path::new(&own).join(file), text.as_bytes())
        .step(|| format!("write {file}"))
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
        Err(error)
            if common.has_user
                && groups.is_empty()
                && error.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            process::set_identity(user.uid, user.gid, None)
        }
        other => other,
    }
    .step(|| format!("setup user: set uid {} and gid {}", user.uid, user.gid))
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
    let cwd = rustix::process::getcwd(Vec::new()).map_err(|_| outside())?;
    if cwd.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(outside())
    }
}
