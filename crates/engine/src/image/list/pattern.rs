//! Patterns of the filter `reference`.

use crate::{Error, ErrorKind, Result};

/// Go's `path.Match`: `*` and `?` not over slashes, `[a-z]` and `[^a-z]`, backslash before what is
/// meant literally.
///
/// # Errors
/// A pattern that is none; dockerd answers 500.
pub(super) fn path_match(pattern: &[u8], text: &[u8]) -> Result<bool> {
    let bad = || Error::new(ErrorKind::Internal, "syntax error in pattern");
    match pattern.split_first() {
        None => Ok(text.is_empty()),
        Some((b'*', rest)) => {
            let longest = text.iter().take_while(|byte| **byte != b'/').count();
            for taken in 0..=longest {
                if path_match(rest, &text[taken..])? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Some((b'[', rest)) => {
            let (fits, rest) =
                class(rest, text.first().copied().unwrap_or_default()).ok_or_else(bad)?;
            match text.split_first() {
                Some((byte, tail)) if fits && *byte != b'/' => path_match(rest, tail),
                _ => Ok(false),
            }
        }
        Some((b'?', rest)) => match text.split_first() {
            Some((byte, tail)) if *byte != b'/' => path_match(rest, tail),
            _ => Ok(false),
        },
        Some((first, rest)) => {
            let (wanted, rest) = if *first == b'\\' {
                rest.split_first().ok_or_else(bad)?
            } else {
                (first, rest)
            };
            match text.split_first() {
                Some((byte, tail)) if byte == wanted => path_match(rest, tail),
                _ => Ok(false),
            }
        }
    }
}

/// Whether a byte is in the class whose text begins after `[`, and what follows it; `None` when it
/// has no end.
fn class(mut rest: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    fn one(rest: &[u8]) -> Option<(u8, &[u8])> {
        let (first, rest) = rest.split_first()?;
        match first {
            b'\\' => rest.split_first().map(|(byte, rest)| (*byte, rest)),
            b'-' | b']' => None,
            byte => Some((*byte, rest)),
        }
    }
    let negated = rest.first() == Some(&b'^');
    rest = rest.get(usize::from(negated)..)?;
    let mut found = false;
    let mut ranges = 0;
    loop {
        if rest.first() == Some(&b']') && ranges > 0 {
            return Some((found != negated, &rest[1..]));
        }
        let (low, after) = one(rest)?;
        let (high, after) = match after.first() {
            Some(b'-') => one(&after[1..])?,
            _ => (low, after),
        };
        rest = after;
        found |= (low..=high).contains(&byte);
        ranges += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_gos() {
        let fits = |pattern: &str, text: &str| {
            path_match(pattern.as_bytes(), text.as_bytes()).map_err(|_| ())
        };
        for (pattern, text) in [
            ("busybox:latest", "busybox:latest"),
            ("busy*:l?test", "busybox:latest"),
            ("127.0.0.1:5000/*/app", "127.0.0.1:5000/team/app"),
            ("b[a-c]", "bb"),
            ("b[^a-c]", "bd"),
            ("\\*", "*"),
            ("[\\]]", "]"),
        ] {
            assert_eq!(fits(pattern, text), Ok(true), "{pattern}");
        }
        for (pattern, text) in [
            ("*app", "team/app"),
            ("b[a-c]", "bd"),
            ("a?", "a"),
            ("", "a"),
        ] {
            assert_eq!(fits(pattern, text), Ok(false), "{pattern}");
        }
        for pattern in ["[a", "[]a]", "a\\", "[-x]"] {
            assert_eq!(fits(pattern, "a"), Err(()), "{pattern}");
        }
    }
}
