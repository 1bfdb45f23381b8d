//! The end of a container's log.

use crate::text::harmless;
use crate::theme::Theme;
use std::collections::VecDeque;

/// How many lines are kept, and how long one is.
const MAX_LINES: usize = 5_000;
const MAX_LINE_BYTES: usize = 4 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// From standard error.
    pub(crate) error: bool,
}

/// Lines of one container, and which of them are on the screen.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: VecDeque<Line>,
    /// Beginnings of lines, of standard output and standard error.
    open: [Vec<u8>; 2],
    /// Only lines with this are shown.
    pub(crate) filter: String,
    /// Lines between the last one and the last on the screen; 0 follows what comes.
    pub(crate) back: usize,
    /// Why nothing more comes.
    pub(crate) ended: Option<String>,
}

impl Log {
    /// Takes in what came on one stream.
    pub(crate) fn push(&mut self, bytes: &[u8], error: bool, theme: Theme) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(&rest[..end], error);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.open[usize::from(error)]);
            self.add(&line, error, theme);
        }
        self.extend(rest, error);
    }

    fn extend(&mut self, bytes: &[u8], error: bool) {
        let open = &mut self.open[usize::from(error)];
        let room = MAX_LINE_BYTES.saturating_sub(open.len());
        open.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn add(&mut self, line: &[u8], error: bool, theme: Theme) {
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        let text = harmless(&String::from_utf8_lossy(line), theme);
        let shown = text.contains(&self.filter);
        self.lines.push_back(Line { text, error });
        // Who reads older lines goes on reading them.
        if self.back > 0 && shown {
            self.back += 1;
        }
    }

    /// The lines that the filter lets through, oldest first. One that has not ended is not among them.
    pub(crate) fn shown(&self) -> Vec<&Line> {
        let all = self.lines.iter();
        all.filter(|line| line.text.contains(&self.filter))
            .collect()
    }

    /// Goes `by` lines down, or up.
    pub(crate) fn step(&mut self, by: isize) {
        let most = self.shown().len().saturating_sub(1);
        self.back = self
            .back
            .saturating_add_signed(by.saturating_neg())
            .min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEME: Theme = Theme {
        color: true,
        unicode: true,
    };

    fn texts(log: &Log) -> Vec<&str> {
        log.shown().iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_come_in_pieces() {
        let mut log = Log::default();
        log.push(b"on", false, THEME);
        log.push(b"bad\n", true, THEME);
        log.push(b"e\ntwo\nthr", false, THEME);
        assert_eq!(texts(&log), ["bad", "one", "two"]);
        assert!(log.shown()[0].error);
        log.filter = "tw".to_owned();
        assert_eq!(texts(&log), ["two"]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut log = Log::default();
        log.push(&vec![b'x'; 1 << 20], false, THEME);
        log.push(&[b'\n'; 6_000], false, THEME);
        assert_eq!(log.shown().len(), MAX_LINES);
        assert!(log.open[0].capacity() <= 2 * MAX_LINE_BYTES);
    }

    #[test]
    fn who_reads_older_lines_goes_on_reading_them() {
        let mut log = Log::default();
        log.push(b"1\n2\n3\n", false, THEME);
        log.step(-1);
        assert_eq!(log.back, 1);
        log.push(b"4\n", false, THEME);
        assert_eq!(log.back, 2);
        log.step(-10);
        assert_eq!(log.back, 3);
        log.step(10);
        assert_eq!(log.back, 0);
    }
}
