//! What is left of a container whose shim or runtime was killed, and its end.

use super::record::Record;
use crate::Engine;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// How often a runtime is executed that somebody kills.
const ATTEMPTS: u32 = 8;

/// How long a killed shim may take to be gone: its mounts go with it.
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

impl Engine {
    /// Ends a shim whose container is not to run, and removes what it leaves.
    pub(super) fn end_shim(&self, record: &Record) {
        let bundle = self.bundle_dir(&record.id);
        self.kill_shim(&bundle);
        // After a restart of the host there is nothing to delete, and running the runtime for each takes time.
        if bundle.exists() || self.has_remains(&record.id) {
            self.delete_remains(&record.id, &record.effective.runtime);
        }
        let _ = fs_err::remove_dir_all(bundle);
    }

    /// Kills the shim of a bundle, if there is one, and waits for its end: what it was executing has got its
    /// signal then, too.
    pub(super) fn kill_shim(&self, bundle: &Path) {
        let pid = fs_err::read_to_string(bundle.join(hull_shim::files::PID));
        let pid = pid.ok().and_then(|text| text.trim().parse::<i32>().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            return;
        };
        // Opened before it is looked at, so that both are about the same process: ids are used again.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            return;
        };
        if is_shim_of(pid, bundle) {
            let _ = pidfd_send_signal(&process, Signal::KILL);
        } else if !is_ending(pid) {
            return;
        }
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&PATIENCE));
    }

    /// Whether the runtime has kept anything of a container.
    pub(super) fn has_remains(&self, id: &str) -> bool {
        self.runtime_root().join(id).exists()
    }

    /// Ends what a shim that is gone left of a container, through the runtime. One that was killed at it has not
    /// finished: it is executed again.
    pub(super) fn delete_remains(&self, id: &str, runtime: &str) {
        let settings = self.settings();
        let Some(program) = settings.runtimes.get(runtime) else {
            return;
        };
        for _ in 0..ATTEMPTS {
            let status = Command::new(&program.path)
                .args(&program.args)
                .arg("--root")
                .arg(self.runtime_root())
                .args(["delete", "--force", id])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            match status {
                Ok(status) if status.signal().is_some() => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(container = id, %error, "could not run the runtime to clean up");
                    return;
                }
            }
        }
    }

    /// A shim whose container was removed or never acknowledged, and what the runtime made for it.
    pub(super) fn end_stray(&self, bundle: &Path, id: &str) {
        self.kill_shim(bundle);
        self.delete_stray(id);
    }

    /// Which runtime it was is written nowhere any more: all can delete by the same command line.
    fn delete_stray(&self, id: &str) {
        for runtime in self.settings().runtimes.keys() {
            self.delete_remains(id, runtime);
        }
    }

    /// Deletes what runtimes have kept of containers that are not known any more: their delete was killed, or
    /// nobody was left to execute it.
    pub(super) fn sweep_runtimes(&self, known: &HashSet<String>) {
        let entries = fs_err::read_dir(self.runtime_root());
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !known.contains(&name) && self.is_own(&entry.path(), &name) {
                self.delete_stray(&name);
            }
        }
    }

    /// Whether a runtime's directory is of one of this engine's containers: others may use the same place, which is
    /// the runtime's default.
    fn is_own(&self, directory: &Path, id: &str) -> bool {
        if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return false;
        }
        // Whatever the runtime, its record says where the bundle was. Without one there is nothing but the directory.
        match fs_err::read(directory.join("state.json")) {
            Ok(record) => {
                let bundle = self.bundle_dir(id);
                let bundle = bundle.as_os_str().as_bytes();
                record.windows(bundle.len()).any(|part| part == bundle)
            }
            Err(_) => fs_err::remove_dir(directory).is_ok(),
        }
    }
}

/// Whether a process is the shim of this bundle.
fn is_shim_of(pid: Pid, bundle: &Path) -> bool {
    let line = fs_err::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    program.ends_with(b"hull-shim") && words.next() == Some(bundle.as_os_str().as_bytes())
}

/// Whether a process has no memory any more, and so no command line, but is not gone yet.
fn is_ending(pid: Pid) -> bool {
    fs_err::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
}
