//! `ps` and `inspect`.

use super::live::Container;
use super::record::{Record, Surroundings};
use super::{Details, ListOptions, Sizes, Snapshot};
use crate::{Engine, Error, ErrorKind, Filters, Result, blocking};
use hull_image::{ImageId, Snapshotter};
use std::collections::HashMap;
use std::sync::Arc;

/// The filters that lists know.
const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

impl Engine {
    /// The containers, newest first.
    ///
    /// # Errors
    /// `InvalidInput` for a filter or value that does not exist, `NotFound` for a container that a
    /// filter names.
    pub async fn list(self: &Arc<Self>, options: ListOptions) -> Result<Vec<Details>> {
        check(&options.filters)?;
        let mut containers = self.containers();
        containers
            .sort_by_key(|container| std::cmp::Reverse(container.read(|record| record.created)));
        let bounds = self.bounds(&options.filters)?;
        let ancestors = self.ancestors(&options.filters).await?;
        let all = options.all
            || options.limit.is_some()
            || ["status", "exited"]
                .iter()
                .any(|name| options.filters.contains_key(*name));
        let listable = |record: &Record| -> Result<bool> {
            let in_bounds = bounds.0.is_none_or(|t| record.created > t)
                && bounds.1.is_none_or(|t| record.created < t);
            let ancestor = ancestors
                .as_ref()
                .is_none_or(|ids| ids.contains(&record.image_id));
            Ok(in_bounds
                && ancestor
                && (all || record.is_running())
                && fits(record, &options.filters)?)
        };
        let mut meant = HashMap::new();
        let mut listed = Vec::new();
        for container in containers {
            if !container.read(listable)? {
                continue;
            }
            let mut details = self.listed(&container);
            self.name_image(&mut details, &mut meant);
            if options.sizes {
                details.sizes = Some(self.sizes(&container.record()).await?);
            }
            listed.push(details);
            if options.limit.is_some_and(|limit| listed.len() >= limit) {
                break;
            }
        }
        Ok(listed)
    }

    /// One container.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn inspect(self: &Arc<Self>, name: &str, sizes: bool) -> Result<Details> {
        let container = self.find(name)?;
        let (engine, id) = (Arc::clone(self), container.id.clone());
        let snapshot = blocking(move || {
            let root = engine.snapshots.describe(&id).ok();
            Ok(crate::image::snapshot_of(root.as_ref()))
        });
        let mut details = self.details(&container, snapshot.await?);
        if sizes {
            details.sizes = Some(self.sizes(&container.record()).await?);
        }
        Ok(details)
    }

    fn details(&self, container: &Container, snapshot: Snapshot) -> Details {
        let record = container.record();
        record.details(Surroundings {
            exec_ids: self.execs.of(&record.id),
            paths: self.paths(&record),
            snapshot,
            ports: crate::network::published::shown(&record),
            networks: record.places().clone(),
            sandbox: self.sandbox_file(&record),
            links: self.shown_links(&record),
        })
    }

    /// As [`Engine::details`], without what nobody lists and to tell takes looking at files.
    fn listed(&self, container: &Container) -> Details {
        container.read(|record| {
            record.details(Surroundings {
                ports: crate::network::published::shown(record),
                networks: record.places().clone(),
                ..Surroundings::default()
            })
        })
    }

    /// A name that now means another image gives way to the id. `meant` is what names were found to mean.
    fn name_image(&self, details: &mut Details, meant: &mut HashMap<String, Option<ImageId>>) {
        if !meant.contains_key(&details.image_name) {
            let found = self.store.resolve(&details.image_name).ok();
            meant.insert(details.image_name.clone(), found);
        }
        let meant = meant.get(&details.image_name).and_then(Option::as_ref);
        if meant.is_none_or(|id| id.as_str() != details.image_id) {
            details.image_name.clone_from(&details.image_id);
        }
    }

    /// The namespace of a running container's own network.
    fn sandbox_file(&self, record: &Record) -> Option<std::path::PathBuf> {
        let shares = matches!(record.config.network, super::NetworkMode::Container(_));
        let own = record.is_running() && !shares && !record.places().contains_key("host");
        own.then(|| self.netns_of(record))
    }

    async fn sizes(self: &Arc<Self>, record: &Record) -> Result<Sizes> {
        let engine = Arc::clone(self);
        let (id, image) = (record.id.clone(), record.image_id.clone());
        blocking(move || {
            let writable = engine
                .snapshots
                .usage(&id)
                .map_err(crate::image::snapshot_error)?
                .size;
            let image = image.parse::<ImageId>().ok();
            let image = image.and_then(|id| engine.store.image_size(&id));
            let image = image.unwrap_or(0);
            Ok(Sizes {
                writable,
                root: writable + image,
            })
        })
        .await
    }

    /// The times that `since` and `before` stand for.
    fn bounds(
        &self,
        filters: &Filters,
    ) -> Result<(Option<jiff::Timestamp>, Option<jiff::Timestamp>)> {
        let time = |name: &str| {
            let named = filters.get(name).into_iter().flatten();
            named
                .map(|value| Ok(self.find(value)?.read(|record| record.created)))
                .collect::<Result<Vec<_>>>()
        };
        Ok((
            time("since")?.into_iter().max(),
            time("before")?.into_iter().min(),
        ))
    }

    async fn ancestors(self: &Arc<Self>, filters: &Filters) -> Result<Option<Vec<String>>> {
        let Some(names) = filters.get("ancestor").cloned() else {
            return Ok(None);
        };
        let engine = Arc::clone(self);
        blocking(move || {
            Ok(Some(
                names
                    .iter()
                    .filter_map(|name| engine.store.resolve(name).ok())
                    .map(|id| id.to_string())
                    .collect(),
            ))
        })
        .await
    }
}

const STATES: &[&str] = &[
    "created",
    "running",
    "paused",
    "restarting",
    "removing",
    "exited",
    "dead",
];
const HEALTHS: &[&str] = &["none", "starting", "healthy", "unhealthy"];

fn check(filters: &Filters) -> Result<()> {
    let invalid = |text: String| Error::new(ErrorKind::InvalidInput, text);
    for (name, values) in filters {
        if !FILTERS.contains(&name.as_str()) {
            return Err(invalid(format!("invalid filter '{name}'")));
        }
        for value in values {
            let why = match name.as_str() {
                "status" => one_of("state", value, STATES),
                "health" => one_of("health", value, HEALTHS),
                "exited" => value
                    .parse::<i32>()
                    .err()
                    .map(|_| format!("strconv.Atoi: parsing {value:?}: invalid syntax")),
                _ => None,
            };
            if let Some(why) = why {
                return Err(invalid(format!("invalid filter '{name}={value}': {why}")));
            }
            if name == "is-task" && !matches!(value.as_str(), "0" | "1" | "true" | "false") {
                return Err(invalid(format!("invalid filter 'is-task=[{value}]'")));
            }
            if matches!(name.as_str(), "publish" | "expose") && port_range(value).is_none() {
                // dockerd has no kind for this one.
                let (port, _) = value.split_once('/').unwrap_or((value, ""));
                let text = format!(
                    "error while looking up for {name} {value}: strconv.ParseUint: parsing {port:?}: invalid syntax"
                );
                return Err(Error::new(ErrorKind::Internal, text));
            }
        }
    }
    Ok(())
}

fn one_of(what: &str, value: &str, known: &[&str]) -> Option<String> {
    let known_value = known.contains(&value);
    let known = known.join(", ");
    (!known_value).then(|| format!("invalid value for {what} ({value}): must be one of {known}"))
}

/// `8080`, `8080/tcp`, `8000-8010/udp`: first port, last port, protocol.
fn port_range(text: &str) -> Option<(u16, u16, &str)> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    Some((first.parse().ok()?, last.parse().ok()?, protocol))
}

/// Whether a container has the label, `name` or `name=value`.
fn has_label(record: &Record, label: &str) -> bool {
    let labels = &record.effective.labels;
    match label.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|known| known == value),
        None => labels.contains_key(label),
    }
}

fn fits(record: &Record, filters: &Filters) -> Result<bool> {
    let any = |name: &str, test: &dyn Fn(&str) -> bool| {
        filters
            .get(name)
            .is_none_or(|values| values.iter().any(|value| test(value)))
    };
    // There are no tasks of a swarm, and isolation is another system's: dockerd looks at it on Windows alone.
    if !any("is-task", &|value| matches!(value, "0" | "false")) {
        return Ok(false);
    }
    Ok(any("id", &|value| record.id.starts_with(value))
        && any("name", &|value| name_fits(&record.name, value))
        && filters
            .get("label")
            .is_none_or(|labels| labels.iter().all(|label| has_label(record, label)))
        && any("status", &|value| record.state.as_str() == value)
        && any("exited", &|value| {
            let exit = record.state.exit().filter(|_| record.state.pid().is_none());
            exit.is_some_and(|exit| value.parse() == Ok(exit.code))
        })
        && any("network", &|value| {
            let mut places = record.places().iter();
            places.any(|(name, place)| name == value || place.network_id.starts_with(value))
        })
        && any("publish", &|value| publishes(record, value))
        && any("volume", &|value| {
            record
                .mounts
                .iter()
                .any(|point| point.name == value || point.target == value || point.source == value)
        })
        && any("expose", &|value| {
            let Some((first, last, protocol)) = port_range(value) else {
                return false;
            };
            let mut ports = record.effective.exposed_ports.iter();
            ports.any(|port| port.protocol == protocol && (first..=last).contains(&port.number))
        })
        && any("health", &|value| {
            let health = record.health.as_ref();
            value == health.map_or("none", |health| health.status.as_str())
        }))
}

/// Whether one of a running container's published ports is in a range.
fn publishes(record: &Record, value: &str) -> bool {
    let Some((first, last, protocol)) = port_range(value) else {
        return false;
    };
    let published = crate::network::published::effective(record);
    published.iter().any(|publication| {
        publication.host.is_some()
            && publication.protocol.as_str() == protocol
            && *publication.host_ports.start() <= last
            && first <= *publication.host_ports.end()
    })
}

/// Docker's names are regular expressions; what people use of them is parts and anchors.
pub(crate) fn name_fits(name: &str, pattern: &str) -> bool {
    let plain = pattern.trim_start_matches('/');
    let (start, rest) = plain.strip_prefix('^').map_or((false, plain), |rest| {
        let rest = rest.strip_prefix("/?").unwrap_or(rest);
        (true, rest.trim_start_matches('/'))
    });
    let (end, part) = rest
        .strip_suffix('$')
        .map_or((false, rest), |rest| (true, rest));
    match (start, end) {
        (true, true) => name == part,
        (true, false) => name.starts_with(part),
        (false, true) => name.ends_with(part),
        (false, false) => name.contains(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_by_parts_and_anchors() {
        assert!(
            name_fits("web-1", "web")
                && name_fits("web-1", "^web")
                && name_fits("web-1", "^/web-1$")
                && name_fits("web-1", "^/?web-1$")
                && name_fits("web-1", "-1$")
        );
        assert!(!name_fits("web-1", "^1") && !name_fits("web-1", "^web$"));
    }

    #[test]
    fn filters_that_do_not_exist_are_refused() {
        let one =
            |name: &str, value: &str| Filters::from([(name.to_owned(), vec![value.to_owned()])]);
        assert!(check(&one("status", "running")).is_ok());
        assert_eq!(
            check(&one("status", "x")).unwrap_err().message(),
            "invalid filter 'status=x': invalid value for state (x): must be one of created, running, paused, restarting, removing, exited, dead"
        );
        assert_eq!(
            check(&one("nonsense", "x")).unwrap_err().message(),
            "invalid filter 'nonsense'"
        );
    }
}
