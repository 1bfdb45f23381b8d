//! `hull logs`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag, value};
use crate::format::log_time;
use hull_api::client::{Body, Client, LogsOptions};
use hull_api::stream::{Decoder, StreamKind};
use std::io::{self, Write as _};

static FLAGS: &[Flag] = &[
    flag(
        "details",
        "Show attributes of the log options before each line",
    ),
    flag("follow", "Go on with what is printed from now on").short('f'),
    value(
        "since",
        "string",
        "Lines since a time (2013-01-02T13:23:37Z) or for a while (42m)",
    ),
    value("tail", "string", "So many lines from the end")
        .short('n')
        .default("\"all\""),
    flag("timestamps", "Show the time of each line").short('t'),
    value(
        "until",
        "string",
        "Lines before a time (2013-01-02T13:23:37Z) or a while ago (42m)",
    ),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container logs", "logs"],
    usage: "[OPTIONS] CONTAINER",
    about: "Show what a container has printed",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let time = |flag: &str| {
        log_time(matches.text(flag))
            .map_err(|error| Failure::new(format!("invalid value for \"{flag}\": {error}")))
    };
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        follow: matches.bool("follow"),
        timestamps: matches.bool("timestamps"),
        details: matches.bool("details"),
        since: time("since")?,
        until: time("until")?,
        tail: matches.text("tail").to_owned(),
    };
    let client = cli.client()?;
    cli.block_on(show(client, &matches.args[0], &options))
}

async fn show(client: &Client, name: &str, options: &LogsOptions) -> Outcome {
    let container = client.container(name).await?;
    let body = client.logs(&container.id, options).await?;
    if container.config.tty {
        copy_raw(body).await
    } else {
        copy_framed(body).await
    }
}

async fn copy_raw(mut body: Body) -> Outcome {
    let mut stdout = io::stdout();
    while let Some(bytes) = body.chunk().await? {
        stdout.write_all(&bytes)?;
        stdout.flush()?;
    }
    Ok(())
}

async fn copy_framed(mut body: Body) -> Outcome {
    let mut decoder = Decoder::new();
    let mut stdout = io::stdout().lock();
    // Lines of standard output that came together are written together.
    let mut out = Vec::new();
    while let Some(bytes) = body.chunk().await? {
        decoder.push(&bytes);
        while let Some((kind, chunk)) = decoder
            .next_chunk()
            .map_err(|error| Failure::new(error.to_string()))?
        {
            match kind {
                StreamKind::Stderr => {
                    stdout.write_all(&out)?;
                    stdout.flush()?;
                    out.clear();
                    io::stderr().write_all(&chunk)?;
                }
                StreamKind::SystemError => {
                    stdout.write_all(&out)?;
                    return Err(Failure::new(format!(
                        "error from daemon in stream: {}",
                        String::from_utf8_lossy(&chunk)
                    )));
                }
                StreamKind::Stdin | StreamKind::Stdout => out.extend_from_slice(&chunk),
            }
        }
        stdout.write_all(&out)?;
        stdout.flush()?;
        out.clear();
    }
    Ok(())
}
