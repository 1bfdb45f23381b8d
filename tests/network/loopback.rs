//! The host's loopback addresses are the host's: publishing on them must not open them to anybody else.
//!
//! Publishing on 127.0.0.1 without a proxy needs `route_localnet`, with which a kernel takes packets of and for loopback
//! addresses from the wire (CVE-2020-8558).

use crate::stage::with;
use hull_tests::client::Client;
use hull_tests::command::run;
use hull_tests::host::within;
use hull_tests::layout::LOOPBACK;
use hull_tests::probe::{Echo, Expect, Question, Transport, ask, ask_one};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

#[test]
fn nobody_else_reaches_it() {
    with(Client::Docker, &[], |stage| {
        stage.line("network create --ipv6 net");
        let container = stage.container("evil", "--network net");
        let target = stage.container(
            "shy",
            "--network net -p 127.0.0.1:9400:80 -p 127.0.0.1:9400:80/udp -p [::1]:9400:80 -p [::1]:9400:80/udp",
        );
        let (host, neighbour) = (stage.layout.host.path(), stage.layout.neighbour.path());
        let own = LOOPBACK.map(|address| SocketAddr::new(address, 9300));
        let _servers = (
            Echo::start(&target.path, &[80]),
            Echo::start_at(&host, &own),
        );
        let mut questions: Vec<Question> = Vec::new();
        for port in [9300, 9400] {
            for address in LOOPBACK {
                questions.push((Transport::Tcp, SocketAddr::new(address, port)));
                questions.push((Transport::Udp, SocketAddr::new(address, port)));
            }
        }
        for question in &questions {
            let _ = ask_one(&host, *question);
        }
        give_loopback_to(&container.path, container.gateway);
        for place in [&neighbour, &container.path] {
            let answers = ask(place, &questions, Expect::Exactly(&[false; 8]));
            assert_eq!(answers, [None; 8], "{}", place.display());
        }
    });
}

/// Makes everything that a namespace sends to loopback addresses go to the host.
fn give_loopback_to(path: &Path, [four, six]: [IpAddr; 2]) {
    let script = format!(
        "ip address flush dev lo; echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
        ip route add 127.0.0.0/8 via {four} && ip route add ::1/128 via {six}"
    );
    let net = format!("--net={}", path.display());
    let mut command = std::process::Command::new("nsenter");
    let _ = run(command.args([&net, "--", "sh", "-c", &script]), &[]).ok();
}

#[test]
fn nobody_else_speaks_from_it() {
    with(Client::Docker, &[], |stage| {
        stage.line("network create net");
        let container = stage.container("evil", "--network net -p 127.0.0.1:9400:80");
        let all = (Ipv4Addr::UNSPECIFIED, 9300);
        let server = within(&stage.layout.host.path(), || UdpSocket::bind(all)).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let to = SocketAddr::new(container.gateway[0], 9300);
        within(&container.path, || {
            fs_err::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
            let spoofed = UdpSocket::bind("127.0.0.1:0").unwrap();
            let honest = UdpSocket::bind("0.0.0.0:0").unwrap();
            spoofed.send_to(b"spoofed", to).unwrap();
            // What is sent later comes later: the first that comes is the first that was let through.
            honest.send_to(b"honest", to).unwrap();
        });
        let mut text = [0; 16];
        let (length, from) = server.recv_from(&mut text).unwrap();
        assert_eq!(
            (&text[..length], from.ip()),
            (&b"honest"[..], container.own[0])
        );
    });
}
