//! Birth of a process among namespaces: new ones by clone3, joined ones before, between or after.

use crate::error::{Error, Step as _, said};
use crate::plan::{Namespaces, bit, word};
use hull_linux::namespace::{self, flag};
use hull_linux::process::{Child, Clones, spawn as clone};
use hull_spec::runtime::NamespaceKind;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, PidfdFlags, WaitId, WaitIdOptions, pidfd_open};

/// Starts the first process of a container.
///
/// What is joined by path is joined by the runtime itself, which goes back afterwards: hooks run in its
/// own namespaces. A user namespace cannot be left again, so that it is joined by a process in between,
/// whose child becomes the runtime's (`CLONE_PARENT`). `cgroup` is where it is born (cgroup v2).
pub(super) fn spawn(
    namespaces: &Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
) -> Result<Child, Error> {
    if let Some(user) = &namespaces.joined_user {
        let enter = || {
            // Whose clocks are set must be able to open its own file for that.
            if !namespaces.new_time {
                not_dumpable()?;
            }
            join_with_user(namespaces, user.as_fd())
        };
        let how = Clones {
            namespaces: namespaces.new,
            cgroup,
            sibling: true,
        };
        return between(&how, enter, child);
    }
    let kinds = namespaces
        .joined
        .iter()
        .fold(0, |kinds, (_, kind)| kinds | bit(*kind));
    let home = if kinds == 0 { Vec::new() } else { own(kinds)? };
    let how = Clones {
        namespaces: namespaces.new,
        cgroup,
        sibling: false,
    };
    let started = join_all(namespaces)
        .and_then(|()| clone(&how, child).step(|| "unable to start container process"));
    for (file, kind) in &home {
        namespace::join(file.as_fd(), *kind).step(|| "go back to the runtime's namespaces")?;
    }
    started
}

/// Who has power over a user namespace may not look into a process that has just come there with the
/// host's descriptors, nor into the child it has there (CVE-2016-9962).
fn not_dumpable() -> Result<(), Error> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .step(|| "make the process not dumpable")
}

/// Starts a process beside another, in its PID namespace. It enters the rest itself, but for a user
/// namespace that is among `kinds`: `before` then runs in the process that enters it first.
pub(super) fn spawn_beside(
    target: BorrowedFd<'_>,
    kinds: u64,
    before: impl FnOnce() -> Result<(), Error>,
    child: impl FnOnce() -> i32,
) -> Result<Child, Error> {
    if kinds & flag::USER != 0 {
        let enter = || {
            before()?;
            not_dumpable()?;
            namespace::join(target, kinds).step(|| "setns to the user namespace")
        };
        let how = Clones {
            sibling: true,
            ..Clones::default()
        };
        return between(&how, enter, child);
    }
    if kinds & flag::PID != 0 {
        namespace::join(target, flag::PID).step(|| "setns to the pid namespace")?;
    }
    clone(&Clones::default(), child).step(|| "unable to start container process")
}

/// Enters these namespaces of another process.
pub(super) fn enter(target: BorrowedFd<'_>, kinds: u64) -> Result<(), Error> {
    if kinds == 0 {
        return Ok(());
    }
    namespace::join(target, kinds).step(|| "setns to the container's namespaces")
}

fn join_all(namespaces: &Namespaces) -> Result<(), Error> {
    namespaces.joined.iter().try_for_each(join_one)
}

/// setns(2) makes sure that the file is a namespace of this kind.
fn join_one((file, kind): &(OwnedFd, NamespaceKind)) -> Result<(), Error> {
    namespace::join(file.as_fd(), bit(*kind)).step(|| {
        format!(
            "failed to setns into {} namespace given by path",
            word(*kind)
        )
    })
}

/// A user namespace and others: those that belong to us are joined while we still may, the rest, which
/// belong to it, once we are in it.
fn join_with_user(namespaces: &Namespaces, user: BorrowedFd<'_>) -> Result<(), Error> {
    let not_ours: Vec<_> = namespaces
        .joined
        .iter()
        .filter(|namespace| join_one(namespace).is_err())
        .collect();
    namespace::join(user, flag::USER)
        .step(|| "failed to setns into user namespace given by path")?;
    not_ours.into_iter().try_for_each(join_one)
}

/// The runtime's own namespaces of these kinds.
fn own(kinds: u64) -> Result<Vec<(OwnedFd, u64)>, Error> {
    const FILES: [(&str, u64); 6] = [
        ("net", flag::NETWORK),
        ("ipc", flag::IPC),
        ("uts", flag::UTS),
        ("pid", flag::PID),
        ("cgroup", flag::CGROUP),
        ("time", flag::TIME),
    ];
    let wanted = FILES.iter().filter(|(_, kind)| kinds & kind != 0);
    let open = |(name, kind): &(&str, u64)| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(format!("/proc/self/ns/{name}"), flags, Mode::empty());
        file.map(|file| (file, *kind))
            .step(|| format!("open the runtime's {name} namespace"))
    };
    wanted.map(open).collect()
}

/// Has `child` born by a process that first enters namespaces it cannot leave.
fn between(
    how: &Clones<'_>,
    enter: impl FnOnce() -> Result<(), Error>,
    child: impl FnOnce() -> i32,
) -> Result<Child, Error> {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step(|| "make a pipe")?;
    let middle = clone(&Clones::default(), || {
        let born = enter().and_then(|()| clone(how, child).step(|| "clone"));
        let message = match &born {
            Ok(child) => child.pid.as_raw_nonzero().get().to_string(),
            Err(error) => crate::error::chain(error),
        };
        // The runtime waits for this; if it is gone, so is the reason for all this.
        let _ = rustix::io::write(&write, message.as_bytes());
        0
    })
    .step(|| "unable to start container process")?;
    drop(write);
    let mut buffer = [0; 1024];
    let length =
        rustix::io::read(&read, &mut buffer).step(|| "read from the process in between")?;
    // It has said everything it had to say.
    let _ = rustix::process::waitid(WaitId::PidFd(middle.pidfd.as_fd()), WaitIdOptions::EXITED);
    let text = String::from_utf8_lossy(&buffer[..length]);
    let pid = text.parse().ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid
        .ok_or_else(|| said(text.into_owned()))
        .step(|| "unable to start container process")?;
    // A child of ours that has not been waited for: the number cannot belong to another process.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).step(|| "open the new process")?;
    Ok(Child { pid, pidfd })
}
