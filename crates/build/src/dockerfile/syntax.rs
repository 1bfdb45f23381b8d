//! A Dockerfile's statements: lines put together, comments taken out, heredocs attached, arguments split in the
//! way of each instruction. What they mean is not looked at yet.

use super::directive::{Directive, Reader};
use super::heredoc::{self, Heredoc};
use super::place::{Error, Lines};
use super::words;

/// A larger file is refused.
pub const MAX_SIZE: usize = 16 << 20;
/// A longer line is refused, as in BuildKit.
const MAX_LINE: usize = 64 << 10;
/// `ONBUILD ONBUILD …` is not allowed, but only found after it was read.
const MAX_NESTING: usize = 8;

/// A Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// Its parser directives.
    pub directives: Vec<Directive>,
    /// The character that joins lines and escapes others.
    pub escape: char,
    /// Its statements: at least one.
    pub statements: Vec<Statement>,
    /// Where an empty line stands in a statement that goes on: the last line of each such statement.
    pub empty_continuations: Vec<Lines>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The instruction's name as it is written; any word.
    pub name: String,
    /// The flags, without quotes: `--from=x`.
    pub flags: Vec<String>,
    /// What is behind.
    pub arguments: Arguments,
    /// The files that follow.
    pub heredocs: Vec<Heredoc>,
    /// The whole statement on one line.
    pub text: String,
    /// Where it is.
    pub lines: Lines,
    /// The comments above it, without `#`.
    pub comments: Vec<String>,
}

/// The arguments of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// Words, or a line as one; of unknown instructions nothing.
    Words(Vec<String>),
    /// A JSON array.
    Json(Vec<String>),
    /// `NAME=value …`, or one `NAME value`.
    Pairs(Vec<Pair>),
    /// `HEALTHCHECK`'s kind, and what is behind it.
    Health(String, Box<Arguments>),
    /// `ONBUILD`'s instruction.
    Trigger(Box<Statement>),
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether a space stands between them, as in old Dockerfiles.
    pub legacy: bool,
}

impl Pair {
    /// As history shows it.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}={}", self.name, self.value)
    }
}

impl Arguments {
    /// Whether it was a JSON array.
    #[must_use]
    pub fn is_json(&self) -> bool {
        match self {
            Self::Json(_) => true,
            Self::Health(_, inner) => inner.is_json(),
            _ => false,
        }
    }

    /// Its words, whichever way they were split.
    #[must_use]
    pub fn words(&self) -> &[String] {
        match self {
            Self::Words(words) | Self::Json(words) => words,
            Self::Health(_, inner) => inner.words(),
            Self::Pairs(_) | Self::Trigger(_) => &[],
        }
    }
}

impl Statement {
    /// Its name in lower case.
    #[must_use]
    pub fn keyword(&self) -> String {
        self.name.to_lowercase()
    }

    fn may_have_heredocs(&self) -> bool {
        let statement = match &self.arguments {
            Arguments::Trigger(inner) => inner,
            _ => self,
        };
        matches!(statement.keyword().as_str(), "add" | "copy" | "run")
            && !statement.arguments.is_json()
    }
}

/// Reads a Dockerfile. What is not UTF-8 in it is replaced.
///
/// # Errors
/// With BuildKit's message, and the line.
pub fn parse(text: &[u8]) -> Result<Syntax, Error> {
    if text.len() > MAX_SIZE {
        return Err(Error::new(format!(
            "Dockerfile is larger than {} MiB",
            MAX_SIZE >> 20
        )));
    }
    let text = String::from_utf8_lossy(text);
    let mut file = File {
        lines: text.strip_prefix('\u{feff}').unwrap_or(&text),
        number: 0,
        directives: Reader::default(),
        escape: '\\',
        comments: Vec::new(),
    };
    let mut statements = Vec::new();
    let mut empty_continuations = Vec::new();
    while let Some(statement) = file.statement(&mut empty_continuations)? {
        statements.push(statement);
    }
    if statements.is_empty() {
        let last = file.here(file.number);
        return Err(Error::new("file with no instructions").at(last));
    }
    Ok(Syntax {
        directives: file.directives.found,
        escape: file.escape,
        statements,
        empty_continuations,
    })
}

struct File<'a> {
    lines: &'a str,
    number: u32,
    directives: Reader,
    escape: char,
    comments: Vec<String>,
}

impl<'a> File<'a> {
    fn here(&self, first: u32) -> Lines {
        let last = self.number;
        Lines { first, last }
    }

    /// The next line with its end.
    fn line(&mut self) -> Result<Option<&'a str>, Error> {
        if self.lines.is_empty() {
            return Ok(None);
        }
        let end = self.lines.find('\n').map_or(self.lines.len(), |at| at + 1);
        let (line, rest) = self.lines.split_at(end);
        self.number += 1;
        if line.len() > MAX_LINE {
            let message = format!(
                "dockerfile line greater than max allowed size of {}",
                MAX_LINE - 1
            );
            return Err(Error::new(message).at(self.here(self.number)));
        }
        self.lines = rest;
        Ok(Some(line))
    }

    fn statement(&mut self, empty: &mut Vec<Lines>) -> Result<Option<Statement>, Error> {
        while let Some(line) = self.line()? {
            if self.note_comment(line)? {
                continue;
            }
            let first = self.number;
            let line = line.trim_end_matches(['\r', '\n']).trim_start();
            let (start, goes_on) = self.continued(line);
            if !goes_on && start.is_empty() {
                continue;
            }
            let mut text = start.to_owned();
            if goes_on && self.join(&mut text)? {
                empty.push(self.here(self.number));
            }
            let statement = self.finish(text.trim_start(), first);
            return statement.map(Some);
        }
        Ok(None)
    }

    /// Whether the line is a comment. It belongs to the statement below, or is a directive.
    fn note_comment(&mut self, line: &str) -> Result<bool, Error> {
        let trimmed = line.trim_end_matches(['\r', '\n']).trim_start();
        if self.directives.read(trimmed, "#")? {
            self.obey()?;
            return Ok(true);
        }
        if !trimmed.starts_with('#') {
            return Ok(false);
        }
        let indented = !line.starts_with('#');
        // With spaces before it, the sign stays, as in BuildKit.
        let comment = if indented { trimmed } else { &trimmed[1..] }.trim();
        if comment.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(comment.to_owned());
        }
        Ok(true)
    }

    fn obey(&mut self) -> Result<(), Error> {
        let Some(directive) = self.directives.found.last() else {
            return Ok(());
        };
        if directive.name == "escape" {
            self.escape = match directive.value.as_str() {
                "`" => '`',
                "\\" => '\\',
                other => {
                    let message = format!("invalid escape token '{other}' does not match ` or \\");
                    return Err(Error::new(message).at(directive.lines));
                }
            };
        }
        Ok(())
    }

    /// The line without the sign that it goes on, and whether it has one: the escape at the end that no other
    /// escape stands before.
    fn continued<'b>(&self, line: &'b str) -> (&'b str, bool) {
        match before_escape(line, self.escape) {
            Some(rest) => (rest, true),
            None => (line, false),
        }
    }

    /// Adds the lines that a statement goes on with; whether one of them is empty.
    fn join(&mut self, text: &mut String) -> Result<bool, Error> {
        let mut empty = false;
        while let Some(line) = self.line()? {
            let line = line.trim_end_matches(['\r', '\n']);
            let trimmed = line.trim_start();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                empty = true;
                continue;
            }
            let (part, goes_on) = self.continued(line);
            text.push_str(part);
            if !goes_on {
                break;
            }
        }
        Ok(empty)
    }

    fn finish(&mut self, text: &str, first: u32) -> Result<Statement, Error> {
        let comments = std::mem::take(&mut self.comments);
        let mut statement =
            statement(text, self.escape, 0).map_err(|error| error.at(self.here(first)))?;
        if statement.may_have_heredocs() && text.contains("<<") {
            let announced = heredoc::announced(text);
            let announced = announced.map_err(|error| error.at(self.here(first)))?;
            for mut document in announced {
                self.content(&mut document, first)?;
                statement.heredocs.push(document);
            }
        }
        statement.lines = self.here(first);
        statement.comments = comments;
        Ok(statement)
    }

    /// The lines up to the one that is the heredoc's name.
    fn content(&mut self, document: &mut Heredoc, first: u32) -> Result<(), Error> {
        while let Some(line) = self.line()? {
            let mut end = line.trim_end_matches(['\r', '\n']);
            if document.chomp {
                end = end.trim_start_matches('\t');
            }
            if end == document.name {
                return Ok(());
            }
            document.content.push_str(line);
        }
        Err(Error::new("unterminated heredoc").at(self.here(first)))
    }
}

/// What stands before the sign that a line goes on.
pub(super) fn before_escape(line: &str, escape: char) -> Option<&str> {
    let rest = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!rest.ends_with(escape)).then_some(rest)
}

/// A statement of one line. Its heredocs, comments and place are not known here.
fn statement(text: &str, escape: char, nesting: usize) -> Result<Statement, Error> {
    let (name, rest) = words::halves(text.trim());
    let (flags, rest) = words::flags(rest.unwrap_or_default(), escape);
    Ok(Statement {
        arguments: arguments(name, rest.trim(), escape, nesting)?,
        name: name.to_owned(),
        flags,
        heredocs: Vec::new(),
        text: text.to_owned(),
        lines: Lines::default(),
        comments: Vec::new(),
    })
}

fn arguments(name: &str, rest: &str, escape: char, nesting: usize) -> Result<Arguments, Error> {
    let line = || Vec::from_iter((!rest.is_empty()).then(|| rest.to_owned()));
    Ok(match name.to_lowercase().as_str() {
        "add" | "copy" | "volume" => match words::json(rest)? {
            Some(array) => Arguments::Json(array),
            None => Arguments::Words(words::plain(rest)),
        },
        "cmd" | "entrypoint" | "run" | "shell" => shell_or_json(rest)?,
        "expose" | "from" => Arguments::Words(words::plain(rest)),
        "arg" => Arguments::Words(words::quoted(rest, escape)),
        "env" => Arguments::Pairs(pairs(rest, "ENV", escape)?),
        "label" => Arguments::Pairs(pairs(rest, "LABEL", escape)?),
        "maintainer" | "stopsignal" | "user" | "workdir" => Arguments::Words(line()),
        "healthcheck" => match rest.find(char::is_whitespace) {
            _ if rest.is_empty() => Arguments::Words(Vec::new()),
            None => Arguments::Health(rest.to_owned(), Box::new(shell_or_json("")?)),
            Some(end) => {
                let inner = shell_or_json(rest[end..].trim_start())?;
                Arguments::Health(rest[..end].to_owned(), Box::new(inner))
            }
        },
        "onbuild" if rest.is_empty() => Arguments::Words(Vec::new()),
        "onbuild" if nesting >= MAX_NESTING => {
            return Err(Error::new(
                "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            ));
        }
        "onbuild" => Arguments::Trigger(Box::new(statement(rest, escape, nesting + 1)?)),
        _ => Arguments::Words(Vec::new()),
    })
}

fn shell_or_json(rest: &str) -> Result<Arguments, Error> {
    Ok(match words::json(rest)? {
        Some(array) => Arguments::Json(array),
        None if rest.is_empty() => Arguments::Words(Vec::new()),
        None => Arguments::Words(vec![rest.to_owned()]),
    })
}

/// `NAME=value …`; or, where the first word has no `=`, `NAME value` up to the end of the line.
fn pairs(rest: &str, instruction: &str, escape: char) -> Result<Vec<Pair>, Error> {
    let words = words::quoted(rest, escape);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        let (name, Some(value)) = words::halves(rest) else {
            return Err(Error::new(format!("{instruction} must have two arguments")));
        };
        return Ok(vec![Pair {
            name: name.to_owned(),
            value: value.to_owned(),
            legacy: true,
        }]);
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            Error::new(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            ))
        })?;
        Ok(Pair {
            name: name.to_owned(),
            value: value.to_owned(),
            legacy: false,
        })
    };
    words.iter().map(pair).collect()
}
