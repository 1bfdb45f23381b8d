//! The networks of a container: none, host, the default bridge and those that users make; published ports.

use hull_tests::host::reference;
use hull_tests::setup::{Setup, with_each_client};

#[test]
fn none_has_only_loopback() {
    with_each_client(|s| {
        assert_eq!(
            s.line("run --rm --network none busybox ls /sys/class/net")
                .ok(),
            "lo"
        );
    });
}

#[test]
fn host_is_the_hosts() {
    with_each_client(|s| {
        if reference().is_some() {
            return;
        }
        let seen = s.line("run --rm --network host busybox ls /sys/class/net");
        let mut links = s.host.links();
        links.sort();
        let mut seen: Vec<&str> = seen.ok().split_whitespace().collect();
        seen.sort_unstable();
        assert_eq!(seen, links);
    });
}

#[test]
fn the_bridge_connects_containers_and_host() {
    with_each_client(|s| {
        let _ = s
            .script(
                "run -d --name server busybox",
                "while :; do echo hello | nc -l -p 80; done",
            )
            .ok();
        let address = s.inspect("server", "/NetworkSettings/Networks/bridge/IPAddress");
        let address = address.as_str().unwrap().to_owned();
        assert!(address.starts_with("172."), "{address}");
        let ask = format!("until nc {address} 80 </dev/null; do :; done");
        assert_eq!(s.script("run --rm busybox", &ask).ok(), "hello");
        let hosts = s.line("exec server cat /etc/hosts");
        let name = s.line("exec server hostname");
        assert!(
            hosts.ok().contains(&format!("{address}\t{}", name.ok())),
            "{hosts:?}"
        );
        assert_eq!(s.line("exec server cat /etc/hostname").ok(), name.ok());
        assert_eq!(
            s.line("exec server stat -c %F /etc/resolv.conf").ok(),
            "regular file"
        );
        let route = s.line("exec server ip route");
        assert!(route.ok().starts_with("default via 172."), "{route:?}");
        let _ = s.line("rm -f server").ok();
    });
}

/// Some containers have nothing to do but to be there.
fn idle(s: &Setup<'_>, name: &str, options: &str) {
    let line = format!("run -d --name {name} {options} busybox sleep 1000");
    let words: Vec<&str> = line.split_whitespace().collect();
    let _ = s.run(&words).ok();
}

#[test]
fn networks_of_ones_own_have_addresses_names_and_members() {
    with_each_client(|s| {
        let _ = s
            .line("network create --subnet 10.77.0.0/24 --label tier=front front")
            .ok();
        let _ = s.line("network create back").ok();
        idle(
            s,
            "web",
            "--network front --ip 10.77.0.9 --network-alias www",
        );
        idle(s, "job", "");
        let _ = s.line("network connect --alias runner front job").ok();
        let _ = s.line("exec job ping -c 1 -w 20 www").ok();
        let _ = s.line("exec web ping -c 1 -w 20 runner").ok();
        let hosts = s.line("exec job cat /etc/hosts");
        assert!(hosts.ok().contains("10.77.0."), "{hosts:?}");
        let resolver = s.line("exec job cat /etc/resolv.conf");
        assert!(
            resolver.ok().contains("nameserver 127.0.0.11"),
            "{resolver:?}"
        );
        membership_is_shown_and_refused_twice(s);
        let _ = s.line("network disconnect front job").ok();
        let gone = s.line("network disconnect front job");
        assert!(
            gone.fails(1).contains("is not connected to network front"),
            "{gone:?}"
        );
        assert_eq!(
            s.line("network prune -f --filter label!=tier").ok(),
            "Deleted Networks:\nback"
        );
        let _ = s.line("rm -f web job").ok();
        assert_eq!(s.line("network rm front").ok(), "front");
        let gone = s.line("run --rm --network front busybox true");
        assert!(
            gone.fails(125).contains("network front not found"),
            "{gone:?}"
        );
    });
}

/// `web` and `job` are in the network `front`.
fn membership_is_shown_and_refused_twice(s: &Setup<'_>) {
    let twice = s.line("network connect front job");
    assert!(
        twice
            .fails(1)
            .contains("endpoint with name job already exists in network front"),
        "{twice:?}"
    );
    let taken = s.line("network connect --ip 10.77.0.9 front web");
    assert!(taken.fails(1).contains("already exists"), "{taken:?}");
    let used = s.line("network rm front");
    assert!(
        used.fails(1)
            .contains("has active endpoints (name:\"job\" id:\""),
        "{used:?}"
    );
    let members = s.daemon.get("/networks/front").json();
    assert_eq!(
        members["Containers"].as_object().map(serde_json::Map::len),
        Some(2)
    );
    assert_eq!(
        s.line("network ls --filter label=tier=front --format {{.Name}}")
            .ok(),
        "front"
    );
    assert_eq!(
        s.line("ps -q --filter network=front").ok().lines().count(),
        2
    );
}

#[test]
fn ports_are_published_and_shown() {
    with_each_client(|s| {
        let serve = "while :; do echo hello | nc -l -p 80; done";
        let run = [
            "run",
            "-d",
            "--name",
            "server",
            "-p",
            "127.0.0.1:18080:80",
            "-p",
            "18090-18092:90-92",
            "--expose",
            "70",
            "busybox",
            "sh",
            "-c",
            serve,
        ];
        let _ = s.run(&run).ok();
        let ports = s.line("port server");
        assert!(
            ports.ok().contains("80/tcp -> 127.0.0.1:18080"),
            "{ports:?}"
        );
        assert!(ports.ok().contains("91/tcp -> 0.0.0.0:18091"), "{ports:?}");
        assert!(
            s.inspect("server", "/NetworkSettings/Ports/70~1tcp")
                .is_null()
        );
        let ask = "until timeout 5 nc 127.0.0.1 18080 </dev/null; do :; done";
        assert_eq!(
            s.script("run --rm --network host busybox", ask).ok(),
            "hello"
        );
        let taken = s.line("run --rm -p 127.0.0.1:18080:80 busybox true");
        assert!(
            taken
                .fails(125)
                .contains("Bind for 127.0.0.1:18080 failed: port is already allocated"),
            "{taken:?}"
        );
        assert_eq!(
            s.line("ps -q --filter publish=18091").ok().lines().count(),
            1
        );
        idle(s, "all", "-P --expose 5000");
        assert!(s.line("port all 5000").ok().starts_with("0.0.0.0:"));
        let _ = s.line("rm -f server all").ok();
        let _ = s.line("run --rm -p 127.0.0.1:18080:80 busybox true").ok();
    });
}

#[test]
fn containers_share_a_network_and_survive_the_daemon() {
    with_each_client(|s| {
        if reference().is_some() {
            return;
        }
        let _ = s.line("network create pair").ok();
        idle(s, "first", "--network pair -p 18180:80");
        idle(s, "second", "--network container:first");
        idle(s, "third", "--network pair");
        let address = s.inspect("first", "/NetworkSettings/Networks/pair/IPAddress");
        let address = address.as_str().unwrap().to_owned();
        let seen = s.line("exec second ip -o -4 addr show eth0");
        assert!(seen.ok().contains(&address), "{seen:?}");
        let refused = s.line("run --rm --network container:first -p 80:80 busybox true");
        assert!(
            refused
                .fails(125)
                .contains("port publishing and the container type network mode"),
            "{refused:?}"
        );
        s.daemon.kill();
        s.daemon.restart();
        the_network_is_as_it_was(s, &address);
        let _ = s.line("rm -f first second third").ok();
        let _ = s.line("network rm pair").ok();
    });
}

/// `first` in the network `pair` has this address, `second` shares it, `third` is beside it.
fn the_network_is_as_it_was(s: &Setup<'_>, address: &str) {
    let _ = s.line("exec third ping -c 1 -w 20 first").ok();
    assert_eq!(
        s.inspect("first", "/NetworkSettings/Networks/pair/IPAddress"),
        address
    );
    let taken = s.line("run --rm -p 18180:80 busybox true");
    assert!(
        taken.fails(125).contains("port is already allocated"),
        "{taken:?}"
    );
    let fourth = s.line("run --rm --network pair busybox hostname -i");
    assert_ne!(fourth.ok(), address);
    let _ = s.line("stop -t 0 first").ok();
    let refused = s.line("restart -t 0 second");
    assert!(
        refused
            .fails(1)
            .contains("cannot join network namespace of a non running container"),
        "{refused:?}"
    );
}

#[test]
fn nothing_is_left_of_networks_that_are_removed_while_others_join() {
    with_each_client(|s| {
        if reference().is_some() {
            return;
        }
        let round = |name: &str| {
            let line = |text: &str| drop(s.line(&text.replace("NAME", name)));
            std::thread::scope(|scope| {
                for text in [
                    "network create NAME",
                    "run --rm --network NAME busybox true",
                    "network prune -f",
                    "network rm NAME",
                ] {
                    let _ = scope.spawn(move || line(text));
                }
            });
        };
        std::thread::scope(|scope| {
            for name in ["one", "two"] {
                let _ = scope.spawn(move || (0..8).for_each(|_| round(name)));
            }
        });
        for name in ["one", "two"] {
            let _ = s.line(&format!("network rm {name}"));
        }
        let left = s.host.links();
        assert!(!left.iter().any(|link| link.starts_with("br-")), "{left:?}");
    });
}

#[test]
fn links_follow_a_container_that_is_renamed() {
    with_each_client(|s| {
        idle(s, "base", "");
        idle(s, "user", "--link base:b");
        let _ = s.line("rename base other").ok();
        assert_eq!(s.inspect("user", "/HostConfig/Links/0"), "/other:/user/b");
        let _ = s.line("restart -t 0 user").ok();
        let _ = s.line("exec user ping -c 1 -w 20 b").ok();
        let _ = s.line("rm -f user other").ok();
    });
}
