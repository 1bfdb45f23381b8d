//! `hull stop` and `hull restart`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, int, value};

static FLAGS: &[Flag] = &[
    value("signal", "string", "Signal that asks the container to end").short('s'),
    int("timeout", "Seconds to wait before the container is killed").short('t'),
    int("time", "").same_as("timeout"),
];

pub(crate) static STOP: Command = Command {
    words: &["container stop", "stop"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop one or more running containers",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run: |cli, matches| act(cli, matches, "stop"),
};

pub(crate) static RESTART: Command = Command {
    words: &["container restart", "restart"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop and start one or more containers",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run: |cli, matches| act(cli, matches, "restart"),
};

fn act(cli: &Cli, matches: &Matches, verb: &'static str) -> Outcome {
    let client = cli.client()?;
    let timeout = matches.int("timeout");
    let signal = matches.text("signal");
    cli.block_on(async {
        // All at once: ten containers that take ten seconds each take ten seconds.
        let tasks: Vec<_> = matches
            .args
            .iter()
            .map(|name| {
                let (client, name, signal) = (client.clone(), name.clone(), signal.to_owned());
                tokio::spawn(async move { client.stop(&name, verb, &signal, timeout).await })
            })
            .collect();
        let mut errors = Vec::new();
        for (name, task) in matches.args.iter().zip(tasks) {
            match task.await {
                Ok(Ok(())) => crate::print(&format!("{name}\n")),
                Ok(Err(error)) => errors.push(crate::failure::client_message(&error)),
                Err(error) => errors.push(error.to_string()),
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(errors.join("\n")))
        }
    })
}
