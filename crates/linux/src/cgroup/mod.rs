//! Control groups: cgroups(7), version 1 (also hybrid) and version 2.
//!
//! ```text
//! v1 and hybrid                              v2
//! /sys/fs/cgroup/memory/<path>/              /sys/fs/cgroup/<path>/
//! /sys/fs/cgroup/cpu/<path>/                     cgroup.procs  memory.max  pids.max …
//! /sys/fs/cgroup/devices/<path>/   …
//! /sys/fs/cgroup/systemd/<path>/   (named, no controller)
//! ```
//!
//! The hybrid layout is v1 with a v2 hierarchy at `unified`, which has the controllers that are in no
//! v1 hierarchy.
//!
//! A [`Cgroup`] is one path in all hierarchies of a [`Layout`]. Nothing is remembered: the files
//! are the state. Everything works below a root that is a parameter, so that tests can use a
//! temporary directory.

mod devices;
mod ebpf;
mod error;
mod layout;
mod limits;
mod members;
mod oom;
mod parse;
mod stats;
#[cfg(test)]
mod tests;
mod v1;
mod v2;
mod writer;

pub use devices::{Access, DeviceKind, DeviceRule};
pub use error::{Error, Refused};
pub use layout::{Hierarchy, Layout};
pub use limits::{Block, BlockDevice, BlockWeight, Cpu, HugePages, Limits, Memory, Network, Rdma};
pub use oom::{OomNews, OomWatch};
pub use stats::{
    Amount, BlockCount, BlockStats, CpuStats, CpusetStats, MemoryStats, PidsStats, Pressure, Stall,
    Stats,
};

use rustix::process::Pid;
use std::convert::Infallible;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use writer::Writer;

/// One control group: the same path in every hierarchy.
#[derive(Clone, Debug)]
pub struct Cgroup {
    layout: Layout,
    /// Relative to each hierarchy's root, without a leading slash.
    path: PathBuf,
    /// Where `enter` goes, relative to the group: nothing, or one for each hierarchy.
    below: Vec<PathBuf>,
    /// A process whose group is entered when this one takes no members.
    beside: Option<Pid>,
}

impl Cgroup {
    /// Names a group without touching it. `path` is relative to the root of each hierarchy, with or
    /// without a leading slash.
    ///
    /// # Errors
    /// [`Error::Path`] when `path` is empty or has a `..`.
    pub fn new(layout: Layout, path: &str) -> Result<Self, Error> {
        let relative = path.trim_matches('/');
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !relative.split('/').all(plain) {
            return Err(Error::Path(path.to_owned()));
        }
        Ok(Self {
            layout,
            path: relative.into(),
            below: Vec::new(),
            beside: None,
        })
    }

    /// The hierarchies it lives in.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its directories, one per hierarchy.
    pub fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.layout
            .hierarchies()
            .iter()
            .map(|hierarchy| hierarchy.mount.join(&self.path))
    }

    /// The directory that holds the files of `controller`, such as `memory`.
    #[must_use]
    pub fn directory(&self, controller: &str) -> Option<PathBuf> {
        Some(self.layout.hierarchy(controller)?.mount.join(&self.path))
    }

    /// Whether it is there, in any hierarchy.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.directories().any(|directory| directory.exists())
    }

    /// Makes it, with missing parents, in every hierarchy, and tells whether it was there already.
    ///
    /// # Errors
    /// [`Error::Create`] names the directory.
    pub fn create(&self) -> Result<bool, Error> {
        self.create_for(&Limits::default())
    }

    /// As [`Cgroup::create`], for a group that will get these limits: v1's cpuset cannot have processes
    /// before it has processors, and copying its parent's could contradict an exclusive neighbour.
    ///
    /// # Errors
    /// [`Error::Create`] names the directory, [`Error::Write`] file and value.
    pub fn create_for(&self, limits: &Limits) -> Result<bool, Error> {
        let mut existed = false;
        for hierarchy in self.layout.hierarchies() {
            existed |= if hierarchy.v2 {
                v2::create(hierarchy, &self.path)?
            } else {
                v1::create(hierarchy, &self.path, limits)?
            };
        }
        Ok(existed)
    }

    /// Moves the process `pid` in, in every hierarchy; 0 is the calling process.
    ///
    /// # Errors
    /// [`Error::Write`] names the file.
    pub fn add(&self, pid: u32) -> Result<(), Error> {
        for directory in self.directories() {
            write(&directory.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// The same group, which is entered at groups below it: one relative path for each hierarchy, none of
    /// which may lead out.
    #[must_use]
    pub fn entered_below(self, below: Vec<PathBuf>) -> Self {
        Self { below, ..self }
    }

    /// The same group, entered where `process` is if it takes no members itself: on v2 a group whose
    /// controllers are passed on to groups below it does not (cgroups(7), "no internal processes").
    #[must_use]
    pub fn entered_beside(self, process: Pid) -> Self {
        let beside = Some(process);
        Self { beside, ..self }
    }

    /// Moves the calling process in, which must have one thread.
    ///
    /// On v1 the thread moves itself (`tasks`), and the kernel need not keep all other processes from
    /// forking meanwhile: moving a process by id waits for an RCU grace period, some 20 ms.
    ///
    /// # Errors
    /// [`Error::Write`] names the file.
    pub fn enter(&self) -> Result<(), Error> {
        for (at, hierarchy) in self.layout.hierarchies().iter().enumerate() {
            let file = if hierarchy.v2 {
                "cgroup.procs"
            } else {
                "tasks"
            };
            let mut directory = hierarchy.mount.join(&self.path);
            directory.extend(self.below.get(at));
            match (write(&directory.join(file), "0"), self.beside) {
                (Err(Error::Write { source, .. }), Some(process))
                    if hierarchy.v2 && source.raw_os_error() == Some(libc::EBUSY) =>
                {
                    enter_beside(hierarchy, process)?;
                }
                (entered, _) => entered?,
            }
        }
        Ok(())
    }

    /// Sets what `limits` asks for and leaves the rest as it is.
    ///
    /// # Errors
    /// [`Error::Write`] names file and value; [`Error::NoLimit`] when a limit was asked for whose
    /// controller this host lacks; [`Error::Refused`] for one that makes no sense.
    pub fn apply(&self, limits: &Limits) -> Result<(), Error> {
        self.write_limits(&Writer::new(self), limits)
    }

    /// As [`Cgroup::apply`], but all or nothing: when one limit is refused, those set before it get the
    /// values back that they had.
    ///
    /// # Errors
    /// As [`Cgroup::apply`].
    pub fn update(&self, limits: &Limits) -> Result<(), Error> {
        let Ok(()) = self.update_then(limits, || Ok::<(), Infallible>(()))?;
        Ok(())
    }

    /// As [`Cgroup::update`], with something to do when all limits are set; if that fails, its result is
    /// the inner one, and the limits get the values back that they had.
    ///
    /// # Errors
    /// As [`Cgroup::apply`].
    pub fn update_then<E>(
        &self,
        limits: &Limits,
        last: impl FnOnce() -> Result<(), E>,
    ) -> Result<Result<(), E>, Error> {
        let writer = Writer::remembering(self);
        let done = self.write_limits(&writer, limits).map(|()| last());
        if !matches!(done, Ok(Ok(()))) {
            writer.undo();
        }
        done
    }

    fn write_limits(&self, writer: &Writer<'_>, limits: &Limits) -> Result<(), Error> {
        if self.layout.is_v2() {
            v2::apply(writer, limits)
        } else {
            v1::apply(writer, limits)
        }
    }

    /// Lets the group use only the devices that `rules` allow; the last rule that fits decides, and
    /// nothing fits nothing.
    ///
    /// On v2 this is a program attached to the group (Linux 4.15), replaced atomically.
    ///
    /// # Errors
    /// [`Error::Write`] or [`Error::Program`].
    pub fn set_devices(&self, rules: &[DeviceRule]) -> Result<(), Error> {
        if self.layout.is_v2() {
            return ebpf::attach(&self.layout.hierarchies()[0].mount.join(&self.path), rules);
        }
        match self.directory("devices") {
            Some(directory) => v1::set_devices(&directory, rules),
            None => Err(Error::NoController("devices")),
        }
    }

    /// Stops all processes of the group and waits until they stand still.
    ///
    /// # Errors
    /// [`Error::Write`], or [`Error::NoController`] on a v1 host without the freezer.
    pub fn freeze(&self) -> Result<(), Error> {
        if self.layout.is_v2() {
            v2::set_frozen(self, true)
        } else {
            v1::set_frozen(self, true)
        }
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// As [`Cgroup::freeze`].
    pub fn thaw(&self) -> Result<(), Error> {
        if self.layout.is_v2() {
            v2::set_frozen(self, false)
        } else {
            v1::set_frozen(self, false)
        }
    }

    /// Whether the group is frozen. `false` where there is no freezer.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        if self.layout.is_v2() {
            return self
                .read("", "cgroup.freeze")
                .is_ok_and(|state| state.trim() == "1");
        }
        self.read("freezer", "freezer.state")
            .is_ok_and(|state| state.trim() != "THAWED")
    }

    /// The group's directory as a descriptor, for `CLONE_INTO_CGROUP` (Linux 5.7); v2 only.
    ///
    /// # Errors
    /// [`Error::Open`] when the group is not there.
    pub fn open(&self) -> Result<Option<OwnedFd>, Error> {
        if !self.layout.is_v2() {
            return Ok(None);
        }
        let path = self.layout.hierarchies()[0].mount.join(&self.path);
        match fs::File::open(&path) {
            Ok(directory) => Ok(Some(directory.into())),
            Err(source) => Err(Error::Open { path, source }),
        }
    }

    /// How often the kernel killed a process of this group for want of memory. On v1 before Linux
    /// 4.13, and without the memory controller, always 0.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let file = if self.layout.is_v2() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = self.read("memory", file).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Reads a file of `controller`.
    ///
    /// # Errors
    /// [`Error::NoController`], or [`Error::Open`] for the file.
    pub fn read(&self, controller: &'static str, file: &str) -> Result<String, Error> {
        let directory = self
            .directory(controller)
            .ok_or(Error::NoController(controller))?;
        read(&directory.join(file))
    }
}

/// Moves the calling process to the v2 group of another.
fn enter_beside(hierarchy: &Hierarchy, process: Pid) -> Result<(), Error> {
    let groups = read(Path::new(&format!("/proc/{process}/cgroup")))?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let directory = hierarchy.mount.join(group.unwrap_or_default());
    write(&directory.join("cgroup.procs"), "0")
}

pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })
}

/// One write(2): the kernel takes each as a value of its own.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), Error> {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve);
    let file = file.map_err(|source| Error::Access {
        path: path.to_owned(),
        source: source.into(),
    })?;
    let refused = |source: rustix::io::Errno| Error::Write {
        path: path.to_owned(),
        value: value.to_owned(),
        source: source.into(),
    };
    rustix::io::retry_on_intr(|| rustix::io::write(&file, value.as_bytes())).map_err(refused)?;
    Ok(())
}
