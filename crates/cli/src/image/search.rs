//! `hull search`.

use super::reference::registry;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag, int};
use crate::format::ellipsis;
use crate::listing::{Listing, filter_flag, filters, format_flag};
use crate::template::{Data, Record};
use hull_api::image::SearchResult;

static FLAGS: &[Flag] = &[
    filter_flag("Only those that match, such as \"is-official=true\" or \"stars=10\"").short('f'),
    format_flag(),
    int("limit", "How many results at most"),
    flag("no-trunc", "Do not shorten anything"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["search"],
    usage: "[OPTIONS] TERM",
    about: "Search Docker Hub, or another registry named before a slash",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

const TABLE: &str = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const HEADINGS: &[(&str, &str)] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
];
/// How much of a description a table has room for.
const DESCRIPTION: usize = 45;

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let term = &matches.args[0];
    let format = matches.text("format");
    let listing = Listing::new(format, false, TABLE, HEADINGS)?.whole(matches.bool("no-trunc"));
    let view = View {
        truncate: !matches.bool("no-trunc"),
        json: format.trim() == "json" || format.contains("json ."),
    };
    let filters = filters(matches.list("filter"))?;
    let limit = matches.int("limit").unwrap_or(0);
    let auth = cli.config().encoded(registry(term))?;
    let client = cli.client()?;
    let found = cli.block_on(client.search_images(term, limit, &filters, auth))?;
    listing.print(found.iter().map(|result| view.row(result)))
}

struct View {
    truncate: bool,
    /// For programs, which want true and false.
    json: bool,
}

impl View {
    fn row(&self, found: &SearchResult) -> Data {
        let description = found.description.replace(['\n', '\r'], " ");
        let description = match self.truncate {
            true => ellipsis(&description, DESCRIPTION),
            false => description,
        };
        let official = match (self.json, found.is_official) {
            (true, true) => "true",
            (true, false) => "false",
            (false, true) => "[OK]",
            (false, false) => "",
        };
        let fields = vec![
            ("Name", Data::from(found.name.as_str())),
            ("Description", Data::from(description.as_str())),
            (
                "StarCount",
                Data::from(found.star_count.to_string().as_str()),
            ),
            ("IsOfficial", Data::from(official)),
        ];
        Data::Record(Record::new("registry.searchContext", fields))
    }
}
