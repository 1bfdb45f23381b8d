//! A daemon on directories of its own.

use crate::host::{Host, reference};
use crate::http::{Reply, Request, send};
use rustix::fs::inotify;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take to answer or to end. Generous: debug builds on small, shared machines.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon and its directories.
///
/// Dropping it removes its containers, ends it and, unless the test failed already, asserts that
/// nothing is left: no mount, no process, no interface.
#[derive(Debug)]
pub struct Daemon<'h> {
    host: &'h Host,
    process: Option<Child>,
    directory: tempfile::TempDir,
    arguments: Vec<String>,
    prelude: String,
    programs: Option<PathBuf>,
    held: Option<UnixListener>,
}

impl<'h> Daemon<'h> {
    /// Starts a daemon on `host` with further `arguments` and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer in time.
    #[must_use]
    pub fn start(host: &'h Host, arguments: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("hull-test-")
            .tempdir()
            .expect("a directory");
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        let mut daemon = Self {
            host,
            process: None,
            directory,
            arguments,
            prelude: String::new(),
            programs: None,
            held: None,
        };
        daemon.restart();
        daemon
    }

    /// Starts the daemon again after [`Daemon::kill`] or [`Daemon::stop`].
    ///
    /// # Panics
    /// When it does not answer in time.
    pub fn restart(&mut self) {
        if reference().is_some() {
            return;
        }
        assert!(self.process.is_none(), "the daemon runs already");
        if self.held.is_some() {
            // Who connects waits until the daemon answers.
            self.process = Some(self.spawn());
        } else {
            let _ = fs_err::remove_file(self.socket());
            let created = Created::watch(self.directory.path());
            let mut child = self.spawn();
            created.wait_for(&self.socket(), &mut child);
            self.process = Some(child);
        }
        let deadline = Instant::now() + PATIENCE;
        // Between bind(2) and listen(2) a socket refuses connections.
        while UnixStream::connect(self.socket()).is_err() {
            assert!(
                Instant::now() < deadline,
                "the daemon does not listen: {}",
                self.log()
            );
            std::thread::yield_now();
        }
        assert_eq!(self.get("/_ping").status, 200);
        // That is answered before the containers are known.
        assert_eq!(self.get("/containers/json").status, 200);
    }

    /// Starts a process with this daemon's arguments and gives it, for tests of start-up itself.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn spawn(&self) -> Child {
        let log = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("the log");
        let mut command = match other_engine() {
            None => {
                let hull = match &self.programs {
                    Some(directory) => directory.join("hull"),
                    None => crate::binaries().join("hull"),
                };
                let mut command = if self.held.is_some() {
                    let mut command = self.host.command("sh");
                    let script =
                        "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
                    command.args(["-c", script]).arg(hull);
                    command
                } else if self.prelude.is_empty() {
                    self.host.command(hull)
                } else {
                    let mut command = self.host.command("unshare");
                    let script = format!("{} && exec \"$0\" \"$@\"", self.prelude);
                    command.args(["--mount", "sh", "-c", &script]).arg(hull);
                    command
                };
                command.arg("daemon");
                command
            }
            Some(program) => self.host.command(program),
        };
        let input = match &self.held {
            None => {
                command.args(["-H", &self.address()]);
                Stdio::null()
            }
            Some(listener) => {
                command.args(["-H", "fd://"]);
                let listener = listener.try_clone().expect("a second descriptor");
                Stdio::from(std::os::fd::OwnedFd::from(listener))
            }
        };
        command
            .arg("--data-root")
            .arg(self.path("data"))
            .arg("--exec-root")
            .arg(self.path("run"))
            .arg("--pidfile")
            .arg(self.path("pid"))
            .arg("--config-file")
            .arg(self.config())
            .args(&self.arguments)
            .stdin(input)
            .stdout(Stdio::null())
            .stderr(log.into_parts().0)
            .spawn()
            .expect("start the daemon")
    }

    fn config(&self) -> PathBuf {
        let path = self.path("daemon.json");
        if !path.exists() {
            fs_err::write(&path, "{}").expect("write the daemon's config");
        }
        path
    }

    /// Changes the arguments that the next start gets.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    }

    /// Has the next daemon, and what it starts, be the programs in this directory.
    pub fn set_programs(&mut self, directory: &Path) {
        self.programs = Some(directory.to_owned());
    }

    /// Listens in the daemon's place from now on, as a service manager does, and passes the socket to the next ones: who asks
    /// while there is no daemon waits.
    ///
    /// # Panics
    /// While the daemon runs, and when the system refuses.
    pub fn hold_socket(&mut self) {
        assert!(self.process.is_none(), "the daemon has the socket");
        let _ = fs_err::remove_file(self.socket());
        self.held = Some(UnixListener::bind(self.socket()).expect("listen"));
    }

    /// Has the next daemon live in a mount namespace of its own, in which this shell script runs first; without one
    /// if it is empty.
    pub fn set_prelude(&mut self, script: &str) {
        script.clone_into(&mut self.prelude);
    }

    /// Kills the daemon with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut child = self.process.take().expect("the daemon runs");
        child.kill().expect("kill the daemon");
        child.wait().expect("wait for the daemon");
    }

    /// Asks the daemon to end, waits for it and gives its exit code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> i32 {
        let mut child = self.process.take().expect("the daemon runs");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("signal the daemon");
        child
            .wait()
            .expect("wait for the daemon")
            .code()
            .unwrap_or(-1)
    }

    /// The process id, while it runs.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the daemon runs").id()
    }

    /// A path below the daemon's directory: `data`, `run`, …
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the daemon logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs_err::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The address for clients, `unix://…`.
    #[must_use]
    pub fn address(&self) -> String {
        reference().unwrap_or_else(|| format!("unix://{}", self.socket().display()))
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        match reference() {
            Some(address) => address.trim_start_matches("unix://").into(),
            None => self.path("hull.sock"),
        }
    }

    /// Asks for `target`.
    ///
    /// # Panics
    /// When the daemon does not answer.
    #[must_use]
    pub fn get(&self, target: &str) -> Reply {
        self.ask("GET", target, &[])
    }

    /// Sends any request with a JSON body.
    ///
    /// # Panics
    /// When the daemon does not answer.
    pub fn ask(&self, method: &str, target: &str, body: &[u8]) -> Reply {
        self.send(method, target, "application/json", body)
    }

    /// Sends any request with a body of the type `kind`.
    ///
    /// # Panics
    /// When the daemon does not answer.
    pub fn send(&self, method: &str, target: &str, kind: &str, body: &[u8]) -> Reply {
        let stream = UnixStream::connect(self.socket()).expect("the daemon listens");
        let headers = [("Content-Type", kind)];
        send(
            stream,
            Request {
                method,
                target,
                headers: &headers,
                body,
            },
        )
        .expect("the daemon answers")
    }

    /// Removes all containers.
    ///
    /// # Panics
    /// When one cannot be removed.
    pub fn remove_containers(&self) {
        let list = self.get("/containers/json?all=1").json();
        for container in list.as_array().expect("a list of containers") {
            let id = container["Id"].as_str().expect("a container has an id");
            let reply = self.ask("DELETE", &format!("/containers/{id}?force=1&v=1"), &[]);
            assert!(matches!(reply.status, 204 | 404 | 409), "{reply:?}");
        }
    }

    /// What is still there although no container is: mounts and processes below the directory.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let below = self.directory.path().to_string_lossy().into_owned();
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").expect("the mount table");
        let mut left: Vec<String> = mounts
            .lines()
            .filter(|line| line.contains(&below))
            // Where the daemon keeps its network namespaces is a mount of its own, and so is where it
            // keeps layers, for the next container.
            .filter(|line| {
                !line
                    .split(' ')
                    .nth(4)
                    .is_some_and(|at| at.ends_with("/run/netns") || at.contains("/run/layers"))
            })
            .map(str::to_owned)
            .collect();
        // The resolver of names ends with the daemon, or with the last container if that comes later.
        left.extend(
            processes(&below)
                .into_iter()
                .filter(|line| !line.contains("daemon") && !line.contains("hull-dns")),
        );
        left.extend(
            self.host
                .links()
                .into_iter()
                .filter(|name| name.starts_with("veth")),
        );
        left
    }

    /// Where layers are mounted.
    ///
    /// # Panics
    /// Without procfs.
    #[must_use]
    pub fn layer_mounts(&self) -> Vec<String> {
        let below = self.path("run/layers").to_string_lossy().into_owned();
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").expect("the mount table");
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        points
            .filter(|point| point.starts_with(&below))
            .map(str::to_owned)
            .collect()
    }

    /// The processes of a program, by its name, that were started for this daemon.
    #[must_use]
    pub fn processes_of(&self, program: &str) -> Vec<i32> {
        let below = self.directory.path().to_string_lossy().into_owned();
        let pid = |line: String| {
            let (pid, command) = line.split_once(' ')?;
            let own = command.split(' ').next()?.ends_with(program);
            own.then(|| pid.parse().ok())?
        };
        processes(&below).into_iter().filter_map(pid).collect()
    }

    /// The processes of shims of this daemon, as (pid, command line).
    #[must_use]
    pub fn shims(&self) -> Vec<(i32, String)> {
        let below = self.directory.path().to_string_lossy().into_owned();
        let line = |line: String| {
            let (pid, command) = line.split_once(' ')?;
            command
                .contains("hull-shim")
                .then(|| Some((pid.parse().ok()?, command.to_owned())))?
        };
        processes(&below).into_iter().filter_map(line).collect()
    }
}

/// Processes whose command line or environment-independent arguments name `text`: "pid command".
fn processes(text: &str) -> Vec<String> {
    let entries = fs_err::read_dir("/proc").expect("the process table");
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let line = fs_err::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(text).then(|| format!("{pid} {line}"))
    })
    .collect()
}

/// A program, from `$HULL_TEST_ENGINE`, that is started as daemon in place of Hull's, with the arguments that Hull's would
/// get (they are dockerd's): tests that are driven by the docker client alone then record what it does.
#[must_use]
pub fn other_engine() -> Option<std::ffi::OsString> {
    std::env::var_os("HULL_TEST_ENGINE")
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if reference().is_some() {
            self.remove_containers();
            return;
        }
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "what a failed test needs")]
            {
                eprintln!("--- the daemon's log ---\n{}", self.log());
            }
            if self.process.is_some() {
                let cleaned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    self.remove_containers()
                }));
                drop(cleaned);
                self.kill();
            }
        } else {
            if self.process.is_none() {
                self.restart();
            }
            self.remove_containers();
            if other_engine().is_some() {
                self.stop();
                return;
            }
            wait_until("nothing is left of the containers", || {
                self.leftovers()
                    .is_empty()
                    .then_some(())
                    .ok_or_else(|| self.leftovers())
            });
            self.stop();
            assert_eq!(self.layer_mounts(), [""; 0], "no layer stays mounted");
            wait_until("the resolver ends", || {
                let left = self.processes_of("hull-dns");
                left.is_empty().then_some(()).ok_or(left)
            });
        }
        let _ =
            rustix::mount::unmount(self.path("run/layers"), rustix::mount::UnmountFlags::DETACH);
        let _ = rustix::mount::unmount(self.path("run/netns"), rustix::mount::UnmountFlags::DETACH);
    }
}

/// Asks again until `condition` holds, for facts that no event announces.
///
/// # Panics
/// When it does not hold in time, with what it said last.
pub fn wait_until<T, E: std::fmt::Debug>(
    what: &str,
    mut condition: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(last) => assert!(Instant::now() < deadline, "{what}: {last:?}"),
        }
        let pause = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 5_000_000,
        };
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
}

/// Waits for files to be created in a directory.
struct Created {
    watch: std::os::fd::OwnedFd,
}

impl Created {
    fn watch(directory: &Path) -> Self {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .expect("inotify");
        inotify::add_watch(
            &watch,
            directory,
            inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO,
        )
        .expect("watch the directory");
        Self { watch }
    }

    fn wait_for(&self, path: &Path, child: &mut Child) {
        let deadline = Instant::now() + PATIENCE;
        while !path.exists() {
            let ended = child.try_wait().expect("ask for the daemon's state");
            assert!(ended.is_none(), "the daemon ended: {ended:?}");
            assert!(Instant::now() < deadline, "no {} in time", path.display());
            let second = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: 200_000_000,
            };
            let mut ready = [rustix::event::PollFd::new(
                &self.watch,
                rustix::event::PollFlags::IN,
            )];
            let _ = rustix::event::poll(&mut ready, Some(&second));
            let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
            let mut events = inotify::Reader::new(&self.watch, &mut buffer);
            while events.next().is_ok() {}
        }
    }
}
