//! What the program is told at its start.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// To whom output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A server for messages of RFC 3164 or 5424.
    Syslog,
    /// systemd's journal.
    Journald,
    /// Graylog's extended log format.
    Gelf,
    /// Fluentd's forward protocol.
    Fluentd,
    /// Splunk's HTTP event collector.
    Splunk,
}

impl Driver {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Syslog,
        Self::Journald,
        Self::Gelf,
        Self::Fluentd,
        Self::Splunk,
    ];

    /// Docker's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syslog => "syslog",
            Self::Journald => "journald",
            Self::Gelf => "gelf",
            Self::Fluentd => "fluentd",
            Self::Splunk => "splunk",
        }
    }
}

/// Everything the program must know: the first message on its standard input, a length of 4 bytes, big-endian, and JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// To whom.
    pub driver: Driver,
    /// The driver's options, with [`crate::options::check`] behind them.
    pub options: BTreeMap<String, String>,
    /// `None`: the container waits for a slow server. Some: it does not, and of what waits so many bytes are kept.
    pub buffer: Option<u64>,
    /// Whose output.
    pub about: About,
    /// A file that tells what was dropped and why, written when there is something to tell.
    pub status: Option<PathBuf>,
    /// The journal's socket; `None` for systemd's.
    #[serde(default)]
    pub journal: Option<PathBuf>,
    /// The container runs already: a server that is away is waited for.
    #[serde(default)]
    pub again: bool,
    /// How many entries were lost before they came to any program.
    #[serde(default)]
    pub lost: u64,
}

/// What drivers tell of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Its id, 64 digits.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// Its image's id.
    pub image_id: String,
    /// Its image, as it was asked for.
    pub image: String,
    /// Its command with arguments.
    pub command: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The host.
    pub host: String,
    /// The option `tag`, filled in.
    pub tag: String,
    /// Labels and variables that the options ask for.
    pub attributes: BTreeMap<String, String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Those of a container whose output goes to the journal.
    pub(crate) fn settings() -> Settings {
        Settings {
            driver: Driver::Journald,
            options: BTreeMap::new(),
            buffer: None,
            about: About::default(),
            status: None,
            journal: None,
            again: false,
            lost: 0,
        }
    }
}
