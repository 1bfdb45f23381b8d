//! The whole crate against the kernel: every test has a network and mount namespace of its own as
//! "host", so nothing is left on the machine and tests may run side by side.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests"
)]

use hull_linux::namespace::{self, flag};
use hull_linux::netlink::Socket;
use hull_network::model::Pool;
use hull_network::{
    Bridge, BridgeConfig, Endpoint, Ipam, Mac, connect, disconnect, dismantle, firewall, netns,
    reconcile,
};
use rustix::mount::MountPropagationFlags;
use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A host of the test's own; the directory for its namespaces.
struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    /// Moves the calling thread into fresh namespaces; `None` where that is not allowed.
    fn new() -> Option<Self> {
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

    fn namespaces(&self) -> PathBuf {
        self.directory.path().join("netns")
    }

    fn endpoint(&self, id: &str, bridge: &Bridge, address: Ipv4Addr) -> Endpoint {
        let netns = self.namespaces().join(id);
        netns::create(&netns).unwrap();
        let endpoint = Endpoint {
            id: id.to_owned(),
            netns,
            address,
            gateway: Some(bridge.gateway),
            mac: Mac::from_ipv4(address),
            ifname: "eth0".to_owned(),
        };
        connect(bridge, &endpoint).unwrap();
        endpoint
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.namespaces())
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = netns::remove(&entry.path());
        }
        let _ = netns::release(&self.namespaces());
    }
}

/// Does something inside a namespace, in a thread of its own.
fn inside<T: Send>(netns: &Path, work: impl FnOnce() -> T + Send) -> T {
    let file = std::fs::OpenOptions::new().read(true).open(netns).unwrap();
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                namespace::join(file.as_fd(), flag::NETWORK).unwrap();
                work()
            })
            .join()
            .unwrap()
    })
}

/// Who asks is told the address that it is seen as.
fn serve(listener: TcpListener) {
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let _ = stream.write_all(from.ip().to_string().as_bytes());
        }
    });
}

fn ask(address: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let to = SocketAddr::from((address, port));
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
    let mut seen = String::new();
    stream.read_to_string(&mut seen)?;
    Ok(seen)
}

fn listen_in(netns: &Path, port: u16) {
    serve(inside(netns, || {
        TcpListener::bind(("0.0.0.0", port)).unwrap()
    }));
}

#[test]
fn endpoints_reach_each_other_and_the_bridge() {
    let Some(host) = Host::new() else { return };
    let bridge = Bridge::ensure(&BridgeConfig::default()).unwrap();
    assert_eq!(bridge.subnet.to_string(), "172.17.0.0/16");
    assert_eq!(bridge.gateway, Ipv4Addr::new(172, 17, 0, 1));
    assert_eq!(Bridge::ensure(&BridgeConfig::default()).unwrap(), bridge);

    let mut ipam = Ipam::new(&[Pool {
        subnet: bridge.subnet.into(),
        range: None,
        gateway: Some(bridge.gateway.into()),
        reserved: Default::default(),
    }])
    .unwrap();
    let mut next = || match ipam.allocate(false).unwrap().unwrap().addr() {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(_) => unreachable!(),
    };
    let a = host.endpoint("aaaa", &bridge, next());
    let b = host.endpoint("bbbb", &bridge, next());
    listen_in(&a.netns, 80);
    serve(TcpListener::bind((bridge.gateway, 81)).unwrap());

    let seen = inside(&b.netns, || ask(a.address, 80).unwrap());
    assert_eq!(seen, "172.17.0.3");
    assert_eq!(
        inside(&b.netns, || ask(bridge.gateway, 81).unwrap()),
        "172.17.0.3"
    );
    assert_eq!(ask(a.address, 80).unwrap(), "172.17.0.1");
    let (device, ipv6) = inside(&a.netns, || {
        let device = Socket::open().unwrap().link("eth0").unwrap();
        (
            device,
            fs_err::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default(),
        )
    });
    assert!(device.up);
    assert_eq!(device.mac.unwrap().to_string(), "02:42:ac:11:00:02");
    assert!(!ipv6.contains("eth0"), "{ipv6}");
}

#[test]
fn disconnecting_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let bridge = Bridge::ensure(&BridgeConfig::default()).unwrap();
    let before = Socket::open().unwrap().links().unwrap();
    let address = Ipv4Addr::new(172, 17, 0, 2);
    let endpoint = host.endpoint("cccc", &bridge, address);
    assert_eq!(
        Socket::open().unwrap().links().unwrap().len(),
        before.len() + 1
    );

    disconnect("cccc").unwrap();
    disconnect("cccc").unwrap();
    let names = inside(&endpoint.netns, || Socket::open().unwrap().links().unwrap());
    assert!(names.iter().all(|link| link.name != "eth0"));
    assert_eq!(Socket::open().unwrap().links().unwrap(), before);

    netns::remove(&endpoint.netns).unwrap();
    netns::remove(&endpoint.netns).unwrap();
    assert!(!endpoint.netns.exists());
    let mounts = fs_err::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(!mounts.contains("/netns/cccc"));
    Bridge::remove("hull0").unwrap();
    Bridge::remove("hull0").unwrap();
}

#[test]
fn dismantling_removes_everything_soon() {
    let Some(host) = Host::new() else { return };
    let bridge = Bridge::ensure(&BridgeConfig::default()).unwrap();
    let before = Socket::open().unwrap().links().unwrap().len();
    let endpoint = host.endpoint("abcd", &bridge, Ipv4Addr::new(172, 17, 0, 2));
    // A process that stays inside must not keep the pair.
    let held = std::fs::OpenOptions::new()
        .read(true)
        .open(&endpoint.netns)
        .unwrap();
    dismantle("abcd", &endpoint.netns).unwrap();
    assert!(!endpoint.netns.exists());
    let deadline = Instant::now() + Duration::from_secs(10);
    while Socket::open().unwrap().links().unwrap().len() > before {
        assert!(Instant::now() < deadline, "the pair is still there");
        std::thread::yield_now();
    }
    drop(held);
}

#[test]
fn a_failed_connection_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let bridge = Bridge::ensure(&BridgeConfig::default()).unwrap();
    let before = Socket::open().unwrap().links().unwrap();
    let netns = host.namespaces().join("dddd");
    netns::create(&netns).unwrap();
    assert!(netns::create(&netns).is_err());
    let endpoint = Endpoint {
        id: "dddd".to_owned(),
        netns: netns.clone(),
        address: Ipv4Addr::new(172, 17, 0, 2),
        // A router that is in none of its networks.
        gateway: Some(Ipv4Addr::new(10, 99, 0, 1)),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        ifname: "eth0".to_owned(),
    };
    let error = connect(&bridge, &endpoint).unwrap_err();
    assert_eq!(error.to_string(), "join endpoint dddd");
    assert_eq!(Socket::open().unwrap().links().unwrap(), before);
    let gone = Endpoint {
        netns: host.namespaces().join("nothing"),
        ..endpoint
    };
    assert!(
        connect(&bridge, &gone)
            .unwrap_err()
            .to_string()
            .starts_with("open ")
    );
}

#[test]
fn what_a_crash_left_is_found_and_removed() {
    let Some(host) = Host::new() else { return };
    let bridge = Bridge::ensure(&BridgeConfig::default()).unwrap();
    let kept = host.endpoint("eeee", &bridge, Ipv4Addr::new(172, 17, 0, 2));
    let stale = host.endpoint("ffff", &bridge, Ipv4Addr::new(172, 17, 0, 3));
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(host.namespaces().join("half"))
        .unwrap();
    let live = HashSet::from(["eeee".to_owned()]);
    let removed = reconcile("hull0", &host.namespaces(), &live).unwrap();
    assert_eq!(removed.links.len(), 1);
    assert_eq!(removed.namespaces.len(), 2);
    assert!(kept.netns.exists() && !stale.netns.exists());
    listen_in(&kept.netns, 80);
    assert_eq!(ask(kept.address, 80).unwrap(), "172.17.0.1");
    let again = reconcile("hull0", &host.namespaces(), &live).unwrap();
    assert_eq!(again, hull_network::Removed::default());
}

#[test]
fn copies_of_mounts_do_not_keep_a_namespace() {
    let Some(host) = Host::new() else { return };
    let path = host.namespaces().join("gggg");
    netns::create(&path).unwrap();
    let (ready, wait) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        // As a shim does: mounts of its own, slaves of the host's.
        let shim = scope.spawn(move || {
            namespace::unshare(flag::MOUNT).unwrap();
            rustix::mount::mount_change(
                "/",
                MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
            )
            .unwrap();
            ready.send(()).unwrap();
            gone.recv().unwrap();
            fs_err::read_to_string("/proc/thread-self/mountinfo").unwrap()
        });
        wait.recv().unwrap();
        netns::remove(&path).unwrap();
        go.send(()).unwrap();
        assert!(!shim.join().unwrap().contains("/netns/gggg"));
    });
}

#[test]
fn packets_leave_with_the_hosts_address_and_nothing_comes_in() {
    let Some(host) = Host::new() else { return };
    let bridge = Bridge::ensure(&BridgeConfig::default()).unwrap();
    // Another bridge plays the world outside: its endpoint knows no route to containers but by us.
    let world = Bridge::ensure(&BridgeConfig {
        name: "world0".to_owned(),
        subnet: Some("10.77.0.0/24".parse().unwrap()),
        ..BridgeConfig::default()
    })
    .unwrap();
    match firewall::ensure(bridge.subnet, &bridge.name) {
        Err(hull_network::Error::NftMissing) => return eprintln!("skipped: no nft"),
        other => other.unwrap(),
    }
    firewall::ensure(bridge.subnet, &bridge.name).unwrap();

    let outside = host.endpoint("0001", &world, Ipv4Addr::new(10, 77, 0, 2));
    let container = host.endpoint("0002", &bridge, Ipv4Addr::new(172, 17, 0, 2));
    listen_in(&outside.netns, 80);
    listen_in(&container.netns, 80);
    let seen = inside(&container.netns, || ask(outside.address, 80).unwrap());
    assert_eq!(seen, "10.77.0.1");
    let refused = inside(&outside.netns, || {
        let to = SocketAddr::from((container.address, 80));
        TcpStream::connect_timeout(&to, Duration::from_millis(200)).is_err()
    });
    assert!(refused, "a container was reached from outside");
    firewall::remove(&bridge.name).unwrap();
    firewall::remove_table().unwrap();
}

#[test]
fn a_device_that_is_no_bridge_is_left_alone() {
    let Some(_host) = Host::new() else { return };
    let config = BridgeConfig {
        name: "lo".to_owned(),
        ..BridgeConfig::default()
    };
    let error = Bridge::ensure(&config).unwrap_err();
    assert!(
        matches!(error, hull_network::Error::NotABridge { .. }),
        "{error}"
    );
    let config = BridgeConfig {
        name: "a\"; flush ruleset".to_owned(),
        ..BridgeConfig::default()
    };
    assert!(matches!(
        Bridge::ensure(&config),
        Err(hull_network::Error::Invalid(_))
    ));
}

/// Not a promise, but a number to look at: `cargo test -p hull-network -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn how_long_it_takes() {
    let Some(host) = Host::new() else { return };
    let bridge = Bridge::ensure(&BridgeConfig::default()).unwrap();
    let mut all: Vec<[Duration; 4]> = Vec::new();
    for round in 0..50 {
        let id = format!("{round:064x}");
        let path = host.namespaces().join(&id);
        let start = Instant::now();
        netns::create(&path).unwrap();
        let created = start.elapsed();
        let endpoint = Endpoint {
            id: id.clone(),
            netns: path.clone(),
            address: Ipv4Addr::new(172, 17, 0, 2),
            gateway: Some(bridge.gateway),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            ifname: "eth0".to_owned(),
        };
        let start = Instant::now();
        connect(&bridge, &endpoint).unwrap();
        let connected = start.elapsed();
        let start = Instant::now();
        if round % 2 == 0 {
            disconnect(&id).unwrap();
        }
        let disconnected = start.elapsed();
        let start = Instant::now();
        dismantle(&id, &path).unwrap();
        all.push([created, connected, disconnected, start.elapsed()]);
    }
    for (n, what) in ["create", "connect", "disconnect (every other)", "dismantle"]
        .iter()
        .enumerate()
    {
        let mut times: Vec<_> = all.iter().map(|times| times[n]).collect();
        times.sort();
        eprintln!("{what}: median {:?}, most {:?}", times[25], times[49]);
    }
}
