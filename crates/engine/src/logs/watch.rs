//! News of changed log files. A host allows few inotify instances (128 by default, inotify(7)) and many watches:
//! there is one instance for all logs, and a watch for each directory that somebody follows.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// The watches of an engine; the instance is made for the first one.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<Option<Arc<Instance>>>);

#[derive(Debug)]
struct Instance {
    descriptor: Arc<AsyncFd<OwnedFd>>,
    /// By the kernel's number: how many follow, and how they are told.
    watched: Mutex<HashMap<i32, (usize, watch::Sender<()>)>>,
}

/// A directory that is watched as long as this exists.
#[derive(Debug)]
pub(super) struct Watch {
    instance: Arc<Instance>,
    number: i32,
    news: watch::Receiver<()>,
}

impl Watches {
    /// Watches the files in `directory`. What changes from now on is told.
    pub(super) fn watch(&self, directory: &Path) -> io::Result<Watch> {
        let instance = {
            let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match &*made {
                Some(instance) => Arc::clone(instance),
                None => Arc::clone(made.insert(Instance::start()?)),
            }
        };
        instance.add(directory)
    }
}

impl Instance {
    fn start() -> io::Result<Arc<Self>> {
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let instance = Arc::new(Self {
            descriptor: Arc::new(registered(descriptor)?),
            watched: Mutex::default(),
        });
        let told = Arc::downgrade(&instance);
        let descriptor = Arc::clone(&instance.descriptor);
        tokio::spawn(async move {
            while let Ok(mut ready) = descriptor.readable().await {
                let numbers = changed(descriptor.get_ref());
                ready.clear_ready();
                let Some(instance) = told.upgrade() else {
                    return;
                };
                instance.tell(&numbers);
            }
        });
        Ok(instance)
    }

    fn add(self: Arc<Self>, directory: &Path) -> io::Result<Watch> {
        let flags =
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // The same number for a directory that is watched already.
        let number = inotify::add_watch(self.descriptor.get_ref(), directory, flags)?;
        let (count, news) = watched.entry(number).or_default();
        *count += 1;
        let news = news.subscribe();
        drop(watched);
        Ok(Watch {
            instance: self,
            number,
            news,
        })
    }

    fn remove(&self, number: i32) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((count, _)) = watched.get_mut(&number) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            watched.remove(&number);
            // It may be gone with its directory.
            let _ = inotify::remove_watch(self.descriptor.get_ref(), number);
        }
    }

    fn tell(&self, numbers: &[i32]) {
        let tell = |(_, news): &(usize, watch::Sender<()>)| news.send_replace(());
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for number in numbers {
            match watched.get(number) {
                Some(one) => tell(one),
                // -1: there was more news than the kernel keeps. Whose is not known.
                None if *number < 0 => watched.values().for_each(tell),
                None => {}
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "what it warns of are types that change their descriptor; the way around is unsafe"
)]
fn registered(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

/// Which directories have changed, each once.
fn changed(descriptor: &OwnedFd) -> Vec<i32> {
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut events = inotify::Reader::new(descriptor, &mut buffer);
    let mut numbers = Vec::new();
    while let Ok(event) = events.next() {
        if numbers.last() != Some(&event.wd()) {
            numbers.push(event.wd());
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

impl Watch {
    /// Waits for a change since the last call, or since the beginning.
    pub(super) async fn changed(&mut self) {
        // An error means that the watch is gone, as is its directory: the container's end comes.
        if self.news.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.instance.remove(self.number);
    }
}
