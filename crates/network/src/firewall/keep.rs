//! Others may empty or remove our table (`nft flush ruleset`, firewalld's restart): the kernel tells,
//! and it is installed again.

use super::Firewall;
use super::foreign::ForeignKeeper;
use super::host;
use super::layout::{self, USER};
use crate::Error;
use crate::error::{file, link};
use hull_linux::nftables::{Change, Monitor, Object, Table};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io::{PipeReader, PipeWriter};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Re-installs the table while it lives; stops when dropped.
#[derive(Debug)]
pub struct Keeper {
    /// Its end ends the thread.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    /// Of other software's tables.
    _others: ForeignKeeper,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// Programs that quarrel with us over the table shall not use up a processor: after each installation the
/// next one waits twice as long, up to [`Pace::LONGEST`]; after a time of peace there is no wait again.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    pause: Duration,
}

impl Pace {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(800);
    const PEACE: Duration = Duration::from_secs(10);

    /// How long to wait before the next installation.
    fn before(&self, now: Instant) -> Duration {
        let next = self.last.map(|last| last + self.pause);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    fn installed(&mut self, now: Instant) {
        let quarrel = self.last.is_some_and(|last| now < last + Self::PEACE);
        self.pause = match quarrel {
            true => (self.pause * 2).clamp(Self::FIRST, Self::LONGEST),
            false => Duration::ZERO,
        };
        self.last = Some(now);
    }
}

struct Watch {
    firewall: Firewall,
    monitor: Monitor,
    table: Table,
    port: u32,
    stopped: PipeReader,
}

/// Begins to watch.
pub(super) fn keep(
    firewall: &Firewall,
    (table, port): (Table, u32),
    others: ForeignKeeper,
    on_reinstall: impl Fn() + Send + 'static,
) -> Result<Keeper, Error> {
    let monitor = Monitor::open().map_err(link("watch", "the firewall"))?;
    let (stopped, stop) = std::io::pipe().map_err(file("watch", "the firewall"))?;
    let watch = Watch {
        firewall: firewall.clone(),
        monitor,
        table,
        port,
        stopped,
    };
    let thread = std::thread::Builder::new()
        .name("firewall".to_owned())
        .spawn(move || watch.run(on_reinstall))
        .map_err(file("start a thread for", "the firewall"))?;
    Ok(Keeper {
        stop: Some(stop),
        thread: Some(thread),
        _others: others,
    })
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Nothing,
    /// Some news are lost.
    Check,
    Install,
}

impl Watch {
    fn run(mut self, on_reinstall: impl Fn()) {
        let mut need = Need::Nothing;
        let mut pace = Pace::default();
        while self.wait(need) {
            match self.news() {
                Ok(found) => need = need.max(found),
                Err(error) => {
                    tracing::warn!(%error, "the firewall is no longer watched");
                    return;
                }
            }
            if need == Need::Nothing {
                continue;
            }
            if !self.rest(pace.before(Instant::now())) {
                return;
            }
            match self.firewall.reinstall(need == Need::Install) {
                Ok(installed) => {
                    need = Need::Nothing;
                    if installed {
                        pace.installed(Instant::now());
                        on_reinstall();
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the firewall could not be installed again");
                }
            }
        }
    }

    /// Lets time pass; whether to go on.
    fn rest(&self, pause: Duration) -> bool {
        if pause.is_zero() {
            return true;
        }
        let Ok(pause) = Timespec::try_from(pause) else {
            return true;
        };
        let mut fds = [PollFd::new(&self.stopped, PollFlags::IN)];
        let polled = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&pause)));
        polled == Ok(0)
    }

    /// Waits for news, or a second after a failure; whether to go on.
    fn wait(&self, need: Need) -> bool {
        let again = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let timeout = (need != Need::Nothing).then_some(&again);
        let mut fds = [
            PollFd::new(&self.monitor, PollFlags::IN),
            PollFd::new(&self.stopped, PollFlags::IN),
        ];
        let polled = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, timeout));
        if let Err(error) = polled {
            tracing::warn!(%error, "the firewall is no longer watched");
            return false;
        }
        fds[1].revents().is_empty()
    }

    /// What the kernel tells; an error when it tells nothing any more.
    fn news(&mut self) -> std::io::Result<Need> {
        let mut need = Need::Nothing;
        loop {
            match self.monitor.read() {
                Ok(None) => return Ok(need),
                Ok(Some(changes)) => {
                    if changes.iter().any(|change| self.hurts(change)) {
                        need = Need::Install;
                    }
                }
                // More than there was room for.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
                {
                    need = need.max(Need::Check);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether somebody else has taken something of ours away.
    fn hurts(&self, change: &Change) -> bool {
        if change.port == self.port {
            return false;
        }
        if host::tables(&self.table.name).contains(&change.table) {
            return change.removed;
        }
        if change.table != self.table {
            return false;
        }
        match &change.object {
            // Also a table that was made dormant.
            Object::Table => true,
            Object::Chain(name) => change.removed && (name == USER || is_chain(name)),
            Object::Rule(chain) => change.removed && is_chain(chain),
            Object::Set(name) | Object::Elements(name) => change.removed && is_set(name),
            Object::Other => false,
        }
    }
}

fn is_chain(name: &str) -> bool {
    layout::chains().iter().any(|chain| chain.name == name)
}

fn is_set(name: &str) -> bool {
    layout::sets().iter().any(|set| set.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarrel_is_slowed_down_and_forgotten() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.before(start), Duration::ZERO);
        pace.installed(start);
        assert_eq!(pace.before(start), Duration::ZERO);
        let mut waits = Vec::new();
        for _ in 0..7 {
            pace.installed(start);
            waits.push(pace.before(start).as_millis());
        }
        assert_eq!(waits, [50, 100, 200, 400, 800, 800, 800]);
        pace.installed(start + Pace::PEACE);
        assert_eq!(pace.before(start + Pace::PEACE), Duration::ZERO);
    }
}
