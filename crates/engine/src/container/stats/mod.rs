//! `stats`: what containers use.
//!
//! Whoever watches a container gets the samples of one task, which looks once a second for as long as
//! anybody watches: a hundred listeners cost what one does. One that reads slowly misses samples.

mod load;
mod sample;

use super::live::Container;
use crate::{Engine, Result, blocking};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

pub use hull_linux::cgroup::{BlockCount, Stats as Usage};
pub use load::{HostLoad, Load};
pub use sample::{Processors, Sample, Traffic};

/// As in Docker.
const INTERVAL: Duration = Duration::from_secs(1);

/// A sample and the one before, which is a default one where there was none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// The container.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// What it uses; nothing when it does not run.
    pub now: Option<Arc<Sample>>,
    /// What it used the last time that this listener was told.
    pub before: Option<Arc<Sample>>,
}

/// What a sampler found last: `None` for a container that does not run.
type Found = Option<Arc<Sample>>;

/// One container's samples, there while somebody listens.
#[derive(Debug)]
struct Sampler {
    /// `None`: there will be no more.
    told: watch::Sender<Option<Found>>,
}

/// The samplers at work, by container.
#[derive(Debug, Default)]
pub(crate) struct Samplers(Mutex<HashMap<String, Weak<Sampler>>>);

impl Samplers {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Weak<Sampler>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// What a container uses, once a second until it is removed; empty samples while it does not run.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn stats(self: &Arc<Self>, name: &str) -> Result<BoxStream<'static, Stats>> {
        let container = self.find(name)?;
        let sampler = self.sampler(&container);
        let told = sampler.told.subscribe();
        let begin = (container, sampler, told, None);
        let samples = stream::unfold(begin, |(container, sampler, mut told, before)| async move {
            if told.borrow().is_some() {
                told.changed().await.ok()?;
            }
            let now = told.borrow_and_update().clone()?;
            let stats = Stats {
                before,
                ..of(&container, now.clone())
            };
            Some((stats, (container, sampler, told, now)))
        });
        Ok(samples.boxed())
    }

    /// One sample, and the one of a second before unless `single`.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn stats_once(self: &Arc<Self>, name: &str, single: bool) -> Result<Stats> {
        let container = self.find(name)?;
        let runs = container.read(|record| record.is_running());
        if !runs {
            return Ok(of(&container, None));
        }
        let mut stats = of(&container, self.sample(&container).await?);
        if !single {
            let container = Arc::clone(&container);
            tokio::time::sleep(INTERVAL).await;
            let before = stats.now;
            stats = of(&container, self.sample(&container).await?);
            stats.before = before;
        }
        Ok(stats)
    }

    /// The one that is at work for a container, or a new one.
    fn sampler(self: &Arc<Self>, container: &Arc<Container>) -> Arc<Sampler> {
        let mut all = self.samplers.all();
        if let Some(sampler) = all.get(&container.id).and_then(Weak::upgrade) {
            return sampler;
        }
        let sampler = Arc::new(Sampler {
            told: watch::Sender::new(Some(None)),
        });
        all.insert(container.id.clone(), Arc::downgrade(&sampler));
        let work = Arc::clone(self).sample_on(Arc::clone(container), Arc::downgrade(&sampler));
        tokio::spawn(work);
        sampler
    }

    /// Looks once a second until nobody listens or the container is removed.
    async fn sample_on(self: Arc<Self>, container: Arc<Container>, sampler: Weak<Sampler>) {
        let mut gone = container.progress.subscribe();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = gone.wait_for(|progress| progress.removed) => {
                    if let Some(sampler) = sampler.upgrade() {
                        sampler.told.send_replace(None);
                    }
                    break;
                }
                _ = ticks.tick() => {}
            }
            if sampler.strong_count() == 0 {
                break;
            }
            let found = self.sample(&container).await.unwrap_or_default();
            let Some(sampler) = sampler.upgrade() else {
                break;
            };
            sampler.told.send_replace(Some(found));
        }
        // A new listener may have a new one already.
        let mut all = self.samplers.all();
        if all
            .get(&container.id)
            .is_some_and(|known| Weak::ptr_eq(known, &sampler))
        {
            all.remove(&container.id);
        }
    }

    async fn sample(self: &Arc<Self>, container: &Arc<Container>) -> Result<Found> {
        if !container.read(|record| record.is_running()) {
            return Ok(None);
        }
        let (engine, container) = (Arc::clone(self), Arc::clone(container));
        blocking(move || Ok(engine.look(&container, None).map(Arc::new))).await
    }
}

fn of(container: &Container, now: Found) -> Stats {
    Stats {
        id: container.id.clone(),
        name: container.read(|record| record.name.clone()),
        now,
        before: None,
    }
}
