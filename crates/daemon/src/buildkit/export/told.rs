//! An export in the progress.

use hull_engine::build::graph::digest_of;
use hull_engine::build::progress::{Event, Status as Part, VertexState, Watch};
use jiff::Timestamp;
use std::collections::BTreeMap;
use tonic::Status;

/// An export in the progress.
pub(in crate::buildkit) struct Told<'a> {
    watch: &'a dyn Watch,
    state: VertexState,
}

impl<'a> Told<'a> {
    pub(in crate::buildkit) fn begin(watch: &'a dyn Watch, title: &str) -> Self {
        let now = Timestamp::now();
        let state = VertexState {
            digest: digest_of(&(title, now.as_nanosecond().to_string())),
            inputs: Vec::new(),
            name: title.to_owned(),
            cached: false,
            started: Some(now),
            completed: None,
            error: String::new(),
            group: None,
            location: None,
            description: BTreeMap::new(),
        };
        watch.tell(Event::Vertex(Box::new(state.clone())));
        Self { watch, state }
    }

    pub(super) fn part(&self, id: &str) -> TellPart<'_> {
        let now = Timestamp::now();
        let part = Part {
            vertex: self.state.digest.clone(),
            id: id.to_owned(),
            name: String::new(),
            current: 0,
            total: 0,
            at: now,
            started: Some(now),
            completed: None,
        };
        self.watch.tell(Event::Status(part.clone()));
        TellPart(self.watch, part)
    }

    pub(in crate::buildkit) fn end(mut self, error: Option<&Status>) {
        self.state.completed = Some(Timestamp::now());
        self.state.error = error
            .map(|error| error.message().to_owned())
            .unwrap_or_default();
        self.watch.tell(Event::Vertex(Box::new(self.state)));
    }
}

/// A part of an export.
pub(super) struct TellPart<'a>(&'a dyn Watch, Part);

impl TellPart<'_> {
    /// Tells how far it is, of how much.
    pub(super) fn at(&mut self, current: u64, total: u64) {
        self.1.at = Timestamp::now();
        (self.1.current, self.1.total) = (current, total);
        self.0.tell(Event::Status(self.1.clone()));
    }

    pub(super) fn done(mut self) {
        self.1.at = Timestamp::now();
        self.1.completed = Some(self.1.at);
        self.0.tell(Event::Status(self.1));
    }
}
