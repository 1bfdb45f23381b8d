//! The processes of a group, and the group's end.

use super::{Cgroup, Error, read, write};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long killed processes may take to be gone.
const REMOVE_TIME: Duration = Duration::from_secs(10);

impl Cgroup {
    /// The directory whose members stand for the group: the same processes are in all hierarchies.
    fn members_directory(&self) -> PathBuf {
        let hierarchies = self.layout().hierarchies();
        let preferred = ["devices", "pids", "freezer", "memory"];
        let found = preferred
            .iter()
            .find_map(|controller| self.layout().hierarchy(controller));
        found.unwrap_or(&hierarchies[0]).mount.join(&self.path)
    }

    /// The processes in the group and below it. A group that is not there has none.
    ///
    /// # Errors
    /// [`Error::Open`] for a file that cannot be read.
    pub fn pids(&self) -> Result<Vec<u32>, Error> {
        members(&self.members_directory())
    }

    /// How many processes are in the group or below it, in whichever hierarchy. Asks all of them: of a
    /// group that somebody else made, not all need have the same members.
    ///
    /// # Errors
    /// [`Error::Open`] for a file that cannot be read.
    pub fn population(&self) -> Result<usize, Error> {
        let mut found = std::collections::BTreeSet::new();
        for directory in self.directories() {
            found.extend(members(&directory)?);
        }
        Ok(found.len())
    }

    /// Removes the group's directories that nobody uses, not those below, and leaves the others alone.
    pub fn remove_unused(&self) {
        for directory in self.directories() {
            // Whoever is in it keeps it.
            let _ = fs::remove_dir(directory);
        }
    }

    /// Sends `signal` to every process in the group and below it.
    ///
    /// For `SIGKILL` the kernel does it at once where it can (`cgroup.kill`, Linux 5.14, v2).
    /// Elsewhere the group is frozen first, or a fork bomb would outrun us, and thawed after.
    ///
    /// # Errors
    /// [`Error::Open`] when the members cannot be listed.
    pub fn signal_all(&self, signal: Signal) -> Result<(), Error> {
        if signal == Signal::KILL && self.layout().is_v2() {
            let file = self.members_directory().join("cgroup.kill");
            if write(&file, "1").is_ok() {
                return Ok(());
            }
        }
        let frozen = signal == Signal::KILL && self.freeze().is_ok();
        let pids = self.pids();
        for pid in pids.iter().flatten() {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                // One that is gone already is what we want.
                let _ = kill_process(pid, signal);
            }
        }
        if frozen || self.is_frozen() && signal == Signal::KILL {
            let _ = self.thaw();
        }
        pids.map(drop)
    }

    /// Removes the group and all below it from every hierarchy, and waits for processes that are
    /// already dying. That it is not there is no error.
    ///
    /// # Errors
    /// [`Error::Remove`] names the directory; [`Error::Timeout`] when living processes stay in it.
    pub fn remove(&self) -> Result<(), Error> {
        let deadline = Instant::now() + REMOVE_TIME;
        for directory in self.directories() {
            match fs::remove_dir(&directory) {
                Ok(()) => continue,
                Err(error) if gone(&error) => continue,
                // Somebody is in it, or groups are below it, which are looked for only now.
                Err(_) => {}
            }
            for child in tree(&directory).into_iter().rev() {
                remove_directory(&child, deadline)?;
            }
        }
        Ok(())
    }
}

fn gone(error: &std::io::Error) -> bool {
    // ENODEV is what reading a file of a removed group gives.
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn members(directory: &Path) -> Result<Vec<u32>, Error> {
    let mut pids = Vec::new();
    for directory in tree(directory) {
        match read(&directory.join("cgroup.procs")) {
            Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok())),
            Err(Error::Open { source, .. }) if gone(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(pids)
}

/// The directory and all below it, parents first. One that is not there gives itself alone.
fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while next < found.len() {
        let children = fs::read_dir(&found[next]).into_iter().flatten().flatten();
        found.extend(
            children
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                .map(|e| e.path()),
        );
        next += 1;
    }
    found
}

fn remove_directory(directory: &Path, deadline: Instant) -> Result<(), Error> {
    loop {
        match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if gone(&error) => return Ok(()),
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline =>
            {
                wait_for_exit(directory, deadline);
            }
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                return Err(Error::Timeout {
                    path: directory.to_owned(),
                    what: "end",
                });
            }
            Err(source) => {
                return Err(Error::Remove {
                    path: directory.to_owned(),
                    source,
                });
            }
        }
    }
}

/// Waits until one of the processes in `directory` is gone. v1 announces nothing, a pidfd does
/// (Linux 5.3).
fn wait_for_exit(directory: &Path, deadline: Instant) {
    let first = read(&directory.join("cgroup.procs")).ok();
    let pid = first
        .as_deref()
        .and_then(|text| text.lines().next()?.parse().ok())
        .and_then(Pid::from_raw);
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec {
        tv_sec: left.as_secs().cast_signed(),
        tv_nsec: left.subsec_nanos().into(),
    };
    match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        Some(Ok(process)) => {
            let mut ready = [PollFd::new(&process, PollFlags::IN)];
            let _ = poll(&mut ready, Some(&left));
        }
        // It is gone, or a zombie that only its parent can take away: let others run.
        _ => std::thread::yield_now(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Layout;
    use super::*;
    use std::process::{Command, Stdio};

    fn real() -> Cgroup {
        Cgroup::new(
            Layout::detect().unwrap(),
            &format!("hull-test-{}/a", std::process::id()),
        )
        .unwrap()
    }

    #[test]
    fn a_real_group_lives_and_dies() {
        let group = real();
        let parent = Cgroup::new(
            group.layout().clone(),
            &format!("hull-test-{}", std::process::id()),
        )
        .unwrap();
        if group.create().is_err() {
            return; // Not root: nothing to test here.
        }
        let mut child = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        group.add(child.id()).unwrap();
        assert_eq!(group.pids().unwrap(), [child.id()]);
        if group.layout().is_v2() || group.directory("freezer").is_some() {
            group.freeze().unwrap();
            assert!(group.is_frozen());
            group.thaw().unwrap();
            assert!(!group.is_frozen());
        }
        let limits = super::super::Limits {
            pids: Some(50),
            ..Default::default()
        };
        group.apply(&limits).unwrap();
        assert_eq!(group.read("pids", "pids.max").unwrap().trim(), "50");
        assert_eq!(group.stats().pids.current, 1);
        group.signal_all(Signal::KILL).unwrap();
        child.wait().unwrap();
        parent.remove().unwrap();
        assert!(!group.exists() && !parent.exists());
        assert!(group.pids().unwrap().is_empty());
        parent.remove().unwrap();
    }
}
