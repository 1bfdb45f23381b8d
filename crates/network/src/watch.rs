//! Routes that appear on the host and overlap a network: those of a VPN, for instance.

use crate::Error;
use crate::error::{file, link};
use crate::ipam::overlap;
use crate::pool::worth_knowing;
use hull_linux::netlink::{Reach, RouteChange, RouteMonitor, Socket};
use ipnet::IpNet;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

/// A network whose subnets are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its id or name; told back in [`Overlap`].
    pub network: String,
    /// Its device on the host, whose own routes do not count.
    pub device: String,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
}

/// A route of the host's that overlaps a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Overlap {
    /// [`Watched::network`].
    pub network: String,
    /// The subnet of it.
    pub subnet: IpNet,
    /// The route's destination.
    pub route: IpNet,
    /// The device over which the route leads, when it is one.
    pub device: Option<String>,
}

/// A thread that watches the routes of the network namespace in which it was started; ends when dropped.
#[derive(Debug)]
pub struct RouteWatch {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl RouteWatch {
    /// Begins to watch. `tell` hears, in the thread, of every overlap once: of those there are already,
    /// and of those that appear. An overlap that went and came again is told again. `networks` is
    /// asked at every change of a route.
    ///
    /// # Errors
    /// [`Error::Link`] or [`Error::File`] when the kernel has no descriptors left or no thread.
    pub fn start(
        networks: impl Fn() -> Vec<Watched> + Send + 'static,
        mut tell: impl FnMut(&Overlap) + Send + 'static,
    ) -> Result<Self, Error> {
        let error = || link("watch", "the host's routes");
        let mut monitor = RouteMonitor::open().map_err(error())?;
        let mut socket = Socket::open().map_err(error())?;
        let stop =
            eventfd(0, EventfdFlags::CLOEXEC).map_err(file("make", "an event descriptor"))?;
        let stop = Arc::new(stop);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("routes".to_owned())
            .spawn(move || {
                let mut known = HashSet::new();
                if let Err(error) = run(&mut monitor, &mut socket, &stopped, &mut |change| {
                    take(&mut known, change, &networks, &mut tell);
                }) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the host's routes are no longer watched"
                    );
                }
            })
            .map_err(file("start", "a thread that watches routes"))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for RouteWatch {
    fn drop(&mut self) {
        if rustix::io::write(&self.stop, &1_u64.to_ne_bytes()).is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

/// All routes there are, or one that came or went.
enum Change {
    All(Vec<(Reach, Option<String>)>),
    Added(Reach, Option<String>),
    Removed(Reach),
}

fn run(
    monitor: &mut RouteMonitor,
    socket: &mut Socket,
    stop: &OwnedFd,
    each: &mut dyn FnMut(Change),
) -> Result<(), Error> {
    let error = || link("watch", "the host's routes");
    let mut all = true;
    loop {
        if std::mem::take(&mut all) {
            let routes = socket.reaches().map_err(error())?;
            let named = routes
                .into_iter()
                .map(|route| (route, device(monitor, &route)));
            each(Change::All(named.collect()));
        }
        let mut wait = [
            PollFd::new(monitor, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut wait, None))
            .map_err(file("wait for", "changes of routes"))?;
        if !wait[1].revents().is_empty() {
            return Ok(());
        }
        for change in monitor.read().map_err(error())? {
            match change {
                RouteChange::Added(route) => each(Change::Added(route, device(monitor, &route))),
                RouteChange::Removed(route) => each(Change::Removed(route)),
                RouteChange::Lost => all = true,
            }
        }
    }
}

fn device(monitor: &RouteMonitor, route: &Reach) -> Option<String> {
    rustix::net::netdevice::index_to_name(monitor, route.device?).ok()
}

fn take(
    known: &mut HashSet<(Reach, Overlap)>,
    change: Change,
    networks: &dyn Fn() -> Vec<Watched>,
    tell: &mut dyn FnMut(&Overlap),
) {
    let (routes, complete) = match change {
        Change::All(routes) => (routes, true),
        Change::Added(route, device) => (vec![(route, device)], false),
        Change::Removed(route) => {
            known.retain(|(other, _)| *other != route);
            return;
        }
    };
    if complete {
        let there: HashSet<Reach> = routes.iter().map(|(route, _)| *route).collect();
        known.retain(|(route, _)| there.contains(route));
    }
    let networks = networks();
    for (route, device) in routes {
        for found in overlaps(&route, device, &networks) {
            let told = known.iter().any(|(_, other)| *other == found);
            if known.insert((route, found.clone())) && !told {
                tell(&found);
            }
        }
    }
}

fn overlaps(route: &Reach, device: Option<String>, networks: &[Watched]) -> Vec<Overlap> {
    let Some(net) = worth_knowing(route) else {
        return Vec::new();
    };
    let own = |network: &&Watched| device.as_ref() == Some(&network.device);
    if networks.iter().any(|network| own(&network)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for network in networks {
        for subnet in network
            .subnets
            .iter()
            .filter(|subnet| overlap(subnet, &net))
        {
            found.push(Overlap {
                network: network.network.clone(),
                subnet: *subnet,
                route: net,
                device: device.clone(),
            });
        }
    }
    found
}
