//! The command line: `hull-runtime [global options] command [options] arguments`, as runc has it.

mod create;
pub(crate) mod delete;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod resume;
mod run;
mod spec;
mod start;
mod state;

use crate::arguments::{Arguments, Flag};
use crate::error::{Error, chain, said};
use crate::id::ContainerId;
use crate::report::Report;
use crate::state::Container;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options before the command.
const GLOBAL: &[Flag] = &[
    Flag("debug", None, false),
    Flag("log", None, true),
    Flag("log-format", None, true),
    Flag("root", None, true),
    Flag("criu", None, true),
    Flag("systemd-cgroup", None, false),
    Flag("rootless", None, true),
    Flag("help", Some('h'), false),
    Flag("version", Some('v'), false),
];

/// Options of a new first process.
pub(crate) const NEW_CONTAINER: &[Flag] = &[
    Flag("bundle", Some('b'), true),
    Flag("console-socket", None, true),
    Flag("pidfd-socket", None, true),
    Flag("pid-file", None, true),
    Flag("no-pivot", None, false),
    Flag("no-new-keyring", None, false),
    Flag("no-subreaper", None, false),
    Flag("keep", None, false),
    Flag("detach", Some('d'), false),
    Flag("preserve-fds", None, true),
];

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// `--root`.
    pub(crate) root: PathBuf,
    /// Where messages go.
    pub(crate) report: Report,
}

impl Context {
    /// The container the only argument names.
    pub(crate) fn container(
        &self,
        command: &str,
        arguments: &Arguments,
    ) -> Result<Container, Error> {
        let id = only_argument(command, arguments)?;
        Container::load(&self.root, &id)
    }
}

/// The only argument of a command, a container's id.
pub(crate) fn only_argument(command: &str, arguments: &Arguments) -> Result<ContainerId, Error> {
    match arguments.rest.as_slice() {
        [id] => ContainerId::parse(id),
        _ => Err(said(format!(
            "runc: {command:?} requires exactly 1 argument(s)"
        ))),
    }
}

/// Writes a command's result.
pub(crate) fn output(text: &str) -> Result<(), Error> {
    use crate::error::Step as _;
    std::io::stdout()
        .write_all(text.as_bytes())
        .step(|| "write to standard output")
}

/// Runs one command line (without the program's name) and gives its exit code.
pub fn main(words: Vec<OsString>) -> ExitCode {
    let global = match Arguments::parse(words, GLOBAL, false) {
        Ok(global) => global,
        Err(error) => {
            Report::default().error(&chain(&error));
            return ExitCode::FAILURE;
        }
    };
    let context = Context {
        root: global.value("root").unwrap_or("/run/hull/runtime").into(),
        report: Report {
            file: global.value("log").map(PathBuf::from),
            json: global.value("log-format") == Some("json"),
        },
    };
    let mut words = global.rest.iter();
    let command = words.next().map_or("help", String::as_str);
    let command = if global.is_set("version") {
        "version"
    } else {
        command
    };
    let words: Vec<OsString> = words.map(OsString::from).collect();
    match dispatch(&context, command, words) {
        Ok(code) => code,
        Err(error) => {
            let text = chain(&error);
            let text = match command {
                "create" | "run" => format!("runc {command} failed: {text}"),
                "exec" => format!("exec failed: {text}"),
                _ => text,
            };
            context.report.error(&text);
            // As runc: the codes below are the program's own.
            if command == "exec" {
                ExitCode::from(255)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn dispatch(context: &Context, command: &str, words: Vec<OsString>) -> Result<ExitCode, Error> {
    let parse = |flags: &[Flag]| Arguments::parse(words.clone(), flags, true);
    const FORMAT: &[Flag] = &[
        Flag("format", Some('f'), true),
        Flag("quiet", Some('q'), false),
    ];
    let done = match command {
        "create" => create::run(context, &parse(NEW_CONTAINER)?),
        "start" => start::run(context, &parse(&[])?),
        "run" => return run::run(context, &parse(NEW_CONTAINER)?),
        "exec" => return exec::run(context, &Arguments::parse(words, exec::FLAGS, false)?),
        "kill" => kill::run(
            context,
            &Arguments::parse(words, &[Flag("all", Some('a'), false)], true)?,
        ),
        "delete" => delete::run(context, &parse(&[Flag("force", Some('f'), false)])?),
        "state" => state::run(context, &parse(&[])?),
        "list" => list::run(context, &parse(FORMAT)?),
        "ps" => ps::run(context, &Arguments::parse(words, FORMAT, true)?),
        "pause" => pause::run(context, &parse(&[])?),
        "resume" => resume::run(context, &parse(&[])?),
        "spec" => spec::run(&parse(&[
            Flag("bundle", Some('b'), true),
            Flag("rootless", None, false),
        ])?),
        "features" => features::run(),
        "version" => output(&format!(
            "hull-runtime version {}\nspec: {}\n",
            env!("CARGO_PKG_VERSION"),
            hull_spec::runtime::VERSION
        )),
        "help" | "h" => output(HELP),
        other => {
            context
                .report
                .error(&format!("No help topic for '{other}'"));
            return Ok(ExitCode::from(3));
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

const HELP: &str = "\
hull-runtime: OCI runtime

usage: hull-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND ...

  create [--bundle DIR] [--console-socket PATH] [--pid-file PATH] [--preserve-fds N]
         [--no-pivot] [--no-new-keyring] ID
  start ID
  run [create's options] [--detach] [--keep] [--no-subreaper] ID
  exec [--process FILE] [--detach] [--tty] [--user UID[:GID]] [--cwd DIR] [--env NAME=VALUE]
       [--cap CAP] [--additional-gids GID] [--no-new-privs] [--console-socket PATH]
       [--pid-file PATH] [--preserve-fds N] [--ignore-paused] ID [COMMAND ...]
  kill [--all] ID [SIGNAL]
  delete [--force] ID
  state ID
  list [--format table|json] [--quiet]
  ps [--format table|json] ID [ps options]
  pause ID
  resume ID
  spec [--bundle DIR]
  features
";
