//! `hull images`.

use super::reference::{familiar, split};
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::format::{created_at, human_duration, human_size, now_seconds, short_id};
use crate::listing::{Listing, chosen_format, filter_flag, filters, format_flag, with_raw};
use crate::template::{Data, Record};
use hull_api::client::ImageListOptions;
use hull_api::image::Summary;
use std::collections::BTreeMap;

static FLAGS: &[Flag] = &[
    flag("all", "Show also intermediate images").short('a'),
    flag("digests", "Show digests"),
    filter_flag("Only those that match, such as \"dangling=true\"").short('f'),
    format_flag(),
    flag("no-trunc", "Do not shorten anything"),
    flag("quiet", "Show only ids").short('q'),
    flag("tree", "Show the platforms of each image"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["image ls", "image list", "images"],
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    flags: &[FLAGS],
    arity: Arity::AtMost(1),
    interspersed: true,
    run,
};

const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const TABLE_WITH_DIGESTS: &str = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const RAW: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let tree = matches.bool("tree");
    if tree {
        refuse_with_tree(matches)?;
    }
    let digests = matches.bool("digests");
    let mut format = chosen_format(matches, cli.config().images_format());
    if format.starts_with("table ") && digests && !format.contains("{{.Digest}}") {
        format.push_str("\t{{.Digest}}");
    }
    let default = if digests { TABLE_WITH_DIGESTS } else { TABLE };
    let quiet = matches.bool("quiet");
    format = match (quiet, digests) {
        (true, _) => with_raw(format, true, "image_id: {{.ID}}"),
        (false, true) => with_raw(
            format,
            false,
            &RAW.replace("image_id", "digest: {{.Digest}}\nimage_id"),
        ),
        (false, false) => with_raw(format, false, RAW),
    };
    let listing = Listing::new(&format, quiet, default, HEADINGS)?
        .failing("template parsing error")
        .whole(matches.bool("no-trunc"));
    let mut options = ImageListOptions {
        all: matches.bool("all"),
        filters: filters(matches.list("filter"))?,
        manifests: tree,
    };
    if let Some(pattern) = matches.args.first() {
        options
            .filters
            .entry("reference".to_owned())
            .or_default()
            .push(pattern.clone());
    }
    let client = cli.client()?;
    let images = cli.block_on(client.images(&options))?;
    if tree {
        super::tree::print(&images);
        return Ok(());
    }
    let view = View {
        truncate: !matches.bool("no-trunc"),
        digests,
        digest_field: digests || format.contains("{{.Digest}}"),
        now: now_seconds(),
    };
    listing.print(images.iter().flat_map(|image| view.rows(image)))
}

/// What Docker's client cannot draw as a tree either, in its words.
fn refuse_with_tree(matches: &Matches) -> Outcome {
    let refuse = |flag: &str| {
        let text = format!("--{flag} is not yet supported with --tree");
        Err(Failure::new(text))
    };
    for flag in ["quiet", "no-trunc"] {
        if matches.bool(flag) {
            return refuse(flag);
        }
    }
    if matches.bool("digests") {
        return refuse("show-digest");
    }
    match matches.text("format") {
        "" => Ok(()),
        _ => refuse("format"),
    }
}

/// The row of an image under its first name, for lists that show each image once.
pub(crate) fn record(image: &Summary, truncate: bool, now: f64) -> Data {
    let view = View {
        truncate,
        digests: false,
        digest_field: false,
        now,
    };
    let name = image.repo_tags.first().map(|tag| split(tag));
    let repository = name.map_or("<none>", |name| familiar(name.repository));
    let tag = name.and_then(|name| name.tag).unwrap_or("<none>");
    view.row(image, repository, tag, "")
}

/// What the flags change about rows.
struct View {
    truncate: bool,
    /// A row for each digest.
    digests: bool,
    /// Digests are shown at all.
    digest_field: bool,
    now: f64,
}

impl View {
    /// One row per name; images without any have one of their own.
    fn rows(&self, image: &Summary) -> Vec<Data> {
        let tags = grouped(&image.repo_tags, |text| {
            let name = split(text);
            Some((name.repository, name.tag?))
        });
        let mut digests = grouped(&image.repo_digests, |text| {
            let name = split(text);
            Some((name.repository, name.digest?))
        });
        let mut rows = Vec::new();
        for (repository, tags) in tags {
            let of_repository = digests.remove(&repository).unwrap_or_default();
            for tag in tags {
                if of_repository.is_empty() || !self.digest_field {
                    rows.push(self.row(image, &repository, &tag, "<none>"));
                } else {
                    for digest in &of_repository {
                        rows.push(self.row(image, &repository, &tag, digest));
                    }
                }
            }
        }
        for (repository, digests) in digests {
            if self.digests {
                for digest in digests {
                    rows.push(self.row(image, &repository, "<none>", &digest));
                }
            } else {
                rows.push(self.row(image, &repository, "<none>", ""));
            }
        }
        if rows.is_empty() {
            rows.push(self.row(image, "<none>", "<none>", "<none>"));
        }
        rows
    }

    fn row(&self, image: &Summary, repository: &str, tag: &str, digest: &str) -> Data {
        let id = if self.truncate {
            short_id(&image.id)
        } else {
            &image.id
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds of this century are exact"
        )]
        let age = human_duration(self.now - image.created as f64);
        #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
        let size = |bytes: i64, precision| human_size(bytes as f64, precision);
        let or_unknown = |bytes: i64| match bytes {
            -1 => "N/A".to_owned(),
            bytes => size(bytes, 4),
        };
        let unique = if image.shared_size == -1 {
            "N/A".to_owned()
        } else {
            size(image.size - image.shared_size, 4)
        };
        let containers = match image.containers {
            -1 => "N/A".to_owned(),
            count => count.to_string(),
        };
        Data::Record(Record::new(
            "*formatter.imageContext",
            vec![
                ("ID", id.into()),
                ("Repository", repository.into()),
                ("Tag", tag.into()),
                ("Digest", digest.into()),
                ("CreatedSince", format!("{age} ago").into()),
                ("CreatedAt", created_at(image.created).into()),
                ("Size", size(image.size, 3).into()),
                ("Containers", containers.into()),
                ("VirtualSize", size(image.size, 4).into()),
                ("SharedSize", or_unknown(image.shared_size).into()),
                ("UniqueSize", unique.into()),
            ],
        ))
    }
}

/// Tags or digests by repository, in a stable order.
fn grouped(
    names: &[String],
    part: impl Fn(&str) -> Option<(&str, &str)>,
) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names {
        if let Some((repository, value)) = part(name)
            && repository != "<none>"
        {
            groups
                .entry(familiar(repository).to_owned())
                .or_default()
                .push(value.to_owned());
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(image: &Summary, digests: bool) -> Vec<String> {
        let view = View {
            truncate: true,
            digests,
            digest_field: digests,
            now: 0.0,
        };
        let field = |row: &Data, wanted: &str| match row {
            Data::Record(record) => {
                let found = record.fields.iter().find(|(name, _)| *name == wanted);
                found.map(|(_, value)| value.to_string()).unwrap()
            }
            _ => panic!("rows are records"),
        };
        view.rows(image)
            .iter()
            .map(|row| {
                format!(
                    "{}:{}@{}",
                    field(row, "Repository"),
                    field(row, "Tag"),
                    field(row, "Digest")
                )
            })
            .collect()
    }

    #[test]
    fn one_row_per_name() {
        let mut image = Summary {
            repo_tags: vec![
                "debian:12".into(),
                "h:5000/a:1".into(),
                "debian:latest".into(),
            ],
            repo_digests: vec!["debian@sha256:aa".into(), "other@sha256:bb".into()],
            ..Summary::default()
        };
        assert_eq!(
            shown(&image, false),
            [
                "debian:12@<none>",
                "debian:latest@<none>",
                "h:5000/a:1@<none>",
                "other:<none>@"
            ]
        );
        assert_eq!(
            shown(&image, true),
            [
                "debian:12@sha256:aa",
                "debian:latest@sha256:aa",
                "h:5000/a:1@<none>",
                "other:<none>@sha256:bb"
            ]
        );
        image = Summary::default();
        assert_eq!(shown(&image, false), ["<none>:<none>@<none>"]);
    }
}
