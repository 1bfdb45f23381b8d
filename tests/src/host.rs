//! A "host": a network namespace of its own, so that daemons, registries and bridges of tests that
//! run at once do not meet, and nothing a test does to the network outlives it.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A network namespace with loopback up; dropping it ends it.
///
/// When the tests run against the reference (see [`reference()`]), it is the namespace they run in.
#[derive(Debug)]
pub struct Host(Option<Child>);

/// The socket of the reference engine, from `$HULL_TEST_REFERENCE`: the same tests then run against
/// it, and show what is right. Run them in its network namespace and on one thread.
#[must_use]
pub fn reference() -> Option<String> {
    std::env::var("HULL_TEST_REFERENCE").ok()
}

impl Host {
    /// Makes the namespace.
    ///
    /// # Panics
    /// Without root, util-linux's `unshare` and Debian's busybox.
    #[must_use]
    pub fn start() -> Self {
        if reference().is_some() {
            return Self(None);
        }
        let mut holder = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "/bin/busybox ip link set lo up && echo up && exec cat",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start unshare");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("its output is a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("read what the holder says");
        assert_eq!(line, "up\n", "the namespace was not made");
        Self(Some(holder))
    }

    /// A command that will run in the namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match self.namespace() {
            None => Command::new(program),
            Some(path) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={path}")).arg("--").arg(program);
                command
            }
        }
    }

    /// Runs `work` on a thread of its own in the namespace.
    ///
    /// # Panics
    /// When the namespace cannot be entered, or `work` panics.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.path(), work)
    }

    /// The names of the network interfaces.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let shown =
            crate::command::run(self.command("/bin/busybox").args(["ip", "-o", "link"]), &[]);
        let name = |line: &str| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned());
        shown.ok().lines().filter_map(name).collect()
    }

    /// The process that keeps the namespace.
    ///
    /// # Panics
    /// When the tests run against the reference, whose namespace is nobody's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.as_ref().expect("a namespace of its own").id()
    }

    /// Where the namespace is found.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.namespace()
            .unwrap_or_else(|| "/proc/self/ns/net".to_owned())
            .into()
    }

    fn namespace(&self) -> Option<String> {
        self.0
            .as_ref()
            .map(|holder| format!("/proc/{}/ns/net", holder.id()))
    }
}

/// Runs `work` on a thread of its own in the network namespace at `path`.
///
/// # Panics
/// When the namespace cannot be entered, or `work` panics.
pub fn within<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let namespace = fs_err::File::open(path).expect("open the namespace");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("enter the namespace");
            work()
        });
        inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut holder) = self.0.take() {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}
