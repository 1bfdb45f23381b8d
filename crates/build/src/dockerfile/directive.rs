//! Parser directives: `# name=value` in the first lines.

use super::place::{Error, Lines};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// `syntax`, `escape` or `check`.
    pub name: String,
    /// What it is set to.
    pub value: String,
    /// Where.
    pub lines: Lines,
}

const NAMES: [&str; 3] = ["syntax", "escape", "check"];

/// Reads lines until one is no directive.
#[derive(Debug, Default)]
pub(super) struct Reader {
    line: u32,
    done: bool,
    pub(super) found: Vec<Directive>,
}

impl Reader {
    /// The next line; whether it is a directive.
    pub(super) fn read(&mut self, line: &str, mark: &str) -> Result<bool, Error> {
        self.line += 1;
        if self.done {
            return Ok(false);
        }
        let Some((name, value)) = split(line, mark) else {
            self.done = true;
            return Ok(false);
        };
        let lines = Lines {
            first: self.line,
            last: self.line,
        };
        if self.found.iter().any(|directive| directive.name == name) {
            let message = format!("only one {name} parser directive can be used");
            return Err(Error::new(message).at(lines));
        }
        self.found.push(Directive {
            name,
            value: value.to_owned(),
            lines,
        });
        Ok(true)
    }
}

fn split<'a>(line: &'a str, mark: &str) -> Option<(String, &'a str)> {
    let is_space = |c: char| matches!(c, '\t' | '\n' | '\u{c}' | '\r' | ' ');
    let (name, value) = line.strip_prefix(mark)?.split_once('=')?;
    let (name, value) = (name.trim_matches(is_space), value.trim_matches(is_space));
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let name = name.to_ascii_lowercase();
    (plain && !value.is_empty() && NAMES.contains(&name.as_str())).then_some((name, value))
}

/// The frontend that a file asks for: the whole value of its `syntax`, and where it stands. Files of other
/// languages may have it behind `//`, or as a property of JSON; `#!` in the first line is passed over.
#[must_use]
pub fn syntax(text: &str) -> Option<(String, Lines)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for mark in ["#", "//"] {
        if let Some(found) = find(text, "syntax", mark) {
            return Some((found.value, found.lines));
        }
    }
    let document: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let value = document.get("syntax")?.as_str()?.to_owned();
    Some((value, Lines { first: 1, last: 1 }))
}

/// A directive by its name.
#[must_use]
pub fn directive(text: &str, name: &str) -> Option<Directive> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    find(text, name, "#")
}

fn find(text: &str, name: &str, mark: &str) -> Option<Directive> {
    let mut reader = Reader::default();
    for (place, line) in text.lines().enumerate() {
        if place == 0 && line.starts_with("#!") {
            reader.line += 1;
            continue;
        }
        if !matches!(reader.read(line, mark), Ok(true)) {
            break;
        }
    }
    reader.found.into_iter().find(|found| found.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_syntax_is_found_in_all_its_forms() {
        let value = |text| syntax(text).map(|(value, lines)| (value, lines.first));
        let expected = Some(("a/b:1 x".to_owned(), 1));
        assert_eq!(value("# syntax = a/b:1 x\nFROM a"), expected);
        assert_eq!(value("\u{feff}#SYNTAX=a/b:1 x"), expected);
        assert_eq!(value("//syntax=a/b:1 x"), expected);
        assert_eq!(value("{\"syntax\": \"a/b:1 x\"}"), expected);
        assert_eq!(value("#!/x\n# syntax=y"), Some(("y".to_owned(), 2)));
        assert_eq!(value("# escape=`\n# syntax=y"), Some(("y".to_owned(), 2)));
        assert_eq!(value("# note\n# syntax=y"), None);
        assert_eq!(value("\n# syntax=y"), None);
        assert_eq!(value("# other=x\n# syntax=y"), None);
        assert_eq!(value(""), None);
    }
}
