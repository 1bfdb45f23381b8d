//! The library half: what the commands do, as functions.

use crate::command::{delete, kill, start};
use crate::config;
use crate::error::{Error, Step as _, said};
use crate::id::ContainerId;
use crate::launch::{self, Wishes};
use crate::plan::Bundle;
use crate::report::Report;
use crate::state::{Container, default_root};
use crate::{console, protect};
use hull_linux::namespace::{self, flag};
use hull_linux::process::Child;
use hull_spec::runtime::{ContainerStatus, Process, State};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::path::{Path, PathBuf};

/// Containers below one directory.
///
/// The same containers as those of the program `hull-runtime` with `--root`; both may be used on them in turn.
///
/// What makes a process ([`create`](Self::create), [`exec`](Self::exec)) copies the calling one (clone3
/// without `CLONE_VM`): it must have a single thread, which is checked, and it should call
/// [`protect_executable`] first of all. Signals are left alone.
///
/// ```no_run
/// use hull_runtime::{Options, Runtime};
/// # fn main() -> Result<(), hull_runtime::Error> {
/// hull_runtime::protect_executable(0)?;
/// let runtime = Runtime::at("/run/user/1000/containers")?;
/// runtime.create("web", "/srv/web".as_ref(), Options::default())?;
/// runtime.start("web")?;
/// runtime.kill("web", 15)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Runtime {
    root: PathBuf,
    report: Report,
}

/// How a process is made, beyond what its configuration says.
#[derive(Debug, Default)]
pub struct Options {
    /// File to which the process id is written.
    pub pid_file: Option<PathBuf>,
    /// Socket to which the master of the process' terminal is sent (unix(7), `SCM_RIGHTS`); there must be
    /// one if and only if the process has a terminal.
    pub console_socket: Option<PathBuf>,
    /// How many descriptors after standard error, without a gap and not close-on-exec, the program keeps.
    /// [`protect_executable`] must have been told of them.
    pub preserved: u32,
    /// Enters the root file system without pivot_root(2), which a ramdisk does not allow.
    pub no_pivot: bool,
    /// Keeps the caller's session keyring (keyrings(7)) instead of making one.
    pub no_new_keyring: bool,
    /// Control groups of a process that joins, below the container's: `path`, or `controller,…:path`.
    pub cgroups: Vec<String>,
}

/// A process that was started in a container. It goes on when this is dropped.
#[derive(Debug)]
pub struct Joined {
    child: Child,
}

impl Joined {
    /// Its id in the caller's PID namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.pid.as_raw_nonzero().get()
    }

    /// A descriptor of it, which becomes readable when it ends (pidfd_open(2)).
    #[must_use]
    pub fn pidfd(&self) -> &OwnedFd {
        &self.child.pidfd
    }

    /// Waits until it has ended: its exit code, or 128 and the number of the signal that ended it.
    ///
    /// # Errors
    /// Those of waitid(2), such as `ECHILD` when somebody else has waited for it.
    pub fn wait(self) -> Result<u8, Error> {
        launch::exit_code_of(&self.child)
    }
}

/// Has the calling program run from a file that no container can write through `/proc/PID/exe`
/// (CVE-2019-5736). Unless it does already it is executed again with the same arguments: to be called
/// first in `main`. Descriptors above standard error, but for the first `preserved`, are closed at the next
/// exec.
///
/// # Errors
/// When no read-only view of the program can be made or executed.
pub fn protect_executable(preserved: u32) -> Result<(), Error> {
    protect::executable(preserved)
}

impl Runtime {
    /// Containers whose state is kept in this directory, which is made when it is first needed.
    ///
    /// # Errors
    /// When the path is relative and there is no current directory.
    pub fn at(root: impl AsRef<Path>) -> Result<Self, Error> {
        let root = std::path::absolute(root).step(|| "find the current directory")?;
        Ok(Self {
            root,
            report: Report::default(),
        })
    }

    /// Containers in the place the program uses without `--root`.
    #[must_use]
    pub fn of_user() -> Self {
        Self {
            root: default_root(),
            report: Report::default(),
        }
    }

    /// Adds warnings to a file, in the form of `--log`, instead of writing them to standard error.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn log_to(self, path: &str, json: bool) -> Result<Self, Error> {
        let report = Report::open(Some(path), json, false)?;
        Ok(Self { report, ..self })
    }

    /// Makes the container of a bundle. Its process waits for [`start`](Self::start), and has the caller's
    /// standard streams.
    ///
    /// # Errors
    /// When the id is taken or no id, the bundle is not valid, or a step fails: then nothing is left of the
    /// container.
    pub fn create(&self, id: &str, bundle: &Path, options: Options) -> Result<(), Error> {
        check_threads()?;
        let id = ContainerId::parse(id)?;
        let path = bundle.to_str();
        let bundle = Bundle::read(Some(
            path.ok_or_else(|| said("the bundle's path is not UTF-8"))?,
        ))?;
        let terminal = (bundle.spec.process.as_ref()).is_some_and(|process| process.terminal);
        let wishes = Wishes {
            fifo: true,
            ..options.wishes(terminal)?
        };
        launch::create(&self.root, &id, &bundle, &wishes, &self.report)?;
        Ok(())
    }

    /// Lets the process of a created container become its program, and runs the poststart hooks.
    ///
    /// # Errors
    /// When there is no such container, it was started before, or a hook fails, which ends it.
    pub fn start(&self, id: &str) -> Result<(), Error> {
        start::start(&self.container(id)?)
    }

    /// Sends a signal to the first process of a container.
    ///
    /// # Errors
    /// When there is no such container, no process, or no such signal.
    pub fn kill(&self, id: &str, signal: i32) -> Result<(), Error> {
        kill::send(&self.container(id)?, signal, false)
    }

    /// Sends a signal to all processes of a container.
    ///
    /// # Errors
    /// As [`kill`](Self::kill).
    pub fn kill_all(&self, id: &str, signal: i32) -> Result<(), Error> {
        kill::send(&self.container(id)?, signal, true)
    }

    /// Removes what is left of a container that has stopped or was never started, and runs the poststop
    /// hooks. With `force`, ends any, and removes what another version or an unclean end has left; that
    /// there is none is no error then.
    ///
    /// # Errors
    /// When the container has not stopped, or a process cannot be ended within ten seconds.
    pub fn delete(&self, id: &str, force: bool) -> Result<(), Error> {
        delete::delete(&self.root, &ContainerId::parse(id)?, force)
    }

    /// What a container is doing, as the specification has it (runtime.md, "State").
    ///
    /// # Errors
    /// When there is no such container or its record cannot be read.
    pub fn state(&self, id: &str) -> Result<State, Error> {
        let container = self.container(id)?;
        let status = container.status()?;
        Ok(container.record.state(status))
    }

    /// Runs one more process in a container that is created or running. It has the caller's standard streams.
    ///
    /// # Errors
    /// When there is no such container, it has stopped or is paused, or a step fails.
    pub fn exec(&self, id: &str, process: &Process, options: Options) -> Result<Joined, Error> {
        check_threads()?;
        let container = self.container(id)?;
        if container.status()? == ContainerStatus::Paused {
            return Err(said("cannot exec in a paused container"));
        }
        config::check_process(process)?;
        let wishes = options.wishes(process.terminal)?;
        let spec = container.directory.config()?;
        let started = launch::join(&container, &spec, process, &wishes);
        // Joining a PID namespace is for the children of a process, all of them: the next are ours again.
        let own = rustix::fs::open(
            "/proc/self/ns/pid",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .step(|| "open the caller's PID namespace")?;
        namespace::join(own.as_fd(), flag::PID).step(|| "go back to the caller's PID namespace")?;
        Ok(Joined {
            child: started?.child,
        })
    }

    fn container(&self, id: &str) -> Result<Container, Error> {
        Container::load(&self.root, &ContainerId::parse(id)?)
    }
}

impl Options {
    fn wishes(self, terminal: bool) -> Result<Wishes, Error> {
        if terminal != self.console_socket.is_some() {
            return Err(said(
                "a process needs a console socket if and only if it has a terminal",
            ));
        }
        let open = |path: PathBuf| console::open(&path);
        Ok(Wishes {
            console: self.console_socket.map(open).transpose()?,
            pid_file: self.pid_file,
            preserved: self.preserved,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            cgroups: self.cgroups,
            ..Wishes::default()
        })
    }
}

/// The copy of a process has one thread; a lock that another one held would never be released in it.
fn check_threads() -> Result<(), Error> {
    let threads = std::fs::read_dir("/proc/self/task")
        .step(|| "list the threads of the caller")?
        .count();
    if threads == 1 {
        Ok(())
    } else {
        Err(said(format!(
            "containers can be made only by a process of one thread; this one has {threads}"
        )))
    }
}
