//! Ports that are published by the host's own rules: each test has a network and mount namespace of its
//! own as "host", and two more as "outside" and as container. Whoever is refused is told so at once:
//! nothing here waits for silence.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "tests"
)]

use hull_linux::namespace::{self, flag};
use hull_linux::netlink::Socket;
use hull_network::Error;
use hull_network::firewall::host;
use hull_network::model::{BridgeOptions, Protocol, Publication};
use hull_network::{Firewall, FirewallOptions, NetworkRules};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longer than any machine takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a line of a shell.
fn sh(line: &str) -> String {
    let output = Command::new("sh")
        .args(["-ec", line])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

/// Makes the host, the container at 172.30.0.2 and fd30::2, and outside at 192.0.2.9 and .10,
/// 2001:db8::9 and ::a. False where the test cannot be.
fn layout(programs: &[&str]) -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return false;
    }
    for program in programs.iter().chain(&["ip", "nft"]) {
        let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
            .iter()
            .any(|directory| Path::new(directory).join(program).exists());
        if !found {
            eprintln!("skipped: {program} is not installed");
            return false;
        }
    }
    namespace::unshare(flag::NETWORK | flag::MOUNT).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).unwrap();
    Socket::open().unwrap().set_up("lo").unwrap();
    match host::probe() {
        Ok(()) => {}
        Err(Error::HostFirewall { .. }) => {
            eprintln!("skipped: the kernel cannot copy packets");
            return false;
        }
        Err(error) => panic!("{error}"),
    }
    sh("ip netns add outside; ip netns add container
        for n in outside container; do ip -n $n link set lo up; done
        ip link add wan type veth peer name eth0 netns outside
        ip address add 192.0.2.1/24 dev wan; ip address add 2001:db8::1/64 dev wan nodad; ip link set wan up
        for a in 192.0.2.9/24 192.0.2.10/24; do ip -n outside address add $a dev eth0; done
        for a in 2001:db8::9/64 2001:db8::a/64; do ip -n outside address add $a dev eth0 nodad; done
        ip -n outside link set eth0 up
        ip link add br0 type bridge; ip link set br0 up
        ip address add 172.30.0.1/24 dev br0; ip address add fd30::1/64 dev br0 nodad
        ip link add port type veth peer name eth0 netns container; ip link set port master br0 up
        ip link set port type bridge_slave hairpin on
        ip -n container address add 172.30.0.2/24 dev eth0
        ip -n container address add fd30::2/64 dev eth0 nodad; ip -n container link set eth0 up
        ip -n container route add default via 172.30.0.1; ip -n container route add default via fd30::1
        echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
        echo 1 > /proc/sys/net/ipv4/conf/br0/route_localnet
        echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter");
    serve();
    true
}

/// Does something inside a namespace, in a thread of its own.
fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let path = format!("/run/netns/{name}");
    std::thread::scope(|scope| {
        scope
            .spawn(move || {
                let file = std::fs::OpenOptions::new().read(true).open(path).unwrap();
                namespace::join(file.as_fd(), flag::NETWORK).unwrap();
                work()
            })
            .join()
            .unwrap()
    })
}

/// In the container, port 80 tells everybody the address that they are seen as.
fn serve() {
    let (tcp, udp) = inside("container", || {
        (
            TcpListener::bind("[::]:80").unwrap(),
            UdpSocket::bind("[::]:80").unwrap(),
        )
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = tcp.accept() {
            let _ = stream.write_all(plain(from.ip()).as_bytes());
        }
    });
    std::thread::spawn(move || {
        let mut bytes = [0; 16];
        while let Ok((_, from)) = udp.recv_from(&mut bytes) {
            let _ = udp.send_to(plain(from.ip()).as_bytes(), from);
        }
    });
}

fn plain(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// What one is told, or how one is refused.
fn ask(protocol: Protocol, from: &str, to: &str) -> String {
    let to: SocketAddr = to.parse().unwrap();
    let unspecified: IpAddr = if to.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        [0; 16].into()
    };
    let from = if from.is_empty() {
        unspecified
    } else {
        from.parse().unwrap()
    };
    let answer = match protocol {
        Protocol::Udp => ask_udp(from, to),
        _ => ask_tcp(from, to),
    };
    answer.unwrap_or_else(|error| format!("refused: {:?}", error.kind()))
}

fn ask_tcp(from: IpAddr, to: SocketAddr) -> std::io::Result<String> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket(family, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Send,
        Some(PATIENCE),
    )?;
    connect(&socket, &to)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut seen = String::new();
    stream.read_to_string(&mut seen)?;
    Ok(seen)
}

fn ask_udp(from: IpAddr, to: SocketAddr) -> std::io::Result<String> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(to)?;
    socket.send(b"?")?;
    let mut bytes = [0; 64];
    let length = socket.recv(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn publication(protocol: Protocol, host: &str, port: u16) -> Publication {
    let host: IpAddr = host.parse().unwrap();
    Publication {
        network: "net".to_owned(),
        protocol,
        host: Some(host),
        host_ports: port..=port,
        target: if host.is_ipv4() {
            "172.30.0.2"
        } else {
            "fd30::2"
        }
        .parse()
        .unwrap(),
        target_port: 80,
        host_firewall: true,
    }
}

/// A firewall with the container's network.
fn firewall() -> Firewall {
    let firewall = Firewall::open(FirewallOptions::default()).unwrap();
    firewall.replace(vec![network()], Vec::new()).unwrap();
    firewall
}

fn network() -> NetworkRules {
    NetworkRules {
        id: "net".to_owned(),
        device: "br0".to_owned(),
        subnets: ["172.30.0.0/24", "fd30::/64"]
            .map(|net| net.parse().unwrap())
            .into(),
        internal: false,
        options: BridgeOptions::new("br0"),
    }
}

fn published() -> Vec<Publication> {
    let mut all = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        all.extend(["0.0.0.0", "::"].map(|host| publication(protocol, host, 8080)));
        all.push(publication(protocol, "192.0.2.1", 8081));
    }
    all
}

const REFUSED: &str = "refused: ConnectionRefused";

#[test]
fn plain_rules_decide_who_reaches_a_port() {
    if !layout(&[]) {
        return;
    }
    let firewall = firewall();
    firewall.publish("c", &published()).unwrap();
    let outside = |protocol, from: &'static str, to: &'static str| {
        inside("outside", move || ask(protocol, from, to))
    };
    let both = [Protocol::Tcp, Protocol::Udp];
    for protocol in both {
        assert_eq!(
            outside(protocol, "192.0.2.10", "192.0.2.1:8080"),
            "192.0.2.10"
        );
        assert_eq!(
            outside(protocol, "2001:db8::a", "[2001:db8::1]:8080"),
            "2001:db8::a"
        );
    }
    sh("nft -f - <<'END'
table inet mine {
  chain input {
    type filter hook input priority 0; policy accept;
    iifname lo accept
    ct state established,related accept
    meta l4proto 58 accept
    ip saddr 192.0.2.9 th dport { 8080, 8081 } accept
    ip saddr 172.30.0.0/24 tcp dport 8080 accept
    ip6 saddr 2001:db8::9 th dport 8080 accept
    meta l4proto tcp reject with tcp reset
    reject
  }
}
END");
    for protocol in both {
        assert_eq!(
            outside(protocol, "192.0.2.9", "192.0.2.1:8080"),
            "192.0.2.9"
        );
        assert_eq!(
            outside(protocol, "192.0.2.9", "192.0.2.1:8081"),
            "192.0.2.9"
        );
        assert_eq!(outside(protocol, "192.0.2.10", "192.0.2.1:8080"), REFUSED);
        assert_eq!(
            outside(protocol, "2001:db8::9", "[2001:db8::1]:8080"),
            "2001:db8::9"
        );
        assert_eq!(
            outside(protocol, "2001:db8::a", "[2001:db8::1]:8080"),
            REFUSED
        );
        // The host itself asks nobody; what it sends from the loopback device is seen as the
        // bridge's own address where our own table translates it.
        assert_eq!(ask(protocol, "", "192.0.2.1:8081"), "192.0.2.1");
        assert_eq!(ask(protocol, "", "[2001:db8::1]:8080"), "2001:db8::1");
    }
    // Containers ask the host as others do, and may be refused as well.
    let container = |protocol, to: &'static str| inside("container", move || ask(protocol, "", to));
    assert_eq!(container(Protocol::Tcp, "192.0.2.1:8080"), "172.30.0.1");
    assert_eq!(container(Protocol::Tcp, "192.0.2.1:8081"), REFUSED);
    assert_eq!(ask(Protocol::Tcp, "", "127.0.0.1:8080"), "172.30.0.1");
    sh("nft delete table inet mine");
    // Who flushes everything takes nothing away for long.
    let (tell, told) = std::sync::mpsc::channel();
    let _keeper = firewall.keep(move || tell.send(()).unwrap()).unwrap();
    for line in ["nft flush ruleset", "nft delete table ip hull-host"] {
        sh(line);
        // News of what was flushed may come after all is there again: then it is installed once more, and what is
        // told first is about that.
        loop {
            told.recv_timeout(PATIENCE).expect("it comes back");
            if outside(Protocol::Tcp, "192.0.2.9", "192.0.2.1:8080") == "192.0.2.9" {
                break;
            }
        }
    }
}

#[test]
fn nothing_is_left_without_ports() {
    if !layout(&[]) {
        return;
    }
    let firewall = firewall();
    firewall.publish("c", &published()).unwrap();
    firewall.publish("c", &published()[..1]).unwrap();
    let there = || sh("nft list tables; ip -o link show | grep fw0 || true");
    assert_eq!(there().matches("hull-host").count(), 2);
    // Another daemon finds what this one has left.
    let next = self::firewall();
    next.publish("c", &published()).unwrap();
    assert_eq!(
        inside("outside", || ask(Protocol::Tcp, "", "192.0.2.1:8080")),
        "192.0.2.9"
    );
    next.publish("c", &published()[..1]).unwrap();
    drop(self::firewall());
    assert!(!there().contains("host") && !there().contains("fw0"));
    assert_eq!(
        inside("outside", || ask(Protocol::Tcp, "", "192.0.2.1:8080")),
        REFUSED
    );
}

#[test]
fn ufw_decides_who_reaches_a_port() {
    if !layout(&["ufw", "iptables"]) || !sh("iptables -V").contains("nf_tables") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for path in ["/etc/ufw", "/lib/ufw", "/etc/default", "/var/lib/ufw"] {
        if Path::new(path).exists() {
            let copy = directory.path().join(path.replace('/', "-"));
            sh(&format!(
                "cp -a {path} {0}; mount --bind {0} {path}",
                copy.display()
            ));
        }
    }
    sh("ufw default reject incoming; ufw --force enable
        ufw allow proto tcp from 192.0.2.9 to any port 8080
        ufw allow proto udp from 192.0.2.9 to any port 8080
        ufw allow proto tcp from 2001:db8::9 to any port 8080");
    // It drops what is forwarded as well: our bridges are let through.
    let firewall = firewall();
    firewall.publish("c", &published()).unwrap();
    let outside = |protocol, from: &'static str, to: &'static str| {
        inside("outside", move || ask(protocol, from, to))
    };
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        assert_eq!(
            outside(protocol, "192.0.2.9", "192.0.2.1:8080"),
            "192.0.2.9"
        );
        assert_eq!(outside(protocol, "192.0.2.10", "192.0.2.1:8080"), REFUSED);
        assert_eq!(outside(protocol, "192.0.2.9", "192.0.2.1:8081"), REFUSED);
    }
    assert_eq!(
        outside(Protocol::Tcp, "2001:db8::9", "[2001:db8::1]:8080"),
        "2001:db8::9"
    );
    assert_eq!(
        outside(Protocol::Tcp, "2001:db8::a", "[2001:db8::1]:8080"),
        REFUSED
    );
    assert_eq!(
        outside(Protocol::Udp, "2001:db8::9", "[2001:db8::1]:8080"),
        REFUSED
    );
    sh("ufw delete allow proto tcp from 192.0.2.9 to any port 8080");
    assert_eq!(
        outside(Protocol::Tcp, "192.0.2.9", "192.0.2.1:8080"),
        REFUSED
    );
    drop(directory);
}
