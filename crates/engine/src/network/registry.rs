//! The networks of an engine, and who has which address in them.
//!
//! A network has two locks: `state`, held for moments, with addresses and endpoints; and `work`, held
//! while its devices are made or removed, and taken before `state`. An endpoint is in `state` before
//! anything of it exists, so that whoever removes the network sees it; and a network that is gone stays
//! so, whoever waited to make its devices.

use super::row::Row;
use super::watch::Watch;
use super::{NetworkConfig, pools};
use crate::journal::Journal;
use crate::rows::Rows;
use crate::{Error, ErrorKind, Result};
use hull_network::dns::Names;
use hull_network::model::{Driver, Network};
use hull_network::{Firewall, FirewallOptions, Guard, Ipam, Keeper, link};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// All networks, and what they share.
#[derive(Debug)]
pub(crate) struct Networks {
    pub(super) config: NetworkConfig,
    pub(super) engine_id: String,
    pub(super) rows: Rows,
    pub(super) firewall: Firewall,
    pub(crate) names: Names,
    namespaces: PathBuf,
    /// Is there since the kernel was touched for a network: the next daemon has to look what is left.
    touched: PathBuf,
    index: RwLock<BTreeMap<String, Arc<Live>>>,
    /// Held while a new network's name and address ranges are decided.
    pub(super) creation: Mutex<()>,
    keeper: Mutex<Option<Keeper>>,
    watch: Watch,
    /// Sockets that keep ports, by container; those that were reserved at its start are its shim's.
    held: Mutex<BTreeMap<String, Vec<OwnedFd>>>,
    /// Keeps other daemons from this network namespace.
    guard: Mutex<Option<Guard>>,
}

/// A network of the running engine.
#[derive(Debug)]
pub(crate) struct Live {
    row: RwLock<Arc<Row>>,
    state: Mutex<State>,
    work: Mutex<()>,
}

/// Who is in a network.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Its devices and rules are there.
    pub(super) up: bool,
    /// It is being removed: nobody comes in any more.
    pub(super) gone: bool,
    addresses: Option<Ipam>,
    /// Endpoint → container.
    pub(super) members: BTreeMap<String, String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn failed(what: &'static str) -> impl FnOnce(hull_network::Error) -> Error {
    move |source| Error::new(ErrorKind::Internal, what).caused_by(source)
}

pub(super) fn not_found(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("network {name} not found"))
}

impl Live {
    pub(super) fn new(row: Row) -> Arc<Self> {
        Arc::new(Self {
            row: RwLock::new(Arc::new(row)),
            state: Mutex::default(),
            work: Mutex::default(),
        })
    }

    pub(crate) fn row(&self) -> Arc<Row> {
        Arc::clone(&self.row.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_row(&self, row: Row) {
        *self.row.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(row);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn work(&self) -> MutexGuard<'_, ()> {
        lock(&self.work)
    }
}

impl State {
    /// Takes addresses for an endpoint: those asked for, or the next of each family.
    pub(super) fn take(
        &mut self,
        row: &Row,
        asked: (Option<IpAddr>, Option<IpAddr>),
    ) -> Result<Vec<ipnet::IpNet>> {
        let subnets = row.subnets();
        let families = [false, true].map(|v6| subnets.iter().any(|net| net.addr().is_ipv6() == v6));
        let ipam = self.ipam(row)?;
        let mut taken = Vec::new();
        for (v6, asked) in [(false, asked.0), (true, asked.1)] {
            let next = match asked {
                // See `ignored` in places.rs.
                Some(_) if !families[usize::from(v6)] => Ok(None),
                Some(address) => ipam.reserve(address).map(Some),
                None => ipam.allocate(v6),
            };
            match next {
                Ok(address) => taken.extend(address),
                Err(error) => {
                    for address in taken {
                        ipam.release(ipnet::IpNet::addr(&address));
                    }
                    return Err(full(row, error));
                }
            }
        }
        Ok(taken)
    }

    /// The addresses; made when first needed.
    fn ipam(&mut self, row: &Row) -> Result<&mut Ipam> {
        let pools = row.model.as_ref().map_or(&[][..], |model| &model.pools);
        if self.addresses.is_none() {
            self.addresses = Some(Ipam::new(pools).map_err(pools::refused)?);
        }
        self.addresses
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a network has no addresses"))
    }

    /// Takes the addresses that a running container has. They may lie outside, if the network was
    /// changed meanwhile: then they are not ours to give.
    pub(super) fn keep(&mut self, row: &Row, addresses: &[IpAddr]) {
        if let Ok(ipam) = self.ipam(row) {
            for address in addresses {
                let _ = ipam.reserve(*address);
            }
        }
    }

    /// Gives an endpoint's addresses back.
    pub(super) fn release(&mut self, endpoint: &str, addresses: &[IpAddr]) {
        // Who is not in it any more gave them back already: they may be another's by now.
        if self.members.remove(endpoint).is_some() {
            self.give_back(addresses);
        }
    }

    /// Gives addresses back.
    pub(super) fn give_back(&mut self, addresses: &[IpAddr]) {
        if let Some(ipam) = &mut self.addresses {
            for address in addresses {
                ipam.release(*address);
            }
        }
    }

    /// Forgets the addresses: the pools are others now.
    pub(super) fn renew(&mut self) {
        self.addresses = None;
    }
}

/// dockerd's sentence names the network that is full.
fn full(row: &Row, error: hull_network::Error) -> Error {
    match error {
        hull_network::Error::PoolFull { .. } => {
            let text = format!("{error}: {} ({})", row.name(), &row.id[..12]);
            Error::new(ErrorKind::Forbidden, text)
        }
        error => pools::refused(error),
    }
}

impl Networks {
    pub(crate) fn open(
        settings: &crate::Config,
        engine_id: &str,
        rows: &Rows,
        journal: &Arc<Journal>,
    ) -> Result<Self> {
        let (exec_root, config) = (&settings.exec_root, &settings.network);
        let kept = rows.networks()?;
        let mut index = BTreeMap::new();
        for row in super::predefined::all(engine_id, config)?
            .into_iter()
            .chain(kept)
        {
            index.insert(row.id.clone(), Live::new(row));
        }
        let options = FirewallOptions {
            direct_routing: config.allow_direct_routing,
            ..FirewallOptions::default()
        };
        Ok(Self {
            config: config.clone(),
            engine_id: engine_id.to_owned(),
            rows: rows.clone(),
            firewall: Firewall::open(options).map_err(failed("could not set up the firewall"))?,
            names: Names::new(config.dns_program.clone(), exec_root.join("dns.sock")),
            namespaces: exec_root.join("netns"),
            touched: exec_root.join("networks-touched"),
            index: RwLock::new(index),
            creation: Mutex::default(),
            keeper: Mutex::default(),
            watch: Watch::new(Arc::clone(journal)),
            held: Mutex::default(),
            guard: Mutex::default(),
        })
    }

    /// The directory of network namespaces' files.
    pub(super) fn namespaces(&self) -> &Path {
        &self.namespaces
    }

    /// The file of a container's network namespace.
    pub(crate) fn namespace(&self, id: &str) -> PathBuf {
        self.namespaces.join(id)
    }

    /// All networks, by id.
    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.values().cloned().collect()
    }

    pub(super) fn by_id(&self, id: &str) -> Option<Arc<Live>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.get(id).cloned()
    }

    pub(super) fn by_name(&self, name: &str) -> Option<Arc<Live>> {
        self.all()
            .into_iter()
            .find(|live| live.row().name() == name)
    }

    /// By name, by id, or by the beginning of one id.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Live>> {
        if let Some(found) = self.by_name(name).or_else(|| self.by_id(name)) {
            return Ok(found);
        }
        if name.is_empty() {
            return Err(not_found(name));
        }
        let all = self.all();
        let mut matching = all.iter().filter(|live| live.row().id.starts_with(name));
        match (matching.next(), matching.count()) {
            (Some(found), 0) => Ok(Arc::clone(found)),
            (None, _) => Err(not_found(name)),
            (Some(_), more) => {
                let text = format!(
                    "network {name} is ambiguous ({} matches found on ID prefix)",
                    more + 1
                );
                Err(Error::new(ErrorKind::InvalidInput, text))
            }
        }
    }

    pub(super) fn insert(&self, live: &Arc<Live>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.insert(live.row().id.clone(), Arc::clone(live));
    }

    pub(super) fn forget(&self, id: &str) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.remove(id);
    }

    /// Makes a network's devices and rules, unless they are there.
    pub(super) fn ensure_up(&self, live: &Live) -> Result<()> {
        if live.state().up {
            return Ok(());
        }
        let _work = live.work();
        self.bring_up(live)
    }

    /// As [`Networks::ensure_up`], for one who holds the network's `work`.
    pub(super) fn bring_up(&self, live: &Live) -> Result<()> {
        {
            let state = live.state();
            if state.gone {
                return Err(not_found(live.row().name()));
            }
            if state.up {
                return Ok(());
            }
        }
        self.settle(live)?;
        let row = live.row();
        let Some(model) = &row.model else {
            live.state().up = true;
            return Ok(());
        };
        self.touch()?;
        self.make_devices(model)?;
        if let Some(rules) = row.rules() {
            self.keep_firewall();
            let added = self.firewall.add_network(rules);
            if let Err(error) = added {
                let _ = link::down(model);
                return Err(failed("could not set up the firewall of a network")(error));
            }
        }
        live.state().up = true;
        self.tell_others();
        Ok(())
    }

    /// Makes a network's devices, or takes what is there.
    pub(super) fn make_devices(&self, model: &Network) -> Result<()> {
        let up = || match self.config.keep_forwarding {
            true => link::up_without_forwarding(model),
            false => link::up(model),
        };
        let made = match up() {
            // Of an engine whose data are gone: the guard tells that it does not run any more.
            Err(hull_network::Error::Taken { device, owner }) if self.by_id(&owner).is_none() => {
                match link::discard_idle(&device, &owner) {
                    Ok(true) => up(),
                    Ok(false) => Err(hull_network::Error::Taken { device, owner }),
                    Err(error) => Err(error),
                }
            }
            made => made,
        };
        made.map_err(failed("could not set up the network"))
    }

    pub(super) fn held(&self) -> MutexGuard<'_, BTreeMap<String, Vec<OwnedFd>>> {
        lock(&self.held)
    }

    /// Makes sure that no other daemon has networks here: each would remove the other's.
    ///
    /// # Errors
    /// `Conflict` with what to do.
    pub(super) fn guard(&self) -> Result<()> {
        let mut guard = lock(&self.guard);
        if guard.is_none() {
            let taken = Guard::take();
            *guard = Some(taken.map_err(|error| match error {
                hull_network::Error::Guarded { .. } => {
                    Error::new(ErrorKind::Conflict, error.to_string())
                }
                error => failed("could not take the host's networks")(error),
            })?);
        }
        Ok(())
    }

    /// Leaves a mark that the kernel holds something of ours, which only one daemon may have.
    pub(super) fn touch(&self) -> Result<()> {
        self.guard()?;
        if self.touched.exists() {
            return Ok(());
        }
        fs_err::write(&self.touched, "").map_err(|error| {
            Error::new(ErrorKind::Internal, "could not write to the exec root").caused_by(error)
        })
    }

    /// Whether a daemon before this one has set anything up since the host was started.
    pub(super) fn was_touched(&self) -> bool {
        self.touched.exists()
    }

    /// Re-installs the rules from now on when somebody removes them; begun before there are any, so that
    /// nothing goes unseen.
    pub(super) fn keep_firewall(&self) {
        let mut keeper = lock(&self.keeper);
        if keeper.is_none() {
            let told = || {
                tracing::warn!("somebody removed the firewall's rules: they are installed again")
            };
            match self.firewall.keep(told) {
                Ok(kept) => *keeper = Some(kept),
                Err(error) => tracing::warn!(%error, "the firewall is not watched"),
            }
        }
    }

    /// Watches the host's routes for what overlaps the networks that there are now: help for networks that
    /// work, which keeps none from being made.
    pub(super) fn tell_others(&self) {
        let up = self.all().into_iter().filter(|live| live.state().up);
        let rows: Vec<Arc<Row>> = up.map(|live| live.row()).collect();
        self.watch.follow(&rows);
    }

    /// The device of a bridge, of all networks but one.
    pub(super) fn bridge_named(&self, device: &str, but: &str) -> Option<Arc<Live>> {
        let same = |live: &Arc<Live>| {
            let row = live.row();
            let model = row.model.as_ref();
            row.id != but
                && model.is_some_and(|model| {
                    matches!(&model.driver, Driver::Bridge(options) if options.device == device)
                })
        };
        self.all().into_iter().find(same)
    }
}
