//! Labels of security modules for the next program.
//!
//! Whether the kernel has a module is found out before anything of the container is in sight: in its own
//! tree the container decides what there is below `/sys`.

use super::Common;
use crate::error::{Error, Step as _, said};
use hull_spec::runtime::Process;
use std::path::Path;

/// The security modules of the kernel, as far as a process asks for them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Modules {
    apparmor: bool,
    selinux: bool,
}

impl Modules {
    /// Looks for what a process wants. To be called by the runtime, in its own namespaces.
    pub(crate) fn of(process: &Process) -> Self {
        let apparmor = || {
            fs_err::read("/sys/module/apparmor/parameters/enabled")
                .is_ok_and(|text| text.starts_with(b"Y"))
                || Path::new("/sys/kernel/security/apparmor").exists()
        };
        Self {
            apparmor: !process.apparmor_profile.is_empty() && apparmor(),
            selinux: !process.selinux_label.is_empty()
                && Path::new("/sys/fs/selinux/enforce").exists(),
        }
    }
}

/// Writes the labels of a process.
pub(super) fn set(common: &Common<'_>) -> Result<(), Error> {
    if !common.process.apparmor_profile.is_empty() {
        apparmor(common)?;
    }
    let label = &common.process.selinux_label;
    if label.is_empty() {
        return Ok(());
    }
    if common.modules.selinux {
        return write(common, "attr/exec", label);
    }
    Err(said(
        "selinux label is specified in config, but selinux is disabled or not supported",
    ))
}

fn apparmor(common: &Common<'_>) -> Result<(), Error> {
    let profile = &common.process.apparmor_profile;
    let step =
        || format!("unable to apply apparmor profile: apparmor failed to apply profile: {profile}");
    if !common.modules.apparmor {
        return Err(said("apparmor: config provided but apparmor not supported")).step(step);
    }
    write(common, "attr/apparmor/exec", &format!("exec {profile}"))
        .or_else(|_| write(common, "attr/exec", &format!("exec {profile}")))
        .step(step)
}

/// Through the host's procfs (CVE-2019-16884, CVE-2025-52881, CVE-2025-62596).
fn write(common: &Common<'_>, file: &str, text: &str) -> Result<(), Error> {
    common
        .proc
        .write_own(file, text.as_bytes())
        .step(|| format!("write {file}"))
}
