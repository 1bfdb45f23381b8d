//! Events: what happened is remembered, in a file as well, and new events are told to whoever listens.

mod kept;

use crate::event::{Event, EventOptions};
use crate::{Filters, Result};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use kept::Kept;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// How many events are remembered in memory: what dockerd remembers at all.
const REMEMBERED: usize = 256;
/// How many a slow listener may be behind before it misses some.
const BEHIND: usize = 1024;

/// All events of an engine.
#[derive(Debug)]
pub(crate) struct Journal {
    past: Mutex<Past>,
    listeners: broadcast::Sender<Arc<Event>>,
}

#[derive(Debug, Default)]
struct Past {
    last: VecDeque<Arc<Event>>,
    /// How many were told by this daemon.
    told: u64,
    /// `None` when there is no file to write to.
    kept: Option<Kept>,
}

impl Default for Journal {
    /// One that forgets with its end.
    fn default() -> Self {
        Self {
            past: Mutex::default(),
            listeners: broadcast::Sender::new(BEHIND),
        }
    }
}

impl Journal {
    /// The journal of a data root, which remembers what happened before.
    pub(crate) fn open(data_root: &Path) -> Self {
        let journal = Self::default();
        match Kept::open(data_root) {
            Ok((kept, last)) => {
                let mut past = journal.past.lock().unwrap_or_else(PoisonError::into_inner);
                past.last = last;
                past.kept = Some(kept);
            }
            // It is no reason not to run containers.
            Err(error) => {
                tracing::warn!(%error, "events are not kept over restarts of the daemon");
            }
        }
        journal
    }

    /// Tells of an event that happens now.
    pub(crate) fn tell(
        &self,
        kind: &'static str,
        action: impl Into<String>,
        id: &str,
        attributes: BTreeMap<String, String>,
    ) {
        let event = Event {
            kind,
            action: action.into(),
            id: id.to_owned(),
            attributes,
            at: Timestamp::now(),
        };
        let line = kept::line(&event);
        let event = Arc::new(event);
        // Sent while locked, so that the order of the past and of the listeners is one.
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.last.len() == REMEMBERED {
            past.last.pop_front();
        }
        past.last.push_back(Arc::clone(&event));
        past.told += 1;
        if let Some(kept) = &mut past.kept {
            kept.append(&line);
        }
        // The error means that nobody listens.
        let _ = self.listeners.send(event);
    }

    /// How many events were told since the daemon began.
    pub(crate) fn told(&self) -> u64 {
        self.past
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .told
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> u64 {
        self.listeners.receiver_count() as u64
    }

    /// The events that `options` ask for. As in dockerd, a filter that does not exist filters nothing.
    pub(crate) fn stream(&self, options: EventOptions) -> Result<BoxStream<'static, Event>> {
        let EventOptions {
            since,
            until,
            filters,
        } = options;
        let wanted = {
            let filters = filters.clone();
            move |event: &Event| {
                since.is_none_or(|t| event.at >= t)
                    && until.is_none_or(|t| event.at <= t)
                    && matches(event, &filters)
            }
        };
        let (past, listener) = {
            let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
            (past.since(since, until), self.listeners.subscribe())
        };
        let past = past.stream(wanted);
        if until.is_some_and(|until| until <= Timestamp::now()) {
            return Ok(past);
        }
        let coming = stream::unfold(listener, |mut listener| async {
            loop {
                match listener.recv().await {
                    Ok(event) => return Some((event, listener)),
                    // It reads too slowly: what it missed is not kept for it.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let coming = coming.filter_map(move |event| {
            std::future::ready(matches(&event, &filters).then(|| Event::clone(&event)))
        });
        let end = async move {
            match until.map(|until| {
                std::time::Duration::try_from(until.duration_since(Timestamp::now()))
                    .unwrap_or_default()
            }) {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        Ok(past.chain(coming.take_until(Box::pin(end))).boxed())
    }
}

/// Where events of the past are to be found.
enum Found {
    Memory(Vec<Arc<Event>>),
    File(kept::Reader),
}

impl Past {
    fn since(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Found {
        if since.is_none() && until.is_none() {
            return Found::Memory(Vec::new());
        }
        let all =
            self.last.len() < REMEMBERED || since >= self.last.front().map(|oldest| oldest.at);
        let file = match &self.kept {
            Some(kept) if !all => kept.reader().ok(),
            _ => None,
        };
        file.map_or_else(
            || Found::Memory(self.last.iter().cloned().collect()),
            Found::File,
        )
    }
}

impl Found {
    fn stream(self, wanted: impl Fn(&Event) -> bool + Send + 'static) -> BoxStream<'static, Event> {
        match self {
            Self::Memory(events) => {
                let events = events.into_iter().filter(move |event| wanted(event));
                stream::iter(events.map(|event| Event::clone(&event))).boxed()
            }
            Self::File(reader) => {
                let read = tokio::task::spawn_blocking(move || reader.read(wanted));
                // One that panicked had nothing to tell.
                stream::once(read)
                    .flat_map(|events| stream::iter(events.unwrap_or_default()))
                    .boxed()
            }
        }
    }
}

/// Whether an event fits, by dockerd's rules: all filters, and of each any value, but of labels all.
fn matches(event: &Event, filters: &Filters) -> bool {
    filters
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .all(|(name, values)| match name.as_str() {
            "event" => action_matches(&event.action, values),
            "type" => values.iter().any(|value| value == event.kind),
            "scope" => values.iter().any(|value| value == "local"),
            "image" => values.iter().any(|value| image_matches(event, value)),
            "label" => values.iter().all(|value| label_matches(event, value)),
            "container" | "daemon" | "plugin" | "volume" | "network" | "service" | "node"
            | "secret" | "config" => {
                let name = event.attributes.get("name").map_or("", String::as_str);
                let fits = |value: &String| event.id.starts_with(value) || name.starts_with(value);
                values.iter().any(fits)
            }
            _ => true,
        })
}

fn action_matches(action: &str, values: &[String]) -> bool {
    // These have more behind a colon, and make the other values of the filter lenient too.
    const LONG: [&str; 3] = ["health_status", "exec_create", "exec_start"];
    let lenient = values.iter().any(|value| LONG.contains(&value.as_str()));
    values
        .iter()
        .any(|value| action == value || lenient && action.starts_with(value))
}

fn label_matches(event: &Event, wanted: &str) -> bool {
    let (name, value) = match wanted.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (wanted, None),
    };
    let found = event.attributes.get(name);
    found.is_some_and(|found| value.is_none_or(|value| found == value))
}

/// With or without the tag, of image events and of those of its containers.
fn image_matches(event: &Event, value: &str) -> bool {
    let plain = |name: &str| {
        let name = name.split_once('@').map_or(name, |(name, _)| name);
        name.rsplit_once(':')
            .filter(|(_, tag)| !tag.contains('/'))
            .map_or(name.to_owned(), |(name, _)| name.to_owned())
    };
    let fits = |name: &str| name == value || plain(name) == value;
    let attribute = if event.kind == "image" {
        "name"
    } else {
        "image"
    };
    fits(&event.id)
        || event
            .attributes
            .get(attribute)
            .is_some_and(|name| fits(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn filters(pairs: &[(&str, &str)]) -> Filters {
        let mut filters = Filters::new();
        for (name, value) in pairs {
            filters
                .entry((*name).to_owned())
                .or_default()
                .push((*value).to_owned());
        }
        filters
    }

    #[tokio::test]
    async fn the_past_comes_first_and_filters_hold() {
        let journal = Journal::default();
        journal.tell(
            "container",
            "create",
            "abc",
            attributes(&[("name", "web"), ("image", "busybox:latest")]),
        );
        journal.tell(
            "container",
            "exec_start: sh -c x",
            "abc",
            attributes(&[("name", "web")]),
        );
        journal.tell(
            "network",
            "connect",
            "n1",
            attributes(&[("container", "abc")]),
        );
        let ask = |pairs: &[(&str, &str)]| EventOptions {
            since: Some(Timestamp::UNIX_EPOCH),
            until: Some(Timestamp::now()),
            filters: filters(pairs),
        };
        let actions = async |pairs: &[(&str, &str)]| {
            let stream = journal.stream(ask(pairs)).unwrap();
            stream.map(|event| event.action).collect::<Vec<_>>().await
        };
        assert_eq!(actions(&[]).await.len(), 3);
        assert_eq!(
            actions(&[("container", "web"), ("event", "create")]).await,
            ["create"]
        );
        assert_eq!(actions(&[("event", "exec_start")]).await.len(), 1);
        assert_eq!(actions(&[("image", "busybox")]).await, ["create"]);
        let both = [("type", "network"), ("type", "container")];
        assert_eq!(actions(&both).await.len(), 3);
        assert_eq!(actions(&[("container", "w")]).await.len(), 2);
        assert_eq!(
            actions(&[("container", "ab"), ("event", "exec")])
                .await
                .len(),
            0
        );
        assert_eq!(
            actions(&[("label", "name=web"), ("label", "image")]).await,
            ["create"]
        );
        assert_eq!(actions(&[("scope", "swarm")]).await.len(), 0);
        assert_eq!(actions(&[("nonsense", "x")]).await.len(), 3);
        let mut live = journal.stream(EventOptions::default()).unwrap();
        journal.tell("image", "pull", "busybox:latest", BTreeMap::new());
        assert_eq!(live.next().await.unwrap().action, "pull");
    }

    #[tokio::test]
    async fn events_survive_their_journal() {
        let directory = tempfile::tempdir().unwrap();
        let tell = |journal: &Journal, from: usize, to: usize| {
            for number in from..to {
                journal.tell(
                    "container",
                    format!("a{number}"),
                    "abc",
                    attributes(&[("n", "x y")]),
                );
            }
        };
        let first = Journal::open(directory.path());
        tell(&first, 0, 1000);
        drop(first);
        let second = Journal::open(directory.path());
        tell(&second, 1000, 1010);
        let since = EventOptions {
            since: Some(Timestamp::UNIX_EPOCH),
            until: Some(Timestamp::now()),
            ..EventOptions::default()
        };
        let all: Vec<Event> = second.stream(since).unwrap().collect().await;
        let actions: Vec<_> = all.iter().map(|event| event.action.clone()).collect();
        let expected: Vec<_> = (0..1010).map(|number| format!("a{number}")).collect();
        assert_eq!(actions, expected);
        assert_eq!(all[3].attributes, attributes(&[("n", "x y")]));
        // Those since a moment of which memory knows, from there.
        let since = EventOptions {
            since: Some(all[900].at),
            until: Some(Timestamp::now()),
            ..EventOptions::default()
        };
        let last: Vec<Event> = second.stream(since).unwrap().collect().await;
        assert_eq!(last.last().unwrap().action, "a1009");
        assert!(last.len() >= 110);
    }
}
