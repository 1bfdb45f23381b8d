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
        /// Why starting it failed.
        failed: Option<Exit>,
    },
    /// Its process runs.
    Running {
        /// The first process, as the host sees it.
        pid: i32,
        /// When the present or last run began.
        started: Timestamp,
        /// How the run before ended.
        last: Option<Exit>,
    },
    /// Its processes stand still.
    Paused {
        /// The first process, as the host sees it.
        pid: i32,
        /// When the present or last run began.
        started: Timestamp,
        /// How the run before ended.
        last: Option<Exit>,
    },
    /// Ended, and its restart policy will start it again.
    Restarting {
        /// When the present or last run began.
        started: Timestamp,
        /// How the last run ended.
        exit: Exit,
    },
    /// Its process has ended.
    Exited {
        /// When the present or last run began.
        started: Timestamp,
        /// How the last run ended.
        exit: Exit,
    },
    /// It is being removed.
    Removing {
        /// When the present or last run began.
        started: Option<Timestamp>,
        /// How the last run ended.
        exit: Option<Exit>,
    },
    /// Ended, and could not be removed completely.
    Dead {
        /// When the present or last run began.
        started: Option<Timestamp>,
        /// How the last run ended.
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

/// Something that changes what a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Its process runs.
    Started {
        /// As the host sees it.
        pid: i32,
        /// When.
        at: Timestamp,
    },
    /// It could not be started.
    StartFailed(Exit),
    /// Its processes stand still.
    Froze,
    /// They go on.
    Thawed,
    /// Its process ended.
    Exited(Exit),
    /// Its restart policy will start it again.
    WillRestart,
    /// Its restart policy was called off.
    RestartCancelled,
    /// It is being removed.
    RemovalBegan,
    /// It could not be removed.
    RemovalFailed,
}

/// A change that cannot be in the present state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a container that is {from} cannot take {event:?}")]
pub(crate) struct InvalidTransition {
    /// Docker's word for the present state.
    pub(crate) from: &'static str,
    /// The change.
    pub(crate) event: Event,
}

impl State {
    /// The state after `event`: the only way in which a state changes.
    ///
    /// # Errors
    /// [`InvalidTransition`] when the event cannot happen now.
    pub(crate) fn next(self, event: Event) -> Result<Self, InvalidTransition> {
        let last = self.exit().cloned();
        let begun = self.started();
        match (self, event) {
            (
                Self::Created { .. } | Self::Exited { .. } | Self::Restarting { .. },
                Event::Started { pid, at },
            ) => Ok(Self::Running {
                pid,
                started: at,
                last,
            }),
            (Self::Created { .. }, Event::StartFailed(exit)) => {
                Ok(Self::Created { failed: Some(exit) })
            }
            (
                Self::Exited { started, .. } | Self::Restarting { started, .. },
                Event::StartFailed(exit),
            ) => Ok(Self::Exited { started, exit }),
            (Self::Running { pid, started, last }, Event::Froze) => {
                Ok(Self::Paused { pid, started, last })
            }
            (Self::Paused { pid, started, last }, Event::Thawed) => {
                Ok(Self::Running { pid, started, last })
            }
            (Self::Running { started, .. } | Self::Paused { started, .. }, Event::Exited(exit)) => {
                Ok(Self::Exited { started, exit })
            }
            (Self::Exited { started, exit }, Event::WillRestart) => {
                Ok(Self::Restarting { started, exit })
            }
            (Self::Restarting { started, exit }, Event::RestartCancelled) => {
                Ok(Self::Exited { started, exit })
            }
            (
                Self::Created { .. }
                | Self::Exited { .. }
                | Self::Restarting { .. }
                | Self::Dead { .. },
                Event::RemovalBegan,
            ) => Ok(Self::Removing {
                started: begun,
                exit: last,
            }),
            (Self::Removing { started, exit }, Event::RemovalFailed) => {
                Ok(Self::Dead { started, exit })
            }
            (from, event) => Err(InvalidTransition {
                from: from.as_str(),
                event,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Exit {
        Exit {
            code,
            oom_killed: false,
            at: Timestamp::UNIX_EPOCH,
            error: String::new(),
        }
    }

    fn states() -> Vec<State> {
        let (started, last) = (Timestamp::UNIX_EPOCH, None);
        vec![
            State::Created { failed: None },
            State::Running {
                pid: 7,
                started,
                last: last.clone(),
            },
            State::Paused {
                pid: 7,
                started,
                last,
            },
            State::Restarting {
                started,
                exit: exit(1),
            },
            State::Exited {
                started,
                exit: exit(1),
            },
            State::Removing {
                started: None,
                exit: None,
            },
            State::Dead {
                started: None,
                exit: None,
            },
        ]
    }

    fn events() -> Vec<(&'static str, Event)> {
        vec![
            (
                "started",
                Event::Started {
                    pid: 9,
                    at: Timestamp::UNIX_EPOCH,
                },
            ),
            ("start-failed", Event::StartFailed(exit(127))),
            ("froze", Event::Froze),
            ("thawed", Event::Thawed),
            ("exited", Event::Exited(exit(3))),
            ("will-restart", Event::WillRestart),
            ("restart-cancelled", Event::RestartCancelled),
            ("removal-began", Event::RemovalBegan),
            ("removal-failed", Event::RemovalFailed),
        ]
    }

    /// Every pair there is: what is not in this table is refused.
    #[test]
    fn every_pair_of_state_and_event_is_decided() {
        let allowed = [
            ("created", "started", "running"),
            ("exited", "started", "running"),
            ("restarting", "started", "running"),
            ("created", "start-failed", "created"),
            ("exited", "start-failed", "exited"),
            ("restarting", "start-failed", "exited"),
            ("running", "froze", "paused"),
            ("paused", "thawed", "running"),
            ("running", "exited", "exited"),
            ("paused", "exited", "exited"),
            ("exited", "will-restart", "restarting"),
            ("restarting", "restart-cancelled", "exited"),
            ("created", "removal-began", "removing"),
            ("exited", "removal-began", "removing"),
            ("restarting", "removal-began", "removing"),
            ("dead", "removal-began", "removing"),
            ("removing", "removal-failed", "dead"),
        ];
        for state in states() {
            for (name, event) in events() {
                let from = state.as_str();
                let expected = allowed
                    .iter()
                    .find(|(f, e, _)| *f == from && *e == name)
                    .map(|(_, _, to)| *to);
                let next = state.clone().next(event).ok();
                assert_eq!(
                    next.as_ref().map(State::as_str),
                    expected,
                    "{from} + {name}"
                );
            }
        }
    }

    #[test]
    fn the_last_exit_is_remembered_through_a_new_run() {
        let exited = State::Exited {
            started: Timestamp::UNIX_EPOCH,
            exit: exit(5),
        };
        let running = exited
            .next(Event::Started {
                pid: 2,
                at: Timestamp::UNIX_EPOCH,
            })
            .unwrap();
        assert_eq!(running.exit().unwrap().code, 5);
        assert_eq!(
            running
                .next(Event::Exited(exit(6)))
                .unwrap()
                .exit()
                .unwrap()
                .code,
            6
        );
    }
}
