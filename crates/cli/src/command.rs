//! Which commands there are, and how a command line finds its one.

use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{self, Flag, FlagError, Matches};
use crate::{
    access, build, checkpoint, completion, container, contexts, explain, image, manifest, manual,
    network, plugins, suggest, system, volume,
};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the program was started as `docker`.
static AS_DOCKER: AtomicBool = AtomicBool::new(false);

/// From now on this program is `docker`: by its name in messages, its version and its default address.
pub(crate) fn be_docker() {
    AS_DOCKER.store(true, Ordering::Relaxed);
}

/// Whether the program was started as `docker`.
pub(crate) fn is_docker() -> bool {
    AS_DOCKER.load(Ordering::Relaxed)
}

/// How users call this program.
pub(crate) fn program() -> &'static str {
    if is_docker() { "docker" } else { "hull" }
}

/// What `--version` prints. Programs look for `Docker version`, a number and a comma.
pub(crate) fn version() -> String {
    let own = env!("CARGO_PKG_VERSION");
    if is_docker() {
        format!("Docker version {}, build hull-{own}\n", hull_api::DOCKER)
    } else {
        format!("Hull version {own}\n")
    }
}

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its names, each of one or two words.
    pub(crate) words: &'static [&'static str],
    /// What follows the name on the usage line.
    pub(crate) usage: &'static str,
    /// One line about it.
    pub(crate) about: &'static str,
    pub(crate) flags: &'static [&'static [Flag]],
    pub(crate) arity: Arity,
    /// Whether flags may follow arguments.
    pub(crate) interspersed: bool,
    pub(crate) run: fn(&Cli, &Matches) -> Outcome,
}

/// How many arguments a command takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arity {
    None,
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
    /// Said shortly, without the usage.
    Plainly(usize),
}

impl Arity {
    /// What is wrong, and whether the hint says `See` or `Run`.
    fn check(self, count: usize) -> Result<(), (String, &'static str)> {
        let arguments = |number: usize| if number == 1 { "argument" } else { "arguments" };
        match self {
            Self::None if count > 0 => Err(("accepts no arguments".to_owned(), "Run")),
            Self::Exactly(want) if count != want => {
                Err((format!("requires {want} {}", arguments(want)), "Run"))
            }
            Self::AtLeast(want) if count < want => Err((
                format!("requires at least {want} {}", arguments(want)),
                "See",
            )),
            Self::AtMost(want) if count > want => Err((
                format!("requires at most {want} {}", arguments(want)),
                "Run",
            )),
            Self::Between(least, most) if count < least || count > most => Err((
                format!(
                    "requires at least {least} and at most {most} {}",
                    arguments(most)
                ),
                "Run",
            )),
            _ => Ok(()),
        }
    }
}

/// The groups of commands, with a line about each.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    (
        "access",
        "Work with sockets that may only do and see some things",
    ),
    ("builder", "Build images, and look after what builds keep"),
    ("buildx", "The same, by the name that scripts use"),
    ("checkpoint", "Work with checkpoints of containers"),
    ("container", "Work with containers"),
    ("context", "Work with daemons elsewhere, by names"),
    ("image", "Work with images"),
    (
        "manifest",
        "Put together indexes of images for several platforms",
    ),
    ("network", "Work with networks"),
    ("system", "Work with the daemon"),
    ("volume", "Work with volumes"),
];

/// All commands.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    [
        access::COMMANDS,
        build::COMMANDS,
        checkpoint::COMMANDS,
        completion::COMMANDS,
        container::COMMANDS,
        contexts::COMMANDS,
        explain::COMMANDS,
        image::COMMANDS,
        manifest::COMMANDS,
        manual::COMMANDS,
        network::COMMANDS,
        system::COMMANDS,
        volume::COMMANDS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Finds the command at the front of `args` and runs it.
pub(crate) fn dispatch(cli: &Cli, args: &[String]) -> Outcome {
    let program = program();
    let Some(first) = args.first() else {
        // Nobody asked for help: what is read further is not filled with it.
        crate::say(overview(cli).trim_end());
        return Ok(());
    };
    if first == completion::ASKED {
        return completion::answer(&args[1..]);
    }
    if first == "help" {
        return help(cli, &args[1..]);
    }
    if GROUPS.iter().any(|(name, _)| name == first) {
        let Some(second) = args.get(1).filter(|word| !word.starts_with('-')) else {
            match args.get(1) {
                Some(_) => crate::print(&group_overview(first)),
                None => crate::say(group_overview(first).trim_end()),
            }
            return Ok(());
        };
        let words = format!("{first} {second}");
        return match find(&words) {
            Some(command) => run(cli, command, &words, &args[2..]),
            // A command that the plugin of the same name has and we have not.
            None if let Some(plugin) = plugins::find(cli, first) => Err(plugins::run(cli, &plugin)),
            None => Err(Failure::new(format!(
                "{program}: unknown command: {program} {words}{}\n\nUsage:  {program} {first}\n\nRun '{program} {first} --help' for more information",
                meant(&words)
            ))),
        };
    }
    match find(first) {
        Some(command) => run(cli, command, first, &args[1..]),
        None if let Some(plugin) = plugins::find(cli, first) => Err(plugins::run(cli, &plugin)),
        None => Err(Failure::new(format!(
            "{program}: unknown command: {program} {first}{}\n\nRun '{program} --help' for more information",
            meant(first)
        ))),
    }
}

/// The command that may have been meant, as a line of its own.
fn meant(words: &str) -> String {
    let known = all().flat_map(|command| command.words.iter().copied());
    let groups = GROUPS.iter().map(|(name, _)| *name);
    match suggest::near(words, known.chain(groups)) {
        Some(near) => format!("\n\nDid you mean '{} {near}'?", program()),
        None => String::new(),
    }
}

/// Whether a word is a group of commands.
pub(crate) fn is_group(word: &str) -> bool {
    GROUPS.iter().any(|(name, _)| *name == word)
}

fn find(words: &str) -> Option<&'static Command> {
    all().find(|command| command.words.contains(&words))
}

fn help(cli: &Cli, args: &[String]) -> Outcome {
    let words = args.join(" ");
    if words.is_empty() {
        crate::print(&overview(cli));
    } else if let Some(command) = find(&words) {
        let columns = crate::terminal::columns();
        crate::print(&flags::write_help(&words, command, columns));
    } else if GROUPS.iter().any(|(name, _)| *name == words) {
        crate::print(&group_overview(&words));
    } else {
        return Err(Failure::new(format!("unknown help topic: {words}")));
    }
    Ok(())
}

fn run(cli: &Cli, command: &'static Command, words: &str, args: &[String]) -> Outcome {
    let matches = flags::parse(command.flags, args, command.interspersed).map_err(|error| {
        flag_failure(
            command.flags,
            &error,
            &flags::usage_line(words, command),
            words,
        )
    })?;
    if matches.help {
        let columns = crate::terminal::columns();
        crate::print(&flags::write_help(words, command, columns));
        return Ok(());
    }
    if let Arity::Plainly(want) = command.arity
        && matches.args.len() != want
    {
        let got = matches.args.len();
        return Err(Failure::new(format!(
            "accepts {want} arg(s), received {got}"
        )));
    }
    if command.arity.check(matches.args.len()).is_err() {
        return Err(wrong_count(
            command,
            words,
            command.arity,
            matches.args.len(),
        ));
    }
    (command.run)(cli, &matches)
}

/// `count` arguments are too few or too many.
pub(crate) fn wrong_count(
    command: &'static Command,
    words: &str,
    arity: Arity,
    count: usize,
) -> Failure {
    let program = program();
    let (what, verb) = arity.check(count).err().unwrap_or_default();
    Failure::new(format!(
        "{program}: '{program} {words}' {what}\n\nUsage:  {}\n\n{verb} '{program} {words} --help' for more information",
        flags::usage_line(words, command)
    ))
}

/// An unreadable command line: exit code 125, as for everything that fails before a container runs.
pub(crate) fn flag_failure(
    tables: &[&'static [Flag]],
    error: &FlagError,
    usage: &str,
    words: &str,
) -> Failure {
    let program = program();
    let words = if words.is_empty() {
        program.to_owned()
    } else {
        format!("{program} {words}")
    };
    let known = tables.iter().flat_map(|table| table.iter());
    let known = known.filter(|flag| !flag.hidden).map(|flag| flag.long);
    let near = match error {
        FlagError::Unknown(name) => suggest::near(name, known),
        _ => None,
    };
    let meant = near.map_or(String::new(), |near| {
        format!("\n\nDid you mean '--{near}'?")
    });
    Failure::with_code(
        125,
        format!("{error}{meant}\n\nUsage:  {usage}\n\nRun '{words} --help' for more information"),
    )
}

/// `hull --help`.
pub(crate) fn overview(cli: &Cli) -> String {
    let program = program();
    let mut out = format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nContainers, with Docker's commands and API\n\nManagement Commands:\n"
    );
    let single: Vec<(&str, &str)> = all()
        .filter_map(|command| {
            let word = command.words.iter().find(|words| !words.contains(' '))?;
            Some((*word, command.about))
        })
        .collect();
    let plugins = plugins::all(cli);
    // Those of others have a star, as in Docker's list.
    let starred: Vec<(String, &str)> = plugins
        .iter()
        .map(|plugin| {
            (
                format!("{}*", plugin.name),
                plugin.short_description.as_str(),
            )
        })
        .collect();
    let mut groups = GROUPS.to_vec();
    groups.extend(starred.iter().map(|(name, about)| (name.as_str(), *about)));
    groups.sort_unstable();
    out.push_str(&columns(groups.into_iter()));
    out.push_str("\nCommands:\n");
    let mut single = single;
    single.push(("daemon", "Start the daemon"));
    single.sort_unstable();
    out.push_str(&columns(single.into_iter()));
    out.push_str("\nGlobal Options:\n");
    let globals: Vec<&Flag> = crate::context::GLOBAL_FLAGS
        .iter()
        .filter(|flag| !flag.hidden)
        .collect();
    out.push_str(&flags::write_flags(&globals, crate::terminal::columns()));
    out.push_str(&format!(
        "\nRun '{program} COMMAND --help' for more information on a command.\n"
    ));
    out
}

fn group_overview(group: &str) -> String {
    let program = program();
    let about = GROUPS
        .iter()
        .find(|(name, _)| *name == group)
        .map_or("", |(_, about)| about);
    let prefix = format!("{group} ");
    let mut commands: Vec<(&str, &str)> = all()
        .filter_map(|command| {
            let word = command
                .words
                .iter()
                .find_map(|words| words.strip_prefix(prefix.as_str()))?;
            Some((word, command.about))
        })
        .collect();
    commands.sort_unstable();
    format!(
        "Usage:  {program} {group} COMMAND\n\n{about}\n\nCommands:\n{}\nRun '{program} {group} COMMAND --help' for more information on a command.\n",
        columns(commands.into_iter())
    )
}

fn columns<'a>(rows: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    rows.map(|(name, about)| format!("  {name:<11} {about}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_and_flag_is_declared_once() {
        let mut names = BTreeSet::new();
        for command in all() {
            for words in command.words {
                assert!(names.insert(*words), "{words}");
            }
            let mut longs = BTreeSet::new();
            let mut shorts = BTreeSet::new();
            for flag in command.flags.iter().flat_map(|table| table.iter()) {
                assert!(longs.insert(flag.long), "{}", flag.long);
                if let Some(short) = flag.short {
                    assert!(shorts.insert(short), "-{short}");
                }
                assert!(flag.hidden || !flag.help.is_empty(), "{}", flag.long);
            }
        }
    }

    #[test]
    fn arguments_are_counted_with_dockers_words() {
        assert_eq!(Arity::None.check(1).unwrap_err().0, "accepts no arguments");
        assert_eq!(
            Arity::AtLeast(1).check(0).unwrap_err(),
            ("requires at least 1 argument".to_owned(), "See")
        );
        assert_eq!(
            Arity::Exactly(2).check(1).unwrap_err().0,
            "requires 2 arguments"
        );
        assert_eq!(
            Arity::AtMost(1).check(2).unwrap_err().0,
            "requires at most 1 argument"
        );
    }
}
