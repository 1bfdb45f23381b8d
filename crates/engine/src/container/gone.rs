//! A container whose process has just ended, which is written down a moment later: who asks something of it in
//! between hears what is heard after that.

use super::live::Container;
use crate::Error;
use hull_shim::Handle;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

/// Whether a process has ended; also while nobody has asked for its exit code. `pidfd_open(2)`, Linux 5.3.
pub(super) fn has_ended(process: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(&process, PollFlags::IN)];
    matches!(poll(&mut asked, Some(&Timespec::default())), Ok(1..))
}

impl Container {
    /// Why a shim did not do what it was asked: Docker's complaint where the container has ended meanwhile.
    pub(super) fn refused(
        &self,
        shim: &Handle,
        error: hull_shim::Error,
        otherwise: impl FnOnce(hull_shim::Error) -> Error,
    ) -> Error {
        let process = Pid::from_raw(shim.pid());
        let process = process.map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let runs = matches!(process, Some(Ok(process)) if !has_ended(process.as_fd()));
        match error {
            hull_shim::Error::Unreachable { .. } => self.not_running(),
            _ if !runs => self.not_running(),
            error => otherwise(error),
        }
    }

    /// Waits until another end than the first `exits` is written down. Blocking; within a tokio runtime, without the
    /// operation lock.
    pub(super) fn wait_for_end(&self, exits: u64) {
        /// The shim writes it down first, and cleans up.
        const PATIENCE: Duration = Duration::from_secs(10);
        let mut progress = self.progress.subscribe();
        let end = progress.wait_for(|now| now.exits > exits || !now.running || now.removed);
        let waited = async { tokio::time::timeout(PATIENCE, end).await.map(drop) };
        // Whoever asked finds out by looking again.
        let _ = tokio::runtime::Handle::current().block_on(waited);
    }
}
