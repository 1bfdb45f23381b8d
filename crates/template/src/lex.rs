//! From text to tokens.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Outside of actions.
    Text,
    /// `{{`
    Open,
    /// `}}`
    Close,
    Space,
    /// A name that is no keyword, `true` and `false` included.
    Identifier,
    /// `.name`
    Field,
    /// `$name`
    Variable,
    Dot,
    Number,
    /// `'c'`
    Letter,
    /// In quotes or in back quotes.
    String,
    Pipe,
    LeftParen,
    RightParen,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// Another printable character.
    Char,
    Keyword,
    /// What is wrong; nothing comes after it.
    Error,
    End,
}

/// A piece of a template.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// As it stands there; of an error its message.
    pub(crate) text: String,
    /// Offset of its beginning.
    pub(crate) at: usize,
    pub(crate) line: usize,
}

impl Token {
    /// As parse errors show it.
    pub(crate) fn shown(&self) -> String {
        match self.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Error => self.text.clone(),
            Kind::Keyword => format!("<{}>", self.text),
            _ if self.text.chars().count() > 10 => {
                let start: String = self.text.chars().take(10).collect();
                format!("{}...", crate::quote(&start))
            }
            _ => crate::quote(&self.text),
        }
    }

    pub(crate) fn is_keyword(&self, word: &str) -> bool {
        self.kind == Kind::Keyword && self.text == word
    }
}

const KEYWORDS: &[&str] = &[
    "block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with",
];

/// Reads a whole template.
pub(crate) fn lex(text: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        text,
        at: 0,
        line: 1,
        depth: 0,
        tokens: Vec::new(),
    };
    if let Err(message) = lexer.run() {
        let (at, line) = (lexer.at, lexer.line);
        lexer.tokens.push(Token {
            kind: Kind::Error,
            text: message,
            at,
            line,
        });
    }
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// Of parentheses.
    depth: usize,
    tokens: Vec<Token>,
}

/// Go's `%#U`.
fn code_point(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn emit(&mut self, kind: Kind, len: usize) {
        let text = &self.rest()[..len];
        self.tokens.push(Token {
            kind,
            text: text.to_owned(),
            at: self.at,
            line: self.line,
        });
        self.skip(len);
    }

    fn skip(&mut self, len: usize) {
        self.line += self.rest()[..len].matches('\n').count();
        self.at += len;
    }

    fn run(&mut self) -> Result<(), String> {
        loop {
            let rest = self.rest();
            let Some(open) = rest.find("{{") else {
                if !rest.is_empty() {
                    self.emit(Kind::Text, rest.len());
                }
                self.emit(Kind::End, 0);
                return Ok(());
            };
            // `{{- ` takes the space before it away.
            let after = &rest[open + 2..];
            let trims = after
                .strip_prefix('-')
                .is_some_and(|rest| rest.starts_with(is_space));
            let text = if trims {
                rest[..open].trim_end_matches(is_space).len()
            } else {
                open
            };
            if text > 0 {
                self.emit(Kind::Text, text);
            }
            self.skip(open - text);
            let marker = if trims { 4 } else { 2 };
            let inside = &self.rest()[marker..];
            if inside.starts_with("/*") {
                self.skip(marker);
                self.comment()?;
                continue;
            }
            self.emit(Kind::Open, 2);
            self.skip(marker - 2);
            self.depth = 0;
            while !self.inside()? {}
        }
    }

    fn comment(&mut self) -> Result<(), String> {
        let end = self.rest().find("*/").ok_or("unclosed comment")?;
        self.skip(end + 2);
        match self.closing() {
            Some((len, trims)) => self.close(len, trims),
            None => return Err("comment ends before closing delimiter".to_owned()),
        }
        Ok(())
    }

    /// The length of a right delimiter that stands here, and whether it takes space away.
    fn closing(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some((2, false));
        }
        let trimmed = rest.strip_prefix(is_space)?;
        // ` -}}`: the space belongs to it.
        let len = rest.len() - trimmed.len();
        trimmed.starts_with("-}}").then_some((len + 3, true))
    }

    fn close(&mut self, len: usize, trims: bool) {
        self.skip(len);
        if trims {
            let rest = self.rest();
            let space = rest.len() - rest.trim_start_matches(is_space).len();
            self.skip(space);
        }
    }

    /// One token of an action; true after its end.
    fn inside(&mut self) -> Result<bool, String> {
        if let Some((len, trims)) = self.closing() {
            if self.depth > 0 {
                return Err("unclosed left paren".to_owned());
            }
            let (at, line) = (self.at, self.line);
            self.tokens.push(Token {
                kind: Kind::Close,
                text: "}}".to_owned(),
                at,
                line,
            });
            self.close(len, trims);
            return Ok(true);
        }
        let Some(c) = self.peek() else {
            return Err("unclosed action".to_owned());
        };
        let second = self.rest().chars().nth(1);
        match c {
            _ if is_space(c) => self.space(),
            '=' => self.emit(Kind::Assign, 1),
            ':' if second == Some('=') => self.emit(Kind::Declare, 2),
            ':' => return Err("expected :=".to_owned()),
            '|' => self.emit(Kind::Pipe, 1),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string")?,
            '\'' => self.quoted('\'', Kind::Letter, "unterminated character constant")?,
            '`' => {
                let end = self.rest()[1..].find('`');
                let end = end.ok_or("unterminated raw quoted string")?;
                self.emit(Kind::String, end + 2);
            }
            '$' => self.name(Kind::Variable)?,
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => self.name(Kind::Field)?,
            '.' | '+' | '-' | '0'..='9' => self.number()?,
            '(' => {
                self.emit(Kind::LeftParen, 1);
                self.depth += 1;
            }
            ')' if self.depth == 0 => return Err("unexpected right paren".to_owned()),
            ')' => {
                self.emit(Kind::RightParen, 1);
                self.depth -= 1;
            }
            _ if is_alphanumeric(c) => self.word()?,
            _ if c.is_ascii_graphic() => self.emit(Kind::Char, 1),
            _ => {
                return Err(format!(
                    "unrecognized character in action: {}",
                    code_point(c)
                ));
            }
        }
        Ok(false)
    }

    /// Space up to what follows; the last of it may belong to a trimming delimiter.
    fn space(&mut self) {
        let rest = self.rest();
        let mut len = rest.len() - rest.trim_start_matches(is_space).len();
        if rest[len..].starts_with("-}}") {
            len -= 1;
        }
        if len > 0 {
            self.emit(Kind::Space, len);
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Result<(), String> {
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => {
                    self.emit(kind, at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(unterminated.to_owned())
    }

    /// How many bytes from `start` on are letters, digits and underscores.
    fn run_of(&self, start: usize) -> usize {
        let rest = &self.rest()[start..];
        rest.find(|c: char| !is_alphanumeric(c))
            .unwrap_or(rest.len())
    }

    /// `.name`, `$name`, or the sign alone.
    fn name(&mut self, kind: Kind) -> Result<(), String> {
        let len = 1 + self.run_of(1);
        if len == 1 && kind == Kind::Field && !self.ends_name(1) {
            return Err(self.bad_character(1));
        }
        if !self.ends_name(len) {
            return Err(self.bad_character(len));
        }
        let kind = if len == 1 && kind == Kind::Field {
            Kind::Dot
        } else {
            kind
        };
        self.emit(kind, len);
        Ok(())
    }

    /// Whether what stands `after` bytes further may follow a name.
    fn ends_name(&self, after: usize) -> bool {
        let rest = &self.rest()[after..];
        rest.starts_with("}}")
            || rest
                .chars()
                .next()
                .is_none_or(|c| is_space(c) || ".,|:)(".contains(c))
    }

    fn bad_character(&self, at: usize) -> String {
        let c = self.rest()[at..].chars().next().unwrap_or_default();
        format!("bad character {}", code_point(c))
    }

    fn word(&mut self) -> Result<(), String> {
        let len = self.run_of(0);
        if !self.ends_name(len) {
            return Err(self.bad_character(len));
        }
        let kind = if KEYWORDS.contains(&&self.rest()[..len]) {
            Kind::Keyword
        } else {
            Kind::Identifier
        };
        self.emit(kind, len);
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut len = usize::from(matches!(bytes[0], b'+' | b'-'));
        let while_in = |from: usize, digits: &str| {
            let run = rest[from..].find(|c: char| !digits.contains(c));
            run.map_or(rest.len(), |run| from + run)
        };
        let (digits, exponent) = match rest[len..].get(..2).map(str::to_lowercase).as_deref() {
            Some("0x") => ("0123456789abcdefABCDEF_", "pP"),
            Some("0o") => ("01234567_", ""),
            Some("0b") => ("01_", ""),
            _ => ("0123456789_", "eE"),
        };
        if digits != "0123456789_" {
            len += 2;
        }
        len = while_in(len, digits);
        if rest[len..].starts_with('.') {
            len = while_in(len + 1, digits);
        }
        if !exponent.is_empty() && rest[len..].starts_with(|c: char| exponent.contains(c)) {
            len += 1;
            len += usize::from(rest[len..].starts_with(['+', '-']));
            len = while_in(len, "0123456789_");
        }
        let more = self.run_of(len);
        if more > 0 || len <= usize::from(matches!(bytes[0], b'+' | b'-')) {
            let one = rest[len..].chars().next().map_or(0, char::len_utf8);
            let text = &rest[..len + one];
            return Err(format!("bad number syntax: {}", crate::quote(text)));
        }
        self.emit(Kind::Number, len);
        Ok(())
    }
}
