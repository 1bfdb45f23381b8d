//! Completion of command lines in shells: `hull completion bash|zsh|fish` prints a script for the shell, which asks
//! `hull __complete WORD…` at each tab. Names come from the daemon; one that does not run is not started for it.

mod names;
mod scripts;

use crate::command::{self, Arity, Command};
use crate::context::{Cli, GLOBAL_FLAGS};
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Kind, Matches};
use crate::plugins;
use names::{Names, of_argument, of_flag};

/// The word that scripts call us with.
pub(crate) const ASKED: &str = "__complete";

/// All of them.
pub(crate) static COMMANDS: &[&Command] = &[&COMMAND];

static COMMAND: Command = Command {
    words: &["completion"],
    usage: "bash|zsh|fish",
    about: "Print a script for a shell that completes command lines",
    flags: &[],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(_: &Cli, matches: &Matches) -> Outcome {
    let script = match matches.args[0].as_str() {
        "bash" => scripts::BASH,
        "zsh" => scripts::ZSH,
        "fish" => scripts::FISH,
        other => {
            return Err(Failure::new(format!(
                "{other}: no such shell: bash, zsh and fish are known"
            )));
        }
    };
    crate::print(&script.replace("PROGRAM", command::program()));
    Ok(())
}

/// What may stand where the cursor is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// One of these, each with a line about it.
    Words(Vec<(String, String)>),
    /// A name of this kind.
    Named(Names),
    /// Whatever the shell completes: files.
    Files,
}

/// Answers a script: a candidate per line, with a tab and a line about it; `:files` alone lets the shell go on by itself.
pub(crate) fn answer(words: &[String]) -> Outcome {
    let (last, before) = match words.split_last() {
        Some((last, before)) => (last.as_str(), before),
        None => ("", &[][..]),
    };
    // The global flags of the line that is completed count, not ours.
    let cli = Cli::new(before).or_else(|_| Cli::new(&[]))?;
    let found = match place(before, last) {
        Place::Files => {
            crate::print(":files\n");
            return Ok(());
        }
        Place::Words(mut words) => {
            if before.is_empty() && !last.starts_with('-') {
                let plugins = plugins::all(&cli).into_iter();
                words.extend(plugins.map(|plugin| (plugin.name, plugin.short_description)));
            }
            words
        }
        Place::Named(kind) => {
            let names = names::ask(&cli, kind);
            names
                .into_iter()
                .map(|name| (name, String::new()))
                .collect()
        }
    };
    // `--flag=val` is completed with its beginning.
    let (start, typed) = match last.split_once('=') {
        Some((flag, typed)) if flag.starts_with("--") => (format!("{flag}="), typed),
        _ => (String::new(), last),
    };
    let mut out = String::new();
    for (word, about) in found.iter().filter(|(word, _)| word.starts_with(typed)) {
        // What would break the form is no candidate.
        if !word.contains(['\n', '\t']) {
            out.push_str(&format!("{start}{word}\t{about}\n"));
        }
    }
    crate::print(&out);
    Ok(())
}

/// Finds out what is looked for after the words `before`.
fn place(before: &[String], last: &str) -> Place {
    let (at, flag) = skip_globals(before);
    if let Some(flag) = flag {
        return value_of(flag);
    }
    let rest = &before[at..];
    let Some((command, used)) = find(rest) else {
        if last.starts_with('-') && rest.is_empty() {
            return Place::Words(flags(&[GLOBAL_FLAGS]));
        }
        return match rest {
            [] => Place::Words(top()),
            [group] => Place::Words(within(group)),
            _ => Place::Files,
        };
    };
    in_command(command, &rest[used..], last)
}

fn in_command(command: &'static Command, typed: &[String], last: &str) -> Place {
    let table = || command.flags.iter().flat_map(|table| table.iter());
    let mut arguments = Vec::new();
    let mut waiting = None;
    for word in typed {
        if waiting.take().is_some() {
            continue;
        }
        if word.starts_with('-') && (command.interspersed || arguments.is_empty()) {
            waiting = flag_of(table(), word);
        } else {
            arguments.push(word.as_str());
        }
    }
    if let Some(flag) = waiting {
        return value_of(flag);
    }
    let flags_end = !command.interspersed && !arguments.is_empty();
    if last.starts_with('-') && !flags_end {
        let with_value = last.split_once('=').map(|(flag, _)| flag);
        return match with_value.and_then(|name| flag_of(table(), name)) {
            Some(flag) => value_of(flag),
            None if with_value.is_some() => Place::Files,
            None => Place::Words(flags(command.flags)),
        };
    }
    match of_argument(command.words, arguments.len()) {
        Some(kind) => Place::Named(kind),
        None => Place::Files,
    }
}

/// The flag that a word is, where its value is the next word.
fn flag_of(mut table: impl Iterator<Item = &'static Flag>, word: &str) -> Option<&'static Flag> {
    let found = match word.strip_prefix("--") {
        Some(long) => table.find(|flag| flag.long == long),
        // Of `-it` only the last letter can want a value.
        None => table.find(|flag| flag.short.is_some() && flag.short == word.chars().last()),
    };
    found.filter(|flag| flag.kind != Kind::Bool)
}

/// Where the command begins, or the global flag whose value is looked for.
fn skip_globals(words: &[String]) -> (usize, Option<&'static Flag>) {
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
        let flag = flag_of(GLOBAL_FLAGS.iter(), word);
        at += 1;
        if flag.is_some() {
            if at == words.len() {
                return (at, flag);
            }
            at += 1;
        }
    }
    (at, None)
}

/// The command that the words begin with, and how many are its name.
fn find(words: &[String]) -> Option<(&'static Command, usize)> {
    let named = |name: &str| command::all().find(|command| command.words.contains(&name));
    match words {
        [first, second, ..] if command::is_group(first) => {
            named(&format!("{first} {second}")).map(|found| (found, 2))
        }
        [first, ..] => named(first).map(|found| (found, 1)),
        [] => None,
    }
}

fn top() -> Vec<(String, String)> {
    let single = command::all().filter_map(|command| {
        let mut words = command.words.iter();
        let word = words.find(|words| !words.contains(' '))?;
        Some(((*word).to_owned(), command.about.to_owned()))
    });
    let groups = command::GROUPS
        .iter()
        .map(|(name, about)| ((*name).to_owned(), (*about).to_owned()));
    let mut all: Vec<_> = single.chain(groups).collect();
    all.sort();
    all
}

fn within(group: &str) -> Vec<(String, String)> {
    let prefix = format!("{group} ");
    let mut found: Vec<_> = command::all()
        .filter_map(|command| {
            let mut words = command.words.iter();
            let word = words.find_map(|words| words.strip_prefix(prefix.as_str()))?;
            Some((word.to_owned(), command.about.to_owned()))
        })
        .collect();
    found.sort();
    found
}

fn flags(tables: &[&'static [Flag]]) -> Vec<(String, String)> {
    let all = tables.iter().flat_map(|table| table.iter());
    let shown = all.filter(|flag| !flag.hidden);
    let mut found: Vec<_> = shown
        .map(|flag| (format!("--{}", flag.long), flag.help.to_owned()))
        .collect();
    found.push(("--help".to_owned(), "Show what the command does".to_owned()));
    found.sort();
    found
}

fn value_of(flag: &Flag) -> Place {
    match of_flag(flag.long) {
        Ok(kind) => Place::Named(kind),
        Err([]) => Place::Files,
        Err(words) => {
            let word = |word: &&str| ((*word).to_owned(), String::new());
            Place::Words(words.iter().map(word).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &str) -> Place {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (last, before) = words.split_last().unwrap();
        place(before, last)
    }

    fn has(line: &str, word: &str) -> bool {
        match at(line) {
            Place::Words(words) => words.iter().any(|(found, _)| found == word),
            _ => false,
        }
    }

    #[test]
    fn commands_and_flags_are_found() {
        assert!(has("", "run") && has("", "container") && has("-D ru", "run"));
        assert!(has("--h", "--host") && has("container ", "prune") && has("context ", "use"));
        assert!(has("run --ne", "--network") && has("container ls --", "--filter"));
        assert!(has("run --restart ", "on-failure") && has("run --pull=", "always"));
        // After the image the words are the container's.
        assert!(!has("run box --ne", "--network"));
    }

    #[test]
    fn arguments_and_values_have_names() {
        for (line, kind) in [
            ("rm ", Names::Containers),
            ("container rm -f a ", Names::Containers),
            ("stop -t 3 ", Names::Running),
            ("start ", Names::Stopped),
            ("run ", Names::Images),
            ("run -it --rm --name x ", Names::Images),
            ("run -itd --network ", Names::Networks),
            ("run --network=", Names::Networks),
            ("network connect ", Names::Networks),
            ("network connect net ", Names::Containers),
            ("volume rm ", Names::Volumes),
            ("-c ", Names::Contexts),
            ("--context there context use ", Names::Contexts),
        ] {
            assert_eq!(at(line), Place::Named(kind), "{line}");
        }
        for line in [
            "run box ",
            "run --env-file ",
            "build ",
            "cp ",
            "nosuch a b ",
        ] {
            assert_eq!(at(line), Place::Files, "{line}");
        }
    }
}
