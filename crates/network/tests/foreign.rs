//! Other software's packet filters, really installed: each test has a network and mount namespace of its
//! own, with copies of the configuration where the software wants to write it.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests"
)]

use hull_linux::namespace::{self, flag};
use hull_linux::netlink::Socket;
use hull_network::firewall::foreign::{Foreign, survey};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any machine takes: a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Moves the calling thread into namespaces of its own; false where the test cannot be.
fn private_host(programs: &[&str]) -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return false;
    }
    for program in programs {
        let found = ["/usr/sbin", "/usr/bin"]
            .iter()
            .any(|directory| Path::new(directory).join(program).exists());
        if !found {
            eprintln!("skipped: {program} is not installed");
            return false;
        }
    }
    namespace::unshare(flag::NETWORK | flag::MOUNT).unwrap();
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    Socket::open().unwrap().set_up("lo").unwrap();
    true
}

/// Runs a line of a shell; its output.
fn sh(line: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", line])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Waits for something that another thread does.
fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} has not come");
        std::thread::yield_now();
    }
}

fn nft_variant() -> bool {
    let nft = sh("iptables -V").contains("nf_tables");
    if !nft {
        eprintln!("skipped: iptables is not that of nf_tables");
    }
    nft
}

const OPENED: &str = "-P FORWARD DROP
-N DOCKER-USER
-N HULL-FORWARD
-A FORWARD -j DOCKER-USER
-A FORWARD -j HULL-FORWARD
-A FORWARD -i eth9 -j REJECT --reject-with icmp-port-unreachable
-A HULL-FORWARD -i br-b -m comment --comment \"hull: from br-b\" -j ACCEPT
-A HULL-FORWARD -o br-b -m comment --comment \"hull: to br-b\" -j ACCEPT
-A HULL-FORWARD -i hull0 -m comment --comment \"hull: from hull0\" -j ACCEPT
-A HULL-FORWARD -o hull0 -m comment --comment \"hull: to hull0\" -j ACCEPT
";

#[test]
fn tables_of_iptables_are_opened_and_closed_again() {
    if !private_host(&["iptables", "ip6tables", "nft"]) || !nft_variant() {
        return;
    }
    let shown = || sh("iptables -S | grep -v 'PUT ACCEPT'");
    let foreign = Foreign::new("hull");
    // Without a table of theirs there is nothing to open, and none is made.
    foreign.allow(names(&["hull0"])).unwrap();
    assert_eq!(sh("nft list ruleset"), "");
    // Nor where nothing is dropped.
    sh("iptables -P FORWARD ACCEPT");
    foreign.allow(names(&["hull0"])).unwrap();
    assert!(!shown().contains("HULL"));

    sh(
        "iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER;
        iptables -A FORWARD -i eth9 -j REJECT; ip6tables -P FORWARD DROP",
    );
    let before = (shown(), sh("ip6tables -S"));
    foreign.allow(names(&["hull0", "br-b"])).unwrap();
    assert_eq!(sorted(&shown()), sorted(OPENED));
    let order = sh("iptables -S FORWARD");
    assert!(
        order.find("DOCKER-USER") < order.find("HULL-FORWARD"),
        "{order}"
    );
    assert!(order.find("HULL-FORWARD") < order.find("eth9"), "{order}");
    assert!(sh("ip6tables -S").contains("-A FORWARD -j HULL-FORWARD\n"));
    // What they save, they can restore, and it is still known as ours.
    sh(
        "iptables-save > /dev/shm/saved.$$; iptables-restore < /dev/shm/saved.$$; rm /dev/shm/saved.$$",
    );
    let restored = sh("nft -a list chain ip filter HULL-FORWARD");
    foreign.allow(names(&["hull0", "br-b"])).unwrap();
    assert_eq!(
        sh("nft list chain ip filter HULL-FORWARD").lines().count(),
        restored.lines().count()
    );
    // A network goes.
    foreign.allow(names(&["br-b"])).unwrap();
    assert!(!shown().contains("hull0") && shown().contains("br-b"));
    let found = survey("hull").unwrap();
    let forward: Vec<_> = found
        .chains
        .iter()
        .filter(|c| c.hook == "forward")
        .collect();
    assert_eq!(forward.len(), 2);
    assert!(forward.iter().all(|chain| chain.drops && chain.opened));
    // All go.
    foreign.allow(BTreeSet::new()).unwrap();
    assert_eq!((shown(), sh("ip6tables -S")), before);
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn flushed_rules_of_ours_come_back() {
    if !private_host(&["iptables"]) || !nft_variant() {
        return;
    }
    sh("iptables -P FORWARD DROP");
    let foreign = Foreign::new("hull");
    foreign.allow(names(&["hull0"])).unwrap();
    let _keeper = foreign.keep().unwrap();
    let open = || {
        sh("iptables -S").contains("-A FORWARD -j HULL-FORWARD\n")
            && sh("iptables -S").contains("-o hull0")
    };
    assert!(open());
    sh("iptables -F");
    until("the rule after -F", open);
    sh("iptables -F; iptables -X");
    until("the rule after -X", open);
    sh("iptables -F; iptables -X; iptables -A FORWARD -j REJECT");
    until("the rule among others", open);
    assert!(sh("iptables -S FORWARD").contains("REJECT"));
}

/// Directories that are empty, or copies, in this mount namespace alone.
fn own_copy(path: &str, into: &Path) {
    if !Path::new(path).exists() {
        return;
    }
    let copy = into.join(path.trim_start_matches('/').replace('/', "-"));
    sh(&format!("cp -a {path} {}", copy.display()));
    mount_bind(&copy, path).unwrap();
}

#[test]
fn ufw_lets_our_bridges_through_after_a_reload() {
    if !private_host(&["ufw", "iptables"]) || !nft_variant() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for path in [
        "/etc/ufw",
        "/lib/ufw",
        "/etc/default",
        "/run",
        "/var/lib/ufw",
    ] {
        own_copy(path, directory.path());
    }
    sh("ufw --force enable");
    assert!(
        sh("ufw status verbose").contains("disabled (routed)")
            || sh("iptables -S FORWARD").contains("-P FORWARD DROP")
    );
    let foreign = Foreign::new("hull");
    foreign.allow(names(&["hull0"])).unwrap();
    let _keeper = foreign.keep().unwrap();
    let open = || {
        let rules =
            sh("iptables -S FORWARD; iptables -S HULL-FORWARD || true; ip6tables -S FORWARD");
        rules.matches("-A FORWARD -j HULL-FORWARD").count() == 2 && rules.contains("-i hull0")
    };
    assert!(open());
    let found = survey("hull").unwrap();
    assert!(
        found
            .chains
            .iter()
            .any(|chain| chain.owner.as_deref() == Some("ufw"))
    );
    sh("ufw reload");
    until("the rule after ufw reload", open);
    sh("ufw --force disable");
    sh("ufw --force enable");
    until("the rule after ufw disable and enable", open);
    drop(directory);
}

/// A program that ends with the test.
struct Running(std::process::Child);

impl Running {
    fn start(line: &str) -> Self {
        let mut words = line.split(' ');
        let child = Command::new(words.next().unwrap())
            .args(words)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const BUS: &str = r#"<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
<auth>EXTERNAL</auth><policy context="default"><allow user="*"/><allow own="*"/>
<allow send_type="method_call"/><allow send_type="signal"/><allow send_type="method_return"/>
<allow send_type="error"/><allow receive_type="method_call"/><allow receive_type="signal"/>
<allow receive_type="method_return"/><allow receive_type="error"/></policy></busconfig>"#;

#[test]
fn firewalld_has_a_zone_of_our_bridges_after_a_reload() {
    if !private_host(&["firewalld", "dbus-daemon", "firewall-cmd", "nft"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    own_copy("/etc/firewalld", directory.path());
    for path in ["/run", "/var/log"] {
        let empty = directory
            .path()
            .join(path.trim_start_matches('/').replace('/', "-"));
        std::fs::create_dir(&empty).unwrap();
        mount_bind(&empty, path).unwrap();
    }
    std::fs::create_dir("/run/dbus").unwrap();
    fs_err::write("/run/dbus.conf", BUS).unwrap();
    let foreign = Foreign::with_bus("hull", "/run/dbus/system_bus_socket".into());
    let _keeper = foreign.keep().unwrap();
    // Neither a bus, nor firewalld on it.
    foreign.allow(names(&["hull0"])).unwrap();
    let _bus = Running::start("dbus-daemon --config-file=/run/dbus.conf --nofork --nopidfile");
    until("the bus", || {
        Path::new("/run/dbus/system_bus_socket").exists()
    });
    foreign.allow(names(&["hull0"])).unwrap();

    let firewalld = Running::start("firewalld --nofork --nopid");
    let state = || {
        Command::new("firewall-cmd")
            .arg("--state")
            .output()
            .unwrap()
    };
    until("firewalld", || state().status.success());
    // Its start is seen by its table.
    let in_zone = |device: &str| {
        let listed = Command::new("firewall-cmd")
            .args(["--zone=hull", "--list-interfaces"])
            .output();
        let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
        listed.split_whitespace().any(|name| name == device)
    };
    until("the bridge in the zone", || in_zone("hull0"));
    foreign.allow(names(&["hull0", "br-b"])).unwrap();
    assert!(in_zone("br-b"));
    assert!(sh("firewall-cmd --get-policies").contains("hull-forwarding"));
    let found = survey("hull").unwrap();
    let forward = found.chains.iter().find(|c| c.hook == "forward").unwrap();
    assert_eq!(forward.owner.as_deref(), Some("firewalld"));
    assert!(forward.opened);

    // Reloads forget what is not permanent.
    sh("firewall-cmd --reload");
    until("the bridges after a reload", || {
        in_zone("hull0") && in_zone("br-b")
    });
    foreign.allow(names(&["br-b"])).unwrap();
    assert!(!in_zone("hull0") && in_zone("br-b"));
    // Where somebody wants a bridge elsewhere, it stays.
    sh("firewall-cmd --zone=trusted --add-interface=br-c");
    foreign.allow(names(&["br-b", "br-c"])).unwrap();
    assert!(!in_zone("br-c") && in_zone("br-b"));
    drop(firewalld);
    foreign.allow(names(&["br-d"])).unwrap();
}
