//! What a container shares with another: process ids, and System V and POSIX memory.
//!
//! ```text
//! /run/hull/shm/        a tmpfs of the engine's, there from the first need to the last
//! /run/hull/shm/<id>/   /dev/shm of a container whose IPC others may join, a tmpfs each
//! ```
//!
//! Shims mount their container's from there and drop the rest: none keeps another's memory.

use super::live::Container;
use super::record::Record;
use super::{Config, IpcMode, PidMode};
use crate::{Engine, Error, ErrorKind, Result};
use hull_linux::mount::is_mounted;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a container shares with another, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shared {
    /// The PID namespace's file.
    pub(super) pid: Option<PathBuf>,
    /// The IPC namespace's file.
    pub(super) ipc: Option<PathBuf>,
    /// The directory that is `/dev/shm`.
    pub(super) memory: Option<PathBuf>,
}

impl Engine {
    /// Replaces names of containers by their ids, so that another name changes nothing.
    ///
    /// # Errors
    /// `InvalidInput` for a container that is not there.
    pub(super) fn settle_shared(&self, config: &mut Config) -> Result<()> {
        let id = |name: &str| match self.find(name) {
            Ok(container) => Ok(container.id.clone()),
            Err(error) => Err(Error::new(ErrorKind::InvalidInput, error.full_message())),
        };
        if let PidMode::Container(name) = &mut config.pid {
            *name = id(name)?;
        }
        if let IpcMode::Container(name) = &mut config.ipc {
            *name = id(name)?;
        }
        Ok(())
    }

    /// What a container that is to be started shares, which must be there.
    ///
    /// # Errors
    /// `Conflict` for a container that does not run, `InvalidInput` for one that shares nothing.
    pub(super) fn shared(&self, record: &Record) -> Result<Shared> {
        let mut shared = Shared::default();
        if let PidMode::Container(id) = &record.config.pid {
            let donor = self.donor(id, "PID")?;
            shared.pid = Some(namespace(&donor, "pid"));
        }
        match &record.config.ipc {
            IpcMode::Container(id) => {
                let donor = self.donor(id, "IPC")?;
                if donor.config.ipc != IpcMode::Shareable {
                    let text = format!(
                        "failed to join IPC namespace: container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                    );
                    return Err(Error::new(ErrorKind::InvalidInput, text));
                }
                shared.ipc = Some(namespace(&donor, "ipc"));
                shared.memory = Some(self.memory_dir().join(&donor.id));
            }
            IpcMode::Shareable => {
                let size = record.config.shm_size;
                let path = self.make_memory(&record.id, size).map_err(|e| {
                    let text = "could not make the container's shared memory";
                    Error::new(ErrorKind::Internal, text).caused_by(e)
                })?;
                shared.memory = Some(path);
            }
            _ => {}
        }
        Ok(shared)
    }

    fn donor(&self, id: &str, what: &str) -> Result<Record> {
        let joining = |error: Error| {
            let text = format!("failed to join {what} namespace");
            Error::new(error.kind(), text).caused_by(error.full_message())
        };
        let donor = self
            .find(id)
            .map_err(|error| joining(Error::new(ErrorKind::InvalidInput, error.full_message())))?;
        let record = donor.record();
        if record.is_running() {
            Ok(record)
        } else {
            // dockerd has a kind for the one and none for the other.
            let kind = match what {
                "PID" => ErrorKind::Internal,
                _ => ErrorKind::Conflict,
            };
            let why = donor.not_running();
            Err(joining(Error::new(kind, why.full_message())))
        }
    }

    /// Where containers' shared memory is.
    pub(super) fn memory_dir(&self) -> PathBuf {
        self.config.exec_root.join("shm")
    }

    fn make_memory(&self, id: &str, size: u64) -> std::io::Result<PathBuf> {
        let all = self.memory_dir();
        let _changing = changing();
        fs_err::create_dir_all(&all)?;
        if !is_mounted(&all)? {
            tmpfs(&all, "mode=711")?;
            // What is mounted there is nobody else's.
            mount_change(&all, MountPropagationFlags::PRIVATE)?;
        }
        let path = all.join(id);
        fs_err::create_dir_all(&path)?;
        if !is_mounted(&path)? {
            let size = if size == 0 { 64 << 20 } else { size };
            tmpfs(&path, &format!("mode=1777,size={size}"))?;
        }
        Ok(path)
    }

    /// Lets go of what a container that has ended shared.
    pub(super) fn release_memory(&self, container: &Container) {
        if container.read(|record| record.config.ipc == IpcMode::Shareable) {
            self.drop_memory(&container.id);
        }
    }

    /// Lets go of a container's shared memory; others that joined keep it as long as they run.
    fn drop_memory(&self, id: &str) {
        let all = self.memory_dir();
        let path = all.join(id);
        let _changing = changing();
        let _ = unmount(&path, UnmountFlags::DETACH);
        let _ = fs_err::remove_dir(path);
        // Goes with the last: while there are others it is busy.
        let _ = unmount(&all, UnmountFlags::empty());
    }

    /// Lets go of the shared memory of all containers that are not in `running`.
    pub(super) fn sweep_memory(&self, running: &[Record]) {
        for entry in fs_err::read_dir(self.memory_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            if !running.iter().any(|record| name == *record.id) {
                self.drop_memory(&name.to_string_lossy());
            }
        }
    }
}

/// Whoever makes the first of them must not meet who drops the last.
fn changing() -> MutexGuard<'static, ()> {
    static CHANGING: Mutex<()> = Mutex::new(());
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn namespace(donor: &Record, kind: &str) -> PathBuf {
    let pid = donor.state.pid().unwrap_or_default();
    PathBuf::from(format!("/proc/{pid}/ns/{kind}"))
}

fn tmpfs(path: &Path, options: &str) -> std::io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let options = CString::new(options)?;
    Ok(mount(
        "shm",
        path,
        "tmpfs",
        flags,
        Some(options.as_c_str()),
    )?)
}
