//! A daemon on the host of a small internet, and containers that are looked at from within their namespaces.

use hull_tests::client::Client;
use hull_tests::command::Finished;
use hull_tests::daemon::Daemon;
use hull_tests::host::reference;
use hull_tests::image::{BUSYBOX, Family, Packing, busybox};
use hull_tests::layout::{Layout, OUTSIDE, Pair};
use hull_tests::registry::Registry;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The daemon, with `busybox` in its store, and what is around it.
pub(crate) struct Stage<'l> {
    pub(crate) client: Client,
    pub(crate) daemon: Daemon<'l>,
    pub(crate) layout: &'l Layout,
}

/// Runs `test` with a daemon of these `arguments` on a layout of its own.
pub(crate) fn with(client: Client, arguments: &[&str], test: impl FnOnce(&mut Stage<'_>)) {
    let client = match hull_tests::daemon::other_engine() {
        None => client,
        Some(_) => Client::Docker,
    };
    let busybox_there = || std::path::Path::new(BUSYBOX).exists();
    let docker = client.is_own() || hull_tests::command::exists("docker");
    if !hull_tests::can_run("the docker client", docker)
        || !hull_tests::can_run("a host of the test's own", reference().is_none())
        || !Layout::is_available()
        || !Registry::is_available()
        || !hull_tests::can_run("busybox-static", busybox_there())
    {
        return;
    }
    let layout = Layout::start();
    hull_tests::names::serve(&layout.outside.path(), SocketAddr::new(OUTSIDE[0], 53));
    let daemon = Daemon::start(&layout.host, arguments);
    let mut stage = Stage {
        client,
        daemon,
        layout: &layout,
    };
    {
        let registry = Registry::start(&layout.host);
        let image = busybox(Packing::Plain, Family::Oci);
        let (image, _) = registry.push(&layout.host, ("busybox", "latest"), &image);
        let _ = stage.run(&["pull", "-q", &image]).ok();
        let _ = stage.run(&["tag", &image, "busybox"]).ok();
    }
    // What is made with the first network stays: the table of rules.
    stage.line("network create first");
    stage.line("network rm first");
    test(&mut stage);
}

/// Somebody who asks, or is asked.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    /// Its network namespace.
    pub(crate) path: PathBuf,
    /// Its addresses; unspecified where it has none.
    pub(crate) own: Pair,
    /// The gateways of its (first) network; unspecified where it has none.
    pub(crate) gateway: Pair,
}

impl Stage<'_> {
    pub(crate) fn run(&self, words: &[&str]) -> Finished {
        self.client.run(&self.daemon, words)
    }

    /// Runs one command line, split at spaces; it must succeed.
    pub(crate) fn line(&self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.run(&words).ok().to_owned()
    }

    /// Starts a container that does nothing but live. Names that are not of its networks are asked outside.
    pub(crate) fn container(&self, name: &str, options: &str) -> Place {
        self.line(&format!(
            "run -d --stop-timeout 0 --dns 198.51.100.2 --name {name} {options} busybox sleep 1000000"
        ));
        self.place(name)
    }

    /// Where a running container is.
    pub(crate) fn place(&self, name: &str) -> Place {
        let seen = self.inspect(name);
        let pid = seen["State"]["Pid"].as_i64().expect("it runs");
        let networks = seen["NetworkSettings"]["Networks"].as_object();
        let (network, place) = networks
            .and_then(|networks| networks.iter().next())
            .expect("it is on a network");
        let address = |key: &str| place[key].as_str().and_then(|text| text.parse().ok());
        Place {
            name: name.to_owned(),
            path: format!("/proc/{pid}/ns/net").into(),
            own: pair([address("IPAddress"), address("GlobalIPv6Address")]),
            gateway: {
                let [four, six] = self.gateway(network);
                pair([address("Gateway").or(four), address("IPv6Gateway").or(six)])
            },
        }
    }

    /// The gateways of a network, which are its bridge's addresses; containers of internal networks are not told.
    fn gateway(&self, network: &str) -> [Option<IpAddr>; 2] {
        let reply = self.daemon.get(&format!("/networks/{network}"));
        assert_eq!(reply.status, 200, "{reply:?}");
        let reply = reply.json();
        let pools = reply["IPAM"]["Config"].as_array().expect("it has pools");
        let gateways = || {
            let text = |pool: &Value| pool["Gateway"].as_str()?.parse().ok();
            pools.iter().filter_map(text)
        };
        [
            gateways().find(IpAddr::is_ipv4),
            gateways().find(IpAddr::is_ipv6),
        ]
    }

    pub(crate) fn inspect(&self, name: &str) -> Value {
        let reply = self.daemon.get(&format!("/containers/{name}/json"));
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }
}

fn pair([four, six]: [Option<IpAddr>; 2]) -> Pair {
    [
        four.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        six.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ]
}
