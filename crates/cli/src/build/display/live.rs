//! Steps in place: those that are done, those that run with the last of their output.

use super::state::{Part, State, Step};
use crate::format::human_size;
use jiff::Timestamp;
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How many lines of a running step's output are shown.
const TAIL: usize = 6;
/// What follows the name on a line: the duration.
const TIME: usize = 8;
const BLUE: &str = "\x1b[34m";
const RED: &str = "\x1b[31m";
const FAINT: &str = "\x1b[2m";
const NORMAL: &str = "\x1b[0m";

/// What is on the terminal.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// How many lines of ours are above the cursor.
    drawn: usize,
    last: Vec<String>,
}

impl Live {
    /// The bytes that bring the terminal up to date. No more lines are drawn than it has.
    pub(super) fn frame(
        &mut self,
        state: &State,
        now: Timestamp,
        rows: usize,
        columns: usize,
    ) -> String {
        if state.steps.is_empty() {
            return String::new();
        }
        let lines = fitting(state, now, rows.saturating_sub(1).max(2), columns);
        self.redraw(lines)
    }

    /// The last picture: all steps, as nothing moves any more.
    pub(super) fn last(
        &mut self,
        state: &State,
        now: Timestamp,
        columns: usize,
        failed: bool,
    ) -> String {
        if state.steps.is_empty() {
            return String::new();
        }
        let mut lines = vec![head(
            state,
            now,
            if failed { " ERROR" } else { " FINISHED" },
        )];
        let shown = state.steps.iter().filter(|step| is_told(step));
        lines.extend(shown.map(|step| line(step, now, columns)));
        self.redraw(lines)
    }

    fn redraw(&mut self, lines: Vec<String>) -> String {
        if lines == self.last {
            return String::new();
        }
        let mut out = String::new();
        if self.drawn > 0 {
            let _ = write!(out, "\x1b[{}A", self.drawn);
        }
        for line in &lines {
            // Cleared after it is written: it does not flicker.
            let _ = write!(out, "\r{line}\x1b[K\n");
        }
        // What is left of a longer picture.
        out.push_str("\x1b[J");
        self.drawn = lines.len();
        self.last = lines;
        out
    }
}

fn is_told(step: &Step) -> bool {
    step.started.is_some() || step.completed.is_some()
}

fn head(state: &State, now: Timestamp, end: &str) -> String {
    let done = state.steps.iter().filter(|step| step.completed.is_some());
    let took = state
        .began
        .map_or(0.0, |began| super::state::seconds(began, now));
    format!(
        "[+] Building {took:.1}s ({}/{}){end}",
        done.count(),
        state.steps.len()
    )
}

/// The picture in at most `rows` lines: the oldest steps that are done go first.
fn fitting(state: &State, now: Timestamp, rows: usize, columns: usize) -> Vec<String> {
    let mut blocks: Vec<(bool, Vec<String>)> = Vec::new();
    for step in state.steps.iter().filter(|step| is_told(step)) {
        let mut block = vec![line(step, now, columns)];
        if step.is_running() {
            block.extend(below(step, columns));
        }
        blocks.push((step.is_running(), block));
    }
    let count = |blocks: &[(bool, Vec<String>)]| -> usize {
        1 + blocks.iter().map(|(_, block)| block.len()).sum::<usize>()
    };
    while count(&blocks) > rows
        && let Some(done) = blocks.iter().position(|(running, _)| !running)
    {
        blocks.remove(done);
    }
    let mut lines = vec![head(state, now, "")];
    lines.extend(blocks.into_iter().flat_map(|(_, block)| block));
    lines.truncate(rows);
    lines
}

/// ` => CACHED [2/3] RUN make          0.0s`
fn line(step: &Step, now: Timestamp, columns: usize) -> String {
    let state = match (step.error.as_str(), step.cached) {
        ("", true) => "CACHED ",
        ("", false) => "",
        (error, _) if error.contains("context canceled") => "CANCELED ",
        _ => "ERROR ",
    };
    let text = format!(" => {state}{}", clean(&step.name));
    let time = format!("{:.1}s", step.duration(now));
    let line = justified(&text, &time, columns);
    match (step.error.is_empty(), step.completed.is_some()) {
        (false, _) => format!("{RED}{line}{NORMAL}"),
        (true, true) => format!("{BLUE}{line}{NORMAL}"),
        (true, false) => line,
    }
}

/// The parts of a running step that are not done, and the last of its output.
fn below(step: &Step, columns: usize) -> Vec<String> {
    let parts = step.parts.iter().filter(|part| part.completed.is_none());
    let mut lines: Vec<String> = parts
        .take(TAIL)
        .map(|part| clipped(&format!(" => => {}", of_part(part)), columns))
        .collect();
    let skipped = step.lines.len().saturating_sub(TAIL);
    lines.extend(step.lines.iter().skip(skipped).map(|(_, text)| {
        let text = clipped(&format!(" => => # {}", clean(text)), columns);
        format!("{FAINT}{text}{NORMAL}")
    }));
    lines
}

fn of_part(part: &Part) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let human = |bytes: u64| human_size(bytes as f64, 3);
    let name = clean(&part.name);
    match (part.current, part.total) {
        (0, 0) => name,
        (current, 0) => format!("{name} {}", human(current)),
        (current, total) => format!("{name} {} / {}", human(current), human(total)),
    }
}

/// Without control characters and escape sequences: a line stays one.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            // ECMA-48: parameters, then a letter.
            if chars.next_if_eq(&'[').is_some() {
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
        } else if c == '\t' {
            out.push(' ');
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out
}

/// No wider than the terminal.
fn clipped(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut width = 0;
    for c in text.chars() {
        width += c.width().unwrap_or(0);
        if width > columns.saturating_sub(3) {
            break;
        }
        out.push(c);
    }
    out + "..."
}

fn justified(text: &str, time: &str, columns: usize) -> String {
    let text = clipped(text, columns.saturating_sub(TIME).max(10));
    let gap = columns.saturating_sub(text.width() + time.len());
    format!("{text}{:gap$}{time}", "", gap = gap.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{said, vertex};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn running_steps_show_their_output_and_no_more_lines_than_there_are() {
        let mut state = State::default();
        for name in ["a", "b", "c"] {
            state.take(&vertex(name, |vertex| {
                vertex.completed = "1970-01-01T00:00:11Z".to_owned();
                vertex.cached = name == "b";
            }));
        }
        state.take(&vertex("run", |_| {}));
        state.take(&said(
            "run",
            11,
            "\x1b[1mbold\x1b[0m\nlong long long long line\n",
        ));
        let plain = |rows| -> Vec<String> {
            let lines = fitting(&state, at(12), rows, 20);
            lines.iter().map(|line| clean(line)).collect()
        };
        assert_eq!(
            plain(10),
            [
                "[+] Building 2.0s (3/4)",
                " => a           1.0s",
                " => CACHED b    1.0s",
                " => c           1.0s",
                " => run         2.0s",
                " => => # bold",
                " => => # long lon...",
            ]
        );
        assert_eq!(plain(5).len(), 5);
        assert_eq!(plain(5)[1], " => c           1.0s");
        assert_eq!(plain(2).len(), 2);
    }

    #[test]
    fn a_picture_is_drawn_over_the_last() {
        let mut state = State::default();
        let mut live = Live::default();
        assert_eq!(live.frame(&state, at(10), 24, 20), "");
        state.take(&vertex("a", |_| {}));
        let first = live.frame(&state, at(11), 24, 20);
        assert!(
            first.starts_with("\r[+] Building 1.0s (0/1)\x1b[K\n"),
            "{first:?}"
        );
        assert_eq!(live.frame(&state, at(11), 24, 20), "");
        let second = live.frame(&state, at(12), 24, 20);
        assert!(second.starts_with("\x1b[2A\r"), "{second:?}");
        let last = live.last(&state, at(12), 20, true);
        assert!(last.contains("(0/1) ERROR"), "{last:?}");
    }
}
