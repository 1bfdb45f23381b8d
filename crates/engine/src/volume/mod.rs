//! Volumes: files that outlive containers.
//!
//! ```text
//! volumes/<name>/_data      what a volume of the driver `local` holds; with options, where they are mounted
//! volumes/.removed/<n>-<name>   on its way out
//! ```
//!
//! A volume's life: its directory, then its row, and from then on it exists. Removal is a rename into
//! `.removed`, then the row, then the files: what a crash leaves is put back or finished at the next start.
//! Who uses it is known in memory, from the containers' rows.

mod copy;
mod driver;
mod list;
mod local;
mod mounted;
mod recover;
mod registry;
mod remove;

pub(crate) use copy::{Outcome, is_directory, populate};
pub use driver::{DriverError, ForeignVolume, VolumeDrivers};
pub(crate) use mounted::Visit;
pub(crate) use registry::{Row, Volumes};

use crate::{Engine, Error, ErrorKind, Result, blocking};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The label by which Docker knows a volume that was made without a name.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// The driver that is built in.
pub const LOCAL: &str = "local";

/// A volume as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeRequest {
    /// Empty: it gets one.
    pub name: String,
    /// Empty: that of a volume with the name, else `local`.
    pub driver: String,
    /// Of the driver.
    pub options: Option<BTreeMap<String, String>>,
    /// For people and filters.
    pub labels: Option<BTreeMap<String, String>>,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VolumeDetails {
    /// Its name; 64 hexadecimal digits for one made without.
    pub name: String,
    /// Who keeps it.
    pub driver: String,
    /// Where its data is on the host; empty while a driver of its own does not say.
    pub mountpoint: PathBuf,
    /// When it was made, as far as its driver says.
    pub created: Option<Timestamp>,
    /// As asked for.
    pub labels: Option<BTreeMap<String, String>>,
    /// As asked for.
    pub options: Option<BTreeMap<String, String>>,
    /// `local`, or `global` for what other hosts see too.
    pub scope: String,
    /// What its driver has to say besides.
    pub status: BTreeMap<String, serde_json::Value>,
}

/// What a prune removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names.
    pub names: Vec<String>,
    /// Bytes that the disk has more of.
    pub bytes: u64,
}

impl Engine {
    /// Makes a volume, or gives the one of this name.
    ///
    /// # Errors
    /// `InvalidInput` for a name or an option that is none, `NotFound` for a driver that is not there,
    /// `Conflict` where another driver has the name.
    pub async fn volume_create(self: &Arc<Self>, request: VolumeRequest) -> Result<VolumeDetails> {
        let engine = Arc::clone(self);
        blocking(move || {
            let row = engine.make_volume(request, None)?;
            engine.volume_details(&row)
        })
        .await
    }

    /// One volume, by its whole name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn volume_inspect(self: &Arc<Self>, name: &str) -> Result<VolumeDetails> {
        let (engine, name) = (Arc::clone(self), name.to_owned());
        blocking(move || {
            let row = match engine.volumes.get(&name) {
                Some(row) => row,
                None => {
                    let foreign = engine.foreign_volume(&name);
                    return foreign.ok_or_else(|| missing(&name));
                }
            };
            engine.volume_details(&row)
        })
        .await
    }

    /// Makes a volume, or finds the one of this name; from then on it is `user`'s too, a container's.
    pub(crate) fn make_volume(
        &self,
        mut request: VolumeRequest,
        user: Option<&str>,
    ) -> Result<Arc<Row>> {
        if request.name.is_empty() {
            request.name = crate::names::id();
            let labels = request.labels.get_or_insert_default();
            labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        let name = request.name.clone();
        let _held = self.volumes.hold(&name);
        let row = match self.volumes.get(&name) {
            Some(row) => {
                self.check_driver(&row, &request.driver)?;
                row
            }
            None => self.new_volume(request)?,
        };
        if let Some(user) = user {
            self.volumes.add_user(&name, user);
        }
        Ok(row)
    }

    fn check_driver(&self, row: &Row, wanted: &str) -> Result<()> {
        if wanted.is_empty() || wanted == row.driver {
            return Ok(());
        }
        if wanted != LOCAL {
            self.scope_of(wanted, &row.name)?;
        }
        let text = format!(
            "create {}: conflict: driver '{}' already has volume '{}'",
            row.name, row.driver, row.name
        );
        Err(Error::new(ErrorKind::Conflict, text))
    }

    /// The name is held and no volume's.
    fn new_volume(&self, request: VolumeRequest) -> Result<Arc<Row>> {
        let found = match request.driver.as_str() {
            "" => self.foreign_volume(&request.name),
            _ => None,
        };
        let mut row = Row {
            driver: request.driver,
            scope: LOCAL.to_owned(),
            created: Timestamp::now(),
            labels: request.labels,
            options: request.options,
            name: request.name,
        };
        if row.driver.is_empty() {
            row.driver = found
                .as_ref()
                .map_or(LOCAL, |found| &found.driver)
                .to_owned();
        }
        if row.driver == LOCAL {
            let create = |why: String| {
                let text = format!("create {}: {why}", row.name);
                Error::new(ErrorKind::InvalidInput, text)
            };
            local::check_name(&row.name).map_err(create)?;
            local::check_options(row.options.as_ref()).map_err(create)?;
            self.make_directory(&row.name)?;
        } else {
            row.scope = self.scope_of(&row.driver, &row.name)?;
            if found.is_none() {
                let options = row.options.clone().unwrap_or_default();
                let created = self.drivers().create(&row.driver, &row.name, &options);
                created.map_err(|error| driver_error("create", &row.name, error))?;
            }
        }
        let row = Arc::new(row);
        if let Err(error) = self.rows.put_volume(&row) {
            if row.driver == LOCAL {
                let _ = fs_err::remove_dir_all(self.volume_dir(&row.name));
            }
            return Err(error);
        }
        self.volumes.insert(Arc::clone(&row));
        self.tell_volume(&row.name, &row.driver, "create", &[]);
        Ok(row)
    }

    fn scope_of(&self, driver: &str, volume: &str) -> Result<String> {
        let scope = self.drivers().scope(driver);
        scope.map_err(|error| match error {
            DriverError::Missing => {
                let text = format!(
                    "create {volume}: error looking up volume plugin {driver}: plugin {driver:?} not found"
                );
                Error::new(ErrorKind::NotFound, text)
            }
            other => driver_error("create", volume, other),
        })
    }

    pub(crate) fn tell_volume(
        &self,
        name: &str,
        driver: &str,
        action: &str,
        more: &[(&str, &str)],
    ) {
        let mut attributes = BTreeMap::from([("driver".to_owned(), driver.to_owned())]);
        let more = more.iter();
        attributes.extend(more.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.journal.tell("volume", action, name, attributes);
    }

    fn drivers(&self) -> &dyn VolumeDrivers {
        match &self.config.volume_drivers {
            Some(drivers) => &**drivers,
            None => &driver::None,
        }
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("get {name}: no such volume"))
}

/// A driver's failure in the words of dockerd.
fn driver_error(operation: &str, name: &str, error: DriverError) -> Error {
    let kind = match error {
        DriverError::Missing => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("{operation} {name}: {error}"))
}
