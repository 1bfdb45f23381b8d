//! Connections that conntrack follows. As long as packets come, they go where the first one went,
//! whatever is published since, and whoever has the address by then.

use hull_linux::conntrack;
use hull_linux::nftables::Socket;
use ipnet::IpNet;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Forgetting costs a walk through all connections of the machine; it may take one of so many
/// processors' time, however many containers end.
const SHARE: u32 = 8;

/// Addresses that were given back, whose connections are still to be forgotten. That is done behind the
/// caller's back, for all of them at once; who wants one of them again meanwhile waits for it.
#[derive(Clone, Debug)]
pub(super) struct Flows {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    changed: Condvar,
    /// `None` where the kernel has no netfilter sockets.
    socket: Mutex<Option<Socket>>,
}

#[derive(Debug, Default)]
struct Pending {
    stale: Stale,
    /// What the thread is at.
    current: Stale,
    /// There is a thread.
    working: bool,
    /// Somebody waits.
    hurry: bool,
    /// That it does not work has been said.
    failed: bool,
}

#[derive(Clone, Debug, Default)]
struct Stale {
    addresses: HashSet<IpAddr>,
    /// All addresses of these subnets but those that are in use.
    others: Vec<(Vec<IpNet>, HashSet<IpAddr>)>,
}

impl Stale {
    fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
            || self.others.iter().any(|(subnets, used)| {
                !used.contains(&address) && subnets.iter().any(|net| net.contains(&address))
            })
    }

    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.others.is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flows {
    /// Of the calling thread's network namespace.
    pub(super) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                pending: Mutex::default(),
                changed: Condvar::new(),
                socket: Mutex::new(Socket::open().ok()),
            }),
        }
    }

    pub(super) fn retire(&self, addresses: &[IpAddr]) {
        if !addresses.is_empty() {
            self.add(|stale| stale.addresses.extend(addresses));
        }
    }

    pub(super) fn retire_others(&self, subnets: Vec<IpNet>, used: HashSet<IpAddr>) {
        if !subnets.is_empty() {
            self.add(|stale| stale.others.push((subnets, used)));
        }
    }

    pub(super) fn settle(&self, addresses: &[IpAddr]) {
        let mut pending = lock(&self.shared.pending);
        let waits = |pending: &Pending| {
            let stale = |address: &IpAddr| {
                pending.stale.contains(*address) || pending.current.contains(*address)
            };
            addresses.iter().any(stale)
        };
        while waits(&pending) {
            pending.hurry = true;
            self.shared.changed.notify_all();
            let waited = self.shared.changed.wait(pending);
            pending = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn add(&self, add: impl FnOnce(&mut Stale)) {
        let mut pending = lock(&self.shared.pending);
        add(&mut pending.stale);
        if std::mem::replace(&mut pending.working, true) {
            return;
        }
        drop(pending);
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new()
            .name("connections".to_owned())
            .spawn(move || shared.work());
        if started.is_err() {
            self.shared.forget();
            lock(&self.shared.pending).working = false;
        }
    }
}

impl Shared {
    /// Ends when there was nothing to do for a while.
    fn work(&self) {
        loop {
            let took = self.forget();
            let pending = lock(&self.pending);
            let (mut pending, _) = self
                .changed
                .wait_timeout_while(pending, took * (SHARE - 1), |pending| !pending.hurry)
                .unwrap_or_else(PoisonError::into_inner);
            if pending.stale.is_empty() {
                pending.working = false;
                pending.hurry = false;
                return;
            }
        }
    }

    /// Forgets the connections of all that is stale by now; how long it took.
    fn forget(&self) -> Duration {
        let begun = Instant::now();
        let stale = {
            let mut pending = lock(&self.pending);
            pending.hurry = false;
            pending.current = std::mem::take(&mut pending.stale);
            pending.current.clone()
        };
        let result = match &mut *lock(&self.socket) {
            Some(socket) => conntrack::forget_addresses(socket, |address| stale.contains(address)),
            None => Ok(0),
        };
        let mut pending = lock(&self.pending);
        match result {
            Ok(count) => tracing::debug!(count, "connections forgotten"),
            // It will not work for the next either: said once.
            Err(error) if !std::mem::replace(&mut pending.failed, true) => {
                tracing::warn!(%error, "connections of addresses that are given back stay");
            }
            Err(_) => {}
        }
        pending.current = Stale::default();
        self.changed.notify_all();
        begun.elapsed()
    }
}
