//! Whose turn it is at a cache that steps mount.
//!
//! ```text
//! an id ─► names id#0, id#1, …      private: the first that nobody has; else id#0
//! a name: free ─► shared by several ─► free       shared
//!         free ─► one has it ────────► free       locked, private
//! and whoever has it may be the one that looks for its files and makes them
//! ```

use hull_build::graph::Sharing;
use hull_build::world::{Cancel, WorldResult};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The caches that steps have at the moment. Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Mounts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// By name.
    used: Mutex<HashMap<String, InUse>>,
    changed: Condvar,
}

/// Who has a cache.
#[derive(Debug, Default)]
struct InUse {
    /// How many steps; nobody stands here with none.
    users: usize,
    /// Whether nobody else may come.
    alone: bool,
    /// Whether one of them looks for its files or makes them.
    making: bool,
}

/// A step's turn at a cache; over when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    mounts: Mounts,
    name: String,
}

/// A turn to make a cache's files.
#[derive(Debug)]
pub(super) struct Making<'t>(&'t Turn);

/// The name of a cache of which there are as many as steps want for themselves at once.
pub(super) fn name_of(id: &str, number: usize) -> String {
    format!("{id}#{number}")
}

impl Mounts {
    fn used(&self) -> MutexGuard<'_, HashMap<String, InUse>> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is to be had.
    fn wait<T>(
        &self,
        cancel: &Cancel,
        mut ready: impl FnMut(&mut HashMap<String, InUse>) -> Option<T>,
    ) -> WorldResult<T> {
        let woken = self.clone();
        let _wakes = cancel.on_cancel(move || {
            // Between look and wait nobody would hear it.
            drop(woken.used());
            woken.0.changed.notify_all();
        });
        let mut used = self.used();
        loop {
            cancel.check()?;
            if let Some(ready) = ready(&mut used) {
                return Ok(ready);
            }
            let waited = self.0.changed.wait(used);
            used = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for a turn. Who wants a cache for itself waits for nobody.
    pub(super) fn turn(&self, id: &str, sharing: Sharing, cancel: &Cancel) -> WorldResult<Turn> {
        let name = self.wait(cancel, |used| {
            let mut number = 0;
            loop {
                let name = name_of(id, number);
                if take(used, &name, sharing) {
                    return Some(name);
                }
                if sharing != Sharing::Private {
                    return None;
                }
                number += 1;
            }
        })?;
        Ok(Turn {
            mounts: self.clone(),
            name,
        })
    }
}

/// Joins those who have a cache, if they may be joined.
fn take(used: &mut HashMap<String, InUse>, name: &str, sharing: Sharing) -> bool {
    let alone = sharing != Sharing::Shared;
    if used.get(name).is_some_and(|used| alone || used.alone) {
        return false;
    }
    let used = used.entry(name.to_owned()).or_default();
    used.users += 1;
    used.alone = alone;
    true
}

impl Turn {
    /// What the cache is known by.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until no other looks for the cache's files or makes them.
    pub(super) fn making(&self, cancel: &Cancel) -> WorldResult<Making<'_>> {
        self.mounts.wait(cancel, |used| {
            let used = used.get_mut(&self.name)?;
            let free = !used.making;
            used.making = true;
            free.then_some(())
        })?;
        Ok(Making(self))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut used = self.mounts.used();
        if let Some(row) = used.get_mut(&self.name) {
            row.users -= 1;
            if row.users == 0 {
                used.remove(&self.name);
            }
        }
        drop(used);
        self.mounts.0.changed.notify_all();
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(used) = self.0.mounts.used().get_mut(&self.0.name) {
            used.making = false;
        }
        self.0.mounts.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a turn that is to be had at once.
    fn now(mounts: &Mounts, sharing: Sharing) -> Option<Turn> {
        let taken = take(&mut mounts.used(), "a#0", sharing);
        taken.then(|| Turn {
            mounts: mounts.clone(),
            name: "a#0".to_owned(),
        })
    }

    #[test]
    fn who_may_come_to_whom() {
        use Sharing::{Locked, Private, Shared};
        for (first, second, together) in [
            (Shared, Shared, true),
            (Shared, Locked, false),
            (Shared, Private, false),
            (Locked, Shared, false),
            (Locked, Locked, false),
            (Private, Shared, false),
        ] {
            let mounts = Mounts::default();
            let one = now(&mounts, first).unwrap();
            let two = now(&mounts, second);
            assert_eq!(two.is_some(), together, "{first:?} {second:?}");
            drop((one, two));
            assert!(mounts.used().is_empty());
        }
    }

    #[test]
    fn who_goes_takes_no_others_turn_away() {
        let mounts = Mounts::default();
        let one = now(&mounts, Sharing::Shared).unwrap();
        let two = now(&mounts, Sharing::Shared).unwrap();
        drop(one);
        assert!(
            now(&mounts, Sharing::Locked).is_none(),
            "one is still there"
        );
        drop(two);
        assert!(now(&mounts, Sharing::Locked).is_some());
    }

    #[test]
    fn who_wants_one_alone_gets_another() {
        let (mounts, cancel) = (Mounts::default(), Cancel::new());
        let turn = |sharing| mounts.turn("a", sharing, &cancel).unwrap();
        let turns = [Sharing::Shared, Sharing::Private, Sharing::Private].map(turn);
        assert_eq!(turns.each_ref().map(Turn::name), ["a#0", "a#1", "a#2"]);
    }

    #[test]
    fn a_cache_is_made_by_one_at_a_time() {
        let (mounts, cancel) = (Mounts::default(), Cancel::new());
        let made = Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let turn = mounts.turn("a", Sharing::Shared, &cancel).unwrap();
                    for _ in 0..100 {
                        let _making = turn.making(&cancel).unwrap();
                        let mut made = made.try_lock().expect("nobody else is at it");
                        *made += 1;
                    }
                });
            }
        });
        assert_eq!(made.into_inner().unwrap(), 800);
        assert!(mounts.used().is_empty());
    }

    #[test]
    fn who_waits_can_be_cancelled() {
        let (mounts, cancel) = (Mounts::default(), Cancel::new());
        let _turn = now(&mounts, Sharing::Locked).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| mounts.turn("a", Sharing::Locked, &cancel).map(drop));
            cancel.cancel();
            assert!(waits.join().unwrap().is_err());
        });
        assert_eq!(mounts.used().len(), 1);
    }
}
