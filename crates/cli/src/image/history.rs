//! `hull history`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag, value};
use crate::format::{ellipsis, human_duration, human_size, now_seconds, rfc3339, short_id};
use crate::listing::{Listing, format_flag};
use crate::platform;
use crate::template::{Data, Record};
use hull_api::image::HistoryItem;

static FLAGS: &[Flag] = &[
    format_flag(),
    flag("human", "Show sizes and times for people")
        .short('H')
        .default("true"),
    flag("no-trunc", "Do not shorten anything"),
    value(
        "platform",
        "string",
        "Of an image for several platforms this one, os[/arch[/variant]]",
    ),
    flag("quiet", "Show only ids").short('q'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["image history", "history"],
    usage: "[OPTIONS] IMAGE",
    about: "Show how an image was made",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

const TABLE: &str = "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const TABLE_EXACT: &str = "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// How much of an instruction is shown.
const INSTRUCTION: usize = 45;

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let platform = match matches.text("platform") {
        "" => None,
        text => Some(platform::parse(text)?),
    };
    let human = matches.bool_or("human", true);
    let default = if human { TABLE } else { TABLE_EXACT };
    let listing = Listing::new(
        matches.text("format"),
        matches.bool("quiet"),
        default,
        HEADINGS,
    )?
    .whole(matches.bool("no-trunc"));
    let client = cli.client()?;
    let history = client.image_history(&matches.args[0], platform.as_ref());
    let steps = cli.block_on(history)?;
    let (truncate, now) = (!matches.bool("no-trunc"), now_seconds());
    listing.print(steps.iter().map(|step| row(step, truncate, human, now)))
}

fn row(step: &HistoryItem, truncate: bool, human: bool, now: f64) -> Data {
    let id = match truncate {
        true => short_id(&step.id),
        false => &step.id,
    };
    let instruction = step.created_by.replace('\t', " ");
    let instruction = match truncate {
        true => ellipsis(&instruction, INSTRUCTION),
        false => instruction,
    };
    let created_at = rfc3339(step.created);
    #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
    let (age, size) = (now - step.created as f64, step.size as f64);
    let (since, size) = match human {
        true => (format!("{} ago", human_duration(age)), human_size(size, 3)),
        false => (created_at.clone(), step.size.to_string()),
    };
    Data::Record(Record::new(
        "*formatter.historyContext",
        vec![
            ("ID", id.into()),
            ("CreatedAt", created_at.into()),
            ("CreatedSince", since.into()),
            ("CreatedBy", instruction.into()),
            ("Size", size.into()),
            ("Comment", step.comment.clone().into()),
        ],
    ))
}
