//! Control groups through the program, on whatever layout the host has: limits, statistics, updates.

mod kit;

use kit::{Host, stderr};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROOT: &str = "/sys/fs/cgroup";

fn is_v2() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// The directory of a test container's group in the hierarchy of a controller, if the host has one.
fn directory(controller: &str, id: &str) -> Option<PathBuf> {
    let below = format!("hull-test/{}-{id}", std::process::id());
    if is_v2() {
        return Some(Path::new(ROOT).join(below));
    }
    let named = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.split(',').any(|part| part == controller)
    };
    let hierarchies = fs::read_dir(ROOT).expect("listed").flatten();
    let hierarchy = hierarchies.into_iter().find(named)?;
    Some(hierarchy.path().join(below))
}

/// What a file of the group holds, by its name in v1 and in v2; `None`, said so, where it is not there.
#[expect(clippy::print_stdout, reason = "what is skipped is said")]
fn holds(id: &str, controller: &str, v1: &str, v2: &str) -> Option<String> {
    let name = if is_v2() { v2 } else { v1 };
    let path = directory(controller, id).map(|directory| directory.join(name));
    match path.as_ref().map(fs_err::read_to_string) {
        Some(Ok(text)) => Some(text.trim().to_owned()),
        _ => {
            println!("skipped: no {name} here");
            None
        }
    }
}

fn check(id: &str, controller: &str, v1: (&str, &str), v2: (&str, &str)) {
    if let Some(found) = holds(id, controller, v1.0, v2.0) {
        let wanted = if is_v2() { v2.1 } else { v1.1 };
        assert_eq!(found, wanted, "{} {}", v1.0, v2.0);
    }
}

#[test]
fn the_limits_of_the_configuration_are_set() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("sleep 1000");
    config["linux"]["resources"] = json!({
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 512, "quota": 50000, "period": 100_000, "cpus": "0"},
        "pids": {"limit": 40},
    });
    host.create("limits", config);
    let id = "limits";
    check(
        id,
        "memory",
        ("memory.limit_in_bytes", "67108864"),
        ("memory.max", "67108864"),
    );
    check(
        id,
        "memory",
        ("memory.memsw.limit_in_bytes", "100663296"),
        ("memory.swap.max", "33554432"),
    );
    check(
        id,
        "memory",
        ("memory.soft_limit_in_bytes", "33554432"),
        ("memory.low", "33554432"),
    );
    check(id, "cpu", ("cpu.shares", "512"), ("cpu.weight", "59"));
    check(
        id,
        "cpu",
        ("cpu.cfs_quota_us", "50000"),
        ("cpu.max", "50000 100000"),
    );
    check(id, "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0"));
    check(id, "pids", ("pids.max", "40"), ("pids.max", "40"));
    assert!(host.call(&["delete", "--force", id]).status.success());
    assert!(directory("pids", id).is_none_or(|directory| !directory.exists()));
}

#[test]
fn an_update_changes_all_it_names_or_nothing() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("sleep 1000");
    config["linux"]["resources"] = json!({"cpu": {"quota": 20000, "period": 50000}});
    host.create("update", config);
    let id = "update";
    let update = |words: &[&str]| {
        let output = host.call(&[&["update"], words, &[id]].concat());
        (output.status.success(), stderr(&output))
    };
    let memory = |limit| {
        check(
            id,
            "memory",
            ("memory.limit_in_bytes", limit),
            ("memory.max", limit),
        );
    };
    let (done, said) = update(&[
        "--memory",
        "64M",
        "--memory-swap",
        "100M",
        "--pids-limit",
        "33",
    ]);
    assert!(done, "{said}");
    memory("67108864");
    check(id, "pids", ("pids.max", "33"), ("pids.max", "33"));
    // Memory beyond the old limit of both: the order of the two writes.
    let (done, said) = update(&["--memory=200M", "--memory-swap=300M"]);
    assert!(done, "{said}");
    memory("209715200");
    // The period alone keeps the quota of the configuration.
    let (done, said) = update(&["--cpu-period", "40000"]);
    assert!(done, "{said}");
    check(
        id,
        "cpu",
        ("cpu.cfs_quota_us", "20000"),
        ("cpu.max", "20000 40000"),
    );
    // One that is refused takes those before it back.
    let (done, said) = update(&["--memory", "150M", "--cpu-quota", "1"]);
    assert!(!done);
    assert!(said.contains("failed to write"), "{said}");
    memory("209715200");
    // What was kept is what the kernel has: swap is still 300M.
    let (done, said) = update(&["--memory", "100M"]);
    assert!(done, "{said}");
    check(
        id,
        "memory",
        ("memory.memsw.limit_in_bytes", "314572800"),
        ("memory.swap.max", "209715200"),
    );
    assert!(host.call(&["kill", id, "KILL"]).status.success());
    assert!(host.call(&["delete", "--force", id]).status.success());
}

#[test]
fn an_update_says_what_is_wrong_with_it() {
    let Some(host) = Host::new() else { return };
    host.create("said", host.config("sleep 1000"));
    let id = "said";
    let update = |words: &[&str]| {
        let output = host.call(&[&["update"], words, &[id]].concat());
        (output.status.success(), stderr(&output))
    };
    fs_err::write(host.path("r.json"), r#"{"pids":{"limit":-1}}"#).expect("written");
    let (done, said) = update(&["-r", host.path("r.json").to_str().expect("text")]);
    assert!(done, "{said}");
    check(id, "pids", ("pids.max", "max"), ("pids.max", "max"));
    for (words, text) in [
        (
            ["--memory", "1q"],
            "invalid value for memory: invalid suffix: 'q'",
        ),
        (["--cpu-share", "x"], "strconv.ParseUint: parsing"),
        (
            ["--l3-cache-schema", "L3:0=f"],
            "Intel RDT/CAT: l3 cache schema cannot be changed by update",
        ),
        (["-r", "/nosuch"], "open /nosuch: no such file or directory"),
    ] {
        let (done, said) = update(&words);
        assert!(!done && said.contains(text), "{said}");
    }
    assert!(host.call(&["kill", id, "KILL"]).status.success());
    assert!(host.call(&["delete", "--force", id]).status.success());
}

#[test]
fn statistics_are_those_of_the_container() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("sleep 1000");
    config["linux"]["resources"] = json!({"pids": {"limit": 40}});
    host.create("stats", config);
    assert!(host.call(&["start", "stats"]).status.success());
    let output = host.call(&["events", "--stats", "stats"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 1);
    assert!(
        text.starts_with(r#"{"type":"stats","id":"stats","data":{"cpu":{"usage":{"#),
        "{text}"
    );
    let event: Value = serde_json::from_str(&text).expect("parses");
    let data = &event["data"];
    assert!(data["cpu"]["usage"]["total"].as_u64() > Some(0), "{text}");
    if holds("stats", "pids", "pids.max", "pids.max").is_some() {
        assert_eq!(data["pids"]["limit"], 40);
    }
    if holds("stats", "memory", "memory.usage_in_bytes", "memory.current").is_some() {
        assert!(
            data["memory"]["usage"]["usage"].as_u64() > Some(0),
            "{text}"
        );
        assert!(data["memory"]["raw"].is_object());
    }
    for (words, text) in [
        (
            ["--interval", "0s"],
            "duration interval must be greater than 0",
        ),
        (
            ["--interval", "5"],
            "invalid value \\\"5\\\" for flag -interval: parse error",
        ),
    ] {
        let output = host.call(&["events", words[0], words[1], "stats"]);
        assert!(!output.status.success() && stderr(&output).contains(text));
    }
    assert!(host.call(&["delete", "--force", "stats"]).status.success());
}

#[test]
fn events_tell_of_the_end_of_memory_and_end_with_the_container() {
    let Some(host) = Host::new() else { return };
    let mut config = host.config("cat /tmp/go; busybox tail /dev/zero; cat /tmp/go");
    config["linux"]["resources"] = json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}});
    let go = host.path("rootfs/tmp/go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &go, rustix::fs::Mode::RWXU).expect("made");
    host.create("oom", config);
    assert!(host.call(&["start", "oom"]).status.success());
    let counted = holds("oom", "memory", "memory.oom_control", "memory.events").is_some();
    let mut events = host
        .command(&["events", "--interval", "20ms", "oom"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut lines = BufReader::new(events.stdout.take().expect("piped")).lines();
    let mut next = || -> Option<Value> {
        let line = lines.next()?.expect("read");
        Some(serde_json::from_str(&line).expect("parses"))
    };
    if counted {
        // By the first statistics the watch is set up.
        assert_eq!(next().expect("an event")["type"], "stats");
        fs_err::write(&go, "").expect("written");
        let oom = std::iter::from_fn(&mut next).find(|event| event["type"] == "oom");
        assert_eq!(oom, Some(json!({"type": "oom", "id": "oom"})));
    } else {
        println!("skipped: no memory controller");
    }
    assert!(host.call(&["delete", "--force", "oom"]).status.success());
    while next().is_some() {}
    assert!(events.wait().expect("waited for").success() || !counted);
    assert!(!host.call(&["events", "oom"]).status.success());
}

#[test]
fn a_group_with_somebody_in_it_is_refused_and_left_alone() {
    let Some(host) = Host::new() else { return };
    let id = "foreign";
    let group = directory("pids", id).expect("a hierarchy");
    fs_err::create_dir_all(&group).expect("made");
    let mut other = Command::new("sleep").arg("1000").spawn().expect("runs");
    let members = group.join("cgroup.procs");
    fs_err::write(&members, other.id().to_string()).expect("moved");
    let (code, _, said) = host.run(id, host.config("true"));
    let text = "container's cgroup is not empty: 1 process(es) found";
    let lives = other.try_wait().expect("asked").is_none();
    let listed = fs_err::read_to_string(&members).unwrap_or_default();
    other.kill().expect("killed");
    other.wait().expect("waited for");
    assert_eq!(code, 1);
    assert!(said.contains(text), "{said}");
    assert!(lives && listed.trim() == other.id().to_string());
    let elsewhere = directory("memory", id);
    assert!(elsewhere.is_none_or(|path| path == group || !path.exists()));
    let _ = fs::remove_dir(&group);
}

#[test]
fn a_stopped_container_takes_nobody_along_who_uses_its_group_now() {
    let Some(host) = Host::new() else { return };
    let id = "reused";
    host.create(id, host.config("true"));
    assert!(host.call(&["start", id]).status.success());
    while host.status(id) != "stopped" {
        std::thread::yield_now();
    }
    let members = directory("pids", id)
        .expect("a hierarchy")
        .join("cgroup.procs");
    let mut other = Command::new("sleep").arg("1000").spawn().expect("runs");
    fs_err::write(&members, other.id().to_string()).expect("moved");
    let mut delete = host.command(&["delete", id]).spawn().expect("runs");
    // It waits for the group to be empty, and does not see to it.
    let listed = fs_err::read_to_string(&members).expect("read");
    assert_eq!(listed.trim(), other.id().to_string());
    assert!(!delete.wait().expect("waited for").success());
    let lives = other.try_wait().expect("asked").is_none();
    other.kill().expect("killed");
    other.wait().expect("waited for");
    assert!(lives);
    assert!(host.call(&["delete", id]).status.success());
}

#[test]
fn what_cannot_be_limited_is_refused_in_runcs_words() {
    let Some(host) = Host::new() else { return };
    let refused = |id: &str, resources: Value| {
        let mut config = host.config("true");
        config["linux"]["resources"] = resources;
        let (code, _, said) = host.run(id, config);
        assert_eq!(code, 1, "{said}");
        said
    };
    let said = refused("access", json!({"devices": [{"allow": true, "type": "c"}]}));
    assert!(
        said.contains("device access at 0 field cannot be empty"),
        "{said}"
    );
    let said = refused(
        "kind",
        json!({"devices": [{"allow": true, "type": "x", "access": "r"}]}),
    );
    assert!(
        said.contains(r#"invalid cgroup device type \"x\""#),
        "{said}"
    );
    let said = refused("quota", json!({"cpu": {"quota": 1}}));
    let start = "unable to start container process: error during container init: error setting cgroup \
                 config for procHooks process: ";
    assert!(said.contains(start), "{said}");
    if is_v2() {
        let said = refused("raw", json!({"unified": {"../x.y": "1"}}));
        assert!(said.contains("must be a file name (no slashes)"), "{said}");
    } else {
        let said = refused("raw", json!({"unified": {"pids.max": "1"}}));
        assert!(
            said.contains("invalid configuration: cannot use unified on cgroup v1"),
            "{said}"
        );
        if directory("net_cls", "class").is_none() {
            let said = refused("class", json!({"network": {"classID": 1}}));
            let text = "cannot set net_cls limit: container could not join or create cgroup";
            assert!(said.contains(text), "{said}");
        }
        let said = refused("swappiness", json!({"memory": {"swappiness": 101}}));
        assert!(said.contains("(valid range is 0-100)"), "{said}");
    }
    for id in ["access", "kind", "quota", "raw", "class", "swappiness"] {
        assert!(
            directory("pids", id).is_none_or(|directory| !directory.exists()),
            "{id}"
        );
    }
}

/// On a hybrid host huge pages are in the v2 hierarchy, which other containers do not enter.
#[test]
fn huge_pages_are_limited_where_their_controller_is() {
    let Some(host) = Host::new() else { return };
    let unified = if is_v2() {
        PathBuf::from(ROOT)
    } else {
        Path::new(ROOT).join("unified")
    };
    let has = fs_err::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
    let size = Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB");
    if !has.split_whitespace().any(|has| has == "hugetlb") || !size.exists() {
        println!("skipped: no hugetlb in a v2 hierarchy");
        return;
    }
    let mut config = host.config("cat /proc/self/cgroup; sleep 1000");
    config["linux"]["resources"] =
        json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]});
    host.create("huge", config);
    let group = unified.join(format!("hull-test/{}-huge", std::process::id()));
    let limit = fs_err::read_to_string(group.join("hugetlb.2MB.max")).expect("read");
    assert_eq!(limit.trim(), "4194304");
    let members = fs_err::read_to_string(group.join("cgroup.procs")).expect("read");
    assert_eq!(members.lines().count(), 1);
    let output = host.call(&["events", "--stats", "huge"]);
    let event: Value = serde_json::from_slice(&output.stdout).expect("parses");
    assert_eq!(event["data"]["hugetlb"]["2MB"], json!({"failcnt": 0}));
    assert!(host.call(&["delete", "--force", "huge"]).status.success());
    assert!(!group.exists());
}

/// Mounts the controllers of network traffic where only this script sees them, and limits a container.
const NETWORK: &str = r#"
set -e
mount --make-rprivate /
mkdir "$1/old"
mount --rbind /sys/fs/cgroup "$1/old"
mount -t tmpfs none /sys/fs/cgroup
for h in "$1/old"/*; do mkdir "/sys/fs/cgroup/${h##*/}"; mount --rbind "$h" "/sys/fs/cgroup/${h##*/}"; done
mkdir /sys/fs/cgroup/net_cls,net_prio
mount -t cgroup -o net_cls,net_prio none /sys/fs/cgroup/net_cls,net_prio || exit 77
group="/sys/fs/cgroup/net_cls,net_prio/hull-test/$2"
end() { "$3" --root "$1/state" delete --force network; rmdir "$group" "${group%/*}" 2>/dev/null || :; }
trap 'end "$@"' EXIT
"$3" --root "$1/state" create --bundle "$1" network >"$1/output" 2>&1
cat "$group/net_cls.classid"
grep '^lo ' "$group/net_prio.ifpriomap"
wc -l <"$group/cgroup.procs"
"#;

#[test]
fn traffic_is_marked_with_class_and_priority() {
    let Some(host) = Host::new() else { return };
    if is_v2() {
        println!("skipped: net_cls and net_prio are v1's");
        return;
    }
    let mut config = host.config("sleep 1000");
    config["linux"]["resources"] =
        json!({"network": {"classID": 0x10_0001, "priorities": [{"name": "lo", "priority": 5}]}});
    host.write(config, "network");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", NETWORK, "sh"])
        .arg(host.path(""))
        .arg(format!("{}-network", std::process::id()))
        .arg(env!("CARGO_BIN_EXE_hull-runtime"))
        .stdin(Stdio::null())
        .output()
        .expect("runs");
    if output.status.code() == Some(77) {
        println!("skipped: net_cls cannot be mounted: {}", stderr(&output));
        return;
    }
    let said = fs_err::read_to_string(host.path("output")).unwrap_or_default();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "1048577\nlo 5\n1\n", "{said} {}", stderr(&output));
}
