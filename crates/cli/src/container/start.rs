//! `hull start`.

use super::run::finish;
use super::{check_terminal, detach_keys};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::{Flag, Matches, flag, value};
use crate::terminal::{DetachKeys, Session, Streams, Target, stdout_is_terminal};
use hull_api::client::{AttachOptions, Client, WaitCondition};
use std::sync::Arc;

static FLAGS: &[Flag] = &[
    flag("attach", "Show the output and pass signals on").short('a'),
    value("checkpoint", "string", "Go on from this checkpoint"),
    value(
        "checkpoint-dir",
        "string",
        "Directory of the checkpoint on the daemon's host, if it is not with the container",
    ),
    value(
        "detach-keys",
        "string",
        "Keys that leave the container running",
    ),
    flag("interactive", "Pass standard input on").short('i'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container start", "start"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start one or more containers that do not run",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let one = |what: &str| match matches.args.as_slice() {
        [name] => Ok(name.as_str()),
        _ => Err(Failure::new(format!(
            "you cannot {what} multiple containers at once"
        ))),
    };
    let checkpoint = Checkpoint {
        name: matches.text("checkpoint"),
        directory: matches.text("checkpoint-dir"),
    };
    if matches.bool("attach") || matches.bool("interactive") {
        let name = one("start and attach")?;
        let keys = detach_keys(cli, matches.text("detach-keys"))?;
        let interactive = matches.bool("interactive");
        return cli.block_on(attached(client, name, interactive, keys, checkpoint));
    }
    if !checkpoint.name.is_empty() {
        let name = one("restore")?;
        let started = client.start_from(name, checkpoint.name, checkpoint.directory);
        return Ok(cli.block_on(started)?);
    }
    cli.block_on(start_all(client, &matches.args))
}

/// Where a container goes on; no name for its beginning.
#[derive(Clone, Copy)]
struct Checkpoint<'a> {
    name: &'a str,
    directory: &'a str,
}

async fn start_all(client: &Client, names: &[String]) -> Outcome {
    let mut failed = Vec::new();
    for name in names {
        match client.start(name).await {
            Ok(()) => crate::print(&format!("{name}\n")),
            Err(error) => {
                crate::say(&client_message(&error));
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "Error: failed to start containers: {}",
        failed.join(", ")
    )))
}

async fn attached(
    client: &Arc<Client>,
    name: &str,
    interactive: bool,
    (keys_text, detach_keys): (String, DetachKeys),
    from: Checkpoint<'_>,
) -> Outcome {
    let container = client.container(name).await?;
    let id = container.id.as_str();
    let config = &container.config;
    let streams = Streams {
        stdin: interactive && config.open_stdin,
        stdout: true,
        stderr: true,
        tty: config.tty,
        detach_keys,
    };
    check_terminal(streams.stdin, streams.tty)?;
    let options = AttachOptions {
        stdin: streams.stdin,
        stdout: true,
        stderr: true,
        logs: false,
        detach_keys: keys_text,
    };
    let connection = client.attach(id, &options).await?;
    let remove = container.host_config.auto_remove;
    let condition = if remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let waiting = client.wait(id, condition).await?;
    let mut session = Session::start(connection, &streams, !config.tty)?;
    let started = client.start_from(id, from.name, from.directory);
    if let Err(error) = started.await {
        session.restore();
        if remove {
            let _ = waiting.exit().await;
        }
        return Err(error.into());
    }
    let target = Target::Container(id.to_owned());
    if config.tty && stdout_is_terminal() {
        target.initial_size(client).await;
    }
    let ended = session.run(client, &target).await;
    finish(ended, waiting).await
}
