//! `hull wait`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::Matches;
use hull_api::client::{Client, Error, WaitCondition};

pub(crate) static COMMAND: Command = Command {
    words: &["container wait", "wait"],
    usage: "CONTAINER [CONTAINER...]",
    about: "Wait until one or more containers end and print their exit codes",
    flags: &[],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    cli.block_on(async {
        let mut errors = Vec::new();
        for name in &matches.args {
            match wait(client, name).await {
                Ok(status) => crate::print(&format!("{status}\n")),
                Err(error) => errors.push(client_message(&error)),
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(errors.join("\n")))
        }
    })
}

async fn wait(client: &Client, name: &str) -> Result<i64, Error> {
    let waiting = client.wait(name, WaitCondition::NotRunning).await?;
    Ok(waiting.exit().await?.status_code)
}
