//! `hull ps`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag, int};
use crate::format::{
    created_at, ellipsis, human_duration, human_size, now_seconds, quote, short_id,
};
use crate::listing::{Listing, chosen_format, filter_flag, filters, format_flag, joined};
use crate::template::{Data, Record, Template};
use hull_api::client::ListOptions;
use hull_api::container::{Port, Summary};

static FLAGS: &[Flag] = &[
    flag("all", "Show also containers that do not run").short('a'),
    filter_flag("Only those that match, such as \"status=exited\"").short('f'),
    format_flag(),
    int("last", "Show the newest so many, whatever their state")
        .short('n')
        .default("-1"),
    flag("latest", "Show the newest, whatever its state").short('l'),
    flag("no-trunc", "Do not shorten anything"),
    flag("quiet", "Show only ids").short('q'),
    flag("size", "Show how much they take").short('s'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container ls", "container list", "container ps", "ps"],
    usage: "[OPTIONS]",
    about: "List containers",
    flags: &[FLAGS],
    arity: Arity::None,
    interspersed: true,
    run,
};

const TABLE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const TABLE_WITH_SIZE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

/// One field in each line, as Docker's oldest scripts ask for it.
const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n";

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = match chosen_format(matches, cli.config().ps_format()).as_str() {
        "raw" if matches.bool("quiet") => "container_id: {{.ID}}".to_owned(),
        "raw" if matches.bool("size") => format!("{RAW}size: {{{{.Size}}}}\n"),
        "raw" => RAW.to_owned(),
        other => other.to_owned(),
    };
    let default = if matches.bool("size") {
        TABLE_WITH_SIZE
    } else {
        TABLE
    };
    let listing = Listing::new(&format, matches.bool("quiet"), default, HEADINGS)?
        .whole(matches.bool("no-trunc"));
    let limit = match matches.int("last") {
        // A number counts more.
        None | Some(-1) if matches.bool("latest") => Some(1),
        other => other,
    };
    let options = ListOptions {
        all: matches.bool("all"),
        limit,
        size: matches.bool("size") || asks_for_size(&format)?,
        filters: filters(matches.list("filter"))?,
    };
    let client = cli.client()?;
    let containers = cli.block_on(client.containers(&options))?;
    let truncate = !matches.bool("no-trunc");
    let now = now_seconds();
    let rows = containers
        .iter()
        .map(|container| Data::Record(row(container, truncate, now)));
    listing.print(rows)
}

/// Whether a format shows sizes, which cost time. As in Docker it is tried on an empty row, and refused when it fails.
fn asks_for_size(format: &str) -> Result<bool, Failure> {
    let text = format.replace("\\t", "\t").replace("\\n", "\n");
    let template = Template::parse(&text)
        .map_err(|error| Failure::new(format!("failed to parse template: {error}")))?;
    let blank = Data::Record(row(&Summary::default(), true, 0.0));
    template
        .render(&blank)
        .map_err(|error| Failure::new(format!("failed to execute template: {error}")))?;
    // The whole row as JSON has its size.
    Ok(format.contains(".Size") || format.contains("json .}}") || format.contains("json . }}"))
}

/// A row of the list.
pub(crate) fn row(container: &Summary, truncate: bool, now: f64) -> Record {
    let id = if truncate {
        short_id(&container.id)
    } else {
        &container.id
    };
    let command = if truncate {
        ellipsis(&container.command, 20)
    } else {
        container.command.clone()
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds of this century are exact"
    )]
    let age = human_duration(now - container.created as f64);
    let local = container
        .mounts
        .iter()
        .filter(|mount| mount.driver == "local")
        .count();
    let networks = container.network_settings.networks.as_ref();
    let networks: Vec<&str> = networks
        .map(|networks| networks.keys().map(String::as_str).collect())
        .unwrap_or_default();
    Record::new(
        "*formatter.ContainerContext",
        vec![
            ("ID", id.into()),
            ("Names", names(container, truncate).into()),
            ("Image", image(container, truncate).into()),
            ("Command", quote(&command).into()),
            ("CreatedAt", created_at(container.created).into()),
            ("RunningFor", format!("{age} ago").into()),
            ("Ports", ports(&container.ports).into()),
            ("State", container.state.as_str().into()),
            ("Status", container.status.as_str().into()),
            ("Size", size(container).into()),
            ("Labels", joined(&container.labels).into()),
            ("Mounts", mounts(container, truncate).into()),
            ("LocalVolumes", local.to_string().into()),
            ("Networks", networks.join(",").into()),
            ("Platform", platform(container)),
        ],
    )
    .labels(&container.labels)
}

fn platform(container: &Summary) -> Data {
    container
        .image_manifest_descriptor
        .as_ref()
        .and_then(|descriptor| descriptor.get("platform"))
        .map_or(Data::Null, Data::of)
}

fn names(container: &Summary, truncate: bool) -> String {
    let mut names = container
        .names
        .iter()
        .map(|name| name.strip_prefix('/').unwrap_or(name));
    if truncate {
        // Names with more slashes are those of links.
        return names
            .find(|name| !name.contains('/'))
            .unwrap_or_default()
            .to_owned();
    }
    names.collect::<Vec<_>>().join(",")
}

fn image(container: &Summary, truncate: bool) -> String {
    let name = container.image.as_str();
    if name.is_empty() {
        return "<no image>".to_owned();
    }
    if !truncate {
        return name.to_owned();
    }
    let id = short_id(&container.image_id);
    if id == short_id(name) {
        return id.to_owned();
    }
    // The digest of a reference is too long for a column.
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name).to_owned()
}

fn size(container: &Summary) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let human = |bytes: i64| human_size(bytes as f64, 3);
    if container.size_root_fs > 0 {
        format!(
            "{} (virtual {})",
            human(container.size_rw),
            human(container.size_root_fs)
        )
    } else {
        human(container.size_rw)
    }
}

fn mounts(container: &Summary, truncate: bool) -> String {
    let names: Vec<String> = container
        .mounts
        .iter()
        .map(|mount| {
            let name = if mount.name.is_empty() {
                &mount.source
            } else {
                &mount.name
            };
            if truncate {
                ellipsis(name, 15)
            } else {
                name.clone()
            }
        })
        .collect();
    names.join(",")
}

/// Ports as a column: neighbours that are published on themselves are joined to ranges.
fn ports(ports: &[Port]) -> String {
    let mut ports: Vec<&Port> = ports.iter().collect();
    ports.sort_by_key(|port| {
        (
            port.private_port,
            &port.ip,
            port.public_port,
            &port.protocol,
        )
    });
    let mut groups: Vec<(String, u16, u16)> = Vec::new();
    let mut done: Vec<String> = Vec::new();
    let mut mapped: Vec<String> = Vec::new();
    for port in ports {
        let current = port.private_port;
        let mut key = port.protocol.clone();
        if !port.ip.is_empty() {
            if port.public_port != current {
                mapped.push(format!(
                    "{}:{}->{current}/{}",
                    bracketed(&port.ip),
                    port.public_port,
                    port.protocol
                ));
                continue;
            }
            key = format!("{}/{}", port.ip, port.protocol);
        }
        match groups.iter_mut().find(|(known, _, _)| *known == key) {
            None => groups.push((key, current, current)),
            Some((_, _, last)) if current == *last || current == last.saturating_add(1) => {
                *last = current;
            }
            Some(group) => {
                done.push(range(&group.0, group.1, group.2));
                *group = (key, current, current);
            }
        }
    }
    done.extend(
        groups
            .iter()
            .map(|(key, first, last)| range(key, *first, *last)),
    );
    done.extend(mapped);
    done.join(", ")
}

fn bracketed(ip: &str) -> String {
    if ip.contains(':') {
        format!("[{ip}]")
    } else {
        ip.to_owned()
    }
}

fn range(key: &str, first: u16, last: u16) -> String {
    let span = if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    };
    match key.rsplit_once('/') {
        Some((ip, protocol)) => format!("{}:{span}->{span}/{protocol}", bracketed(ip)),
        None => format!("{span}/{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, public: u16, private: u16) -> Port {
        Port {
            ip: ip.to_owned(),
            private_port: private,
            public_port: public,
            protocol: "tcp".to_owned(),
        }
    }

    #[test]
    fn ports_are_joined_where_they_can() {
        assert_eq!(ports(&[port("", 0, 80)]), "80/tcp");
        assert_eq!(
            ports(&[port("::", 8080, 80), port("0.0.0.0", 8080, 80)]),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
        assert_eq!(
            ports(&[
                port("0.0.0.0", 80, 80),
                port("0.0.0.0", 81, 81),
                port("", 0, 90)
            ]),
            "0.0.0.0:80-81->80-81/tcp, 90/tcp"
        );
        assert_eq!(ports(&[port("", 0, 1), port("", 0, 3)]), "1/tcp, 3/tcp");
    }

    #[test]
    fn images_and_names_are_shortened() {
        let mut container = Summary {
            image: "docker.io/library/debian:12@sha256:00".into(),
            image_id: "sha256:0123456789abcdef".into(),
            names: vec!["/a/link".into(), "/web".into()],
            ..Summary::default()
        };
        assert_eq!(image(&container, true), "debian:12");
        assert_eq!(names(&container, true), "web");
        assert_eq!(names(&container, false), "a/link,web");
        container.image = "sha256:0123456789abcdef".into();
        assert_eq!(image(&container, true), "0123456789ab");
    }
}
