//! `hull events`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, value};
use crate::format::{log_time, rfc3339_nano};
use crate::listing::{filter_flag, filters};
use crate::template::{Data, Template};
use hull_api::event::Event;

static FLAGS: &[Flag] = &[
    filter_flag("Only those that match, such as \"type=container\"").short('f'),
    value("format", "string", "Fill in a template, or 'json'"),
    value("since", "string", "Begin with events since a time"),
    value("until", "string", "End at a time"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["system events", "events"],
    usage: "[OPTIONS]",
    about: "Show what happens, as it happens",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = matches.text("format");
    // A whole event is printed as it came, with the names of the wire.
    let whole = matches!(format, "json" | "{{json .}}");
    let template = match format {
        "" | "json" => None,
        text => Some(text),
    }
    .map(Template::parse)
    .transpose()
    .map_err(|error| Failure::with_code(64, format!("Error parsing format: {error}")))?;
    let time = |flag: &str| log_time(matches.text(flag)).map_err(Failure::new);
    let (since, until) = (time("since")?, time("until")?);
    let filters = filters(matches.list("filter"))?;
    let client = cli.client()?;
    cli.block_on(async {
        let mut events = client.events(&since, &until, &filters).await?;
        while let Some(event) = events.next().await? {
            let text = match &template {
                _ if whole => Data::of(&event).to_json(),
                None => plain(&event),
                Some(template) => template
                    .render(&data(&event))
                    .map_err(|error| Failure::new(error.to_string()))?,
            };
            crate::print(&format!("{text}\n"));
        }
        Ok(())
    })
}

/// Templates name the fields as Go does, the wire in part otherwise; both are there.
fn data(event: &Event) -> Data {
    let mut data = Data::of(event);
    if let Data::Object(members) = &mut data {
        for (go, wire) in [
            ("Status", "status"),
            ("ID", "id"),
            ("From", "from"),
            ("Scope", "scope"),
            ("Time", "time"),
            ("TimeNano", "timeNano"),
        ] {
            if let Some((name, _)) = members.iter_mut().find(|(name, _)| name == wire) {
                let _ = std::mem::replace(name, go.to_owned());
            }
        }
    }
    data
}

fn plain(event: &Event) -> String {
    let attributes: Vec<String> = event
        .actor
        .attributes
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let attributes = if attributes.is_empty() {
        String::new()
    } else {
        format!(" ({})", attributes.join(", "))
    };
    let nanoseconds = if event.time_nano == 0 {
        event.time.saturating_mul(1_000_000_000)
    } else {
        event.time_nano
    };
    format!(
        "{} {} {} {}{attributes}",
        rfc3339_nano(nanoseconds),
        event.kind,
        event.action,
        event.actor.id
    )
}
