//! Labels of SELinux, where the kernel has it.

use crate::error::{Error, said};
use rustix::fs::statfs;

/// `SELINUX_MAGIC` of statfs(2).
const SELINUXFS: u32 = 0xf97c_ff8c;

/// A label without SELinux would be a promise that nobody keeps.
pub(super) fn check(label: &str, what: &str) -> Result<(), Error> {
    if label.is_empty() || is_enabled() {
        return Ok(());
    }
    Err(said(format!(
        "{what} is specified in config, but selinux is disabled or not supported"
    )))
}

/// Whether the kernel enforces or would enforce a policy: then its file system is mounted.
fn is_enabled() -> bool {
    statfs("/sys/fs/selinux").is_ok_and(|found| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::allow_attributes,
            reason = "the type of f_type differs by architecture, the magic has 32 bits"
        )]
        let kind = found.f_type as u32;
        kind == SELINUXFS
    })
}
