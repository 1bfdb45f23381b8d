//! Follows the daemon's events, and finds it again when it is gone.

use crate::message::{Host, Message, Tab};
use hull_api::client::{Client, Error, ListOptions};
use hull_api::container::Summary;
use hull_api::event::Event;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, sleep_until};

/// Events that come within this of each other are one change.
const TOGETHER: Duration = Duration::from_millis(150);
/// What lists say of times is wrong after this.
const STALE: Duration = Duration::from_secs(30);
/// How long until the daemon is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is listed: everything.
pub(super) async fn list(client: &Client) -> Result<Vec<Summary>, Error> {
    let all = ListOptions {
        all: true,
        ..ListOptions::default()
    };
    client.containers(&all).await
}

/// Follows until nobody listens.
pub(super) async fn follow(client: Arc<Client>, sender: Sender<Message>) {
    while !sender.is_closed() {
        let why = match once(&client, &sender).await {
            Ok(()) => "it has ended".to_owned(),
            Err(error) => error.to_string(),
        };
        let _ = sender.send(Message::Lost(why)).await;
        sleep(AGAIN).await;
    }
}

async fn once(client: &Client, sender: &Sender<Message>) -> Result<(), Error> {
    // Asked first: what changes while the list is made is told after it.
    let filters = BTreeMap::from([(
        "type".to_owned(),
        ["container", "image", "volume", "network"]
            .map(str::to_owned)
            .to_vec(),
    )]);
    let mut events = client.events("", "", &filters).await?;
    let info = client.info().await?;
    let host = Host {
        name: info.name,
        processors: info.n_cpu,
        memory: info.mem_total,
    };
    let _ = sender.send(Message::Connected(host)).await;
    let mut due = Instant::now();
    loop {
        tokio::select! {
            event = events.next() => match event? {
                None => return Ok(()),
                Some(event) => match changes(&event) {
                    Some(Tab::Containers) => due = due.min(Instant::now() + TOGETHER),
                    Some(tab) => drop(sender.send(Message::Changed(tab)).await),
                    None => {}
                },
            },
            () = sleep_until(due) => {
                let _ = sender.send(Message::Containers(list(client).await?)).await;
                due = Instant::now() + STALE;
            }
        }
    }
}

/// What an event changes on the screen. Health checks begin and end commands all the time, and some tools look at
/// processes: none of that is shown.
fn changes(event: &Event) -> Option<Tab> {
    let action = event.action.as_str();
    let quiet = [
        "exec_",
        "top",
        "attach",
        "resize",
        "copy",
        "export",
        "archive-path",
        "extract-to-dir",
    ];
    if quiet.iter().any(|word| action.starts_with(word)) {
        return None;
    }
    Tab::of_event(&event.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_checks_change_nothing() {
        let event = |kind: &str, action: &str| Event {
            kind: kind.to_owned(),
            action: action.to_owned(),
            ..Event::default()
        };
        assert_eq!(changes(&event("container", "exec_start: true")), None);
        assert_eq!(changes(&event("container", "die")), Some(Tab::Containers));
        assert_eq!(
            changes(&event("container", "health_status: unhealthy")),
            Some(Tab::Containers)
        );
        assert_eq!(changes(&event("image", "pull")), Some(Tab::Images));
        assert_eq!(changes(&event("daemon", "reload")), None);
    }
}
