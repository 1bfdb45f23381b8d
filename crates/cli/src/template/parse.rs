//! From text to nodes.

use super::TemplateError;

/// One piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{pipe}}`, `{{$x := pipe}}`.
    Action(Pipe),
    /// `if`, `with` and `range` with their `else`.
    Block {
        kind: Block,
        pipe: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    If,
    With,
    Range,
}

/// Commands, each of which takes the result of the one before as its last argument.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Variables that take the result.
    pub(super) variables: Vec<String>,
    pub(super) declares: bool,
    /// Each is an operand with its arguments.
    pub(super) commands: Vec<Vec<Operand>>,
    pub(super) at: Position,
}

/// Where something stands, for errors: line, and column of its end as Go counts it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Debug)]
pub(super) enum Operand {
    Dot,
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    /// `.A.B`
    Field(Vec<String>, Position),
    /// `$x.A.B`; `$` has an empty name.
    Variable(String, Vec<String>, Position),
    /// `(pipe).A.B`
    Group(Box<Pipe>, Vec<String>, Position),
    Function(String),
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser {
        text,
        at: 0,
        variables: vec![String::new()],
    };
    let (nodes, end) = parser.nodes()?;
    match end {
        End::Eof => Ok(nodes),
        End::Closing => Err(parser.error("unexpected {{end}}")),
        End::Else(_) => Err(parser.error("unexpected {{else}}")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// Names in scope.
    variables: Vec<String>,
}

/// What ended a list of nodes; `else` with what follows it in its action.
enum End<'a> {
    Eof,
    Closing,
    Else(Tokens<'a>),
}

impl<'a> Parser<'a> {
    fn line(&self, at: usize) -> usize {
        self.text[..at.min(self.text.len())].matches('\n').count() + 1
    }

    fn error(&self, message: &str) -> TemplateError {
        TemplateError::Parse {
            line: self.line(self.at),
            message: message.to_owned(),
        }
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, End<'a>), TemplateError> {
        let mut nodes = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(open) = rest.find("{{") else {
                if !rest.is_empty() {
                    nodes.push(Node::Text(rest.to_owned()));
                }
                self.at = self.text.len();
                return Ok((nodes, End::Eof));
            };
            let mut text = &rest[..open];
            let mut start = self.at + open + 2;
            let trimmed = self.text[start..].strip_prefix('-');
            if trimmed.is_some_and(|after| after.starts_with(char::is_whitespace)) {
                text = text.trim_end();
                start += 1;
            }
            if !text.is_empty() {
                nodes.push(Node::Text(text.to_owned()));
            }
            if let Some(end) = self.action(start, &mut nodes)? {
                return Ok((nodes, end));
            }
        }
    }

    /// One action; `Some` when it ends the list.
    fn action(
        &mut self,
        start: usize,
        nodes: &mut Vec<Node>,
    ) -> Result<Option<End<'a>>, TemplateError> {
        if self.text[start..].trim_start().starts_with("/*") {
            let close = self.text[start..]
                .find("*/")
                .ok_or_else(|| self.error("unclosed comment"))?;
            self.close(start + close + 2)?;
            return Ok(None);
        }
        let mut tokens = self.tokens(start)?;
        self.close(tokens.end)?;
        match tokens.peek_word() {
            Some("end") => return Ok(Some(End::Closing)),
            Some("else") => {
                tokens.at += 1;
                return Ok(Some(End::Else(tokens)));
            }
            Some("break") => nodes.push(Node::Break),
            Some("continue") => nodes.push(Node::Continue),
            Some(word @ ("if" | "with" | "range")) => {
                tokens.at += 1;
                let block = self.block(word, &mut tokens)?;
                nodes.push(block);
            }
            _ => {
                let pipe = self.pipe(&mut tokens)?;
                self.no_more(&tokens)?;
                nodes.push(Node::Action(pipe));
            }
        }
        Ok(None)
    }

    /// Moves past the `}}` at or after `at`.
    fn close(&mut self, at: usize) -> Result<(), TemplateError> {
        let rest = self.text[at..].trim_start();
        let offset = self.text.len() - rest.len();
        if rest.starts_with("}}") {
            self.at = offset + 2;
            return Ok(());
        }
        if rest.starts_with("-}}") {
            self.at = offset + 3;
            let after = self.text[self.at..].trim_start();
            self.at = self.text.len() - after.len();
            return Ok(());
        }
        Err(self.error("unclosed action"))
    }

    fn block(&mut self, word: &str, tokens: &mut Tokens<'a>) -> Result<Node, TemplateError> {
        let kind = match word {
            "if" => Block::If,
            "with" => Block::With,
            _ => Block::Range,
        };
        let scope = self.variables.len();
        let pipe = self.pipe(tokens)?;
        self.no_more(tokens)?;
        let (body, end) = self.nodes()?;
        let otherwise = match end {
            End::Eof => return Err(self.error("unexpected EOF")),
            End::Closing => Vec::new(),
            End::Else(mut rest) => match rest.peek_word() {
                Some(word @ ("if" | "with")) => {
                    rest.at += 1;
                    vec![self.block(word, &mut rest)?]
                }
                _ => match self.nodes()? {
                    (nodes, End::Closing) => nodes,
                    (_, End::Eof) => return Err(self.error("unexpected EOF")),
                    (_, End::Else(_)) => return Err(self.error("expected end; found {{else}}")),
                },
            },
        };
        self.variables.truncate(scope);
        Ok(Node::Block {
            kind,
            pipe,
            body,
            otherwise,
        })
    }

    fn no_more(&self, tokens: &Tokens<'a>) -> Result<(), TemplateError> {
        match tokens.items.get(tokens.at) {
            None => Ok(()),
            Some(token) => Err(self.error(&format!("unexpected <{}> in command", token.text))),
        }
    }

    fn pipe(&mut self, tokens: &mut Tokens<'a>) -> Result<Pipe, TemplateError> {
        let (variables, declares) = self.targets(tokens);
        let mut commands = vec![Vec::new()];
        let mut at = tokens.position(self);
        while let Some(token) = tokens.items.get(tokens.at) {
            match token.text {
                ")" => break,
                "|" => {
                    tokens.at += 1;
                    commands.push(Vec::new());
                }
                _ => {
                    let operand = self.operand(tokens)?;
                    if let Operand::Field(_, position) | Operand::Variable(_, _, position) =
                        &operand
                    {
                        at = *position;
                    }
                    if let Some(command) = commands.last_mut() {
                        command.push(operand);
                    }
                }
            }
        }
        if commands.iter().any(Vec::is_empty) {
            return Err(self.error("missing value for command"));
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipe {
            variables,
            declares,
            commands,
            at,
        })
    }

    /// `$x :=`, `$x =`, `$i, $x :=` at the front.
    fn targets(&mut self, tokens: &mut Tokens<'a>) -> (Vec<String>, bool) {
        let texts: Vec<&str> = tokens.items[tokens.at..]
            .iter()
            .take(4)
            .map(|token| token.text)
            .collect();
        let (names, sign, used) = match texts.as_slice() {
            [name, sign @ (":=" | "="), ..] if name.starts_with('$') => (vec![*name], *sign, 2),
            [first, ",", second, sign @ ":="] if first.starts_with('$') => {
                (vec![*first, *second], *sign, 4)
            }
            _ => return (Vec::new(), false),
        };
        tokens.at += used;
        let names = names.into_iter().map(|name| name[1..].to_owned()).collect();
        (names, sign == ":=")
    }

    fn operand(&mut self, tokens: &mut Tokens<'a>) -> Result<Operand, TemplateError> {
        let position = tokens.position(self);
        let token = tokens.items[tokens.at];
        tokens.at += 1;
        let text = token.text;
        let operand = match text.as_bytes()[0] {
            b'"' => Operand::Text(unquote(text).ok_or_else(|| self.error("bad string"))?),
            b'`' => Operand::Text(text[1..text.len() - 1].to_owned()),
            b'(' => {
                let pipe = self.pipe(tokens)?;
                match tokens.items.get(tokens.at) {
                    Some(close) if close.text == ")" => tokens.at += 1,
                    _ => return Err(self.error("unclosed left paren")),
                }
                Operand::Group(Box::new(pipe), self.chain(tokens), position)
            }
            b'$' => {
                let (name, path) = text[1..].split_once('.').unwrap_or((&text[1..], ""));
                if !self.variables.iter().any(|known| known == name) {
                    return Err(self.error(&format!("undefined variable \"${name}\"")));
                }
                Operand::Variable(name.to_owned(), names(path), position)
            }
            b'.' if text == "." => Operand::Dot,
            b'.' => Operand::Field(names(&text[1..]), position),
            b'0'..=b'9' | b'-' | b'+' => self.number(text)?,
            _ => match text {
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                "nil" => Operand::Nil,
                _ if super::functions::is_known(text) => Operand::Function(text.to_owned()),
                _ if text.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                    return Err(self.error(&format!("function \"{text}\" not defined")));
                }
                _ => return Err(self.error(&format!("unexpected \"{text}\" in operand"))),
            },
        };
        Ok(operand)
    }

    fn number(&self, text: &str) -> Result<Operand, TemplateError> {
        if let Ok(number) = text.parse() {
            return Ok(Operand::Int(number));
        }
        text.parse()
            .map(Operand::Float)
            .map_err(|_| self.error(&format!("bad number syntax: \"{text}\"")))
    }

    /// `.A.B` right after a closing parenthesis.
    fn chain(&self, tokens: &mut Tokens<'a>) -> Vec<String> {
        let close = tokens.items[tokens.at - 1];
        match tokens.items.get(tokens.at) {
            Some(token) if token.text.starts_with('.') && token.start == close.start + 1 => {
                tokens.at += 1;
                names(&token.text[1..])
            }
            _ => Vec::new(),
        }
    }

    /// The tokens of the action that starts at `start`.
    fn tokens(&self, start: usize) -> Result<Tokens<'a>, TemplateError> {
        let mut items = Vec::new();
        let mut at = start;
        loop {
            let rest = &self.text[at..];
            let skipped = rest.len() - rest.trim_start().len();
            at += skipped;
            let rest = &self.text[at..];
            if rest.starts_with("}}") || rest.starts_with("-}}") {
                return Ok(Tokens {
                    items,
                    at: 0,
                    end: at,
                });
            }
            let len = token_len(rest).ok_or_else(|| TemplateError::Parse {
                line: self.line(at),
                message: if rest.is_empty() || !rest.starts_with(['"', '`']) {
                    "unclosed action".to_owned()
                } else {
                    "unterminated quoted string".to_owned()
                },
            })?;
            items.push(Token {
                text: &rest[..len],
                start: at,
            });
            at += len;
        }
    }
}

#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    start: usize,
}

struct Tokens<'a> {
    items: Vec<Token<'a>>,
    at: usize,
    /// Where the closing braces are looked for.
    end: usize,
}

impl<'a> Tokens<'a> {
    fn peek_word(&self) -> Option<&'a str> {
        self.items.get(self.at).map(|token| token.text)
    }

    fn position(&self, parser: &Parser<'_>) -> Position {
        let start = self.items.get(self.at).map_or(self.end, |token| {
            // Go points at the last name of a chain of fields.
            token.start + token.text.rfind('.').unwrap_or(0)
        });
        let line_start = parser.text[..start].rfind('\n').map_or(0, |at| at + 1);
        Position {
            line: parser.line(start),
            column: start - line_start,
        }
    }
}

fn token_len(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    match first {
        '"' => {
            let mut escaped = false;
            text.char_indices().skip(1).find_map(|(at, c)| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends.then_some(at + 1)
            })
        }
        '`' => text[1..].find('`').map(|at| at + 2),
        '(' | ')' | '|' | ',' | '=' => Some(1),
        ':' if text.starts_with(":=") => Some(2),
        _ => {
            let len = text
                .find(|c: char| c.is_whitespace() || "()|,=:\"`}".contains(c))
                .unwrap_or(text.len());
            Some(len.max(1)).filter(|len| *len < text.len())
        }
    }
}

fn names(path: &str) -> Vec<String> {
    path.split('.')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn unquote(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text[1..text.len() - 1].chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            'x' => {
                let hex: String = chars.by_ref().take(2).collect();
                char::from(u8::from_str_radix(&hex, 16).ok()?)
            }
            'u' => {
                let hex: String = chars.by_ref().take(4).collect();
                char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?
            }
            c @ ('"' | '\\' | '\'') => c,
            _ => return None,
        });
    }
    Some(out)
}
