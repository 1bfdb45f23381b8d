//! The program: one thread reads entries from the shim, another delivers them.

use crate::entry::{Decoder, Entry};
use crate::queue::{Limits, Queue};
use crate::receiver::{self, Failure, Manners, Receiver};
use crate::settings::Settings;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// The most bytes of the settings.
const MOST_SETTINGS: usize = 8 << 20;

/// What can go wrong before the container runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shim is gone.
    #[error("talk to the shim: {0}")]
    Shim(#[from] io::Error),
    /// The driver cannot be started; the shim has been told why.
    #[error("{0}")]
    Driver(String),
}

/// Runs a logger. Standard input is a socket to the shim, on which the [`Settings`] come, how they fare is told (a
/// length of 4 bytes, big-endian, and why not, empty for well), and then the entries. One that takes another's place is not
/// waited for, and tells nothing: its shim may be gone when it begins.
///
/// # Errors
/// When the driver could not be started.
pub fn serve() -> Result<(), Error> {
    let mut shim = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let settings = receive(&mut shim)?;
    let driver = start(&settings);
    if !settings.again {
        let told = driver.as_ref().err().map_or("", String::as_str);
        let length = u32::try_from(told.len()).unwrap_or(0).to_be_bytes();
        shim.write_all(&[&length, told.as_bytes()].concat())?;
    }
    let (receiver, connected) = driver.map_err(Error::Driver)?;
    let manners = receiver.manners();
    let queue = Arc::new(Queue::new(limits(&settings, manners)));
    let status = Status::new(&settings);
    let (done, ended) = mpsc::channel();
    let theirs = Arc::clone(&queue);
    std::thread::Builder::new()
        .name("deliver".to_owned())
        .spawn(move || {
            Delivery {
                receiver,
                connected,
                failures: 0,
                queue: theirs,
                status,
            }
            .run();
            // Nobody waits any more when time has run out.
            let _ = done.send(());
        })?;
    let outcome = read(&shim, &queue, manners.last_chance);
    queue.end();
    let _ = ended.recv_timeout(manners.last_chance + Duration::from_secs(1));
    outcome.map_err(Error::from)
}

fn receive(shim: &mut UnixStream) -> io::Result<Settings> {
    let mut length = [0; 4];
    shim.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MOST_SETTINGS {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the settings are too long",
        ));
    }
    let mut bytes = vec![0; length];
    shim.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// The server, and whether it is connected.
fn start(settings: &Settings) -> Result<(Box<dyn Receiver>, bool), String> {
    let mut receiver = receiver::of(settings)?;
    let connected = match (settings.again, receiver.manners().later) {
        (_, true) => false,
        (true, _) => receiver.connect().is_ok(),
        (false, false) => receiver.connect().map(|()| true)?,
    };
    Ok((receiver, connected))
}

fn limits(settings: &Settings, manners: Manners) -> Limits {
    let bytes = settings.buffer.unwrap_or(manners.most_bytes);
    Limits {
        bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        entries: manners.most_entries,
        never_wait: settings.buffer.is_some() || manners.never_wait,
    }
}

/// Whether the shim is gone; what it has sent may still be there.
fn has_hung_up(shim: &UnixStream) -> bool {
    let mut polled = [PollFd::new(shim, PollFlags::empty())];
    let now = Timespec::default();
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
}

fn read(mut shim: &UnixStream, queue: &Queue, last_chance: Duration) -> io::Result<()> {
    let mut gone_since = None;
    let mut is_over = || {
        has_hung_up(shim) && gone_since.get_or_insert_with(Instant::now).elapsed() >= last_chance
    };
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match shim.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        decoder.push(&buffer[..length]);
        while let Some(entry) = decoder.next()? {
            queue.push(entry, &mut is_over);
        }
    }
}

/// The thread that delivers.
struct Delivery {
    receiver: Box<dyn Receiver>,
    connected: bool,
    /// How often it has failed since it last worked.
    failures: u32,
    queue: Arc<Queue>,
    status: Status,
}

impl Delivery {
    fn run(mut self) {
        let manners = self.receiver.manners();
        loop {
            let mut entries = self.queue.take(manners.batch, manners.linger);
            if entries.is_empty() {
                break;
            }
            while !entries.is_empty() {
                match self.attempt(&entries) {
                    Ok(()) => {
                        self.status.sent += entries.len() as u64;
                        entries.clear();
                        if self.failures > 0 {
                            self.failures = 0;
                            self.queue.set_away(false);
                            self.status.error.clear();
                            self.tell();
                        }
                    }
                    Err(failure) => self.cope(failure, &mut entries, &manners),
                }
            }
        }
        if self.queue.dropped() > 0 || self.status.told {
            self.tell();
        }
    }

    fn attempt(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        if !self.connected {
            let connected = self.receiver.connect();
            connected.map_err(|why| Failure::gone(0, why))?;
            self.connected = true;
        }
        self.receiver.send(entries)
    }

    /// Takes out what was delivered, and waits.
    fn cope(&mut self, failure: Failure, entries: &mut Vec<Entry>, manners: &Manners) {
        let delivered = failure.delivered.min(entries.len());
        entries.drain(..delivered);
        self.status.sent += delivered as u64;
        let refused = failure.refused.min(entries.len());
        entries.drain(..refused);
        self.queue.drop_some(refused);
        self.status.error = failure.why;
        if !failure.gone {
            self.tell();
            return;
        }
        // A connection that was there is made anew at once: servers hang up when they are replaced.
        let at_once = self.connected && self.failures == 0;
        self.connected = false;
        self.failures = self.failures.saturating_add(1);
        if at_once {
            return;
        }
        if self.failures >= manners.attempts {
            self.queue.set_away(true);
        }
        self.tell();
        if self
            .queue
            .ended_for()
            .is_some_and(|time| time > manners.last_chance)
        {
            self.queue.drop_some(std::mem::take(entries).len());
            // All that is left has had its chance.
            loop {
                let rest = self.queue.take(usize::MAX, Duration::ZERO).len();
                if rest == 0 {
                    return;
                }
                self.queue.drop_some(rest);
            }
        }
        self.queue.pause(manners.wait(self.failures));
    }

    fn tell(&mut self) {
        self.status.dropped = self.status.before + self.queue.dropped();
        self.status.write();
    }
}

/// What the operator of a server that is away wants to know.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Status {
    #[serde(skip)]
    path: Option<PathBuf>,
    #[serde(skip)]
    told: bool,
    /// What was dropped before this program.
    #[serde(skip)]
    before: u64,
    sent: u64,
    dropped: u64,
    error: String,
}

impl Status {
    /// A program that takes another's place counts on.
    fn new(settings: &Settings) -> Self {
        let path = settings.status.clone();
        let known = path.as_deref().filter(|_| settings.again);
        let known = known.and_then(|path| fs_err::read(path).ok());
        let known: Option<Self> = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let known = known.unwrap_or_default();
        let before = known.dropped.saturating_add(settings.lost);
        Self {
            path,
            told: before > 0 || known.sent > 0,
            before,
            sent: known.sent,
            ..Self::default()
        }
    }

    /// Whole or not at all; that it cannot be written stops nothing.
    fn write(&mut self) {
        self.told = true;
        if let Some(path) = &self.path {
            let _ = replace(path, &serde_json::to_vec(self).unwrap_or_default());
        }
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut partial = path.to_owned().into_os_string();
    partial.push(".tmp");
    fs_err::write(&partial, bytes)?;
    fs_err::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_program_counts_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("status");
        let told = |again: bool, lost: u64| Settings {
            status: Some(path.clone()),
            again,
            lost,
            ..crate::settings::tests::settings()
        };
        let mut first = Status::new(&told(false, 0));
        assert!(!first.told);
        (first.sent, first.dropped) = (7, 2);
        first.write();
        let next = Status::new(&told(true, 3));
        assert_eq!((next.sent, next.before, next.told), (7, 5, true));
        let anew = Status::new(&told(false, 0));
        assert_eq!((anew.sent, anew.before), (0, 0));
    }
}
