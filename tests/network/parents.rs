//! Networks on a device of the host's: containers are on the host's link themselves.

use crate::stage::{Place, Stage, with};
use hull_tests::client::Client;
use hull_tests::layout::{HOST, NEIGHBOUR, OUTSIDE};
use hull_tests::probe::{Echo, Expect, Transport, ask, ask_one};
use std::net::{IpAddr, SocketAddr};

const POOLS: &str = "--subnet 192.0.2.0/24 --ip-range 192.0.2.64/27 --gateway 192.0.2.1 \
    --ipv6 --subnet 2001:db8:1::/64 --ip-range 2001:db8:1::100/120 --gateway 2001:db8:1::1";

fn reaches(from: &Place, to: &Place) -> [Option<IpAddr>; 2] {
    let questions = to
        .own
        .map(|address| (Transport::Tcp, SocketAddr::new(address, 80)));
    let seen = ask(&from.path, &questions, Expect::Exactly(&[false; 2]));
    seen.try_into().unwrap()
}

fn two_on(stage: &Stage<'_>, driver: &str) -> Option<(Place, Place)> {
    let words = format!("network create -d {driver} -o parent=eth0 {POOLS} link");
    let made = stage.run(&words.split_whitespace().collect::<Vec<_>>());
    // The reference makes the network and fails to start its containers; Hull says so at once.
    let probe = ["run", "--rm", "--network", "link", "busybox", "true"];
    let works = made.code == 0 && stage.run(&probe).code == 0;
    if !hull_tests::can_run(driver, works) {
        let _ = stage.run(&["network", "rm", "link"]);
        return None;
    }
    Some((
        stage.container("one", "--network link"),
        stage.container("two", "--network link"),
    ))
}

fn remove(stage: &Stage<'_>) {
    stage.line("rm -f one two");
    stage.line("network rm link");
}

#[test]
fn containers_are_on_the_hosts_link() {
    with(Client::Docker, &[], |stage| {
        let before = stage.traces();
        for (driver, see_each_other) in [
            ("macvlan", true),
            ("macvlan -o macvlan_mode=private", false),
            ("macvlan -o macvlan_mode=vepa", false),
            ("ipvlan", true),
            ("ipvlan -o ipvlan_mode=l3", true),
        ] {
            let Some((one, two)) = two_on(stage, driver) else {
                continue;
            };
            let server = Echo::start(&one.path, &[80]);
            let neighbour = stage.layout.neighbour.path();
            let outside = stage.layout.outside.path();
            for family in [0, 1] {
                let target = (Transport::Tcp, SocketAddr::new(one.own[family], 80));
                if !driver.contains("l3") {
                    // No address is translated on the way.
                    assert_eq!(ask_one(&neighbour, target), NEIGHBOUR[family], "{driver}");
                    assert_eq!(ask_one(&outside, target), OUTSIDE[family], "{driver}");
                }
                if see_each_other {
                    assert_eq!(ask_one(&two.path, target), two.own[family], "{driver}");
                }
            }
            if !see_each_other {
                assert_eq!(reaches(&two, &one), [None; 2], "{driver}");
            }
            // Such a device does not reach the one that it is on.
            let host = Place {
                name: "host".to_owned(),
                path: stage.layout.host.path(),
                own: HOST,
                gateway: HOST,
            };
            assert_eq!(reaches(&host, &one), [None; 2], "{driver}");
            drop(server);
            remove(stage);
            stage.is_as(&before);
        }
    });
}
