//! A small internet of network namespaces:
//!
//! ```text
//!   outside ── router ──┬── host       where the daemon and its containers are
//!   198.51.100.2        │   192.0.2.2, 192.0.2.22
//!   2001:db8:2::2       │   2001:db8:1::2, 2001:db8:1::22
//!                       └── neighbour  on the host's own link
//!                           192.0.2.3, 2001:db8:1::3
//! ```
//!
//! The router and the neighbour send everything for private addresses to the host, as somebody would who tries to reach
//! containers past the host's published ports. The addresses are those of RFC 5737 and RFC 3849; nothing leaves the namespaces.

use crate::command::run;
use crate::host::Host;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of one place, first IPv4.
pub type Pair = [IpAddr; 2];

/// The host.
pub const HOST: Pair = pair([192, 0, 2, 2], 1, 2);
/// The host's second address on the same link.
pub const SECOND: Pair = pair([192, 0, 2, 22], 1, 0x22);
/// On the host's link.
pub const NEIGHBOUR: Pair = pair([192, 0, 2, 3], 1, 3);
/// Beyond the router.
pub const OUTSIDE: Pair = pair([198, 51, 100, 2], 2, 2);
/// Every place's own.
pub const LOOPBACK: Pair = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

const fn pair(four: [u8; 4], link: u16, last: u16) -> Pair {
    let [a, b, c, d] = four;
    [
        IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, link, 0, 0, 0, 0, last)),
    ]
}

/// The namespaces; dropping it ends them.
#[derive(Debug)]
pub struct Layout {
    /// Where the daemon runs.
    pub host: Host,
    /// Between the host's link and `outside`.
    pub router: Host,
    /// A client beyond the router.
    pub outside: Host,
    /// A client on the host's link. What it sends to loopback addresses goes to the host too.
    pub neighbour: Host,
}

impl Layout {
    /// Whether the program that makes the links is installed.
    #[must_use]
    pub fn is_available() -> bool {
        crate::can_run("ip of iproute2", crate::command::exists("ip"))
    }

    /// Makes the namespaces and the links between them.
    ///
    /// # Panics
    /// When the kernel refuses one.
    #[must_use]
    pub fn start() -> Self {
        let layout = Self {
            host: Host::start(),
            router: Host::start(),
            outside: Host::start(),
            neighbour: Host::start(),
        };
        // Addresses are usable at once, and what crosses the router's bridge is nobody's business.
        let quick = "for f in all default; do echo 0 >/proc/sys/net/ipv6/conf/$f/accept_dad; done; \
            for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $f ] || echo 0 >$f; done";
        for place in [
            &layout.host,
            &layout.router,
            &layout.outside,
            &layout.neighbour,
        ] {
            shell(place, quick);
        }
        layout.link();
        layout
    }

    fn link(&self) {
        let id = |host: &Host| host.pid();
        let (host, outside, neighbour) = (id(&self.host), id(&self.outside), id(&self.neighbour));
        ip(
            &self.router,
            &format!(
                "link add link0 type bridge
                link add to-host type veth peer name eth0 netns {host}
                link add to-neighbour type veth peer name eth0 netns {neighbour}
                link add to-outside type veth peer name eth0 netns {outside}
                link set to-host master link0 up
                link set to-neighbour master link0 up
                link set link0 up
                link set to-outside up
                address add 192.0.2.1/24 dev link0
                address add 2001:db8:1::1/64 dev link0 nodad
                address add 198.51.100.1/24 dev to-outside
                address add 2001:db8:2::1/64 dev to-outside nodad
                {PRIVATE}"
            ),
        );
        shell(
            &self.router,
            "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding",
        );
        ip(
            &self.host,
            "link set eth0 up
            address add 192.0.2.2/24 dev eth0
            address add 192.0.2.22/24 dev eth0
            address add 2001:db8:1::22/64 dev eth0 nodad preferred_lft 0
            address add 2001:db8:1::2/64 dev eth0 nodad
            route add default via 192.0.2.1
            route add default via 2001:db8:1::1",
        );
        ip(
            &self.outside,
            "link set eth0 up
            address add 198.51.100.2/24 dev eth0
            address add 2001:db8:2::2/64 dev eth0 nodad
            route add default via 198.51.100.1
            route add default via 2001:db8:2::1",
        );
        self.link_neighbour();
    }

    /// The neighbour has no loopback of its own: what it sends there, it sends to the host.
    fn link_neighbour(&self) {
        ip(
            &self.neighbour,
            &format!(
                "link set eth0 up
                address add 192.0.2.3/24 dev eth0
                address add 2001:db8:1::3/64 dev eth0 nodad
                route add default via 192.0.2.1
                route add default via 2001:db8:1::1
                {PRIVATE}
                address flush dev lo"
            ),
        );
        shell(
            &self.neighbour,
            "echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet; echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet",
        );
        ip(
            &self.neighbour,
            "route add 127.0.0.0/8 via 192.0.2.2 src 192.0.2.3
            route add ::1/128 via 2001:db8:1::2 src 2001:db8:1::3",
        );
    }
}

/// To where containers could be.
const PRIVATE: &str = "route add 10.0.0.0/8 via 192.0.2.2
                route add 172.16.0.0/12 via 192.0.2.2
                route add 192.168.0.0/16 via 192.0.2.2
                route add fc00::/7 via 2001:db8:1::2";

/// Runs lines of ip(8) in a place.
///
/// # Panics
/// When one fails.
pub fn ip(place: &Host, lines: &str) {
    let lines: String = lines
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let _ = run(place.command("ip").args(["-batch", "-"]), lines.as_bytes()).ok();
}

fn shell(place: &Host, script: &str) {
    let _ = run(place.command("sh").args(["-euc", script]), &[]).ok();
}
