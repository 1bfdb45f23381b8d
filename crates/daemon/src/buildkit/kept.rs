//! Clients' files that are kept between builds, as a part of the build cache: counted and removed with it.

use super::BuildKit;
use super::filesync::Kept;
use hull_engine::build::cache::Kind;
use hull_engine::build::{BuildRecord, Sources};
use jiff::Timestamp;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What is below the data root.
#[derive(Debug)]
pub(super) struct KeptSources {
    buildkit: BuildKit,
    data_root: PathBuf,
}

impl KeptSources {
    pub(super) fn new(buildkit: BuildKit, data_root: &Path) -> Self {
        Self {
            buildkit,
            data_root: data_root.to_owned(),
        }
    }

    /// Whether a client has ever sent files.
    fn any(&self) -> bool {
        self.data_root.join("contexts").exists()
    }
}

fn time(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn record(kept: Kept) -> BuildRecord {
    BuildRecord {
        id: kept.id,
        parents: Vec::new(),
        kind: Kind::Local,
        description: "local source".to_owned(),
        in_use: kept.in_use,
        shared: false,
        size: kept.size,
        created: time(kept.created),
        last_used: Some(time(kept.last_used)),
        // Nobody counts.
        uses: 1,
    }
}

impl Sources for KeptSources {
    fn kept(&self) -> io::Result<Vec<BuildRecord>> {
        if !self.any() {
            return Ok(Vec::new());
        }
        let kept = self.buildkit.contexts(&self.data_root)?.kept()?;
        Ok(kept.into_iter().map(record).collect())
    }

    fn remove(&self, id: &str) -> io::Result<bool> {
        Ok(self.any() && self.buildkit.contexts(&self.data_root)?.remove(id)?)
    }
}
