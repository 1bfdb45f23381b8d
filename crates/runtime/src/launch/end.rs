//! The end of a process: waiting for it, bringing it about, putting it into words.

use super::Started;
use crate::error::{Error, Step as _, said};
use hull_linux::process::{Child, send_to_pidfd};
use rustix::fd::AsFd as _;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

/// Ends a process that is of no use and waits until it is gone.
pub(crate) fn end(started: &Started) {
    // It may have ended by itself; then there is only the waiting.
    let _ = send_to_pidfd(started.child.pidfd.as_fd(), 9);
    let _ = wait(&started.child);
}

/// Waits for a child to end.
pub(crate) fn wait(child: &Child) -> Result<WaitIdStatus, Error> {
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
    })
    .step(|| "wait for the process")?;
    status.ok_or_else(|| said("no status of the process"))
}

/// The exit code a shell would show.
pub(crate) fn exit_code(status: &WaitIdStatus) -> u8 {
    let code = status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap_or(255);
    u8::try_from(code & 0xff).unwrap_or(255)
}

/// Waits for a process to end: the exit code a shell would show.
pub(crate) fn exit_code_of(child: &Child) -> Result<u8, Error> {
    wait(child).map(|status| exit_code(&status))
}

/// How a process ended that should not have.
pub(super) fn ended(started: &Started) -> String {
    match wait(&started.child) {
        Ok(status) => match status.terminating_signal() {
            Some(signal) => format!("container init was killed by signal {signal}"),
            None => format!("container init exited with status {}", exit_code(&status)),
        },
        Err(_) => "container init ended unexpectedly".to_owned(),
    }
}
