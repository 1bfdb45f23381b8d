//! Other software's rules in the kernel's packet filter: a packet passes only where every table lets it,
//! so a host whose iptables, ufw or firewalld drops what it forwards must let our bridges through.
//!
//! ```text
//!  iptables.rs    ip filter, ip6 filter (iptables-nft, ufw, Docker): a chain HULL-FORWARD, called
//!                 from the head of FORWARD, that iptables -S shows like any other
//!  firewalld.rs   a zone hull with our bridges and a policy hull-forwarding, over D-Bus
//!  survey.rs      what there is, for people to read; iptables-legacy, which nobody can change from here
//! ```
//! Nothing else is touched. [`Foreign::keep`] does it again when somebody reloads or flushes. Tables
//! that users wrote themselves are left alone: [`survey()`] shows them.

mod firewalld;
mod iptables;
mod survey;
mod words;

pub use survey::{ForeignChain, Survey, survey};

use crate::Error;
use crate::error::{file, link};
use hull_linux::netlink;
use hull_linux::nftables::{Change, Family, Monitor, Socket};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Others change their rules step by step: nothing is done before they have been quiet so long,
const QUIET: Duration = Duration::from_millis(50);
/// unless they go on for longer than this.
const PATIENCE: Duration = Duration::from_millis(500);

/// Keeps other software's tables open for our bridges. Clones are the same.
#[derive(Clone, Debug)]
pub struct Foreign {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The daemon's name in other tables: `hull`.
    name: String,
    /// The socket of the system's bus.
    bus: PathBuf,
    /// In which it all is; `None` if it could not be opened.
    namespace: Option<File>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    devices: BTreeSet<String>,
    socket: Option<Socket>,
    /// Whether it was looked whether iptables-legacy is in use.
    looked: bool,
}

impl Foreign {
    /// Touches nothing yet. `name` is that of the daemon's own table; works in the network namespace of
    /// the calling thread.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::with_bus(name, firewalld::system_bus())
    }

    /// As [`Foreign::new`], with another system bus.
    #[must_use]
    pub fn with_bus(name: &str, bus: PathBuf) -> Self {
        Self {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                bus,
                namespace: fs_err::File::open("/proc/thread-self/ns/net")
                    .ok()
                    .map(fs_err::File::into_file),
                state: Mutex::new(State {
                    // A socket acts where it was opened, whoever uses it.
                    socket: Socket::open().ok(),
                    ..State::default()
                }),
            }),
        }
    }

    /// Lets packets of exactly these bridges pass where others would drop them.
    ///
    /// # Errors
    /// [`Error::Link`] when the tables cannot be read or changed, [`Error::Firewalld`]. What could be
    /// done is done.
    pub fn allow(&self, devices: BTreeSet<String>) -> Result<(), Error> {
        self.update(|| devices)
    }

    /// As [`Foreign::allow`]; `devices` is asked when nobody else is at it, so that the last word counts.
    pub(super) fn update(&self, devices: impl FnOnce() -> BTreeSet<String>) -> Result<(), Error> {
        let mut state = self.shared.lock();
        let devices = devices();
        let gone: BTreeSet<String> = state.devices.difference(&devices).cloned().collect();
        state.devices = devices;
        let look = !state.devices.is_empty() && !state.looked;
        if look && self.shared.inside(survey::legacy)? {
            tracing::warn!(
                "iptables-legacy has filters here: they cannot be changed by us, and may drop containers' packets"
            );
        }
        state.looked |= look;
        let tables = self.shared.tables(&mut state);
        firewalld::apply(&self.shared.bus, &self.shared.name, &state.devices, &gone)?;
        tables
    }

    /// What there is now.
    ///
    /// # Errors
    /// As [`survey()`].
    pub(super) fn survey(&self) -> Result<Survey, Error> {
        let mut state = self.shared.lock();
        let socket = self.shared.socket(&mut state)?;
        let read = || survey::read(socket, &self.shared.name);
        self.shared.inside(read)?
    }

    /// Does it again whenever others have changed their rules, until the result is dropped.
    ///
    /// # Errors
    /// [`Error::Link`], [`Error::File`] when the kernel has no descriptors left or no thread.
    pub fn keep(&self) -> Result<ForeignKeeper, Error> {
        let monitor = Monitor::open().map_err(link("watch", "other software's tables"))?;
        let stop =
            eventfd(0, EventfdFlags::CLOEXEC).map_err(file("make", "an event descriptor"))?;
        let stop = Arc::new(stop);
        self.shared.socket(&mut self.shared.lock())?;
        let (shared, stopped) = (Arc::clone(&self.shared), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("other tables".to_owned())
            .spawn(move || {
                if let Err(error) = watch(monitor, &stopped, &shared) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "other software's packet filters are no longer watched"
                    );
                }
            })
            .map_err(file("start", "a thread that watches other tables"))?;
        Ok(ForeignKeeper {
            stop,
            thread: Some(thread),
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something in the network namespace, in which files below `/proc` are told.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        match &self.namespace {
            Some(namespace) => netlink::inside(namespace.as_fd(), work)
                .map_err(link("look at", "other software's tables")),
            None => Ok(work()),
        }
    }

    fn socket<'a>(&self, state: &'a mut State) -> Result<&'a mut Socket, Error> {
        let socket = match state.socket.take() {
            Some(socket) => socket,
            None => Socket::open().map_err(link("look at", "other software's tables"))?,
        };
        Ok(state.socket.insert(socket))
    }

    fn tables(&self, state: &mut State) -> Result<(), Error> {
        let devices = state.devices.clone();
        iptables::apply(self.socket(state)?, &self.name, &devices)
    }

    /// Whether a change may have undone what we did.
    fn concerns(&self, change: &Change, own: u32) -> bool {
        let table = &change.table;
        change.port != own
            && match table.family {
                Family::Ipv4 | Family::Ipv6 => table.name == iptables::TABLE,
                Family::Inet => table.name == firewalld::TABLE,
                _ => false,
            }
    }
}

/// Watches other software's tables while it lives.
#[derive(Debug)]
pub struct ForeignKeeper {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ForeignKeeper {
    fn drop(&mut self) {
        if rustix::io::write(&self.stop, &1_u64.to_ne_bytes()).is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

/// Waits for changes, and for the end of a series of them.
fn watch(mut monitor: Monitor, stop: &OwnedFd, shared: &Shared) -> Result<(), Error> {
    let own = {
        let mut state = shared.lock();
        shared.socket(&mut state)?.port()
    };
    let mut since: Option<Instant> = None;
    loop {
        let timeout = since.map(|_| Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(QUIET.subsec_nanos()),
        });
        let mut wait = [
            PollFd::new(&monitor, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        let ready = rustix::io::retry_on_intr(|| poll(&mut wait, timeout.as_ref()))
            .map_err(file("wait for", "changes of other tables"))?;
        if !wait[1].revents().is_empty() {
            return Ok(());
        }
        match monitor.read() {
            Ok(Some(changes)) => {
                if changes.iter().any(|change| shared.concerns(change, own)) {
                    since.get_or_insert_with(Instant::now);
                }
            }
            Ok(None) => {}
            // Some were lost: whatever they were.
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                since.get_or_insert_with(Instant::now);
            }
            Err(error) => return Err(file("read", "changes of other tables")(error)),
        }
        if since.is_some_and(|since| ready == 0 || since.elapsed() > PATIENCE) {
            since = None;
            again(shared);
        }
    }
}

fn again(shared: &Shared) {
    let mut state = shared.lock();
    let tables = shared.tables(&mut state);
    let none = BTreeSet::new();
    let zone = firewalld::apply(&shared.bus, &shared.name, &state.devices, &none);
    for error in [tables.err(), zone.err()].into_iter().flatten() {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(
            error,
            "other software's packet filter may drop containers' packets"
        );
    }
}
