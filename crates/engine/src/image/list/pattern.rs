//! Patterns of the filter `reference`.

use crate::{Error, ErrorKind, Result};

/// The longest pattern in bytes; names have a few hundred at most.
const MAX_PATTERN: usize = 4096;

/// One place of a pattern.
enum Place<'a> {
    Star,
    Any,
    /// What follows `[`, with its end.
    Class(&'a [u8]),
    Byte(u8),
}

/// Go's `path.Match`: `*` and `?` not over slashes, `[a-z]` and `[^a-z]`, backslash before what is
/// meant literally.
///
/// # Errors
/// A pattern that is none; dockerd answers 500. `InvalidInput` for one longer than 4096 bytes.
pub(super) fn path_match(pattern: &[u8], text: &[u8]) -> Result<bool> {
    if pattern.len() > MAX_PATTERN {
        let message = format!("pattern is longer than {MAX_PATTERN} bytes");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let places = places(pattern)
        .ok_or_else(|| Error::new(ErrorKind::Internal, "syntax error in pattern"))?;
    let (mut place, mut at) = (0, 0);
    // The last star, and where what follows it was tried: no star before it needs to take more,
    // since the last one takes over from the earliest fit, and none goes over a slash.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (places.get(place), text.get(at)) {
            (None, None) => return Ok(true),
            (Some(Place::Star), _) => {
                place += 1;
                star = Some((place, at));
            }
            (Some(wanted), Some(byte)) if wanted.fits(*byte) => {
                place += 1;
                at += 1;
            }
            _ => match star {
                Some((after, from)) if text.get(from).is_some_and(|byte| *byte != b'/') => {
                    (place, at) = (after, from + 1);
                    star = Some((after, from + 1));
                }
                _ => return Ok(false),
            },
        }
    }
}

impl Place<'_> {
    fn fits(&self, byte: u8) -> bool {
        match self {
            Self::Star => false,
            Self::Any => byte != b'/',
            Self::Class(text) => class(text, byte).is_some_and(|(fits, _)| fits),
            Self::Byte(wanted) => *wanted == byte,
        }
    }
}

/// `None` when a class or what a backslash is before has no end.
fn places(mut pattern: &[u8]) -> Option<Vec<Place<'_>>> {
    let mut places = Vec::new();
    while let Some((first, rest)) = pattern.split_first() {
        let (place, rest) = match first {
            b'*' => (Place::Star, rest),
            b'?' => (Place::Any, rest),
            b'[' => {
                let (_, after) = class(rest, 0)?;
                (Place::Class(&rest[..rest.len() - after.len()]), after)
            }
            b'\\' => {
                let (byte, rest) = rest.split_first()?;
                (Place::Byte(*byte), rest)
            }
            byte => (Place::Byte(*byte), rest),
        };
        places.push(place);
        pattern = rest;
    }
    Some(places)
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
            ("*a*/*b", "xaya/ab"),
            ("a*", "a"),
            ("a[^b]c", "a/c"),
            ("[\\]]", "]"),
        ] {
            assert_eq!(fits(pattern, text), Ok(true), "{pattern}");
        }
        for (pattern, text) in [
            ("*app", "team/app"),
            ("b[a-c]", "bd"),
            ("a?", "a"),
            ("a?b", "a/b"),
            ("*a*b", "xa/ab"),
            ("*b*", "xa/ab"),
            ("", "a"),
        ] {
            assert_eq!(fits(pattern, text), Ok(false), "{pattern}");
        }
        for pattern in ["[a", "[]a]", "a\\", "[-x]", "b["] {
            assert_eq!(fits(pattern, "a"), Err(()), "{pattern}");
        }
    }

    #[test]
    fn many_stars_are_no_burden() {
        let text = "a".repeat(400);
        let stars = "a*".repeat(2000) + "b";
        assert!(!path_match(stars.as_bytes(), text.as_bytes()).unwrap());
        let stars = "*".repeat(4096);
        assert!(path_match(stars.as_bytes(), text.as_bytes()).unwrap());
        let error = path_match("*".repeat(60_000).as_bytes(), b"a").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
