//! The freezer of v2 (Linux 5.2).

use super::super::{Cgroup, Error, write};
use std::fs;
use std::io::{Read, Seek};
use std::time::{Duration, Instant};

/// How long a group may take to stand still.
const FREEZE_TIME: Duration = Duration::from_secs(10);

pub(in super::super) fn set_frozen(group: &Cgroup, frozen: bool) -> Result<(), Error> {
    let directory = group.layout().hierarchies()[0].mount.join(&group.path);
    let path = directory.join("cgroup.events");
    let open = |source| Error::Open {
        path: path.clone(),
        source,
    };
    let mut events = fs::File::open(&path).map_err(open)?;
    let switch = if frozen { "1" } else { "0" };
    write(&directory.join("cgroup.freeze"), switch)?;
    let wanted = if frozen { "frozen 1" } else { "frozen 0" };
    let deadline = Instant::now() + FREEZE_TIME;
    loop {
        let mut text = String::new();
        events
            .rewind()
            .and_then(|()| events.read_to_string(&mut text))
            .map_err(open)?;
        if text.lines().any(|line| line == wanted) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            if frozen {
                // Not to leave it to freeze later: the one who asked was told that it did not.
                let _ = write(&directory.join("cgroup.freeze"), "0");
            }
            return Err(Error::Timeout {
                path: directory,
                what: "freeze",
            });
        }
        // The kernel announces changes of this file by POLLPRI.
        let mut ready = [rustix::event::PollFd::new(
            &events,
            rustix::event::PollFlags::PRI,
        )];
        let left = rustix::event::Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let _ = rustix::event::poll(&mut ready, Some(&left));
    }
}
