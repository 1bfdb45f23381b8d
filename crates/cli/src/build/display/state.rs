//! What is known of a build's steps.

use hull_api::build::{Log, Message, Status, Vertex, Warning};
use jiff::Timestamp;
use std::collections::HashMap;
use std::fmt::Write as _;

/// How many lines of a step's output are kept for when it fails.
const KEPT_LINES: usize = 100;
/// How many of them are shown then.
const SHOWN_LINES: usize = 30;
/// The longest line that is kept, bytes.
const MAX_LINE: usize = 4096;

/// One step.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) started: Option<Timestamp>,
    pub(super) completed: Option<Timestamp>,
    pub(super) cached: bool,
    pub(super) error: String,
    /// Its parts, in the order in which they came.
    pub(super) parts: Vec<Part>,
    /// The last lines of its output, each with the seconds since it began.
    pub(super) lines: std::collections::VecDeque<(f64, String)>,
    /// A line that is not whole yet, by stream.
    open: [Vec<u8>; 2],
}

/// A part of a step, such as a download.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) current: u64,
    pub(super) total: u64,
    pub(super) started: Option<Timestamp>,
    pub(super) completed: Option<Timestamp>,
}

/// All steps, in the order in which they were told of.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) steps: Vec<Step>,
    places: HashMap<String, usize>,
    pub(super) warned: Vec<Warning>,
    /// When the first began.
    pub(super) began: Option<Timestamp>,
    /// The whole lines that the last message completed.
    pub(super) fresh: Vec<(f64, String)>,
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// Seconds between two times, none below zero.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

impl Step {
    /// How long it took, or takes until `now`.
    pub(super) fn duration(&self, now: Timestamp) -> f64 {
        self.started
            .map_or(0.0, |from| seconds(from, self.completed.unwrap_or(now)))
    }

    pub(super) fn is_running(&self) -> bool {
        self.started.is_some() && self.completed.is_none()
    }

    fn push(&mut self, log: &Log) -> Vec<(f64, String)> {
        let at = match (self.started, time(&log.at)) {
            (Some(started), Some(at)) => seconds(started, at),
            _ => 0.0,
        };
        let open = &mut self.open[usize::from(log.stream == 2)];
        let mut fresh = Vec::new();
        for byte in &log.data {
            if *byte == b'\n' || open.len() >= MAX_LINE {
                fresh.push((at, printable(open)));
                open.clear();
            }
            if *byte != b'\n' {
                open.push(*byte);
            }
        }
        self.keep(&fresh);
        fresh
    }

    fn keep(&mut self, lines: &[(f64, String)]) {
        self.lines.extend(lines.iter().cloned());
        while self.lines.len() > KEPT_LINES {
            self.lines.pop_front();
        }
    }

    /// What had no end of a line.
    fn rest(&mut self) -> Vec<(f64, String)> {
        let at = self.duration(Timestamp::now());
        let open = self.open.iter_mut().filter(|open| !open.is_empty());
        let rest: Vec<_> = open
            .map(|open| (at, printable(&std::mem::take(open))))
            .collect();
        self.keep(&rest);
        rest
    }
}

/// A line of output without what would move the cursor: the last of what was written over.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    let last = text.rsplit('\r').next().unwrap_or_default();
    last.replace('\u{8}', "")
}

impl State {
    /// Takes what happened.
    pub(super) fn take(&mut self, message: &Message) {
        self.fresh.clear();
        match message {
            Message::Vertex(vertex) => self.vertex(vertex),
            Message::Status(status) => self.status(status),
            Message::Log(log) => {
                if let Some(step) = self.step_mut(&log.vertex) {
                    self.fresh = step.push(log);
                }
            }
            Message::Warning(warning) => self.warned.push(warning.clone()),
            _ => {}
        }
    }

    /// The place of a step in [`State::steps`].
    pub(super) fn place(&self, digest: &str) -> Option<usize> {
        self.places.get(digest).copied()
    }

    fn step_mut(&mut self, digest: &str) -> Option<&mut Step> {
        let place = self.place(digest)?;
        self.steps.get_mut(place)
    }

    fn vertex(&mut self, vertex: &Vertex) {
        let steps = &mut self.steps;
        let place = *self.places.entry(vertex.digest.clone()).or_insert_with(|| {
            steps.push(Step::default());
            steps.len() - 1
        });
        let step = &mut self.steps[place];
        step.name.clone_from(&vertex.name);
        step.started = time(&vertex.started);
        step.completed = time(&vertex.completed);
        step.cached = vertex.cached;
        step.error.clone_from(&vertex.error);
        if step.completed.is_some() {
            self.fresh = step.rest();
        }
        self.began = self.began.or(self.steps[place].started);
    }

    fn status(&mut self, status: &Status) {
        let Some(step) = self.step_mut(&status.vertex) else {
            return;
        };
        let part = Part {
            id: status.id.clone(),
            name: match status.name.as_str() {
                "" => status.id.clone(),
                name => name.to_owned(),
            },
            current: status.current,
            total: status.total,
            started: time(&status.started),
            completed: time(&status.completed),
        };
        match step.parts.iter_mut().find(|known| known.id == part.id) {
            Some(known) => *known = part,
            None => step.parts.push(part),
        }
    }

    /// The step whose failure is the build's.
    pub(super) fn failing(&self) -> Option<&Step> {
        let failed =
            |step: &&Step| !step.error.is_empty() && !step.error.contains("context canceled");
        self.steps.iter().find(failed)
    }

    /// The last lines of what the failing step said.
    pub(super) fn failing_output(&self) -> String {
        let Some(step) = self.failing() else {
            return String::new();
        };
        let mut text = format!("------\n > {}:\n", step.name);
        let skipped = step.lines.len().saturating_sub(SHOWN_LINES);
        for (at, line) in step.lines.iter().skip(skipped) {
            let _ = writeln!(text, "{at:.3} {line}");
        }
        text.push_str("------\n");
        text
    }

    /// What was warned of.
    pub(super) fn warnings(&self) -> String {
        if self.warned.is_empty() {
            return String::new();
        }
        let count = self.warned.len();
        let plural = if count == 1 { "" } else { "s" };
        let mut text = format!("\n {count} warning{plural} found:\n");
        for warning in &self.warned {
            let _ = match warning.line {
                0 => writeln!(text, " - {}", warning.short),
                line => writeln!(text, " - {} (line {line})", warning.short),
            };
        }
        text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A step that began at second 10, with what is said of it.
    pub(in super::super) fn vertex(name: &str, change: impl FnOnce(&mut Vertex)) -> Message {
        let mut vertex = Vertex {
            digest: name.to_owned(),
            name: name.to_owned(),
            started: "1970-01-01T00:00:10Z".to_owned(),
            ..Vertex::default()
        };
        change(&mut vertex);
        Message::Vertex(vertex)
    }

    pub(in super::super) fn said(name: &str, second: u32, text: &str) -> Message {
        Message::Log(Log {
            vertex: name.to_owned(),
            stream: 1,
            at: format!("1970-01-01T00:00:{second}Z"),
            data: text.as_bytes().to_vec(),
        })
    }

    #[test]
    fn lines_are_whole_and_do_not_move_the_cursor() {
        let mut state = State::default();
        state.take(&vertex("a", |_| {}));
        state.take(&said("a", 12, "one\r\ntwo 10%\rtwo 20%\nthr"));
        assert_eq!(
            state.fresh,
            [(2.0, "one".to_owned()), (2.0, "two 20%".to_owned())]
        );
        state.take(&vertex("a", |vertex| {
            vertex.completed = "1970-01-01T00:00:13Z".to_owned();
            vertex.error = "bad".to_owned();
        }));
        assert_eq!(state.fresh, [(3.0, "thr".to_owned())]);
        assert_eq!(
            state.failing_output(),
            "------\n > a:\n2.000 one\n2.000 two 20%\n3.000 thr\n------\n"
        );
    }

    #[test]
    fn warnings_are_counted() {
        let mut state = State::default();
        assert_eq!(state.warnings(), "");
        state.take(&Message::Warning(Warning {
            short: "Rule: text".to_owned(),
            line: 3,
            ..Warning::default()
        }));
        assert_eq!(
            state.warnings(),
            "\n 1 warning found:\n - Rule: text (line 3)\n"
        );
    }
}
