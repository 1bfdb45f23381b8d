//! Where in a Dockerfile something is, and what is wrong there.

use std::fmt::Write as _;

/// Lines of a file, from 1, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lines {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

/// What is wrong with a Dockerfile, in BuildKit's words, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What is wrong.
    pub message: String,
    /// The places that have to do with it, the nearest first.
    pub places: Vec<Lines>,
}

impl Error {
    /// Without a place.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            places: Vec::new(),
        }
    }

    /// The same with one more place.
    #[must_use]
    pub fn at(mut self, lines: Lines) -> Self {
        self.places.push(lines);
        self
    }

    /// The same at this place only.
    #[must_use]
    pub fn only_at(mut self, lines: Lines) -> Self {
        self.places = vec![lines];
        self
    }

    /// The same with what was being done before it.
    #[must_use]
    pub fn within(mut self, doing: impl std::fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

/// The lines of `source` with some around them, those that are meant marked by arrows, as BuildKit's clients
/// show them under an error; nothing when there are no such lines.
#[must_use]
pub fn excerpt(name: &str, source: &str, lines: Lines) -> Option<String> {
    let all: Vec<&str> = source.split('\n').collect();
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let (mut first, mut last) = (lines.first, lines.last.max(lines.first).min(count));
    if first < 1 || first > count {
        return None;
    }
    // Lines around a single one are worth more than around many.
    let wanted = if first == last { 4 } else { 2 };
    let mut around = 0;
    while around < wanted {
        if first > 1 {
            first -= 1;
            around += 1;
        }
        if last < count {
            last += 1;
            around += 1;
        }
        around += 1;
    }
    let rule = "--------------------";
    let mut text = format!("{name}:{}\n{rule}\n", lines.first);
    for (number, line) in (1..).zip(all).take(last as usize).skip(first as usize - 1) {
        let meant = (lines.first..=lines.last.max(lines.first)).contains(&number);
        let arrow = if meant { ">>>" } else { "   " };
        let _ = writeln!(text, " {number:3} | {arrow} {line}");
    }
    text.push_str(rule);
    text.push('\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_looks_as_the_clients_of_buildkit_print_it() {
        let source = "FROM a\n\nRUNN x\nRUN y\nRUN z\n";
        let lines = Lines { first: 3, last: 3 };
        let shown = excerpt("Dockerfile", source, lines).unwrap();
        let expected = "Dockerfile:3\n--------------------\n   1 |     FROM a\n   2 |     \n   3 | >>> RUNN x\n   4 |     RUN y\n   5 |     RUN z\n--------------------\n";
        assert_eq!(shown, expected);
        let range = Lines { first: 1, last: 2 };
        let shown = excerpt("x", source, range).unwrap();
        assert!(shown.contains("   2 | >>> \n   3 |     RUNN"), "{shown}");
        assert!(excerpt("x", source, Lines { first: 9, last: 9 }).is_none());
        assert!(excerpt("x", source, Lines::default()).is_none());
    }
}
