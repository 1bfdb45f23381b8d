//! The disk budget: images and partial downloads stay below a number of bytes by least recent use.
//!
//! ```text
//! room     before a pull writes: by the declared sizes, and what they are likely to become
//! fit      before an image is registered, however it came: by what is on the disk
//! ```
//!
//! What goes, in this order: downloads that nobody continues, layers of no image, then the image that
//! was pulled, tagged or made a container of the longest ago. What stays: images of containers, layers
//! of their snapshots, and images of which somebody holds a layer, such as the base of one that is
//! being pulled. Nothing goes when all that may go would not be enough.

mod plan;
#[cfg(test)]
mod tests;

use crate::image::ImageId;
use crate::remove::{RESUME_WINDOW, Removed, User};
use crate::store::{Error, Hold, Store, now_nanoseconds};
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use plan::Plan;
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// What a compressed layer is likely to take: itself, and three times as much unpacked. Layers of
/// distributions unpack to two to three times their size.
const LIKELY: u64 = 4;

/// Who knows of containers, and tells people of what is evicted.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// All containers. Asked while the store is locked: whoever answers must not wait for anybody
    /// who uses it.
    fn users(&self) -> Vec<User>;

    /// Names and images that went to stay below the budget.
    fn evicted(&self, removed: &[Removed]);
}

/// What the budget is kept with.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    keeper: OnceLock<Box<dyn Keeper>>,
    /// Bytes of pulls under way.
    reserved: Mutex<u64>,
    /// Held while there is being evicted. Locked before everything else.
    turn: Mutex<()>,
}

impl Budget {
    /// All containers there are now, if anybody knows.
    pub(crate) fn users(&self) -> Option<Vec<User>> {
        self.keeper.get().map(|keeper| keeper.users())
    }
}

/// Room for a pull, and a hold on all layers of its image, until this is dropped.
#[derive(Debug)]
pub struct Room {
    store: Store,
    reserved: u64,
    _holds: Vec<Hold>,
}

impl Drop for Room {
    fn drop(&mut self) {
        *lock(&self.store.inner.budget.reserved) -= self.reserved;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is locked; the number is whole in any case.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Names who is asked for containers and told of evictions. Until then no image is evicted.
    pub fn set_keeper(&self, keeper: Box<dyn Keeper>) {
        // A second one could only be a test's; the first stays.
        let _ = self.inner.budget.keeper.set(keeper);
    }

    /// Notes that an image is used now; durable with the next change of the database.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn touch(&self, id: &ImageId) -> Result<(), Error> {
        if self.inner.options.budget.is_none() {
            return Ok(());
        }
        let rows = &self.inner.rows;
        rows.write_behind(|change| change.put_used(id, now_nanoseconds()))
    }

    /// Asks for room for an image's layers, by diffID and descriptor, of which some may be here.
    /// Downloads that nobody continued for a day go in any case.
    ///
    /// # Errors
    /// [`Error::NoRoom`]; then nothing is evicted. Failures of the file system and of the database.
    pub fn room(&self, layers: &[(Digest, Descriptor)]) -> Result<Room, Error> {
        self.discard_downloads(RESUME_WINDOW)?;
        let mut room = Room {
            store: self.clone(),
            reserved: 0,
            _holds: layers.iter().map(|(layer, _)| self.hold(layer)).collect(),
        };
        let Some(limit) = self.inner.options.budget else {
            return Ok(room);
        };
        let (mut declared, mut likely) = (0_u64, 0_u64);
        let catalog = self.inner.rows.catalog();
        for (layer, blob) in layers {
            if catalog.has_layer(layer) {
                continue;
            }
            let factor = if blob.digest == *layer { 1 } else { LIKELY };
            declared = declared.saturating_add(blob.size);
            likely = likely.saturating_add(blob.size.saturating_mul(factor));
        }
        if declared > 0 {
            room.reserved = self.make_room(limit, declared, likely)?;
        }
        Ok(room)
    }

    /// Evicts until `likely` more bytes fit; where that cannot be, only for the `declared` ones: nothing
    /// goes for what is likely not to stay. Returns how much is reserved: as much of `likely` as can be had.
    fn make_room(&self, limit: u64, declared: u64, likely: u64) -> Result<u64, Error> {
        let budget = &self.inner.budget;
        let _turn = lock(&budget.turn);
        let plan = Plan::new(self, false)?;
        let reserved = *lock(&budget.reserved);
        let kept = plan.kept.saturating_add(reserved);
        let free = limit.saturating_sub(kept);
        if declared > free {
            return Err(no_room(declared, limit, kept));
        }
        let wanted = likely.min(free);
        let evicted_for = if likely <= free { likely } else { declared };
        self.evict(plan, limit - reserved - evicted_for)?;
        *lock(&budget.reserved) += wanted;
        Ok(wanted)
    }

    /// Evicts until everything that is on the disk is below the budget, what is arriving included.
    ///
    /// # Errors
    /// [`Error::NoRoom`]; then nothing is evicted. Failures of the file system and of the database.
    pub fn fit(&self) -> Result<(), Error> {
        let Some(limit) = self.inner.options.budget else {
            return Ok(());
        };
        let _turn = lock(&self.inner.budget.turn);
        let plan = Plan::new(self, true)?;
        if plan.kept > limit {
            return Err(no_room(plan.arriving, limit, plan.kept - plan.arriving));
        }
        self.evict(plan, limit)
    }

    /// Brings what is on the disk down to `target`, as far as may be.
    fn evict(&self, mut plan: Plan, target: u64) -> Result<(), Error> {
        if plan.taken <= target {
            return Ok(());
        }
        self.discard_downloads(Duration::ZERO)?;
        self.prune_layers()?;
        plan.measure(self)?;
        let candidates = std::mem::take(&mut plan.candidates);
        for id in candidates {
            if plan.taken <= target {
                break;
            }
            let before = plan.taken;
            match self.remove_idle(&id) {
                Ok(removed) => {
                    plan.measure(self)?;
                    let freed = Bytes(before.saturating_sub(plan.taken));
                    tracing::info!(image = %id, %freed, "evicted to stay below the disk budget");
                    if let Some(keeper) = self.inner.budget.keeper.get() {
                        keeper.evicted(&removed);
                    }
                }
                // Somebody has come to need it.
                Err(error) => tracing::debug!(image = %id, %error, "not evicted"),
            }
        }
        Ok(())
    }

    /// Discards what interrupted pulls left to be continued.
    ///
    /// # Errors
    /// Failures of the file system.
    pub fn prune_downloads(&self) -> Result<(), Error> {
        self.discard_downloads(Duration::ZERO)
    }

    /// Discards downloads that nobody is at, last written to so long ago.
    fn discard_downloads(&self, age: Duration) -> Result<(), Error> {
        for download in self.downloads()? {
            if download.age >= age {
                self.discard_idle(&download.digest, &download.path);
            }
        }
        Ok(())
    }
}

fn no_room(needed: u64, limit: u64, kept: u64) -> Error {
    Error::NoRoom {
        needed: Bytes(needed).to_string(),
        limit: Bytes(limit).to_string(),
        kept: Bytes(kept).to_string(),
    }
}

/// Bytes in the units that Docker shows.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
        let (mut whole, mut rest, mut unit) = (self.0, 0, 0);
        while whole >= 1000 {
            rest = whole % 1000;
            whole /= 1000;
            unit += 1;
        }
        match rest / 100 {
            0 => write!(f, "{whole}{}", units[unit]),
            tenth => write!(f, "{whole}.{tenth}{}", units[unit]),
        }
    }
}
