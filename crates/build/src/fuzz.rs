//! What reads strangers' Dockerfiles, as functions of bytes: for the fuzzer, and for the test that runs them
//! briefly with every change. Each panics where a property does not hold.

use crate::dockerfile::shell::{Environment, Shell};
use crate::dockerfile::{Lines, Syntax, parse};
use crate::frontend;
use crate::ignore::{self, Above, Matcher};

/// A target: its name, which is that of the directory of its seeds, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 3] = [
    ("dockerfile", dockerfile),
    ("shell_word", shell_word),
    ("ignore_file", ignore_file),
];

/// A Dockerfile: a graph or a refusal; what is printed of it is read as the same.
pub fn dockerfile(bytes: &[u8]) {
    if let Ok(syntax) = parse(bytes) {
        let printed = syntax.to_string();
        let again = parse(printed.as_bytes());
        let again = again.unwrap_or_else(|why| panic!("{why}: {printed:?}"));
        assert_eq!(without_lines(again), without_lines(syntax), "{printed:?}");
    }
    frontend::try_text(bytes);
}

fn without_lines(mut syntax: Syntax) -> Syntax {
    for statement in &mut syntax.statements {
        statement.lines = Lines::default();
    }
    for directive in &mut syntax.directives {
        directive.lines = Lines::default();
    }
    syntax.empty_continuations.clear();
    syntax
}

/// A word with variables: what it becomes, or a refusal; its words are parts of the whole.
pub fn shell_word(bytes: &[u8]) {
    let word = String::from_utf8_lossy(bytes);
    let env: Environment = [("a", "one two"), ("b", "a/b.c"), ("c", "")]
        .into_iter()
        .collect();
    for escape in ['\\', '`'] {
        let shell = Shell::new(escape);
        if let Ok(found) = shell.expand(&word, &env) {
            let words: usize = found.words.iter().map(String::len).sum();
            assert!(words <= found.text.len(), "{word:?}");
        }
        let kept = Shell {
            raw_quotes: true,
            raw_escapes: true,
            keep_unset: true,
            ..shell
        };
        let _ = kept.expand(&word, &env);
    }
}

/// An ignore file: the first line is a path, the others are patterns. A walk that passes over directories sees
/// what one that does not sees.
pub fn ignore_file(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let path = String::from_utf8_lossy(&bytes[..end]);
    let patterns = ignore::read(&bytes[end..]);
    let Ok(matcher) = Matcher::new(&patterns) else {
        return;
    };
    let _ = matcher.matches(&path);
    let mut above = Above::default();
    let mut expected = None;
    for end in path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([path.len()])
    {
        let place = &path[..end];
        let (matched, own) = matcher.enter(place, &above);
        above = own;
        if end == path.len() {
            assert_eq!(
                expected.unwrap_or(matched),
                matched,
                "{path:?} {patterns:?}"
            );
        } else if !place.is_empty() && !path.contains("//") {
            let over = matched && matcher.covers(place);
            let none = !matched && !matcher.may_match_below(place);
            expected = expected.or(over.then_some(true)).or(none.then_some(false));
        }
    }
}
