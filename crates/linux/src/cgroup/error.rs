//! What can go wrong with control groups.

use std::io;
use std::path::PathBuf;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path of a group is empty or leaves its parent.
    #[error("invalid cgroup path `{0}`")]
    Path(String),
    /// No cgroup file system was found.
    #[error("no cgroup hierarchy below {}", .0.display())]
    NoHierarchy(PathBuf),
    /// A limit was asked for whose controller this host does not have.
    #[error("this host has no `{0}` cgroup controller")]
    NoController(&'static str),
    /// A directory could not be made.
    #[error("could not create cgroup {}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A directory could not be removed.
    #[error("could not remove cgroup {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file could not be opened or read.
    #[error("could not read {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A value was refused.
    #[error("failed to write {value:?} to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// The cause.
        source: io::Error,
    },
    /// The device filter could not be loaded or attached.
    #[error("could not {step} the device filter of {}", path.display())]
    Program {
        /// Which step.
        step: &'static str,
        /// The group's directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Processes would not stand still or go away.
    #[error("the processes of cgroup {} did not {what} in time", path.display())]
    Timeout {
        /// The group's directory.
        path: PathBuf,
        /// What they were to do.
        what: &'static str,
    },
}
