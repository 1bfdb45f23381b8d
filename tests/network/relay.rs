//! Published ports at IPv6 addresses that the kernel does not translate: those of containers without IPv6, and `::1`.

use crate::stage::{Place, with};
use hull_tests::client::Client;
use hull_tests::daemon::wait_until;
use hull_tests::host::within;
use hull_tests::layout::{HOST, LOOPBACK};
use hull_tests::probe::{Echo, Expect, Question, Transport, ask};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

/// By both protocols, whether an answer comes; which address was seen, if it was one and the same.
fn seen(from: &Path, to: SocketAddr, answered: bool) -> Option<IpAddr> {
    let questions: [Question; 2] = [(Transport::Tcp, to), (Transport::Udp, to)];
    let answers = ask(from, &questions, Expect::Exactly(&[answered; 2]));
    assert_eq!(answers[0], answers[1], "{to}");
    answers[0]
}

fn both(port: u16) -> String {
    format!("-p {port}:80 -p {port}:80/udp")
}

#[test]
fn containers_are_reached_by_ipv6_whether_they_have_it_or_not() {
    with(Client::Docker, &[], |stage| {
        stage.line("network create four");
        stage.line("network create elsewhere");
        stage.line("network create --ipv6 six");
        let (host, neighbour) = (stage.layout.host.path(), stage.layout.neighbour.path());
        let four = stage.container("four", &format!("--network four {}", both(9500)));
        let six = stage.container("six", &format!("--network six {}", both(9501)));
        let _servers = [&four, &six].map(|place| Echo::start(&place.path, &[80]));
        let shown = stage.line("ps --filter name=four --format {{.Ports}}");
        let all =
            "0.0.0.0:9500->80/tcp, 0.0.0.0:9500->80/udp, [::]:9500->80/tcp, [::]:9500->80/udp";
        assert_eq!(shown, all);
        assert_eq!(stage.line("port four 80/tcp"), "0.0.0.0:9500\n[::]:9500");
        let at = |ip: IpAddr, port| SocketAddr::new(ip, port);
        let asked = |four: &Place| {
            for from in [&host, &neighbour] {
                let it = seen(from, at(HOST[1], 9500), true);
                assert_eq!(it, Some(four.gateway[0]));
            }
            assert_eq!(
                seen(&host, at(LOOPBACK[1], 9500), true),
                Some(four.gateway[0])
            );
            assert_eq!(
                seen(&host, at(LOOPBACK[1], 9501), true),
                Some(six.gateway[1])
            );
            // The kernel translates what is not for ::1, and the container sees who it is.
            let real = seen(&neighbour, at(HOST[1], 9501), true);
            assert_ne!(real, Some(six.gateway[1]));
        };
        asked(&four);
        // Ports follow the networks that the container is in.
        stage.line("network connect elsewhere four");
        stage.line("network disconnect four four");
        let moved = stage.place("four");
        assert_ne!(moved.gateway, four.gateway);
        asked(&moved);
        stage.daemon.kill();
        asked(&moved);
        stage.daemon.restart();
        asked(&moved);
        stage.line("rm -f four");
        within(&host, || {
            let all = at("::".parse().unwrap(), 9500);
            wait_until("the port is free", || {
                TcpListener::bind(all).and_then(|_| UdpSocket::bind(all))
            });
        });
        stage.line("rm -f six");
    });
}

#[test]
fn they_are_reached_there_where_they_are_published() {
    with(Client::Docker, &[], |stage| {
        stage.line("network create four");
        let host = stage.layout.host.path();
        let options = "--network four -p 127.0.0.1:9510:80 -p 127.0.0.1:9510:80/udp \
            -p [::1]:9511:80 -p [::1]:9511:80/udp -p [::]:9512:80 -p [::]:9512:80/udp";
        let four = stage.container("four", options);
        let _server = Echo::start(&four.path, &[80]);
        for (port, ip, answered) in [
            (9510, LOOPBACK[0], true),
            (9510, LOOPBACK[1], false),
            (9511, LOOPBACK[1], true),
            (9511, LOOPBACK[0], false),
            (9511, HOST[1], false),
            (9512, LOOPBACK[1], true),
            (9512, HOST[1], true),
            (9512, HOST[0], false),
        ] {
            let it = seen(&host, SocketAddr::new(ip, port), answered);
            assert_eq!(it, answered.then_some(four.gateway[0]), "[{ip}]:{port}");
        }
        // Not held, and so not relayed.
        stage.line(
            "run -d --name long --network four -p 20000-20299:20000-20299 busybox sleep 1000000",
        );
        assert_eq!(stage.line("port long 20000/tcp"), "0.0.0.0:20000");
        let refused = stage.run(&[
            "run",
            "--rm",
            "--network",
            "four",
            "-p",
            "[::1]:21000-21299:21000-21299",
            "busybox",
            "true",
        ]);
        assert_eq!(refused.code, 125, "{refused:?}");
        assert!(refused.stderr.contains("256 ports"), "{refused:?}");
        stage.line("rm -f four long");
    });
}
