//! Signals on their way to a container.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Signals that arrive, by name.
#[derive(Debug)]
pub(crate) struct Signals(Option<mpsc::UnboundedReceiver<&'static str>>);

/// What `--sig-proxy` passes on. Not among them: signals about the command line's own children and
/// pipes, and those with which the shell controls who may use the terminal.
const FORWARDED: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("TSTP", 20),
];

/// What ends the command line while the terminal is raw.
const ENDING: &[(&str, i32)] = &[("HUP", 1), ("INT", 2), ("QUIT", 3), ("TERM", 15)];

impl Signals {
    /// No signal is caught.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Catches what `--sig-proxy` passes on.
    pub(crate) fn forwarded() -> io::Result<Self> {
        Self::catch(FORWARDED)
    }

    /// Catches what would end the process without giving the terminal back.
    pub(crate) fn ending() -> io::Result<Self> {
        Self::catch(ENDING)
    }

    fn catch(signals: &[(&'static str, i32)]) -> io::Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for (name, number) in signals {
            let mut stream = signal(SignalKind::from_raw(*number))?;
            let sender = sender.clone();
            let name = *name;
            tokio::spawn(async move {
                while stream.recv().await.is_some() && sender.send(name).is_ok() {}
            });
        }
        Ok(Self(Some(receiver)))
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        match &mut self.0 {
            Some(receiver) => match receiver.recv().await {
                Some(name) => name,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// The exit code of a process that such a signal ended.
    pub(crate) fn exit_code(name: &str) -> u8 {
        let number = FORWARDED
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(1, |(_, number)| *number);
        u8::try_from(128 + number).unwrap_or(u8::MAX)
    }
}
