//! The agent that is asked about system calls: who listens at `listenerPath` gets the listener's descriptor.

use super::Started;
use crate::error::{Error, Step as _, said};
use crate::handshake::ToInit;
use hull_linux::socket::{connect_at, send_descriptor};
use hull_spec::runtime::{ContainerProcessState, Seccomp, State};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use std::path::Path;

/// Passes the listener of a new process on to its agent; the process waits until that is done.
pub(super) fn hand_over(
    started: &Started,
    number: i32,
    seccomp: Option<&Seccomp>,
    state: State,
) -> Result<(), Error> {
    let seccomp = seccomp.ok_or_else(|| said("a seccomp listener without a profile"))?;
    let listener = take(started, number)?;
    let message = ContainerProcessState {
        oci_version: state.oci_version.clone(),
        fds: vec!["seccompFd".to_owned()],
        pid: started.child.pid.as_raw_nonzero().get(),
        metadata: seccomp.listener_metadata.clone(),
        state,
    };
    let message = serde_json::to_vec(&message).step(|| "encode the state")?;
    send(&seccomp.listener_path, &message, &listener)
        .step(|| format!("cannot send seccomp fd to {}", seccomp.listener_path))?;
    started.channel.send(ToInit::ListenerTaken)
}

/// pidfd_getfd(2), kernel 5.6, needs the right to trace; who has it not is sent the descriptor.
fn take(started: &Started, number: i32) -> Result<OwnedFd, Error> {
    match pidfd_getfd(&started.child.pidfd, number, PidfdGetfdFlags::empty()) {
        Err(Errno::PERM | Errno::NOSYS) => {
            started.channel.send(ToInit::SendListener)?;
            started.channel.receive_descriptor()
        }
        other => other.step(|| "take the seccomp listener"),
    }
}

fn send(path: &str, message: &[u8], listener: &OwnedFd) -> std::io::Result<()> {
    let path = Path::new(path);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    // However long the path is: the address of a socket has 108 bytes.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let agent = connect_at(directory.as_fd(), &name.to_string_lossy(), None)?;
    send_descriptor(&agent, message, listener.as_fd())
}
