//! `hull system df`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::format::{created_at, human_duration, human_size, now_seconds};
use crate::listing::{Listing, format_flag};
use crate::template::{Data, Record, Template};
use hull_api::container::Summary;
use hull_api::system::{CacheRecord, DiskUsage};
use hull_api::volume::Volume;

static FLAGS: &[Flag] = &[
    format_flag(),
    flag("verbose", "Show each object").short('v'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["system df"],
    usage: "[OPTIONS]",
    about: "Show what takes how much of the disk",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

const TABLE: &str = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const IMAGES: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUMES: &str = "table {{.Name}}\t{{.Links}}\t{{.Size}}";
const CACHE: &str = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

type Headings = &'static [(&'static str, &'static str)];
const HEADINGS: Headings = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];
const IMAGE_HEADINGS: Headings = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];
const CONTAINER_HEADINGS: Headings = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
];
const VOLUME_HEADINGS: Headings = &[
    ("Name", "VOLUME NAME"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
];
const CACHE_HEADINGS: Headings = &[
    ("ID", "CACHE ID"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("Shared", "SHARED"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = matches.text("format");
    let verbose = matches.bool("verbose");
    // A wrong template is told before the daemon walks its files.
    let listing = Listing::new(format, false, TABLE, HEADINGS)?.failing("template parsing error");
    let client = cli.client()?;
    let usage = cli.block_on(client.disk_usage())?;
    match (verbose, format) {
        (false, _) => listing.print(summary(&usage).into_iter().map(Data::Record)),
        (true, "" | "table") => tables(&usage),
        (true, _) => whole(&usage, format),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
fn human(bytes: i64, precision: usize) -> String {
    human_size(bytes as f64, precision)
}

/// A row per kind of object.
fn summary(usage: &DiskUsage) -> Vec<Record> {
    let images = usage.images.as_deref().unwrap_or_default();
    let used = images.iter().filter(|image| image.containers > 0);
    // As Docker reckons: what only images without containers have.
    let kept: i64 = used.clone().map(|i| i.size - i.shared_size.max(0)).sum();
    let containers = usage.containers.as_deref().unwrap_or_default();
    let active = |container: &&Summary| {
        matches!(
            container.state.as_str(),
            "running" | "paused" | "restarting"
        )
    };
    let written = containers.iter().map(|container| container.size_rw).sum();
    let idle = containers.iter().filter(|container| !active(container));
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let (size, links) = (
        |volume: &Volume| {
            volume
                .usage_data
                .as_ref()
                .map_or(0, |usage| usage.size.max(0))
        },
        |volume: &Volume| {
            volume
                .usage_data
                .as_ref()
                .map_or(0, |usage| usage.ref_count)
        },
    );
    let unused = volumes.iter().filter(|volume| links(volume) == 0);
    let cache = usage.build_cache.as_deref().unwrap_or_default();
    let needed = own(cache).filter(|record| record.in_use);
    let needed: i64 = needed.map(|record| record.size).sum();
    vec![
        row(
            ("Images", "*formatter.diskUsageImagesContext"),
            (images.len(), used.count()),
            (usage.layers_size, usage.layers_size - kept),
        ),
        row(
            ("Containers", "*formatter.diskUsageContainersContext"),
            (containers.len(), containers.iter().filter(active).count()),
            (written, idle.map(|container| container.size_rw).sum()),
        ),
        row(
            ("Local Volumes", "*formatter.diskUsageVolumesContext"),
            (volumes.len(), volumes.len() - unused.clone().count()),
            (volumes.iter().map(size).sum(), unused.map(size).sum()),
        ),
        row(
            ("Build Cache", "*formatter.diskUsageBuilderContext"),
            (
                cache.len(),
                cache.iter().filter(|record| record.in_use).count(),
            ),
            (cache_size(cache), cache_size(cache) - needed),
        ),
    ]
}

/// Without what is counted elsewhere.
fn own(cache: &[CacheRecord]) -> impl Iterator<Item = &CacheRecord> {
    cache.iter().filter(|record| !record.shared)
}

fn cache_size(cache: &[CacheRecord]) -> i64 {
    own(cache).map(|record| record.size).sum()
}

fn row(
    (kind, type_name): (&str, &'static str),
    (total, active): (usize, usize),
    (size, reclaimable): (i64, i64),
) -> Record {
    let mut share = human(reclaimable, 4);
    if size > 0 {
        share.push_str(&format!(" ({}%)", reclaimable * 100 / size));
    }
    Record::new(
        type_name,
        vec![
            ("Type", kind.into()),
            ("TotalCount", total.to_string().into()),
            ("Active", active.to_string().into()),
            ("Size", human(size, 4).into()),
            ("Reclaimable", share.into()),
        ],
    )
}

/// The objects of each kind, as rows.
struct Rows {
    images: Vec<Data>,
    containers: Vec<Data>,
    volumes: Vec<Data>,
    cache: Vec<Data>,
}

impl Rows {
    fn new(usage: &DiskUsage, truncate: bool) -> Self {
        let now = now_seconds();
        let images = usage.images.iter().flatten();
        let containers = usage.containers.iter().flatten().map(|container| {
            // The size with the image is that of `ps -s`.
            let own = Summary {
                size_root_fs: 0,
                ..container.clone()
            };
            Data::Record(crate::container::row(&own, truncate, now))
        });
        Self {
            images: images
                .map(|image| crate::image::record(image, truncate, now))
                .collect(),
            containers: containers.collect(),
            volumes: usage.volumes.iter().flatten().map(volume).collect(),
            cache: cached(
                usage.build_cache.as_deref().unwrap_or_default(),
                truncate,
                now,
            ),
        }
    }
}

fn volume(volume: &Volume) -> Data {
    let usage = volume.usage_data.clone().unwrap_or_default();
    let labels = volume.labels.iter().flatten();
    let labels: Vec<String> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Data::Record(Record::new(
        "*formatter.volumeContext",
        vec![
            ("Availability", "N/A".into()),
            ("Driver", volume.driver.as_str().into()),
            ("Group", "N/A".into()),
            ("Labels", labels.join(",").into()),
            ("Links", usage.ref_count.to_string().into()),
            ("Mountpoint", volume.mountpoint.as_str().into()),
            ("Name", volume.name.as_str().into()),
            ("Scope", volume.scope.as_str().into()),
            ("Size", human(usage.size, 3).into()),
            ("Status", "N/A".into()),
        ],
    ))
}

/// What was last of use comes first, as in Docker.
fn cached(records: &[CacheRecord], truncate: bool, now: f64) -> Vec<Data> {
    let mut records: Vec<&CacheRecord> = records.iter().collect();
    let moment = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let last = |record: &CacheRecord| record.last_used_at.as_deref().and_then(moment);
    records.sort_by(|a, b| last(b).cmp(&last(a)).then(b.size.cmp(&a.size)));
    let one = |record: &CacheRecord| {
        let short = |id: &str| match truncate {
            true => id.chars().take(12).collect(),
            false => id.to_owned(),
        };
        let since = |text: &str| {
            let ago = moment(text).map(|then| now - then.as_duration().as_secs_f64());
            ago.map_or(String::new(), |ago| format!("{} ago", human_duration(ago)))
        };
        let at = |text: &str| moment(text).map_or(String::new(), |at| created_at(at.as_second()));
        let used = record.last_used_at.as_deref().unwrap_or_default();
        let id = short(&record.id);
        Data::Record(Record::new(
            "*formatter.buildCacheContext",
            vec![
                ("CacheType", record.kind.as_str().into()),
                ("CreatedAt", at(&record.created_at).into()),
                ("CreatedSince", since(&record.created_at).into()),
                ("Description", record.description.as_str().into()),
                (
                    "ID",
                    if record.in_use { format!("{id}*") } else { id }.into(),
                ),
                ("InUse", record.in_use.to_string().into()),
                ("LastUsedAt", at(used).into()),
                ("LastUsedSince", since(used).into()),
                ("Parent", short(&record.parent).into()),
                ("Shared", record.shared.to_string().into()),
                ("Size", human(record.size, 3).into()),
                ("UsageCount", record.usage_count.to_string().into()),
            ],
        ))
    };
    records.into_iter().map(one).collect()
}

fn tables(usage: &DiskUsage) -> Outcome {
    let rows = Rows::new(usage, true);
    let size = cache_size(usage.build_cache.as_deref().unwrap_or_default());
    let cache = format!("\nBuild cache usage: {}\n\n", human(size, 4));
    for (title, default, headings, rows) in [
        (
            "Images space usage:\n\n",
            IMAGES,
            IMAGE_HEADINGS,
            rows.images,
        ),
        (
            "\nContainers space usage:\n\n",
            CONTAINERS,
            CONTAINER_HEADINGS,
            rows.containers,
        ),
        (
            "\nLocal Volumes space usage:\n\n",
            VOLUMES,
            VOLUME_HEADINGS,
            rows.volumes,
        ),
        (cache.as_str(), CACHE, CACHE_HEADINGS, rows.cache),
    ] {
        crate::print(title);
        Listing::new("", false, default, headings)?.print(rows.into_iter())?;
    }
    Ok(())
}

/// Everything in one template, as Docker fills it in.
fn whole(usage: &DiskUsage, format: &str) -> Outcome {
    let rows = Rows::new(usage, false);
    let all = [
        ("Images", rows.images),
        ("Containers", rows.containers),
        ("Volumes", rows.volumes),
        ("BuildCache", rows.cache),
    ];
    let all = all.map(|(name, rows)| (name, Data::List(rows)));
    let text = if format == "json" {
        "{{json .}}"
    } else {
        format
    };
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    let template = Template::parse(&text)
        .map_err(|error| Failure::new(format!("template parsing error: {error}")))?;
    let shown = template
        .render(&Data::Record(Record::new(
            "*formatter.diskUsageContext",
            all.into(),
        )))
        .map_err(|error| Failure::new(error.to_string()))?;
    crate::print(&format!("{shown}\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_api::image::Summary as Image;
    use hull_api::volume::UsageData;

    fn line(record: &Record) -> String {
        let order = ["Type", "TotalCount", "Active", "Size", "Reclaimable"];
        let of = |name: &str| {
            let field = record.fields.iter().find(|(known, _)| *known == name);
            field.unwrap().1.to_string()
        };
        order.map(of).join("|")
    }

    /// The numbers and texts are those of docker 28.5.
    #[test]
    fn sums_are_dockers() {
        let image = |containers, size, shared_size| Image {
            containers,
            size,
            shared_size,
            ..Image::default()
        };
        let container = |state: &str, size_rw| Summary {
            state: state.to_owned(),
            size_rw,
            ..Summary::default()
        };
        let volume = |ref_count, size| Volume {
            usage_data: Some(UsageData { ref_count, size }),
            ..Volume::default()
        };
        let record = |size, in_use| CacheRecord {
            size,
            in_use,
            ..CacheRecord::default()
        };
        let images = vec![
            image(1, 150_000, 100_000),
            image(0, 150_000, 100_000),
            image(0, 100_000, 100_000),
            image(0, 2_065_221, 0),
        ];
        let usage = DiskUsage {
            layers_size: 2_265_221,
            images: Some(images),
            containers: Some(vec![container("running", 112_345), container("exited", 0)]),
            volumes: Some(vec![volume(1, 0), volume(1, 0)]),
            build_cache: Some(vec![record(1000, true), record(500, false)]),
            builder_size: 0,
        };
        let lines: Vec<String> = summary(&usage).iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "Images|4|1|2.265MB|2.215MB (97%)",
                "Containers|2|1|112.3kB|0B (0%)",
                "Local Volumes|2|2|0B|0B",
                "Build Cache|2|1|1.5kB|500B (33%)",
            ]
        );
    }
}
