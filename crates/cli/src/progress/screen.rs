//! A line per layer that is rewritten in place, and the plain form of the same messages.

use super::bar::bar;
use hull_api::progress::Message;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// The lines on the terminal that belong to something, from the top; the cursor is below the last.
#[derive(Debug, Default)]
pub(super) struct Screen {
    ids: Vec<String>,
    /// What stands below them; empty: nothing does.
    note: String,
}

impl Screen {
    /// The bytes that bring a terminal of so many rows and columns up to date.
    pub(super) fn update(&mut self, message: &Message, (rows, columns): (usize, usize)) -> String {
        let text = text(message, columns);
        if message.id.is_empty() || message.progress_detail.is_none() {
            if text.is_empty() {
                return String::new();
            }
            // What does not move goes below, and later lines start below it.
            let cleared = self.note("", (rows, columns));
            self.ids.clear();
            return cleared + &ended(text, message);
        }
        let mut out = String::new();
        let line = clipped(&text, columns);
        let below = usize::from(!self.note.is_empty());
        match self.ids.iter().position(|id| *id == message.id) {
            None => {
                self.ids.push(message.id.clone());
                if below > 0 {
                    out.push_str("\x1b[1A");
                }
                let _ = write!(out, "\x1b[2K\r{line}\n");
                if below > 0 {
                    let _ = write!(out, "\x1b[2K\r{}\n", clipped(&self.note, columns));
                }
            }
            Some(at) => {
                let up = self.ids.len() - at + below;
                // What has left the screen at its top cannot be reached any more.
                if up < rows {
                    let _ = write!(out, "\x1b[{up}A\x1b[2K\r{line}\r\x1b[{up}B");
                }
            }
        }
        out
    }

    /// The bytes that have `note` stand below the lines; an empty one takes it away.
    pub(super) fn note(&mut self, note: &str, (_, columns): (usize, usize)) -> String {
        if note == self.note || (self.ids.is_empty() && !note.is_empty()) {
            return String::new();
        }
        let mut out = String::new();
        if !self.note.is_empty() {
            out.push_str("\x1b[1A\x1b[2K\r");
        }
        if !note.is_empty() {
            let _ = writeln!(out, "{}", clipped(note, columns));
        }
        note.clone_into(&mut self.note);
        out
    }
}

/// One line must stay one line, or the count of lines to go up is wrong.
fn clipped(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns).collect()
}

fn ended(mut text: String, message: &Message) -> String {
    // Streams of a build bring their own line ends.
    if message.stream.is_empty() && !text.is_empty() {
        text.push('\n');
    }
    text
}

fn text(message: &Message, columns: usize) -> String {
    if !message.stream.is_empty() {
        return message.stream.clone();
    }
    let mut text = String::new();
    if !message.id.is_empty() {
        let _ = write!(text, "{}: ", message.id);
    }
    text.push_str(&message.status);
    let room = columns.saturating_sub(text.len());
    let bar = message
        .progress_detail
        .as_ref()
        .map(|detail| bar(detail, if room > 70 { columns } else { 0 }))
        .unwrap_or_default();
    if !bar.is_empty() {
        text.push(' ');
        text.push_str(&bar);
    }
    text
}

/// Messages without a terminal.
#[derive(Debug)]
pub(super) struct Plain;

impl Plain {
    /// The line of a message; numbers on their way are left out.
    pub(super) fn line(message: &Message) -> String {
        let moving = message
            .progress_detail
            .as_ref()
            .is_some_and(|detail| detail.current > 0 || detail.total > 0);
        if moving {
            return String::new();
        }
        ended(text(message, 0), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_api::progress::Detail;

    const SIZE: (usize, usize) = (24, 80);

    fn message(id: &str, status: &str, current: i64) -> Message {
        Message {
            id: id.to_owned(),
            status: status.to_owned(),
            progress_detail: Some(Detail {
                current,
                total: if current > 0 { 1000 } else { 0 },
                ..Detail::default()
            }),
            ..Message::default()
        }
    }

    #[test]
    fn plain_lines_leave_progress_out() {
        assert_eq!(
            Plain::line(&message("abc", "Pulling fs layer", 0)),
            "abc: Pulling fs layer\n"
        );
        assert_eq!(Plain::line(&message("abc", "Downloading", 5)), "");
        assert_eq!(
            Plain::line(&message("", "Status: done", 0)),
            "Status: done\n"
        );
    }

    #[test]
    fn each_layer_keeps_its_line() {
        let mut screen = Screen::default();
        assert_eq!(
            screen.update(&message("a", "Waiting", 0), SIZE),
            "\x1b[2K\ra: Waiting\n"
        );
        assert_eq!(
            screen.update(&message("b", "Waiting", 0), SIZE),
            "\x1b[2K\rb: Waiting\n"
        );
        assert_eq!(
            screen.update(&message("a", "Downloading", 500), SIZE),
            "\x1b[2A\x1b[2K\ra: Downloading     500B/1kB\r\x1b[2B"
        );
        assert_eq!(
            screen.update(&message("", "Digest: x", 0), SIZE),
            "Digest: x\n"
        );
        assert_eq!(
            screen.update(&message("a", "again", 0), SIZE),
            "\x1b[2K\ra: again\n"
        );
    }

    #[test]
    fn a_note_stands_below_the_lines() {
        let mut screen = Screen::default();
        assert_eq!(screen.note("Network: 1MB/s", SIZE), "");
        let _ = screen.update(&message("a", "Waiting", 0), SIZE);
        assert_eq!(screen.note("Network: 1MB/s", SIZE), "Network: 1MB/s\n");
        assert_eq!(screen.note("Network: 1MB/s", SIZE), "");
        assert_eq!(
            screen.note("Unpacking", SIZE),
            "\x1b[1A\x1b[2K\rUnpacking\n"
        );
        assert_eq!(
            screen.update(&message("b", "Waiting", 0), SIZE),
            "\x1b[1A\x1b[2K\rb: Waiting\n\x1b[2K\rUnpacking\n"
        );
        assert_eq!(
            screen.update(&message("a", "Downloading", 500), SIZE),
            "\x1b[3A\x1b[2K\ra: Downloading     500B/1kB\r\x1b[3B"
        );
        assert_eq!(
            screen.update(&message("", "Digest: x", 0), SIZE),
            "\x1b[1A\x1b[2K\rDigest: x\n"
        );
        assert_eq!(screen.note("", SIZE), "");
    }

    #[test]
    fn lines_above_the_screen_are_left_alone() {
        let mut screen = Screen::default();
        for id in ["a", "b", "c", "d"] {
            let _ = screen.update(&message(id, "Waiting", 0), (4, 80));
        }
        assert_eq!(
            screen.update(&message("a", "Pull complete", 0), (4, 80)),
            ""
        );
        assert!(
            !screen
                .update(&message("b", "Pull complete", 0), (4, 80))
                .is_empty()
        );
    }

    #[test]
    fn lines_never_wrap() {
        let mut screen = Screen::default();
        let long = screen.update(&message("a", &"x".repeat(100), 0), (24, 20));
        assert_eq!(long.trim_end().len(), "\x1b[2K\r".len() + 20);
    }
}
