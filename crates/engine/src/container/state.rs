//! What a container is doing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, 128 + signal when a signal ended it; 127 and 126 when the command was not
    /// found or not executable.
    pub code: i32,
    /// Whether the kernel killed something in the container for want of memory.
    pub oom_killed: bool,
    /// When.
    pub at: Timestamp,
    /// Why it could not be started; empty otherwise.
    pub error: String,
}

/// What a container is doing. Docker's booleans are made of it when a reply is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Never started. With an exit when starting it failed.
    Created {
        failed: Option<Exit>,
    },
    Running {
        pid: i32,
        started: Timestamp,
        last: Option<Exit>,
    },
    Paused {
        pid: i32,
        started: Timestamp,
        last: Option<Exit>,
    },
    /// Ended, and its restart policy will start it again.
    Restarting {
        started: Timestamp,
        exit: Exit,
    },
    Exited {
        started: Timestamp,
        exit: Exit,
    },
    Removing {
        started: Option<Timestamp>,
        exit: Option<Exit>,
    },
    /// Ended, and could not be removed completely.
    Dead {
        started: Option<Timestamp>,
        exit: Option<Exit>,
    },
}

impl State {
    /// Docker's word for it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Restarting { .. } => "restarting",
            Self::Exited { .. } => "exited",
            Self::Removing { .. } => "removing",
            Self::Dead { .. } => "dead",
        }
    }

    /// The first process, while there is one.
    #[must_use]
    pub const fn pid(&self) -> Option<i32> {
        match self {
            Self::Running { pid, .. } | Self::Paused { pid, .. } => Some(*pid),
            _ => None,
        }
    }

    /// When the present or the last run began.
    #[must_use]
    pub const fn started(&self) -> Option<Timestamp> {
        match self {
            Self::Created { .. } => None,
            Self::Running { started, .. }
            | Self::Paused { started, .. }
            | Self::Restarting { started, .. }
            | Self::Exited { started, .. } => Some(*started),
            Self::Removing { started, .. } | Self::Dead { started, .. } => *started,
        }
    }

    /// How the last run ended.
    #[must_use]
    pub const fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Created { failed } => failed.as_ref(),
            Self::Running { last, .. } | Self::Paused { last, .. } => last.as_ref(),
            Self::Restarting { exit, .. } | Self::Exited { exit, .. } => Some(exit),
            Self::Removing { exit, .. } | Self::Dead { exit, .. } => exit.as_ref(),
        }
    }
}
