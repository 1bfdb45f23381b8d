//! What is known of builds: the last ones, while the daemon lives.

use super::progress::{Counts, timestamp};
use bollard_buildkit_proto::google::rpc;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use proto::{BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

/// As many ended builds are remembered. BuildKit's default is fifty.
const MAX_RECORDS: usize = 50;
/// How far a listener may be behind.
const QUEUE: usize = 64;

/// The last builds.
#[derive(Debug)]
pub(super) struct History {
    records: Mutex<VecDeque<BuildHistoryRecord>>,
    news: broadcast::Sender<BuildHistoryEvent>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            records: Mutex::default(),
            news: broadcast::channel(QUEUE).0,
        }
    }
}

/// A build that is being remembered.
#[derive(Debug)]
pub(super) struct Remembered {
    history: Arc<History>,
    /// `None`: nobody wants it remembered, or it has ended.
    name: Option<String>,
}

impl Remembered {
    /// How it ended.
    pub(super) fn end(&mut self, solved: &Result<proto::SolveResponse, Status>, counts: Counts) {
        let Some(name) = self.name.take() else { return };
        self.history.change(&name, |record| {
            record.completed_at = Some(timestamp(Timestamp::now()));
            record.num_total_steps = counts.total;
            record.num_completed_steps = counts.completed;
            record.num_cached_steps = counts.cached;
            record.num_warnings = counts.warnings;
            match solved {
                Ok(solved) => record
                    .exporter_response
                    .clone_from(&solved.exporter_response),
                Err(status) => {
                    record.error = Some(rpc::Status {
                        code: i32::from(status.code()),
                        message: status.message().to_owned(),
                        details: Vec::new(),
                    });
                }
            }
        });
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        let cancelled = Err(Status::cancelled("context canceled"));
        self.end(&cancelled, Counts::default());
    }
}

fn event(kind: BuildHistoryEventType, record: BuildHistoryRecord) -> BuildHistoryEvent {
    BuildHistoryEvent {
        r#type: kind.into(),
        record: Some(record),
    }
}

/// What happened to a build last.
fn state(record: &BuildHistoryRecord) -> BuildHistoryEvent {
    let kind = match record.completed_at {
        Some(_) => BuildHistoryEventType::Complete,
        None => BuildHistoryEventType::Started,
    };
    event(kind, record.clone())
}

impl History {
    fn records(&self) -> MutexGuard<'_, VecDeque<BuildHistoryRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a build from now on.
    pub(super) fn begin(self: &Arc<Self>, request: &proto::SolveRequest) -> Remembered {
        if request.internal {
            return Remembered {
                history: Arc::clone(self),
                name: None,
            };
        }
        let record = BuildHistoryRecord {
            r#ref: request.r#ref.clone(),
            frontend: request.frontend.clone(),
            frontend_attrs: request.frontend_attrs.clone(),
            exporters: request.exporters.clone(),
            created_at: Some(timestamp(Timestamp::now())),
            ..BuildHistoryRecord::default()
        };
        let mut records = self.records();
        records.push_back(record.clone());
        let ended = |record: &BuildHistoryRecord| record.completed_at.is_some() && !record.pinned;
        while records.len() > MAX_RECORDS
            && let Some(oldest) = records.iter().position(ended)
        {
            records.remove(oldest);
        }
        // Nobody may be listening.
        let _ = self
            .news
            .send(event(BuildHistoryEventType::Started, record));
        drop(records);
        Remembered {
            history: Arc::clone(self),
            name: Some(request.r#ref.clone()),
        }
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut BuildHistoryRecord)) -> bool {
        let mut records = self.records();
        let found = records.iter_mut().rev().find(|record| record.r#ref == name);
        let Some(record) = found else { return false };
        change(record);
        record.generation += 1;
        let _ = self.news.send(state(record));
        true
    }

    /// What is known, and, unless only that is wanted, what comes.
    pub(super) fn listen(
        &self,
        request: proto::BuildHistoryRequest,
    ) -> BoxStream<'static, Result<BuildHistoryEvent, Status>> {
        // Held: nothing may come between the two.
        let records = self.records();
        let news = self.news.subscribe();
        let fits = move |event: &BuildHistoryEvent| {
            event.record.as_ref().is_some_and(|record| {
                let named = request.r#ref.is_empty() || request.r#ref == record.r#ref;
                named && (!request.active_only || record.completed_at.is_none())
            })
        };
        let mut known: Vec<_> = records.iter().map(state).filter(&fits).collect();
        drop(records);
        if let Ok(limit @ 1..) = usize::try_from(request.limit) {
            known.drain(..known.len().saturating_sub(limit));
        }
        let known = stream::iter(known.into_iter().map(Ok));
        if request.early_exit {
            return known.boxed();
        }
        let news = stream::unfold(news, async |mut news| {
            loop {
                match news.recv().await {
                    Ok(event) => return Some((event, news)),
                    // What was missed is missed: a listener that sleeps must not cost memory.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .filter(move |event| std::future::ready(fits(event)))
        .map(Ok);
        known.chain(news).boxed()
    }

    /// Keeps a record from being forgotten, or forgets it.
    ///
    /// # Errors
    /// `NotFound` for one that there is not.
    pub(super) fn update(&self, request: &proto::UpdateBuildHistoryRequest) -> Result<(), Status> {
        let name = &request.r#ref;
        let found = if request.delete {
            let mut records = self.records();
            let place = records.iter().rposition(|record| record.r#ref == *name);
            let removed = place.and_then(|place| records.remove(place));
            removed.is_some_and(|record| {
                let _ = self
                    .news
                    .send(event(BuildHistoryEventType::Deleted, record));
                true
            })
        } else if request.finalize {
            self.records().iter().any(|record| record.r#ref == *name)
        } else {
            self.change(name, |record| record.pinned = request.pinned)
        };
        if found {
            return Ok(());
        }
        Err(Status::not_found(format!("no record of build {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(history: &Arc<History>, name: &str) -> Remembered {
        history.begin(&proto::SolveRequest {
            r#ref: name.to_owned(),
            ..proto::SolveRequest::default()
        })
    }

    async fn known(history: &History, active_only: bool) -> Vec<String> {
        let request = proto::BuildHistoryRequest {
            early_exit: true,
            active_only,
            ..proto::BuildHistoryRequest::default()
        };
        let events = history.listen(request).collect::<Vec<_>>().await;
        let name = |event: BuildHistoryEvent| event.record.unwrap().r#ref;
        events
            .into_iter()
            .map(|event| name(event.unwrap()))
            .collect()
    }

    #[tokio::test]
    async fn builds_are_remembered_and_forgotten() {
        let history = Arc::new(History::default());
        let mut told = history.listen(proto::BuildHistoryRequest::default());
        let mut first = begin(&history, "first");
        let second = begin(&history, "second");
        first.end(&Ok(proto::SolveResponse::default()), Counts::default());
        assert_eq!(known(&history, false).await, ["first", "second"]);
        assert_eq!(known(&history, true).await, ["second"]);
        drop(second);
        assert_eq!(known(&history, true).await, [""; 0]);
        let mut kinds = Vec::new();
        for _ in 0..4 {
            kinds.push(told.next().await.unwrap().unwrap().r#type);
        }
        assert_eq!(kinds, [0, 0, 1, 1]);
        let update = |delete, pinned| proto::UpdateBuildHistoryRequest {
            r#ref: "first".to_owned(),
            delete,
            pinned,
            finalize: false,
        };
        history.update(&update(false, true)).unwrap();
        for number in 0..60 {
            drop(begin(&history, &format!("b{number}")));
        }
        let names = known(&history, false).await;
        assert_eq!((names.len(), names[0].as_str()), (MAX_RECORDS, "first"));
        history.update(&update(true, false)).unwrap();
        history.update(&update(true, false)).unwrap_err();
    }
}
