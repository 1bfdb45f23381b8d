//! Whether a command printed what the book shows.

use crate::book::Command;
use regex::Regex;
use std::sync::LazyLock;

/// What a command did.
pub(crate) struct Done {
    pub(crate) output: String,
    pub(crate) code: i32,
}

/// What is different each time: a pattern, and what stands for it.
static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"\x1b\[[0-9;?]*[A-Za-z]|\r", ""),
        (r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b", "ID"),
        (
            r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?( UTC)?",
            "TIME",
        ),
        (r"\b\d\d:\d\d:\d\d\b", "TIME"),
        (
            r"(?i)\b(less than a second|about an? (minute|hour)|an? (second|minute|hour)|\d+ (second|minute|hour|day|week|month|year)s?)( ago)?\b",
            "SOME TIME",
        ),
        (r"\b\d+(\.\d+)?(ms|µs|s)\b", "SOME TIME"),
        (r"\b\d+(\.\d+)?%", "PERCENT"),
        (
            r"\b\d+(\.\d+)? ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|bytes)\b",
            "SIZE",
        ),
        (r"\s+", " "),
    ]
    .into_iter()
    .map(|(pattern, stands)| (Regex::new(pattern).expect("a pattern"), stands))
    .collect()
});

fn masked(line: &str) -> String {
    let mut line = line.to_owned();
    for (pattern, stands) in MASKS.iter() {
        line = pattern.replace_all(&line, *stands).into_owned();
    }
    line.trim().to_owned()
}

/// Compares.
///
/// # Errors
/// What is otherwise.
pub(crate) fn compare(command: &Command, done: &Done) -> Result<(), String> {
    if done.code != command.code {
        return Err(format!(
            "ended with {}, not {}:\n{}",
            done.code, command.code, done.output
        ));
    }
    let shown: Vec<String> = trim(command.output.iter().map(|line| masked(line)).collect());
    if shown.is_empty() {
        return Ok(());
    }
    let printed: Vec<String> = trim(done.output.lines().map(masked).collect());
    if fits(&shown, &printed) {
        return Ok(());
    }
    Err(format!(
        "the book shows:\n{}\nit printed:\n{}",
        command.output.join("\n"),
        done.output
    ))
}

/// Without empty lines at the end.
fn trim(mut lines: Vec<String>) -> Vec<String> {
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// Whether the lines that are shown stand for those that were printed.
fn fits(shown: &[String], printed: &[String]) -> bool {
    let Some((first, rest)) = shown.split_first() else {
        return printed.is_empty();
    };
    if first == "..." {
        return (0..=printed.len()).any(|many| fits(rest, &printed[many..]));
    }
    match printed.split_first() {
        Some((line, more)) => fits_line(first, line) && fits(rest, more),
        None => false,
    }
}

fn fits_line(shown: &str, printed: &str) -> bool {
    let pieces: Vec<String> = shown.split("...").map(regex::escape).collect();
    let pattern = Regex::new(&format!("^{}$", pieces.join(".*"))).expect("a pattern");
    pattern.is_match(printed)
}

/// What is taken for the same, and what not.
pub(crate) fn tests() {
    let same = |shown: &str, printed: &str, code| {
        let command = Command {
            output: shown.lines().map(str::to_owned).collect(),
            ..Command::default()
        };
        let output = printed.to_owned();
        compare(&command, &Done { output, code }).is_ok()
    };
    assert!(same("", "anything", 0));
    assert!(!same("", "anything", 1));
    assert!(same(
        "a  b 0123456789ab 2 seconds ago",
        "a b ba9876543210 About a minute ago\n",
        0
    ));
    assert!(same("a\n...\nz", "a\nb\nc\nz\n", 0));
    assert!(same("a ... z", "a b c z", 0));
    assert!(!same("a", "a\nb", 0));
    assert!(!same("a\n...", "b\na", 0));
    assert!(same("12.1MB", "1.2kB", 0));
    assert!(!same("a.c", "abc", 0));
}
