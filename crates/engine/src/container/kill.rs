//! `kill`, and the names of signals.

use super::live::Container;
use super::record::Record;
use super::{RestartPolicy, State};
use crate::{Engine, Error, ErrorKind, Result, blocking};
use std::sync::Arc;
use std::time::Duration;

const SIGKILL: i32 = 9;

impl Engine {
    /// Sends a signal; empty: SIGKILL, whose effect is waited for.
    ///
    /// # Errors
    /// `Conflict` when the container does not run, `InvalidInput` for a signal that does not exist.
    pub async fn kill(self: &Arc<Self>, name: &str, signal: &str) -> Result<()> {
        /// A process that waits for a disk takes longer to die than anybody wants to wait.
        const PATIENCE: Duration = Duration::from_secs(10);
        // Whether there is such a signal is asked before whether there is such a container.
        let watched = self
            .find(name)
            .map(|container| container.progress.subscribe());
        let exits = watched
            .as_ref()
            .map_or(0, |progress| progress.borrow().exits);
        let number = self.send_signal(name, signal).await?;
        if number == SIGKILL
            && let Ok(mut progress) = watched
        {
            let end = progress.wait_for(|now| now.exits > exits || now.removed || !now.running);
            // As in Docker, it is no error that it still runs.
            let _ = tokio::time::timeout(PATIENCE, end).await;
        }
        Ok(())
    }

    /// Sends a signal, and gives its number.
    pub(super) async fn send_signal(self: &Arc<Self>, name: &str, signal: &str) -> Result<i32> {
        let number = if signal.is_empty() {
            SIGKILL
        } else {
            parse(signal).map_err(|error| {
                let text = format!("cannot kill container: {name}: {}", error.message());
                Error::new(error.kind(), text)
            })?
        };
        let container = self.find(name)?;
        let record = container.record();
        let silences = silences(number, &record);
        if matches!(record.state, State::Restarting { .. }) {
            // There is no process; what the signal would have done to the policy it does.
            if silences {
                self.call_off_restart(&container).await?;
            }
            return Ok(number);
        }
        if !record.is_running() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "cannot kill container: {name}: container {} is not running",
                    record.id
                ),
            ));
        }
        if silences {
            self.silence_policy(&container).await?;
        }
        let shim = container.shim()?;
        // A frozen process takes its signal only after it thaws; as Docker, wake it for its end.
        let wake = ends(number, record.effective.stop_signal.as_deref())
            && matches!(record.state, State::Paused { .. });
        let (engine, id) = (Arc::clone(self), record.id.clone());
        blocking(move || {
            let failed = |e: hull_shim::Error| {
                Error::new(ErrorKind::Internal, "cannot kill container").caused_by(e)
            };
            let sent = shim.kill(number).and_then(|()| match wake {
                true => shim.resume(),
                false => Ok(()),
            });
            match sent {
                // The process has just ended, and its shim with it: as dockerd, nothing to complain of.
                Err(hull_shim::Error::Unreachable { .. }) => Ok(()),
                // Nobody passes it on: without the shim, what runs is ended in another way.
                Err(hull_shim::Error::Silent { .. }) if number == SIGKILL => {
                    engine.kill_shim(&engine.bundle_dir(&id));
                    Ok(())
                }
                sent => sent.map_err(failed),
            }
        })
        .await?;
        self.tell_container(&container, "kill", &[("signal", &number.to_string())]);
        // Not so when its end was faster, or somebody else thawed it.
        if wake && container.apply(super::state::Event::Thawed).is_ok() {
            self.tell_container(&container, "unpause", &[]);
            self.watch_health(&container);
        }
        Ok(number)
    }

    /// Kills a container's process although nobody asked for its end: its restart policy decides what then.
    pub(super) async fn kill_unasked(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let shim = container.shim()?;
        blocking(move || {
            shim.kill(SIGKILL)
                .map_err(|e| Error::new(ErrorKind::Internal, "cannot kill container").caused_by(e))
        })
        .await?;
        self.tell_container(container, "kill", &[("signal", &SIGKILL.to_string())]);
        Ok(())
    }

    /// Notes that somebody asked for the end, durably if it makes a difference to the next daemon.
    pub(super) async fn silence_policy(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        if container.read(|record| record.stopped_on_request) {
            return Ok(());
        }
        if container.read(|record| record.config.restart == RestartPolicy::No) {
            container.change(|record| record.stopped_on_request = true);
            return Ok(());
        }
        let _operation = container.operation.lock().await;
        container.change(|record| record.stopped_on_request = true);
        let (rows, record) = (self.rows.clone(), container.record());
        let kept = blocking(move || rows.put(&record)).await;
        if kept.is_err() {
            container.change(|record| record.stopped_on_request = false);
        }
        kept
    }
}

/// Whether a signal is meant to end the container: any is, unless it says which one is.
fn ends(signal: i32, stop_signal: Option<&str>) -> bool {
    signal == SIGKILL || stop_signal.is_none_or(|name| parse(name).is_ok_and(|own| own == signal))
}

/// Whether a container's restart policy stays silent after a signal.
fn silences(signal: i32, record: &Record) -> bool {
    ends(signal, record.effective.stop_signal.as_deref())
        || record.config.restart == RestartPolicy::UnlessStopped
}

/// A signal by number or by name, with or without `SIG`: signal(7).
///
/// # Errors
/// Docker's complaint.
pub(crate) fn parse(text: &str) -> Result<i32> {
    const NAMES: &[&str] = &[
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let invalid = || Error::new(ErrorKind::InvalidInput, format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(invalid())
        };
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let by_name = NAMES
        .iter()
        .position(|known| *known == name)
        .and_then(|at| i32::try_from(at + 1).ok());
    let (min, max) = (34, 64);
    by_name
        .or_else(|| match name {
            "IOT" => Some(6),
            "CLD" => Some(17),
            "POLL" => Some(29),
            "RTMIN" => Some(min),
            "RTMAX" => Some(max),
            _ => {
                let realtime = name
                    .strip_prefix("RTMIN+")
                    .and_then(|n| n.parse::<i32>().ok())
                    .map(|n| min + n);
                let realtime = realtime.or_else(|| {
                    name.strip_prefix("RTMAX-")
                        .and_then(|n| n.parse::<i32>().ok())
                        .map(|n| max - n)
                });
                realtime.filter(|signal| (min..=max).contains(signal))
            }
        })
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_signal_ends_a_container_that_names_none() {
        assert!(ends(9, Some("INT")) && ends(2, Some("INT")) && ends(1, None));
        assert!(!ends(1, Some("INT")) && !ends(15, Some("SIGINT")));
    }

    #[test]
    fn names_and_numbers_are_known() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("SIGUSR2", 12),
            ("WINCH", 28),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for bad in ["", "0", "65", "-1", "NOPE", "RTMIN+99"] {
            assert_eq!(
                parse(bad).unwrap_err().message(),
                format!("invalid signal: {bad}")
            );
        }
    }
}
