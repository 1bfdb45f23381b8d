//! `system df`, and the prunes.

use hull_tests::client::Client;
use hull_tests::daemon::Daemon;
use hull_tests::host::Host;
use hull_tests::image::{Family, Image, Layer, Packing, busybox_layer};
use hull_tests::registry::Registry;
use hull_tests::setup::{Setup, with_each_client};
use serde_json::{Value, json};
use std::path::Path;

/// What `du` says of some files and directories together.
fn du(paths: &[&Path]) -> u64 {
    let mut command = std::process::Command::new("du");
    command.args(["-s", "-c", "-x", "--block-size=1"]);
    let said = hull_tests::command::run(command.args(paths), &[]);
    let total = said
        .ok()
        .lines()
        .last()
        .expect("a number or name")
        .split('\t')
        .next();
    total
        .expect("a number or name")
        .parse()
        .expect("a number or name")
}

/// An image of busybox and one file of its own, with a label; gives its reference.
fn image(s: &Setup<'_>, name: &str, size: usize) -> String {
    let content: Vec<u8> = name.bytes().cycle().take(size).collect();
    let layer = Layer::new().file(name, 0o644, &content).finish();
    let config = json!({"Labels": {"kind": "test"}, "Cmd": ["sh"]});
    let layers = [busybox_layer(), layer];
    let image = Image::new(&layers, &config, Packing::Gzip, Family::Oci);
    let (reference, _) = s.registry.push(s.host, (name, "1"), &image);
    let _ = s.run(&["pull", "-q", &reference]).ok();
    reference
}

fn df(s: &Setup<'_>) -> Value {
    let reply = s.daemon.get("/system/df");
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// What Docker's column RECLAIMABLE is made of: what is removed with an image.
fn unique(usage: &Value, reference: &str) -> u64 {
    let images = usage["Images"].as_array().expect("a number or name");
    let named = |image: &&Value| {
        image["RepoTags"]
            .as_array()
            .is_some_and(|tags| tags.contains(&json!(reference)))
    };
    let image = images.iter().find(named).expect("a number or name");
    image["Size"].as_u64().expect("a number or name")
        - image["SharedSize"].as_u64().expect("a number or name")
}

#[test]
fn disk_usage_is_what_du_says() {
    with_each_client(|s| {
        let reference = image(s, "sized", 3_000_000);
        let mut words = vec!["run", "--name", "writes", &reference, "sh", "-c"];
        words.push("head -c 200000 /dev/zero > /own; truncate -s 1G /hole; echo out");
        let _ = s.run(&words).ok();
        let data = |name: &str| s.daemon.path("data").join(name);
        let _ = s.line("volume create xx").ok();
        fs_err::write(data("volumes/xx/_data/f"), [1; 9000]).unwrap();
        let usage = df(s);
        let layers = du(&[&data("layers"), &data("blobs/sha256"), &data("ingest")]);
        let blobs = fs_err::symlink_metadata(data("blobs")).unwrap();
        let blobs = std::os::unix::fs::MetadataExt::blocks(&blobs) * 512;
        assert_eq!(usage["LayersSize"], layers + blobs, "{usage}");
        let container = &usage["Containers"][0];
        let id = container["Id"].as_str().unwrap();
        let own = [data("snapshots").join(id), data("containers").join(id)];
        assert_eq!(container["SizeRw"], du(&[&own[0], &own[1]]), "{usage}");
        assert!(container["SizeRw"].as_u64().unwrap() < 1_000_000, "{usage}");
        let volume = &usage["Volumes"][0];
        assert_eq!(volume["UsageData"]["Size"], du(&[&data("volumes/xx")]));
        assert_eq!(volume["UsageData"]["RefCount"], 0);
        assert!(unique(&usage, &reference) < 3_100_000);
        // `ps -s` counts the bytes of files, as Docker does: those of the hole too.
        let shown = s.line("ps -a -s --format {{.Size}}");
        assert!(shown.ok().starts_with("1.07GB (virtual "), "{shown:?}");
        let reply = s.daemon.get("/system/df?type=volume");
        assert_eq!(reply.json()["Images"], Value::Null);
        assert_eq!(reply.json()["Volumes"].as_array().unwrap().len(), 1);
        let reply = s.daemon.get("/system/df?type=nope");
        let message = json!({"message": "unknown object type: nope"});
        assert_eq!((reply.status, reply.json()), (400, message));
        tables(s);
    });
}

/// Bytes that do not compress.
fn noise(seed: u32, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    std::iter::repeat_with(next).take(size).collect()
}

#[test]
fn the_disk_budget_is_kept_by_least_recent_use() {
    if !Registry::is_available() {
        return;
    }
    let host = Host::start();
    let registry = Registry::start(&host);
    let daemon = Daemon::start(&host, &["--disk-budget", "9MB"]);
    let run = |words: &[&str]| Client::Hull.run(&daemon, words);
    let push = |name: &str, seed: u32, size: usize| {
        let layer = Layer::new().file(name, 0o644, &noise(seed, size)).finish();
        let config = json!({"Cmd": ["sh"]});
        let image = Image::new(&[layer], &config, Packing::Gzip, Family::Oci);
        registry.push(&host, (name, "1"), &image).0
    };
    let names: Vec<String> = (0..3)
        .map(|n| push(&format!("i{n}"), n, 1_000_000))
        .collect();
    for name in &names[..2] {
        let _ = run(&["pull", "-q", name]).ok();
    }
    // The first is used by a container, and is older than the second all the same.
    let _ = run(&["create", "--name", "user", &names[0], "x"]).ok();
    let _ = run(&["pull", "-q", &names[2]]).ok();
    let listed = || {
        let listed = run(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let mut listed: Vec<String> = listed.ok().lines().map(str::to_owned).collect();
        listed.sort_unstable();
        listed
    };
    assert_eq!(listed(), names, "all three fit");
    let fourth = push("i3", 3, 1_000_000);
    let _ = run(&["pull", "-q", &fourth]).ok();
    assert_eq!(listed(), [&*names[0], &*names[2], &*fourth]);
    let taken = daemon.get("/system/df").json()["LayersSize"].clone();
    assert!(taken.as_u64().unwrap() <= 9_000_000, "{taken}");
    let events = daemon.get(&format!("/events?since=1&until={}", now()));
    let untagged = format!("\"Action\":\"untag\",\"Actor\":{{\"ID\":\"{}\"", names[1]);
    assert!(events.text().contains(&untagged), "{}", events.text());
    assert!(
        daemon
            .log()
            .contains("evicted to stay below the disk budget")
    );
    let huge = push("huge", 9, 7_000_000);
    let refused = run(&["pull", "-q", &huge]);
    let text = "no room within the disk budget of 9MB: 7.";
    assert!(refused.fails(1).contains(text), "{refused:?}");
    assert_eq!(
        listed(),
        [&*names[0], &*names[2], &*fourth],
        "nothing went for it"
    );
    let checked = daemon.ask("POST", "/hull/system/check?young=1", &[]);
    assert!(!checked.text().contains("finding"), "{}", checked.text());
    daemon.remove_containers();
}

/// Now, as the API writes it.
fn now() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a time after 1970");
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

/// Overwrites one byte in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs_err::read(path).expect("a file of the store");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(path, bytes).expect("a file of the store");
}

#[test]
fn a_flipped_byte_is_found_and_repaired_by_the_next_pull() {
    hull_tests::setup::with(hull_tests::client::Client::Hull, |s| {
        let reference = image(s, "whole", 100_000);
        let _ = s.line("run --name user busybox true").ok();
        let fine = s.line("system check");
        assert!(fine.ok().ends_with(": nothing found"), "{fine:?}");
        assert!(
            fine.ok()
                .starts_with("Checked 2 images, 3 layers, 1 containers (")
        );
        // The largest blob that is not busybox's own is that of the second layer.
        let blobs = s.daemon.path("data/blobs/sha256");
        let manifest = s.daemon.get(&format!("/images/{reference}/json")).json();
        let layer = manifest["RootFS"]["Layers"][1].as_str().unwrap().to_owned();
        let config = manifest["Id"]
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:")
            .to_owned();
        let mut command = std::process::Command::new("find");
        command.arg(
            s.daemon
                .path("data/layers")
                .join(layer.trim_start_matches("sha256:")),
        );
        command.args(["-type", "f", "-size", "+90k"]);
        let files = hull_tests::command::run(&mut command, &[]);
        flip(Path::new(files.ok()));
        let found = s.line("system check");
        assert_eq!(found.code, 1, "{found:?}");
        let row = format!("damaged   layer     {layer}");
        assert!(found.stdout.contains(&row), "{found:?}");
        let json = s.line("system check --format json");
        assert_eq!(json.code, 1, "{json:?}");
        let finding: Value = serde_json::from_str(json.stdout.trim()).unwrap();
        assert_eq!(finding["ID"], layer, "{finding}");
        assert_eq!(finding["Repaired"], false, "{finding}");
        assert_eq!(s.run(&["images", "-q", &reference]).ok().lines().count(), 1);
        let repaired = s.line("system check --repair");
        assert!(
            repaired.stdout.contains("dropped; pull its images again"),
            "{repaired:?}"
        );
        assert!(repaired.stdout.ends_with(" repaired\n"), "{repaired:?}");
        assert_eq!(s.run(&["images", "-q", &reference]).ok(), "");
        assert!(s.line("system check").ok().ends_with(": nothing found"));
        let _ = s.run(&["pull", "-q", &reference]).ok();
        let _ = s.run(&["run", "--rm", &reference, "cat", "/whole"]).ok();
        flip(&blobs.join(config));
        assert_eq!(s.line("system check --repair").code, 1);
        let _ = s.run(&["pull", "-q", &reference]).ok();
        let _ = s.run(&["run", "--rm", &reference, "true"]).ok();
        assert!(s.line("system check").ok().ends_with(": nothing found"));
        let _ = s.line("rm user").ok();
        // A layer whose files are gone is forgotten at the start, and fetched again.
        s.daemon.stop();
        let files = s.daemon.path("data/layers");
        fs_err::remove_dir_all(files.join(layer.trim_start_matches("sha256:"))).unwrap();
        s.daemon.restart();
        let _ = s.run(&["pull", "-q", &reference]).ok();
        let _ = s.run(&["run", "--rm", &reference, "cat", "/whole"]).ok();
        assert!(s.line("system check").ok().ends_with(": nothing found"));
    });
}

/// The command's tables.
fn tables(s: &Setup<'_>) {
    let table = s.line("system df");
    let mut lines = table.ok().lines();
    let titles = "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE";
    assert_eq!(lines.next(), Some(titles));
    assert!(
        lines
            .next()
            .expect("a line or document")
            .starts_with("Images          2         1")
    );
    assert!(
        lines
            .next()
            .expect("a line or document")
            .starts_with("Containers      1         0")
    );
    assert!(
        lines
            .next()
            .expect("a line or document")
            .starts_with("Local Volumes   1         0")
    );
    assert_eq!(
        lines.next(),
        Some("Build Cache     0         0         0B        0B")
    );
    let whole = s.line("system df -v");
    for text in [
        "Images space usage:",
        "SHARED SIZE   UNIQUE SIZE   CONTAINERS",
        "writes",
        "Local Volumes space usage:",
        "Build cache usage: 0B",
    ] {
        assert!(whole.ok().contains(text), "{whole:?}");
    }
    let rows = s.line("system df -v --format json");
    let rows: Value = serde_json::from_str(rows.ok()).expect("a line or document");
    assert_eq!(rows["Containers"][0]["Names"], "writes", "{rows}");
}

#[test]
fn prunes_take_what_nothing_uses_and_count_it() {
    with_each_client(|s| {
        let (one, two) = (image(s, "one", 500_000), image(s, "two", 700_000));
        let _ = s.line("run --name idle busybox true").ok();
        // Docker takes the names of an image that is in use, but for the last one.
        let other = format!("{}/busybox:latest", s.registry.host());
        let _ = s.run(&["rmi", &other]).ok();
        // Nothing dangles yet, and every image here has a name.
        let nothing = "Total reclaimed space: 0B";
        assert_eq!(s.line("image prune -f").ok(), nothing);
        let refused = s.line("image prune -f --filter until=nope");
        let text = "failed to parse value as time or duration: \"nope\"";
        assert!(refused.fails(1).contains(text), "{refused:?}");
        let refused = s.line("image prune -f --filter x=1");
        assert!(
            refused.fails(1).contains("invalid filter 'x'"),
            "{refused:?}"
        );
        let asked = s.line("image prune -a");
        assert_eq!(
            asked.ok().trim_end(),
            "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue? [y/N]"
        );
        assert_eq!(
            s.line("image prune -a -f --filter label!=kind=test").ok(),
            nothing
        );
        assert_eq!(
            s.line("image prune -a -f --filter until=87600h").ok(),
            nothing
        );
        removals(s, &one, &two);
    });
}

/// From dangling images to everything.
fn removals(s: &Setup<'_>, one: &str, two: &str) {
    // An image whose name moved on dangles.
    let _ = s.run(&["tag", one, "kept"]).ok();
    let before = df(s);
    let _ = s.run(&["tag", "busybox", two]).ok();
    let digest = s.line("images -q --filter dangling=true");
    assert_eq!(digest.ok().lines().count(), 1, "{digest:?}");
    let pruned = s.line("image prune -f");
    assert!(
        pruned.ok().starts_with("Deleted Images:\nuntagged: "),
        "{pruned:?}"
    );
    assert!(pruned.ok().contains("\ndeleted: sha256:"), "{pruned:?}");
    let reclaimed = before["LayersSize"].as_u64().expect("a number or time")
        - df(s)["LayersSize"].as_u64().expect("a number or time");
    assert!(reclaimed >= unique(&before, two) && reclaimed > 700_000);
    // All that no container uses.
    let reply = s.daemon.ask(
        "POST",
        "/images/prune?filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D",
        &[],
    );
    let left = df(s)["LayersSize"].as_u64().expect("a number or time");
    let freed = before["LayersSize"].as_u64().expect("a number or time") - reclaimed - left;
    assert_eq!(reply.json()["SpaceReclaimed"], freed, "{reply:?}");
    assert!(
        reply.text().contains("{\"Untagged\":\"kept:latest\"}"),
        "{reply:?}"
    );
    assert_ne!(s.line("images -q busybox").ok(), "", "a container has it");
    let gone = s.line("container prune -f");
    let id = s.line("ps -aq --no-trunc");
    assert_eq!(id.ok(), "", "{gone:?}");
    assert!(gone.ok().starts_with("Deleted Containers:\n"), "{gone:?}");
    let all = s.line("system prune -f -a");
    assert!(all.ok().contains("untagged: busybox:latest"), "{all:?}");
    assert!(all.ok().contains("\nTotal reclaimed space: "), "{all:?}");
    assert_eq!(s.line("images -q").ok(), "");
    let until = now();
    let events = s.daemon.get(&format!("/events?since=1&until={until}"));
    for kind in ["container", "image"] {
        let event = format!("\"Type\":\"{kind}\",\"Action\":\"prune\"");
        assert!(events.text().contains(&event), "{}", events.text());
    }
}
