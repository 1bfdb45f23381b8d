//! Keys. A thread waits for the terminal, and for being told to leave it to somebody else.
//!
//! Ours and not the library's: that one waits for changes of the terminal's size as well, and loses the key that comes
//! together with one until the next is pressed.

use crate::message::Key;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::thread::JoinHandle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long the rest of a sequence may take to come: after an escape character alone, it was the key of that name.
const REST: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
/// The longest sequence that is waited for.
const MAX_SEQUENCE: usize = 32;

/// The thread. Dropped, nothing reads the terminal any more.
#[derive(Debug)]
pub(crate) struct Keys {
    received: UnboundedReceiver<Key>,
    /// Closed to end the thread.
    wake: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Keys {
    /// Begins to read.
    ///
    /// # Errors
    /// When there are no descriptors or threads.
    pub(crate) fn start() -> io::Result<Self> {
        let (ended, wake) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, received) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || read(&ended, &sender))?;
        Ok(Self {
            received,
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    /// The next key; `None` when the terminal is gone.
    pub(crate) async fn next(&mut self) -> Option<Key> {
        self.received.recv().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been told already.
            let _ = thread.join();
        }
    }
}

/// Reads until it is told to end, the terminal is gone, or nobody listens.
fn read(ended: &OwnedFd, sender: &UnboundedSender<Key>) {
    let stdin = io::stdin();
    let mut typed = Vec::new();
    let mut buffer = [0; 256];
    loop {
        let mut waited = [
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        let rest = (!typed.is_empty()).then_some(&REST);
        let last = match poll(&mut waited, rest) {
            Ok(ready) => ready == 0,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        };
        if !waited[1].revents().is_empty() {
            return;
        }
        if !last {
            match rustix::io::read(&stdin, &mut buffer) {
                Ok(0) => return,
                Ok(count) => typed.extend_from_slice(&buffer[..count]),
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            }
        }
        for key in take(&mut typed, last) {
            if sender.send(key).is_err() {
                return;
            }
        }
    }
}

/// Takes the keys off the front of what was typed. The beginning of a sequence stays, unless it is the `last` of it.
fn take(typed: &mut Vec<u8>, last: bool) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = typed.as_slice();
    while let Some((key, used)) = first(rest, last) {
        keys.extend(key);
        rest = &rest[used..];
    }
    let left = rest.len();
    typed.drain(..typed.len() - left);
    keys
}

/// The first key, if there is one of that name, and how many bytes it took.
fn first(bytes: &[u8], last: bool) -> Option<(Option<Key>, usize)> {
    let (byte, rest) = bytes.split_first()?;
    Some(match *byte {
        0x1b => return sequence(rest, last).map(|(key, used)| (key, used + 1)),
        b'\r' | b'\n' => (Some(Key::Enter), 1),
        b'\t' => (Some(Key::Tab), 1),
        0x7f | 0x08 => (Some(Key::Backspace), 1),
        control @ 1..=26 => (Some(Key::Ctrl(char::from(control + b'a' - 1))), 1),
        0 | 27..=31 => (None, 1),
        _ => return text(bytes, last),
    })
}

/// A character of UTF-8.
fn text(bytes: &[u8], last: bool) -> Option<(Option<Key>, usize)> {
    let part = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(part) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            std::str::from_utf8(&part[..error.valid_up_to()]).unwrap_or_default()
        }
        // The rest of it may be on its way.
        Err(error) if error.error_len().is_none() && !last => return None,
        Err(_) => return Some((None, 1)),
    };
    let char = valid.chars().next()?;
    Some((Some(Key::Char(char)), char.len_utf8()))
}

/// What follows an escape character: ECMA-48's `[ … final`, `O x` of keypads in xterm's application mode, or nothing.
fn sequence(rest: &[u8], last: bool) -> Option<(Option<Key>, usize)> {
    match rest.first() {
        None if last => Some((Some(Key::Escape), 0)),
        None => None,
        Some(b'[') => {
            let end = rest[1..]
                .iter()
                .position(|byte| (0x40..=0x7e).contains(byte));
            match end {
                Some(end) => Some((named(&rest[1..end + 2]), end + 2)),
                None if last || rest.len() > MAX_SEQUENCE => Some((None, rest.len())),
                None => None,
            }
        }
        Some(b'O') => match rest.get(1) {
            Some(byte) => Some((named(&[*byte]), 2)),
            None if last => Some((None, 1)),
            None => None,
        },
        // The key, and then another.
        Some(0x1b) => Some((Some(Key::Escape), 0)),
        // Alt and a key: there are none of these here.
        Some(_) => Some((None, 1)),
    }
}

fn named(sequence: &[u8]) -> Option<Key> {
    Some(match sequence {
        b"A" => Key::Up,
        b"B" => Key::Down,
        b"H" | b"1~" | b"7~" => Key::Home,
        b"F" | b"4~" | b"8~" => Key::End,
        b"3~" => Key::Delete,
        b"5~" => Key::PageUp,
        b"6~" => Key::PageDown,
        b"Z" => Key::BackTab,
        b"M" => Key::Enter,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut typed = bytes.to_vec();
        let mut keys = take(&mut typed, false);
        keys.extend(take(&mut typed, true));
        assert!(typed.is_empty(), "{typed:?}");
        keys
    }

    #[test]
    fn keys_of_terminals_are_known() {
        for (bytes, wanted) in [
            (&b"q"[..], vec![Key::Char('q')]),
            ("ä".as_bytes(), vec![Key::Char('ä')]),
            (b"\x1b", vec![Key::Escape]),
            (b"\x1b\x1b[A", vec![Key::Escape, Key::Up]),
            (
                b"\x1b[A\x1bOB\x1b[5~",
                vec![Key::Up, Key::Down, Key::PageUp],
            ),
            (
                b"\x1b[Z\t\r\x7f",
                vec![Key::BackTab, Key::Tab, Key::Enter, Key::Backspace],
            ),
            (b"\x03\x1a", vec![Key::Ctrl('c'), Key::Ctrl('z')]),
            // Shift and an arrow, a function key, Alt and a letter.
            (b"\x1b[1;2A\x1b[15~\x1bxy", vec![Key::Char('y')]),
            (b"\xff\x00a", vec![Key::Char('a')]),
        ] {
            assert_eq!(keys(bytes), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn a_sequence_may_come_in_pieces() {
        let mut typed = b"\x1b".to_vec();
        assert_eq!(take(&mut typed, false), []);
        typed.extend_from_slice(b"[");
        assert_eq!(take(&mut typed, false), []);
        typed.extend_from_slice(b"Ba");
        assert_eq!(take(&mut typed, false), [Key::Down, Key::Char('a')]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut typed = bytes.clone();
            let _ = take(&mut typed, false);
            prop_assert!(typed.len() <= MAX_SEQUENCE + 2);
            let _ = take(&mut typed, true);
            prop_assert!(typed.is_empty());
        }
    }
}
