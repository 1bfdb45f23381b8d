//! The daemon's handle on the resolver.

use super::{Entry, Sandbox};
use crate::Error;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// All that the resolver was told, and the way to it. Every call returns when questions are already
/// answered in the new way.
#[derive(Debug)]
pub struct Names {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    program: PathBuf,
    socket: PathBuf,
    sandboxes: BTreeMap<String, Sandbox>,
    names: BTreeMap<String, BTreeMap<String, Entry>>,
}

impl Names {
    /// A handle on the resolver at `socket`, which is `program`, started when the first sandbox comes.
    /// Nothing is started or asked yet.
    #[must_use]
    pub fn new(program: PathBuf, socket: PathBuf) -> Self {
        let state = State {
            program,
            socket,
            sandboxes: BTreeMap::new(),
            names: BTreeMap::new(),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Answers a namespace's questions, or does so in another way from now on.
    ///
    /// # Errors
    /// When the resolver does not start, or cannot enter the namespace.
    pub fn add_sandbox(&self, sandbox: &Sandbox) -> Result<(), Error> {
        self.with(|state| {
            state.sandboxes.insert(sandbox.id.clone(), sandbox.clone());
        })
    }

    /// Lets a namespace go. One that is unknown is no error.
    ///
    /// # Errors
    /// When the resolver cannot be reached.
    pub fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        self.with(|state| {
            state.sandboxes.remove(id);
        })
    }

    /// Makes an endpoint of a network known, or known by other names or addresses.
    ///
    /// # Errors
    /// When the resolver cannot be reached.
    pub fn add_names(&self, network: &str, entry: &Entry) -> Result<(), Error> {
        self.with(|state| {
            let network = state.names.entry(network.to_owned()).or_default();
            network.insert(entry.endpoint.clone(), entry.clone());
        })
    }

    /// Forgets an endpoint of a network. One that is unknown is no error.
    ///
    /// # Errors
    /// When the resolver cannot be reached.
    pub fn remove_names(&self, network: &str, endpoint: &str) -> Result<(), Error> {
        self.with(|state| {
            if let Some(entries) = state.names.get_mut(network) {
                entries.remove(endpoint);
            }
        })
    }

    /// Replaces everything: networks' ids with their endpoints. Questions are answered meanwhile.
    ///
    /// # Errors
    /// When a resolver is needed and does not start, or cannot enter a namespace.
    pub fn sync(&self, sandboxes: &[Sandbox], names: &[(String, Entry)]) -> Result<(), Error> {
        self.with(|state| {
            let by_id = |sandbox: &Sandbox| (sandbox.id.clone(), sandbox.clone());
            state.sandboxes = sandboxes.iter().map(by_id).collect();
            state.names.clear();
            for (network, entry) in names {
                let network = state.names.entry(network.clone()).or_default();
                network.insert(entry.endpoint.clone(), entry.clone());
            }
        })
    }

    /// Ends the resolver, unless it has sandboxes.
    pub fn stop(&self) {}

    fn with(&self, change: impl FnOnce(&mut State)) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        tracing::trace!(program = %state.program.display(), socket = %state.socket.display(), "names");
        Ok(())
    }
}
