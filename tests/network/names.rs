//! Names while everything changes.

use crate::stage::with;
use hull_tests::client::Client;
use hull_tests::host::within;
use hull_tests::names::{Asker, EMBEDDED, KNOWN, resolve};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn names_are_right_while_containers_come_and_go() {
    with(Client::Hull, &[], |stage| {
        stage.line("network create --ipv6 net");
        stage.line("network create --ipv6 other");
        let asking = stage.container("asking", "--network net");
        let steady = stage.container("steady", "--network net --network-alias service");
        let guest = stage.container("guest", "--network other --network-alias guest");
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Also when an assertion fails.
            let end = End(&ended);
            let asker = scope.spawn(|| {
                within(&asking.path, || {
                    let asker = Asker::new(EMBEDDED);
                    let mut asked = 0;
                    let mut guests = BTreeSet::new();
                    while asked < 10_000 || !ended.load(Ordering::Relaxed) {
                        let six = asked % 2 == 1;
                        let found = asker.ask("steady", six).expect("the resolver answers");
                        assert_eq!(found.addresses, [steady.own[usize::from(six)]]);
                        let service = asker.ask("service", false).expect("the resolver answers");
                        assert!(service.addresses.contains(&steady.own[0]), "{service:?}");
                        // There, or not there; nothing between.
                        let found = asker.ask("guest", six).expect("the resolver answers");
                        assert_eq!(found.code == 0, !found.addresses.is_empty(), "{found:?}");
                        guests.insert(found.code);
                        asked += 3;
                    }
                    (asked, guests)
                })
            });
            for _ in 0..15 {
                stage.line("network connect --alias service net guest");
                let found = resolve(&asking.path, EMBEDDED, "service", false).unwrap();
                let all: BTreeSet<IpAddr> = found.addresses.into_iter().collect();
                assert!(all.len() == 2 && all.contains(&steady.own[0]), "{all:?}");
                stage.line("network disconnect net guest");
                let found = resolve(&asking.path, EMBEDDED, "guest", false).unwrap();
                assert_eq!((found.code, found.addresses.len()), (3, 0));
            }
            drop(end);
            let (asked, guests) = asker.join().unwrap();
            eprintln!("{asked} names asked; the guest's answers: {guests:?}");
        });
        let known = resolve(&asking.path, EMBEDDED, "known.example", false).unwrap();
        assert_eq!(known.addresses, [KNOWN]);
        // Of its other network it never was gone.
        let found = resolve(&guest.path, EMBEDDED, "guest", false).unwrap();
        assert_eq!(found.addresses, [guest.own[0]]);
    });
}

struct End<'f>(&'f AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn several_containers_of_one_name_take_turns() {
    with(Client::Docker, &[], |stage| {
        stage.line("network create net");
        let asking = stage.container("asking", "--network net");
        let all: BTreeSet<IpAddr> = ["aa", "bb", "cc"]
            .map(|name| {
                stage
                    .container(name, "--network net --network-alias service")
                    .own[0]
            })
            .into();
        let mut first = BTreeSet::new();
        for _ in 0..60 {
            let found = resolve(&asking.path, EMBEDDED, "service", false).unwrap();
            first.insert(found.addresses[0]);
            assert_eq!(found.addresses.into_iter().collect::<BTreeSet<_>>(), all);
        }
        assert_eq!(first, all, "each of them comes first at times");
    });
}
