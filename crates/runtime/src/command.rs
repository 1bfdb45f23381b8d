//! The command line: `hull-runtime [global options] command [options] arguments`, as runc has it.

mod checkpoint;
mod create;
pub(crate) mod delete;
mod events;
mod exec;
mod features;
mod help;
pub(crate) mod kill;
mod list;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
mod spec;
pub(crate) mod start;
mod state;
mod update;

use crate::arguments::{Arguments, Flag, Kind, Order};
use crate::error::{Error, chain, said};
use crate::id::ContainerId;
use crate::report::Report;
use crate::state::Container;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// A command: what its help says, what it takes, and what it does.
pub(crate) struct Command {
    /// What is typed.
    pub(crate) name: &'static str,
    /// In one line.
    pub(crate) summary: &'static str,
    /// What follows the options, and an explanation of it below.
    pub(crate) arguments: &'static str,
    /// More; may be empty.
    pub(crate) description: &'static str,
    /// Its options.
    pub(crate) flags: &'static [Flag],
    /// Where they end.
    pub(crate) order: Order,
    /// How many arguments there must be, at least and at most.
    pub(crate) count: (usize, usize),
    /// What it does.
    pub(crate) run: fn(&Context, &Arguments) -> Result<ExitCode, Error>,
}

/// All commands, in the order of the help.
pub(crate) const COMMANDS: &[&Command] = &[
    &checkpoint::COMMAND,
    &create::COMMAND,
    &delete::COMMAND,
    &events::COMMAND,
    &exec::COMMAND,
    &kill::COMMAND,
    &list::COMMAND,
    &pause::COMMAND,
    &ps::COMMAND,
    &restore::COMMAND,
    &resume::COMMAND,
    &run::COMMAND,
    &spec::COMMAND,
    &start::COMMAND,
    &state::COMMAND,
    &update::COMMAND,
    &features::COMMAND,
];

/// Options before the command.
const GLOBAL: &[Flag] = &[
    Flag::new("debug", Kind::Switch, "say what is being done"),
    Flag::new(
        "log",
        Kind::Text,
        "file the messages are added to (default is '/dev/stderr')",
    ),
    Flag::new(
        "log-format",
        Kind::Text,
        "form of the messages: 'text' (default) or 'json'",
    ),
    Flag::new(
        "root",
        Kind::Text,
        "directory in which the state of containers is kept; a tmpfs is best",
    ),
    // runc takes it without showing it: what CRIU to call is CRIU's own configuration now.
    Flag::new("criu", Kind::Text, ""),
    Flag::new(
        "systemd-cgroup",
        Kind::Switch,
        "have systemd make the control groups; cgroupsPath is then \"slice:prefix:name\"",
    ),
    Flag::new(
        "rootless",
        Kind::Text,
        "go on without control groups that may not be made ('true', 'false' or 'auto', the default)",
    ),
    Flag::new("version", Kind::Switch, "print the version").letter('v'),
];

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// `--root`.
    pub(crate) root: PathBuf,
    /// Whether `--root` was given.
    pub(crate) root_given: bool,
    /// `--systemd-cgroup`.
    pub(crate) systemd_cgroup: bool,
    /// `--rootless`; nothing for `auto`.
    pub(crate) rootless: Option<bool>,
    /// Where messages go.
    pub(crate) report: Report,
}

impl Context {
    fn new(global: &Arguments) -> Result<Self, Error> {
        let json = match global.value("log-format") {
            None | Some("" | "text") => false,
            Some("json") => true,
            Some(other) => return Err(said(format!("invalid log-format: {other}"))),
        };
        let root = root(global.value("root"))?;
        let report = Report::open(global.text("log"), json, global.is_set("debug"))?;
        let rootless = match global.text("rootless") {
            None => None,
            Some(word) if word.eq_ignore_ascii_case("auto") => None,
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Some(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Some(false),
            Some(other) => {
                return Err(said(format!("invalid value {other:?} for --rootless")));
            }
        };
        Ok(Self {
            root,
            root_given: global.value("root").is_some(),
            systemd_cgroup: global.is_set("systemd-cgroup"),
            rootless,
            report,
        })
    }

    /// The container the first argument names.
    pub(crate) fn container(&self, arguments: &Arguments) -> Result<Container, Error> {
        Container::load(&self.root, &id(arguments)?)
    }
}

/// The absolute directory of the state: as given, or the place for this user.
fn root(given: Option<&str>) -> Result<PathBuf, Error> {
    use crate::error::Step as _;
    let Some(given) = given else {
        return Ok(crate::state::default_root());
    };
    let here = || std::env::current_dir().step(|| "getwd");
    let path = if given.is_empty() {
        here()?
    } else {
        std::path::absolute(given).step(|| format!("--root {given}"))?
    };
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    // Also what an empty `--root ""` means in the root directory.
    if clean == std::path::Path::new("/") {
        return Err(said("Option --root argument should not be set to /"));
    }
    Ok(clean)
}

/// The container's id: the first argument.
pub(crate) fn id(arguments: &Arguments) -> Result<ContainerId, Error> {
    ContainerId::parse(arguments.rest.first().map_or("", String::as_str))
}

/// Writes a command's result.
pub(crate) fn output(text: &str) -> Result<(), Error> {
    use crate::error::Step as _;
    std::io::stdout()
        .write_all(text.as_bytes())
        .step(|| "write to standard output")
}

/// What is wrong with a command line, before the help on standard output.
fn usage(text: &str, help: &str) {
    // The error that follows is on standard error; that its company cannot be shown changes nothing.
    let _ = output(&format!("Incorrect Usage{text}\n\n{help}"));
}

/// Runs one command line (without the program's name) and gives its exit code.
pub fn main(words: Vec<OsString>) -> ExitCode {
    let plain = Report::default();
    let global = match Arguments::parse(words, GLOBAL, Order::First) {
        Ok(global) => global,
        Err(error) => {
            usage(&format!(". {error}"), &help::program());
            plain.error(&chain(&error));
            return ExitCode::FAILURE;
        }
    };
    if global.is_set("help") || (global.rest.is_empty() && !global.is_set("version")) {
        return finish(&plain, output(&help::program()));
    }
    if global.is_set("version") {
        return finish(&plain, output(&help::version()));
    }
    let context = match Context::new(&global) {
        Ok(context) => context,
        Err(error) => {
            plain.error(&chain(&error));
            return ExitCode::FAILURE;
        }
    };
    let mut words = global.rest.into_iter();
    let name = words.next().unwrap_or_default();
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => call(&context, command, words.map(OsString::from).collect()),
        None if name == "help" || name == "h" => match words.next() {
            None => finish(&context.report, output(&help::program())),
            Some(topic) => explain(&context, &topic),
        },
        None => explain(&context, &name),
    }
}

fn finish(report: &Report, done: Result<(), Error>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report.error(&chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// The help of a command by name.
fn explain(context: &Context, topic: &str) -> ExitCode {
    match COMMANDS.iter().find(|command| command.name == topic) {
        Some(command) => finish(&context.report, output(&help::command(command))),
        None => {
            context
                .report
                .error(&format!("No help topic for '{topic}'\n"));
            ExitCode::from(3)
        }
    }
}

fn call(context: &Context, command: &Command, words: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::parse(words, command.flags, command.order) {
        Ok(arguments) => arguments,
        Err(error) => {
            usage(&format!(": {error}"), &help::command(command));
            return finish(&context.report, Err(error));
        }
    };
    if arguments.is_set("help") {
        return finish(&context.report, output(&help::command(command)));
    }
    if let Err(error) = check_count(command, arguments.rest.len()) {
        usage(".", &help::command(command));
        return finish(&context.report, Err(error));
    }
    context.report.debug(|| {
        let root = context.root.display();
        format!("{} {:?}, state in {root}", command.name, arguments.rest)
    });
    match (command.run)(context, &arguments) {
        Ok(code) => code,
        Err(error) => {
            let text = chain(&error);
            // runc puts its name here, and clients look for it.
            let (text, code) = match command.name {
                "create" | "run" => (format!("runc {} failed: {text}", command.name), 1),
                // The codes below are the program's own.
                "exec" => (format!("exec failed: {text}"), 255),
                _ => (text, 1),
            };
            context.report.error(&text);
            ExitCode::from(code)
        }
    }
}

fn check_count(command: &Command, count: usize) -> Result<(), Error> {
    let (least, most) = command.count;
    let (how, number) = match count {
        count if least == most && count != least => ("exactly", least),
        count if count < least => ("a minimum of", least),
        count if count > most => ("a maximum of", most),
        _ => return Ok(()),
    };
    let program = std::env::args_os().next().unwrap_or_default();
    let (program, name) = (program.to_string_lossy(), command.name);
    Err(said(format!(
        "{program}: {name:?} requires {how} {number} argument(s)"
    )))
}
