//! Pseudo-terminals: pty(7).

use rustix::termios::{Winsize, tcsetwinsize};
use std::io;
use std::os::fd::AsFd;

/// Tells a terminal its size in characters; programs in it get `SIGWINCH`. `ioctl_tty(2)`.
///
/// # Errors
/// `ENOTTY` when the descriptor is no terminal.
pub fn resize(terminal: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}
