//! The freezer of v1 (kernel documentation, `cgroup-v1/freezer-subsystem`).

use super::super::{Cgroup, Error, read, write};
use std::time::{Duration, Instant};

/// How long a group may take to stand still.
const FREEZE_TIME: Duration = Duration::from_secs(10);

pub(in super::super) fn set_frozen(group: &Cgroup, frozen: bool) -> Result<(), Error> {
    let directory = group
        .directory("freezer")
        .ok_or(Error::NoController("freezer"))?;
    let file = directory.join("freezer.state");
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    let deadline = Instant::now() + FREEZE_TIME;
    write(&file, wanted)?;
    let mut turn = 0_u32;
    while read(&file)?.trim() != wanted {
        if Instant::now() > deadline {
            // Not to leave the group half frozen.
            let _ = write(&file, "THAWED");
            return Err(Error::Timeout {
                path: directory,
                what: "freeze",
            });
        }
        // A process that forks while the kernel walks the group can keep it in FREEZING: thawing for
        // a moment and asking again gets over that (kernel documentation, freezer-subsystem).
        turn += 1;
        if turn.is_multiple_of(50) {
            write(&file, "THAWED")?;
        }
        // The v1 freezer announces nothing; give the processes the processor and look again.
        std::thread::yield_now();
        write(&file, wanted)?;
    }
    Ok(())
}
