//! One pass over a word.

use super::super::place::Error;
use super::{MAX_EXPANSION, Shell, Variables, pattern};
use std::collections::BTreeSet;

/// `${a:-${b:-…}}` goes no deeper: each level is one of our own stack.
const MAX_DEPTH: u32 = 64;

/// A word with its variables in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The whole.
    pub text: String,
    /// The same, split at spaces outside of quotes.
    pub words: Vec<String>,
    /// Variables that were looked for and are set.
    pub matched: BTreeSet<String>,
    /// Variables that were looked for and are not set.
    pub unmatched: BTreeSet<String>,
}

pub(super) fn run(shell: &Shell, word: &str, env: &dyn Variables) -> Result<Expansion, Error> {
    let mut pass = Pass {
        shell,
        env,
        rest: word,
        raw_escapes: shell.raw_escapes,
        depth: 0,
        produced: 0,
        found: Expansion::default(),
    };
    let (text, words) = pass
        .until(None)
        .map_err(|why| Error::new(format!("failed to process {word:?}: {why}")))?;
    Ok(Expansion {
        text,
        words,
        ..pass.found
    })
}

struct Pass<'a> {
    shell: &'a Shell,
    env: &'a dyn Variables,
    rest: &'a str,
    raw_escapes: bool,
    depth: u32,
    /// Bytes of values put in place so far, also of those that were thrown away.
    produced: usize,
    found: Expansion,
}

/// Words as they come to be.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    open: String,
}

impl Words {
    /// A character that ends a word if it is a space.
    fn push(&mut self, c: char) {
        if !c.is_whitespace() {
            self.open.push(c);
        } else if !self.open.is_empty() {
            self.done.push(std::mem::take(&mut self.open));
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.open.is_empty() {
            self.done.push(self.open);
        }
        self.done
    }
}

impl Pass<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Up to `stop`, which is taken too, or up to the end.
    fn until(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), String> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.next();
                return Ok((text, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    text.push_str(&value);
                    value.chars().for_each(|c| words.push(c));
                }
                '<' => self.angle(&mut text, &mut words),
                '\'' | '"' if !self.shell.no_quotes => {
                    let quoted = if c == '"' {
                        self.double()
                    } else {
                        self.single()
                    }?;
                    text.push_str(&quoted);
                    words.open.push_str(&quoted);
                }
                _ => self.plain(&mut text, &mut words),
            }
            if text.len() > MAX_EXPANSION {
                return Err(too_large());
            }
        }
        match stop {
            Some(stop) => Err(format!(
                "unexpected end of statement while looking for matching {stop}"
            )),
            None => Ok((text, words.finish())),
        }
    }

    fn plain(&mut self, text: &mut String, words: &mut Words) {
        let Some(c) = self.next() else { return };
        if c != self.shell.escape {
            words.push(c);
            text.push(c);
            return;
        }
        if self.raw_escapes {
            words.open.push(c);
            text.push(c);
        }
        if let Some(c) = self.next() {
            words.open.push(c);
            text.push(c);
        }
    }

    /// `<<` and the spaces behind it belong to one word: a heredoc's.
    fn angle(&mut self, text: &mut String, words: &mut Words) {
        let before = self.rest;
        self.next();
        if self.peek() == Some('<') {
            self.next();
            while matches!(self.peek(), Some('\t' | '\r' | ' ')) {
                self.next();
            }
        }
        let taken = &before[..before.len() - self.rest.len()];
        text.push_str(taken);
        words.open.push_str(taken);
    }

    fn single(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let raw = self.shell.raw_quotes;
        text.extend(self.next().filter(|_| raw));
        loop {
            match self.next() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching single-quote"
                            .to_owned(),
                    );
                }
                Some('\'') => {
                    text.extend(raw.then_some('\''));
                    return Ok(text);
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn double(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let raw = self.shell.raw_quotes;
        text.extend(self.next().filter(|_| raw));
        loop {
            match self.peek() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote"
                            .to_owned(),
                    );
                }
                Some('"') => {
                    self.next();
                    text.extend(raw.then_some('"'));
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) => {
                    self.next();
                    self.in_double(c, &mut text);
                }
            }
            if text.len() > MAX_EXPANSION {
                return Err(too_large());
            }
        }
    }

    /// An escape in double quotes means something only before a quote, a dollar and itself.
    fn in_double(&mut self, c: char, text: &mut String) {
        if c != self.shell.escape {
            text.push(c);
            return;
        }
        if self.raw_escapes {
            text.push(c);
        }
        match self.peek() {
            None => {}
            Some(next) if matches!(next, '"' | '$') || next == c => {
                self.next();
                text.push(next);
            }
            Some(_) => text.push(c),
        }
    }

    fn look_up(&mut self, name: &str) -> Result<Option<String>, String> {
        let value = self.env.get(name);
        let found = &mut self.found;
        let names = match value {
            Some(_) => &mut found.matched,
            None => &mut found.unmatched,
        };
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        self.produced += value.map_or(0, str::len);
        if self.produced > MAX_EXPANSION {
            return Err(too_large());
        }
        Ok(value.map(str::to_owned))
    }

    fn dollar(&mut self) -> Result<String, String> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.look_up(&name)? {
                None if self.shell.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.next();
        match self.peek() {
            None => return Err(missing_brace()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!(
                "substitutions are nested more than {MAX_DEPTH} deep"
            ));
        }
        let value = self.braces();
        self.depth -= 1;
        value
    }

    /// What is between `${` and `}`.
    fn braces(&mut self) -> Result<String, String> {
        let name = self.name();
        match self.next() {
            Some('}') => Ok(match self.look_up(&name)? {
                None if self.shell.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            Some(':') => {
                let kind = self.next();
                self.modified(&name, true, kind)
            }
            Some('/') => self.replaced(&name),
            kind => self.modified(&name, false, kind),
        }
    }

    /// The forms with a word behind a sign; `empty` says that an empty value is as none.
    fn modified(&mut self, name: &str, empty: bool, kind: Option<char>) -> Result<String, String> {
        let colon = if empty { ":" } else { "" };
        // Go's text of the end of input.
        let sign = kind.unwrap_or('\u{fffd}');
        let unsupported = || format!("unsupported modifier ({colon}{sign}) in substitution");
        let trims = matches!(sign, '#' | '%');
        // Behind a colon anything is read first: `${a:0:3}` is another shell's, and stays where `a` is not set.
        if (empty && trims) || !(empty || trims || matches!(sign, '+' | '-' | '?')) {
            return Err(unsupported());
        }
        let word = self.inner('}', trims, "}")?;
        let value = self.look_up(name)?;
        if value.is_none() && self.shell.keep_unset {
            return Ok(format!("${{{name}{colon}{sign}{word}}}"));
        }
        let usable = value.clone().filter(|value| !(empty && value.is_empty()));
        match sign {
            '-' => Ok(usable.unwrap_or(word)),
            '+' => Ok(usable.map(|_| word).unwrap_or_default()),
            '?' => usable.ok_or_else(|| {
                let how = if value.is_none() { "unset" } else { "empty" };
                let why = Some(word).filter(|word| !word.is_empty());
                let why = why.unwrap_or_else(|| format!("is not allowed to be {how}"));
                format!("{name}: {why}")
            }),
            '#' | '%' => {
                let greedy = word.starts_with(sign);
                let glob = if greedy { &word[1..] } else { &word };
                pattern::trim(glob, &value.unwrap_or_default(), greedy, sign == '%')
            }
            _ => Err(unsupported()),
        }
    }

    /// `${name/pattern/replacement}`, and with two slashes.
    fn replaced(&mut self, name: &str) -> Result<String, String> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let glob = self.inner('/', true, "/' in ${}")?;
        let with = self.inner('}', true, "}")?;
        let value = self.look_up(name)?;
        if value.is_none() && self.shell.keep_unset {
            return Ok(format!("${{{name}/{glob}/{with}}}"));
        }
        let value = value.unwrap_or_default();
        pattern::replace(&glob, &value, &with, all)
    }

    /// The word inside of braces.
    fn inner(&mut self, stop: char, raw: bool, missing: &str) -> Result<String, String> {
        let before = std::mem::replace(&mut self.raw_escapes, raw);
        let word = self.until(Some(stop));
        self.raw_escapes = before;
        match word {
            Ok((word, _)) => Ok(word),
            Err(_) if self.rest.is_empty() => Err(match missing {
                "}" => missing_brace(),
                other => format!("syntax error: missing '{other}"),
            }),
            Err(why) => Err(why),
        }
    }

    /// Letters, digits and `_`; only digits when it begins with one; or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let text = self.rest;
        let end = match self.peek() {
            Some(c) if c.is_numeric() => text.find(|c: char| !c.is_numeric()),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => Some(1),
            _ => text.find(|c: char| !(c.is_alphanumeric() || c == '_')),
        };
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        self.rest = rest;
        name.to_owned()
    }
}

fn missing_brace() -> String {
    "syntax error: missing '}'".to_owned()
}

fn too_large() -> String {
    format!("the result is larger than {} MiB", MAX_EXPANSION >> 20)
}
