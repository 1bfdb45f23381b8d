//! Events: the last ones are remembered, new ones are told to whoever listens.

use crate::event::{Event, EventOptions};
use crate::{Error, ErrorKind, Filters, Result};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use tokio::sync::broadcast;

/// How many events are remembered: what dockerd remembers.
const REMEMBERED: usize = 256;
/// How many a slow listener may be behind before it misses some.
const BEHIND: usize = 1024;

/// The filters that events know.
const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// All events of an engine.
#[derive(Debug)]
pub(crate) struct Journal {
    past: Mutex<VecDeque<Event>>,
    listeners: broadcast::Sender<Event>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            past: Mutex::default(),
            listeners: broadcast::Sender::new(BEHIND),
        }
    }
}

impl Journal {
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
        // Sent while locked, so that the order of the past and of the listeners is one.
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(event.clone());
        // The error means that nobody listens.
        let _ = self.listeners.send(event);
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> u64 {
        self.listeners.receiver_count() as u64
    }

    /// The events that `options` ask for.
    pub(crate) fn stream(&self, options: EventOptions) -> Result<BoxStream<'static, Event>> {
        if let Some(unknown) = options
            .filters
            .keys()
            .find(|name| !FILTERS.contains(&name.as_str()))
        {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("invalid filter '{unknown}'"),
            ));
        }
        let (past, listener) = {
            let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
            (
                past.iter().cloned().collect::<Vec<_>>(),
                self.listeners.subscribe(),
            )
        };
        let EventOptions {
            since,
            until,
            filters,
        } = options;
        let in_time = move |event: &Event| {
            since.is_none_or(|t| event.at >= t) && until.is_none_or(|t| event.at <= t)
        };
        let past = if since.is_some() || until.is_some() {
            past
        } else {
            Vec::new()
        };
        let past: Vec<Event> = past
            .into_iter()
            .filter(|event| in_time(event) && matches(event, &filters))
            .collect();
        if until.is_some_and(|until| until <= Timestamp::now()) {
            return Ok(stream::iter(past).boxed());
        }
        let coming = stream::unfold(listener, |mut listener| async {
            loop {
                match listener.recv().await {
                    Ok(event) => return Some((event, listener)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let coming = coming.filter(move |event| std::future::ready(matches(event, &filters)));
        let end = async move {
            match until.map(|until| {
                std::time::Duration::try_from(until.duration_since(Timestamp::now()))
                    .unwrap_or_default()
            }) {
                Some(left) => tokio::time::sleep(left).await,
                None => std::future::pending().await,
            }
        };
        Ok(stream::iter(past)
            .chain(coming.take_until(Box::pin(end)))
            .boxed())
    }
}

/// Whether an event fits: all filters, and of each any value.
fn matches(event: &Event, filters: &Filters) -> bool {
    let attribute = |key: &str| event.attributes.get(key).map(String::as_str);
    let named = |kind: &str, value: &str, key: &str| {
        event.kind == kind
            && (event.id == value || event.id.starts_with(value) || attribute(key) == Some(value))
    };
    filters.iter().all(|(name, values)| {
        values.iter().any(|value| match name.as_str() {
            "event" => event.action == *value || event.action.split(':').next() == Some(value),
            "type" => event.kind == value,
            "container" => {
                named("container", value, "name")
                    || (event.kind != "container" && attribute("container") == Some(value))
            }
            "image" => image_matches(event, value),
            "network" => named("network", value, "name"),
            "volume" => named("volume", value, "name"),
            "label" => match value.split_once('=') {
                Some((key, wanted)) => attribute(key) == Some(wanted),
                None => attribute(value).is_some(),
            },
            "scope" => value == "local",
            other => {
                event.kind == other && (event.id == *value || attribute("name") == Some(value))
            }
        })
    })
}

/// With or without the tag, of image events and of those of its containers.
fn image_matches(event: &Event, value: &str) -> bool {
    let plain = |name: &str| {
        name.rsplit_once(':')
            .filter(|(_, tag)| !tag.contains('/'))
            .map_or(name.to_owned(), |(n, _)| n.to_owned())
    };
    let fits = |name: &str| name == value || plain(name) == value;
    match event.kind {
        "image" => fits(&event.id) || event.attributes.get("name").is_some_and(|name| fits(name)),
        "container" => event.attributes.get("image").is_some_and(|name| fits(name)),
        _ => false,
    }
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
        assert_eq!(
            actions(&[("type", "network"), ("type", "container")])
                .await
                .len(),
            3
        );
        assert!(journal.stream(ask(&[("nonsense", "x")])).is_err());
        let mut live = journal.stream(EventOptions::default()).unwrap();
        journal.tell("image", "pull", "busybox:latest", BTreeMap::new());
        assert_eq!(live.next().await.unwrap().action, "pull");
    }
}
