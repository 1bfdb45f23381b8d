//! Word of the kernel's kills for want of memory, while the container runs.

use hull_linux::cgroup::{Cgroup, Layout, OomNews, OomWatch};
use hull_linux::reactor::{Interest, Reactor};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A container's memory, watched.
#[derive(Debug)]
pub(super) struct Memory {
    source: Source,
    ran_out: bool,
}

#[derive(Debug)]
enum Source {
    /// An eventfd.
    V1(OomWatch),
    /// `memory.events`, of which epoll(7) tells by `EPOLLERR` and `EPOLLPRI` that it has changed since it was last
    /// read (kernel documentation, `cgroup-v2`, "Interface Files"). inotify would do as well, but hosts give
    /// all of root's programs together few instances of it.
    V2 { events: File, kills: u64 },
}

impl Memory {
    /// The memory of the group at `path`; `None` where it cannot be watched.
    pub(super) fn new(path: &str) -> Option<Self> {
        let layout = Layout::detect().ok()?;
        let v2 = layout.is_v2();
        let group = Cgroup::new(layout, path).ok()?;
        let source = if v2 {
            let file = group.directory("memory")?.join("memory.events");
            let events = fs_err::File::open(file).ok()?.into_parts().0;
            Source::V2 {
                kills: kills(&events)?,
                events,
            }
        } else {
            Source::V1(OomWatch::new(&group).ok()?)
        };
        Some(Self {
            source,
            ran_out: false,
        })
    }

    pub(super) fn watch(&self, reactor: &Reactor, token: u64) -> io::Result<()> {
        match &self.source {
            Source::V1(watch) => reactor.add(watch, token, Interest::READ),
            // Errors are told of without asking; reading is always possible.
            Source::V2 { events, .. } => reactor.add(events, token, Interest::NONE),
        }
    }

    /// Whether something was killed since this was last asked.
    pub(super) fn take(&mut self) -> bool {
        let news = match &mut self.source {
            Source::V1(watch) => matches!(watch.take(), Ok(OomNews::OutOfMemory)),
            Source::V2 {
                events,
                kills: last,
            } => {
                let now = self::kills(events).unwrap_or(*last);
                std::mem::replace(last, now) < now
            }
        };
        self.ran_out |= news;
        news
    }

    pub(super) fn ran_out(&self) -> bool {
        self.ran_out
    }
}

/// How many processes were killed so far.
fn kills(events: &File) -> Option<u64> {
    let mut buffer = [0; 512];
    let length = events.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}
