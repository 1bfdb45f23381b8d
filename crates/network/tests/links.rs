//! Bridge networks and their endpoints, with real devices and packets.
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests"
)]

mod host;

use host::{
    Host, IMPATIENCE, addresses_of, ask, ask_within, bridge, default_routes, endpoint, inside,
    link_named, links, serve, set_sysctl, sysctl, with,
};
use hull_linux::netlink::{Address, Batch, LinkChange, LinkKind, NewLink, Socket, VethPeer};
use hull_network::link;
use hull_network::model::{BridgeOptions, Endpoint, GatewayMode, Network};
use hull_network::{Error, netns};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType};
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::os::fd::AsFd as _;
use std::path::Path;

const V4: (&str, &str) = ("10.80.0.0/24", "10.80.0.1");
const V6: (&str, &str) = ("fd80::/64", "fd80::1");

type Spoil = fn(&mut Endpoint);
type Change = fn(&mut BridgeOptions);

fn both() -> Network {
    bridge("both", &[V4, V6])
}

fn first() -> Endpoint {
    endpoint("first", &["10.80.0.2/24", "fd80::2/64"], &[V4.1, V6.1])
}

fn second() -> Endpoint {
    endpoint("second", &["10.80.0.3/24", "fd80::3/64"], &[V4.1, V6.1])
}

/// A device as somebody else would make it.
fn make(name: &str, kind: LinkKind<'_>, group: u32) {
    let mut batch = Batch::new();
    batch.create_link(&NewLink {
        name,
        kind,
        mac: None,
        mtu: None,
        master: None,
        lower: None,
        group,
        namespace: None,
        up: false,
    });
    Socket::open().unwrap().run(batch).unwrap();
}

fn mark(name: &str, alias: &str) {
    let mut batch = Batch::new();
    batch.change_named(
        name,
        &LinkChange {
            alias: Some(alias),
            ..LinkChange::default()
        },
    );
    Socket::open().unwrap().run(batch).unwrap();
}

#[test]
fn endpoints_reach_each_other_and_the_host_over_both_families() {
    let Some(host) = Host::new() else { return };
    let network = both();
    link::up(&network).unwrap();
    let (a, joined) = host.join(&network, &first());
    let (b, other) = host.join(&network, &second());
    assert_eq!(joined.ifname, "eth0");
    // Of one device, and locally administered, as Docker's.
    assert_eq!(joined.mac.0[0] & 3, 2, "{}", joined.mac);
    assert_ne!(joined.mac, other.mac);
    inside(&a, || serve(80));
    serve(81);
    for (server, seen, host) in [
        ("10.80.0.2", "10.80.0.3", "10.80.0.1"),
        ("fd80::2", "fd80::3", "fd80::1"),
    ] {
        assert_eq!(inside(&b, || ask(server, 80).unwrap()), seen);
        assert_eq!(inside(&b, || ask(host, 81).unwrap()), seen);
        assert_eq!(ask(server, 80).unwrap(), host);
    }
    let device = inside(&a, || link_named("eth0")).unwrap();
    assert_eq!(device.mac, Some(joined.mac));
    assert!(device.up);
    assert_eq!(
        inside(&a, default_routes),
        ["eth0 10.80.0.1", "eth0 fd80::1"]
    );
    assert_eq!(sysctl("ipv4/ip_forward"), "1");
    assert_eq!(sysctl("ipv6/conf/all/forwarding"), "1");
    assert_eq!(sysctl("ipv6/conf/br-both/accept_ra"), "0");
    assert_eq!(sysctl("ipv4/conf/br-both/route_localnet"), "0");
}

#[test]
fn a_network_without_ipv6_has_none() {
    let Some(host) = Host::new() else { return };
    let network = bridge("four", &[V4]);
    link::up(&network).unwrap();
    let (a, _) = host.join(&network, &endpoint("a", &["10.80.0.2/24"], &[V4.1]));
    assert_eq!(sysctl("ipv6/conf/br-four/disable_ipv6"), "1");
    assert_eq!(sysctl("ipv6/conf/all/forwarding"), "0");
    inside(&a, || {
        assert_eq!(sysctl("ipv6/conf/eth0/disable_ipv6"), "1");
        // What programs make for themselves is as anywhere else, and so is loopback.
        assert_eq!(sysctl("ipv6/conf/default/disable_ipv6"), "0");
        serve(80);
        assert_eq!(ask("::1", 80).unwrap(), "::1");
    });
}

#[test]
fn without_icc_endpoints_reach_the_host_only() {
    let Some(host) = Host::new() else { return };
    let network = with(both(), |options| options.icc = false);
    link::up(&network).unwrap();
    let (a, _) = host.join(&network, &first());
    let (b, _) = host.join(&network, &second());
    inside(&a, || serve(80));
    serve(81);
    assert_eq!(inside(&b, || ask("10.80.0.1", 81).unwrap()), "10.80.0.3");
    for address in ["10.80.0.2", "fd80::2"] {
        assert!(inside(&b, || ask_within(address, 80, IMPATIENCE)).is_err());
        ask(address, 80).unwrap();
    }
}

/// The port must be open by then, or the bridge drops it.
#[test]
fn neighbours_are_told_of_a_new_endpoint() {
    let Some(host) = Host::new() else { return };
    let network = both();
    link::up(&network).unwrap();
    let (a, _) = host.join(&network, &first());
    const ALL: u32 = 0x0003_u16.to_be() as u32;
    let listening = inside(&a, || {
        rustix::net::socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            NonZeroU32::new(ALL).map(Protocol::from_raw),
        )
        .unwrap()
    });
    let (_, joined) = host.join(&network, &second());
    let (mut arp, mut advertisement) = (false, false);
    let mut buffer = [0_u8; 2048];
    while !(arp && advertisement) {
        let (length, _) =
            rustix::net::recv(&listening, buffer.as_mut_slice(), RecvFlags::empty()).unwrap();
        let frame = &buffer[..length];
        let ours = frame.get(6..12) == Some(joined.mac.0.as_slice());
        arp |= ours && frame.get(28..32) == Some([10, 80, 0, 3].as_slice());
        advertisement |= ours && frame.get(54) == Some(&136);
    }
}

#[test]
fn who_has_said_nothing_is_known() {
    let Some(host) = Host::new() else { return };
    let network = bridge("quiet", &[V4]);
    link::up(&network).unwrap();
    let (a, _) = host.join(&network, &endpoint("a", &["10.80.0.2/24"], &[V4.1]));
    host.join(&network, &endpoint("b", &["10.80.0.3/24"], &[V4.1]));
    // What all are told is nothing that it said itself.
    assert!(link::is_silent("a", 1) && link::is_silent("b", 1));
    assert!(!link::is_silent("stranger", 1));
    let _ = inside(&a, || ask_within(V4.1, 9, IMPATIENCE));
    assert!(!link::is_silent("a", 1) && link::is_silent("b", 1));
}

#[test]
fn an_address_that_moves_is_found_at_once() {
    let Some(host) = Host::new() else { return };
    let network = both();
    link::up(&network).unwrap();
    let (a, _) = host.join(&network, &first());
    let (b, before) = host.join(&network, &second());
    inside(&b, || serve(80));
    for address in ["10.80.0.3", "fd80::3"] {
        inside(&a, || ask(address, 80).unwrap());
    }
    link::leave(&network, "second", Some(&b), "eth0").unwrap();
    let (b, after) = host.join(
        &network,
        &Endpoint {
            id: "third".to_owned(),
            ..second()
        },
    );
    assert_ne!(before.mac, after.mac);
    inside(&b, || serve(80));
    for address in ["10.80.0.3", "fd80::3"] {
        inside(&a, || ask(address, 80).unwrap());
    }
}

#[test]
fn an_endpoint_gets_what_it_asks_for() {
    let Some(host) = Host::new() else { return };
    let network = with(both(), |options| options.mtu = Some(1400));
    link::up(&network).unwrap();
    assert_eq!(link_named("br-both").unwrap().mtu, 1400);
    let wanted = Endpoint {
        ifname: "lan%d".to_owned(),
        mac: Some("06:00:00:00:00:07".parse().unwrap()),
        addresses: ["10.80.0.2/24", "169.254.7.7/16", "fd80::2/64", "fe80::7/64"]
            .map(|net| net.parse().unwrap())
            .to_vec(),
        sysctls: vec![
            (
                "net.ipv4.conf.IFNAME.log_martians".to_owned(),
                "1".to_owned(),
            ),
            ("ipv6/conf/IFNAME/accept_ra".to_owned(), "0".to_owned()),
        ],
        ..first()
    };
    let (a, joined) = host.join(&network, &wanted);
    assert_eq!(joined.ifname, "lan0");
    assert_eq!(joined.mac.to_string(), "06:00:00:00:00:07");
    inside(&a, || {
        assert_eq!(link_named("lan0").unwrap().mtu, 1400);
        assert_eq!(
            addresses_of("lan0"),
            ["10.80.0.2/24", "169.254.7.7/16", "fd80::2/64"]
        );
        assert_eq!(sysctl("ipv4/conf/lan0/log_martians"), "1");
        assert_eq!(sysctl("ipv6/conf/lan0/accept_ra"), "0");
    });
    let again = Endpoint {
        id: "again".to_owned(),
        mac: None,
        addresses: vec!["10.80.0.9/24".parse().unwrap()],
        gateways: Vec::new(),
        sysctls: Vec::new(),
        ..wanted
    };
    assert_eq!(link::join(&network, &again, &a).unwrap().ifname, "lan1");
}

#[test]
fn default_routes_follow_the_gateway_network() {
    let Some(host) = Host::new() else { return };
    let (one, two) = (both(), bridge("two", &[("10.81.0.0/24", "10.81.0.1")]));
    link::up(&one).unwrap();
    link::up(&two).unwrap();
    let (a, _) = host.join(&one, &first());
    // As another network with a higher priority: its router is the one from now on.
    let more = Endpoint {
        ifname: "eth1".to_owned(),
        ..endpoint("more", &["10.81.0.2/24"], &["10.81.0.1"])
    };
    link::join(&two, &more, &a).unwrap();
    // It has no IPv6: that stays where it is.
    assert_eq!(
        inside(&a, default_routes),
        ["eth0 fd80::1", "eth1 10.81.0.1"]
    );
    let [four, six]: [std::net::IpAddr; 2] =
        ["10.80.0.1".parse().unwrap(), "fd80::1".parse().unwrap()];
    let other = "10.81.0.1".parse().unwrap();
    for _ in 0..2 {
        link::set_default_routes(&a, &[("eth1", other), ("eth0", six)]).unwrap();
        let mut mixed = inside(&a, default_routes);
        mixed.sort();
        assert_eq!(mixed, ["eth0 fd80::1", "eth1 10.81.0.1"]);
    }
    for _ in 0..2 {
        link::set_default_routes(&a, &[("eth0", four), ("eth0", six)]).unwrap();
        assert_eq!(
            inside(&a, default_routes),
            ["eth0 10.80.0.1", "eth0 fd80::1"]
        );
    }
    link::leave(&one, "first", Some(&a), "eth0").unwrap();
    assert_eq!(inside(&a, default_routes), Vec::<String>::new());
    link::restore_default_routes(&a, &[("eth1", other)]).unwrap();
    assert_eq!(inside(&a, default_routes), ["eth1 10.81.0.1"]);
    link::set_default_routes(&a, &[("eth1", "0.0.0.0".parse().unwrap())]).unwrap();
    assert_eq!(inside(&a, default_routes), ["eth1 0.0.0.0"]);
    // The namespace's own choice stays.
    link::restore_default_routes(&a, &[("eth1", other)]).unwrap();
    assert_eq!(inside(&a, default_routes), ["eth1 0.0.0.0"]);
    link::set_default_routes(&a, &[]).unwrap();
    assert_eq!(inside(&a, default_routes), Vec::<String>::new());
}

#[test]
fn whatever_fails_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let network = both();
    let netns = host.namespace("a");
    let error = link::join(&network, &first(), &netns).unwrap_err();
    assert!(matches!(error, Error::NoDevice(_)), "{error}");
    link::up(&network).unwrap();
    inside(&netns, || make("taken", LinkKind::Bridge, 0));
    let before = links();
    let inner = inside(&netns, links);
    let refused: [(&str, Spoil); 9] = [
        ("router elsewhere", |e| {
            e.gateways = vec!["10.99.0.1".parse().unwrap()]
        }),
        ("second router", |e| {
            e.gateways.push("fd99::1".parse().unwrap())
        }),
        ("no such setting", |e| {
            e.sysctls = vec![("net.ipv4.conf.IFNAME.nothing".to_owned(), "1".to_owned())];
        }),
        ("value", |e| {
            e.sysctls = vec![(
                "net.ipv4.conf.IFNAME.mc_forwarding".to_owned(),
                "x".to_owned(),
            )];
        }),
        ("name taken", |e| e.ifname = "taken".to_owned()),
        ("no name", |e| e.ifname = "a/b".to_owned()),
        ("many", |e| {
            e.mac = Some("01:00:00:00:00:01".parse().unwrap())
        }),
        ("address twice", |e| {
            e.addresses.push("10.80.0.2/16".parse().unwrap())
        }),
        ("no address", |e| {
            e.addresses.push("ff02::5/64".parse().unwrap())
        }),
    ];
    for (what, spoil) in refused {
        let mut endpoint = first();
        spoil(&mut endpoint);
        let result = link::join(&network, &endpoint, &netns);
        assert!(result.is_err(), "{what}");
        assert_eq!(links(), before, "{what}");
        assert_eq!(inside(&netns, links), inner, "{what}");
    }
    let gone = host.namespaces().join("nothing");
    assert!(link::join(&network, &first(), &gone).is_err());
    assert_eq!(links(), before);
    link::join(&network, &first(), &netns).unwrap();
}

#[test]
fn a_bridge_that_cannot_be_set_up_is_gone_again() {
    let Some(_host) = Host::new() else { return };
    let before = links();
    let bad = [
        bridge("b", &[V4, ("fd80::/64", "ff02::1")]),
        with(both(), |options| options.mtu = Some(1)),
        with(both(), |options| {
            options.device = "a\"; flush ruleset".to_owned()
        }),
    ];
    for network in bad {
        assert!(link::up(&network).is_err(), "{network:?}");
        assert_eq!(links(), before, "{network:?}");
    }
    let network = with(both(), |options| options.device = "lo".to_owned());
    let error = link::up(&network).unwrap_err();
    assert!(matches!(error, Error::NotABridge { .. }), "{error}");
    link::down(&network).unwrap();
    assert_eq!(links(), before);
}

#[test]
fn a_bridge_is_made_once_and_mended() {
    let Some(host) = Host::new() else { return };
    let network = both();
    link::up(&network).unwrap();
    let bridge = link_named("br-both").unwrap();
    assert_eq!(bridge.alias, "hull:both");
    let (a, _) = host.join(&network, &first());
    // Somebody plays with it, and the network gets another router.
    let mut batch = Batch::new();
    batch.change_link(
        bridge.index,
        &LinkChange {
            up: Some(false),
            ..LinkChange::default()
        },
    );
    Socket::open().unwrap().run(batch).unwrap();
    assert_eq!(addresses_of("br-both"), ["10.80.0.1/24"]);
    let network = host::bridge("both", &[("10.80.0.0/24", "10.80.0.9"), V6]);
    for _ in 0..2 {
        link::up(&network).unwrap();
        assert_eq!(addresses_of("br-both"), ["10.80.0.9/24", "fd80::1/64"]);
        let now = link_named("br-both").unwrap();
        assert!(now.up);
        assert_eq!((now.index, now.mac), (bridge.index, bridge.mac));
    }
    inside(&a, || serve(80));
    assert_eq!(ask("10.80.0.2", 80).unwrap(), "10.80.0.9");

    let other = with(host::bridge("other", &[V4]), |o| {
        o.device = "br-both".to_owned()
    });
    let error = link::up(&other).unwrap_err();
    assert!(matches!(error, Error::Taken { .. }), "{error}");
    link::down(&other).unwrap();
    for owner in ["both", "other"] {
        assert!(!link::discard_idle("br-both", owner).unwrap(), "{owner}");
    }
    assert!(link_named("br-both").is_some());
    link::down(&network).unwrap();
    link::down(&network).unwrap();
    host::gone("br-both");
}

#[test]
fn a_bridge_that_nobody_uses_can_be_discarded() {
    let Some(_host) = Host::new() else { return };
    link::up(&both()).unwrap();
    assert!(!link::discard_idle("br-both", "other").unwrap());
    assert!(link::discard_idle("br-both", "both").unwrap());
    assert!(!link::discard_idle("br-both", "both").unwrap());
    host::gone("br-both");
}

#[test]
fn a_bridge_of_somebody_elses_is_used_and_stays() {
    let Some(host) = Host::new() else { return };
    make("mine", LinkKind::Bridge, 0);
    let mut batch = Batch::new();
    batch.add_address(&Address {
        device: link_named("mine").unwrap().index,
        address: "10.77.0.1".parse().unwrap(),
        prefix: 24,
    });
    Socket::open().unwrap().run(batch).unwrap();
    set_sysctl("ipv6/conf/mine/accept_ra", "1");
    let network = with(both(), |options| options.device = "mine".to_owned());
    link::up(&network).unwrap();
    // 2 once the host forwards: what it has from advertisements, it keeps.
    assert_eq!(sysctl("ipv6/conf/mine/accept_ra"), "2");
    assert_eq!(
        addresses_of("mine"),
        ["10.77.0.1/24", "10.80.0.1/24", "fd80::1/64"]
    );
    let (a, _) = host.join(&network, &first());
    inside(&a, || serve(80));
    assert_eq!(ask("10.80.0.2", 80).unwrap(), "10.80.0.1");
    link::down(&network).unwrap();
    assert_eq!(sysctl("ipv4/conf/mine/route_localnet"), "0");
    let bridge = link_named("mine").unwrap();
    assert_eq!((bridge.alias.as_str(), bridge.group), ("", 0));
    // An address that its owner has given it too is not ours to take.
    assert_eq!(addresses_of("mine"), ["10.77.0.1/24"]);
    let same = Network {
        pools: vec![host::pool("10.77.0.0/24", "10.77.0.1")],
        ..network
    };
    link::up(&same).unwrap();
    link::down(&same).unwrap();
    assert_eq!(addresses_of("mine"), ["10.77.0.1/24"]);
}

#[test]
fn gateway_modes_decide_which_addresses_the_bridge_has() {
    let Some(_host) = Host::new() else { return };
    let cases: [(&str, Change, &[&str]); 3] = [
        (
            "no4",
            |o| o.gateway_mode = GatewayMode::Isolated,
            &["fd80::1/64"],
        ),
        (
            "no6",
            |o| o.gateway_mode6 = GatewayMode::Isolated,
            &["10.80.0.1/24"],
        ),
        ("not", |o| o.inhibit_ipv4 = true, &["fd80::1/64"]),
    ];
    for (id, change, expected) in cases {
        let network = with(bridge(id, &[V4, V6]), change);
        link::up(&network).unwrap();
        assert_eq!(addresses_of(&format!("br-{id}")), expected);
        link::down(&network).unwrap();
    }
}

/// A host that forwards IPv6 listens to its routers no more, unless it is told to.
#[test]
fn a_host_keeps_its_routers_advertisements() {
    let Some(_host) = Host::new() else { return };
    for (name, accept) in [("uplink", "1"), ("deaf", "0")] {
        make(name, LinkKind::Bridge, 0);
        set_sysctl(&format!("ipv6/conf/{name}/accept_ra"), accept);
    }
    link::up(&both()).unwrap();
    assert_eq!(sysctl("ipv6/conf/uplink/accept_ra"), "2");
    assert_eq!(sysctl("ipv6/conf/deaf/accept_ra"), "0");
    assert_eq!(sysctl("ipv6/conf/br-both/accept_ra"), "0");
}

#[test]
fn a_taken_name_on_the_host_is_passed_over() {
    let Some(host) = Host::new() else { return };
    let network = both();
    link::up(&network).unwrap();
    let (a, _) = host.join(&network, &first());
    let name = links().into_iter().find(|l| l.kind == "veth").unwrap().name;
    link::leave(&network, "first", Some(&a), "eth0").unwrap();
    make(&name, LinkKind::Bridge, 0);
    link::join(&network, &first(), &a).unwrap();
    inside(&a, || serve(80));
    ask("10.80.0.2", 80).unwrap();
    link::leave(&network, "first", Some(&a), "eth0").unwrap();
    assert!(link_named(&name).is_some_and(|bridge| bridge.alias.is_empty()));
    assert!(links().iter().all(|l| l.kind != "veth"));
    link::leave(&network, "first", Some(&a), "eth0").unwrap();
    link::leave(&network, "first", None, "eth0").unwrap();
}

#[test]
fn containers_that_ended_are_dismantled() {
    let Some(host) = Host::new() else { return };
    let network = both();
    link::up(&network).unwrap();
    let before = links().len();
    let mut ended = Vec::new();
    for n in 2..8 {
        let id = format!("end{n}");
        let (netns, _) = host.join(&network, &endpoint(&id, &[&format!("10.80.0.{n}/24")], &[]));
        // A process that stays inside must not keep the pair.
        ended.push((fs_err::File::open(&netns).unwrap(), netns, id));
    }
    for (_, netns, id) in &ended {
        link::dismantle(netns, std::slice::from_ref(id)).unwrap();
        assert!(!netns.exists());
    }
    let begun = std::time::Instant::now();
    while links().len() > before {
        assert!(begun.elapsed() < host::PATIENCE, "pairs are still there");
        std::thread::yield_now();
    }
    link::dismantle(&ended[0].1, &[]).unwrap();
}

#[test]
fn what_a_crash_left_is_found_and_removed() {
    let Some(host) = Host::new() else { return };
    let (kept, gone) = (both(), bridge("gone", &[("10.82.0.0/24", "10.82.0.1")]));
    link::up(&kept).unwrap();
    link::up(&gone).unwrap();
    let (a, _) = host.join(&kept, &first());
    let (b, _) = host.join(&kept, &second());
    // Somebody else's, with our pattern of names; ours without a mark yet, and about to be removed.
    make("veth0000001", LinkKind::Bridge, 0);
    mark("veth0000001", "not hull:x");
    make("unmarked", LinkKind::Bridge, 0x6875_6c6c);
    make("doomed", LinkKind::Bridge, 0x6875_6c00);
    fs_err::write(host.namespaces().join("half"), "").unwrap();

    let owned = HashSet::from(["first".to_owned()]);
    let removed = link::reconcile(
        std::slice::from_ref(&kept),
        &owned,
        &host.namespaces(),
        &owned,
    )
    .unwrap();
    let mut names = removed.links.clone();
    names.retain(|name| !name.starts_with("veth"));
    names.sort();
    assert_eq!(names, ["br-gone", "doomed", "unmarked"]);
    assert_eq!(removed.links.len(), 4);
    assert_eq!(removed.namespaces.len(), 2);
    assert!(a.exists() && !b.exists());
    assert!(link_named("veth0000001").is_some());
    inside(&a, || serve(80));
    ask("10.80.0.2", 80).unwrap();
    let again = link::reconcile(&[kept], &owned, &host.namespaces(), &owned).unwrap();
    assert_eq!(again, link::Removed::default());
    let nothing = HashSet::new();
    link::reconcile(&[], &nothing, Path::new("/nowhere/at/all"), &nothing).unwrap();
    assert!(links().iter().all(|l| !l.alias.starts_with("hull:")));
}

#[test]
fn an_endpoint_of_a_foreign_namespace_is_not_confused() {
    let Some(host) = Host::new() else { return };
    let network = both();
    link::up(&network).unwrap();
    let (a, b) = (host.namespace("a"), host.namespace("b"));
    let there = fs_err::File::open(&b).unwrap();
    make(
        "outer",
        LinkKind::Veth(VethPeer {
            name: "eth0",
            mac: None,
            namespace: there.as_fd(),
        }),
        0,
    );
    link::join(&network, &first(), &a).unwrap();
    let error = link::join(&network, &second(), &b).unwrap_err();
    assert!(matches!(error, Error::NameTaken { .. }), "{error}");
    link::leave(&network, "second", Some(&b), "eth0").unwrap();
    assert!(inside(&b, || link_named("eth0")).is_some());
    netns::remove(&b).unwrap();
}

#[test]
fn a_bridge_can_be_made_again_at_once() {
    let Some(_host) = Host::new() else { return };
    let network = both();
    for _ in 0..20 {
        link::up(&network).unwrap();
        let bridge = link_named("br-both").unwrap();
        assert_eq!((bridge.alias.as_str(), bridge.up), ("hull:both", true));
        assert_eq!(addresses_of("br-both"), ["10.80.0.1/24", "fd80::1/64"]);
        link::down(&network).unwrap();
        // The next network may have the same subnet.
        let left = Socket::open().unwrap().addresses().unwrap();
        assert!(
            left.iter()
                .all(|own| own.address.to_string() != "10.80.0.1")
        );
    }
    host::gone("br-both");
}
