//! The engine: one value for everything, shared by all who ask.

use crate::container::Execs;
use crate::container::live::Container;
use crate::event::{Event, EventOptions};
use crate::journal::Journal;
use crate::network::Networks;
use crate::rows::Rows;
use crate::{Error, ErrorKind, Result};
use futures_util::stream::BoxStream;
use hull_image::{FormatChoice as StoreFormat, Overlay, Store};
use hull_linux::cgroup::Layout;
use rustix::fs::{FlockOperation, flock};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// An OCI runtime by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeProgram {
    /// The program.
    pub path: PathBuf,
    /// Arguments before its command.
    pub args: Vec<String>,
}

/// How much is fetched and sent at once, by all pulls and all pushes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferLimits {
    /// Layers that come in.
    pub downloads: usize,
    /// Layers that go out.
    pub uploads: usize,
    /// Attempts at one request that fails for reasons that may pass.
    pub attempts: u32,
}

impl Default for TransferLimits {
    /// dockerd has 3 and 5: a layer more at once costs little here, and one that waits costs time.
    fn default() -> Self {
        Self {
            downloads: 6,
            uploads: 6,
            attempts: 5,
        }
    }
}

/// What an engine works with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Absolute.
    pub data_root: PathBuf,
    /// Absolute.
    pub exec_root: PathBuf,
    /// The shim's program.
    pub shim: PathBuf,
    /// The program that sends logs to servers.
    pub logger: PathBuf,
    /// The resolver's program.
    pub resolver: PathBuf,
    /// By name.
    pub runtimes: BTreeMap<String, RuntimeProgram>,
    /// One of `runtimes`.
    pub default_runtime: String,
    /// `host`, `host:port` or a network, whose registries may be used without TLS.
    pub insecure_registries: Vec<String>,
    /// URLs that are asked before Docker Hub.
    pub registry_mirrors: Vec<String>,
    /// Bytes that images and partial downloads may take on the disk; `None`: as many as there are.
    pub disk_budget: Option<u64>,
    /// How new layers lie on disk.
    pub store_format: StoreFormat,
    /// Whether the compressed forms of layers go once they are unpacked.
    pub drop_compressed_layers: bool,
    /// Directories with registries' own settings, one directory per host in each.
    pub registry_config_dirs: Vec<PathBuf>,
    /// Proxies, before those of the environment.
    pub proxies: hull_registry::Proxies,
    /// How much goes over the network at once.
    pub limits: TransferLimits,
    /// How layers are compressed for a push of which no compressed form is kept.
    pub push_compression: crate::image::Compression,
    /// The trust policy's file; `None`: the usual places, and no policy when there is none.
    pub policy: Option<PathBuf>,
    /// Networks.
    pub network: crate::network::NetworkConfig,
    /// Drivers of volumes besides the one that is built in.
    pub volume_drivers: Option<Arc<dyn crate::volume::VolumeDrivers>>,
    /// A program of the host's as the init of containers that have one; `None`: Hull's own.
    pub init_path: Option<PathBuf>,
    /// Where documents of the Container Device Interface are: a later directory's count before an earlier one's.
    pub cdi_directories: Vec<PathBuf>,
    /// How the build cache is kept small.
    pub build_collection: crate::build::Collection,
}

/// Containers by id and by name.
#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Name → id; a name is here before its container is.
    names: HashMap<String, String>,
}

/// A container engine. Every method that takes a container's name takes an id and the beginning of
/// one too.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) rows: Rows,
    pub(crate) store: Store,
    pub(crate) snapshots: Overlay,
    pub(crate) in_force: crate::reload::InForce,
    pub(crate) pulls: crate::image::Pulls,
    pub(crate) pushes: crate::image::Pushes,
    pub(crate) trust: crate::trust::Trust,
    pub(crate) image_prune: crate::prune::Running,
    pub(crate) container_prune: crate::prune::Running,
    pub(crate) network_prune: crate::prune::Running,
    pub(crate) volume_prune: crate::prune::Running,
    pub(crate) volumes: crate::volume::Volumes,
    pub(crate) check: Arc<crate::prune::Running>,
    pub(crate) tally: crate::counts::Tally,
    pub(crate) journal: Arc<Journal>,
    pub(crate) builds: Arc<crate::build::Builds>,
    pub(crate) networks: Networks,
    pub(crate) cgroups: Layout,
    pub(crate) execs: Execs,
    pub(crate) samplers: crate::container::stats::Samplers,
    pub(crate) log_watches: crate::logs::Watches,
    pub(crate) id: String,
    index: RwLock<Index>,
    /// Whether the containers of an earlier daemon are known.
    recovered: tokio::sync::watch::Sender<bool>,
    /// The lock on the data root, held as long as the engine lives.
    _lock: std::fs::File,
}

impl Engine {
    /// Opens the data root, which must be no other daemon's, and finds the containers that an
    /// earlier daemon left behind. Blocking; call it within a tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` when another daemon has the data root; `Internal` otherwise.
    pub fn open(config: Config) -> Result<Arc<Self>> {
        let engine = Self::prepare(config)?;
        engine.recover()?;
        Ok(engine)
    }

    /// Finds the containers that an earlier daemon left behind, for [`Engine::prepare`]. Blocking; call it
    /// once, within a tokio runtime.
    ///
    /// # Errors
    /// `Internal` when their rows cannot be read or written; the engine is then of no use.
    pub fn recover(self: &Arc<Self>) -> Result<()> {
        self.recover_containers()?;
        self.keep_budget();
        self.collect_soon();
        self.recovered.send_replace(true);
        // All rows were in memory twice.
        hull_linux::memory::trim();
        Ok(())
    }

    /// Waits until the containers are known. Nothing else may be asked before.
    pub async fn ready(&self) {
        // The sender lives as long as the engine.
        let _ = self.recovered.subscribe().wait_for(|known| *known).await;
    }

    /// As [`Engine::open`], but leaves the containers to [`Engine::recover`].
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn prepare(config: Config) -> Result<Arc<Self>> {
        let internal = |what: &'static str| {
            move |e: std::io::Error| Error::new(ErrorKind::Internal, what).caused_by(e)
        };
        // A pull has many threads with buffers, all gone when it is over.
        hull_linux::memory::return_early();
        make_private(&config.data_root, 0o710)
            .and_then(|()| make_private(&config.data_root.join("containers"), 0o710))
            .map_err(internal("could not create the data root"))?;
        for directory in ["containers", "netns", "rows"] {
            make_private(&config.exec_root.join(directory), 0o700)
                .map_err(internal("could not create the exec root"))?;
        }
        let lock = lock(&config.data_root)?;
        let database = crate::database::open(&config.data_root)?;
        let (rows, store) = crate::database::first_look(|| {
            let rows = Rows::open(Arc::clone(&database), config.exec_root.join("rows"))?;
            Ok((rows, open_store(&config, Arc::clone(&database))?))
        })?;
        let builds = crate::build::Builds::open(Arc::clone(&database))?;
        let trust = crate::trust::Trust::open(config.policy.clone(), database, &store)?;
        let id = rows.engine_id()?;
        let cgroups = Layout::detect().map_err(|e| {
            Error::new(ErrorKind::Unavailable, "this host has no control groups").caused_by(e)
        })?;
        let journal = Arc::new(Journal::open(&config.data_root));
        Ok(Arc::new(Self {
            networks: Networks::open(&config, &id, &rows, &journal)?,
            in_force: crate::reload::InForce::new(&config)?,
            snapshots: Overlay::new(store.clone()),
            pulls: crate::image::Pulls::new(config.limits.downloads),
            pushes: crate::image::Pushes::new(config.limits.uploads, config.push_compression),
            trust,
            image_prune: crate::prune::Running::default(),
            container_prune: crate::prune::Running::default(),
            network_prune: crate::prune::Running::default(),
            volume_prune: crate::prune::Running::default(),
            volumes: crate::volume::Volumes::default(),
            check: Arc::default(),
            tally: crate::counts::Tally::default(),
            builds,
            journal,
            execs: Execs::default(),
            samplers: crate::container::stats::Samplers::default(),
            log_watches: crate::logs::Watches::default(),
            index: RwLock::default(),
            _lock: lock,
            rows,
            store,
            cgroups,
            id,
            config,
            recovered: tokio::sync::watch::Sender::new(false),
        }))
    }

    /// Lets go of what makes the next start faster and is in the way otherwise: for an orderly end.
    pub fn close(&self) {
        self.networks.names.stop();
        self.builds.endings.wait();
        if let Err(error) = self.builds.cache.flush() {
            tracing::warn!(%error, "when results of builds were last of use is not on the disk");
        }
        self.rows.bring();
        let running = self.containers().into_iter();
        let running = running
            .filter(|container| container.read(crate::container::record::Record::is_running));
        let running: Vec<String> = running.map(|container| container.id.clone()).collect();
        if let Err(error) = self.store.close(&running) {
            tracing::warn!(%error, "layers stay mounted; the next daemon takes them over");
        }
    }

    /// What happens from now on, and before if asked for.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that does not exist.
    pub fn events(&self, options: EventOptions) -> Result<BoxStream<'static, Event>> {
        self.journal.stream(options)
    }

    /// Finds a container as dockerd does: by full id, by name, by the beginning of an id.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Container>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let plain = name.strip_prefix('/').unwrap_or(name);
        let by_name = || index.names.get(plain).and_then(|id| index.by_id.get(id));
        if let Some(found) = index.by_id.get(plain).or_else(by_name) {
            return Ok(Arc::clone(found));
        }
        let missing = || Error::new(ErrorKind::NotFound, format!("No such container: {name}"));
        if plain.is_empty() {
            return Err(missing());
        }
        let mut with_prefix = index
            .by_id
            .range(plain.to_owned()..)
            .take_while(|(id, _)| id.starts_with(plain));
        match (with_prefix.next(), with_prefix.next()) {
            (Some((_, found)), None) => Ok(Arc::clone(found)),
            (None, _) => Err(missing()),
            (Some(_), Some(_)) => {
                let text = format!("multiple IDs found with provided prefix: {plain}");
                Err(Error::new(ErrorKind::InvalidInput, text))
            }
        }
    }

    /// All containers.
    pub(crate) fn containers(&self) -> Vec<Arc<Container>> {
        self.index
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .values()
            .cloned()
            .collect()
    }

    /// Makes a name a container's, which need not be in the index yet.
    pub(crate) fn take_name(&self, name: &str, id: &str) -> Result<()> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        match index.names.get(name) {
            Some(owner) => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to remove (or rename) that container to be able to reuse that name."
                ),
            )),
            None => {
                index.names.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        }
    }

    /// Gives a name back, if it is this container's.
    pub(crate) fn release_name(&self, name: &str, id: &str) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if index.names.get(name).is_some_and(|owner| owner == id) {
            index.names.remove(name);
        }
    }

    /// Puts a container into the index; its name is taken already.
    pub(crate) fn insert(&self, container: &Arc<Container>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index
            .by_id
            .insert(container.id.clone(), Arc::clone(container));
    }

    /// Puts a container with its name into the index, at the daemon's start.
    pub(crate) fn adopt_name(&self, container: &Arc<Container>) {
        let name = container.read(|record| record.name.clone());
        // Rows are written one by one and a name only after it was taken: it cannot be another's.
        let _ = self.take_name(&name, &container.id);
        self.insert(container);
    }

    /// Takes a container out of the index.
    pub(crate) fn forget(&self, id: &str, name: &str) {
        self.index
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .by_id
            .remove(id);
        self.release_name(name, id);
    }

    /// Tells of something that happened to a container.
    pub(crate) fn tell_container(
        &self,
        container: &Container,
        action: &str,
        more: &[(&str, &str)],
    ) {
        let mut attributes = container.read(|record| {
            let mut attributes = record.effective.labels.clone();
            attributes.insert("image".to_owned(), record.image_name.clone());
            attributes.insert("name".to_owned(), record.name.clone());
            attributes
        });
        attributes.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        self.journal
            .tell("container", action, &container.id, attributes);
    }

    /// Tells of something that happened to a network, perhaps with a container.
    pub(crate) fn tell_network(
        &self,
        row: &crate::network::Row,
        action: &str,
        container: Option<&str>,
    ) {
        let attributes = crate::network::attributes(row, container);
        self.journal.tell("network", action, &row.id, attributes);
    }

    /// Where what stays is.
    #[must_use]
    pub fn data_root(&self) -> &Path {
        &self.config.data_root
    }

    pub(crate) fn container_dir(&self, id: &str) -> PathBuf {
        self.config.data_root.join("containers").join(id)
    }

    pub(crate) fn bundle_dir(&self, id: &str) -> PathBuf {
        self.config.exec_root.join("containers").join(id)
    }

    /// Beside the bundle, which goes with the container's end.
    pub(crate) fn exit_file(&self, id: &str) -> PathBuf {
        self.config
            .exec_root
            .join("containers")
            .join(format!("{id}.exit.json"))
    }

    pub(crate) fn runtime_root(&self) -> PathBuf {
        self.config.exec_root.join("runtime")
    }
}

/// Runs blocking work on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => Err(failed(panic)),
    }
}

/// What a request is told whose work panicked.
pub(crate) fn failed(panic: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "the engine failed at this request").caused_by(panic)
}

/// Opens the image store.
fn open_store(config: &Config, database: Arc<hull_image::Database>) -> Result<Store> {
    let options = hull_image::Options {
        format: config.store_format,
        mounts: Some(config.exec_root.join("layers")),
        drop_compressed: config.drop_compressed_layers,
        budget: config.disk_budget,
        ..hull_image::Options::default()
    };
    Store::open_with(&config.data_root, database, options).map_err(crate::image::store_error)
}

/// Makes a directory that other users may not enter, or takes the right from them: uppers and volumes
/// hold set-uid files of strangers, bundles the environment of containers. The directories above are for
/// all: the socket may be there.
fn make_private(path: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if let Some(parent) = path.parent() {
        let mut above = std::fs::DirBuilder::new();
        above.recursive(true).mode(0o711).create(parent)?;
    }
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => return other,
    }
    let found = fs_err::metadata(path)?.permissions().mode() & 0o7777;
    if found & !mode == 0 {
        return Ok(());
    }
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Locks the data root; the lock goes with the process, however it ends.
fn lock(data_root: &Path) -> Result<std::fs::File> {
    let path = data_root.join("hull.lock");
    let open = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = open
        .map_err(|e| Error::new(ErrorKind::Internal, "could not lock the data root").caused_by(e))?
        .into_parts()
        .0;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let holder = fs_err::read_to_string(&path).unwrap_or_default();
        let text = format!(
            "the data root {} is in use by another daemon (pid {})",
            data_root.display(),
            holder.trim()
        );
        return Err(Error::new(ErrorKind::Unavailable, text));
    }
    // For people only: the lock itself is the kernel's.
    let _ = file
        .set_len(0)
        .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
    Ok(file)
}
