//! `.dockerignore`: which files of a context are left out. The rules are those of Docker's pattern matcher
//! (Docker's reference, "dockerignore files"): patterns as in Go's `filepath.Match`, `**` for any number of
//! directories, a pattern means also all that is below what it matches, `!` takes back, the last that fits
//! decides.

use std::fmt;

/// A file with more patterns is refused, and each may be no longer than a path.
const MAX_PATTERNS: usize = 100_000;
const MAX_PATTERN: usize = 4096;

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// `!` alone.
    #[error("illegal exclusion pattern: \"!\"")]
    Exclamation,
    /// A class without end, or an escape of nothing; also one that is longer than a path.
    #[error("syntax error in pattern")]
    Syntax,
    /// Too many.
    #[error("more than {MAX_PATTERNS} patterns")]
    TooMany,
}

/// The patterns of an ignore file: comments, empty lines and spaces gone, paths cleaned, without a slash in front.
#[must_use]
pub fn read(text: &[u8]) -> Vec<String> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| match line.strip_prefix('!') {
            Some(rest) => format!("!{}", without_slash(rest.trim())),
            None => without_slash(line),
        })
        .collect()
}

fn without_slash(pattern: &str) -> String {
    if pattern.is_empty() {
        return String::new();
    }
    let clean = clean(pattern);
    match clean.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => clean,
    }
}

/// Go's `filepath.Clean`: the shortest path that means the same.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

/// Decides which paths are meant by a list of patterns.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    patterns: Vec<Pattern>,
    takes_back: bool,
}

/// What is known of a directory when its entries are looked at: which patterns mean it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Above(Vec<bool>);

impl Matcher {
    /// From patterns as [`read`] gives them, or flags have them.
    ///
    /// # Errors
    /// One of them is none.
    pub fn new<P: AsRef<str>>(patterns: &[P]) -> Result<Self, InvalidPattern> {
        if patterns.len() > MAX_PATTERNS {
            return Err(InvalidPattern::TooMany);
        }
        let mut matcher = Self::default();
        for pattern in patterns {
            let pattern = pattern.as_ref().trim();
            if pattern.is_empty() {
                continue;
            }
            let pattern = Pattern::new(&clean(pattern))?;
            matcher.takes_back |= pattern.takes_back;
            matcher.patterns.push(pattern);
        }
        Ok(matcher)
    }

    /// Whether there are no patterns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a path is meant, itself or as a part of a directory. It is relative, with slashes.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut matched = false;
        for pattern in &self.patterns {
            if pattern.takes_back == matched && pattern.fits_or_above(path) {
                matched = !pattern.takes_back;
            }
        }
        matched
    }

    /// The same for a walk: with what is known of the directory that the path is in, and what its own entries
    /// are to be asked with. [`Above::default`] is for those at the top.
    #[must_use]
    pub fn enter(&self, path: &str, above: &Above) -> (bool, Above) {
        let mut matched = false;
        let mut own = vec![false; self.patterns.len()];
        for (place, pattern) in self.patterns.iter().enumerate() {
            let inherited = above.0.get(place).copied().unwrap_or(false);
            // Without knowledge of the directory it is looked at too.
            let fits = |path| match above.0.is_empty() {
                true => pattern.fits_or_above(path),
                false => pattern.fits(path),
            };
            let fits = inherited || (pattern.takes_back == matched && fits(path));
            own[place] = fits;
            if fits {
                matched = !pattern.takes_back;
            }
        }
        (matched, Above(own))
    }

    /// Whether a directory that is meant can be passed over with all that is in it: nothing below is taken back.
    #[must_use]
    pub fn covers(&self, directory: &str) -> bool {
        let mut back = self.patterns.iter().filter(|pattern| pattern.takes_back);
        !self.takes_back || !back.any(|pattern| pattern.may_fit_below(directory))
    }

    /// Whether anything below a directory could be meant, though it is not itself.
    #[must_use]
    pub fn may_match_below(&self, directory: &str) -> bool {
        let mut means = self.patterns.iter().filter(|pattern| !pattern.takes_back);
        means.any(|pattern| pattern.may_fit_below(directory))
    }
}

/// One pattern.
#[derive(Clone)]
struct Pattern {
    takes_back: bool,
    text: String,
    kind: Kind,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.takes_back { "!" } else { "" }, self.text)
    }
}

#[derive(Clone)]
enum Kind {
    /// The path itself.
    Exact,
    /// `a/**`: what begins so.
    Prefix(usize),
    /// `**/a`, `**.a`: what ends so.
    Suffix(usize),
    /// Anything else.
    Tokens(Vec<Token>),
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`: one character, no slash.
    One,
    /// `*`: characters, no slash.
    Some,
    /// `**`, `**/` with more behind: nothing,
    Skip,
    /// or, always behind it, anything up to a slash.
    Through,
    /// `**` at the end: anything.
    All,
    /// `[a-z]`, `[^a]`.
    Class(bool, Vec<(char, char)>),
}

impl Pattern {
    fn new(text: &str) -> Result<Self, InvalidPattern> {
        let (takes_back, text) = match text.strip_prefix('!') {
            Some("") => return Err(InvalidPattern::Exclamation),
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if text.len() > MAX_PATTERN {
            return Err(InvalidPattern::Syntax);
        }
        let tokens = tokens(text)?;
        let plain = |tokens: &[Token]| tokens.iter().all(|token| matches!(token, Token::Char(_)));
        let kind = match tokens.as_slice() {
            all if plain(all) && !text.contains('\\') => Kind::Exact,
            [Token::All] => Kind::Prefix(0),
            [rest @ .., Token::All] if plain(rest) && !text.contains('\\') => {
                let stars = text.trim_end_matches('/');
                Kind::Prefix(stars.len() - 2)
            }
            // Unlike in the middle, what stands behind need not be a whole name: `**.go`.
            [Token::Skip, Token::Through, rest @ ..] if plain(rest) && !text.contains('\\') => {
                Kind::Suffix(2)
            }
            _ => Kind::Tokens(tokens),
        };
        Ok(Self {
            takes_back,
            text: text.to_owned(),
            kind,
        })
    }

    fn fits(&self, path: &str) -> bool {
        match &self.kind {
            Kind::Exact => path == self.text,
            Kind::Prefix(end) => path.starts_with(&self.text[..*end]),
            Kind::Suffix(start) => {
                let suffix = &self.text[*start..];
                path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path)
            }
            Kind::Tokens(tokens) => {
                let mut run = Run::new(tokens);
                path.chars().for_each(|c| run.step(c));
                run.done()
            }
        }
    }

    fn fits_or_above(&self, path: &str) -> bool {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        self.fits(path)
            || above
                .filter(|path| !path.is_empty())
                .any(|path| self.fits(path))
    }

    /// Whether there can be a path below `directory` that fits: itself, or as a part of one that does.
    fn may_fit_below(&self, directory: &str) -> bool {
        if directory.is_empty() || self.fits_or_above(directory) {
            return true;
        }
        match &self.kind {
            Kind::Exact => {
                let rest = self.text.strip_prefix(directory);
                rest.is_some_and(|rest| rest.starts_with('/'))
            }
            Kind::Prefix(end) => {
                let (prefix, below) = (&self.text[..*end], format!("{directory}/"));
                prefix.starts_with(&below) || below.starts_with(prefix)
            }
            Kind::Suffix(_) => true,
            Kind::Tokens(tokens) => {
                let mut run = Run::new(tokens);
                directory.chars().chain(['/']).for_each(|c| run.step(c));
                run.alive()
            }
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, InvalidPattern> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let token = match c {
            '*' if chars.peek() == Some(&'*') => {
                chars.next();
                chars.next_if_eq(&'/');
                match chars.peek() {
                    Some(_) => {
                        tokens.push(Token::Skip);
                        Token::Through
                    }
                    None => Token::All,
                }
            }
            '*' => Token::Some,
            '?' => Token::One,
            '[' => class(&mut chars)?,
            '\\' => Token::Char(chars.next().ok_or(InvalidPattern::Syntax)?),
            c => Token::Char(c),
        };
        tokens.push(token);
    }
    Ok(tokens)
}

/// What is behind `[`, as Go's `filepath.Match` reads it.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, InvalidPattern> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let one = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        let c = chars.next().ok_or(InvalidPattern::Syntax)?;
        match c {
            '-' | ']' => Err(InvalidPattern::Syntax),
            '\\' => chars.next().ok_or(InvalidPattern::Syntax),
            c => Ok(c),
        }
    };
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Token::Class(negated, ranges));
        }
        let low = one(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => one(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

/// All places of a pattern at once where a path may have come to: no pattern costs more than its length for
/// each character.
struct Run<'a> {
    tokens: &'a [Token],
    at: Vec<bool>,
    next: Vec<bool>,
}

impl<'a> Run<'a> {
    fn new(tokens: &'a [Token]) -> Self {
        let mut run = Self {
            tokens,
            at: vec![false; tokens.len() + 1],
            next: vec![false; tokens.len() + 1],
        };
        run.at[0] = true;
        pass_over(tokens, &mut run.at);
        run
    }

    fn step(&mut self, c: char) {
        self.next.fill(false);
        for (place, token) in self.tokens.iter().enumerate() {
            if !self.at[place] {
                continue;
            }
            let (stays, goes) = match token {
                Token::Char(own) => (false, *own == c),
                Token::One => (false, c != '/'),
                Token::Class(negated, ranges) => {
                    let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                    (false, inside != *negated)
                }
                Token::Some => (c != '/', false),
                Token::Skip => (false, false),
                Token::Through => (true, c == '/'),
                Token::All => (true, false),
            };
            self.next[place] |= stays;
            self.next[place + 1] |= goes;
        }
        pass_over(self.tokens, &mut self.next);
        std::mem::swap(&mut self.at, &mut self.next);
    }

    fn done(&self) -> bool {
        self.at[self.tokens.len()]
    }

    fn alive(&self) -> bool {
        self.at.contains(&true)
    }
}

/// Tokens that may be nothing are passed over as well.
fn pass_over(tokens: &[Token], at: &mut [bool]) {
    for (place, token) in tokens.iter().enumerate() {
        match token {
            Token::Some | Token::All if at[place] => at[place + 1] = true,
            Token::Skip if at[place] => {
                at[place + 1] = true;
                at[place + 2] = true;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
