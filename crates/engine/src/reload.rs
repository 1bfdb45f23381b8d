//! What may change while the engine works: dockerd's reload.

use crate::engine::{Config, RuntimeProgram, TransferLimits};
use crate::{Engine, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The part of [`Config`] that an engine takes anew without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changeable {
    /// See [`Config::runtimes`].
    pub runtimes: BTreeMap<String, RuntimeProgram>,
    /// See [`Config::default_runtime`].
    pub default_runtime: String,
    /// See [`Config::insecure_registries`].
    pub insecure_registries: Vec<String>,
    /// See [`Config::registry_mirrors`].
    pub registry_mirrors: Vec<String>,
    /// See [`Config::limits`].
    pub limits: TransferLimits,
}

impl From<&Config> for Changeable {
    fn from(config: &Config) -> Self {
        Self {
            runtimes: config.runtimes.clone(),
            default_runtime: config.default_runtime.clone(),
            insecure_registries: config.insecure_registries.clone(),
            registry_mirrors: config.registry_mirrors.clone(),
            limits: config.limits,
        }
    }
}

/// What is in force, with what was made from it. Whoever works keeps the one that was in force when
/// the work began.
#[derive(Debug)]
pub(crate) struct InForce(RwLock<Current>);

#[derive(Clone, Debug)]
struct Current {
    settings: Arc<Changeable>,
    registry: hull_registry::Client,
}

impl InForce {
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let registry = hull_registry::Client::new(crate::image::registry_config(config)?);
        Ok(Self(RwLock::new(Current {
            settings: Arc::new(config.into()),
            registry,
        })))
    }

    fn current(&self) -> Current {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

impl Engine {
    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Changeable> {
        self.in_force.current().settings
    }

    /// The client of registries.
    pub(crate) fn registry(&self) -> hull_registry::Client {
        self.in_force.current().registry
    }

    /// Takes new settings: for whatever begins from now on. `attributes` are told with the event
    /// `daemon reload`.
    ///
    /// # Errors
    /// `InvalidInput` for registries or a default runtime that are none; then nothing has changed.
    pub fn reload(&self, settings: Changeable, attributes: BTreeMap<String, String>) -> Result<()> {
        if !settings.runtimes.contains_key(&settings.default_runtime) {
            let text = format!(
                "specified default runtime '{}' does not exist",
                settings.default_runtime
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let config = Config {
            insecure_registries: settings.insecure_registries.clone(),
            registry_mirrors: settings.registry_mirrors.clone(),
            limits: settings.limits,
            ..self.config.clone()
        };
        let current = self.in_force.current();
        // A new client would ask for all grants again.
        let same = current.settings.insecure_registries == settings.insecure_registries
            && current.settings.registry_mirrors == settings.registry_mirrors
            && current.settings.limits.attempts == settings.limits.attempts;
        let registry = match same {
            true => current.registry,
            false => hull_registry::Client::new(crate::image::registry_config(&config)?),
        };
        let before = current.settings.limits;
        if before.downloads != settings.limits.downloads {
            self.pulls.allow(settings.limits.downloads);
        }
        if before.uploads != settings.limits.uploads {
            self.pushes.allow(settings.limits.uploads);
        }
        *self
            .in_force
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Current {
            settings: Arc::new(settings),
            registry,
        };
        self.journal.tell("daemon", "reload", &self.id, attributes);
        Ok(())
    }
}
