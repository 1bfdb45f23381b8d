//! `hull exec`.

use super::options::{check_env, environment};
use super::{check_terminal, detach_keys, exit_with};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Kind, Matches, flag, list, value};
use crate::terminal::{Ended, Session, Signals, Streams, Target, size};
use hull_api::client::Client;
use hull_api::exec::{ExecCreateRequest, ExecStartRequest};
use std::sync::Arc;

static FLAGS: &[Flag] = &[
    flag("detach", "Leave the command running").short('d'),
    value(
        "detach-keys",
        "string",
        "Keys that leave the command running",
    ),
    list(
        "env",
        "list",
        "Set an environment variable (NAME=value, or NAME to pass ours on)",
    )
    .short('e')
    .kind(Kind::Checked(check_env)),
    list(
        "env-file",
        "list",
        "File with environment variables, one a line",
    ),
    flag("interactive", "Keep standard input open").short('i'),
    flag("privileged", "Give all privileges to the command"),
    flag("tty", "Give the command a terminal").short('t'),
    value(
        "user",
        "string",
        "User to run as (name or uid, and a group after a colon)",
    )
    .short('u'),
    value("workdir", "string", "Directory to work in").short('w'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container exec", "exec"],
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Run a command in a running container",
    flags: &[FLAGS],
    arity: Arity::AtLeast(2),
    interspersed: false,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let env = environment(matches.list("env-file"), matches.list("env")).map_err(Failure::new)?;
    let (keys_text, keys) = detach_keys(cli, matches.text("detach-keys"))?;
    let detach = matches.bool("detach");
    let tty = matches.bool("tty");
    let (rows, columns) = size();
    let console_size = (tty && rows > 0).then(|| [rows.into(), columns.into()]);
    let request = ExecCreateRequest {
        user: matches.text("user").to_owned(),
        privileged: matches.bool("privileged"),
        tty,
        console_size,
        attach_stdin: !detach && matches.bool("interactive"),
        attach_stderr: !detach,
        attach_stdout: !detach,
        detach_keys: keys_text,
        env: (!env.is_empty()).then_some(env),
        working_dir: matches.text("workdir").to_owned(),
        cmd: Some(matches.args[1..].to_vec()),
    };
    let streams = Streams {
        stdin: request.attach_stdin,
        stdout: true,
        stderr: true,
        tty,
        detach_keys: keys,
    };
    if request.attach_stdin {
        check_terminal(true, tty)?;
    }
    let client = cli.client()?;
    cli.block_on(exec(client, &matches.args[0], &request, &streams, detach))
}

async fn exec(
    client: &Arc<Client>,
    container: &str,
    request: &ExecCreateRequest,
    streams: &Streams,
    detach: bool,
) -> Outcome {
    let id = client.exec_create(container, request).await?;
    let start = ExecStartRequest {
        detach,
        tty: request.tty,
        console_size: request.console_size,
    };
    if detach {
        return Ok(client.exec_detached(&id, &start).await?);
    }
    let created_with = size();
    let connection = client.exec_attached(&id, &start).await?;
    let mut session = Session::start(connection, streams, false)?;
    let target = Target::Exec(id.clone());
    if request.tty && size() != created_with {
        target.initial_size(client).await;
    }
    match session.run(client, &target).await {
        Ended::Detached => Err(Failure::new("read escape sequence")),
        Ended::Signal(name) => Err(Failure::Exit(Signals::exit_code(name))),
        Ended::Broken(error) => Err(error.into()),
        Ended::Closed => {
            let exec = client.exec_inspect(&id).await?;
            exit_with(exec.exit_code.unwrap_or_default())
        }
    }
}
