//! `hull volume create`.

use crate::command::{Arity, Command};
use crate::container::{check_label, pairs};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Kind, Matches, list, value};
use hull_api::volume::CreateRequest;

static FLAGS: &[Flag] = &[
    value("driver", "string", "What keeps the volume")
        .short('d')
        .default("\"local\""),
    list("label", "list", "Label of the volume").kind(Kind::Checked(check_label)),
    value("name", "string", "").hidden(),
    list("opt", "map", "Option of the driver").short('o'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["volume create"],
    usage: "[OPTIONS] [VOLUME]",
    about: "Create a volume",
    flags: &[FLAGS],
    arity: Arity::AtMost(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let request = request(matches).map_err(Failure::new)?;
    let client = cli.client()?;
    let created = cli.block_on(client.create_volume(&request))?;
    crate::print(&format!("{}\n", created.name));
    Ok(())
}

fn request(matches: &Matches) -> Result<CreateRequest, String> {
    let (flag, argument) = (matches.text("name"), matches.args.first());
    if argument.is_some() && !flag.is_empty() {
        return Err(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg".to_owned(),
        );
    }
    let driver = match matches.text("driver") {
        "" => "local",
        driver => driver,
    };
    Ok(CreateRequest {
        name: argument.map_or(flag, String::as_str).to_owned(),
        driver: driver.to_owned(),
        driver_opts: Some(pairs(matches.list("opt"))),
        labels: Some(pairs(matches.list("label"))),
        cluster_volume_spec: None,
    })
}
