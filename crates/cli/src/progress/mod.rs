//! What a pull says, as it goes: live bars on a terminal and below them what is slow, plain lines elsewhere.

mod bar;
mod pace;
mod screen;

use crate::failure::{Failure, Outcome};
use crate::terminal;
use hull_api::client::JsonLines;
use hull_api::progress::Message;
use pace::{Pace, Pressure};
use screen::{Plain, Screen};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How often the line below the bars is looked at.
const TICK: Duration = Duration::from_millis(500);

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
    None,
}

impl Output {
    fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
            Self::None => false,
        }
    }

    /// Rows and columns of the terminal.
    fn size(self) -> (usize, usize) {
        let size = match self {
            Self::Stderr => terminal::size_of(io::stderr()),
            Self::Stdout | Self::None => terminal::size(),
        };
        match size {
            (0, _) | (_, 0) => (24, 80),
            (rows, columns) => (rows.into(), columns.into()),
        }
    }

    fn write(self, text: &str) {
        // A reader that went away does not stop the pull.
        let _ = match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            Self::Stderr => io::stderr().write_all(text.as_bytes()),
            Self::None => Ok(()),
        };
    }
}

/// Shows a stream of messages until its end; an error in it is the command's. `here` says whether the daemon that sends
/// them is on this machine.
pub(crate) async fn show(messages: JsonLines<Message>, output: Output, here: bool) -> Outcome {
    show_with(messages, output, here, |_| ()).await
}

/// As [`show`]; what is meant for programs goes to `aux`.
pub(crate) async fn show_with(
    mut messages: JsonLines<Message>,
    output: Output,
    here: bool,
    mut aux: impl FnMut(&serde_json::Value),
) -> Outcome {
    let mut live = output.is_terminal().then(|| Live::new(output, here));
    let shown = loop {
        let next = match &mut live {
            None => messages.next().await,
            Some(live) => tokio::select! {
                next = messages.next() => next,
                _ = live.ticks.tick() => {
                    live.tick();
                    continue;
                }
            },
        };
        let message = match next {
            Ok(Some(message)) => message,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        };
        if let Some(failure) = error_of(&message) {
            break Err(failure);
        }
        match (&message.aux, &mut live) {
            (Some(value), _) => aux(value),
            (None, Some(live)) => live.heard(&message),
            (None, None) => output.write(&Plain::line(&message)),
        }
    };
    if let Some(live) = live {
        live.end();
    }
    shown
}

/// A terminal that is kept up to date.
struct Live {
    output: Output,
    screen: Screen,
    pace: Pace,
    pressure: Pressure,
    ticks: tokio::time::Interval,
}

impl Live {
    fn new(output: Output, here: bool) -> Self {
        let now = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            output,
            screen: Screen::default(),
            pace: Pace::new(now),
            pressure: Pressure::new(here, now),
            ticks,
        }
    }

    fn heard(&mut self, message: &Message) {
        let now = Instant::now();
        // Until now it was as it was before this message.
        let cause = self.pace.cause(self.pressure.share(now));
        self.pace.account(cause, now);
        self.pace.heard(message, now);
        let size = self.output.size();
        self.output.write(&self.screen.update(message, size));
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let cause = self.pace.cause(self.pressure.share(now));
        self.pace.account(cause, now);
        let line = self.pace.line(cause, now).unwrap_or_default();
        let size = self.output.size();
        self.output.write(&self.screen.note(&line, size));
    }

    fn end(mut self) {
        let size = self.output.size();
        self.output.write(&self.screen.note("", size));
        if let Some(line) = self.pace.account_of_all() {
            self.output.write(&format!("{line}\n"));
        }
    }
}

fn error_of(message: &Message) -> Option<Failure> {
    let text = match &message.error_detail {
        Some(detail) if !detail.message.is_empty() => &detail.message,
        _ if !message.error.is_empty() => &message.error,
        _ => return None,
    };
    Some(Failure::new(text.clone()))
}
