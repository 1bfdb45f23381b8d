//! Raw mode, given back on every way out.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io;

/// The terminal on standard input in raw mode; its old mode returns when this is dropped, which
/// also happens while a panic unwinds. Signals that would end the process meanwhile are caught by
/// [`super::Signals`], so that it ends by returning.
#[derive(Debug)]
pub(crate) struct RawTerminal {
    saved: Termios,
}

impl RawTerminal {
    /// Switches to raw mode: every key goes to the container as it is.
    ///
    /// # Errors
    /// When standard input is no terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let saved = tcgetattr(io::stdin())?;
        let mut raw = saved.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { saved })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // There is nobody left to tell; the terminal may be gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.saved);
    }
}
