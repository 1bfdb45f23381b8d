//! Files that are written in the Dockerfile: `<<EOF`.

use super::place::Error;
use super::shell::{NoVariables, Shell};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// Its name, which is also the line that ends it.
    pub name: String,
    /// Whether variables are put in place in it: its name had no quotes.
    pub expand: bool,
    /// Whether tabs at the beginning of its lines go.
    pub chomp: bool,
    /// Its lines.
    pub content: String,
}

impl Heredoc {
    /// The lines, without the tabs if these are to go.
    #[must_use]
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        let lines = self.content.split_inclusive('\n');
        lines.map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// What a word says if it is one: `<<EOF`, `3<<-"EOF"`.
///
/// # Errors
/// The name is not written as a word of a shell.
pub fn heredoc(word: &str) -> Result<Option<Heredoc>, Error> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else {
        return Ok(None);
    };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let plain = Shell {
        keep_unset: true,
        ..Shell::new('\\')
    };
    let raw = Shell {
        raw_quotes: true,
        ..plain
    };
    let mut names = plain.split(rest, &NoVariables)?;
    let written = raw.split(rest, &NoVariables)?;
    let (Some(name), true) = (names.pop(), names.is_empty()) else {
        return Ok(None);
    };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    let written = written.first().map_or(0, |word| quotes(word));
    Ok(Some(Heredoc {
        expand: quotes(&name) == written,
        name,
        chomp,
        content: String::new(),
    }))
}

/// Those that a line announces. A line that is no shell's has none.
pub(super) fn announced(line: &str) -> Result<Vec<Heredoc>, Error> {
    let shell = Shell {
        raw_quotes: true,
        raw_escapes: true,
        keep_unset: true,
        ..Shell::new('\\')
    };
    let words = shell.split(line, &NoVariables).unwrap_or_default();
    let found = words.iter().map(|word| heredoc(word));
    found.filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_quoted_and_tabs_may_go() {
        let read = |word| heredoc(word).unwrap().map(|h| (h.name, h.expand, h.chomp));
        let eof = || "EOF".to_owned();
        assert_eq!(read("<<EOF"), Some((eof(), true, false)));
        assert_eq!(read("<<-EOF"), Some((eof(), true, true)));
        assert_eq!(read("3<<- EOF"), Some((eof(), true, true)));
        assert_eq!(read("<<\"EOF\""), Some((eof(), false, false)));
        assert_eq!(read("<<E'O'F"), Some((eof(), false, false)));
        assert_eq!(read("<<'a b'"), Some(("a b".into(), false, false)));
        assert_eq!(read("<<a b"), None);
        assert_eq!(read("<<"), None);
        assert_eq!(read("<<<a"), None);
        assert_eq!(read("x<<a"), None);
        assert!(heredoc("<<'a").is_err());
    }

    #[test]
    fn only_tabs_at_the_beginning_go() {
        let document = Heredoc {
            content: "\t\ta\tb\n\t\nc\n".into(),
            ..heredoc("<<-X").unwrap().unwrap()
        };
        assert_eq!(document.text(), "a\tb\n\nc\n");
    }
}
