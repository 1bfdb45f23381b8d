//! Steps in lines, as BuildKit's clients write them without a terminal.

use super::state::{Part, State, Step, seconds};
use crate::format::human_size;
use hull_api::build::Message;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// The steps' numbers, by their places; given when one is first written of.
    numbers: HashMap<usize, usize>,
    /// Of which step the last line was.
    last: Option<usize>,
    /// Steps whose end was written.
    ended: HashSet<usize>,
    /// Parts whose end was written.
    parts: HashSet<(usize, String)>,
}

impl Plain {
    /// The lines that a message adds.
    pub(super) fn lines(&mut self, state: &State, message: &Message) -> String {
        let digest = match message {
            Message::Vertex(vertex) => &vertex.digest,
            Message::Status(status) => &status.vertex,
            Message::Log(log) => &log.vertex,
            _ => return String::new(),
        };
        let Some(place) = state.place(digest) else {
            return String::new();
        };
        let step = &state.steps[place];
        if step.started.is_none() && step.completed.is_none() || self.ended.contains(&place) {
            return String::new();
        }
        let mut out = String::new();
        match message {
            Message::Vertex(_) => {
                let number = self.head(place, step, &mut out);
                log_lines(number, state, &mut out);
                if step.completed.is_some() {
                    self.end_of(place, step, &mut out);
                }
            }
            Message::Status(status) => {
                let part = step.parts.iter().find(|part| part.id == status.id);
                if let Some(part) = part.filter(|part| part.completed.is_some())
                    && self.parts.insert((place, part.id.clone()))
                {
                    let number = self.head(place, step, &mut out);
                    let _ = writeln!(out, "#{number} {}", ended_part(part));
                }
            }
            _ if state.fresh.is_empty() => {}
            _ => {
                let number = self.head(place, step, &mut out);
                log_lines(number, state, &mut out);
            }
        }
        out
    }

    /// Names the step, unless the last line was of it too.
    fn head(&mut self, place: usize, step: &Step, out: &mut String) -> usize {
        let count = self.numbers.len();
        let number = *self.numbers.entry(place).or_insert(count + 1);
        if self.last == Some(place) {
            return number;
        }
        if let Some(last) = self.last
            && !self.ended.contains(&last)
        {
            let _ = writeln!(out, "#{} ...", self.numbers[&last]);
        }
        if self.last.is_some() {
            out.push('\n');
        }
        self.last = Some(place);
        let _ = writeln!(out, "#{number} {}", step.name);
        number
    }

    fn end_of(&mut self, place: usize, step: &Step, out: &mut String) {
        let Some(number) = self.numbers.get(&place) else {
            return;
        };
        self.ended.insert(place);
        let now = step.completed.unwrap_or_default();
        let _ = match (step.error.as_str(), step.cached) {
            ("", true) => writeln!(out, "#{number} CACHED"),
            ("", false) => writeln!(out, "#{number} DONE {:.1}s", step.duration(now)),
            (error, _) if error.contains("context canceled") => writeln!(out, "#{number} CANCELED"),
            (error, _) => writeln!(out, "#{number} ERROR: {error}"),
        };
    }
}

fn log_lines(number: usize, state: &State, out: &mut String) {
    for (at, line) in &state.fresh {
        let _ = writeln!(out, "#{number} {at:.3} {line}");
    }
}

/// A part that is done, with how much it was and how long it took.
fn ended_part(part: &Part) -> String {
    let mut text = part.name.clone();
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let human = |bytes: u64| human_size(bytes as f64, 3);
    match (part.current, part.total) {
        (0, 0) => {}
        (current, 0) => {
            let _ = write!(text, " {}", human(current));
        }
        (current, total) => {
            let _ = write!(text, " {} / {}", human(current), human(total));
        }
    }
    if let (Some(from), Some(to)) = (part.started, part.completed) {
        let took = seconds(from, to);
        if took >= 0.05 {
            let _ = write!(text, " {took:.1}s");
        }
    }
    text + " done"
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{said, vertex};
    use super::*;
    use hull_api::build::Status;

    #[test]
    fn steps_are_numbered_and_named_when_the_lines_change_to_them() {
        let (mut state, mut plain) = (State::default(), Plain::default());
        let mut out = String::new();
        let done = "1970-01-01T00:00:12Z";
        for message in [
            vertex("a", |vertex| vertex.started.clear()),
            vertex("a", |_| {}),
            said("a", 11, "one\ntw"),
            vertex("b", |_| {}),
            Message::Status(Status {
                vertex: "b".to_owned(),
                id: "part".to_owned(),
                current: 1500,
                completed: done.to_owned(),
                ..Status::default()
            }),
            said("a", 12, "o\n"),
            vertex("b", |vertex| {
                vertex.completed = done.to_owned();
                vertex.cached = true;
            }),
            vertex("a", |vertex| vertex.completed = done.to_owned()),
        ] {
            state.take(&message);
            out += &plain.lines(&state, &message);
        }
        let expected = "#1 a\n#1 1.000 one\n#1 ...\n\n#2 b\n#2 part 1.5kB done\n#2 ...\n\n#1 a\n\
            #1 2.000 two\n#1 ...\n\n#2 b\n#2 CACHED\n\n#1 a\n#1 DONE 2.0s\n";
        assert_eq!(out, expected);
    }
}
