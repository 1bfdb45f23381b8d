//! The user's terminal.

mod detach_keys;
mod raw;
mod session;
mod signals;

pub(crate) use detach_keys::{DetachKeys, Scanner};
pub(crate) use raw::RawTerminal;
pub(crate) use session::{Ended, Session, Streams, Target};
pub(crate) use signals::Signals;

use std::io::{self, IsTerminal as _};

/// Rows and columns of the terminal on standard output; zeros when it is none.
pub(crate) fn size() -> (u16, u16) {
    size_of(io::stdout())
}

/// Rows and columns of a terminal; zeros when it is none.
pub(crate) fn size_of(terminal: impl std::os::fd::AsFd) -> (u16, u16) {
    rustix::termios::tcgetwinsize(terminal).map_or((0, 0), |size| (size.ws_row, size.ws_col))
}

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Width for wrapping text.
pub(crate) fn columns() -> usize {
    match size() {
        (_, 0) => 80,
        (_, columns) => columns.into(),
    }
}
