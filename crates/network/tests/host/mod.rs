//! A host of the test's own: network and mount namespaces of one thread, so that tests run side by side
//! and the machine's own network is not touched.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "each test file uses its part"
)]

use hull_linux::namespace::{self, flag};
use hull_linux::netlink::{Link, Socket};
use hull_network::link::{self, Joined};
use hull_network::model::{BridgeOptions, Driver, Endpoint, Network, ParentOptions, Pool};
use hull_network::netns;
use rustix::mount::MountPropagationFlags;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Long enough for a machine under load; reached only by tests that fail.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What is expected not to come is waited for this long.
pub const IMPATIENCE: Duration = Duration::from_millis(300);

pub struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    /// Moves the calling thread into fresh namespaces; `None` where that is not allowed.
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        namespace::unshare(flag::NETWORK | flag::MOUNT).unwrap();
        rustix::mount::mount_change(
            "/",
            MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
        )
        .unwrap();
        Socket::open().unwrap().set_up("lo").unwrap();
        Some(Self {
            directory: tempfile::tempdir().unwrap(),
        })
    }

    /// A place for what the test needs, removed at its end.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn namespaces(&self) -> PathBuf {
        self.directory.path().join("netns")
    }

    /// A namespace by its name, made at its first use.
    pub fn namespace(&self, name: &str) -> PathBuf {
        let path = self.namespaces().join(name);
        if !path.exists() {
            netns::create(&path).unwrap();
        }
        path
    }

    /// Joins an endpoint to a namespace that has the endpoint's id for its name.
    pub fn join(&self, network: &Network, endpoint: &Endpoint) -> (PathBuf, Joined) {
        let netns = self.namespace(&endpoint.id);
        let joined = link::join(network, endpoint, &netns).unwrap();
        (netns, joined)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let entries = fs_err::read_dir(self.namespaces());
        for entry in entries.into_iter().flatten().flatten() {
            let _ = netns::remove(&entry.path());
        }
        let _ = netns::release(&self.namespaces());
    }
}

/// A bridge network `br-<id>` with these pools, each with its gateway.
pub fn bridge(id: &str, pools: &[(&str, &str)]) -> Network {
    Network {
        id: id.to_owned(),
        driver: Driver::Bridge(options(&format!("br-{id}"))),
        pools: pools
            .iter()
            .map(|(net, gateway)| pool(net, gateway))
            .collect(),
        internal: false,
    }
}

pub fn options(device: &str) -> BridgeOptions {
    BridgeOptions::new(device)
}

/// The network with changed bridge options.
pub fn with(mut network: Network, change: impl FnOnce(&mut BridgeOptions)) -> Network {
    if let Driver::Bridge(options) = &mut network.driver {
        change(options);
    }
    network
}

pub fn pool(subnet: &str, gateway: &str) -> Pool {
    Pool {
        subnet: subnet.parse().unwrap(),
        range: None,
        gateway: (!gateway.is_empty()).then(|| gateway.parse().unwrap()),
        reserved: BTreeMap::new(),
    }
}

pub fn on_parent<M>(parent: Option<&str>, mode: M) -> ParentOptions<M> {
    ParentOptions {
        parent: parent.map(str::to_owned),
        mode,
    }
}

pub fn endpoint(id: &str, addresses: &[&str], gateways: &[&str]) -> Endpoint {
    Endpoint {
        id: id.to_owned(),
        ifname: "eth0".to_owned(),
        mac: None,
        addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
        gateways: gateways.iter().map(|ip| ip.parse().unwrap()).collect(),
        sysctls: Vec::new(),
    }
}

/// Does something inside a namespace, in a thread of its own.
pub fn inside<T: Send>(netns: &Path, work: impl FnOnce() -> T + Send) -> T {
    let file = fs_err::File::open(netns).unwrap();
    hull_linux::netlink::inside(file.as_fd(), work).unwrap()
}

/// Accepts at this port on all addresses, and tells who asks the address that it is seen as.
pub fn serve(port: u16) {
    let listener = TcpListener::bind(("::", port)).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let _ = stream.write_all(from.ip().to_canonical().to_string().as_bytes());
        }
    });
}

pub fn ask(address: &str, port: u16) -> std::io::Result<String> {
    ask_within(address, port, PATIENCE)
}

pub fn ask_within(address: &str, port: u16, patience: Duration) -> std::io::Result<String> {
    let address: IpAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), patience)?;
    let mut seen = String::new();
    stream.read_to_string(&mut seen)?;
    Ok(seen)
}

pub fn links() -> Vec<Link> {
    let mut all = Socket::open().unwrap().links().unwrap();
    // Packets come all the time.
    all.iter_mut().for_each(|link| link.received = None);
    all
}

pub fn link_named(name: &str) -> Option<Link> {
    links().into_iter().find(|link| link.name == name)
}

/// Waits until a device is gone, which may happen behind the caller's back.
pub fn gone(name: &str) {
    let begun = std::time::Instant::now();
    while link_named(name).is_some() {
        assert!(begun.elapsed() < PATIENCE, "{name} is still there");
        std::thread::yield_now();
    }
}

/// The addresses of a device, without link-local IPv6 ones, sorted.
pub fn addresses_of(name: &str) -> Vec<String> {
    let mut socket = Socket::open().unwrap();
    let index = socket.link(name).unwrap().index;
    let mut all: Vec<String> = socket
        .addresses()
        .unwrap()
        .into_iter()
        .filter(|address| address.device == index)
        .filter(|address| !address.address.to_string().starts_with("fe80"))
        .map(|address| format!("{}/{}", address.address, address.prefix))
        .collect();
    all.sort();
    all
}

/// `device/gateway` of all default routes, sorted.
pub fn default_routes() -> Vec<String> {
    let mut socket = Socket::open().unwrap();
    let mut all: Vec<String> = socket
        .default_routes()
        .unwrap()
        .into_iter()
        .map(|route| {
            let device = socket.link_at(route.device.unwrap()).unwrap();
            format!("{} {}", device.name, route.gateway)
        })
        .collect();
    all.sort();
    all
}

pub fn sysctl(path: &str) -> String {
    let text = fs_err::read_to_string(Path::new("/proc/sys/net").join(path)).unwrap();
    text.trim().to_owned()
}

pub fn set_sysctl(path: &str, value: &str) {
    fs_err::write(Path::new("/proc/sys/net").join(path), value).unwrap();
}
