//! `hull attach`.

use super::{check_terminal, detach_keys, exit_with};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag, value};
use crate::terminal::{DetachKeys, Ended, Session, Signals, Streams, Target, stdout_is_terminal};
use hull_api::client::{AttachOptions, Client, WaitCondition, Waiting};
use hull_api::container::Inspect;
use std::sync::Arc;

static FLAGS: &[Flag] = &[
    value(
        "detach-keys",
        "string",
        "Keys that leave the container running",
    ),
    flag("no-stdin", "Do not pass standard input on"),
    flag("sig-proxy", "Pass signals on to the container").default("true"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container attach", "attach"],
    usage: "[OPTIONS] CONTAINER",
    about: "Join our streams with those of a running container",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let keys = detach_keys(cli, matches.text("detach-keys"))?;
    let client = cli.client()?;
    cli.block_on(attach(client, matches, keys))
}

async fn attach(
    client: &Arc<Client>,
    matches: &Matches,
    (keys_text, detach_keys): (String, DetachKeys),
) -> Outcome {
    let container = running(client, &matches.args[0]).await?;
    let id = container.id.as_str();
    let tty = container.config.tty;
    let with_stdin = !matches.bool("no-stdin");
    check_terminal(with_stdin, tty)?;
    let streams = Streams {
        stdin: with_stdin && container.config.open_stdin,
        stdout: true,
        stderr: true,
        tty,
        detach_keys,
    };
    let options = AttachOptions {
        stdin: streams.stdin,
        stdout: true,
        stderr: true,
        logs: false,
        detach_keys: keys_text,
    };
    // Before anything else, so that an exit meanwhile is not missed.
    let waiting = client.wait(id, WaitCondition::NotRunning).await?;
    let connection = client.attach(id, &options).await?;
    // The daemon lets clients attach to what has ended, until it starts again. One that ended meanwhile has an exit
    // code, and nothing more to show.
    let again = client.container(id).await;
    if !again.is_ok_and(|container| container.state.running) {
        return ended(waiting).await;
    }
    let proxy = matches.bool_or("sig-proxy", true) && !tty;
    let mut session = Session::start(connection, &streams, proxy)?;
    let target = Target::Container(id.to_owned());
    if tty && stdout_is_terminal() {
        target.redraw(client).await;
    }
    match session.run(client, &target).await {
        Ended::Detached => Err(Failure::new("read escape sequence")),
        Ended::Signal(name) => Err(Failure::Exit(Signals::exit_code(name))),
        Ended::Broken(error) => Err(error.into()),
        Ended::Closed => ended(waiting).await,
    }
}

/// Exits as the container did.
async fn ended(waiting: Waiting) -> Outcome {
    let reply = waiting.exit().await?;
    match reply.error.filter(|error| !error.message.is_empty()) {
        Some(error) => Err(Failure::new(error.message)),
        None => exit_with(reply.status_code),
    }
}

/// The container, if one can attach to it.
async fn running(client: &Client, name: &str) -> Result<Inspect, Failure> {
    let container = client.container(name).await?;
    let state = &container.state;
    if !state.running {
        return Err(Failure::new(
            "You cannot attach to a stopped container, start it first",
        ));
    }
    if state.paused {
        return Err(Failure::new(
            "You cannot attach to a paused container, unpause it first",
        ));
    }
    if state.restarting {
        return Err(Failure::new(
            "You cannot attach to a restarting container, wait until it is running",
        ));
    }
    Ok(container)
}
