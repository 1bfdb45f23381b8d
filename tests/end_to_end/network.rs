//! The networks of a container: none, host and the default bridge.

use hull_tests::host::reference;
use hull_tests::setup::with_each_client;

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
            .run(&[
                "run",
                "-d",
                "--name",
                "server",
                "busybox",
                "sh",
                "-c",
                "while :; do echo hello | nc -l -p 80; done",
            ])
            .ok();
        let address = s.inspect("server", "/NetworkSettings/Networks/bridge/IPAddress");
        let address = address.as_str().unwrap().to_owned();
        assert!(address.starts_with("172."), "{address}");
        let ask = format!("until nc {address} 80 </dev/null; do :; done");
        assert_eq!(
            s.run(&["run", "--rm", "busybox", "sh", "-c", &ask]).ok(),
            "hello"
        );
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
