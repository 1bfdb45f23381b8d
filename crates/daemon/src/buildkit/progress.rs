//! What a build tells, kept for all who ask for it, and in BuildKit's words.

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use bollard_buildkit_proto::pb;
use hull_engine::build::graph;
use hull_engine::build::progress::{Event, Log, Status, Stream, VertexState, Warning, Watch};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The bytes of output that are kept of a build. What comes after is not shown: BuildKit cuts it too, at two
/// megabytes a step.
const MAX_LOGS: usize = 64 << 20;
/// No answer has more output, bytes: clients take four megabytes at most.
const MAX_ANSWER: usize = 1 << 20;

/// What one build told so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    told: Mutex<Told>,
    more: Notify,
    read: AtomicBool,
}

#[derive(Debug, Default)]
struct Told {
    events: Vec<Event>,
    log_bytes: usize,
    /// The Dockerfiles that locations are about.
    sources: Vec<pb::SourceInfo>,
    ended: bool,
}

impl Watch for Progress {
    fn tell(&self, event: Event) {
        let mut told = self.told();
        if let Event::Log(log) = &event {
            told.log_bytes += log.bytes.len();
            if told.log_bytes > MAX_LOGS {
                return;
            }
        }
        told.events.push(event);
        drop(told);
        self.more.notify_waiters();
    }
}

impl Progress {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the files that locations of later events are about.
    pub(super) fn sources(&self, sources: Vec<pb::SourceInfo>) {
        self.told().sources = sources;
    }

    /// Nothing more will be told.
    pub(super) fn end(&self) {
        self.told().ended = true;
        self.more.notify_waiters();
    }

    /// One more who reads all from the beginning.
    pub(super) fn reader(self: &Arc<Self>) -> Reader {
        self.read.store(true, Ordering::Release);
        Reader {
            progress: Arc::clone(self),
            next: 0,
        }
    }

    /// Whether anybody has read any of it.
    pub(super) fn is_read(&self) -> bool {
        self.read.load(Ordering::Acquire)
    }

    /// How many vertices there are, are done, and were known; and the warnings.
    pub(super) fn counts(&self) -> Counts {
        let told = self.told();
        let mut last = std::collections::HashMap::new();
        let mut counts = Counts::default();
        for event in &told.events {
            match event {
                Event::Vertex(vertex) => {
                    last.insert(&vertex.digest, vertex);
                }
                Event::Warning(_) => counts.warnings += 1,
                Event::Status(_) | Event::Log(_) | Event::Process(_) => {}
            }
        }
        for vertex in last.values() {
            counts.total += 1;
            counts.completed += i32::from(vertex.completed.is_some());
            counts.cached += i32::from(vertex.cached);
        }
        counts
    }
}

/// See [`Progress::counts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) total: i32,
    pub(super) completed: i32,
    pub(super) cached: i32,
    pub(super) warnings: i32,
}

/// Somebody who follows a build.
#[derive(Debug)]
pub(super) struct Reader {
    progress: Arc<Progress>,
    next: usize,
}

impl Reader {
    /// What came since the last time; waits for something. `None` when the build has ended and all was told.
    pub(super) async fn next(&mut self) -> Option<proto::StatusResponse> {
        loop {
            let progress = Arc::clone(&self.progress);
            let more = progress.more.notified();
            tokio::pin!(more);
            // Before the look: what came between the two would be missed.
            more.as_mut().enable();
            {
                let told = progress.told();
                if self.next < told.events.len() {
                    let (answer, next) = answer(&told, self.next);
                    self.next = next;
                    return Some(answer);
                }
                if told.ended {
                    return None;
                }
            }
            more.await;
        }
    }
}

/// The events from `next` on, as many as fit, and which is the next one then.
fn answer(told: &Told, mut next: usize) -> (proto::StatusResponse, usize) {
    let mut answer = proto::StatusResponse::default();
    let mut bytes = 0;
    while let Some(event) = told.events.get(next) {
        match event {
            Event::Vertex(state) => answer.vertexes.push(vertex(state)),
            Event::Status(state) => answer.statuses.push(status(state)),
            Event::Log(line) => {
                bytes += line.bytes.len();
                if bytes > MAX_ANSWER && !answer.logs.is_empty() {
                    break;
                }
                answer.logs.push(log(line));
            }
            Event::Warning(text) => answer.warnings.push(warning(text, &told.sources)),
            // BuildKit's clients have no word for it.
            Event::Process(_) => {}
        }
        next += 1;
    }
    (answer, next)
}

pub(super) fn timestamp(time: jiff::Timestamp) -> Timestamp {
    Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

fn vertex(state: &VertexState) -> proto::Vertex {
    proto::Vertex {
        digest: state.digest.to_string(),
        inputs: state.inputs.iter().map(ToString::to_string).collect(),
        name: state.name.clone(),
        cached: state.cached,
        started: state.started.map(timestamp),
        completed: state.completed.map(timestamp),
        error: state.error.clone(),
        progress_group: state.group.as_ref().map(group),
    }
}

fn group(group: &graph::ProgressGroup) -> pb::ProgressGroup {
    pb::ProgressGroup {
        id: group.id.clone(),
        name: group.name.clone(),
        weak: group.weak,
    }
}

fn status(status: &Status) -> proto::VertexStatus {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    proto::VertexStatus {
        id: status.id.clone(),
        vertex: status.vertex.to_string(),
        name: status.name.clone(),
        current: number(status.current),
        total: number(status.total),
        timestamp: Some(timestamp(status.at)),
        started: status.started.map(timestamp),
        completed: status.completed.map(timestamp),
    }
}

fn log(log: &Log) -> proto::VertexLog {
    proto::VertexLog {
        vertex: log.vertex.to_string(),
        timestamp: Some(timestamp(log.at)),
        stream: match log.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        },
        msg: log.bytes.clone(),
    }
}

fn warning(warning: &Warning, sources: &[pb::SourceInfo]) -> proto::VertexWarning {
    let location = warning.location.as_ref();
    let source = location.and_then(|location| sources.get(location.source));
    proto::VertexWarning {
        vertex: warning
            .vertex
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        level: warning.level,
        short: warning.short.clone().into_bytes(),
        detail: warning
            .detail
            .iter()
            .map(|line| line.clone().into_bytes())
            .collect(),
        url: warning.url.clone(),
        info: source.cloned(),
        ranges: location.map(ranges).unwrap_or_default(),
    }
}

/// The lines of a location.
pub(super) fn ranges(location: &graph::Location) -> Vec<pb::Range> {
    let position = |line: u32| {
        let line = i32::try_from(line).unwrap_or(i32::MAX);
        Some(pb::Position { line, character: 0 })
    };
    let lines = location.lines.iter();
    lines
        .map(|(first, last)| pb::Range {
            start: position(*first),
            end: position(*last),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_engine::build::graph::digest_of;

    fn state(name: &str, completed: bool) -> Event {
        let now = jiff::Timestamp::UNIX_EPOCH;
        Event::Vertex(Box::new(VertexState {
            digest: digest_of(&name),
            inputs: vec![],
            name: name.to_owned(),
            cached: completed,
            started: Some(now),
            completed: completed.then_some(now),
            error: String::new(),
            group: None,
            location: None,
            description: [].into(),
        }))
    }

    fn output(length: usize) -> Event {
        Event::Log(Log {
            vertex: digest_of(&"a"),
            stream: Stream::Stderr,
            bytes: vec![b'x'; length],
            at: jiff::Timestamp::UNIX_EPOCH,
        })
    }

    #[tokio::test]
    async fn all_who_ask_are_told_all_from_the_beginning_to_the_end() {
        let progress = Arc::new(Progress::default());
        let mut early = progress.reader();
        let telling = Arc::clone(&progress);
        let told = tokio::spawn(async move {
            telling.tell(state("a", false));
            tokio::task::yield_now().await;
            telling.tell(output(3));
            tokio::task::yield_now().await;
            telling.tell(state("a", true));
            telling.end();
        });
        let mut all = proto::StatusResponse::default();
        while let Some(some) = early.next().await {
            all.vertexes.extend(some.vertexes);
            all.logs.extend(some.logs);
        }
        told.await.unwrap();
        let mut late = progress.reader();
        assert_eq!(late.next().await.unwrap(), all);
        assert_eq!(late.next().await, None);
        assert_eq!(all.vertexes.len(), 2);
        assert_eq!((all.logs[0].stream, all.logs[0].msg.len()), (2, 3));
        let counts = progress.counts();
        assert_eq!((counts.total, counts.completed, counts.cached), (1, 1, 1));
    }

    #[tokio::test]
    async fn much_output_comes_in_several_answers_and_has_an_end() {
        let progress = Arc::new(Progress::default());
        for _ in 0..70 {
            progress.tell(output(1 << 20));
        }
        progress.end();
        let mut reader = progress.reader();
        let mut answers = 0;
        while let Some(answer) = reader.next().await {
            let bytes: usize = answer.logs.iter().map(|log| log.msg.len()).sum();
            assert!(bytes <= MAX_ANSWER);
            answers += 1;
        }
        assert_eq!(answers, 64);
    }

    #[test]
    fn a_warning_shows_its_lines() {
        let location = graph::Location {
            source: 0,
            lines: vec![(2, 3)],
        };
        let source = pb::SourceInfo {
            filename: "Dockerfile".to_owned(),
            ..pb::SourceInfo::default()
        };
        let shown = warning(
            &Warning {
                vertex: None,
                level: 1,
                short: "short".to_owned(),
                detail: vec!["long".to_owned()],
                url: "https://docs".to_owned(),
                location: Some(location),
            },
            &[source],
        );
        assert_eq!(shown.info.unwrap().filename, "Dockerfile");
        assert_eq!(shown.ranges[0].start.unwrap().line, 2);
        assert_eq!(shown.ranges[0].end.unwrap().line, 3);
    }
}
