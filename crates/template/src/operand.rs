//! Operands: constants, fields, variables, functions, parentheses.

use crate::lex::{Kind, Token};
use crate::node::{Operand, Term};
use crate::parse::Parser;
use crate::{Error, functions};

impl Term {
    /// Whether it cannot be given an argument by a pipe.
    pub(crate) fn is_constant(&self) -> bool {
        matches!(
            self,
            Self::Dot
                | Self::Nil
                | Self::Bool(_)
                | Self::Int(..)
                | Self::Float(..)
                | Self::Text(..)
        )
    }
}

/// The operand that begins here, with the fields behind it; none where none begins.
pub(crate) fn read(parser: &mut Parser) -> Result<Option<Operand>, Error> {
    let Some(term) = term(parser)? else {
        return Ok(None);
    };
    if parser.peek().kind != Kind::Field {
        return Ok(Some(term));
    }
    let at = parser.peek().at;
    let mut names = Vec::new();
    while parser.peek().kind == Kind::Field {
        names.push(parser.take().text[1..].to_owned());
    }
    let kind = match term.kind {
        Term::Field(mut path) => {
            path.extend(names);
            Term::Field(path)
        }
        Term::Variable(mut path) => {
            path.extend(names);
            Term::Variable(path)
        }
        kind if kind.is_constant() => {
            let shown = Operand { kind, at }.to_string();
            let message = format!("unexpected . after term {}", crate::quote(&shown));
            return Err(parser.error(message));
        }
        kind => {
            let inner = Operand { kind, at: term.at };
            Term::Chain(Box::new(inner), names)
        }
    };
    Ok(Some(Operand { kind, at }))
}

fn term(parser: &mut Parser) -> Result<Option<Operand>, Error> {
    let token = parser.take_solid();
    let text = token.text.as_str();
    let kind = match token.kind {
        Kind::Identifier if text == "true" || text == "false" => Term::Bool(text == "true"),
        Kind::Identifier if functions::is_known(text) => Term::Function(text.to_owned()),
        Kind::Identifier => {
            let message = format!("function {} not defined", crate::quote(text));
            return Err(parser.error(message));
        }
        Kind::Dot => Term::Dot,
        Kind::Keyword if text == "nil" => Term::Nil,
        Kind::Variable if parser.variables.iter().any(|known| known == text) => {
            Term::Variable(vec![text.to_owned()])
        }
        Kind::Variable => {
            let message = format!("undefined variable {}", crate::quote(text));
            return Err(parser.error(message));
        }
        Kind::Field => Term::Field(vec![text[1..].to_owned()]),
        Kind::Number => number(parser, text)?,
        Kind::Letter => letter(parser, &token)?,
        Kind::LeftParen => {
            parser.deeper()?;
            let pipe = parser.pipeline("parenthesized pipeline", Kind::RightParen)?;
            parser.depth -= 1;
            Term::Group(Box::new(pipe))
        }
        Kind::String => match unquote(text) {
            Some(value) => Term::Text(value, text.to_owned()),
            None => return Err(parser.error("invalid syntax")),
        },
        _ => {
            parser.back();
            return Ok(None);
        }
    };
    let at = token.at;
    Ok(Some(Operand { kind, at }))
}

fn number(parser: &Parser, text: &str) -> Result<Term, Error> {
    let written = || text.to_owned();
    let wrong = || {
        let message = format!("illegal number syntax: {}", crate::quote(text));
        parser.error(message)
    };
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    for (prefix, radix) in radix {
        if let Some(digits) = lower.strip_prefix(prefix) {
            let value = i64::from_str_radix(digits, radix).map_err(|_| wrong())?;
            return Ok(Term::Int(sign * value, written()));
        }
    }
    if lower.contains(['.', 'e']) {
        let value: f64 = plain.parse().map_err(|_| wrong())?;
        return Ok(Term::Float(value, written()));
    }
    // A zero in front is octal.
    let value = match digits.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => i64::from_str_radix(octal, 8).map(|value| sign * value),
        _ => plain.parse(),
    };
    value.map(|value| Term::Int(value, written())).map_err(|_| {
        let message = format!("integer overflow: {}", crate::quote(text));
        parser.error(message)
    })
}

fn letter(parser: &Parser, token: &Token) -> Result<Term, Error> {
    let inner = &token.text[1..token.text.len() - 1];
    let value = unescape(inner, '\'').filter(|text| text.chars().count() == 1);
    let letter = value.and_then(|text| text.chars().next());
    match letter {
        Some(letter) => Ok(Term::Int(u32::from(letter).into(), token.text.clone())),
        None => Err(parser.error(format!("malformed character constant: {}", token.text))),
    }
}

/// The value of a string as it is written.
pub(crate) fn unquote(text: &str) -> Option<String> {
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    if text.starts_with('`') {
        // Go leaves carriage returns out of raw strings.
        return Some(inner.replace('\r', ""));
    }
    unescape(inner, '"')
}

fn unescape(text: &str, quote: char) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            let mut bytes = [0; 4];
            out.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
            continue;
        }
        let code = |chars: &mut std::str::Chars<'_>, count, radix| {
            let digits: String = chars.by_ref().take(count).collect();
            let whole = digits.len() == count && digits.bytes().all(|b| b.is_ascii_hexdigit());
            u32::from_str_radix(&digits, radix).ok().filter(|_| whole)
        };
        let letter = |c: char| u8::try_from(c).ok();
        match chars.next()? {
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            'r' => out.push(b'\r'),
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            'x' => out.push(u8::try_from(code(&mut chars, 2, 16)?).ok()?),
            sign @ ('u' | 'U') => {
                let count = if sign == 'u' { 4 } else { 8 };
                let c = char::from_u32(code(&mut chars, count, 16)?)?;
                let mut bytes = [0; 4];
                out.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
            }
            first @ '0'..='7' => {
                let rest = code(&mut chars, 2, 8)?;
                let value = first.to_digit(8)? * 64 + rest;
                out.push(u8::try_from(value).ok()?);
            }
            c if c == quote => out.push(letter(c)?),
            _ => return None,
        }
    }
    // Bytes that are no text are shown as such.
    Some(String::from_utf8_lossy(&out).into_owned())
}
