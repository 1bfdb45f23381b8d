//! `hull builder du`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag, value};
use crate::format::{human_duration, human_size, now_seconds};
use crate::listing::{Listing, filter_flag, filters, format_flag};
use crate::template::{Data, Record};
use hull_api::client::Target;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

static FLAGS: &[Flag] = &[
    value("builder", "string", "").hidden(),
    filter_flag("Only what matches, such as \"type=regular\""),
    format_flag(),
    flag("verbose", "Say more about each").short('v'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["builder du", "buildx du"],
    usage: "[OPTIONS]",
    about: "Show what builds keep for the next ones",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

const TABLE: &str = "table {{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedSince}}";
const VERBOSE: &str =
    "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.LastUsedSince}}\t{{.Usage}}\t{{.Description}}";
const HEADINGS: &[(&str, &str)] = &[
    ("ID", "ID"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Size", "SIZE"),
    ("LastUsedSince", "LAST ACCESSED"),
    ("CacheType", "TYPE"),
    ("Usage", "USAGE"),
    ("Description", "DESCRIPTION"),
];

/// What is kept, as `GET /system/df` has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Kept {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Type")]
    kind: String,
    description: String,
    in_use: bool,
    shared: bool,
    size: i64,
    last_used_at: Option<String>,
    usage_count: i64,
}

/// Those of BuildKit's clients that mean something here.
const FILTERS: [&str; 6] = ["description", "id", "inuse", "private", "shared", "type"];

impl Kept {
    /// Whether it has all that is asked for: a part of the id, the other texts whole.
    fn fits(&self, filters: &BTreeMap<String, Vec<String>>) -> bool {
        filters.iter().all(|(name, values)| {
            let any = |fits: &dyn Fn(&String) -> bool| values.iter().any(fits);
            let so = |is: bool| any(&|value| is != matches!(value.as_str(), "false" | "0"));
            match name.as_str() {
                "id" => any(&|value| self.id.contains(value)),
                "type" => any(&|value| self.kind == *value),
                "description" => any(&|value| self.description == *value),
                "inuse" => so(self.in_use),
                "shared" => so(self.shared),
                "private" => so(!self.shared),
                _ => false,
            }
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Usage {
    build_cache: Vec<Kept>,
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let filters = filters(matches.list("filter"))?;
    if let Some(name) = filters
        .keys()
        .find(|name| !FILTERS.contains(&name.as_str()))
    {
        return Err(Failure::new(format!("invalid filter '{name}'")));
    }
    let format = matches.text("format");
    let default = if matches.bool("verbose") {
        VERBOSE
    } else {
        TABLE
    };
    let listing = Listing::new(format, false, default, HEADINGS)?;
    let client = cli.client()?;
    let target = Target::new("/system/df").query("type", "build-cache");
    let usage = cli.block_on(client.get_raw(&target))?;
    let mut usage: Usage = hull_api::json::from_slice(&usage)
        .map_err(|error| Failure::new(format!("could not read the reply: {error}")))?;
    usage.build_cache.retain(|kept| kept.fits(&filters));
    let now = now_seconds();
    listing.print(usage.build_cache.iter().map(|kept| row(kept, now)))?;
    if matches!(format, "" | "table") {
        let size = |kept: &Kept| kept.size;
        let total: i64 = usage.build_cache.iter().map(size).sum();
        let free = usage.build_cache.iter().filter(|kept| !kept.in_use);
        let free: i64 = free.map(size).sum();
        crate::print(&format!(
            "Reclaimable:\t{}\nTotal:\t\t{}\n",
            human(free),
            human(total)
        ));
    }
    Ok(())
}

fn human(bytes: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
    human_size(bytes as f64, 4)
}

fn row(kept: &Kept, now: f64) -> Data {
    let used = kept.last_used_at.as_deref().unwrap_or_default();
    let since = match used.parse::<Timestamp>() {
        Ok(time) => format!(
            "{} ago",
            human_duration(now - time.as_duration().as_secs_f64())
        ),
        Err(_) => String::new(),
    };
    Data::Record(Record::new(
        "*formatter.buildCacheContext",
        vec![
            ("CacheType", kept.kind.as_str().into()),
            ("Description", kept.description.as_str().into()),
            ("ID", kept.id.as_str().into()),
            ("InUse", Data::Bool(kept.in_use)),
            ("LastUsedSince", since.into()),
            ("Reclaimable", Data::Bool(!kept.in_use)),
            ("Size", human(kept.size).into()),
            ("Usage", kept.usage_count.to_string().into()),
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_the_api_has_it() {
        let text = br#"{"BuildCache":[{"ID":"a","Type":"regular","InUse":false,"Shared":true,"Size":1500,
            "Description":"d","CreatedAt":"2020-01-01T00:00:00Z","LastUsedAt":null,"UsageCount":2}]}"#;
        let usage: Usage = hull_api::json::from_slice(text).unwrap();
        let kept = &usage.build_cache[0];
        assert_eq!((&*kept.id, &*kept.kind, kept.size), ("a", "regular", 1500));
        for (filter, fits) in [
            (("type", "regular"), true),
            (("shared", "true"), true),
            (("private", "false"), true),
            (("inuse", "true"), false),
            (("id", "b"), false),
        ] {
            let (name, value) = filter;
            let filters = BTreeMap::from([(name.to_owned(), vec![value.to_owned()])]);
            assert_eq!(kept.fits(&filters), fits, "{filter:?}");
        }
        let Data::Record(record) = row(kept, 0.0) else {
            panic!("no record");
        };
        let size = record.fields.iter().find(|(name, _)| *name == "Size");
        assert_eq!(size.unwrap().1.to_string(), "1.5kB");
    }
}
