//! Drivers of volumes that are programs of their own: what the engine asks of them. Who speaks with
//! them is somebody else: the protocol is HTTP.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Why a driver did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// There is no such driver.
    #[error("plugin not found")]
    Missing,
    /// It has no such volume.
    #[error("no such volume")]
    NoVolume,
    /// It answered that it cannot, or did not answer; in its words, or those of the connection.
    #[error("{0}")]
    Failed(String),
}

/// A volume as its driver knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForeignVolume {
    /// Its name.
    pub name: String,
    /// Where it is on the host; empty while it is not mounted.
    pub mountpoint: PathBuf,
    /// RFC 3339, or empty.
    pub created: String,
    /// What else there is to say.
    pub status: BTreeMap<String, serde_json::Value>,
}

/// All such drivers. Every call blocks until the driver has answered, and is made on a thread of the
/// runtime that may block.
pub trait VolumeDrivers: Send + Sync + std::fmt::Debug {
    /// The names of those that can be found now.
    fn names(&self) -> Vec<String>;

    /// Whether its volumes are this host's alone (`local`) or not (`global`).
    ///
    /// # Errors
    /// [`DriverError::Missing`], and that it failed.
    fn scope(&self, driver: &str) -> Result<String, DriverError>;

    /// Makes a volume.
    ///
    /// # Errors
    /// See [`DriverError`].
    fn create(
        &self,
        driver: &str,
        volume: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(), DriverError>;

    /// Removes a volume.
    ///
    /// # Errors
    /// See [`DriverError`].
    fn remove(&self, driver: &str, volume: &str) -> Result<(), DriverError>;

    /// Mounts a volume for `user`, and says where.
    ///
    /// # Errors
    /// See [`DriverError`].
    fn mount(&self, driver: &str, volume: &str, user: &str) -> Result<PathBuf, DriverError>;

    /// `user` does not need it any more.
    ///
    /// # Errors
    /// See [`DriverError`].
    fn unmount(&self, driver: &str, volume: &str, user: &str) -> Result<(), DriverError>;

    /// One volume.
    ///
    /// # Errors
    /// See [`DriverError`].
    fn get(&self, driver: &str, volume: &str) -> Result<ForeignVolume, DriverError>;

    /// All volumes.
    ///
    /// # Errors
    /// See [`DriverError`].
    fn list(&self, driver: &str) -> Result<Vec<ForeignVolume>, DriverError>;
}

/// No driver at all.
#[derive(Debug)]
pub(super) struct None;

impl VolumeDrivers for None {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn scope(&self, _: &str) -> Result<String, DriverError> {
        Err(DriverError::Missing)
    }

    fn create(&self, _: &str, _: &str, _: &BTreeMap<String, String>) -> Result<(), DriverError> {
        Err(DriverError::Missing)
    }

    fn remove(&self, _: &str, _: &str) -> Result<(), DriverError> {
        Err(DriverError::Missing)
    }

    fn mount(&self, _: &str, _: &str, _: &str) -> Result<PathBuf, DriverError> {
        Err(DriverError::Missing)
    }

    fn unmount(&self, _: &str, _: &str, _: &str) -> Result<(), DriverError> {
        Err(DriverError::Missing)
    }

    fn get(&self, _: &str, _: &str) -> Result<ForeignVolume, DriverError> {
        Err(DriverError::Missing)
    }

    fn list(&self, _: &str) -> Result<Vec<ForeignVolume>, DriverError> {
        Err(DriverError::Missing)
    }
}
