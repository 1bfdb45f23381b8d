//! Builds: what the solver of `hull-build` asks of the world, done with the store's layers, overlayfs and the
//! containers' own way to a process.
//!
//! ```text
//! Engine::builder ─ Solver ─ graph ─► World ┬─ images    store and registries
//!                                           ├─ http, git files from elsewhere
//!                                           ├─ run       a step's process           container/step.rs
//!                                           ├─ change    copies and the like, in an overlay of ours
//!                                           ├─ content   digests of files
//!                                           └─ tree      what steps wrote: snapshots `build-<id>`
//! an image is wanted ─► export: layers of what steps wrote, once for all images that have them
//! ```

mod cache_mount;
mod change;
mod chmod;
mod classic;
mod collect;
mod content;
mod copy;
mod elsewhere;
mod engine_world;
mod export;
mod failed;
mod find;
mod git;
mod glob;
mod http;
mod images;
mod index;
mod layout;
mod loose;
mod overlay;
mod prune;
mod read;
mod registry_place;
mod run;
mod sieve;
mod story;
mod stubs;
mod tree;
mod turns;
mod unpack;
mod upload;
mod usage;

pub use classic::{BuildError, BuildRequest, Built, Heard, Prepared};
pub use collect::{BuildLimits, CollectRule, Collection};
pub use elsewhere::{CacheExtent, CachePlace, ImportedCache};
pub use export::{ArchivedImage, Made};
pub use hull_build::{
    attest, blobs, cache, frontend, graph, ignore, plan, portable, progress, solve, world,
};
pub use images::credentials;
pub use index::{MadeIndex, Part};
pub use loose::{Attested, LooseFiles};
pub use prune::{BuildPrune, PrunedBuilds, RecordTest};
pub use registry_place::RegistryPlace;
pub use story::{Stopped, Story, Told, ToldKind};
pub use usage::{BuildRecord, Sources};

use crate::container::step::Endings;
use crate::{Engine, Error, ErrorKind, Result};
use hull_build::cache::Cache;
use hull_build::solve::Solver;
use hull_build::world::Cancel;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Begins the name of a snapshot that is a step's.
pub(crate) const PREFIX: &str = "build-";

/// What builds share.
#[derive(Debug)]
pub(crate) struct Builds {
    pub(crate) cache: Cache,
    pub(crate) endings: Endings,
    solver: OnceLock<Solver>,
    /// Cache mounts in use.
    mounts: turns::Mounts,
    git: git::Turns,
    /// Bytes of what steps wrote, as far as somebody asked.
    sizes: Mutex<HashMap<String, u64>>,
    /// Who keeps clients' files.
    sources: OnceLock<Box<dyn Sources>>,
    collecting: Mutex<collect::Collecting>,
    /// Builds that can be ended by name.
    named: Mutex<HashMap<String, Cancel>>,
}

impl Builds {
    /// Reads what earlier builds made.
    pub(crate) fn open(database: Arc<hull_image::Database>) -> Result<Arc<Self>> {
        let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let cache = Cache::open(database, boot.trim()).map_err(|e| {
            let text = "could not open the build cache";
            Error::new(ErrorKind::Internal, text).caused_by(e)
        })?;
        Ok(Arc::new(Self {
            cache,
            endings: Endings::default(),
            solver: OnceLock::new(),
            mounts: turns::Mounts::default(),
            git: git::Turns::default(),
            sizes: Mutex::default(),
            sources: OnceLock::new(),
            collecting: Mutex::default(),
            named: Mutex::default(),
        }))
    }

    fn named(&self) -> MutexGuard<'_, HashMap<String, Cancel>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a snapshot is one that a result of an earlier build has.
    pub(crate) fn owns(&self, snapshot: &str) -> bool {
        let step = snapshot.strip_prefix(PREFIX);
        step.is_some_and(|step| self.cache.names(step))
    }
}

impl Engine {
    /// What solves graphs here. Call it within the runtime that pulls are to run in.
    #[must_use]
    pub fn solver(self: &Arc<Self>) -> Solver {
        let made = self.builds.solver.get_or_init(|| {
            let world = engine_world::EngineWorld::new(self);
            Solver::new(Arc::new(world), self.builds.cache.clone())
        });
        made.clone()
    }
}

impl Engine {
    /// After a build: waits until nothing is left of the steps that have ended; brings what builds have made to the
    /// disk, in the background, for only then do results count after a loss of power; and keeps the cache within its
    /// limits.
    pub fn settle_builds(self: &Arc<Self>) {
        self.builds.endings.wait();
        let engine = Arc::clone(self);
        let thread = std::thread::Builder::new().name("build-sync".to_owned());
        // Without a thread they count until the host goes down.
        let _ = thread.spawn(move || {
            let open = engine.builds.cache.unsettled();
            if open.is_empty() {
                engine.builds.cache.settled(&open);
                return engine.collect_soon();
            }
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            let root = rustix::fs::open(&engine.config.data_root, flags, rustix::fs::Mode::empty());
            match root.and_then(rustix::fs::syncfs) {
                Ok(()) => engine.builds.cache.settled(&open),
                Err(error) => tracing::warn!(%error, "results of builds are not on the disk"),
            }
            engine.collect_soon();
        });
    }
}
