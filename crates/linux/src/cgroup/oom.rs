//! Word of it when the kernel runs out of a group's memory.
//!
//! v1: an eventfd that is registered for `memory.oom_control` by a line in `cgroup.event_control`
//! (kernel documentation, `cgroup-v1/memory`, 9). v2: inotify(7) on `memory.events`, and on
//! `cgroup.events`, which tells that nobody is left.

use super::{Cgroup, Error, parse, write};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OomNews {
    /// Nothing of interest.
    Nothing,
    /// The group was out of memory, perhaps more than once.
    OutOfMemory,
    /// The group is empty (v2) or gone.
    Ended,
}

/// Watches one group. Its descriptor becomes readable when there is something to [`OomWatch::take`].
#[derive(Debug)]
pub struct OomWatch {
    descriptor: OwnedFd,
    group: Cgroup,
    /// v1's file must stay open.
    _file: Option<File>,
    /// v2 counts.
    kills: u64,
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl OomWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// [`Error::NoController`] without the memory controller, [`Error::Open`] or [`Error::Write`] naming
    /// the file that cannot be watched.
    pub fn new(group: &Cgroup) -> Result<Self, Error> {
        let directory = group.directory("memory");
        let directory = directory.ok_or(Error::NoController("memory"))?;
        let open = |path: PathBuf| {
            move |error: Errno| Error::Open {
                path,
                source: error.into(),
            }
        };
        if group.layout().is_v2() {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            let descriptor = inotify::init(flags).map_err(open(directory.clone()))?;
            for file in ["memory.events", "cgroup.events"] {
                let path = directory.join(file);
                inotify::add_watch(&descriptor, &path, inotify::WatchFlags::MODIFY)
                    .map_err(open(path))?;
            }
            return Ok(Self {
                descriptor,
                kills: group.oom_kills(),
                group: group.clone(),
                _file: None,
            });
        }
        let path = directory.join("memory.oom_control");
        let file = File::open(&path).map_err(|source| Error::Open { path, source })?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let descriptor = eventfd(0, flags).map_err(open(directory.clone()))?;
        let line = format!("{} {}", descriptor.as_raw_fd(), file.as_raw_fd());
        write(&directory.join("cgroup.event_control"), &line)?;
        Ok(Self {
            descriptor,
            group: group.clone(),
            _file: Some(file),
            kills: 0,
        })
    }

    /// What has happened since it was last asked. Does not wait.
    ///
    /// # Errors
    /// What read(2) gives.
    pub fn take(&mut self) -> io::Result<OomNews> {
        if self.group.layout().is_v2() {
            self.drain()?;
            return Ok(self.counted());
        }
        let mut count = [0_u8; 8];
        match rustix::io::read(&self.descriptor, &mut count) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(OomNews::Nothing),
            other => other?,
        };
        // The end of the group is announced in the same way.
        let control = self.group.read("memory", "memory.oom_control");
        Ok(control.map_or(OomNews::Ended, |_| OomNews::OutOfMemory))
    }

    fn drain(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(&self.descriptor, &mut buffer);
        loop {
            match events.next() {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The kills first: the last process may have been killed.
    fn counted(&mut self) -> OomNews {
        let kills = self.group.oom_kills();
        if kills > self.kills {
            self.kills = kills;
            return OomNews::OutOfMemory;
        }
        let events = self.group.read("", "cgroup.events").unwrap_or_default();
        match parse::counters(&events).get("populated") {
            Some(1..) => OomNews::Nothing,
            _ => OomNews::Ended,
        }
    }
}
