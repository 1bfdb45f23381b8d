//! Disks that cannot be written to, and a damaged database.

use hull_tests::client::Client;
use hull_tests::daemon::Daemon;
use hull_tests::host::Host;
use hull_tests::image::{Family, Packing, busybox};
use hull_tests::registry::Registry;
use hull_tests::setup::with;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

#[test]
fn a_disk_that_became_read_only_is_said_and_survived() {
    if !Registry::is_available() {
        return;
    }
    let host = Host::start();
    let registry = Registry::start(&host);
    let mut daemon = Daemon::start(&host, &[]);
    daemon.stop();
    let data = daemon.path("data");
    fs_err::remove_dir_all(&data).unwrap();
    fs_err::create_dir(&data).unwrap();
    mount("tmpfs", &data, "tmpfs", MountFlags::empty(), None).unwrap();
    daemon.restart();
    let image = busybox(Packing::Gzip, Family::Oci);
    let (reference, _) = registry.push(&host, ("busybox", "1"), &image);
    daemon.stop();
    // A file that is open for writing would keep the file system writable.
    mount_remount(&data, MountFlags::RDONLY, c"").unwrap();
    let ended = daemon.spawn().wait().unwrap();
    assert!(!ended.success());
    assert!(
        daemon.log().contains("Read-only file system"),
        "{}",
        daemon.log()
    );
    mount_remount(&data, MountFlags::empty(), c"").unwrap();
    daemon.restart();
    // What the daemon cannot make directories in is as good as read-only.
    let ingest = daemon.path("data/ingest");
    mount("tmpfs", &ingest, "tmpfs", MountFlags::RDONLY, None).unwrap();
    let refused = Client::Hull.run(&daemon, &["pull", "-q", &reference]);
    assert!(
        refused.fails(1).contains("Read-only file system"),
        "{refused:?}"
    );
    assert_eq!(Client::Hull.run(&daemon, &["images", "-q"]).ok(), "");
    unmount(&ingest, UnmountFlags::DETACH).unwrap();
    let _ = Client::Hull.run(&daemon, &["pull", "-q", &reference]).ok();
    let words = [
        "run",
        "--rm",
        "--network",
        "none",
        &reference,
        "echo",
        "fine",
    ];
    assert_eq!(Client::Hull.run(&daemon, &words).ok(), "fine");
    let checked = daemon.ask("POST", "/hull/system/check?young=1", &[]);
    assert!(!checked.text().contains("finding"), "{}", checked.text());
    daemon.remove_containers();
    daemon.stop();
    unmount(&data, UnmountFlags::DETACH).unwrap();
}

#[test]
fn a_damaged_database_stops_the_daemon_and_nothing_is_removed() {
    with(Client::Hull, |s| {
        let _ = s.line("create --name kept busybox true").ok();
        s.daemon.stop();
        let file = s.daemon.path("data/hull.db");
        let whole = fs_err::read(&file).unwrap();
        let layers = || {
            fs_err::read_dir(s.daemon.path("data/layers"))
                .unwrap()
                .count()
        };
        let before = layers();
        assert!(before > 0);
        for (length, text) in [
            (
                0,
                "is missing or empty, but layers is not: restore hull.db from a backup",
            ),
            (1000, "hull.db is damaged (restore hull.db from a backup"),
            (
                whole.len() / 2,
                "hull.db is damaged (restore hull.db from a backup",
            ),
        ] {
            fs_err::write(&file, &whole[..length]).unwrap();
            let ended = s.daemon.spawn().wait().unwrap();
            assert!(!ended.success(), "{length}");
            let log = s.daemon.log();
            assert!(log.contains(text), "{length}: {log}");
            assert_eq!(layers(), before, "{length}: nothing was removed");
        }
        fs_err::write(&file, &whole).unwrap();
        s.daemon.restart();
        assert_eq!(s.line("ps -a --format {{.Names}}").ok(), "kept");
        assert_eq!(
            s.run(&["run", "--rm", "busybox", "echo", "fine"]).ok(),
            "fine"
        );
    });
}
