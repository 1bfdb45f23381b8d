//! The ways in which instructions split what is behind their name.

use super::place::Error;

/// The spaces at which most instructions split: not all of Unicode's.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// What stands before the first run of spaces, and what behind it; `None` without any.
pub(crate) fn halves(text: &str) -> (&str, Option<&str>) {
    match text.find(is_blank) {
        None => (text, None),
        Some(end) => (&text[..end], Some(text[end..].trim_start_matches(is_blank))),
    }
}

/// Words between spaces; quotes mean nothing.
pub(crate) fn plain(text: &str) -> Vec<String> {
    let words = text.split(is_blank).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Words between spaces that are neither quoted nor escaped. Quotes and escapes stay, for variables are put in
/// place later.
pub(crate) fn quoted(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    // An empty word counts when it is quoted.
    let (mut open, mut quote) = (false, None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            None if c == escape => {
                // At the very end it is dropped.
                if let Some(next) = chars.next() {
                    word.extend([c, next]);
                }
            }
            None => {
                if matches!(c, '\'' | '"') {
                    (quote, open) = (Some(c), true);
                }
                word.push(c);
            }
            Some(mark) if c == escape && mark != '\'' => {
                if let Some(next) = chars.next() {
                    word.extend([c, next]);
                }
            }
            Some(mark) => {
                if c == mark {
                    quote = None;
                }
                word.push(c);
            }
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}

/// The words in front that begin with `--`, without their quotes and escapes, and the rest. `--` alone ends them.
pub(crate) fn flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (flag, quoted, behind) = flag(rest, escape);
        rest = behind.trim_start();
        if flag == "--" {
            break;
        }
        if quoted || !flag.is_empty() {
            flags.push(flag);
        }
    }
    (flags, rest)
}

/// One of them, whether it had quotes, and what is behind it.
fn flag(text: &str, escape: char) -> (String, bool, &str) {
    let mut flag = String::new();
    let (mut quote, mut quoted) = (None, false);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (flag, quoted, &text[at..]),
            None if matches!(c, '\'' | '"') => (quote, quoted) = (Some(c), true),
            Some(mark) if c == mark => quote = None,
            _ if c == escape => flag.extend(chars.next().map(|(_, c)| c)),
            _ => flag.push(c),
        }
    }
    (flag, quoted, "")
}

/// A JSON array of strings; `None` where the text is no JSON array: then it is a shell's.
///
/// # Errors
/// An array of anything else.
pub(crate) fn json(text: &str) -> Result<Option<Vec<String>>, Error> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(None);
    };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(Error::new(
            "when using JSON array syntax, arrays must be comprised of strings only",
        )),
    });
    strings.collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quotes() {
        for (text, expected) in [
            ("a=b c=d", vec!["a=b", "c=d"]),
            ("a='b c' d", vec!["a='b c'", "d"]),
            ("a=b\\ c d", vec!["a=b\\ c", "d"]),
            ("a=\"b \\\" c\" d", vec!["a=\"b \\\" c\"", "d"]),
            ("a='b\\' c", vec!["a='b\\'", "c"]),
            ("'' x", vec!["''", "x"]),
            ("a\\", vec!["a"]),
            ("a='b", vec!["a='b"]),
        ] {
            assert_eq!(quoted(text, '\\'), expected, "{text:?}");
        }
    }

    #[test]
    fn flags_lose_their_quotes_and_end_at_two_dashes() {
        let take = |text| {
            let (flags, rest) = flags(text, '\\');
            (flags.join("|"), rest)
        };
        assert_eq!(take("--a=b --c d --e"), ("--a=b|--c".into(), "d --e"));
        assert_eq!(take("--a='b c'\\ d x"), ("--a=b c d".into(), "x"));
        assert_eq!(take("--a -- --b"), ("--a".into(), "--b"));
        assert_eq!(take("-- x"), (String::new(), "x"));
        assert_eq!(take("--"), (String::new(), ""));
        assert_eq!(take("-a x"), (String::new(), "-a x"));
        assert_eq!(take("--a\\"), ("--a".into(), ""));
    }

    #[test]
    fn only_arrays_of_strings_are_json() {
        assert_eq!(json("[\"a\", \"b\"]").unwrap().unwrap(), ["a", "b"]);
        assert_eq!(json("[]").unwrap().unwrap(), [""; 0]);
        assert_eq!(json("[a]").unwrap(), None);
        assert_eq!(json("[ 'a' ]").unwrap(), None);
        assert_eq!(json("echo []").unwrap(), None);
        assert!(json("[1]").is_err());
    }
}
