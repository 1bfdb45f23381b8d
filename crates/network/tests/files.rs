//! The files that containers get, beside what dockerd has written.

#![allow(missing_docs, reason = "tests")]
#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

use hull_network::files::{Asked, Dns, HostFile, ResolvConf, hosts};

const RECORDED: &str = include_str!("golden/resolv_conf.txt");

/// The flags of a `docker run`.
fn flags(line: &str) -> (Dns, Asked) {
    let mut dns = Dns::default();
    let mut asked = Asked::Reachable { ipv6: false };
    let mut words = line.split_whitespace();
    while let (Some(flag), Some(value)) = (words.next(), words.next()) {
        match (flag, value) {
            ("--dns", _) => dns.servers.push(value.to_owned()),
            ("--dns-search", _) => dns.search.push(value.to_owned()),
            ("--dns-option", _) => dns.options.push(value.to_owned()),
            ("--network", "host") => asked = Asked::Host,
            ("--network", "u1") => asked = Asked::Engine,
            ("--network", "none") => {}
            other => panic!("{other:?}"),
        }
    }
    (dns, asked)
}

#[test]
fn resolv_conf_is_what_dockerd_writes() {
    let mut seen = 0;
    for host in RECORDED.split("##### host: ").skip(1) {
        let (text, containers) = host.split_once('\n').unwrap();
        let host = HostFile {
            path: "/etc/resolv.conf".into(),
            text: text.replace("\\n", "\n").replace("%%", "%"),
        };
        for container in containers.split(">>> ").skip(1) {
            let (line, recorded) = container.split_once('\n').unwrap();
            let (dns, asked) = flags(line);
            let recorded = recorded.replace("Docker Engine", "Hull");
            let written = ResolvConf::new(&host, &dns, asked);
            assert_eq!(written.text, recorded, "{line} with {text}");
            let has_ndots = text.contains("ndots") && dns.options.is_empty()
                || dns.options.iter().any(|option| option.starts_with("ndots"));
            assert_eq!(written.ndots, has_ndots, "{line} with {text}");
            seen += 1;
        }
    }
    assert_eq!(seen, 23);
}

#[test]
fn ipv6_servers_are_for_containers_with_ipv6() {
    let host = HostFile {
        path: "/run/x".into(),
        text: "nameserver fd00::1\nnameserver ::1\n".to_owned(),
    };
    let text = |ipv6| ResolvConf::new(&host, &Dns::default(), Asked::Reachable { ipv6 }).text;
    assert!(
        text(true).contains("\nnameserver fd00::1\n\n# Based on host file: '/run/x' (legacy)\n")
    );
    assert!(text(false).contains("\nnameserver 8.8.8.8\n"));
}

#[test]
fn hosts_is_what_dockerd_writes() {
    // docker run --link l1:al --link l1 --hostname hh --add-host z:9.9.9.9, and a network with IPv6.
    let extra = [
        ("9.9.9.9", "z"),
        ("172.17.0.2", "al lh l1"),
        ("172.17.0.2", "l1 lh"),
    ];
    let own = [("172.17.0.3", "hh"), ("fdea:bb27:3089::2", "hh.dom.x hh")];
    let read = |(address, names): &(&str, &str)| (address.parse().unwrap(), (*names).to_owned());
    let own: Vec<_> = own.iter().map(read).collect();
    let extra: Vec<_> = extra.iter().map(read).collect();
    let recorded = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                    ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n9.9.9.9\tz\n\
                    172.17.0.2\tal lh l1\n172.17.0.2\tl1 lh\n172.17.0.3\thh\nfdea:bb27:3089::2\thh.dom.x hh\n";
    assert_eq!(hosts(&own, &extra), recorded);
}
