//! Networks on a device of the host's: macvlan and ipvlan, as far as the kernel has them.
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests"
)]

mod host;

use host::{
    Host, IMPATIENCE, ask, ask_within, default_routes, endpoint, inside, link_named, links,
    on_parent, pool, serve, sysctl,
};
use hull_linux::netlink::{
    Address, Batch, BridgePort, LinkChange, LinkKind, NewLink, Socket, VethPeer,
};
use hull_network::model::{Driver, Endpoint, IpvlanMode, MacvlanMode, Network, Pool};
use hull_network::{Error, link};
use std::collections::HashSet;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

/// A device `up0` of the host's that leads to a switch elsewhere, which has the addresses `.1`.
struct Wire {
    outside: PathBuf,
}

impl Wire {
    fn new(host: &Host, hairpin: bool) -> Self {
        let outside = host.namespace("outside");
        let file = fs_err::File::open(&outside).unwrap();
        let mut batch = Batch::new();
        batch.create_link(&NewLink {
            name: "up0",
            kind: LinkKind::Veth(VethPeer {
                name: "wire",
                mac: None,
                namespace: file.as_fd(),
            }),
            mac: None,
            mtu: None,
            master: None,
            lower: None,
            group: 0,
            namespace: None,
            up: true,
        });
        Socket::open().unwrap().run(batch).unwrap();
        inside(&outside, || switch(hairpin));
        Socket::open().unwrap().carrier("up0").unwrap();
        Self { outside }
    }
}

/// Makes `wire` a port of a bridge that answers at the gateways' addresses.
fn switch(hairpin: bool) {
    let mut socket = Socket::open().unwrap();
    let mut batch = Batch::new();
    batch.create_link(&NewLink {
        name: "switch",
        kind: LinkKind::Bridge,
        mac: None,
        mtu: None,
        master: None,
        lower: None,
        group: 0,
        namespace: None,
        up: true,
    });
    let bridge = socket.run_and_look(batch, "switch").unwrap().index;
    let mut batch = Batch::new();
    for (address, prefix) in [("10.90.0.1", 24), ("fd90::1", 64)] {
        batch.add_address(&Address {
            device: bridge,
            address: address.parse().unwrap(),
            prefix,
        });
    }
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    batch.change_named(
        "wire",
        &LinkChange {
            master: Some(bridge),
            ..up
        },
    );
    batch.change_named(
        "wire",
        &LinkChange {
            port: Some(BridgePort {
                hairpin,
                isolated: false,
            }),
            ..up
        },
    );
    socket.run(batch).unwrap();
    socket.carrier("wire").unwrap();
}

fn pools() -> Vec<Pool> {
    vec![
        pool("10.90.0.0/24", "10.90.0.1"),
        pool("fd90::/64", "fd90::1"),
    ]
}

fn macvlan(parent: Option<&str>, mode: MacvlanMode) -> Network {
    Network {
        id: "mac-network-0123456789".to_owned(),
        driver: Driver::Macvlan(on_parent(parent, mode)),
        pools: pools(),
        internal: false,
    }
}

fn ipvlan(parent: Option<&str>, mode: IpvlanMode) -> Network {
    Network {
        id: "ip-network-0123456789".to_owned(),
        driver: Driver::Ipvlan(on_parent(parent, mode)),
        pools: pools(),
        internal: false,
    }
}

fn first() -> Endpoint {
    endpoint(
        "first",
        &["10.90.0.2/24", "fd90::2/64"],
        &["10.90.0.1", "fd90::1"],
    )
}

fn second() -> Endpoint {
    endpoint(
        "second",
        &["10.90.0.3/24", "fd90::3/64"],
        &["10.90.0.1", "fd90::1"],
    )
}

/// Whether the kernel has such devices; says so if not.
fn up(network: &Network) -> bool {
    match link::up(network) {
        Err(Error::Unsupported { kind }) => {
            eprintln!("skipped: no {kind} devices in this kernel");
            false
        }
        other => {
            other.unwrap();
            true
        }
    }
}

#[test]
fn macvlan_modes_decide_who_reaches_whom() {
    let cases = [
        (MacvlanMode::Bridge, false, true),
        (MacvlanMode::Private, true, false),
        (MacvlanMode::Vepa, false, false),
        (MacvlanMode::Vepa, true, true),
    ];
    for (mode, hairpin, reached) in cases {
        let run = move || {
            let Some(host) = Host::new() else { return };
            let wire = Wire::new(&host, hairpin);
            let network = macvlan(Some("up0"), mode);
            if !up(&network) {
                return;
            }
            let (a, joined) = host.join(&network, &first());
            let (b, _) = host.join(&network, &second());
            assert_eq!(joined.ifname, "eth0");
            inside(&a, || serve(80));
            inside(&wire.outside, || serve(81));
            for (server, outside) in [("10.90.0.2", "10.90.0.1"), ("fd90::2", "fd90::1")] {
                inside(&b, || ask(outside, 81).unwrap());
                let answer = inside(&b, || match reached {
                    true => ask(server, 80),
                    false => ask_within(server, 80, IMPATIENCE),
                });
                assert_eq!(answer.is_ok(), reached, "{mode:?} {hairpin} {server}");
            }
            assert_eq!(
                inside(&a, default_routes),
                ["eth0 10.90.0.1", "eth0 fd90::1"]
            );
        };
        // Each in a thread, and so a host, of its own.
        std::thread::spawn(run).join().unwrap();
    }
}

#[test]
fn passthru_is_for_one_endpoint() {
    let Some(host) = Host::new() else { return };
    let wire = Wire::new(&host, false);
    let network = macvlan(Some("up0"), MacvlanMode::Passthru);
    if !up(&network) {
        return;
    }
    let (a, joined) = host.join(&network, &first());
    assert_eq!(link_named("up0").unwrap().mac, Some(joined.mac));
    inside(&wire.outside, || serve(81));
    inside(&a, || ask("10.90.0.1", 81).unwrap());
    let b = host.namespace("second");
    let before = inside(&b, links);
    assert!(link::join(&network, &second(), &b).is_err());
    assert_eq!(inside(&b, links), before);
    link::leave(&network, "first", Some(&a), "eth0").unwrap();
    link::join(&network, &second(), &b).unwrap();
}

#[test]
fn without_a_parent_endpoints_reach_each_other_only() {
    let Some(host) = Host::new() else { return };
    let network = macvlan(None, MacvlanMode::Bridge);
    if !up(&network) {
        return;
    }
    link::up(&network).unwrap();
    let parent = link_named("dm-mac-network-").unwrap();
    assert_eq!(parent.alias, "hull:mac-network-0123456789");
    assert_eq!(sysctl("ipv6/conf/dm-mac-network-/disable_ipv6"), "1");
    let (a, _) = host.join(&network, &first());
    let (b, _) = host.join(&network, &second());
    inside(&a, || serve(80));
    for address in ["10.90.0.2", "fd90::2"] {
        inside(&b, || ask(address, 80).unwrap());
    }
    link::leave(&network, "first", Some(&a), "eth0").unwrap();
    link::leave(&network, "first", Some(&a), "eth0").unwrap();
    assert!(inside(&a, || link_named("eth0")).is_none());
    link::down(&network).unwrap();
    link::down(&network).unwrap();
    assert!(link_named("dm-mac-network-").is_none());
}

#[test]
fn a_parent_of_the_hosts_stays() {
    let Some(host) = Host::new() else { return };
    let _wire = Wire::new(&host, false);
    let network = macvlan(Some("up0"), MacvlanMode::Bridge);
    if !up(&network) {
        return;
    }
    link::down(&network).unwrap();
    assert!(link_named("up0").is_some_and(|up0| up0.alias.is_empty() && up0.group == 0));
}

#[test]
fn parents_that_cannot_be_are_refused() {
    let Some(_host) = Host::new() else { return };
    let before = links();
    for parent in ["lo", "nothing", "nothing.5", "lo.5000", "lo.x", "a/b", ""] {
        let error = link::up(&macvlan(Some(parent), MacvlanMode::Bridge)).unwrap_err();
        match error {
            Error::Unsupported { kind } => eprintln!("skipped: no {kind} devices"),
            Error::Invalid(_) | Error::NoDevice(_) => {}
            other => panic!("{parent}: {other}"),
        }
        assert_eq!(links(), before);
    }
}

#[test]
fn a_vlan_is_made_and_removed() {
    let Some(host) = Host::new() else { return };
    let _wire = Wire::new(&host, false);
    let network = macvlan(Some("up0.7"), MacvlanMode::Bridge);
    if !up(&network) {
        assert!(link_named("up0.7").is_none());
        return;
    }
    assert_eq!(link_named("up0.7").unwrap().kind, "vlan");
    host.join(&network, &first());
    link::down(&network).unwrap();
    assert!(link_named("up0.7").is_none());
    assert!(link_named("up0").is_some());
}

#[test]
fn ipvlan_shares_the_hosts_ethernet_address() {
    let Some(host) = Host::new() else { return };
    let wire = Wire::new(&host, false);
    let network = ipvlan(Some("up0"), IpvlanMode::L2);
    if !up(&network) {
        let error = link::up(&network).unwrap_err().to_string();
        assert!(error.contains("modprobe ipvlan"), "{error}");
        return;
    }
    let (a, joined) = host.join(&network, &first());
    let (b, _) = host.join(&network, &second());
    assert_eq!(link_named("up0").unwrap().mac, Some(joined.mac));
    inside(&a, || serve(80));
    inside(&wire.outside, || serve(81));
    for (server, outside) in [("10.90.0.2", "10.90.0.1"), ("fd90::2", "fd90::1")] {
        inside(&b, || ask(server, 80).unwrap());
        inside(&b, || ask(outside, 81).unwrap());
    }
}

#[test]
fn ipvlan_of_layer_3_routes_by_the_device() {
    for mode in [IpvlanMode::L3, IpvlanMode::L3s] {
        let run = move || {
            let Some(host) = Host::new() else { return };
            let _wire = Wire::new(&host, false);
            let network = ipvlan(Some("up0"), mode);
            if !up(&network) {
                return;
            }
            let by_device = |endpoint: Endpoint| Endpoint {
                gateways: vec!["0.0.0.0".parse().unwrap(), "::".parse().unwrap()],
                ..endpoint
            };
            let (a, _) = host.join(&network, &by_device(first()));
            let (b, _) = host.join(&network, &by_device(second()));
            assert_eq!(inside(&a, default_routes), ["eth0 0.0.0.0", "eth0 ::"]);
            inside(&a, || serve(80));
            for address in ["10.90.0.2", "fd90::2"] {
                inside(&b, || ask(address, 80).unwrap());
            }
        };
        std::thread::spawn(run).join().unwrap();
    }
}

#[test]
fn whatever_fails_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let _wire = Wire::new(&host, false);
    let network = macvlan(Some("up0"), MacvlanMode::Bridge);
    if !up(&network) {
        return;
    }
    let netns = host.namespace("a");
    // A name that the host has is no obstacle; one that the container has is.
    let (before, inner) = (links(), inside(&netns, links));
    let refused: [fn(&mut Endpoint); 4] = [
        |e| e.gateways = vec!["10.99.0.1".parse().unwrap()],
        |e| e.ifname = "lo".to_owned(),
        |e| e.addresses.push("ff02::5/64".parse().unwrap()),
        |e| e.sysctls = vec![("net.ipv4.conf.IFNAME.nothing".to_owned(), "1".to_owned())],
    ];
    for (at, spoil) in refused.iter().enumerate() {
        let mut endpoint = first();
        spoil(&mut endpoint);
        assert!(link::join(&network, &endpoint, &netns).is_err(), "{at}");
        assert_eq!(links(), before);
        assert_eq!(inside(&netns, links), inner, "{at}");
    }
    let named = Endpoint {
        ifname: "up0".to_owned(),
        ..first()
    };
    assert_eq!(link::join(&network, &named, &netns).unwrap().ifname, "up0");
}

#[test]
fn what_a_crash_left_in_live_namespaces_is_removed() {
    let Some(host) = Host::new() else { return };
    let _wire = Wire::new(&host, false);
    let network = macvlan(Some("up0"), MacvlanMode::Bridge);
    if !up(&network) {
        return;
    }
    let (a, _) = host.join(&network, &first());
    let other = Endpoint {
        ifname: "eth1".to_owned(),
        gateways: Vec::new(),
        ..second()
    };
    link::join(&network, &other, &a).unwrap();
    let owned = HashSet::from(["first".to_owned()]);
    let live = HashSet::from(["first".to_owned(), "outside".to_owned()]);
    let removed = link::reconcile(&[network], &owned, &host.namespaces(), &live).unwrap();
    assert_eq!(removed.links, ["eth1"]);
    assert!(inside(&a, || link_named("eth0")).is_some());
}

#[test]
fn a_device_whose_marks_were_changed_inside_is_found() {
    let Some(host) = Host::new() else { return };
    let _wire = Wire::new(&host, false);
    let network = macvlan(Some("up0"), MacvlanMode::Bridge);
    if !up(&network) {
        return;
    }
    let change = |name: &str, alias: &str| {
        let index = link_named("eth0").unwrap().index;
        let down = LinkChange {
            up: Some(false),
            ..LinkChange::default()
        };
        let other = LinkChange {
            name: Some(name),
            alias: Some(alias),
            ..LinkChange::default()
        };
        // Before Linux 6.2 a device that is up keeps its name, also for the request that sets it down.
        for change in [down, other] {
            let mut batch = Batch::new();
            batch.change_link(index, &change);
            Socket::open().unwrap().run(batch).unwrap();
        }
    };
    let (a, _) = host.join(&network, &first());
    inside(&a, || change("mine0", "mine"));
    link::leave(&network, "first", Some(&a), "eth0").unwrap();
    assert!(inside(&a, || link_named("mine0")).is_none());
    link::leave(&network, "first", Some(&a), "eth0").unwrap();

    // Of two that nobody knows, neither is taken for the one.
    let other = Endpoint {
        ifname: "eth0".to_owned(),
        ..second()
    };
    link::join(&network, &first(), &a).unwrap();
    inside(&a, || change("mine0", "mine"));
    link::join(&network, &other, &a).unwrap();
    inside(&a, || change("mine1", "mine"));
    let error = link::leave(&network, "first", Some(&a), "eth0").unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error}");
    assert!(inside(&a, || link_named("mine0")).is_some());
}
