//! Disks that are full, at every kind of operation: what does not fit is refused with the reason and leaves nothing,
//! what was acknowledged holds, and with room everything works again, in the same daemon.

use hull_tests::client::Client;
use hull_tests::daemon::Daemon;
use hull_tests::host::Host;
use hull_tests::image::{Family, Packing, busybox};
use hull_tests::registry::Registry;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

const FULL: &str = "no space left on device";

/// A file that takes all the room there is.
struct Filler(PathBuf);

impl Filler {
    fn fill(&self) {
        let mut options = fs_err::OpenOptions::new();
        let mut file = options
            .append(true)
            .create(true)
            .open(&self.0)
            .expect("made");
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        fs_err::remove_file(&self.0).expect("removed");
    }
}

/// The daemon's data root on a small file system of its own.
fn small(daemon: &mut Daemon<'_>) -> PathBuf {
    daemon.stop();
    let data = daemon.path("data");
    fs_err::remove_dir_all(&data).expect("removed");
    fs_err::create_dir(&data).expect("made");
    mount(
        "tmpfs",
        &data,
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=32m"),
    )
    .expect("mounted");
    daemon.restart();
    data
}

#[test]
fn a_full_disk_is_said_and_survived() {
    if !Registry::is_available() {
        return;
    }
    let host = Host::start();
    let registry = Registry::start(&host);
    let mut daemon = Daemon::start(&host, &[]);
    let data = small(&mut daemon);
    let filler = Filler(data.join("filler"));
    let image = busybox(Packing::Gzip, Family::Oci);
    let (reference, _) = registry.push(&host, ("busybox", "1"), &image);
    let saved = daemon.path("saved.tar");
    let saved = saved.to_str().unwrap();
    let line = |daemon: &Daemon<'_>, line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        Client::Hull.run(daemon, &words)
    };
    for prepare in [
        format!("pull -q {reference}"),
        format!("tag {reference} busybox"),
        format!("save -o {saved} busybox"),
        "run -d --network none --name runs busybox sleep 1000".to_owned(),
        "create --network none --name idle busybox true".to_owned(),
        "volume create old".to_owned(),
    ] {
        let _ = line(&daemon, &prepare).ok();
    }
    // More than fits with what is there: a layer of its own, and a program's output.
    let noise = daemon.path("noise");
    fs_err::write(&noise, vec![b'n'; 1 << 20]).unwrap();
    let noise = noise.to_str().unwrap();
    let operations = [
        (
            "create",
            "create --network none --name new busybox true".to_owned(),
        ),
        (
            "run",
            "run --network none --name run busybox true".to_owned(),
        ),
        ("start", "start idle".to_owned()),
        ("restart", "restart -t 0 runs".to_owned()),
        ("exec", "exec runs true".to_owned()),
        ("write", "exec runs cp /bin/busybox /copy".to_owned()),
        ("cp", format!("cp {noise} runs:/noise")),
        ("commit", "commit runs committed".to_owned()),
        ("rename", "rename idle lazy".to_owned()),
        ("update", "update --restart no runs".to_owned()),
        ("tag", "tag busybox other:tag".to_owned()),
        ("import", format!("import {saved} imported")),
        ("volume", "volume create new".to_owned()),
        (
            "copied",
            "run --network none --name copied -v filled:/bin busybox true".to_owned(),
        ),
        ("network", "network create new".to_owned()),
        ("prune", "container prune -f".to_owned()),
        ("logs", "logs runs".to_owned()),
        ("stop", "stop -t 0 runs".to_owned()),
        ("rm", "rm -f runs".to_owned()),
        ("rmi", "rmi -f other:tag".to_owned()),
    ];
    filler.fill();
    let mut refused = Vec::new();
    for (what, words) in &operations {
        let done = line(&daemon, words);
        // What it wrote goes to whoever has room.
        filler.fill();
        assert_eq!(daemon.get("/_ping").status, 200, "{what}");
        if done.code == 0 {
            continue;
        }
        refused.push(*what);
        let text = done.stderr.to_lowercase();
        // What depends on what was refused before is refused for that.
        let reason =
            text.contains(FULL) || text.contains("no such") || text.contains("not running");
        assert!(reason, "{what}: {done:?}");
    }
    assert!(
        refused.contains(&"commit") && refused.contains(&"write"),
        "{refused:?}"
    );
    // Ending and removing make room: they are not refused.
    for needed in ["stop", "rm", "prune", "logs"] {
        assert!(!refused.contains(&needed), "{refused:?}");
    }
    for (what, name) in [("create", "new"), ("run", "run"), ("copied", "copied")] {
        let there = daemon.get(&format!("/containers/{name}/json")).status == 200;
        assert!(
            !there || !refused.contains(&what) || what != "create",
            "{name} is there"
        );
    }
    // A new daemon starts all the same, and knows the same.
    let listed = |daemon: &Daemon<'_>| {
        let lines = line(daemon, "ps -a --no-trunc --format {{.ID}}{{.Names}}");
        lines.ok().to_owned()
    };
    let before = listed(&daemon);
    daemon.kill();
    daemon.restart();
    assert_eq!(listed(&daemon), before);
    filler.empty();
    for name in ["new", "run", "idle", "lazy", "copied"] {
        let _ = daemon.ask("DELETE", &format!("/containers/{name}?force=1"), &[]);
    }
    let _ = daemon.ask("DELETE", "/networks/new", &[]);
    let _ = daemon.ask("DELETE", "/volumes/filled", &[]);
    for again in [
        "run -d --network none --name runs busybox sleep 1000",
        "create --network none --name idle busybox true",
    ] {
        let _ = line(&daemon, again).ok();
    }
    for (what, words) in &operations {
        let done = line(&daemon, words);
        assert_eq!(done.code, 0, "{what}: {done:?}");
    }
    daemon.remove_containers();
    crate::crashes::assert_sound(&daemon);
    daemon.stop();
    unmount(&data, UnmountFlags::DETACH).unwrap();
}

/// Makes volumes until one does not fit; gives the names of those that were acknowledged.
fn volumes(daemon: &Daemon<'_>, prefix: &str) -> Vec<String> {
    let label = "l".repeat(100_000);
    let mut made = Vec::new();
    loop {
        let name = format!("{prefix}{}", made.len());
        let body = json!({"Name": name, "Labels": {"long": label}}).to_string();
        let reply = daemon.ask("POST", "/volumes/create", body.as_bytes());
        if reply.status == 201 {
            made.push(name);
            assert!(made.len() < 1000, "everything fits");
            continue;
        }
        assert!(reply.text().to_lowercase().contains(FULL), "{reply:?}");
        assert_eq!(daemon.get(&format!("/volumes/{name}")).status, 404);
        return made;
    }
}

#[test]
fn a_row_that_does_not_fit_is_none_and_the_next_one_may() {
    let host = Host::start();
    let mut daemon = Daemon::start(&host, &[]);
    let data = small(&mut daemon);
    let filler = Filler(data.join("filler"));
    filler.fill();
    let first = volumes(&daemon, "first");
    assert!(!first.is_empty(), "the database has some room");
    let there = |daemon: &Daemon<'_>, names: &[String]| {
        let list = daemon.get("/volumes").json();
        let list = list["Volumes"].as_array().cloned().unwrap_or_default();
        let listed: Vec<&str> = list.iter().filter_map(|one| one["Name"].as_str()).collect();
        let lost: Vec<_> = names
            .iter()
            .filter(|name| !listed.contains(&name.as_str()))
            .collect();
        assert!(lost.is_empty(), "{lost:?} of {names:?}");
    };
    there(&daemon, &first);
    // Removing needs no more room.
    let reply = daemon.ask("DELETE", &format!("/volumes/{}", first[0]), &[]);
    assert_eq!(reply.status, 204, "{reply:?}");
    assert!(daemon.log().contains("is opened again"), "{}", daemon.log());
    filler.empty();
    let second = volumes(&daemon, "second");
    assert!(
        second.len() > first.len(),
        "{} and {}",
        second.len(),
        first.len()
    );
    for _ in 0..2 {
        there(&daemon, &first[1..]);
        there(&daemon, &second);
        daemon.kill();
        daemon.restart();
    }
    for name in first[1..].iter().chain(&second) {
        let reply = daemon.ask("DELETE", &format!("/volumes/{name}"), &[]);
        assert_eq!(reply.status, 204, "{reply:?}");
    }
    crate::crashes::assert_sound(&daemon);
    daemon.stop();
    unmount(&data, UnmountFlags::DETACH).unwrap();
    assert!(Path::new(&data).read_dir().unwrap().next().is_none());
}
