//! Whatever the order of changes, the kernel's table is the one that is made at once from what shall be.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests"
)]

use hull_linux::namespace::{self, flag};
use hull_linux::nftables::{Family, FoundElement, Socket, Table};
use hull_network::model::{BridgeOptions, GatewayMode, Protocol, Publication};
use hull_network::{Firewall, FirewallOptions, NetworkRules};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone, Debug)]
enum Change {
    Add(NetworkRules),
    Remove(u8),
    Publish(u8, Vec<Publication>),
    Replace,
}

fn mode() -> impl Strategy<Value = GatewayMode> {
    prop_oneof![
        Just(GatewayMode::Nat),
        Just(GatewayMode::NatUnprotected),
        Just(GatewayMode::Routed),
    ]
}

fn network(n: u8) -> impl Strategy<Value = NetworkRules> {
    (
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        (mode(), mode()),
        (any::<bool>(), any::<bool>()),
    )
        .prop_map(
            move |((internal, icc, masquerade, masquerade6), modes, (source, trusted))| {
                NetworkRules {
                    id: n.to_string(),
                    device: format!("br-{n}"),
                    // Side by side: an interval ends where another begins.
                    subnets: vec![
                        format!("10.0.{n}.0/24").parse().unwrap(),
                        format!("fd00:0:0:{n}::/64").parse().unwrap(),
                    ],
                    internal,
                    options: BridgeOptions {
                        device: format!("br-{n}"),
                        mtu: None,
                        icc,
                        masquerade,
                        masquerade6,
                        gateway_mode: modes.0,
                        gateway_mode6: modes.1,
                        source: source
                            .then(|| "192.0.2.9".parse().unwrap())
                            .into_iter()
                            .collect(),
                        trusted_interfaces: trusted
                            .then(|| "eth0".to_owned())
                            .into_iter()
                            .collect(),
                        inhibit_ipv4: false,
                    },
                }
            },
        )
}

/// Owners have addresses of their own, but ask for each other's ports now and then.
fn publication(owner: u8) -> impl Strategy<Value = Publication> {
    (
        prop_oneof![
            Just(Protocol::Tcp),
            Just(Protocol::Udp),
            Just(Protocol::Sctp)
        ],
        (any::<bool>(), 0..3_u8),
        (0..40_u16, 0..8_u16),
        (any::<bool>(), 0..9_u8),
    )
        .prop_map(
            move |(protocol, (v6, host), (first, more), (same, other))| {
                let first =
                    1000 + if other == 0 {
                        0
                    } else {
                        u16::from(owner) * 100
                    } + first;
                let (any, one, target): (IpAddr, IpAddr, IpAddr) = match v6 {
                    true => (
                        "::".parse().unwrap(),
                        "fd77::1".parse().unwrap(),
                        format!("fd00:0:0:{}::{}", owner % 3, owner + 2)
                            .parse()
                            .unwrap(),
                    ),
                    false => (
                        "0.0.0.0".parse().unwrap(),
                        "192.0.2.1".parse().unwrap(),
                        format!("10.0.{}.{}", owner % 3, owner + 2).parse().unwrap(),
                    ),
                };
                Publication {
                    network: (owner % 3).to_string(),
                    protocol,
                    host: [Some(any), Some(one), None][usize::from(host)],
                    host_ports: first..=first + more,
                    target,
                    target_port: if same { first } else { 80 },
                    host_firewall: false,
                }
            },
        )
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (0..3_u8).prop_flat_map(network).prop_map(Change::Add),
        1 => (0..3_u8).prop_map(Change::Remove),
        6 => (0..5_u8).prop_flat_map(|owner| {
            prop::collection::vec(publication(owner), 0..4)
                .prop_map(move |all| Change::Publish(owner, all))
        }),
        1 => Just(Change::Replace),
    ]
}

type Contents = BTreeMap<String, Vec<FoundElement>>;

fn contents(socket: &mut Socket, name: &str) -> Contents {
    let table = Table::new(Family::Inet, name);
    let mut sets = socket.sets(&table).unwrap();
    // Ports are opened as their network is when they are published; networks change with all their ports only.
    sets.retain(|set| !set.starts_with("open"));
    sets.into_iter()
        .map(|set| {
            let mut elements = socket.elements(&table, &set).unwrap();
            elements.sort();
            (set, elements)
        })
        .collect()
}

fn open(table: &str) -> Firewall {
    Firewall::open(FirewallOptions {
        table: table.to_owned(),
        ..FirewallOptions::default()
    })
    .unwrap()
}

fn check(changes: &[Change]) {
    namespace::unshare(flag::NETWORK).unwrap();
    let (changed, whole) = (open("changed"), open("whole"));
    let mut socket = Socket::open().unwrap();
    changed.replace(Vec::new(), Vec::new()).unwrap();
    for change in changes {
        // A change that is refused (somebody has the port) shall have changed nothing.
        let _ = match change.clone() {
            Change::Add(rules) => changed.add_network(rules),
            Change::Remove(n) => changed.remove_network(&n.to_string()),
            Change::Publish(owner, all) => changed.publish(&owner.to_string(), &all),
            Change::Replace => changed.replace(changed.networks(), changed.published()),
        };
    }
    whole
        .replace(changed.networks(), changed.published())
        .unwrap();
    let (found, wanted) = (
        contents(&mut socket, "changed"),
        contents(&mut socket, "whole"),
    );
    assert_eq!(found, wanted);

    for (owner, _) in changed.published() {
        changed.unpublish(&owner).unwrap();
    }
    for rules in changed.networks() {
        changed.remove_network(&rules.id).unwrap();
    }
    let left = contents(&mut socket, "changed");
    assert!(left.values().all(Vec::is_empty), "{left:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn changes_lead_to_the_table_that_is_wanted(changes in prop::collection::vec(change(), 1..20)) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return Ok(());
        }
        std::thread::scope(|scope| scope.spawn(|| check(&changes)).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}
