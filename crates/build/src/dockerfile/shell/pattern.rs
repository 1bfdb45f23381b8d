//! Patterns in substitutions: `*` and `?`, no brackets (POSIX.1-2017, "Pattern Matching Notation", without 2.13.1's
//! bracket expressions).

use regex::Regex;

/// `value` without what `glob` matches at its beginning, or end; the longest match if `greedy`.
pub(super) fn trim(glob: &str, value: &str, greedy: bool, end: bool) -> Result<String, String> {
    if !end {
        let regex = regex(glob, greedy, true)?;
        let cut = regex.find(value).map_or(0, |found| found.end());
        return Ok(value[cut..].to_owned());
    }
    // A regular expression finds the shortest match only from the left: so from there, backwards.
    let reversed = |text: &str| text.chars().rev().collect::<String>();
    let regex = regex(&reversed_pattern(glob), greedy, true)?;
    let value = reversed(value);
    let cut = regex.find(&value).map_or(0, |found| found.end());
    Ok(reversed(&value[cut..]))
}

/// `value` with the first match, or all, replaced.
pub(super) fn replace(glob: &str, value: &str, with: &str, all: bool) -> Result<String, String> {
    let regex = regex(glob, true, false)?;
    if !all {
        return Ok(regex.replacen(value, 1, regex::NoExpand(with)).into_owned());
    }
    // Much may become of little: an empty pattern matches everywhere.
    let matches = regex.find_iter(value).count();
    if matches.saturating_mul(with.len()) > super::MAX_EXPANSION {
        return Err("the result of a substitution is too large".to_owned());
    }
    Ok(regex.replace_all(value, regex::NoExpand(with)).into_owned())
}

fn regex(glob: &str, greedy: bool, anchored: bool) -> Result<Regex, String> {
    let invalid = |why: String| format!("invalid pattern ({glob}) in substitution: {why}");
    let mut text = String::from(if anchored { "^" } else { "" });
    let mut chars = glob.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => text.push_str(if greedy { ".*" } else { ".*?" }),
            '?' => text.push('.'),
            '\\' => match chars.peek() {
                // These are escaped for the sake of `${}`, not of the pattern.
                Some('}' | '/') => {}
                Some('*' | '?' | '\\') => {
                    text.push('\\');
                    text.extend(chars.next());
                }
                other => {
                    let other = other.copied().unwrap_or('\u{fffd}');
                    return Err(invalid(format!("invalid escape '\\{other}'")));
                }
            },
            c => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    // A pattern from outside may be long; its automaton shall not be larger than what it is matched with.
    let built = regex::RegexBuilder::new(&text).size_limit(1 << 20).build();
    built.map_err(|why| invalid(why.to_string()))
}

/// Backwards, but with escapes still before what they escape.
fn reversed_pattern(glob: &str) -> String {
    let mut parts = Vec::new();
    let mut chars = glob.chars();
    while let Some(c) = chars.next() {
        parts.push(match (c, (c == '\\').then(|| chars.next()).flatten()) {
            (c, Some(next)) => format!("{c}{next}"),
            (c, None) => c.to_string(),
        });
    }
    parts.reverse();
    parts.concat()
}
