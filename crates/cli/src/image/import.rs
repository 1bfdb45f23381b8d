//! `hull import`.

use super::reference;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, list, value};
use crate::progress::{self, Output};
use crate::transfer;
use hull_api::client::{ImportOptions, no_upload};

static FLAGS: &[Flag] = &[
    list(
        "change",
        "list",
        "Apply Dockerfile instruction to the created image",
    )
    .short('c'),
    value("message", "string", "Set commit message for imported image").short('m'),
    value("platform", "string", "Set platform of the image"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["image import", "import"],
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Import the contents from a tarball to create a filesystem image",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let source = matches.args[0].as_str();
    let name = matches.args.get(1).map_or("", String::as_str);
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let archive = match source {
        "-" => transfer::sent(std::io::stdin()),
        _ if is_url => no_upload(),
        path => transfer::sent(transfer::open(path)?),
    };
    if !name.is_empty() {
        reference::check(name)?;
    }
    let options = ImportOptions {
        source: if is_url { source } else { "-" }.to_owned(),
        reference: name.to_owned(),
        message: matches.text("message").to_owned(),
        platform: matches.text("platform").to_owned(),
        changes: matches.list("change").to_vec(),
    };
    let client = cli.client()?;
    cli.block_on(async {
        let messages = client.import(&options, archive).await?;
        progress::show(messages, Output::Stdout, client.is_here()).await
    })
}
