//! What the administrator says of routing: whether others may reach containers at their own addresses
//! (`--allow-direct-routing`), and whether the host forwards (`--ip-forward`).

use crate::stage::{Place, with};
use hull_tests::client::Client;
use hull_tests::host::within;
use hull_tests::layout::{HOST, NEIGHBOUR, OUTSIDE};
use hull_tests::probe::{Echo, Expect, Question, Transport, ask};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The container's own addresses: a port that is published by TCP, by UDP, and one that is not.
fn own(place: &Place) -> Vec<Question> {
    let of = |ip: &IpAddr| {
        [
            (Transport::Tcp, SocketAddr::new(*ip, 80)),
            (Transport::Udp, SocketAddr::new(*ip, 80)),
            (Transport::Tcp, SocketAddr::new(*ip, 81)),
        ]
    };
    place.own.iter().flat_map(of).collect()
}

#[test]
fn published_ports_are_reached_at_containers_addresses_if_that_is_allowed() {
    with(Client::Hull, &["--allow-direct-routing"], |stage| {
        stage.line("network create --ipv6 one");
        let place = stage.container("one", "--network one -p 9520:80");
        let _server = Echo::start(&place.path, &[80, 81]);
        let (neighbour, outside) = (stage.layout.neighbour.path(), stage.layout.outside.path());
        let asked = |allowed: bool| {
            for (from, own_address) in [(&neighbour, NEIGHBOUR), (&outside, OUTSIDE)] {
                let expected = [[allowed, false, false]; 2].concat();
                let seen = ask(from, &own(&place), Expect::Exactly(&expected));
                for (family, real) in own_address.into_iter().enumerate() {
                    assert_eq!(seen[family * 3], allowed.then_some(real), "{from:?}");
                }
                let published = [0, 1].map(|family| {
                    let to = SocketAddr::new(HOST[family], 9520);
                    (Transport::Tcp, to)
                });
                let seen = ask(from, &published, Expect::Exactly(&[true; 2]));
                assert_eq!(seen, own_address.map(Some));
            }
        };
        asked(true);
        // The next daemon takes it back, and gives it again, for containers that run.
        stage.daemon.kill();
        stage.daemon.set_arguments(&[]);
        stage.daemon.restart();
        asked(false);
        stage.daemon.stop();
        stage.daemon.set_arguments(&["--allow-direct-routing"]);
        stage.daemon.restart();
        asked(true);
        stage.line("rm -f one");
    });
}

#[test]
fn the_host_forwards_only_if_it_may() {
    const FORWARDING: [&str; 2] = [
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/ipv6/conf/all/forwarding",
    ];
    with(Client::Hull, &["--ip-forward=false"], |stage| {
        let (host, neighbour) = (stage.layout.host.path(), stage.layout.neighbour.path());
        let forwards = || {
            let read = |path| fs_err::read_to_string(path).unwrap().trim().to_owned();
            within(&host, || FORWARDING.map(read))
        };
        within(&host, || {
            FORWARDING.map(|path| fs_err::write(path, "0").unwrap())
        });
        stage.line("network create --ipv6 one");
        let place = stage.container("one", "--network one -p 9530:80");
        let _server = Echo::start(&place.path, &[80]);
        assert_eq!(forwards(), ["0", "0"]);
        let published = [0, 1].map(|family| {
            let to = SocketAddr::new(HOST[family], 9530);
            (Transport::Tcp, to)
        });
        let answered = |from: &Path, answered: bool| {
            let _ = ask(from, &published, Expect::Exactly(&[answered; 2]));
        };
        // What the host itself asks need not be forwarded.
        answered(&host, true);
        answered(&neighbour, false);
        stage.daemon.stop();
        stage.daemon.set_arguments(&[]);
        stage.daemon.restart();
        assert_eq!(forwards(), ["1", "1"]);
        answered(&neighbour, true);
        stage.line("rm -f one");
    });
}
