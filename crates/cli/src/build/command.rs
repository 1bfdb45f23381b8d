//! `hull build`.

use super::answer::{Answerer, Takes};
use super::display::{Display, Form};
use super::options::{self, Build};
use super::{failure, result, shell};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Kind, Matches, flag, list, value};
use hull_api::build::{Done, Failed, Message};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often the terminal is drawn again.
const REDRAW: Duration = Duration::from_millis(100);

static FLAGS: &[Flag] = &[
    list(
        "add-host",
        "strings",
        "Another line of /etc/hosts (name:address)",
    ),
    list(
        "allow",
        "stringArray",
        "What steps may have beside their own: network.host",
    ),
    list(
        "annotation",
        "stringArray",
        "Annotation of the image (key=value)",
    ),
    list(
        "attest",
        "stringArray",
        "Attestations (type=sbom, type=provenance,mode=max)",
    ),
    list(
        "build-arg",
        "stringArray",
        "Value of an ARG (name=value, or a name of ours)",
    ),
    list(
        "build-context",
        "stringArray",
        "Another context (name=directory, image or URL)",
    ),
    value("builder", "string", "").hidden(),
    list(
        "cache-from",
        "stringArray",
        "Caches to use (a reference, type=local,src=…)",
    ),
    list(
        "cache-to",
        "stringArray",
        "Caches to write (type=registry,ref=…,mode=max)",
    ),
    value(
        "call",
        "string",
        "What to do: build, check, outline, targets",
    )
    .default("\"build\""),
    value("cgroup-parent", "string", "The cgroup that steps run below"),
    flag("check", "Only look for mistakes, as --call=check"),
    flag("compress", "").hidden(),
    value(
        "file",
        "string",
        "The Dockerfile; '-' is standard input (default \"CONTEXT/Dockerfile\")",
    )
    .short('f'),
    flag("force-rm", "").hidden(),
    value("iidfile", "string", "Write the image's id to this file"),
    value("isolation", "string", "").hidden(),
    list("label", "stringArray", "Label of the image (key=value)"),
    flag(
        "load",
        "Also load the image into the store, beside other outputs",
    ),
    value(
        "metadata-file",
        "string",
        "Write what was made to this file, as JSON",
    ),
    value("network", "string", "Network of RUN: default, host, none").default("\"default\""),
    flag("no-cache", "Do every step anew"),
    list(
        "no-cache-filter",
        "stringArray",
        "Do the steps of these stages anew",
    ),
    value(
        "on-fail",
        "string",
        "After a step has failed: 'shell' opens one in what it has left",
    ),
    list(
        "output",
        "stringArray",
        "Where the result goes (a directory, type=tar,dest=…)",
    )
    .short('o'),
    list("platform", "stringArray", "Platforms to build for"),
    value(
        "progress",
        "string",
        "How it is shown: auto, plain, tty, quiet, rawjson",
    )
    .default("\"auto\""),
    value("provenance", "string", "As --attest=type=provenance"),
    flag("pull", "Ask registries also for images that are here"),
    flag("push", "As --output=type=registry"),
    flag("quiet", "Print nothing but the image's id").short('q'),
    flag("rm", "").hidden(),
    value("sbom", "string", "As --attest=type=sbom"),
    list(
        "secret",
        "stringArray",
        "Secret of RUN --mount=type=secret (id=name,src=file or env=variable)",
    ),
    value("shm-size", "bytes", "Size of /dev/shm of steps").kind(Kind::Bytes),
    list(
        "ssh",
        "stringArray",
        "Agent of RUN --mount=type=ssh (default or id=socket)",
    ),
    list("tag", "stringArray", "Name of the image, with its tag").short('t'),
    value("target", "string", "The stage to build"),
    list("ulimit", "ulimit", "Limit of steps (name=soft[:hard])"),
];

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
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let quiet = matches.bool("quiet");
    let form = match quiet {
        true => Form::Quiet,
        false => Form::of(&progress(matches))?,
    };
    let build = options::read(matches)?;
    let form = if build.call.is_some() {
        Form::Quiet
    } else {
        form
    };
    let mut display = Display::new(form);
    match cli.block_on(follow(cli, &build, &mut display))? {
        Ok(done) => result::tell(matches, &build, &done),
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
            let message = format!("failed to build: failed to solve: {}", failed.message);
            Err(Failure::new(format!("ERROR: {message}")))
        }
    }
}

fn progress(matches: &Matches) -> String {
    let typed = matches.text("progress").to_owned();
    match matches.changed("progress") {
        true => typed,
        false => std::env::var("BUILDKIT_PROGRESS").unwrap_or_default(),
    }
}

/// Builds, shows and answers, to the end.
async fn follow(
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
