//! Talks with the daemon in tasks of its own and turns what it says into messages.
//!
//! ```text
//! one stream of events ──► a list of containers after a change, at most a few a second
//! a stream of samples for each container that runs
//! a stream of the log that is on the screen
//! requests for what keys ask for
//! ```

mod actions;
mod follow;

use crate::message::{Command, Message, Tab};
use crate::state::grid;
use hull_api::client::{Client, LogsOptions};
use hull_api::stream::{Decoder, StreamKind};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc::Sender;
use tokio::task::{AbortHandle, JoinSet};

/// How many containers' samples are asked for: each takes a descriptor, of which shells give a thousand.
const MAX_STREAMS: usize = 500;
/// Lines of a log that are asked for at first.
const TAIL: &str = "1000";

/// The tasks.
#[derive(Debug)]
pub(crate) struct Daemon {
    client: Arc<Client>,
    sender: Sender<Message>,
    tasks: JoinSet<()>,
    samples: HashMap<String, AbortHandle>,
    log: Option<AbortHandle>,
}

impl Daemon {
    /// Begins to follow what happens.
    pub(crate) fn begin(client: Arc<Client>, sender: Sender<Message>) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(follow::follow(Arc::clone(&client), sender.clone()));
        Self {
            client,
            sender,
            tasks,
            samples: HashMap::new(),
            log: None,
        }
    }

    /// Looks at a message before the view gets it: samples are asked for of those that run.
    pub(crate) fn look(&mut self, message: &Message) {
        // Tasks that have ended are let go of.
        while self.tasks.try_join_next().is_some() {}
        match message {
            Message::Containers(list) => {
                let runs = |state: &str| matches!(state, "running" | "paused");
                let running = list.iter().filter(|summary| runs(&summary.state));
                let running: Vec<&str> = running
                    .map(|summary| summary.id.as_str())
                    .take(MAX_STREAMS)
                    .collect();
                self.sample(&running);
            }
            Message::Lost(_) => self.sample(&[]),
            _ => {}
        }
    }

    fn sample(&mut self, running: &[&str]) {
        self.samples.retain(|id, task| {
            let stays = running.contains(&id.as_str());
            if !stays {
                task.abort();
            }
            stays && !task.is_finished()
        });
        for id in running {
            if self.samples.contains_key(*id) {
                continue;
            }
            let (client, sender, id) = (
                Arc::clone(&self.client),
                self.sender.clone(),
                (*id).to_owned(),
            );
            let name = id.clone();
            let task = self.tasks.spawn(async move {
                let Ok(mut samples) = client.stats(&name).await else {
                    return;
                };
                while let Ok(Some(stats)) = samples.next().await {
                    let message = Message::Sample(name.clone(), Box::new(stats));
                    if sender.send(message).await.is_err() {
                        return;
                    }
                }
            });
            self.samples.insert(id, task);
        }
    }

    /// Does what the view wants; the answer comes as a message.
    pub(crate) fn perform(&mut self, command: Command) {
        let (client, sender) = (Arc::clone(&self.client), self.sender.clone());
        match command {
            Command::Do(action) => {
                self.tasks.spawn(actions::perform(client, sender, action));
            }
            Command::Fetch(tab) => {
                self.tasks.spawn(async move {
                    let message = fetch(&client, tab).await;
                    let _ = sender.send(message).await;
                });
            }
            Command::Inspect(id) => {
                self.tasks.spawn(async move {
                    // One that is gone is told of by the list.
                    if let Ok(inspect) = client.container(&id).await {
                        let _ = sender.send(Message::Inspected(Box::new(inspect))).await;
                    }
                });
            }
            Command::Log { id, number } => {
                self.stop_log();
                let task = self.tasks.spawn(async move {
                    let why = match log(&client, &sender, &id, number).await {
                        Ok(()) => "ended".to_owned(),
                        Err(error) => error.to_string(),
                    };
                    let _ = sender.send(Message::LogEnded { number, why }).await;
                });
                self.log = Some(task);
            }
            Command::NoLog => self.stop_log(),
            Command::Quit | Command::Suspend | Command::Redraw | Command::Shell { .. } => {}
        }
    }

    fn stop_log(&mut self) {
        if let Some(task) = self.log.take() {
            task.abort();
        }
    }
}

async fn fetch(client: &Client, tab: Tab) -> Message {
    let all = BTreeMap::new();
    let rows = match tab {
        Tab::Containers => match follow::list(client).await {
            Ok(list) => return Message::Containers(list),
            Err(error) => Err(error),
        },
        Tab::Images => client
            .images(&Default::default())
            .await
            .map(|images| grid::images(&images)),
        Tab::Volumes => client
            .volumes(&all)
            .await
            .map(|reply| grid::volumes(&reply.volumes)),
        Tab::Networks => client
            .networks(&all)
            .await
            .map(|networks| grid::networks(&networks)),
        Tab::Disk => client.disk_usage().await.map(|usage| grid::disk(&usage)),
    };
    match rows {
        Ok(rows) => Message::Rows(tab, rows),
        Err(error) => Message::Done {
            text: error.to_string(),
            failed: true,
        },
    }
}

/// Passes a container's log on until it ends.
async fn log(
    client: &Client,
    sender: &Sender<Message>,
    id: &str,
    number: u64,
) -> Result<(), hull_api::client::Error> {
    let tty = client.container(id).await?.config.tty;
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        follow: true,
        tail: TAIL.to_owned(),
        ..LogsOptions::default()
    };
    let mut body = client.logs(id, &options).await?;
    let mut decoder = Decoder::new();
    while let Some(bytes) = body.chunk().await? {
        if tty {
            let _ = sender
                .send(Message::Log {
                    number,
                    error: false,
                    bytes,
                })
                .await;
            continue;
        }
        decoder.push(&bytes);
        let broken =
            |error: hull_api::stream::FrameError| hull_api::client::Error::Body(error.into());
        while let Some((kind, bytes)) = decoder.next_chunk().map_err(broken)? {
            let _ = sender
                .send(Message::Log {
                    number,
                    error: kind == StreamKind::Stderr,
                    bytes,
                })
                .await;
        }
    }
    Ok(())
}
