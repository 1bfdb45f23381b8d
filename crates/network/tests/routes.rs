//! Routes of the host: what is avoided, and what is told when it appears. Each test has a network
//! namespace of its own.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests"
)]

use hull_linux::namespace::{self, flag};
use hull_linux::netlink::Socket;
use hull_network::{
    HostNetworks, Overlap, RouteWatch, Watched, choose_subnet, default_pools, host_networks,
};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// Longer than any machine takes: a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Moves the calling thread into a network namespace of its own; false where that cannot be.
fn private_host() -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return false;
    }
    if Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: needs the ip program");
        return false;
    }
    namespace::unshare(flag::NETWORK).unwrap();
    Socket::open().unwrap().set_up("lo").unwrap();
    true
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status();
    assert!(status.unwrap().success(), "ip {arguments}");
}

#[test]
fn subnets_avoid_what_the_host_has() {
    if !private_host() {
        return;
    }
    ip("link add lan type bridge");
    ip("link set lan up");
    ip("address add 172.17.9.1/24 dev lan");
    ip("address add fd12::1/64 dev lan");
    ip("route add 172.18.0.0/16 via 172.17.9.2");
    ip("route add 172.19.5.0/24 dev lan table 52");
    ip("route add 0.0.0.0/1 via 172.17.9.2");
    ip("route add 128.0.0.0/1 via 172.17.9.2");
    let host = host_networks().unwrap();
    let near = |net: &str| host.near.contains(&net.parse().unwrap());
    assert!(near("172.17.9.0/24") && near("fd12::/64") && near("172.19.5.0/24"));
    assert_eq!(host.far, ["172.18.0.0/16".parse().unwrap()]);
    let pools = default_pools(&[], "").unwrap();
    let chosen = choose_subnet(&pools, false, &[], &host).unwrap();
    assert_eq!(chosen.to_string(), "172.20.0.0/16");
    let free = HostNetworks::default();
    let v6 = choose_subnet(&pools, true, &[], &free).unwrap();
    assert_eq!(v6.to_string(), "fd42:98fc:1c14::/64");
}

#[test]
fn routes_that_overlap_a_network_are_told() {
    if !private_host() {
        return;
    }
    for name in ["br-own", "vpn"] {
        ip(&format!("link add {name} type bridge"));
        ip(&format!("link set {name} up"));
    }
    ip("address add 10.9.0.1/16 dev br-own");
    ip("address add 10.200.0.1/24 dev vpn");
    ip("route add 10.9.7.0/24 dev vpn");
    let (tell, told) = mpsc::channel();
    let watch = RouteWatch::start(
        || {
            vec![Watched {
                network: "mine".to_owned(),
                device: "br-own".to_owned(),
                subnets: ["10.9.0.0/16", "fd09::/64"]
                    .map(|net| net.parse().unwrap())
                    .into(),
            }]
        },
        move |overlap: &Overlap| tell.send(overlap.clone()).unwrap(),
    )
    .unwrap();
    let next = || {
        let overlap = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(overlap.network, "mine");
        format!("{} {:?}", overlap.route, overlap.device)
    };
    let vpn = |net: &str| format!("{net} {:?}", Some("vpn"));
    // One that was there before.
    assert_eq!(next(), vpn("10.9.7.0/24"));
    // What does not overlap, and the network's own routes, are passed over.
    ip("route add 10.10.0.0/16 dev vpn");
    ip("route add 10.9.8.0/24 dev br-own");
    ip("route add 0.0.0.0/1 via 10.200.0.2");
    ip("route add 10.0.0.0/8 via 10.200.0.2 table 77");
    assert_eq!(next(), vpn("10.0.0.0/8"));
    ip("-6 route add fd09::/48 dev vpn");
    assert_eq!(next(), vpn("fd09::/48"));
    // What went and came again is told again.
    ip("route del 10.9.7.0/24 dev vpn");
    ip("route add 10.9.7.0/24 dev vpn");
    assert_eq!(next(), vpn("10.9.7.0/24"));
    drop(watch);
    assert!(told.recv().is_err());
}
