//! Namespaces: new ones, those joined by path, and what is set in them.

mod kit;

use kit::{Host, stderr};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("time", "time"),
    ("user", "user"),
];

/// A container with all namespaces this kernel has, and the root user mapped.
fn with_all(host: &Host, script: &str) -> Value {
    let mut config = host.config(script);
    let namespaces: Vec<Value> = KINDS
        .iter()
        .filter(|(_, file)| Path::new("/proc/self/ns").join(file).exists())
        .map(|(kind, _)| json!({ "type": kind }))
        .collect();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    config["linux"]["namespaces"] = json!(namespaces);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config
}

const LIST: &str = "for kind in pid net ipc uts mnt cgroup time user; do \
                    echo $kind $(readlink /proc/self/ns/$kind); done";

/// Whether two lists of [`LIST`] name the same namespace.
fn same(ours: &str, theirs: &str, kind: &str) -> bool {
    let of = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.split(' ').next() == Some(kind));
        line.map(str::to_owned)
    };
    of(ours) == of(theirs)
}

#[test]
fn every_kind_of_namespace_is_new_when_asked_for() {
    let Some(host) = Host::new() else { return };
    let (code, out, err) = host.run("all", with_all(&host, LIST));
    assert_eq!(code, 0, "{err}");
    for (kind, file) in KINDS {
        let Ok(ours) = fs::read_link(format!("/proc/self/ns/{file}")) else {
            continue;
        };
        assert!(!out.contains(&*ours.to_string_lossy()), "{kind} in {out}");
    }
    let mut config = host.config(LIST);
    config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}]);
    let (code, out, err) = host.run("few", config);
    assert_eq!(code, 0, "{err}");
    for file in ["net", "ipc", "uts", "cgroup", "user"] {
        let ours = fs::read_link(format!("/proc/self/ns/{file}")).expect("read");
        assert!(out.contains(&*ours.to_string_lossy()), "{file} in {out}");
    }
}

#[test]
fn namespaces_are_joined_by_path_with_and_without_a_user_namespace() {
    let Some(host) = Host::new() else { return };
    for with_user in [false, true] {
        let mut config = with_all(&host, &format!("{LIST}; exec sleep 1000"));
        if !with_user {
            let namespaces = config["linux"]["namespaces"]
                .as_array_mut()
                .expect("a list");
            namespaces.retain(|namespace| namespace["type"] != "user");
            for map in ["uidMappings", "gidMappings"] {
                config["linux"][map] = json!([]);
            }
        }
        host.create("first", config.clone());
        let state = host.call(&["state", "first"]);
        let state: Value = serde_json::from_slice(&state.stdout).expect("a state");
        let pid = state["pid"].as_i64().expect("a pid");
        for namespace in config["linux"]["namespaces"]
            .as_array_mut()
            .expect("a list")
        {
            let file = KINDS
                .iter()
                .find(|(kind, _)| namespace["type"] == *kind)
                .expect("a kind")
                .1;
            // The first process enters a new time namespace only with its program.
            let file = if file == "time" {
                "time_for_children"
            } else {
                file
            };
            if file != "mnt" {
                namespace["path"] = json!(format!("/proc/{pid}/ns/{file}"));
            }
        }
        for map in ["uidMappings", "gidMappings"] {
            config["linux"][map] = json!([]);
        }
        config["process"]["args"] = json!(["sh", "-c", LIST]);
        let (code, out, err) = host.run("second", config.clone());
        assert_eq!(code, 0, "{err}");
        let start = host.call(&["start", "first"]);
        assert!(start.status.success(), "{}", kit::stderr(&start));
        let output = host.call(&["exec", "first", "sh", "-c", LIST]);
        let first = String::from_utf8_lossy(&output.stdout).into_owned();
        for (_, file) in KINDS {
            assert_eq!(
                same(&first, &out, file),
                file != "mnt",
                "{file}: {first} and {out}"
            );
        }
        assert!(host.call(&["delete", "--force", "first"]).status.success());
    }
}

#[test]
fn a_file_that_is_no_such_namespace_is_refused() {
    let Some(host) = Host::new() else { return };
    for (path, said) in [
        (
            "/nosuch",
            "namespace path: lstat /nosuch: no such file or directory",
        ),
        (
            "/proc/self/ns/uts",
            "failed to setns into network namespace given by path: invalid argument",
        ),
        (
            "/etc/passwd",
            "failed to setns into network namespace given by path: invalid argument",
        ),
    ] {
        let mut config = host.config("true");
        config["linux"]["namespaces"][1] = json!({"type": "network", "path": path});
        let (code, _, err) = host.run("wrong", config);
        assert_eq!(code, 1);
        assert!(err.contains(said), "{err}");
        assert!(!host.path("state/wrong").exists());
    }
}

#[test]
fn clocks_are_offset_in_a_time_namespace() {
    let Some(host) = Host::new() else { return };
    if !Path::new("/proc/self/ns/time").exists() {
        kit::skip("this kernel has no time namespaces");
        return;
    }
    let mut config = host.config("cat /proc/self/timens_offsets /proc/uptime");
    let namespaces = config["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list");
    namespaces.push(json!({"type": "time"}));
    config["linux"]["timeOffsets"] =
        json!({"monotonic": {"secs": 7, "nanosecs": 9}, "boottime": {"secs": 1_000_000_000}});
    let (code, out, err) = host.run("time", config);
    assert_eq!(code, 0, "{err}");
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(
        words[..6],
        ["monotonic", "7", "9", "boottime", "1000000000", "0"]
    );
    assert!(words[6].parse::<f64>().expect("seconds") > 1e9, "{out}");
}

#[test]
fn names_and_parameters_are_those_of_the_namespaces() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config(
        "cd /proc/sys; cat kernel/hostname kernel/domainname net/ipv4/ip_forward kernel/shmmni fs/mqueue/msg_max",
    );
    config["hostname"] = json!("inside");
    config["domainname"] = json!("nis");
    config["linux"]["readonlyPaths"] = json!([]);
    config["linux"]["sysctl"] = json!({
        "net.ipv4.ip_forward": "1", "kernel/shmmni": "77", "fs.mqueue.msg_max": "21"});
    let (code, out, err) = host.run("names", config.clone());
    assert_eq!(
        (code, out.as_str()),
        (0, "inside\nnis\n1\n77\n21\n"),
        "{err}"
    );
    config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "nonsense"});
    let (code, _, err) = host.run("names", config);
    assert_eq!(code, 1);
    let said = r#"failed to write sysctl net.ipv4.ip_forward = \"nonsense\": invalid argument"#;
    assert!(err.contains(said), "{err}");
    assert!(!host.path("state/names").exists());
}

/// Its mounts are its own though it shares the host's mount namespace, and so is its root when a process
/// joins it.
#[test]
fn without_a_mount_namespace_nothing_is_mounted_on_the_host() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("echo made >/tmp/here; exec sleep 1000");
    let namespaces = config["linux"]["namespaces"]
        .as_array_mut()
        .expect("a list");
    namespaces.retain(|namespace| namespace["type"] != "mount");
    // What hides parts of the host's procfs needs the namespace.
    for paths in ["maskedPaths", "readonlyPaths"] {
        config["linux"][paths] = json!([]);
    }
    host.create("hostmnt", config);
    assert!(host.call(&["start", "hostmnt"]).status.success());
    let mounts = fs_err::read_to_string("/proc/self/mountinfo").expect("read");
    let rootfs = host.path("rootfs").display().to_string();
    assert!(!mounts.contains(&rootfs), "{mounts}");

    let script = "readlink /proc/self/ns/mnt; ls /; cat /tmp/here";
    let output = host.call(&["exec", "hostmnt", "sh", "-c", script]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ours = fs_err::read_link("/proc/self/ns/mnt").expect("read");
    let listed = "bin\ndev\netc\nproc\nroot\nsys\ntmp\nmade\n";
    let expected = format!("{}\n{listed}", ours.display());
    assert_eq!(text, expected, "{}", stderr(&output));
    assert!(
        host.call(&["delete", "--force", "hostmnt"])
            .status
            .success()
    );
}
