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
    /// A limit was asked for in a hierarchy that the group is not in. In runc's words, as the rest of the
    /// refusals below: callers show and compare them.
    #[error("cannot set {0} limit: container could not join or create cgroup")]
    NoLimit(&'static str),
    /// A value is not one that the kernel can be asked for.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A v2 file could not be written for want of its controller or for its value.
    #[error("unable to set unified resource {name:?}")]
    Unified {
        /// The file.
        name: String,
        /// The cause.
        source: Box<Error>,
    },
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
    /// A file could not be opened for writing.
    #[error("openat2 {}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A value was refused.
    #[error("failed to write {value:?}: write {}", path.display())]
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

/// A limit that makes no sense, or none here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More is in use already and cannot be given back.
    #[error("unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})")]
    MemoryInUse {
        /// Asked for, bytes.
        limit: i64,
        /// In use, bytes.
        usage: u64,
        /// The most there ever was.
        peak: u64,
    },
    /// As `MemoryInUse`, found out beforehand.
    #[error("rejecting {what} limit {limit} <= usage {usage}")]
    BelowUsage {
        /// `memory` or `memory+swap`.
        what: &'static str,
        /// Asked for, bytes.
        limit: i64,
        /// In use, bytes.
        usage: u64,
    },
    /// Out of range.
    #[error("invalid memory swappiness value: {0} (valid range is 0-100)")]
    Swappiness(u64),
    /// Swap is counted with memory in the request and without it by the kernel.
    #[error("unable to set swap limit without memory limit")]
    SwapAlone,
    /// Less than the memory in it.
    #[error("memory+swap limit should be >= memory limit")]
    SwapBelowMemory,
    /// Below -1.
    #[error("invalid memory value: {0}")]
    Memory(i64),
    /// The kernel took another value: its largest.
    #[error("the maximum allowed cpu-shares is {0}")]
    SharesTooMany(u64),
    /// The kernel took another value: its smallest.
    #[error("the minimum allowed cpu-shares is {0}")]
    SharesTooFew(u64),
    /// A huge page size names a file.
    #[error("invalid huge page size {0:?}")]
    HugePageSize(String),
    /// `unified` on a host with v1.
    #[error("invalid configuration: cannot use unified on cgroup v1")]
    UnifiedOnV1,
    /// The name of a file leads out of the directory.
    #[error("unified resource {0:?} must be a file name (no slashes)")]
    UnifiedPath(String),
    /// The name of a file names no controller.
    #[error("unified resource {0:?} must be in the form CONTROLLER.PARAMETER")]
    UnifiedForm(String),
    /// The group does not have the controller.
    #[error("unified resource {name:?} can't be set: controller {controller:?} not available")]
    UnifiedController {
        /// The file.
        name: String,
        /// The controller.
        controller: String,
    },
}

impl Error {
    /// Whether the kernel said that a value is not one (`EINVAL`), perhaps only beside other values.
    pub(super) fn is_invalid(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.raw_os_error() == Some(libc::EINVAL))
    }
}
