//! `hull build`.

use super::answer::{Answerer, Takes};
use super::display::{Display, Form};
use super::flags::{FLAGS, IGNORED};
use super::options::{self, Build};
use super::{failure, flags, result, shell, verify};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::Matches;
use hull_api::build::{Done, Failed, Message};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often the terminal is drawn again.
const REDRAW: Duration = Duration::from_millis(100);

pub(crate) static COMMAND: Command = Command {
    words: &[
        "image build",
        "build",
        "builder build",
        "buildx build",
        "buildx b",
    ],
    usage: "[OPTIONS] PATH | URL | -",
    about: "Build an image from a Dockerfile",
    flags: &[FLAGS, IGNORED],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

/// Adds the proxies of the client's settings to the arguments, where none are given.
pub(super) fn add_proxies(cli: &Cli, build: &mut Build) -> Outcome {
    let (place, _) = cli.place()?;
    let attributes = &mut build.request.attributes;
    let given = |name: &str| attributes.contains_key(&format!("build-arg:{name}"));
    for (name, value) in cli.config().proxies(&place.endpoint.to_string(), given) {
        attributes.insert(format!("build-arg:{name}"), value);
    }
    Ok(())
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    flags::warn(matches);
    let quiet = matches.bool("quiet");
    let form = match quiet {
        true => Form::Quiet,
        false => Form::of(&progress(matches))?,
    };
    if matches.changed("verify") {
        return verify::run(cli, matches, form);
    }
    let mut build = options::read(matches)?;
    add_proxies(cli, &mut build)?;
    let form = if build.call.is_some() {
        Form::Quiet
    } else {
        form
    };
    let mut display = Display::new(form);
    match cli.block_on(follow(cli, &build, &mut display))? {
        Ok(done) => {
            if let Some(cache) = &build.cache {
                cache.finish(&done)?;
            }
            result::tell(matches, &build, &done)
        }
        Err(failed) => {
            failure::show(&failed);
            let step = display.failing_step().to_owned();
            if let Some(kept) = &failed.kept {
                shell::open(cli, &kept.image, &step)?;
            } else if build.request.keep_failed {
                crate::say(
                    "no container of the failing step can be opened: it wrote nothing that was kept",
                );
            }
            Err(not_built(&failed))
        }
    }
}

/// What the command ends with when the build has failed.
pub(super) fn not_built(failed: &Failed) -> Failure {
    let message = &failed.message;
    Failure::new(format!(
        "ERROR: failed to build: failed to solve: {message}"
    ))
}

fn progress(matches: &Matches) -> String {
    let typed = matches.text("progress").to_owned();
    match matches.changed("progress") {
        true => typed,
        false => std::env::var("BUILDKIT_PROGRESS").unwrap_or_default(),
    }
}

/// Builds, shows and answers, to the end.
pub(super) async fn follow(
    cli: &Cli,
    build: &Build,
    display: &mut Display,
) -> Result<Result<Done, Failed>, Failure> {
    let client = cli.client()?;
    let mut messages = client.build(&build.request).await.map_err(unknown)?;
    let mut answerer = None;
    let mut takes = Takes::new();
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let message = tokio::select! {
            message = messages.next() => message?,
            _ = redraw.tick(), if display.moves() => {
                display.draw();
                continue;
            }
            Some(taken) = takes.join_next(), if !takes.is_empty() => {
                taken.map_err(std::io::Error::other)??;
                continue;
            }
        };
        match message {
            None => return Err(Failure::new("the build was broken off")),
            Some(Message::Begun(name)) => answerer = Some(Answerer::new(client, name)),
            Some(Message::Ask(ask)) => {
                if let Some(answerer) = &answerer {
                    answerer.answer(cli, build, ask, &mut takes);
                }
            }
            Some(Message::Done(done)) => {
                while let Some(taken) = takes.join_next().await {
                    taken.map_err(std::io::Error::other)??;
                }
                display.end(false);
                return Ok(Ok(done));
            }
            Some(Message::Failed(failed)) => {
                display.end(true);
                return Ok(Err(failed));
            }
            Some(other) => display.show(&other),
        }
    }
}

/// Another daemon than Hull's has no such endpoint.
fn unknown(error: hull_api::client::Error) -> Failure {
    match error.is_not_found() {
        true => Failure::new(
            "this daemon is none of Hull's: hull build needs one (docker build works with both)",
        ),
        false => error.into(),
    }
}
