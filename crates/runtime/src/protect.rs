//! This program's file is out of the container's reach (CVE-2019-5736).
//!
//! A process that is about to become the container's still is this program: `/proc/PID/exe` leads to the
//! host's file, and a container that runs as root could write to it. So the commands that make such
//! processes first execute this program again through a read-only mount of its own that hangs nowhere:
//! two system calls and one exec, no copy. A caller that starts us through such a mount saves the exec.
//! Who may not mount executes a sealed copy in memory, unless the file is the host's root's.

use crate::error::{Error, Step as _};
use hull_linux::process;
use rustix::fd::AsFd as _;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt as _;

/// Makes sure that this process runs from a file nobody can write through. Returns when it does.
///
/// Descriptors that the caller left open, beyond those it asks to preserve, end here: neither hooks nor
/// the container get them (CVE-2024-21626).
pub(crate) fn executable(preserved: u32) -> Result<(), Error> {
    process::close_on_exec_from(3_u32.saturating_add(preserved))
        .step(|| "close descriptors on exec")?;
    if process::is_read_only_self() {
        // Executed through a descriptor, it has that one's number as name.
        let _ = rustix::thread::set_name(c"hull-runtime");
        return Ok(());
    }
    let program = match process::read_only_executable(c"/proc/self/exe") {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            if is_foreign() {
                return Ok(());
            }
            process::sealed_executable(c"/proc/self/exe").step(|| "copy the runtime into memory")?
        }
        other => other.step(|| "mount a read-only view of the runtime")?,
    };
    let arguments = strings(std::env::args_os());
    let environment = strings(std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    }));
    let error = process::execute_descriptor(program.as_fd(), &arguments, &environment);
    Err(error).step(|| "execute the read-only view of the runtime")
}

/// Whether this program belongs to the host's root and not to this user: then nothing a container of
/// this user does changes it, for a user namespace gives no rights to files of ids it does not map.
fn is_foreign() -> bool {
    let path = "/proc/self/exe";
    let owned_by_root = rustix::fs::stat(path).is_ok_and(|stat| stat.st_uid == 0);
    let denied = rustix::fs::access(path, rustix::fs::Access::WRITE_OK);
    owned_by_root
        && !rustix::process::geteuid().is_root()
        && matches!(
            denied,
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::ROFS)
        )
}

fn strings(words: impl Iterator<Item = OsString>) -> Vec<CString> {
    // Arguments and environment come from the kernel as C strings: none contains a zero.
    words
        .filter_map(|word| CString::new(word.into_vec()).ok())
        .collect()
}
