//! What the kernel makes of our messages, told by the nft program where there is one.

use super::*;
use crate::namespace::{self, flag};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

/// Does something in a network namespace of its own; `None` where that is not allowed.
fn alone<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return None;
    }
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                namespace::unshare(flag::NETWORK).unwrap();
                work()
            })
            .join()
            .ok()
    })
    .or_else(|| panic!("failed in the namespace"))
}

/// What `nft` prints, without indentation.
fn listed() -> Option<Vec<String>> {
    let output = match Command::new("nft").args(["-n", "list", "ruleset"]).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: no nft program");
            return None;
        }
        other => other.unwrap(),
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(text.lines().map(words).collect())
}

fn assert_lines(found: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(
            found.iter().any(|found| found == line),
            "`{line}` is not in\n{}",
            found.join("\n")
        );
    }
}

fn key(protocol: u8, port: u16) -> Value {
    Value::default().protocol(protocol).port(port)
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);

fn table() -> Table {
    Table::new(Family::Inet, "t")
}

fn ports() -> Set {
    Set::new("ports", &[Field::Protocol, Field::Port]).to(&[Field::Ipv4, Field::Port])
}

fn ranges() -> Set {
    Set::ranges("ranges", &[Field::Protocol, Field::Port]).to(&[Field::Ipv4])
}

fn sets(batch: &mut Batch) {
    let table = table();
    let elements = [
        (
            Set::ranges("subnets", &[Field::Ipv4]),
            vec![
                Element::range(
                    Ipv4Addr::new(172, 17, 0, 0),
                    Ipv4Addr::new(172, 17, 255, 255),
                ),
                Element::range(Ipv4Addr::new(172, 18, 0, 0), Ipv4Addr::new(172, 18, 0, 9)),
                Element::range(
                    Ipv4Addr::new(255, 0, 0, 0),
                    Ipv4Addr::new(255, 255, 255, 255),
                ),
            ],
        ),
        (
            Set::ranges("homes", &[Field::Ipv4, Field::Device]),
            vec![Element::range(
                Value::from(Ipv4Addr::new(172, 17, 0, 0)).device("hull0"),
                Value::from(Ipv4Addr::new(172, 17, 255, 255)).device("hull0"),
            )],
        ),
        (
            Set::new("devices", &[Field::Device]),
            vec![Element::key(Value::default().device("hull0"))],
        ),
        (
            ports(),
            vec![Element::key(key(6, 8080)).value(Value::from(ADDRESS).port(80))],
        ),
        (
            ranges(),
            vec![Element::range(key(17, 9000), key(17, 9100)).value(ADDRESS)],
        ),
        (
            Set::ranges("six", &[Field::Ipv6, Field::Device]),
            vec![Element::range(
                Value::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)).device("hull0"),
                Value::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xffff)).device("hull0"),
            )],
        ),
    ];
    for (set, elements) in elements {
        batch.add_set(&table, &set);
        batch.add_elements(&table, &set, &elements);
    }
}

#[allow(clippy::too_many_lines, reason = "a list")]
fn rules() -> Vec<(&'static str, Rule)> {
    let port = [Source::Protocol, Source::DestinationPort];
    vec![
        (
            "forward",
            Rule::new()
                .state(state::ESTABLISHED | state::RELATED)
                .accept()
                .comment("known"),
        ),
        ("forward", Rule::new().status(status::DNAT).count().accept()),
        (
            "forward",
            Rule::new().in_set(&[Source::InDevice], "devices").drop(),
        ),
        (
            "forward",
            Rule::new()
                .family(Family::Ipv4)
                .not_in_set(&[Source::Destination4, Source::InDevice], "homes")
                .drop(),
        ),
        (
            "forward",
            Rule::new()
                .not_in_device("hull0")
                .protocol(protocol::TCP)
                .drop(),
        ),
        (
            "forward",
            Rule::new()
                .family(Family::Ipv6)
                .in_set(&[Source::Source6, Source::OutDevice], "six")
                .verdict(Verdict::Goto("called".to_owned())),
        ),
        (
            "forward",
            Rule::new()
                .masked(Source::Source4, &[255, 0, 0, 0], &[10, 0, 0, 0])
                .jump("called"),
        ),
        (
            "pre",
            Rule::new()
                .to_this_host(true)
                .family(Family::Ipv4)
                .map(&port, "ports")
                .destination_nat(Family::Ipv4, true),
        ),
        (
            "pre",
            Rule::new()
                .to_this_host(true)
                .family(Family::Ipv4)
                .map(&port, "ranges")
                .destination_nat(Family::Ipv4, false),
        ),
        (
            "post",
            Rule::new()
                .family(Family::Ipv4)
                .in_set(&[Source::Source4], "subnets")
                .masquerade(),
        ),
        (
            "called",
            Rule::new().protocol(protocol::UDP).set_port(
                Source::DestinationPort,
                protocol::UDP,
                5353,
            ),
        ),
    ]
}

fn everything() -> Batch {
    let (table, mut batch) = (table(), Batch::default());
    batch.add_table(&table);
    for chain in [
        Chain::regular("called"),
        Chain {
            policy: Policy::Drop,
            ..Chain::filter("forward", Hook::Forward, -5)
        },
        Chain::nat("pre", Hook::Prerouting, -100),
        Chain::nat("post", Hook::Postrouting, 100),
    ] {
        batch.add_chain(&table, &chain);
    }
    sets(&mut batch);
    for (chain, rule) in rules() {
        batch.add_rule(&table, chain, &rule);
    }
    batch
}

#[test]
fn the_nft_program_reads_what_we_write() {
    let Some(Some(found)) = alone(|| {
        Socket::open().unwrap().commit(everything()).unwrap();
        listed()
    }) else {
        return;
    };
    assert_lines(
        &found,
        &[
            "elements = { 172.17.0.0/16, 172.18.0.0-172.18.0.9,",
            "elements = { 172.17.0.0/16 . \"hull0\" }",
            "elements = { 6 . 8080 : 172.17.0.2 . 80 }",
            "elements = { 17 . 9000-9100 : 172.17.0.2 }",
            "type filter hook forward priority -5; policy drop;",
            "ct state 0x2,0x4 accept comment \"known\"",
            "ct status 0x20 counter packets 0 bytes 0 accept",
            "iifname @devices drop",
            "ip daddr . iifname != @homes drop",
            "iifname != \"hull0\" meta l4proto 6 drop",
            "ip6 saddr . oifname @six goto called",
            "ip saddr @subnets masquerade",
            "udp dport set 5353",
        ],
    );
    assert!(
        found
            .iter()
            .any(|line| line.contains("dnat ip to meta l4proto . th dport map @ports")),
        "{found:#?}"
    );
}

#[test]
fn what_is_there_is_read_back() {
    alone(|| {
        let mut socket = Socket::open().unwrap();
        assert_eq!(socket.chains().unwrap(), []);
        assert_eq!(socket.rules(Some(&table())).unwrap(), []);
        socket.commit(everything()).unwrap();
        let chains = socket.chains().unwrap();
        let forward = chains.iter().find(|c| c.name == "forward").unwrap();
        let base = forward.base.as_ref().unwrap();
        assert_eq!(
            (base.kind.as_str(), base.hook, base.priority, base.drops),
            ("filter", 2, -5, true)
        );
        let found = socket.rules(Some(&table())).unwrap();
        assert_eq!(found.len(), rules().len());
        let known = found
            .iter()
            .find(|r| r.comment.as_deref() == Some("known"))
            .unwrap();
        assert_eq!(known.chain, "forward");
        assert_eq!(known.expressions[0].name, "ct");
        assert_eq!(socket.sets(&table()).unwrap().len(), 6);
        let elements = socket.elements(&table(), "ports").unwrap();
        assert_eq!(elements.len(), 1);
        assert_eq!(elements[0].key, key(6, 8080).bytes());
        assert_eq!(elements[0].value, Value::from(ADDRESS).port(80).bytes());
        let ranges = socket.elements(&table(), "ranges").unwrap();
        assert_eq!(ranges[0].last.as_deref(), Some(key(17, 9100).bytes()));
        assert_eq!(socket.elements(&table(), "subnets").unwrap().len(), 5);
        assert_eq!(socket.elements(&table(), "nothing").unwrap(), []);
    });
}

#[test]
fn a_transaction_happens_whole_or_not_at_all() {
    alone(|| {
        let mut socket = Socket::open().unwrap();
        let table = table();
        let mut batch = everything();
        batch.add_rule(&table, "absent", &Rule::new().drop());
        let error = socket.commit(batch).unwrap_err();
        assert!(error.is_absent(), "{error:?}");
        assert!(
            error
                .to_string()
                .starts_with("add a rule to nftables chain absent of table inet t"),
            "{error}"
        );
        assert_eq!(socket.chains().unwrap(), []);
        socket.commit(everything()).unwrap();

        let before = socket.generation().unwrap();
        let mut batch = Batch::default();
        batch.require_generation(before);
        batch.add_elements(
            &table,
            &ports(),
            &[Element::key(key(6, 1)).value(Value::from(ADDRESS).port(1))],
        );
        socket.commit(batch.clone()).unwrap();
        let error = socket.commit(batch).unwrap_err();
        assert!(error.is_outdated(), "{error:?}");

        let mut batch = Batch::default();
        batch.delete_elements(
            &table,
            &ports(),
            &[Element::key(key(6, 1)).value(Value::from(ADDRESS).port(1))],
        );
        socket.commit(batch.clone()).unwrap();
        assert!(socket.commit(batch).unwrap_err().is_absent());

        let mut batch = Batch::default();
        batch.remove_table(&table);
        socket.commit(batch.clone()).unwrap();
        socket.commit(batch).unwrap();
        assert_eq!(socket.chains().unwrap(), []);
    });
}

#[test]
fn many_elements_are_one_transaction() {
    alone(|| {
        let mut socket = Socket::open().unwrap();
        let table = table();
        let mut batch = Batch::default();
        batch.add_table(&table);
        batch.add_set(&table, &ports());
        let elements: Vec<_> = (1..=20_000)
            .map(|port| Element::key(key(6, port)).value(Value::from(ADDRESS).port(port)))
            .collect();
        batch.add_elements(&table, &ports(), &elements);
        socket.commit(batch).unwrap();
        assert_eq!(socket.elements(&table, "ports").unwrap().len(), 20_000);
    });
}

#[test]
fn changes_are_told_with_who_made_them() {
    alone(|| {
        let mut monitor = Monitor::open().unwrap();
        let mut socket = Socket::open().unwrap();
        assert_eq!(monitor.read().unwrap(), None);
        socket.commit(everything()).unwrap();
        let mut batch = Batch::default();
        batch.flush_chain(&table(), "called");
        batch.delete_elements(
            &table(),
            &ranges(),
            &[Element::range(key(17, 9000), key(17, 9100)).value(ADDRESS)],
        );
        Socket::open().unwrap().commit(batch).unwrap();
        let mut all = Vec::new();
        while let Some(changes) = monitor.read().unwrap() {
            all.extend(changes);
        }
        assert!(all.iter().all(|change| change.table == table()));
        let added = all
            .iter()
            .filter(|change| change.port == socket.port())
            .count();
        assert!(added > 20, "{all:#?}");
        let removed: Vec<_> = all
            .iter()
            .filter(|change| change.port != socket.port())
            .map(|c| (c.removed, c.object.clone()))
            .collect();
        assert_eq!(
            removed,
            [
                (true, Object::Rule("called".to_owned())),
                (true, Object::Elements("ranges".to_owned())),
            ]
        );
    });
}

#[test]
fn another_namespace_is_reached() {
    alone(|| {
        let here = fs_open("/proc/thread-self/ns/net");
        namespace::unshare(flag::NETWORK).unwrap();
        Socket::open_in(std::os::fd::AsFd::as_fd(&here))
            .unwrap()
            .commit(everything())
            .unwrap();
        assert_eq!(Socket::open().unwrap().chains().unwrap(), []);
    });
}

fn fs_open(path: &str) -> std::fs::File {
    std::fs::OpenOptions::new().read(true).open(path).unwrap()
}
