//! Id maps of user namespaces: the container's, and those of id-mapped mounts.

use crate::error::{Error, Step as _, said};
use hull_linux::namespace::{flag, id_map};
use hull_linux::process::{Clones, send_to_pidfd, spawn};
use hull_linux::procfs::Proc;
use hull_spec::runtime::{IdMapping, Linux};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::{WaitId, WaitIdOptions};
use std::io;
use std::process::{Command, Stdio};

/// Maps the ids of the user namespace a process was born in. Without configured maps there is one: the
/// caller becomes root.
pub(super) fn write(proc: &Proc, pid: i32, linux: &Linux) -> Result<(), Error> {
    let own = |host| {
        [IdMapping {
            container_id: 0,
            host_id: host,
            size: 1,
        }]
    };
    let own_uid = own(rustix::process::geteuid().as_raw());
    let own_gid = own(rustix::process::getegid().as_raw());
    let uids = if linux.uid_mappings.is_empty() {
        &own_uid
    } else {
        linux.uid_mappings.as_slice()
    };
    let gids = if linux.gid_mappings.is_empty() {
        &own_gid
    } else {
        linux.gid_mappings.as_slice()
    };
    write_maps(proc, pid, uids, gids)
}

fn write_maps(proc: &Proc, pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> Result<(), Error> {
    let own_group = rustix::process::getegid().as_raw();
    let only_own = matches!(gids, [map] if map.size == 1 && map.host_id == own_group);
    if only_own && !rustix::process::geteuid().is_root() {
        // The kernel lets a user map only its own group, and only once groups cannot be dropped.
        proc.write_of(pid, "setgroups", b"deny")
            .step(|| "deny setgroups")?;
    }
    write_map(proc, pid, ("uid_map", "newuidmap"), uids)?;
    write_map(proc, pid, ("gid_map", "newgidmap"), gids)
}

/// Writes a map itself, or has it written by the set-user-id program of shadow-utils.
fn write_map(
    proc: &Proc,
    pid: i32,
    (file, program): (&str, &str),
    maps: &[IdMapping],
) -> Result<(), Error> {
    let ranges = || {
        maps.iter()
            .map(|map| (map.container_id, map.host_id, map.size))
    };
    match proc.write_of(pid, file, id_map(ranges()).as_bytes()) {
        Ok(()) => return Ok(()),
        Err(error) if rustix::process::geteuid().is_root() => {
            return Err(error).step(|| format!("failed to write {file}"));
        }
        Err(_) => {}
    }
    let numbers = ranges().flat_map(|(inside, outside, size)| [inside, outside, size]);
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    command.args(numbers.map(|number| number.to_string()));
    // Its own words are the error; it finds its files itself.
    let done = match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(said(format!(
                "mapping more than the own id needs {program}, which is not in $PATH: \
                 it is in the package uidmap (or shadow-utils)"
            )));
        }
        other => other.step(|| format!("run {program}"))?,
    };
    if done.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&done.stderr);
    Err(said(format!(
        "{program} failed: {}: {}",
        done.status,
        words.trim_end()
    )))
}

/// A user namespace with these maps. It is born with a process that waits to be ended, and lives on in
/// the descriptor.
pub(super) fn user_namespace(
    proc: &Proc,
    uids: &[IdMapping],
    gids: &[IdMapping],
) -> Result<OwnedFd, Error> {
    let how = Clones {
        namespaces: flag::USER,
        ..Clones::default()
    };
    let child = spawn(&how, || {
        let kill = Some(rustix::process::Signal::KILL);
        // Should the runtime be killed first, nobody else would end this process.
        let _ = rustix::process::set_parent_process_death_signal(kill);
        loop {
            rustix::event::pause();
        }
    })
    .step(|| "make a user namespace")?;
    let pid = child.pid.as_raw_nonzero().get();
    let made = write_maps(proc, pid, uids, gids).and_then(|()| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(format!("/proc/{pid}/ns/user"), flags, Mode::empty())
            .step(|| "open a user namespace")
    });
    // The child did nothing but wait: how it ends says nothing.
    let _ = send_to_pidfd(child.pidfd.as_fd(), 9);
    let _ = rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
    made
}
