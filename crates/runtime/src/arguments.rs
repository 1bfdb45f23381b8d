//! The command line, parsed by hand: a parser library would take longer to start than most commands run.

use crate::error::{Error, said};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// An option a command knows: its long name, its letter (or nothing), whether a value follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag(
    pub(crate) &'static str,
    pub(crate) Option<char>,
    pub(crate) bool,
);

/// What was typed, sorted by the flags a command knows.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    values: BTreeMap<&'static str, Vec<String>>,
    /// What is no option, in order.
    pub(crate) rest: Vec<String>,
}

impl Arguments {
    /// Parses up to the first word that is no option; with `anywhere`, options may follow it too.
    pub(crate) fn parse(
        words: Vec<OsString>,
        flags: &[Flag],
        anywhere: bool,
    ) -> Result<Self, Error> {
        let mut parsed = Self::default();
        let mut words = words
            .into_iter()
            .map(|word| word.to_string_lossy().into_owned());
        while let Some(word) = words.next() {
            if word == "--" {
                parsed.rest.extend(words);
                break;
            }
            let Some(option) = word.strip_prefix('-').filter(|option| !option.is_empty()) else {
                parsed.rest.push(word);
                if !anywhere {
                    parsed.rest.extend(words);
                    break;
                }
                continue;
            };
            let option = option.strip_prefix('-').unwrap_or(option);
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, None),
            };
            let known = flags.iter().find(|Flag(long, letter, _)| {
                *long == name || letter.is_some_and(|letter| name.chars().eq([letter]))
            });
            let Some(Flag(long, _, takes_value)) = known else {
                return Err(said(format!("flag provided but not defined: -{name}")));
            };
            let value = match (takes_value, value) {
                (true, None) => words
                    .next()
                    .ok_or_else(|| said(format!("flag needs an argument: -{name}")))?,
                (false, None) => "true".to_owned(),
                (_, Some(value)) => value,
            };
            parsed.values.entry(long).or_default().push(value);
        }
        Ok(parsed)
    }

    /// The last value of an option.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    /// All values of an option.
    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a switch is on.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value != "false")
    }

    /// The value of an option that is a number; 0 without it.
    pub(crate) fn number(&self, name: &str) -> Result<u32, Error> {
        let text = self.value(name).unwrap_or("0");
        text.parse().map_err(|_| {
            said(format!(
                "invalid value \"{text}\" for flag -{name}: parse error"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag("bundle", Some('b'), true),
        Flag("force", Some('f'), false),
        Flag("env", Some('e'), true),
    ];

    fn parse(words: &[&str], anywhere: bool) -> Result<Arguments, Error> {
        Arguments::parse(words.iter().map(Into::into).collect(), FLAGS, anywhere)
    }

    #[test]
    fn options_may_follow_words_where_that_is_allowed() {
        let parsed =
            parse(&["-b", "/x", "id", "--force", "-e=A=1", "-e", "B=2"], true).expect("parses");
        assert_eq!(parsed.value("bundle"), Some("/x"));
        assert!(parsed.is_set("force"));
        assert_eq!(parsed.values("env"), ["A=1", "B=2"]);
        assert_eq!(parsed.rest, ["id"]);
    }

    #[test]
    fn what_follows_the_first_word_belongs_to_the_container() {
        let parsed = parse(&["--force", "id", "ls", "-b"], false).expect("parses");
        assert_eq!(parsed.rest, ["id", "ls", "-b"]);
    }

    #[test]
    fn an_unknown_option_is_refused() {
        assert!(parse(&["--nope"], true).is_err());
        assert!(parse(&["--bundle"], true).is_err());
    }
}
