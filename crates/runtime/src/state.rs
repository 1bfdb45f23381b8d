//! What the runtime keeps of a container, below `--root`.
//!
//! ```text
//! <root>/<id>/            made by create, exclusively: who makes it owns the id
//!     state.json          the record, replaced atomically; written before anything else is made
//!     config.json         the configuration as it was at create
//!     exec.fifo           there as long as init waits for start
//! ```
//! A directory without a readable record belongs to a create that was killed: `delete --force` removes it.

use crate::cgroups::Place;
use crate::error::{Error, Step as _};
use crate::files;
use crate::id::ContainerId;
use hull_linux::procfs;
use hull_spec::runtime::{ContainerStatus, Spec, State, VERSION};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock};
use rustix::process::{Flock, FlockType, Pid, PidfdFlags, fcntl_getlk, pidfd_open};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The record of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The container.
    pub(crate) id: String,
    /// First process in the runtime's PID namespace; 0 before there is one.
    pub(crate) pid: i32,
    /// When that process started, in ticks since boot: tells it from a later one of the same number.
    pub(crate) start_time: u64,
    /// Absolute path of the bundle.
    pub(crate) bundle: PathBuf,
    /// Absolute path of the root file system.
    pub(crate) rootfs: PathBuf,
    /// Where its control group is.
    pub(crate) cgroup: Place,
    /// When it was made, RFC 3339.
    pub(crate) created: String,
    /// From the configuration.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// User who made it.
    #[serde(default)]
    pub(crate) owner: u32,
    /// `--no-new-keyring` of create: later processes keep the caller's keyring too.
    #[serde(default)]
    pub(crate) no_new_keyring: bool,
    /// Groups of the resctrl file system that go with the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resctrl: Vec<PathBuf>,
}

impl Record {
    /// Whether it is what was written, not what [`StateDirectory::salvage`] could find.
    pub(crate) fn is_whole(&self) -> bool {
        !self.created.is_empty()
    }

    /// The state as hooks get it and the specification describes it.
    pub(crate) fn state(&self, status: ContainerStatus) -> State {
        State {
            oci_version: VERSION.to_owned(),
            id: self.id.clone(),
            status,
            pid: Some(if status == ContainerStatus::Stopped {
                0
            } else {
                self.pid
            }),
            bundle: self.bundle.to_string_lossy().into_owned(),
            annotations: self.annotations.clone(),
        }
    }
}

/// Where states are kept when nobody says so: of root in /run, of others in their own `$XDG_RUNTIME_DIR`,
/// which ends with their session. Root in somebody's user namespace is not root of /run.
pub(crate) fn default_root() -> PathBuf {
    const PLACE: &str = "hull/runtime";
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    match own {
        Some(directory) if !is_host_root() => Path::new(&directory).join(PLACE),
        _ => Path::new("/run").join(PLACE),
    }
}

/// Whether this process is root of the host, not of somebody's user namespace.
pub(crate) fn is_host_root() -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    // The first user namespace maps all ids to themselves (user_namespaces(7)).
    let map = fs_err::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let all = map.split_whitespace().eq(["0", "0", "4294967295"]);
    all || std::env::var_os("USER").is_some_and(|user| user == "root")
}

/// The directory of a container.
#[derive(Clone, Debug)]
pub(crate) struct StateDirectory(PathBuf);

impl StateDirectory {
    /// Makes it.
    pub(crate) fn create(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        // For its owner only: what is inside says what containers are made of.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|error| not_made(root, error))?;
        let path = root.join(id.as_str());
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o711)) {
            Ok(()) => Ok(Self(path)),
            Err(rustix::io::Errno::EXIST) => Err(Error::Exists),
            Err(error) => Err(io::Error::from(error)).step(|| format!("mkdir {}", path.display())),
        }
    }

    /// Says, as long as the descriptor is open and this process lives, that it is being made: whoever deletes it
    /// meanwhile waits for what this process is about to make. Where nothing can be locked nobody waits.
    pub(crate) fn claim(&self) -> Option<OwnedFd> {
        let directory = self.descriptor().ok()?;
        // Of this process, not of its children (fcntl_locking(2)): init may live on.
        fcntl_lock(&directory, FlockOperation::NonBlockingLockShared).ok()?;
        Some(directory)
    }

    /// Waits until nobody makes it any more: whoever does so is about to die. Tells whether there was somebody.
    pub(crate) fn wait_for_maker(&self, patience: Timespec) -> Result<bool, Error> {
        let Ok(directory) = self.descriptor() else {
            return Ok(false);
        };
        let maker = fcntl_getlk(&directory, &Flock::from(FlockType::WriteLock));
        let Some(maker) = maker.ok().flatten().and_then(|lock| lock.pid) else {
            return Ok(false);
        };
        let process = match pidfd_open(maker, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(true),
            other => other.step(|| "open the process that makes the container")?,
        };
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience))
            .step(|| "wait for the process that makes the container")?;
        match ended {
            0 => Err(Error::Said(format!(
                "the container is still being made by process {maker}"
            ))),
            _ => Ok(true),
        }
    }

    fn descriptor(&self) -> Result<OwnedFd, rustix::io::Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(&self.0, flags, Mode::empty())
    }

    /// Finds it.
    pub(crate) fn open(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        let path = root.join(id.as_str());
        let found = files::is_directory(&path).step(|| format!("stat {}", path.display()))?;
        if found {
            Ok(Self(path))
        } else {
            Err(Error::NotFound)
        }
    }

    /// Writes the record, atomically.
    pub(crate) fn write(&self, record: &Record) -> Result<(), Error> {
        let text = serde_json::to_vec(record).step(|| "encode the state")?;
        let (path, new) = (self.0.join("state.json"), self.0.join("state.json.new"));
        files::replace(&path, &new, &text, 0o600).step(|| "write the state")
    }

    /// Keeps the configuration.
    pub(crate) fn write_config(&self, text: &[u8]) -> Result<(), Error> {
        files::create(&self.0.join("config.json"), text, 0o600).step(|| "keep the configuration")
    }

    /// The text of the configuration.
    pub(crate) fn config_text(&self) -> Result<Vec<u8>, Error> {
        fs_err::read(self.0.join("config.json")).step(|| "read the configuration")
    }

    /// Writes another configuration beside the present one, for [`Self::accept_config`].
    pub(crate) fn prepare_config(&self, text: &[u8]) -> Result<(), Error> {
        files::create_anew(&self.0.join("config.json.new"), text, 0o600)
            .step(|| "keep the configuration")
    }

    /// Puts the prepared configuration in the place of the present one.
    pub(crate) fn accept_config(&self) -> Result<(), Error> {
        fs_err::rename(self.0.join("config.json.new"), self.0.join("config.json"))
            .step(|| "keep the configuration")
    }

    /// Forgets the prepared configuration.
    pub(crate) fn drop_config(&self) {
        // It would be overwritten by the next one, and goes with the directory.
        let _ = fs_err::remove_file(self.0.join("config.json.new"));
    }

    /// The configuration as it was at create, with the limits of the last update.
    pub(crate) fn config(&self) -> Result<Spec, Error> {
        serde_json::from_slice(&self.config_text()?).step(|| "read the configuration")
    }

    /// Reads the record.
    pub(crate) fn read(&self) -> Result<Record, Error> {
        let text = match fs_err::read(self.0.join("state.json")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NotFound),
            other => other.step(|| "read the state")?,
        };
        serde_json::from_slice(&text).step(|| "read the state")
    }

    /// What can be known about a container whose record is gone, broken or of another version: enough to
    /// find its processes and its control group.
    pub(crate) fn salvage(&self, id: &ContainerId) -> Record {
        let text = fs_err::read(self.0.join("state.json")).unwrap_or_default();
        let found: Value = serde_json::from_slice(&text).unwrap_or_default();
        let path = |name: &str| PathBuf::from(found[name].as_str().unwrap_or_default());
        let group = [&found["cgroup"]["path"], &found["cgroup"]]
            .into_iter()
            .find_map(Value::as_str);
        let cgroup = group.map_or_else(
            || {
                // Made right after the configuration was kept, if at all.
                let linux = self.config().ok().and_then(|spec| spec.linux);
                linux.map_or_else(Place::default, |linux| Place::of(&linux, id.as_str()))
            },
            |path| {
                let place = serde_json::from_value(found["cgroup"].clone());
                place.unwrap_or_else(|_| Place {
                    path: path.to_owned(),
                    ..Place::default()
                })
            },
        );
        Record {
            id: id.as_str().to_owned(),
            pid: found["pid"]
                .as_i64()
                .and_then(|pid| pid.try_into().ok())
                .unwrap_or(0),
            // Without it no process is taken for the container's.
            start_time: found["startTime"].as_u64().unwrap_or(0),
            bundle: path("bundle"),
            rootfs: path("rootfs"),
            cgroup,
            created: String::new(),
            annotations: BTreeMap::new(),
            owner: 0,
            no_new_keyring: false,
            resctrl: Vec::new(),
        }
    }

    /// Removes the directory and what the runtime has put there.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        match fs_err::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.step(|| "remove the state"),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn fifo(&self) -> PathBuf {
        self.0.join("exec.fifo")
    }

    /// Makes the start fifo and opens it for both directions, which does not wait for anybody.
    pub(crate) fn make_fifo(&self) -> Result<OwnedFd, Error> {
        let path = self.fifo();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o600))
            .and_then(|()| rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()))
            .step(|| "make the start fifo")
    }

    /// Lets init go on. The fifo is removed first: of two starts, one finds it missing.
    pub(crate) fn release_fifo(&self) -> Result<(), Error> {
        let path = self.fifo();
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fifo = match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(rustix::io::Errno::NXIO) => {
                return Err(Error::Said(
                    "cannot start a container that has stopped".into(),
                ));
            }
            Err(rustix::io::Errno::NOENT) => {
                return Err(Error::Said(
                    "cannot start an already running container".into(),
                ));
            }
            other => other.step(|| "open the start fifo")?,
        };
        match rustix::fs::unlink(&path) {
            Err(rustix::io::Errno::NOENT) => {
                return Err(Error::Said(
                    "cannot start an already running container".into(),
                ));
            }
            other => other.step(|| "remove the start fifo")?,
        }
        rustix::io::write(&fifo, b"0").step(|| "write to the start fifo")?;
        Ok(())
    }

    /// Whether init waits for `start`.
    pub(crate) fn waits_for_start(&self) -> bool {
        self.fifo().exists()
    }
}

/// Why a directory cannot be made: a part of its path that is something else is named itself.
fn not_made(path: &Path, error: io::Error) -> Error {
    let other = path
        .ancestors()
        .find(|part| part.exists() && !part.is_dir());
    let (part, error) = match other {
        Some(part) => (part, io::Error::from(rustix::io::Errno::NOTDIR)),
        None => (path, error),
    };
    Error::Step {
        step: format!("mkdir {}", part.display()),
        source: error.into(),
    }
}

/// A container that exists: where its record is and what it says.
#[derive(Debug)]
pub(crate) struct Container {
    /// Its directory.
    pub(crate) directory: StateDirectory,
    /// What was written there.
    pub(crate) record: Record,
}

impl Container {
    /// Finds a container.
    pub(crate) fn load(root: &Path, id: &ContainerId) -> Result<Self, Error> {
        let directory = StateDirectory::open(root, id)?;
        let record = directory.read()?;
        Ok(Self { directory, record })
    }

    /// Its first process, if that still lives: never a later process of the same number.
    pub(crate) fn process(&self) -> Result<Option<OwnedFd>, Error> {
        let Some(pid) = Pid::from_raw(self.record.pid) else {
            return Ok(None);
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            other => other.step(|| "open the container's process")?,
        };
        // Asked for after the descriptor was opened, so that both are about the same process.
        let found = procfs::start_time(self.record.pid).step(|| "read the container's process")?;
        let lives = found.is_some_and(|(start, dead)| start == self.record.start_time && !dead);
        Ok(lives.then_some(pidfd))
    }

    /// Where it is in its life.
    pub(crate) fn status(&self) -> Result<ContainerStatus, Error> {
        if self.record.pid == 0 {
            return Ok(ContainerStatus::Stopped);
        }
        if self.process()?.is_none() {
            return Ok(ContainerStatus::Stopped);
        }
        let frozen =
            crate::cgroups::open(&self.record.cgroup)?.is_some_and(|group| group.is_frozen());
        Ok(if frozen {
            ContainerStatus::Paused
        } else if self.directory.waits_for_start() {
            ContainerStatus::Created
        } else {
            ContainerStatus::Running
        })
    }
}
