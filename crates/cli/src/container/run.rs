//! `hull run`: create, attach, wait, start, in this order, so that neither output nor exit is missed.

use super::create::{create, request, with_help};
use super::options::{FLAGS, RUN_FLAGS};
use super::{check_terminal, detach_keys, exit_with};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::Matches;
use crate::terminal::{Ended, Session, Signals, Streams, Target, size};
use hull_api::client::{AttachOptions, Client, Error, WaitCondition, Waiting};
use hull_api::container::Config;
use std::sync::Arc;

pub(crate) static COMMAND: Command = Command {
    words: &["container run", "run"],
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a container from an image and run it",
    flags: &[FLAGS, RUN_FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: false,
    run,
};

/// Runs a shell in a container of an image, on our terminal if there is one; the container goes with it.
pub(crate) fn run_shell(cli: &Cli, image: &str) -> Outcome {
    let terminal = if crate::terminal::stdin_is_terminal() {
        "--tty"
    } else {
        "--tty=false"
    };
    let words = [
        "--rm",
        "--interactive",
        terminal,
        "--entrypoint",
        "",
        image,
        "/bin/sh",
    ];
    run_words(cli, &words.map(str::to_owned))
}

/// `hull run` with these words.
pub(crate) fn run_words(cli: &Cli, words: &[String]) -> Outcome {
    let matches = crate::flags::parse(COMMAND.flags, words, COMMAND.interspersed)
        .map_err(|error| Failure::new(error.to_string()))?;
    run(cli, &matches)
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let mut request = request(cli, matches, "run")?;
    let config = &mut request.config;
    if matches.bool("detach") {
        if matches.changed("attach") {
            return Err(Failure::new(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        config.attach_stdin = false;
        config.attach_stdout = false;
        config.attach_stderr = false;
        config.stdin_once = false;
    } else {
        check_terminal(config.attach_stdin, config.tty)?;
    }
    let keys = detach_keys(cli, matches.text("detach-keys"))?;
    let config = request.config.clone();
    cli.block_on(async {
        let id = create(cli, matches, request).await.map_err(refused)?;
        let client = cli.client()?;
        if !(config.attach_stdin || config.attach_stdout || config.attach_stderr) {
            client.start(&id).await.map_err(not_started)?;
            crate::print(&format!("{id}\n"));
            return Ok(());
        }
        attached(client, matches, &id, &config, keys).await
    })
}

/// Runs with our streams joined to the container's.
async fn attached(
    client: &Arc<Client>,
    matches: &Matches,
    id: &str,
    config: &Config,
    (keys_text, detach_keys): (String, crate::terminal::DetachKeys),
) -> Outcome {
    let options = AttachOptions {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        logs: false,
        detach_keys: keys_text,
    };
    let streams = Streams {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        tty: config.tty,
        detach_keys,
    };
    let remove = matches.bool("rm");
    let condition = if remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let connection = client.attach(id, &options).await?;
    let waiting = client.wait(id, condition).await?;
    let created_with = size();
    let mut session = Session::start(connection, &streams, matches.bool_or("sig-proxy", true))?;
    if let Err(error) = client.start(id).await {
        session.restore();
        if remove {
            // The daemon removes it; until then its name is taken.
            let _ = waiting.exit().await;
        }
        return Err(not_started(error));
    }
    let target = Target::Container(id.to_owned());
    if size() != created_with {
        // The container was made for a terminal that has changed since.
        target.initial_size(client).await;
    }
    let ended = session.run(client, &target).await;
    finish(ended, waiting).await
}

/// How the command line ends once the streams have.
pub(super) async fn finish(ended: Ended, waiting: Waiting) -> Outcome {
    match ended {
        Ended::Detached => Ok(()),
        Ended::Signal(name) => Err(Failure::Exit(Signals::exit_code(name))),
        Ended::Broken(error) => Err(error.into()),
        Ended::Closed => match waiting.exit().await {
            Ok(reply) => match reply.error.filter(|error| !error.message.is_empty()) {
                Some(error) => {
                    crate::say(&format!("Error waiting for container: {}", error.message));
                    Err(Failure::Exit(125))
                }
                None => exit_with(reply.status_code),
            },
            Err(error) => {
                crate::say(&format!(
                    "error waiting for container: {}",
                    client_message(&error)
                ));
                Err(Failure::Exit(125))
            }
        },
    }
}

/// An error before the container was made.
fn refused(failure: Failure) -> Failure {
    match failure {
        Failure::Client(error) => not_started(error),
        Failure::Message { message, .. } => coded(&message),
        Failure::Exit(code) => Failure::Exit(code),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the last that is heard of the error"
)]
fn not_started(error: Error) -> Failure {
    coded(&client_message(&error))
}

/// The exit codes of shells: 127 for a command that is not there, 126 for one that cannot be run,
/// 125 for everything else that went wrong before it ran.
fn coded(message: &str) -> Failure {
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let code = if has(&["executable file not found", "no such file or directory"]) {
        127
    } else if has(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    };
    Failure::with_code(code, with_help(message, "run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_message() {
        for (message, code) in [
            ("exec: \"x\": executable file not found in $PATH", 127),
            ("exec: \"/x\": stat /x: no such file or directory", 127),
            ("exec: \"/etc\": is a directory: permission denied", 126),
            ("invalid reference format", 125),
        ] {
            assert_eq!(coded(message).code(), code);
        }
        assert_eq!(
            coded("x").message().unwrap(),
            "hull: x\n\nRun 'hull run --help' for more information"
        );
    }
}
