//! What a service's options make of its container.

use crate::stage::Project;
use serde_json::json;

pub(crate) fn secrets_and_configs_are_files(p: &Project<'_>) {
    p.up();
    let shown = p.shell(
        "app",
        "cat /run/secrets/token /run/secrets/db/password /etc/greeting /settings; stat -c %a /etc/greeting",
    );
    assert_eq!(shown, "a token\na passwordhello me\n[app]\nsize = 3\n440");
    // A second time nothing is changed, so nothing is made again.
    let before = p.inspect("app", 1);
    p.up();
    assert_eq!(before["Id"], p.inspect("app", 1)["Id"]);
}

pub(crate) fn addresses_and_names_are_as_asked_for(p: &Project<'_>) {
    p.up();
    let addresses = "hostname -I | tr ' ' '\\n' | grep . | sort";
    let first = p.shell("one", addresses);
    assert!(
        first.contains("10.231.1.10") && first.contains("fd31:2::10"),
        "{first}"
    );
    assert_eq!(
        p.shell("two", "getent hosts uno eins one | awk '{print $1}' | uniq"),
        "10.231.1.10"
    );
    assert!(
        p.shell("two", addresses).starts_with("10.231.1.12"),
        "from the range"
    );
    assert_eq!(
        p.shell("three", "getent ahostsv6 one | awk '{print $1}' | sort -u"),
        "fd31:2::10"
    );
    let stranger = p.words(&["exec", "-T", "three", "getent", "hosts", "two"]);
    assert_ne!(stranger.code, 0, "{stranger:?}");
    assert_eq!(
        p.shell("one", "hostname -f 2>/dev/null || hostname"),
        "first.example.test"
    );
    let hosts = p.shell("one", "cat /etc/hosts");
    assert!(
        hosts.contains("192.0.2.7\telsewhere") && hosts.contains("gate"),
        "{hosts}"
    );
    assert!(
        p.shell("one", "cat /etc/resolv.conf")
            .contains("search example.test")
    );
    assert_eq!(p.shell("alone", "ls /sys/class/net"), "lo");
    let one = p.inspect("one", 1);
    let networks = &one["NetworkSettings"]["Networks"];
    assert_eq!(
        networks["t-networks_left"]["IPAMConfig"]["IPv4Address"],
        "10.231.1.10"
    );
    assert_eq!(
        networks["t-networks_right"]["MacAddress"],
        "02:42:0a:e7:02:0a"
    );
}

pub(crate) fn volumes_are_mounted(p: &Project<'_>) {
    let _ = p
        .stage
        .docker(&["volume", "create", "compose-outside"])
        .ok();
    p.up();
    let _ = p.shell(
        "writer",
        "echo hello >/named/file; echo host >/made/file; echo x >/outside/f; echo a >/anonymous/f",
    );
    assert_eq!(p.shell("writer", "cat /part/file"), "hello");
    let refused = "touch /part/x 2>&1 || :; touch /settings.ini 2>&1 || :";
    assert_eq!(p.shell("writer", refused).matches("Read-only").count(), 2);
    let made = fs_err::read_to_string(p.stage.scratch.path().join("made/on/demand/file"));
    assert_eq!(made.expect("the bind's source was made"), "host\n");
    let quick = "stat -f -c %T /quick; stat -c %a /quick; df -k --output=size /quick | tail -n 1 | tr -d ' '";
    assert_eq!(p.shell("reader", quick), "tmpfs\n1770\n1024");
    let memory = "stat -f -c %T /memory; stat -c %u /memory; df -k --output=size /memory | tail -n 1 | tr -d ' '";
    assert_eq!(p.shell("writer", memory), "tmpfs\n1000\n2048");
    assert_eq!(
        p.shell(
            "writer",
            "test -s /etc/redis/redis.conf && stat -c %U /etc/redis/redis.conf"
        ),
        "redis"
    );
    assert_eq!(p.shell("writer", "stat -c %U /data"), "redis");
    assert_eq!(
        p.shell("reader", "cat /named/file /outside/f /anonymous/f"),
        "hello\nx\na"
    );
    assert_eq!(
        p.shell(
            "reader",
            "df -k --output=size /fast | tail -n 1 | tr -d ' '"
        ),
        "64"
    );
    let named = p.stage.docker(&[
        "volume",
        "inspect",
        "-f",
        "{{.Labels.keep}} {{.Driver}}",
        "t-volumes_named",
    ]);
    assert_eq!(named.ok(), "yes local");
    // Made again, with its anonymous volumes.
    let _ = p.run("up -d --force-recreate writer").ok();
    assert_eq!(
        p.shell("writer", "cat /named/file /anonymous/f"),
        "hello\na"
    );
    let _ = p.run("down -v -t 0").ok();
    let left = p.stage.docker(&["volume", "ls", "-q"]);
    assert!(!left.ok().contains("t-volumes_"), "{left:?}");
    assert!(left.ok().lines().any(|name| name == "compose-outside"));
    let _ = p.stage.docker(&["volume", "rm", "compose-outside"]).ok();
}

pub(crate) fn limits_and_rights_hold(p: &Project<'_>) {
    p.up();
    let bound = p.inspect("bound", 1);
    let host = &bound["HostConfig"];
    let seen = json!([
        host["Memory"],
        host["MemoryReservation"],
        host["MemorySwap"],
        host["NanoCpus"],
        host["CpuShares"],
        host["PidsLimit"],
        host["ShmSize"],
        host["OomScoreAdj"],
        host["ReadonlyRootfs"],
        host["Init"]
    ]);
    let mega = 1 << 20;
    let wanted = json!([
        64 * mega,
        32 * mega,
        64 * mega,
        500_000_000,
        512,
        50,
        8 * mega,
        100,
        true,
        true
    ]);
    assert_eq!(seen, wanted);
    let status = p.shell("bound", "id -u; id -G; pwd; grep -E 'CapBnd|NoNewPrivs' /proc/self/status; cat /proc/sys/net/core/somaxconn /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; ulimit -c; df -k --output=size /dev/shm | tail -n 1 | tr -d ' '");
    assert_eq!(
        status,
        "1000\n1000 33\n/work\nCapBnd:\t0000000000000400\nNoNewPrivs:\t1\n1024\n100\n256\n512\n0\n8192"
    );
    assert!(p.shell("bound", "touch /x 2>&1 || :").contains("Read-only"));
    assert_eq!(
        p.shell(
            "bound",
            "stat -c %t:%T /dev/hole; cat /proc/1/comm | head -c 20"
        ),
        p.shell("bound", "echo 1:3; cat /proc/1/comm | head -c 20")
    );
    deployed_limits_hold(p);
}

/// Those of `deploy`.
fn deployed_limits_hold(p: &Project<'_>) {
    let deployed = p.inspect("deployed", 1);
    assert_eq!(deployed["HostConfig"]["NanoCpus"], 250_000_000);
    assert_eq!(deployed["HostConfig"]["Privileged"], true);
    assert_eq!(
        deployed["HostConfig"]["RestartPolicy"]["Name"],
        "on-failure"
    );
    assert_eq!(
        deployed["HostConfig"]["RestartPolicy"]["MaximumRetryCount"],
        3
    );
    let stats = p.words(&[
        "stats",
        "--no-stream",
        "--format",
        "{{.MemPerc}} {{.PIDs}}",
        "deployed",
    ]);
    assert!(stats.ok().contains("% "), "{stats:?}");
}

pub(crate) fn what_the_client_merges_arrives(p: &Project<'_>) {
    p.up();
    let shown = p.shell(
        "app",
        "env | grep -E '^(FROM|FROM_FILE|QUOTED|OWN|PASSED)=' | sort",
    );
    assert_eq!(
        shown,
        "FROM=template\nFROM_FILE=yes\nOWN=default and unset\nPASSED=through\nQUOTED=two words"
    );
    let app = p.inspect("app", 1);
    assert_eq!(app["Config"]["Labels"]["org.example.one"], "1");
    assert_eq!(app["HostConfig"]["Annotations"]["org.example.note"], "kept");
    assert_eq!(app["Config"]["Tty"], true);
    let beside = p
        .stage
        .docker(&["inspect", "-f", "{{.State.Status}}", "compose-beside"]);
    assert_eq!(beside.ok(), "running");
    let images = p.run("images -q");
    assert_eq!(images.ok().lines().count(), 1, "{images:?}");
    let copy = p.stage.scratch.path().join("hostname");
    let _ = p
        .words(&["cp", "app:/etc/hostname", &copy.display().to_string()])
        .ok();
    let copied = fs_err::read_to_string(copy).expect("the copy");
    assert_eq!(app["Config"]["Hostname"], copied.trim_end());
}
