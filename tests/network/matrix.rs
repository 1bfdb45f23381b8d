//! Who reaches whom by which address, and as whom it is seen.
//!
//! `matrix/docker.txt` is what dockerd 28.5 did on this layout: facts, recorded by this very test with
//!
//! ```text
//! HULL_TEST_ENGINE=PROGRAM HULL_TEST_RECORD=$PWD/tests/network/matrix/docker.txt cargo test -p hull-tests --test network matrix
//! ```
//!
//! `matrix/differs.txt` has the lines in which Hull does something else, and why.

use crate::stage::{Place, Stage, with};
use hull_tests::client::Client;
use hull_tests::daemon::other_engine;
use hull_tests::layout::{HOST, LOOPBACK, NEIGHBOUR, OUTSIDE, Pair, SECOND};
use hull_tests::probe::{Echo, Expect, Question, Transport, ask};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The port that targets publish, and one that they do not.
const OPEN: u16 = 80;
const CLOSED: u16 = 81;

/// What is asked: name, network, the host's port and how it is published.
const TARGETS: &[(&str, &str, u16, &str)] = &[
    ("published", "net", 8001, "8001"),
    ("on-loopback", "net", 8002, "127.0.0.1:8002 [::1]:8002"),
    (
        "on-one-address",
        "net",
        8003,
        "192.0.2.22:8003 [2001:db8:1::22]:8003",
    ),
    ("not-published", "net", 8004, ""),
    ("on-default", "bridge", 8005, "8005"),
    ("on-internal", "internal", 8006, "8006"),
    ("on-routed", "routed", 8007, "8007"),
    ("on-isolated", "isolated", 8008, "8008"),
    ("on-unprotected", "unprotected", 8009, "8009"),
    ("on-icc-off", "icc-off", 8010, "8010"),
];

/// Networks: name and options; the subnets follow from the position.
const NETWORKS: &[(&str, &str)] = &[
    ("net", ""),
    ("other", ""),
    ("internal", "--internal"),
    (
        "routed",
        "-o com.docker.network.bridge.gateway_mode_ipv4=routed -o com.docker.network.bridge.gateway_mode_ipv6=routed",
    ),
    (
        "isolated",
        "--internal -o com.docker.network.bridge.gateway_mode_ipv4=isolated -o com.docker.network.bridge.gateway_mode_ipv6=isolated",
    ),
    (
        "unprotected",
        "-o com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected -o com.docker.network.bridge.gateway_mode_ipv6=nat-unprotected",
    ),
    ("icc-off", "-o com.docker.network.bridge.enable_icc=false"),
];

const HEAD: &str = "# target, from, by which address: the address that the target saw by tcp and udp over IPv4, tcp and udp over IPv6\n";

/// A line of the matrix: from whom to whom, and what was seen by [`COLUMNS`].
type Matrix = BTreeMap<(String, String, &'static str), [String; 4]>;

const COLUMNS: [(usize, Transport); 4] = [
    (0, Transport::Tcp),
    (0, Transport::Udp),
    (1, Transport::Tcp),
    (1, Transport::Udp),
];

#[test]
fn everybody_reaches_what_they_reach_with_docker() {
    let arguments = ["--ipv6", "--fixed-cidr-v6", "fd77:99::/64"];
    with(Client::Docker, &arguments, |stage| {
        let expected = expected();
        let cast = Cast::of(stage);
        let mut seen = Matrix::new();
        for client in &cast.clients {
            seen.extend(asked_by(client, &cast.targets, &expected));
        }
        for target in cast.targets.iter().filter(|target| !target.1.is_empty()) {
            let client = (target.0.clone(), target.1);
            seen.extend(asked_by(&client, std::slice::from_ref(target), &expected));
        }
        if let Some(file) = std::env::var_os("HULL_TEST_RECORD") {
            fs_err::write(PathBuf::from(file), format!("{HEAD}{}", shown(&seen))).unwrap();
            return;
        }
        compare(&expected, &seen);
    });
}

fn compare(expected: &Matrix, seen: &Matrix) {
    let mut wrong = String::new();
    for (key, is) in seen {
        let should = expected.get(key);
        if should != Some(is) {
            let should = should.map_or_else(|| "no line".to_owned(), |line| line.join(" "));
            let _ = writeln!(
                wrong,
                "{} from {} by {}: {}; should be {should}",
                key.0,
                key.1,
                key.2,
                is.join(" ")
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(seen.len(), expected.len(), "a line was not asked");
}

/// Everybody in the play. The servers end before the daemon does.
struct Cast {
    /// Client, and the network that it is on: "" for those that are no containers.
    clients: Vec<(Place, &'static str)>,
    targets: Vec<Target>,
    _servers: Vec<Echo>,
}

impl Cast {
    fn of(stage: &Stage<'_>) -> Self {
        for (index, (name, options)) in NETWORKS.iter().enumerate() {
            let gateways = if *name == "isolated" {
                String::new()
            } else {
                format!("--gateway 10.77.{index}.1 --gateway fd77:{index}::1")
            };
            stage.line(&format!(
                "network create --ipv6 --subnet 10.77.{index}.0/24 --subnet fd77:{index}::/64 {gateways} {options} {name}"
            ));
        }
        let mut clients: Vec<(Place, &str)> = NETWORKS
            .iter()
            .map(|(network, _)| *network)
            .chain(["bridge"])
            .map(|network| {
                let place = stage.container(
                    &format!("on-{network}-too"),
                    &format!("--network {network}"),
                );
                (place, network)
            })
            .collect();
        let mut targets = Vec::new();
        for (name, network, port, published) in TARGETS {
            let mut options = format!("--network {network}");
            for address in published.split_whitespace() {
                let _ = write!(options, " -p {address}:{OPEN}/tcp -p {address}:{OPEN}/udp");
            }
            targets.push((stage.container(name, &options), *network, *port));
        }
        let outer = |name: &str, path: PathBuf, own: Pair| Place {
            name: name.to_owned(),
            path,
            own,
            gateway: own,
        };
        let layout = stage.layout;
        let others = [
            outer("host", layout.host.path(), HOST),
            outer("neighbour", layout.neighbour.path(), NEIGHBOUR),
            outer("outside", layout.outside.path(), OUTSIDE),
        ];
        clients.extend(others.iter().map(|place| (place.clone(), "")));
        targets.extend(others.into_iter().map(|place| (place, "", OPEN)));
        let mut servers: Vec<Echo> = targets
            .iter()
            .filter(|(place, _, _)| place.name != "host")
            .map(|(place, _, _)| Echo::start(&place.path, &[OPEN, CLOSED]))
            .collect();
        let bridges = clients
            .iter()
            .filter(|(_, network)| !matches!(*network, "" | "isolated"))
            .map(|(place, _)| place.gateway);
        let at: Vec<SocketAddr> = bridges
            .chain([HOST])
            .flatten()
            .map(|address| SocketAddr::new(address, OPEN))
            .collect();
        servers.push(Echo::start_at(&layout.host.path(), &at));
        Self {
            clients,
            targets,
            _servers: servers,
        }
    }
}

type Target = (Place, &'static str, u16);

/// What one client sees of `targets`.
fn asked_by((client, network): &(Place, &str), targets: &[Target], expected: &Matrix) -> Matrix {
    let mut keys = Vec::new();
    let mut questions: Vec<Question> = Vec::new();
    for (target, its_network, port) in targets {
        let from = match (*network, *its_network) {
            _ if client.name == target.name => "itself".to_owned(),
            ("", _) => client.name.clone(),
            (own, other) if own == other => "same".to_owned(),
            (own @ ("other" | "bridge"), _) | (own, "") => format!("on-{own}"),
            // One more network would tell nothing that "other" does not.
            _ => continue,
        };
        for (by, address, port) in ways(client, network, target, its_network, *port) {
            keys.push((target, (target.name.clone(), from.clone(), by)));
            questions
                .extend(COLUMNS.map(|(family, transport)| {
                    (transport, SocketAddr::new(address[family], port))
                }));
        }
    }
    let wanted: Vec<bool> = keys
        .iter()
        .flat_map(|(_, key)| match expected.get(key) {
            Some(line) => line.each_ref().map(|seen| seen != "-"),
            None => [false; 4],
        })
        .collect();
    let expect = if other_engine().is_some() {
        Expect::Unknown(Duration::from_secs(4))
    } else {
        Expect::Exactly(&wanted)
    };
    let answers = ask(&client.path, &questions, expect);
    let lines = keys.into_iter().zip(answers.chunks(4));
    lines
        .map(|((target, key), seen)| {
            let mut line = [const { String::new() }; 4];
            for (text, seen) in line.iter_mut().zip(seen) {
                *text = seen.map_or_else(|| "-".to_owned(), |seen| name(seen, client, target));
            }
            (key, line)
        })
        .collect()
}

/// The addresses and ports by which a client can try to reach a target.
fn ways(
    client: &Place,
    network: &str,
    target: &Place,
    its_network: &str,
    port: u16,
) -> Vec<(&'static str, Pair, u16)> {
    let mut ways = Vec::new();
    if client.name != target.name {
        ways.push(("its-address", target.own, OPEN));
        ways.push(("its-address-unpublished", target.own, CLOSED));
    }
    if its_network.is_empty() {
        // It is no container: what gets out is asked.
        if target.name == "host" && !network.is_empty() {
            ways.push(("gateway", client.gateway, OPEN));
        }
        ways.retain(|(by, address, _)| {
            !network.is_empty() && *by != "its-address-unpublished" && !address[0].is_unspecified()
        });
        return ways;
    }
    ways.push(("host", HOST, port));
    ways.push(("hosts-second-address", SECOND, port));
    match client.name.as_str() {
        "host" => ways.push(("loopback", LOOPBACK, port)),
        "neighbour" => ways.push(("hosts-loopback", LOOPBACK, port)),
        "outside" => {}
        _ => ways.push(("gateway", client.gateway, port)),
    }
    ways.retain(|(_, address, _)| !address[0].is_unspecified());
    ways
}

/// Whose address the target saw.
fn name(seen: IpAddr, client: &Place, target: &Place) -> String {
    let names: [(&str, &Pair); 8] = [
        ("client", &client.own),
        ("itself", &target.own),
        ("its-gateway", &target.gateway),
        ("clients-gateway", &client.gateway),
        ("host", &HOST),
        ("hosts-second-address", &SECOND),
        ("loopback", &LOOPBACK),
        ("neighbour", &NEIGHBOUR),
    ];
    let known = names.iter().find(|(_, pair)| pair.contains(&seen));
    known.map_or_else(|| seen.to_string(), |(name, _)| (*name).to_owned())
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("network/matrix")
        .join(name)
}

fn shown(matrix: &Matrix) -> String {
    let mut text = String::new();
    for ((target, from, by), seen) in matrix {
        let _ = writeln!(text, "{target:16} {from:16} {by:24} {}", seen.join(" "));
    }
    text
}

/// What dockerd did, and then what Hull does otherwise.
fn expected() -> Matrix {
    let mut matrix = Matrix::new();
    for file in ["docker.txt", "differs.txt"] {
        let Ok(text) = fs_err::read_to_string(path(file)) else {
            continue;
        };
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let [target, from, by, seen @ ..] = words.as_slice() else {
                continue;
            };
            let by = WAYS.iter().find(|way| *way == by);
            let by = by.unwrap_or_else(|| panic!("{file}: no such way: {line}"));
            let seen = seen.iter().map(|word| (*word).to_owned());
            let seen: Vec<String> = seen.collect();
            let seen = seen.try_into().unwrap_or_else(|_| panic!("{file}: {line}"));
            matrix.insert(((*target).to_owned(), (*from).to_owned(), by), seen);
        }
    }
    matrix
}

const WAYS: &[&str] = &[
    "its-address",
    "its-address-unpublished",
    "host",
    "hosts-second-address",
    "loopback",
    "hosts-loopback",
    "gateway",
];
