//! The firewall with real packets: a host, containers on bridges, a router and a machine outside, each a
//! network namespace of the test's own.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "tests"
)]

use hull_linux::namespace::{self, flag};
use hull_linux::nftables::{Batch, Chain, Family, Hook, Policy, Rule, Socket, Table};
use hull_network::firewall::explain::{Answer, Source, Way};
use hull_network::model::{BridgeOptions, GatewayMode, Protocol, Publication};
use hull_network::{Firewall, FirewallOptions, NetworkRules};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// Long enough for a machine under load; what shall not come is waited for less.
const PATIENCE: Duration = Duration::from_secs(10);
const REFUSAL: Duration = Duration::from_millis(300);

/// A network namespace.
struct Space(File);

impl Space {
    fn current() -> Self {
        let mut options = std::fs::OpenOptions::new();
        Self(options.read(true).open("/proc/thread-self/ns/net").unwrap())
    }

    fn new() -> Self {
        std::thread::scope(|scope| {
            let work = || {
                namespace::unshare(flag::NETWORK).unwrap();
                namespace::bring_up_loopback().unwrap();
                set("net/ipv6/conf/all/accept_dad", "0");
                set("net/ipv6/conf/default/accept_dad", "0");
                Self::current()
            };
            scope.spawn(work).join().unwrap()
        })
    }

    fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            namespace::join(self.0.as_fd(), flag::NETWORK).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    fn run(&self, script: &str) {
        self.enter(|| {
            for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
                let output = Command::new("ip").args(line.split(' ')).output().unwrap();
                assert!(output.status.success(), "ip {line}: {output:?}");
            }
        });
    }

    fn set(&self, name: &str, value: &str) {
        self.enter(|| set(name, value));
    }
}

fn set(name: &str, value: &str) {
    let path = format!("/proc/sys/{name}");
    fs_err::write(path, value).unwrap();
}

/// ```text
///  a, b ── hull0 172.30.1.1 ┐                  198.51.100.0/24
///  c    ── hull1 172.30.2.1 ┴ host ── router ── outside
///                    192.0.2.1   .2   .1          .2
/// ```
/// and the same with IPv6: fd30:1::, fd30:2::, fdc0::, fdc6::
struct Stage {
    host: Space,
    router: Space,
    outside: Space,
    a: Space,
    b: Space,
    c: Space,
    firewall: Firewall,
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn possible() -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return false;
    }
    if Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: no ip program");
        return false;
    }
    true
}

impl Stage {
    fn new() -> Option<Self> {
        if !possible() {
            return None;
        }
        let [host, router, outside, a, b, c] = std::array::from_fn(|_| Space::new());
        for (bridge, n) in [("hull0", 1), ("hull1", 2)] {
            host.run(&format!(
                "link add {bridge} type bridge
                 addr add 172.30.{n}.1/24 dev {bridge}
                 addr add fd30:{n}::1/64 dev {bridge} nodad
                 link set {bridge} up"
            ));
        }
        for (space, n, bridge, last) in [
            (&a, 1, "hull0", 2),
            (&b, 1, "hull0", 3),
            (&c, 2, "hull1", 2),
        ] {
            let path = space.path();
            host.run(&format!(
                "link add v{n}{last} type veth peer name eth0 netns {path}
                 link set v{n}{last} master {bridge} up
                 link set dev v{n}{last} type bridge_slave hairpin on"
            ));
            space.run(&format!(
                "addr add 172.30.{n}.{last}/24 dev eth0
                 addr add fd30:{n}::{last}/64 dev eth0 nodad
                 link set eth0 up
                 route add default via 172.30.{n}.1
                 -6 route add default via fd30:{n}::1"
            ));
        }
        Self::connect(&host, &router, &outside);
        let firewall = host.enter(|| Firewall::open(FirewallOptions::default()).unwrap());
        Some(Self {
            host,
            router,
            outside,
            a,
            b,
            c,
            firewall,
        })
    }

    fn connect(host: &Space, router: &Space, outside: &Space) {
        host.run(&format!(
            "link add up0 type veth peer name down0 netns {}",
            router.path()
        ));
        router.run(&format!(
            "link add wide0 type veth peer name eth0 netns {}",
            outside.path()
        ));
        host.run(
            "addr add 192.0.2.1/24 dev up0
             addr add fdc0::1/64 dev up0 nodad
             link set up0 up
             route add default via 192.0.2.2
             -6 route add default via fdc0::2",
        );
        router.run(
            "addr add 192.0.2.2/24 dev down0
             addr add fdc0::2/64 dev down0 nodad
             addr add 198.51.100.1/24 dev wide0
             addr add fdc6::1/64 dev wide0 nodad
             link set down0 up
             link set wide0 up
             route add 172.30.0.0/16 via 192.0.2.1
             -6 route add fd30::/16 via fdc0::1",
        );
        outside.run(
            "addr add 198.51.100.2/24 dev eth0
             addr add fdc6::2/64 dev eth0 nodad
             link set eth0 up
             route add default via 198.51.100.1
             -6 route add default via fdc6::1",
        );
        for space in [host, router] {
            space.set("net/ipv4/ip_forward", "1");
            space.set("net/ipv6/conf/all/forwarding", "1");
        }
    }

    /// Both settings of br_netfilter, where the kernel has it.
    fn with_bridge_netfilter(self, on: bool) -> Self {
        self.host.enter(|| {
            for name in ["iptables", "ip6tables"] {
                let path = format!("/proc/sys/net/bridge/bridge-nf-call-{name}");
                if fs_err::write(path, if on { "1" } else { "0" }).is_err() {
                    eprintln!("skipped: br_netfilter");
                }
            }
        });
        self
    }

    fn networks(&self) -> Vec<NetworkRules> {
        vec![network("hull0", 1), network("hull1", 2)]
    }
}

fn network(device: &str, n: u8) -> NetworkRules {
    NetworkRules {
        id: format!("id-{device}"),
        device: device.to_owned(),
        subnets: vec![
            format!("172.30.{n}.0/24").parse().unwrap(),
            format!("fd30:{n}::/64").parse().unwrap(),
        ],
        internal: false,
        options: BridgeOptions::new(device),
    }
}

fn published(
    protocol: Protocol,
    host: &str,
    ports: (u16, u16),
    target: &str,
    port: u16,
) -> Publication {
    let target = address(target);
    Publication {
        network: format!(
            "id-hull{}",
            if target.to_string().contains("30.1") || target.to_string().contains("30:1") {
                0
            } else {
                1
            }
        ),
        protocol,
        host: Some(address(host)),
        host_ports: ports.0..=ports.1,
        target,
        target_port: port,
        host_firewall: false,
    }
}

/// Who asks is told the address that it is seen as; lives as long as the test.
fn serve(space: &Space, at: &str) {
    let at: SocketAddr = at.parse().unwrap();
    let (tcp, udp) = space.enter(|| (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap()));
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = tcp.accept() {
            let _ = stream.write_all(from.ip().to_string().as_bytes());
        }
    });
    std::thread::spawn(move || {
        while let Ok((_, from)) = udp.recv_from(&mut [0; 16]) {
            let _ = udp.send_to(from.ip().to_string().as_bytes(), from);
        }
    });
}

fn tcp(to: SocketAddr, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
    let mut seen = String::new();
    stream.read_to_string(&mut seen).ok()?;
    Some(seen)
}

fn udp(to: SocketAddr, patience: Duration) -> Option<String> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.connect(to).ok()?;
    socket.send(b"?").ok()?;
    let mut seen = [0; 64];
    let length = socket.recv(&mut seen).ok()?;
    Some(String::from_utf8_lossy(&seen[..length]).into_owned())
}

impl Space {
    /// Reaches `to` by TCP and UDP, and is seen as `seen`.
    #[track_caller]
    fn reaches(&self, to: &str, seen: &str) {
        let to: SocketAddr = to.parse().unwrap();
        assert_eq!(
            self.enter(|| tcp(to, PATIENCE)).as_deref(),
            Some(seen),
            "tcp {to}"
        );
        assert_eq!(
            self.enter(|| udp(to, PATIENCE)).as_deref(),
            Some(seen),
            "udp {to}"
        );
    }

    #[track_caller]
    fn does_not_reach(&self, to: &str) {
        let to: SocketAddr = to.parse().unwrap();
        assert_eq!(self.enter(|| tcp(to, REFUSAL)), None, "tcp {to}");
        assert_eq!(self.enter(|| udp(to, REFUSAL)), None, "udp {to}");
    }
}

/// The same ports of TCP and UDP.
fn both(host: &str, ports: (u16, u16), target: &str, port: u16) -> Vec<Publication> {
    [Protocol::Tcp, Protocol::Udp]
        .map(|protocol| published(protocol, host, ports, target, port))
        .to_vec()
}

fn published_ports_are_reached_from_everywhere(bridge_netfilter: bool) {
    let Some(stage) = Stage::new() else { return };
    let stage = stage.with_bridge_netfilter(bridge_netfilter);
    for at in [
        "172.30.1.2:80",
        "[fd30:1::2]:80",
        "172.30.1.2:9005",
        "172.30.1.2:81",
    ] {
        serve(&stage.a, at);
    }
    stage
        .firewall
        .replace(stage.networks(), Vec::new())
        .unwrap();
    stage.host.does_not_reach("192.0.2.1:8080");
    let publications: Vec<_> = [
        both("0.0.0.0", (8080, 8080), "172.30.1.2", 80),
        both("::", (8080, 8080), "fd30:1::2", 80),
        both("0.0.0.0", (9000, 9010), "172.30.1.2", 9000),
        both("127.0.0.1", (8081, 8081), "172.30.1.2", 81),
        both("192.0.2.1", (7000, 7003), "172.30.1.2", 78),
    ]
    .concat();
    stage.firewall.publish("a", &publications).unwrap();

    // From outside: the real address.
    stage.outside.reaches("192.0.2.1:8080", "198.51.100.2");
    stage.outside.reaches("[fdc0::1]:8080", "fdc6::2");
    stage.outside.reaches("192.0.2.1:9005", "198.51.100.2");
    stage.outside.reaches("192.0.2.1:7002", "198.51.100.2");
    stage.outside.does_not_reach("192.0.2.1:8081");
    // From the host: its own addresses, loopback.
    stage.host.reaches("192.0.2.1:8080", "192.0.2.1");
    stage.host.reaches("[fdc0::1]:8080", "fdc0::1");
    stage.host.reaches("127.0.0.1:8080", "172.30.1.1");
    stage.host.reaches("127.0.0.1:9005", "172.30.1.1");
    stage.host.reaches("127.0.0.1:8081", "172.30.1.1");
    stage.host.reaches("172.30.1.1:8080", "172.30.1.1");
    stage.host.does_not_reach("192.0.2.1:8081");
    // Refused, not lost: programs then try 127.0.0.1.
    let refused = stage
        .host
        .enter(|| TcpStream::connect("[::1]:8080").unwrap_err());
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    // From the network itself, the container too: by way of the host.
    for from in [&stage.a, &stage.b] {
        from.reaches("192.0.2.1:8080", "172.30.1.1");
        from.reaches("172.30.1.1:8080", "172.30.1.1");
        from.reaches("[fdc0::1]:8080", "fd30:1::1");
    }
    // Other networks take the way by the host, too, and no other.
    stage.c.reaches("192.0.2.1:8080", "172.30.1.1");
    stage.c.does_not_reach("172.30.1.2:80");

    stage.firewall.unpublish("a").unwrap();
    stage.outside.does_not_reach("192.0.2.1:8080");
    stage.host.does_not_reach("127.0.0.1:8080");
    stage.b.reaches("172.30.1.2:80", "172.30.1.3");
}

#[test]
fn published_ports_are_reached_with_bridge_netfilter() {
    published_ports_are_reached_from_everywhere(true);
}

#[test]
fn published_ports_are_reached_without_bridge_netfilter() {
    published_ports_are_reached_from_everywhere(false);
}

#[test]
fn what_is_not_published_is_not_reached_from_outside() {
    let Some(stage) = Stage::new() else { return };
    for at in ["172.30.1.2:80", "[fd30:1::2]:80"] {
        serve(&stage.a, at);
    }
    for at in ["198.51.100.2:80", "[fdc6::2]:80"] {
        serve(&stage.outside, at);
    }
    serve(&stage.host, "192.0.2.1:80");
    stage
        .firewall
        .replace(stage.networks(), Vec::new())
        .unwrap();
    let publications = both("0.0.0.0", (8080, 8080), "172.30.1.2", 80);
    stage.firewall.publish("a", &publications).unwrap();
    for from in [&stage.outside, &stage.router, &stage.c] {
        // Published or not: the own address is for its own network.
        from.does_not_reach("172.30.1.2:80");
        from.does_not_reach("[fd30:1::2]:80");
    }
    // Out they get, with the host's address.
    stage.a.reaches("198.51.100.2:80", "192.0.2.1");
    stage.a.reaches("[fdc6::2]:80", "fdc0::1");
    stage.a.reaches("192.0.2.1:80", "172.30.1.2");
    // The bridge's own address is one of the host's.
    serve(&stage.host, "172.30.1.1:82");
    stage.c.reaches("172.30.1.1:82", "172.30.2.2");
    stage.host.reaches("172.30.1.2:80", "172.30.1.1");
}

#[test]
fn loopback_addresses_are_reached_from_the_loopback_device_alone() {
    let Some(stage) = Stage::new() else { return };
    serve(&stage.a, "172.30.1.2:80");
    serve(&stage.host, "127.0.0.1:85");
    stage
        .firewall
        .replace(stage.networks(), Vec::new())
        .unwrap();
    let publications = both("127.0.0.1", (8080, 8080), "172.30.1.2", 80);
    stage.firewall.publish("a", &publications).unwrap();
    // The worst host: it takes such packets from anywhere.
    stage.host.set("net/ipv4/conf/all/route_localnet", "1");
    for (from, by) in [(&stage.router, "192.0.2.1"), (&stage.b, "172.30.1.1")] {
        from.set("net/ipv4/conf/all/route_localnet", "1");
        from.run(&format!(
            "route del local 127.0.0.0/8 dev lo table local\nroute add 127.0.0.0/8 via {by}"
        ));
        from.run("route flush table local 127.0.0.1");
        from.does_not_reach("127.0.0.1:8080");
    }
    stage.b.does_not_reach("127.0.0.1:85");
    stage.host.reaches("127.0.0.1:8080", "172.30.1.1");
}

#[test]
fn gateway_modes_internal_networks_and_icc() {
    let Some(stage) = Stage::new() else { return };
    for at in ["172.30.1.2:80", "172.30.1.2:81", "[fd30:1::2]:80"] {
        serve(&stage.a, at);
    }
    serve(&stage.outside, "198.51.100.2:80");
    let change = |change: &dyn Fn(&mut NetworkRules)| {
        let mut rules = network("hull0", 1);
        change(&mut rules);
        stage.firewall.add_network(rules).unwrap();
    };
    stage
        .firewall
        .replace(stage.networks(), Vec::new())
        .unwrap();

    change(&|rules| {
        rules.options.gateway_mode = GatewayMode::Routed;
        rules.options.gateway_mode6 = GatewayMode::Routed;
    });
    let open = |protocol, target: &str| Publication {
        host: None,
        ..published(protocol, "0.0.0.0", (80, 80), target, 80)
    };
    let opened = [
        open(Protocol::Tcp, "172.30.1.2"),
        open(Protocol::Udp, "172.30.1.2"),
        open(Protocol::Tcp, "fd30:1::2"),
        open(Protocol::Udp, "fd30:1::2"),
    ];
    stage.firewall.publish("a", &opened).unwrap();
    stage.outside.reaches("172.30.1.2:80", "198.51.100.2");
    stage.outside.reaches("[fd30:1::2]:80", "fdc6::2");
    stage.outside.does_not_reach("172.30.1.2:81");
    stage.c.reaches("172.30.1.2:80", "172.30.1.1");
    stage.a.reaches("198.51.100.2:80", "172.30.1.2");
    stage.firewall.unpublish("a").unwrap();
    stage.outside.does_not_reach("172.30.1.2:80");

    change(&|rules| rules.options.gateway_mode = GatewayMode::NatUnprotected);
    stage.outside.reaches("172.30.1.2:81", "198.51.100.2");
    stage.c.does_not_reach("172.30.1.2:81");
    stage.a.reaches("198.51.100.2:80", "192.0.2.1");

    change(&|rules| {
        rules.options.trusted_interfaces = vec!["up0".to_owned()];
        rules.options.source = vec![address("192.0.2.77")];
    });
    let publications = both("0.0.0.0", (8080, 8080), "172.30.1.2", 80);
    stage.firewall.publish("a", &publications).unwrap();
    stage.outside.reaches("172.30.1.2:80", "198.51.100.2");
    stage.outside.does_not_reach("172.30.1.2:81");
    stage.host.run("addr add 192.0.2.77/24 dev up0");
    stage.a.reaches("198.51.100.2:80", "192.0.2.77");

    change(&|rules| rules.options.masquerade = false);
    stage.a.reaches("198.51.100.2:80", "172.30.1.2");

    // Answers come to the container's own address now; new connections only over a trusted device.
    for (trusted, reached) in [("up0", true), ("other0", false)] {
        change(&|rules| {
            rules.options.masquerade = false;
            rules.options.trusted_interfaces = vec![trusted.to_owned()];
        });
        stage.firewall.publish("a", &publications).unwrap();
        stage.a.reaches("198.51.100.2:80", "172.30.1.2");
        match reached {
            true => stage.outside.reaches("172.30.1.2:80", "198.51.100.2"),
            false => stage.outside.does_not_reach("172.30.1.2:80"),
        }
    }

    change(&|rules| rules.internal = true);
    stage.a.does_not_reach("198.51.100.2:80");
    stage.outside.does_not_reach("172.30.1.2:80");
    stage.c.does_not_reach("172.30.1.2:80");
    stage.host.reaches("172.30.1.2:80", "172.30.1.1");
    stage.b.reaches("172.30.1.2:80", "172.30.1.3");

    change(&|rules| rules.options.icc = false);
    let isolated = stage.with_bridge_netfilter(true);
    isolated.firewall.publish("a", &publications).unwrap();
    isolated.b.reaches("172.30.1.1:8080", "172.30.1.1");
}

#[test]
fn a_bridge_carries_loopback_packets_only_for_published_ports() {
    let Some(stage) = Stage::new() else { return };
    let on = || {
        let read = |bridge| {
            let path = format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet");
            stage
                .host
                .enter(|| fs_err::read_to_string(path).unwrap() == "1\n")
        };
        (read("hull0"), read("hull1"))
    };
    let at = |host: &str, port| {
        vec![published(
            Protocol::Tcp,
            host,
            (port, port),
            "172.30.1.2",
            80,
        )]
    };
    stage.firewall.replace(stage.networks(), vec![]).unwrap();
    assert_eq!(on(), (false, false));
    stage.firewall.publish("a", &at("192.0.2.1", 8080)).unwrap();
    assert_eq!(on(), (false, false));
    stage.firewall.publish("a", &at("0.0.0.0", 8080)).unwrap();
    stage.firewall.publish("b", &at("127.0.0.1", 8081)).unwrap();
    assert_eq!(on(), (true, false));
    stage.firewall.unpublish("a").unwrap();
    assert_eq!(on(), (true, false));
    stage.firewall.unpublish("b").unwrap();
    assert_eq!(on(), (false, false));
    // At a daemon's start the ports are there first.
    let all = vec![("a".to_owned(), at("0.0.0.0", 8080))];
    stage.firewall.replace(Vec::new(), all).unwrap();
    assert_eq!(on(), (false, false));
    stage.firewall.add_network(network("hull0", 1)).unwrap();
    assert_eq!(on(), (true, false));
    let mut rules = network("hull0", 1);
    rules.internal = true;
    stage.firewall.add_network(rules).unwrap();
    assert_eq!(on(), (false, false));
}

#[test]
fn ports_of_another_owner_are_refused() {
    let Some(stage) = Stage::new() else { return };
    stage.firewall.replace(stage.networks(), vec![]).unwrap();
    let at = |host: &str, ports, target: &str, port| {
        vec![published(Protocol::Tcp, host, ports, target, port)]
    };
    let long = at("0.0.0.0", (8000, 8599), "172.30.1.2", 8000);
    let publish = |owner: &str, all: &[Publication]| stage.firewall.publish(owner, all);
    publish("a", &long).unwrap();
    publish("a", &long).unwrap();
    for host in ["0.0.0.0", "192.0.2.1"] {
        let error = publish("b", &at(host, (8590, 8590), "172.30.1.3", 80)).unwrap_err();
        let hull_network::Error::PortInUse { port, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(port, 8590);
    }
    publish("b", &at("::", (8590, 8590), "fd30:1::3", 80)).unwrap();
    publish("b", &at("0.0.0.0", (8600, 8600), "172.30.1.3", 80)).unwrap();
    let udp = published(Protocol::Udp, "0.0.0.0", (8590, 8590), "172.30.1.3", 80);
    publish("b", &[udp]).unwrap();
    // The other way round.
    publish("a", &[]).unwrap();
    publish("b", &at("192.0.2.1", (8590, 8590), "172.30.1.3", 80)).unwrap();
    assert!(publish("a", &long).is_err());
    // Within one owner: what agrees is no contradiction.
    publish("b", &[]).unwrap();
    let inner = at("0.0.0.0", (8100, 8100), "172.30.1.2", 8100);
    publish("a", &[long.clone(), inner].concat()).unwrap();
    let other = at("192.0.2.1", (8100, 8100), "172.30.1.2", 80);
    assert!(publish("a", &[long, other].concat()).is_err());
}

#[test]
fn who_gets_an_address_gets_none_of_its_connections() {
    let Some(stage) = Stage::new() else { return };
    stage.firewall.replace(stage.networks(), vec![]).unwrap();
    let server = stage
        .outside
        .enter(|| TcpListener::bind("198.51.100.2:80").unwrap());
    // One given back, one of which nobody knows after a start, one that is in use.
    let mut pairs: Vec<_> = [(&stage.a, true), (&stage.b, true), (&stage.c, false)]
        .map(|(space, forgotten)| {
            let client = space.enter(|| TcpStream::connect("198.51.100.2:80").unwrap());
            (client, server.accept().unwrap().0, forgotten)
        })
        .into();
    stage.firewall.retire(&[address("172.30.1.2")]);
    let subnets = vec!["172.30.0.0/16".parse().unwrap()];
    let used = [address("172.30.2.2")].into();
    stage.firewall.retire_others(subnets, used);
    stage
        .firewall
        .settle(&[address("172.30.1.2"), address("172.30.1.3")]);
    for (client, server, forgotten) in &mut pairs {
        server.write_all(b"!").unwrap();
        let patience = if *forgotten { REFUSAL } else { PATIENCE };
        client.set_read_timeout(Some(patience)).unwrap();
        assert_eq!(client.read_exact(&mut [0]).is_err(), *forgotten);
    }
    // Nothing to wait for.
    stage
        .firewall
        .settle(&[address("172.30.1.2"), address("172.30.2.2")]);
}

#[test]
fn a_flow_of_udp_goes_where_the_port_leads_now() {
    let Some(stage) = Stage::new() else { return };
    serve(&stage.a, "172.30.1.2:80");
    serve(&stage.b, "172.30.1.3:80");
    stage
        .firewall
        .replace(stage.networks(), Vec::new())
        .unwrap();
    let socket = stage
        .outside
        .enter(|| UdpSocket::bind("198.51.100.2:5555").unwrap());
    socket.connect("192.0.2.1:8080").unwrap();
    let ask = |wanted: bool| {
        socket
            .set_read_timeout(Some(if wanted { PATIENCE } else { REFUSAL }))
            .unwrap();
        // An earlier packet's refusal may be told first.
        let asked = (0..3).find_map(|_| {
            socket.send(b"?").ok()?;
            socket.recv(&mut [0; 64]).ok()
        });
        assert_eq!(asked.is_some(), wanted);
    };
    let udp = |target: &str| {
        [published(
            Protocol::Udp,
            "0.0.0.0",
            (8080, 8080),
            target,
            80,
        )]
    };
    ask(false);
    stage.firewall.publish("a", &udp("172.30.1.2")).unwrap();
    ask(true);
    stage.firewall.publish("a", &udp("172.30.1.3")).unwrap();
    stage.a.run("link set eth0 down");
    ask(true);
    stage.firewall.unpublish("a").unwrap();
    ask(false);
}

#[test]
fn what_users_put_into_their_chain_stays_and_counts() {
    let Some(stage) = Stage::new() else { return };
    serve(&stage.a, "172.30.1.2:80");
    stage
        .firewall
        .replace(stage.networks(), Vec::new())
        .unwrap();
    let publications = both("0.0.0.0", (8080, 8080), "172.30.1.2", 80);
    stage.firewall.publish("a", &publications).unwrap();
    let table = Table::new(Family::Inet, "hull");
    let mut socket = stage.host.enter(|| Socket::open().unwrap());
    let mut batch = Batch::default();
    batch.add_rule(&table, "hull-user", &Rule::new().in_device("up0").drop());
    socket.commit(batch).unwrap();
    stage.outside.does_not_reach("192.0.2.1:8080");
    stage.host.reaches("127.0.0.1:8080", "172.30.1.1");
    let all = vec![("a".to_owned(), publications)];
    stage.firewall.replace(stage.networks(), all).unwrap();
    stage.outside.does_not_reach("192.0.2.1:8080");
    stage.host.reaches("127.0.0.1:8080", "172.30.1.1");
}

#[test]
fn the_table_comes_back_when_others_remove_it() {
    let Some(stage) = Stage::new() else { return };
    serve(&stage.a, "172.30.1.2:80");
    stage
        .firewall
        .replace(stage.networks(), Vec::new())
        .unwrap();
    let (told, news) = mpsc::channel();
    let keeper = stage
        .host
        .enter(|| stage.firewall.keep(move || told.send(()).unwrap()).unwrap());
    let publications = both("0.0.0.0", (8080, 8080), "172.30.1.2", 80);
    stage.firewall.publish("a", &publications).unwrap();
    stage.firewall.unpublish("a").unwrap();
    stage.firewall.publish("a", &publications).unwrap();
    // Our own changes are none of its business.
    assert!(news.recv_timeout(REFUSAL).is_err());

    let table = Table::new(Family::Inet, "hull");
    let mut socket = stage.host.enter(|| Socket::open().unwrap());
    let harm: [&dyn Fn(&mut Batch); 4] = [
        &|batch| batch.remove_table(&table),
        &|batch| batch.flush_chain(&table, "forward"),
        &|batch| batch.flush_set(&table, "any4"),
        &|batch| {
            batch.flush_chain(&table, "forward");
            batch.delete_chain(&table, "forward");
        },
    ];
    for harm in harm {
        let mut batch = Batch::default();
        harm(&mut batch);
        socket.commit(batch).unwrap();
        news.recv_timeout(PATIENCE).unwrap();
        stage.outside.reaches("192.0.2.1:8080", "198.51.100.2");
    }
    drop(keeper);
    let mut batch = Batch::default();
    batch.remove_table(&table);
    socket.commit(batch).unwrap();
    assert!(news.recv_timeout(REFUSAL).is_err());
    // The next change finds it gone.
    stage.firewall.publish("b", &[]).unwrap();
    stage.firewall.unpublish("a").unwrap();
    stage.firewall.publish("a", &publications).unwrap();
    stage.outside.reaches("192.0.2.1:8080", "198.51.100.2");
}

#[test]
fn failures_change_nothing() {
    let Some(stage) = Stage::new() else { return };
    serve(&stage.a, "172.30.1.2:80");
    stage
        .firewall
        .replace(stage.networks(), Vec::new())
        .unwrap();
    let publications = both("0.0.0.0", (8080, 8080), "172.30.1.2", 80);
    stage.firewall.publish("a", &publications).unwrap();
    let taken = both("0.0.0.0", (8080, 8080), "172.30.1.3", 80);
    stage.firewall.publish("b", &taken).unwrap_err();
    stage.outside.reaches("192.0.2.1:8080", "198.51.100.2");
    stage.firewall.unpublish("b").unwrap();
    stage.outside.reaches("192.0.2.1:8080", "198.51.100.2");
    assert_eq!(stage.firewall.published().len(), 1);
}

/// Tries what an explanation says of one kind of client.
fn check_way(stage: &Stage, what: &str, way: &Way) {
    let v6 = way.endpoint.is_ipv6();
    let host = address(if v6 { "fdc0::1" } else { "192.0.2.1" });
    let own = SocketAddr::new(way.endpoint, 80);
    let published = SocketAddr::new(host, 8080);
    let loopback = address(if v6 { "::1" } else { "127.0.0.1" });
    let (space, tried) = match way.from {
        Source::SameNetwork => (&stage.b, vec![own]),
        Source::OtherNetwork => (&stage.c, vec![own, published]),
        Source::Host => (&stage.host, vec![own]),
        Source::Loopback => (&stage.host, vec![SocketAddr::new(loopback, 8080)]),
        Source::Outside => (&stage.outside, vec![published]),
        Source::OutsideDirect => (&stage.outside, vec![own]),
    };
    let try_tcp = |to: SocketAddr, patience| space.enter(|| tcp(to, patience)).is_some();
    match way.reachable {
        // There is no shim here, which would pass it on.
        Answer::Yes if v6 && way.from == Source::Loopback => {}
        Answer::Yes => {
            assert!(!way.at.is_empty(), "{what}: {way:?}");
            for place in &way.at {
                let ip = if place.ip().is_unspecified() {
                    host
                } else {
                    place.ip()
                };
                let to = SocketAddr::new(ip, place.port());
                assert!(try_tcp(to, PATIENCE), "{what}: {to}: {way:?}");
            }
        }
        Answer::No => {
            for to in tried {
                assert!(!try_tcp(to, REFUSAL), "{what}: {to}: {way:?}");
            }
        }
        Answer::Depends => {}
    }
}

/// What is said is what happens; the answers for IPv4, a letter for each source.
fn check(stage: &Stage, what: &str) -> String {
    let addresses = [address("172.30.1.2"), address("fd30:1::2")];
    let explained = stage
        .firewall
        .explain("id-hull0", &addresses, (Protocol::Tcp, 80))
        .unwrap()
        .unwrap();
    assert_eq!(explained.ways.len(), 12);
    std::thread::scope(|scope| {
        for way in &explained.ways {
            scope.spawn(move || check_way(stage, what, way));
        }
    });
    let letters = explained.ways[..6].iter().map(|way| match way.reachable {
        Answer::Yes => 'y',
        Answer::No => 'n',
        Answer::Depends => '?',
    });
    assert!(explained.lines().len() >= 14);
    letters.collect()
}

#[test]
fn what_is_explained_is_what_happens() {
    let Some(stage) = Stage::new() else { return };
    for at in ["172.30.1.2:80", "[fd30:1::2]:80"] {
        serve(&stage.a, at);
    }
    let nobody = stage.firewall.explain("id-none", &[], (Protocol::Tcp, 80));
    assert!(nobody.unwrap().is_none());
    let networks = || {
        stage
            .firewall
            .replace(stage.networks(), Vec::new())
            .unwrap()
    };
    let change = |change: &dyn Fn(&mut NetworkRules)| {
        let mut rules = network("hull0", 1);
        change(&mut rules);
        stage.firewall.add_network(rules).unwrap();
    };
    let everywhere = [
        both("0.0.0.0", (8080, 8080), "172.30.1.2", 80),
        both("::", (8080, 8080), "fd30:1::2", 80),
    ]
    .concat();
    let publish = |all: &[Publication]| stage.firewall.publish("a", all).unwrap();
    // Same network, other network, host, loopback, outside, outside directly.
    networks();
    assert_eq!(check(&stage, "not published"), "ynynnn");
    publish(&everywhere);
    assert_eq!(check(&stage, "published"), "yyyyyn");
    change(&|rules| rules.options.icc = false);
    assert_eq!(check(&stage, "without icc, published"), "yyyyyn");
    publish(&[]);
    assert_eq!(check(&stage, "without icc"), "nnynnn");
    change(&|rules| rules.internal = true);
    assert_eq!(check(&stage, "internal"), "ynynnn");
    change(&|rules| {
        rules.options.gateway_mode = GatewayMode::NatUnprotected;
        rules.options.gateway_mode6 = GatewayMode::NatUnprotected;
    });
    assert_eq!(check(&stage, "unprotected"), "ynynny");
    change(&|rules| {
        rules.options.gateway_mode = GatewayMode::Routed;
        rules.options.gateway_mode6 = GatewayMode::Routed;
    });
    assert_eq!(check(&stage, "routed"), "ynynnn");
    let open = |publication: &Publication| Publication {
        host: None,
        host_ports: 80..=80,
        ..publication.clone()
    };
    publish(&everywhere.iter().map(open).collect::<Vec<_>>());
    assert_eq!(check(&stage, "routed, published"), "yyynny");
    networks();
    publish(&both("127.0.0.1", (8080, 8080), "172.30.1.2", 80));
    assert_eq!(check(&stage, "at loopback only"), "ynyynn");
    publish(&both("192.0.2.1", (8080, 8080), "172.30.1.2", 80));
    assert_eq!(check(&stage, "at one address"), "yyynyn");

    // Others' tables: what cannot be opened, and nobody knows.
    let table = Table::new(Family::Inet, "theirs");
    let drops = Chain {
        policy: Policy::Drop,
        ..Chain::filter("forward", Hook::Forward, 10)
    };
    let mut batch = Batch::default();
    batch.add_table(&table);
    batch.add_chain(&table, &drops);
    let mut socket = stage.host.enter(|| Socket::open().unwrap());
    socket.commit(batch).unwrap();
    publish(&everywhere);
    for bridged in ["1", "0"] {
        let set = |name| {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{name}");
            fs_err::write(path, bridged).is_ok()
        };
        let is_set = stage.host.enter(|| ["iptables", "ip6tables"].map(set));
        if is_set != [true, true] && bridged == "1" {
            eprintln!("skipped: br_netfilter");
            continue;
        }
        let expected = if bridged == "1" { "nnyynn" } else { "ynyynn" };
        let what = format!("others drop what is forwarded, within bridges: {bridged}");
        assert_eq!(check(&stage, &what), expected);
    }
    let mut batch = Batch::default();
    batch.add_rule(&table, "forward", &Rule::new().accept());
    socket.commit(batch).unwrap();
    assert_eq!(check(&stage, "others have rules"), "y?yy?n");
    let mut batch = Batch::default();
    batch.remove_table(&table);
    socket.commit(batch).unwrap();

    if stage
        .host
        .enter(hull_network::firewall::host::probe)
        .is_err()
    {
        eprintln!("skipped: the kernel cannot copy packets");
        return;
    }
    let by_host = |publication: &Publication| Publication {
        host_firewall: true,
        ..publication.clone()
    };
    publish(&everywhere.iter().map(by_host).collect::<Vec<_>>());
    assert_eq!(
        check(&stage, "by the host's rules, of which there are none"),
        "yyyyyn"
    );
}
