//! What happened.

use crate::Filters;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Which events to tell of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventOptions {
    /// Those since then, as far as they are remembered, before the new ones: the last ten thousand or so, also
    /// those of earlier daemons.
    pub since: Option<Timestamp>,
    /// Until then; with a moment that has passed there are no new ones.
    pub until: Option<Timestamp>,
    /// Which ones.
    pub filters: Filters,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `container`, `image`, `network`, …
    pub kind: &'static str,
    /// `create`, `start`, `die`, `exec_start: sh -c x`, …
    pub action: String,
    /// Of what it is about.
    pub id: String,
    /// `name`, `image`, `exitCode`, labels, …
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub at: Timestamp,
}
