//! What goes wrong with networks: the daemon killed at any moment, rules flushed by others, ports that are taken.

use crate::stage::{Place, Stage, with};
use hull_tests::client::Client;
use hull_tests::command::{Finished, run};
use hull_tests::daemon::wait_until;
use hull_tests::layout::{HOST, LOOPBACK, OUTSIDE};
use hull_tests::names::{EMBEDDED, resolve};
use hull_tests::probe::{Echo, Expect, Transport, ask, ask_one};
use hull_tests::stream::Stream;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// How often the daemon is killed; `$HULL_TEST_ROUNDS` for more.
const ROUNDS: u64 = 26;

/// A network with room for five containers, and one that stays on it.
fn furnish(stage: &Stage<'_>) -> Place {
    stage.line("network create --subnet 10.78.0.0/29 --ipv6 --subnet fd78::/125 keep");
    stage.container("stays", "--network keep -p 9000-9001:80-81 -p 9000:80/udp")
}

/// What is done while the daemon is killed, and what makes that possible.
const OPERATIONS: &[(&str, &str)] = &[
    ("network create --ipv6 --label x=y passing", ""),
    ("network rm passing", "network create --ipv6 passing"),
    (
        "network connect --alias other passing victim",
        "network create --ipv6 passing; run -d --name victim --network keep busybox sleep 1000000",
    ),
    // These change which network provides the default routes and the way to published ports.
    (
        "network connect ahead victim",
        "network create --ipv6 ahead; run -d --name victim --network keep -p 9100-9103:80-83 busybox sleep 1000000",
    ),
    (
        "network disconnect ahead victim",
        "network create --ipv6 ahead; run -d --name victim --network keep -p 9100-9103:80-83 busybox sleep 1000000; network connect ahead victim",
    ),
    (
        "network disconnect keep victim",
        "run -d --name victim --network keep -p 9100-9103:80-83 busybox sleep 1000000",
    ),
    (
        "network disconnect -f passing victim",
        "network create --ipv6 passing; run -d --name victim --network keep busybox sleep 1000000; network connect passing victim",
    ),
    (
        "run -d --name victim --network keep -p 9100-9103:80-83 -p 9100:80/udp -p 127.0.0.1:9110:90 busybox sleep 1000000",
        "",
    ),
    (
        "start victim",
        "create --name victim --network keep -p 9100-9103:80-83 -p 9110:90 busybox sleep 1000000",
    ),
    (
        "stop -t 0 victim",
        "run -d --name victim --network keep -p 9100-9103:80-83 busybox sleep 1000000",
    ),
    (
        "restart -t 0 victim",
        "run -d --name victim --network keep -p 9100-9103:80-83 busybox sleep 1000000",
    ),
    (
        "rm -f victim",
        "run -d --name victim --network keep -p 9100-9103:80-83 busybox sleep 1000000",
    ),
    ("run --rm --network keep -p 9100:80 busybox true", ""),
];

/// The same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // xorshift64*, from Vigna's paper.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % end.max(1)
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn clean(stage: &Stage<'_>) {
    for words in [
        &["rm", "-f", "victim"][..],
        &["network", "rm", "passing"],
        &["network", "rm", "ahead"],
    ] {
        let done = stage.run(words);
        let gone = done.stderr.contains("o such") || done.stderr.contains("not found");
        assert!(done.code == 0 || gone, "{done:?}");
    }
}

fn prepare(stage: &Stage<'_>, lines: &str) {
    for line in lines.split("; ").filter(|line| !line.is_empty()) {
        stage.line(line);
    }
}

#[test]
fn a_daemon_killed_at_any_moment_leaves_nothing_and_interrupts_nothing() {
    with(Client::Hull, &[], |stage| {
        let stays = furnish(stage);
        let (host, outside) = (stage.layout.host.path(), stage.layout.outside.path());
        let _server = Echo::start(&stays.path, &[80]);
        let stream = Stream::start(&stays.path, 81, &outside, SocketAddr::new(HOST[0], 9001));
        // How long each takes, and that each leaves nothing when nobody is killed.
        let before = stage.traces();
        let mut times = Vec::new();
        for (operation, preparation) in OPERATIONS {
            prepare(stage, preparation);
            let begun = Instant::now();
            stage.line(operation);
            times.push(begun.elapsed());
            clean(stage);
            stage.is_as(&before);
        }
        let seed = number("HULL_TEST_SEED", 0x9e37_79b9_7f4a_7c15);
        let mut random = Random(seed);
        for round in 0..number("HULL_TEST_ROUNDS", ROUNDS) {
            let index = usize::try_from(round).unwrap() % OPERATIONS.len();
            let (operation, preparation) = OPERATIONS[index];
            let micros = u64::try_from(times[index].as_micros()).unwrap();
            let delay = Duration::from_micros(random.below(micros + micros / 5));
            eprintln!("seed {seed} round {round}: {operation}, killed after {delay:?}");
            prepare(stage, preparation);
            let done = killed_during(stage, operation, delay);
            stage.daemon.restart();
            if done.code == 0 {
                acknowledged(stage, operation);
            }
            is_consistent(stage);
            stream.goes_on();
            for transport in [Transport::Tcp, Transport::Udp] {
                for address in HOST {
                    let question = (transport, SocketAddr::new(address, 9000));
                    let seen = ask_one(&outside, question);
                    assert!(OUTSIDE.contains(&seen), "{seen}");
                }
            }
            clean(stage);
            stage.is_as(&before);
        }
        // No address, port or name is lost: all that there are can be had.
        for index in 0..4 {
            let place = stage.container(&format!("all{index}"), "--network keep");
            assert!(
                !place.own[0].is_unspecified() && !place.own[1].is_unspecified(),
                "{place:?}"
            );
        }
        let full = stage.run(&["run", "--rm", "--network", "keep", "busybox", "true"]);
        assert_ne!(full.code, 0, "the network has room for five: {full:?}");
        can_bind(&host, &[9100, 9101, 9102, 9103, 9110]);
        let name = |name| resolve(&stays.path, EMBEDDED, name, false).map(|answer| answer.code);
        assert_eq!((name("victim"), name("all2")), (Some(3), Some(0)));
    });
}

/// Runs a command line and kills the daemon after `delay`.
fn killed_during(stage: &mut Stage<'_>, operation: &str, delay: Duration) -> Finished {
    let mut command = stage.client.command(&stage.daemon);
    command.args(operation.split(' '));
    let running = std::thread::spawn(move || run(&mut command, &[]));
    let pause = rustix::event::Timespec::try_from(delay).unwrap();
    let _ = rustix::event::poll(&mut [], Some(&pause));
    stage.daemon.kill();
    running.join().unwrap()
}

/// What was said to be done is done.
fn acknowledged(stage: &Stage<'_>, operation: &str) {
    let network = stage.daemon.get("/networks/passing").status;
    let victim = stage.daemon.get("/containers/victim/json");
    let running = victim.status == 200 && victim.json()["State"]["Running"] == true;
    let on = |network: &str| !victim.json()["NetworkSettings"]["Networks"][network].is_null();
    let named = || {
        let mut words = operation.split(' ');
        let network = words.find(|word| ["keep", "passing", "ahead"].contains(word));
        network.expect("the operation names a network")
    };
    match operation.split(' ').take(2).collect::<Vec<_>>().as_slice() {
        ["network", "create"] => assert_eq!(network, 200),
        ["network", "rm"] => assert_eq!(network, 404),
        ["network", "connect"] => assert!(running && on(named()) && on("keep"), "{victim:?}"),
        ["network", "disconnect"] => assert!(running && !on(named()), "{victim:?}"),
        ["run", "--rm"] => assert_eq!(victim.status, 404),
        ["run", _] | ["start" | "restart", _] => assert!(running, "{victim:?}"),
        ["stop", _] => assert!(victim.status == 200 && !running, "{victim:?}"),
        ["rm", _] => assert_eq!(victim.status, 404),
        other => panic!("{other:?}"),
    }
}

/// A victim that runs has the routes and the ports that are shown of it.
fn is_consistent(stage: &Stage<'_>) {
    let victim = stage.daemon.get("/containers/victim/json");
    if victim.status != 200 || victim.json()["State"]["Running"] != true {
        return;
    }
    let victim = victim.json();
    let pid = &victim["State"]["Pid"];
    let networks = &victim["NetworkSettings"]["Networks"];
    let leads = |key: &str| {
        let mut places = networks.as_object().into_iter().flatten();
        places.any(|(_, place)| place[key].as_str().is_some_and(|text| !text.is_empty()))
    };
    let read = |name: &str| fs_err::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap();
    let route = read("route")
        .lines()
        .any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let route6 = read("ipv6_route").lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"00") && words.last() != Some(&"lo")
    });
    assert_eq!(
        (route, route6),
        (leads("Gateway"), leads("IPv6Gateway")),
        "{victim}"
    );
    if victim["NetworkSettings"]["Ports"]["80/tcp"].is_array() {
        let _server = Echo::start(format!("/proc/{pid}/ns/net").as_ref(), &[80]);
        for address in HOST {
            let question = (Transport::Tcp, SocketAddr::new(address, 9100));
            let seen = ask_one(&stage.layout.outside.path(), question);
            assert!(OUTSIDE.contains(&seen), "{seen}");
        }
    }
}

/// Nobody holds these ports any more, of either protocol or family.
fn can_bind(place: &std::path::Path, ports: &[u16]) {
    hull_tests::host::within(place, || {
        for port in ports {
            for address in ["0.0.0.0", "::"] {
                let at = SocketAddr::new(address.parse().unwrap(), *port);
                drop(TcpListener::bind(at).unwrap_or_else(|error| panic!("{at}: {error}")));
                drop(UdpSocket::bind(at).unwrap_or_else(|error| panic!("{at}: {error}")));
            }
        }
    });
}

#[test]
fn rules_that_somebody_flushes_are_back_at_once() {
    with(Client::Hull, &[], |stage| {
        let stays = furnish(stage);
        let layout = stage.layout;
        let outside = layout.outside.path();
        let _server = Echo::start(&stays.path, &[80, 82]);
        let before = stage.traces();
        let published = SocketAddr::new(HOST[0], 9000);
        for line in [
            "flush ruleset",
            "delete table inet hull",
            "flush table inet hull",
        ] {
            let begun = Instant::now();
            let _ = run(layout.host.command("nft").args(line.split(' ')), &[]).ok();
            stage.is_as(&before);
            eprintln!("{line}: back after {:?} at most", begun.elapsed());
            let seen = ask_one(&outside, (Transport::Tcp, published));
            assert_eq!(seen, OUTSIDE[0]);
            is_shut(stage, &stays);
        }
        // While nobody watches: the next start makes them.
        stage.daemon.kill();
        let _ = run(layout.host.command("nft").args(["flush", "ruleset"]), &[]).ok();
        stage.daemon.restart();
        stage.is_as(&before);
        is_shut(stage, &stays);
        // The rules of others are left alone.
        let others =
            "table ip others { chain c { type filter hook input priority 0; counter accept; }; }";
        let _ = run(
            layout.host.command("nft").args(["-f", "-"]),
            others.as_bytes(),
        )
        .ok();
        stage.line("rm -f stays");
        stage.line("network rm keep");
        let rules = run(layout.host.command("nft").args(["list", "tables"]), &[]);
        assert!(rules.ok().contains("table ip others"), "{rules:?}");
    });
}

/// What is not published is not reached from the host's link, not even by who knows the way.
fn is_shut(stage: &Stage<'_>, place: &Place) {
    let questions: Vec<_> = place
        .own
        .iter()
        .flat_map(|address| [80, 82].map(|port| (Transport::Tcp, SocketAddr::new(*address, port))))
        .collect();
    let neighbour = stage.layout.neighbour.path();
    let answers = ask(&neighbour, &questions, Expect::Exactly(&[false; 4]));
    assert_eq!(answers, [None; 4]);
}

#[test]
fn names_are_answered_while_the_daemon_is_away_and_after_the_resolver_was_killed() {
    with(Client::Hull, &[], |stage| {
        let stays = furnish(stage);
        let second = stage.container("second", "--network keep --network-alias alias");
        let found = |name: &str| {
            let four = resolve(&stays.path, EMBEDDED, name, false).ok_or("no answer")?;
            let six = resolve(&stays.path, EMBEDDED, name, true).ok_or("no answer")?;
            if four.addresses == [second.own[0]] && six.addresses == [second.own[1]] {
                Ok(())
            } else {
                Err("another answer")
            }
        };
        assert_eq!((found("second"), found("alias")), (Ok(()), Ok(())));
        stage.daemon.kill();
        assert_eq!((found("second"), found("alias")), (Ok(()), Ok(())));
        stage.daemon.restart();
        assert_eq!((found("second"), found("alias")), (Ok(()), Ok(())));
        let resolvers = stage.daemon.processes_of("hull-dns");
        assert_eq!(resolvers.len(), 1, "{resolvers:?}");
        kill(resolvers[0]);
        let begun = Instant::now();
        wait_until("the resolver comes back", || found("second"));
        eprintln!("the resolver was back after {:?} at most", begun.elapsed());
        assert_eq!(found("alias"), Ok(()));
        // Both at once.
        for pid in stage.daemon.processes_of("hull-dns") {
            kill(pid);
        }
        stage.daemon.kill();
        stage.daemon.restart();
        wait_until("the resolver comes back", || found("second"));
        stage.line("rm -f second");
        let gone = resolve(&stays.path, EMBEDDED, "second", false).map(|answer| answer.code);
        assert_eq!(gone, Some(3));
    });
}

fn kill(pid: i32) {
    use rustix::process::{Pid, Signal, kill_process};
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_port_that_is_taken_is_an_error_that_leaves_nothing() {
    with(Client::Hull, &[], |stage| {
        furnish(stage);
        let host = stage.layout.host.path();
        let any4: IpAddr = "0.0.0.0".parse().unwrap();
        let any6: IpAddr = "::".parse().unwrap();
        let at = |address, port| {
            hull_tests::host::within(&host, || {
                TcpListener::bind(SocketAddr::new(address, port)).unwrap()
            })
        };
        let _held = (
            at(any4, 9202),
            at(LOOPBACK[0], 9210),
            at(LOOPBACK[1], 9220),
            at(any6, 9230),
        );
        let _datagrams = hull_tests::host::within(&host, || UdpSocket::bind((any4, 9240)).unwrap());
        let before = stage.traces();
        for (port, options) in [
            ("9202", "-p 9202:80"),
            ("9202", "-p 9199:79 -p 9200-9205:80-85"),
            ("9202", "-p 9201:79 -p 9202:80/tcp -p 9203:80/udp"),
            ("9210", "-p 9210:80"),
            ("9210", "-p 127.0.0.1:9210:80"),
            ("9220", "-p 9220:80"),
            ("9230", "-p 9230:80"),
            ("9240", "-p 9240:80/udp"),
            // By another container.
            ("9000", "-p 9000:80"),
            ("9001", "-p 9001:80"),
            ("9000", "-p 127.0.0.1:9000:80/udp"),
        ] {
            let line = format!("run -d --name victim --network keep {options} busybox sleep 1000");
            let failed = stage.run(&line.split(' ').collect::<Vec<_>>());
            let message = failed.fails(125);
            assert!(message.contains(port), "{options}: {message}");
            let seen = stage.inspect("victim");
            assert_eq!(seen["State"]["Status"], "created", "{options}");
            stage.is_as(&before);
            stage.line("rm victim");
        }
        // What is not in the way does not matter.
        stage.container(
            "victim",
            "--network keep -p 192.0.2.22:9210:80 -p 9202:80/udp -p 9240:80/tcp",
        );
        stage.line("rm -f victim");
        stage.is_as(&before);
    });
}

#[test]
fn a_killed_shim_takes_the_containers_network_with_it() {
    with(Client::Hull, &[], |stage| {
        let stays = furnish(stage);
        let outside = stage.layout.outside.path();
        let _server = Echo::start(&stays.path, &[80]);
        let stream = Stream::start(&stays.path, 81, &outside, SocketAddr::new(HOST[0], 9001));
        let before = stage.traces();
        let shims = stage.daemon.shims();
        stage.container("victim", "--network keep -p 9100:80");
        for away in [false, true] {
            let own = stage.daemon.shims();
            let own: Vec<_> = own
                .into_iter()
                .filter(|shim| !shims.contains(shim))
                .collect();
            assert!(!own.is_empty());
            if away {
                stage.daemon.kill();
            }
            for (pid, _) in own {
                kill(pid);
            }
            if away {
                stage.daemon.restart();
            } else {
                assert_eq!(stage.line("wait victim"), "137");
            }
            stage.is_as(&before);
            stream.goes_on();
            can_bind(&stage.layout.host.path(), &[9100]);
            stage.line("start victim");
        }
        stage.line("rm -f victim");
        stage.is_as(&before);
    });
}
