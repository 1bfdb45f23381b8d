//! The lines of the Dockerfile that a failure is about.

use hull_api::build::{Failed, Source};
use std::fmt::Write as _;

/// How many lines around it are shown, as BuildKit's clients do.
const AROUND: usize = 4;

/// Shows them.
pub(super) fn show(failed: &Failed) {
    if let Some(source) = &failed.source {
        crate::say(excerpt(source).trim_end_matches('\n'));
    }
}

fn excerpt(source: &Source) -> String {
    let lines: Vec<&str> = source.text.lines().collect();
    let known = |line: u32| (1..=lines.len()).contains(&(line as usize));
    let ranges = source.lines.iter();
    let ranges = ranges.filter(|(first, last)| first <= last && known(*first) && known(*last));
    let ranges: Vec<(usize, usize)> = ranges
        .map(|(first, last)| (*first as usize, *last as usize))
        .collect();
    let Some(first) = ranges.iter().map(|(first, _)| *first).min() else {
        return String::new();
    };
    let last = ranges.iter().map(|(_, last)| *last).max().unwrap_or(first);
    // What is left of the room goes above and below in equal parts.
    let room = AROUND.saturating_sub(last - first);
    let from = first.saturating_sub(room / 2 + room % 2).max(1);
    let to = (last + room / 2).min(lines.len());
    let mut text = format!("{}:{first}\n--------------------\n", source.file);
    for number in from..=to {
        let meant = ranges
            .iter()
            .any(|(first, last)| (first..=last).contains(&&number));
        let mark = if meant { ">>>" } else { "   " };
        // Writing to a String cannot fail.
        let _ = writeln!(text, " {number:3} | {mark} {}", lines[number - 1]);
    }
    text + "--------------------\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_marked() {
        let source = Source {
            file: "Dockerfile".to_owned(),
            text: "FROM a\nRUN b\n\nRUN c \\\n  d\nRUN e\n".to_owned(),
            lines: vec![(4, 5)],
        };
        assert_eq!(
            excerpt(&source),
            "Dockerfile:4\n--------------------\n   2 |     RUN b\n   3 |     \n   4 | >>> RUN c \\\n\
             \x20  5 | >>>   d\n   6 |     RUN e\n--------------------\n"
        );
        let nowhere = Source {
            lines: vec![(9, 9), (0, 0)],
            ..source
        };
        assert_eq!(excerpt(&nowhere), "");
    }
}
