//! Words with variables, quotes and escapes, as Dockerfiles have them: much like a shell's, not quite.
//!
//! The forms: `$a`, `${a}`, `${a:-b}`, `${a-b}`, `${a:+b}`, `${a+b}`, `${a:?b}`, `${a?b}`, `${a#p}`, `${a##p}`,
//! `${a%p}`, `${a%%p}`, `${a/p/r}`, `${a//p/r}` (Dockerfile reference, "Environment replacement").

mod environment;
mod expand;
mod pattern;

pub use environment::{Environment, NoVariables, Variables};
pub use expand::Expansion;

use super::place::Error;

/// A word with its variables in place is not larger: from 64 KiB of `$a$a…` in a few lines comes more than any
/// memory.
pub const MAX_EXPANSION: usize = 16 << 20;

/// How words are read.
#[derive(Clone, Copy, Debug)]
pub struct Shell {
    /// The character that takes the meaning of the next one away: `\` or `` ` ``.
    pub escape: char,
    /// Quotes stay.
    pub raw_quotes: bool,
    /// Escapes stay.
    pub raw_escapes: bool,
    /// Quotes mean nothing.
    pub no_quotes: bool,
    /// Variables that are not set stay as they are written.
    pub keep_unset: bool,
}

impl Shell {
    /// The usual one.
    #[must_use]
    pub const fn new(escape: char) -> Self {
        Self {
            escape,
            raw_quotes: false,
            raw_escapes: false,
            no_quotes: false,
            keep_unset: false,
        }
    }

    /// Puts variables in place, and takes quotes and escapes away.
    ///
    /// # Errors
    /// The notation is wrong, `?` demands a variable, or the result is larger than [`MAX_EXPANSION`].
    pub fn expand(&self, word: &str, variables: &dyn Variables) -> Result<Expansion, Error> {
        expand::run(self, word, variables)
    }

    /// The same, split where spaces are, outside of quotes.
    ///
    /// # Errors
    /// As [`Shell::expand`].
    pub fn split(&self, text: &str, variables: &dyn Variables) -> Result<Vec<String>, Error> {
        Ok(self.expand(text, variables)?.words)
    }
}

#[cfg(test)]
mod tests;
