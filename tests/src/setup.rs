//! The usual start of an end-to-end test: a host, a registry, a daemon, and `busybox` in it.

use crate::client::Client;
use crate::command::Finished;
use crate::daemon::Daemon;
use crate::host::Host;
use crate::image::{Family, Packing, busybox};
use crate::registry::Registry;

/// What most tests need.
#[derive(Debug)]
pub struct Setup<'h> {
    /// The command line under test.
    pub client: Client,
    /// The daemon; the image `busybox` is in its store.
    pub daemon: Daemon<'h>,
    /// The registry that `busybox` came from.
    pub registry: &'h Registry,
    /// The network namespace of both.
    pub host: &'h Host,
}

impl Setup<'_> {
    /// Runs one command to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.client.run(&self.daemon, arguments)
    }

    /// Runs one command line, split at spaces.
    #[must_use]
    pub fn line(&self, line: &str) -> Finished {
        self.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// Runs one command line with a shell's script behind it.
    #[must_use]
    pub fn script(&self, line: &str, script: &str) -> Finished {
        let mut arguments: Vec<_> = line.split(' ').collect();
        arguments.extend(["sh", "-c", script]);
        self.run(&arguments)
    }

    /// One value out of `inspect`.
    #[must_use]
    pub fn inspect(&self, name: &str, pointer: &str) -> serde_json::Value {
        let reply = self.daemon.get(&format!("/containers/{name}/json"));
        assert_eq!(reply.status, 200, "{reply:?}");
        reply
            .json()
            .pointer(pointer)
            .cloned()
            .unwrap_or_else(|| panic!("no {pointer} in {}", reply.text()))
    }
}

/// Runs `test` once with each command line that is installed, each time on a daemon of its own.
pub fn with_each_client(test: impl Fn(&mut Setup<'_>)) {
    for client in Client::available() {
        with(client, &test);
    }
}

/// Runs `test` with `client`.
///
/// # Panics
/// When the image cannot be pulled, and when `test` does.
pub fn with(client: Client, test: impl Fn(&mut Setup<'_>)) {
    if !Registry::is_available()
        || !crate::can_run(
            "busybox-static",
            std::path::Path::new(crate::image::BUSYBOX).exists(),
        )
    {
        return;
    }
    let host = Host::start();
    let registry = Registry::start(&host);
    let daemon = Daemon::start(&host, &[]);
    let (reference, _) = registry.push(
        &host,
        ("busybox", "latest"),
        &busybox(Packing::Gzip, Family::Docker),
    );
    let mut setup = Setup {
        client,
        daemon,
        registry: &registry,
        host: &host,
    };
    let _ = setup.run(&["pull", "-q", &reference]).ok();
    let _ = setup.run(&["tag", &reference, "busybox"]).ok();
    test(&mut setup);
}
