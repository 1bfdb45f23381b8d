//! The command line, parsed by hand: a parser library would take longer to start than most commands run.
//!
//! The rules are those of Go's flag package, which runc's users know: one dash or two, `--flag value` or
//! `--flag=value`, switches that take `=false`, and the error texts.

use crate::error::{Error, said};
use std::collections::BTreeMap;
use std::ffi::OsString;

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or a truth value after `=`.
    Switch,
    /// A text.
    Text,
    /// A text; the option may be given again.
    List,
    /// A whole number, with this default.
    Number(i64),
    /// A whole number; the option may be given again.
    Numbers,
    /// A time such as `1m30s`, with this default; kept in nanoseconds.
    Duration(&'static str),
}

/// An option a command knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// The name, typed after one dash or two.
    pub(crate) long: &'static str,
    /// Another name of one letter.
    pub(crate) letter: Option<char>,
    /// What follows.
    pub(crate) kind: Kind,
    /// What `--help` says; empty for an option that is taken but not shown.
    pub(crate) help: &'static str,
}

impl Flag {
    /// An option without a letter.
    pub(crate) const fn new(long: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            long,
            letter: None,
            kind,
            help,
        }
    }

    /// The same with a letter.
    pub(crate) const fn letter(mut self, letter: char) -> Self {
        self.letter = Some(letter);
        self
    }

    fn is_called(&self, name: &str) -> bool {
        self.long == name || self.letter.is_some_and(|letter| name.chars().eq([letter]))
    }
}

/// Known to every command, and to none by itself.
pub(crate) const HELP: Flag = Flag::new("help", Kind::Switch, "show help").letter('h');

/// Where options end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// They may follow the words.
    Anywhere,
    /// The first word ends them: what follows is somebody else's.
    First,
    /// As `First`, but the options that are known may follow that first word too.
    Second,
}

/// What was typed, sorted by the flags a command knows.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    values: BTreeMap<&'static str, Vec<String>>,
    /// Whether an option was given by its letter.
    by_letter: BTreeMap<&'static str, bool>,
    /// What is no option, in order.
    pub(crate) rest: Vec<String>,
}

impl Arguments {
    /// Parses a command's words.
    ///
    /// # Errors
    /// Unknown options before the first word, options without their value or with one of another kind.
    pub(crate) fn parse(words: Vec<OsString>, flags: &[Flag], order: Order) -> Result<Self, Error> {
        let mut parsed = Self::default();
        let mut words = words
            .into_iter()
            .map(|word| word.to_string_lossy().into_owned());
        while let Some(word) = words.next() {
            if word == "--" {
                parsed.rest.extend(words);
                break;
            }
            let ended = match order {
                Order::Anywhere => false,
                Order::First => !parsed.rest.is_empty(),
                Order::Second => parsed.rest.len() > 1,
            };
            if ended || !word.starts_with('-') || word == "-" {
                parsed.rest.push(word);
                continue;
            }
            if !parsed.option(&word, flags, &mut words)? {
                // Behind the first word it may be meant for somebody else, or be a negative number.
                if parsed.rest.is_empty() {
                    return Err(said(format!(
                        "flag provided but not defined: -{}",
                        split(&word).0
                    )));
                }
                parsed.rest.push(word);
                if order != Order::Anywhere {
                    parsed.rest.extend(words);
                    break;
                }
            }
        }
        Ok(parsed)
    }

    /// Takes an option and its value; `false` when no flag is called so.
    fn option(
        &mut self,
        word: &str,
        flags: &[Flag],
        words: &mut impl Iterator<Item = String>,
    ) -> Result<bool, Error> {
        let (name, value) = split(word);
        if name.is_empty() || name.starts_with('-') {
            return Err(said(format!("bad flag syntax: {word}")));
        }
        let Some(flag) = flags
            .iter()
            .chain([&HELP])
            .find(|flag| flag.is_called(name))
        else {
            return Ok(false);
        };
        let value = match (flag.kind, value) {
            (Kind::Switch, None) => "true".to_owned(),
            (_, Some(value)) => value.to_owned(),
            (_, None) => words
                .next()
                .ok_or_else(|| said(format!("flag needs an argument: -{name}")))?,
        };
        let value = checked(flag.kind, name, value)?;
        let letter = name != flag.long;
        if self.by_letter.insert(flag.long, letter) == Some(!letter) {
            let letter = flag.letter.map(String::from).unwrap_or_default();
            return Err(said(format!(
                "Cannot use two forms of the same flag: {letter} {}",
                flag.long
            )));
        }
        self.values.entry(flag.long).or_default().push(value);
        Ok(true)
    }

    /// The last value of an option.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    /// The last value of an option; an empty one is as good as none.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.value(name).filter(|value| !value.is_empty())
    }

    /// All values of an option.
    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a switch is on.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value == "true")
    }

    /// The value of an option that is a number, if it was given.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.value(name)?.parse().ok()
    }
}

/// An option's name without its dashes, and what follows `=`.
fn split(word: &str) -> (&str, Option<&str>) {
    let option = word.strip_prefix('-').unwrap_or(word);
    let option = option.strip_prefix('-').unwrap_or(option);
    match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    }
}

/// A value in the form that is kept: `true` or `false`, a decimal number, a text as it is.
fn checked(kind: Kind, name: &str, value: String) -> Result<String, Error> {
    match kind {
        Kind::Text | Kind::List => Ok(value),
        Kind::Switch => match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
            _ => Err(said(format!(
                "invalid boolean value \"{value}\" for -{name}: parse error"
            ))),
        },
        Kind::Numbers => match whole(&value) {
            Some(number) => Ok(number.to_string()),
            None => Err(said(format!(
                "invalid value \"{value}\" for flag -{name}: {}",
                not_a_number("ParseInt", &value)
            ))),
        },
        Kind::Number(_) | Kind::Duration(_) => {
            let number = match kind {
                Kind::Duration(_) => hull_spec::parse_duration(&value).ok(),
                _ => whole(&value),
            };
            number.map(|number| number.to_string()).ok_or_else(|| {
                said(format!(
                    "invalid value \"{value}\" for flag -{name}: parse error"
                ))
            })
        }
    }
}

/// What Go says about a text that is no number.
pub(crate) fn not_a_number(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing \"{text}\": invalid syntax")
}

/// A number as Go writes them: decimal, or with `0x`, `0o`, `0b`, or octal after a plain `0`.
fn whole(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.starts_with(['-', '+']) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::new("bundle", Kind::Text, "b").letter('b'),
        Flag::new("force", Kind::Switch, "f").letter('f'),
        Flag::new("env", Kind::List, "e").letter('e'),
        Flag::new("fds", Kind::Number(0), "n"),
    ];

    fn parse(words: &[&str], order: Order) -> Result<Arguments, Error> {
        Arguments::parse(words.iter().map(Into::into).collect(), FLAGS, order)
    }

    fn refused(words: &[&str]) -> String {
        parse(words, Order::Anywhere)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn options_may_follow_words_where_that_is_allowed() {
        let words = ["-b", "/x", "id", "--force", "-e=A=1", "-e", "B=2"];
        let parsed = parse(&words, Order::Anywhere).expect("parses");
        assert_eq!(parsed.value("bundle"), Some("/x"));
        assert!(parsed.is_set("force"));
        assert_eq!(parsed.values("env"), ["A=1", "B=2"]);
        assert_eq!(parsed.rest, ["id"]);
    }

    #[test]
    fn what_follows_the_first_word_belongs_to_the_container() {
        let parsed = parse(&["--force", "id", "ls", "-b"], Order::First).expect("parses");
        assert_eq!(parsed.rest, ["id", "ls", "-b"]);
        let parsed = parse(&["id", "-f", "ls", "-b"], Order::Second).expect("parses");
        assert!(parsed.is_set("force"));
        assert_eq!(parsed.rest, ["id", "ls", "-b"]);
        let parsed = parse(&["id", "-x", "-f"], Order::Second).expect("parses");
        assert_eq!(parsed.rest, ["id", "-x", "-f"]);
    }

    #[test]
    fn two_dashes_end_the_options() {
        let parsed = parse(&["--force", "--", "-b", "--"], Order::Anywhere).expect("parses");
        assert_eq!(parsed.rest, ["-b", "--"]);
    }

    #[test]
    fn a_switch_can_be_off_and_a_number_has_many_forms() {
        let parsed = parse(&["--force=F", "--fds", "0x10"], Order::Anywhere).expect("parses");
        assert!(!parsed.is_set("force"));
        assert_eq!(parsed.number("fds"), Some(16));
        for (text, number) in [
            ("-3", Some(-3)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("1-", None),
            ("", None),
            ("--1", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(whole(text), number, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_gos_words() {
        assert_eq!(refused(&["--nope"]), "flag provided but not defined: -nope");
        assert_eq!(refused(&["--bundle"]), "flag needs an argument: -bundle");
        assert_eq!(refused(&["---x"]), "bad flag syntax: ---x");
        assert_eq!(
            refused(&["--force=maybe"]),
            "invalid boolean value \"maybe\" for -force: parse error"
        );
        assert_eq!(
            refused(&["--fds=x"]),
            "invalid value \"x\" for flag -fds: parse error"
        );
        assert_eq!(
            refused(&["-b", "x", "--bundle", "y"]),
            "Cannot use two forms of the same flag: b bundle"
        );
    }
}
