//! The file that tells others the daemon's process id, and keeps a second daemon away.

use std::io;
use std::path::{Path, PathBuf};

/// Why the file could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    /// The process it names is alive and is a daemon of ours.
    #[error(
        "failed to start daemon, ensure hull daemon is not running or delete {}: process with PID {pid} is still running",
        path.display()
    )]
    Taken { path: PathBuf, pid: u32 },
    /// Anything the system refused.
    #[error("could not write the PID file {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The daemon's pid file; removed when this is dropped.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes our process id to `path`, over that of a daemon that is gone.
    ///
    /// # Errors
    /// See [`PidFileError`].
    pub(crate) fn take(path: &Path) -> Result<Self, PidFileError> {
        if let Some(pid) = alive(path) {
            return Err(PidFileError::Taken {
                path: path.to_owned(),
                pid,
            });
        }
        write(path).map_err(|source| PidFileError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Only ours: a daemon that took over meanwhile has written its own.
        if read(&self.0) == Some(std::process::id()) {
            // Gone already is as good.
            let _ = fs_err::remove_file(&self.0);
        }
    }
}

fn write(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs_err::create_dir_all(directory)?;
    }
    fs_err::write(path, std::process::id().to_string())
}

fn read(path: &Path) -> Option<u32> {
    fs_err::read_to_string(path).ok()?.trim().parse().ok()
}

/// The process that the file names, if it still runs our program. A number alone says little: after
/// a reboot or a long time it belongs to someone else.
fn alive(path: &Path) -> Option<u32> {
    let pid = read(path)?;
    if pid == std::process::id() {
        return None;
    }
    let theirs = fs_err::read_link(format!("/proc/{pid}/exe")).ok()?;
    let ours = fs_err::read_link("/proc/self/exe").ok()?;
    // An upgrade replaces the file below a running daemon; the kernel then adds this word.
    let name = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        Some(name.trim_end_matches(" (deleted)").to_owned())
    };
    let theirs = name(&theirs)?;
    // The place may be that of a real dockerd, or of ours under its name.
    let daemons = [name(&ours)?, "hull".to_owned(), "dockerd".to_owned()];
    daemons.contains(&theirs).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_written_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/h.pid");
        let file = PidFile::take(&path).unwrap();
        assert_eq!(read(&path), Some(std::process::id()));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn only_a_living_daemon_keeps_others_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.pid");
        // Process 1 lives, but is none of ours; and nobody has the largest id.
        for stale in ["1", "4194305", "text", ""] {
            fs_err::write(&path, stale).unwrap();
            drop(PidFile::take(&path).unwrap());
        }
        let this = std::env::current_exe().unwrap();
        let mut other = std::process::Command::new(this)
            .args(["--ignored", "--exact", "pidfile::tests::sleeps"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        fs_err::write(&path, other.id().to_string()).unwrap();
        let error = PidFile::take(&path).unwrap_err();
        assert!(error.to_string().ends_with("is still running"), "{error}");
        drop(other.stdin.take());
        other.wait().unwrap();
        assert!(PidFile::take(&path).is_ok());
    }

    /// Not a test: the process that the test above finds alive. It ends with its standard input.
    #[test]
    #[ignore = "run by another test"]
    fn sleeps() {
        let mut end = String::new();
        std::io::stdin().read_line(&mut end).unwrap();
    }
}
