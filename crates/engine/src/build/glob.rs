//! Patterns of names as Go's `path/filepath.Match` has them, which Dockerfiles are written for.

use hull_build::world::{WorldError, WorldResult};
use hull_linux::path::Root;
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

/// Whether a name fits a pattern: `*` and `?` are no slash, `[a-z]` and `[^a-z]` one character, a backslash
/// takes the meaning of the next. `None`: the pattern is none.
pub(super) fn fits(pattern: &str, name: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    well_formed(&pattern).then(|| fits_from(&pattern, &name))
}

fn well_formed(mut pattern: &[char]) -> bool {
    while let [first, rest @ ..] = pattern {
        pattern = match first {
            '\\' if rest.is_empty() => return false,
            '\\' => &rest[1..],
            '[' => match class(rest, None) {
                Some((_, rest)) => rest,
                None => return false,
            },
            _ => rest,
        };
    }
    true
}

fn fits_from(mut pattern: &[char], mut name: &[char]) -> bool {
    // Where the last star was, and where it has got to: what follows a star need be tried only from there.
    let mut star: Option<(&[char], &[char])> = None;
    loop {
        let step = match (pattern, name) {
            ([], []) => return true,
            (['*', rest @ ..], _) => {
                star = Some((rest, name));
                pattern = rest;
                continue;
            }
            (['?', rest @ ..], [c, left @ ..]) if *c != '/' => Some((rest, left)),
            (['[', rest @ ..], [c, left @ ..]) => class(rest, Some(*c))
                .filter(|(fits, _)| *fits)
                .map(|(_, rest)| (rest, left)),
            (['\\', p, rest @ ..], [c, left @ ..]) if p == c => Some((rest, left)),
            ([p, rest @ ..], [c, left @ ..]) if p == c && !matches!(p, '?' | '\\') => {
                Some((rest, left))
            }
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => (pattern, name) = next,
            (None, Some((after, [c, left @ ..]))) if *c != '/' => {
                star = Some((after, left));
                (pattern, name) = (after, left);
            }
            (None, _) => return false,
        }
    }
}

/// Reads a class behind its bracket; whether `c` is in it, and what follows.
fn class(pattern: &[char], c: Option<char>) -> Option<(bool, &[char])> {
    let (negated, mut pattern) = match pattern {
        ['^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut found, mut any) = (false, false);
    loop {
        if let [']', rest @ ..] = pattern
            && any
        {
            return Some((found != negated, rest));
        }
        let (low, rest) = one(pattern)?;
        pattern = rest;
        let mut high = low;
        if let ['-', rest @ ..] = pattern {
            (high, pattern) = one(rest)?;
        }
        any = true;
        found |= c.is_some_and(|c| (low..=high).contains(&c));
    }
}

fn one(pattern: &[char]) -> Option<(char, &[char])> {
    match pattern {
        ['\\', c, rest @ ..] if !rest.is_empty() => Some((*c, rest)),
        ['-' | ']' | '\\', ..] | [] => None,
        [c, rest @ ..] if !rest.is_empty() => Some((*c, rest)),
        _ => None,
    }
}

/// As BuildKit sees it: what a backslash takes the meaning of makes no pattern, nor does the backslash.
fn is_pattern(name: &str) -> bool {
    let mut letters = name.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' | '?' | '[' => return true,
            '\\' => drop(letters.next()),
            _ => {}
        }
    }
    false
}

/// The paths of a tree that a pattern fits, sorted; a path that is no pattern is given as it is, whether
/// it is there or not.
pub(super) fn resolve(root: &Root, pattern: &Path, follow: bool) -> WorldResult<Vec<PathBuf>> {
    let text = pattern.to_string_lossy();
    let mut base = PathBuf::from("/");
    let mut names = text.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next_if(|name| !is_pattern(name)) {
        base.push(name);
    }
    let rest: Vec<&str> = names.collect();
    if rest.is_empty() {
        return Ok(vec![base]);
    }
    let rest = rest.join("/");
    if fits(&rest, "").is_none() {
        return Err(WorldError::Invalid(format!(
            "syntax error in pattern: {rest}"
        )));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let opened = match follow {
        true => root.open_at(&base, flags),
        false => root.open_without_links(&base, flags),
    };
    let mut found = Vec::new();
    if let Ok(directory) = opened {
        let failed = |error| WorldError::caused(format!("look for {text}"), error);
        walk(&directory, &rest, Path::new(""), &mut found).map_err(failed)?;
    }
    Ok(found.into_iter().map(|below| base.join(below)).collect())
}

/// A pattern of three names fits paths of three names: deeper than that nothing is looked at.
fn walk(
    directory: &OwnedFd,
    pattern: &str,
    below: &Path,
    found: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    let depth = pattern.matches('/').count();
    for name in super::find::names(directory.as_fd())? {
        let path = below.join(&name);
        let here = path.components().count() - 1;
        if here == depth {
            if fits(pattern, &path.to_string_lossy()) == Some(true) {
                found.push(path);
            }
            continue;
        }
        let beginning: Vec<&str> = pattern.split('/').take(here + 1).collect();
        if fits(&beginning.join("/"), &path.to_string_lossy()) == Some(false) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(deeper) = rustix::fs::openat(directory, &name, flags, Mode::empty()) {
            walk(&deeper, pattern, &path, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_go() {
        for (pattern, name, result) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[e-g]", "abc", Some(false)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^e-g]", "abc", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("a?b", "a☺b", Some(true)),
            ("a?b", "a/b", Some(false)),
            ("[a-ζ]*", "α", Some(true)),
            ("[\\]a]", "]", Some(true)),
            ("[\\-x]", "-", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[a-b-c]", "a", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("a[", "a", None),
            ("*x", "xxx", Some(true)),
            ("\\", "a", None),
        ] {
            assert_eq!(fits(pattern, name), result, "{pattern} {name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_makes_it_panic_or_take_for_ever(pattern: String, name: String) {
            let _ = fits(&pattern, &name);
            let _ = fits(&"*a".repeat(50), &name);
        }
    }
}
