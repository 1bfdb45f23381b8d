//! Command-line flags with the habits of Docker's parser.
//!
//! Scripts rely on those habits to the letter: `--flag=false`, `-itd` and `-n5`, flags after the
//! image belong to the container's command, and the very words of an error. A table of flags and two
//! hundred lines give exactly that, and cost no time at start-up.

mod help;
mod table;

pub(crate) use help::{usage_line, write_flags, write_help};
pub(crate) use table::{Flag, Kind, flag, int, list, value};

use crate::format::{parse_bytes, parse_cpus};
use std::collections::BTreeMap;

/// The flags of one command, as typed.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    values: BTreeMap<&'static str, Vec<String>>,
    /// What is not a flag.
    pub(crate) args: Vec<String>,
    /// `--help` was among them.
    pub(crate) help: bool,
}

impl Matches {
    /// Whether the flag was given at all.
    pub(crate) fn changed(&self, long: &str) -> bool {
        self.values.contains_key(long)
    }

    /// A boolean's last value.
    pub(crate) fn bool(&self, long: &str) -> bool {
        self.bool_or(long, false)
    }

    /// A boolean's last value, or its default.
    pub(crate) fn bool_or(&self, long: &str, default: bool) -> bool {
        self.last(long).and_then(parse_bool).unwrap_or(default)
    }

    /// A flag's last value, empty when not given.
    pub(crate) fn text(&self, long: &str) -> &str {
        self.last(long).unwrap_or_default()
    }

    /// A number's last value.
    pub(crate) fn int(&self, long: &str) -> Option<i64> {
        self.last(long)?.parse().ok()
    }

    /// A size in bytes, -1 included.
    pub(crate) fn bytes(&self, long: &str) -> i64 {
        self.last(long)
            .and_then(|text| parse_memory(text).ok())
            .unwrap_or_default()
    }

    /// A duration in nanoseconds.
    pub(crate) fn nanoseconds(&self, long: &str) -> i64 {
        self.last(long)
            .and_then(|text| hull_spec::parse_duration(text).ok())
            .unwrap_or_default()
    }

    /// All values, in order.
    pub(crate) fn list(&self, long: &str) -> &[String] {
        self.values.get(long).map(Vec::as_slice).unwrap_or_default()
    }

    fn last(&self, long: &str) -> Option<&str> {
        self.values.get(long)?.last().map(String::as_str)
    }
}

/// A command line that cannot be read; the texts are pflag's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    #[error("unknown flag: --{0}")]
    Unknown(String),
    #[error("unknown shorthand flag: '{0}' in -{1}")]
    UnknownShort(char, String),
    #[error("flag needs an argument: --{0}")]
    NeedsValue(String),
    #[error("flag needs an argument: '{0}' in -{1}")]
    ShortNeedsValue(char, String),
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("invalid argument \"{value}\" for \"{flag}\" flag: {reason}")]
    Invalid {
        value: String,
        flag: String,
        reason: String,
    },
}

/// Reads `args` with the flags of `tables`. With `interspersed`, flags may follow arguments;
/// without, the first argument ends them.
pub(crate) fn parse(
    tables: &[&'static [Flag]],
    args: &[String],
    interspersed: bool,
) -> Result<Matches, FlagError> {
    let mut matches = Matches::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            matches.args.extend(rest.cloned());
            break;
        }
        if let Some(long) = arg.strip_prefix("--") {
            parse_long(tables, long, arg, &mut rest, &mut matches)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            parse_shorts(tables, &arg[1..], &mut rest, &mut matches)?;
        } else if interspersed {
            matches.args.push(arg.clone());
        } else {
            matches.args.push(arg.clone());
            matches.args.extend(rest.cloned());
            break;
        }
        if matches.help {
            break;
        }
    }
    Ok(matches)
}

fn parse_long(
    tables: &[&'static [Flag]],
    text: &str,
    arg: &str,
    rest: &mut std::slice::Iter<'_, String>,
    matches: &mut Matches,
) -> Result<(), FlagError> {
    if text.starts_with('-') || text.starts_with('=') {
        return Err(FlagError::Syntax(arg.to_owned()));
    }
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let found = all(tables).find(|flag| flag.long == name);
    let Some(flag) = found else {
        if name == "help" {
            matches.help = value.is_none_or(|value| parse_bool(value).unwrap_or(true));
            return Ok(());
        }
        return Err(FlagError::Unknown(name.to_owned()));
    };
    let value = match value {
        Some(value) => value.to_owned(),
        None if flag.kind == Kind::Bool => "true".to_owned(),
        None => rest
            .next()
            .cloned()
            .ok_or_else(|| FlagError::NeedsValue(name.to_owned()))?,
    };
    store(flag, value, matches)
}

fn parse_shorts(
    tables: &[&'static [Flag]],
    group: &str,
    rest: &mut std::slice::Iter<'_, String>,
    matches: &mut Matches,
) -> Result<(), FlagError> {
    let mut letters = group;
    while let Some(letter) = letters.chars().next() {
        let after = &letters[letter.len_utf8()..];
        let Some(flag) = all(tables).find(|flag| flag.short == Some(letter)) else {
            if letter == 'h' {
                matches.help = true;
                return Ok(());
            }
            return Err(FlagError::UnknownShort(letter, letters.to_owned()));
        };
        if let Some(value) = after.strip_prefix('=') {
            return store(flag, value.to_owned(), matches);
        }
        if flag.kind == Kind::Bool {
            store(flag, "true".to_owned(), matches)?;
            letters = after;
            continue;
        }
        let value = if after.is_empty() {
            rest.next()
                .cloned()
                .ok_or_else(|| FlagError::ShortNeedsValue(letter, letters.to_owned()))?
        } else {
            after.to_owned()
        };
        return store(flag, value, matches);
    }
    Ok(())
}

fn all(tables: &[&'static [Flag]]) -> impl Iterator<Item = &'static Flag> {
    tables.iter().flat_map(|table| table.iter())
}

fn store(flag: &'static Flag, value: String, matches: &mut Matches) -> Result<(), FlagError> {
    if let Err(reason) = check(flag, &value) {
        let name = match flag.short {
            Some(short) => format!("-{short}, --{}", flag.long),
            None => format!("--{}", flag.long),
        };
        return Err(FlagError::Invalid {
            value,
            flag: name,
            reason,
        });
    }
    // Two spellings of one flag are one flag.
    let name = flag.same_as.unwrap_or(flag.long);
    matches.values.entry(name).or_default().push(value);
    Ok(())
}

fn check(flag: &Flag, value: &str) -> Result<(), String> {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    let why = match !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => "value out of range",
        false => "invalid syntax",
    };
    let integer = |signed: &str| format!("strconv.{signed}: parsing \"{value}\": {why}");
    match flag.kind {
        Kind::Bool => parse_bool(value)
            .map(drop)
            .ok_or_else(|| integer("ParseBool")),
        Kind::Text | Kind::List => Ok(()),
        Kind::Int => value
            .parse::<i64>()
            .map(drop)
            .map_err(|_| integer("ParseInt")),
        Kind::Uint16 => value
            .parse::<u16>()
            .map(drop)
            .map_err(|_| integer("ParseUint")),
        Kind::Bytes => parse_bytes(value).map(drop),
        Kind::Swap => parse_memory(value).map(drop),
        Kind::Duration => hull_spec::parse_duration(value)
            .map(drop)
            .map_err(|error| error.to_string()),
        Kind::Cpus => parse_cpus(value).map(drop),
        Kind::Checked(check) => check(value),
    }
}

/// Sizes of memory; -1 is "unlimited".
fn parse_memory(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    parse_bytes(text)
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FLAGS: &[Flag] = &[
        flag("detach", "").short('d'),
        flag("interactive", "").short('i'),
        flag("tty", "").short('t'),
        list("env", "list", "").short('e'),
        value("memory", "bytes", "").short('m').kind(Kind::Bytes),
        int("last", "").short('n'),
    ];

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn read(text: &str) -> Result<Matches, FlagError> {
        parse(&[FLAGS], &words(text), false)
    }

    #[test]
    fn flags_as_people_type_them() {
        let matches = read("-itd -e A=1 --env=B=2 --env C -m512m -n=5 image -x --env D").unwrap();
        assert!(matches.bool("interactive") && matches.bool("tty") && matches.bool("detach"));
        assert_eq!(matches.list("env"), ["A=1", "B=2", "C"]);
        assert_eq!(matches.bytes("memory"), 512 << 20);
        assert_eq!(matches.int("last"), Some(5));
        assert_eq!(matches.args, ["image", "-x", "--env", "D"]);
        let matches = read("--detach=false -t=0 -- -d").unwrap();
        assert!(!matches.bool("detach") && matches.changed("detach") && !matches.bool("tty"));
        assert_eq!(matches.args, ["-d"]);
        let matches = parse(&[FLAGS], &words("a -d b - -n 3"), true).unwrap();
        assert_eq!(matches.args, ["a", "b", "-"]);
        assert!(matches.bool("detach"));
    }

    #[test]
    fn errors_are_pflags() {
        for (text, error) in [
            ("--x", "unknown flag: --x"),
            ("--x=1", "unknown flag: --x"),
            ("-Zq", "unknown shorthand flag: 'Z' in -Zq"),
            ("-dZ", "unknown shorthand flag: 'Z' in -Z"),
            ("--memory", "flag needs an argument: --memory"),
            ("-dm", "flag needs an argument: 'm' in -m"),
            ("---x", "bad flag syntax: ---x"),
            (
                "-m zz",
                "invalid argument \"zz\" for \"-m, --memory\" flag: invalid size: 'zz'",
            ),
            (
                "-n x",
                "invalid argument \"x\" for \"-n, --last\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            (
                "--tty=maybe",
                "invalid argument \"maybe\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn help_is_asked_for_in_three_ways() {
        for text in ["--help", "-h", "-d --help image"] {
            assert!(read(text).unwrap().help, "{text}");
        }
        assert!(!read("image --help").unwrap().help);
    }
}
