//! What a build says, as it goes: on the terminal in place, elsewhere in lines, as JSON for programs, or not at all.

mod live;
mod plain;
mod raw;
mod state;

use crate::failure::Failure;
use hull_api::build::Message;
use live::Live;
use plain::Plain;
use state::State;
use std::io::{self, IsTerminal as _, Write as _};

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Lines.
    Plain,
    /// In place.
    Live,
    /// Nothing but errors.
    Quiet,
    /// JSON, a document a line.
    Raw,
}

impl Form {
    /// What `--progress` means.
    pub(super) fn of(typed: &str) -> Result<Self, Failure> {
        match typed {
            "auto" | "" if io::stderr().is_terminal() => Ok(Self::Live),
            "auto" | "" | "plain" => Ok(Self::Plain),
            "tty" if io::stderr().is_terminal() => Ok(Self::Live),
            "tty" => Err(Failure::new(
                "failed to get console: standard error is no terminal",
            )),
            "quiet" | "none" => Ok(Self::Quiet),
            "rawjson" => Ok(Self::Raw),
            other => Err(Failure::new(format!("invalid progress mode {other:?}"))),
        }
    }
}

/// What is shown of a build, on standard error.
#[derive(Debug)]
pub(super) struct Display {
    form: Form,
    state: State,
    plain: Plain,
    live: Live,
}

impl Display {
    pub(super) fn new(form: Form) -> Self {
        Self {
            form,
            state: State::default(),
            plain: Plain::default(),
            live: Live::default(),
        }
    }

    /// Whether it has to be drawn again from time to time.
    pub(super) fn moves(&self) -> bool {
        self.form == Form::Live
    }

    /// Something happened.
    pub(super) fn show(&mut self, message: &Message) {
        self.state.take(message);
        match self.form {
            Form::Plain => write(&self.plain.lines(&self.state, message)),
            Form::Raw => write(&raw::line(message)),
            Form::Live | Form::Quiet => {}
        }
    }

    /// Brings the terminal up to date.
    pub(super) fn draw(&mut self) {
        if self.form == Form::Live {
            let (rows, columns) = size();
            let now = jiff::Timestamp::now();
            write(&self.live.frame(&self.state, now, rows, columns));
        }
    }

    /// Says the last of it: what was warned of, and the output of what failed.
    pub(super) fn end(&mut self, failed: bool) {
        if self.form == Form::Live {
            let now = jiff::Timestamp::now();
            write(&self.live.last(&self.state, now, size().1, failed));
        }
        if self.form == Form::Raw {
            return;
        }
        if failed {
            write(&self.state.failing_output());
        } else if self.form != Form::Quiet {
            write(&self.state.warnings());
        }
    }

    /// The step that failed.
    pub(super) fn failing_step(&self) -> &str {
        self.state.failing().map_or("", |step| &step.name)
    }
}

fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    match size.map_or((0, 0), |size| (size.ws_row, size.ws_col)) {
        (0, _) | (_, 0) => (24, 80),
        (rows, columns) => (rows.into(), columns.into()),
    }
}

fn write(text: &str) {
    if !text.is_empty() {
        // A reader that went away does not stop the build.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
