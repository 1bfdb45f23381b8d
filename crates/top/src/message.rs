//! What the view hears, and what it has done.

use bytes::Bytes;
use hull_api::container::stats::Stats;
use hull_api::container::{Inspect, Summary};

/// A key, as terminals tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Ctrl(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Delete,
    Tab,
    BackTab,
}

/// What there is to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tab {
    Containers,
    Images,
    Volumes,
    Networks,
    Disk,
}

impl Tab {
    /// From left to right.
    pub(crate) const ALL: [Self; 5] = [
        Self::Containers,
        Self::Images,
        Self::Volumes,
        Self::Networks,
        Self::Disk,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Containers => "Containers",
            Self::Images => "Images",
            Self::Volumes => "Volumes",
            Self::Networks => "Networks",
            Self::Disk => "Disk",
        }
    }

    /// The tab that shows what events of this type are about.
    pub(crate) fn of_event(kind: &str) -> Option<Self> {
        match kind {
            "container" => Some(Self::Containers),
            "image" => Some(Self::Images),
            "volume" => Some(Self::Volumes),
            "network" => Some(Self::Networks),
            _ => None,
        }
    }
}

/// The daemon's host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) processors: i64,
    pub(crate) memory: i64,
}

/// What comes from the daemon.
#[derive(Debug)]
pub(crate) enum Message {
    Connected(Host),
    /// The connection is gone, and is tried for again; why.
    Lost(String),
    Containers(Vec<Summary>),
    Sample(String, Box<Stats>),
    /// Something of a tab's has changed.
    Changed(Tab),
    Rows(Tab, Vec<crate::state::GridRow>),
    Inspected(Box<Inspect>),
    /// Bytes of a log, by the number that was asked with.
    Log {
        number: u64,
        error: bool,
        bytes: Bytes,
    },
    LogEnded {
        number: u64,
        why: String,
    },
    /// What was asked for is done, or not: a sentence.
    Done {
        text: String,
        failed: bool,
    },
}

/// What can be done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    Pause,
    Unpause,
    Kill,
    Remove,
}

impl Verb {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Kill => "kill",
            Self::Remove => "remove",
        }
    }
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) verb: Verb,
    pub(crate) tab: Tab,
    pub(crate) id: String,
    /// What people call it.
    pub(crate) name: String,
}

/// What the view wants of the rest of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Quit,
    /// Stop this program, as Ctrl-Z does, until it is continued.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Give the terminal to a shell in a container; with tools of an image of its own.
    Shell {
        id: String,
        tools: bool,
    },
    Do(Action),
    Fetch(Tab),
    Inspect(String),
    /// Follow a log, instead of the one before.
    Log {
        id: String,
        number: u64,
    },
    NoLog,
}
