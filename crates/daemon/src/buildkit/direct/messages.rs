//! What such a client is told: the build's events, what it is asked, and the end.

use super::super::progress::Reader;
use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use hull_api::build::{Ask, Log, Message, Status, Vertex, Warning};
use std::collections::{HashMap, VecDeque};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// How far the telling is.
pub(super) enum Stage {
    /// The build runs; this is its end.
    Running(oneshot::Receiver<Message>),
    /// All events were told.
    Ended,
}

/// A build that is told of.
pub(super) struct Telling {
    /// Its name, before anything else.
    pub(super) begun: Option<String>,
    pub(super) asks: mpsc::UnboundedReceiver<Ask>,
    pub(super) progress: Reader,
    pub(super) stage: Stage,
    pub(super) ready: VecDeque<Message>,
    /// The build ends with who listens.
    pub(super) _work: AbortOnDropHandle<()>,
}

impl Telling {
    /// The next message, and the rest.
    pub(super) async fn next(mut self) -> Option<(Message, Self)> {
        if let Some(name) = self.begun.take() {
            return Some((Message::Begun(name), self));
        }
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some((message, self));
            }
            let Stage::Running(end) = &mut self.stage else {
                return None;
            };
            tokio::select! {
                // Questions first: a thread waits for the answer.
                biased;
                Some(ask) = self.asks.recv() => return Some((Message::Ask(ask), self)),
                told = self.progress.next() => match told {
                    Some(told) => self.ready.extend(messages(told)),
                    None => {
                        let last = end.await.ok()?;
                        self.stage = Stage::Ended;
                        return Some((last, self));
                    }
                },
            }
        }
    }
}

/// What a plan has to say beside its images.
pub(super) fn answers(metadata: &HashMap<String, Vec<u8>>) -> HashMap<String, String> {
    let answers = metadata
        .iter()
        .filter(|(key, _)| key.starts_with("result."));
    answers
        .map(|(key, value)| (key.clone(), String::from_utf8_lossy(value).into_owned()))
        .collect()
}

/// Step by step, and of each its end after what is said of it.
fn messages(told: proto::StatusResponse) -> impl Iterator<Item = Message> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut place = |digest: &str| {
        let next = places.len();
        *places.entry(digest.to_owned()).or_insert(next)
    };
    let mut all: Vec<(usize, u8, Message)> = Vec::new();
    for one in told.vertexes {
        let rank = if one.completed.is_some() { 3 } else { 0 };
        all.push((place(&one.digest), rank, vertex(one)));
    }
    for one in told.statuses {
        all.push((place(&one.vertex), 1, status(one)));
    }
    for one in told.logs {
        all.push((place(&one.vertex), 2, log(one)));
    }
    for one in told.warnings {
        all.push((usize::MAX, 0, warning(one)));
    }
    all.sort_by_key(|(place, rank, _)| (*place, *rank));
    all.into_iter().map(|(_, _, message)| message)
}

fn time(time: Option<Timestamp>) -> String {
    let time = time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn vertex(vertex: proto::Vertex) -> Message {
    Message::Vertex(Vertex {
        digest: vertex.digest,
        inputs: vertex.inputs,
        name: vertex.name,
        cached: vertex.cached,
        started: time(vertex.started),
        completed: time(vertex.completed),
        error: vertex.error,
    })
}

fn status(status: proto::VertexStatus) -> Message {
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    Message::Status(Status {
        vertex: status.vertex,
        id: status.id,
        name: status.name,
        current: number(status.current),
        total: number(status.total),
        at: time(status.timestamp),
        started: time(status.started),
        completed: time(status.completed),
    })
}

fn log(log: proto::VertexLog) -> Message {
    Message::Log(Log {
        vertex: log.vertex,
        stream: u8::try_from(log.stream).unwrap_or(1),
        at: time(log.timestamp),
        data: log.msg,
    })
}

fn warning(warning: proto::VertexWarning) -> Message {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let first = warning.ranges.first().and_then(|range| range.start);
    Message::Warning(Warning {
        short: text(&warning.short),
        detail: warning.detail.iter().map(|line| text(line)).collect(),
        url: warning.url,
        line: first.map_or(0, |start| u32::try_from(start.line).unwrap_or(0)),
    })
}
