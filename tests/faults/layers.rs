//! Layers that are mounted: shared, taken over by the next daemon, and never left behind; and both
//! formats below one container.

use hull_tests::client::Client;
use hull_tests::daemon::Daemon;
use hull_tests::image::{Family, Image, Layer, Packing, busybox_layer};
use hull_tests::setup::{Setup, with};
use serde_json::json;

/// The layers in the store as (diffID, whether it is mounted rather than unpacked).
fn layers(daemon: &Daemon<'_>) -> Vec<(String, bool)> {
    let entries = fs_err::read_dir(daemon.path("data/layers")).expect("the layers");
    let mut layers: Vec<_> = entries
        .flatten()
        .map(|entry| {
            let name = entry.file_name().into_string().expect("a digest");
            (name, entry.path().join("erofs").exists())
        })
        .collect();
    layers.sort();
    layers
}

/// Whether this host mounts layers. Then those that are there are so, by default.
fn mounts_layers(s: &Setup<'_>) -> bool {
    let mounts = hull_tests::mounts_layers(&s.daemon.path("data"));
    let found = layers(&s.daemon);
    assert!(
        !mounts || found.iter().all(|(_, mounted)| *mounted),
        "{found:?}"
    );
    mounts
}

#[test]
fn mounts_survive_a_killed_daemon_and_are_not_doubled() {
    with(Client::Hull, |s| {
        if !mounts_layers(s) {
            return;
        }
        assert_eq!(s.daemon.layer_mounts(), [""; 0], "a pull mounts nothing");
        let _ = s.line("run -d --name first busybox sleep 1000").ok();
        let before = s.daemon.layer_mounts();
        // The directory itself and the image's layers.
        let count = layers(&s.daemon).len();
        assert_eq!(before.len(), count + 1, "{before:?}");
        let pid = s.inspect("first", "/State/Pid");
        // Other daemons of this host may have layers mounted too.
        let ours = format!(" {}", s.daemon.path("run/layers/").display());
        let seen = fs_err::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        assert!(!seen.contains("erofs"), "{seen}");
        for (shim, _) in s.daemon.shims() {
            let kept = fs_err::read_to_string(format!("/proc/{shim}/mountinfo")).unwrap();
            assert!(!kept.contains(&ours), "a shim keeps no layer: {kept}");
        }
        s.daemon.kill();
        s.daemon.restart();
        assert_eq!(
            s.run(&["run", "--rm", "busybox", "echo", "fine"]).ok(),
            "fine"
        );
        assert_eq!(s.line("exec first echo still").ok(), "still");
        assert_eq!(s.daemon.layer_mounts(), before);
        let _ = s.line("rm -f first").ok();
        assert_eq!(s.daemon.layer_mounts(), before, "the next run is likely");
        s.daemon.kill();
        s.daemon.restart();
        let id = s.run(&["images", "-q", "busybox"]).ok().to_owned();
        let _ = s.run(&["rmi", "-f", &id]).ok();
        assert_eq!(s.daemon.layer_mounts().len(), 1);
        assert_eq!(layers(&s.daemon), []);
    });
}

#[test]
fn a_lost_layer_is_fetched_again() {
    with(Client::Hull, |s| {
        let _ = s.daemon.stop();
        for entry in fs_err::read_dir(s.daemon.path("data/layers")).unwrap() {
            fs_err::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        s.daemon.restart();
        let reference = format!("{}/busybox:latest", s.registry.host());
        let refused = s.run(&["run", "--rm", "busybox", "true"]);
        assert!(
            refused.stderr.contains("pull the image again"),
            "{refused:?}"
        );
        let _ = s.run(&["pull", "-q", &reference]).ok();
        assert_eq!(
            s.run(&["run", "--rm", "busybox", "echo", "fine"]).ok(),
            "fine"
        );
    });
}

#[test]
fn both_formats_lie_below_one_container() {
    with(Client::Hull, |s| {
        if !mounts_layers(s) {
            return;
        }
        let push = |name: &str, layers: &[Vec<u8>]| {
            let image = Image::new(layers, &json!({}), Packing::Gzip, Family::Oci);
            s.registry.push(s.host, (name, "1"), &image).0
        };
        let own = |name: &str| {
            let text = format!("{name} {}", s.registry.host());
            Layer::new().file(name, 0o644, text.as_bytes()).finish()
        };
        let (one, two) = (own("one"), own("two"));
        let middle = push("middle", &[busybox_layer(), one.clone()]);
        let top = push("top", &[busybox_layer(), one, two]);
        let _ = s.daemon.stop();
        s.daemon.set_arguments(&["--store-format=directory"]);
        s.daemon.restart();
        let _ = s.run(&["pull", "-q", &middle]).ok();
        let _ = s.daemon.stop();
        s.daemon
            .set_arguments(&["--store-format", "erofs", "--keep-compressed-layers=false"]);
        s.daemon.restart();
        let _ = s.run(&["pull", "-q", &top]).ok();
        let formats: Vec<bool> = layers(&s.daemon)
            .into_iter()
            .map(|(_, mounted)| mounted)
            .collect();
        assert_eq!(
            formats.iter().filter(|mounted| !**mounted).count(),
            1,
            "{formats:?}"
        );
        assert!(formats.len() > 2, "{formats:?}");
        for kill in [false, true] {
            if kill {
                s.daemon.kill();
                s.daemon.restart();
            }
            let script = "cat /one; echo; cat /two; echo; echo more >> /two; rm /one; ls /one 2>&1; tail -1 /two";
            let told = s.run(&["run", "--rm", &top, "sh", "-c", script]);
            let told: Vec<&str> = told.ok().lines().collect();
            assert!(
                told[0].starts_with("one ") && told[1].starts_with("two "),
                "{told:?}"
            );
            assert!(
                told[2].contains("No such file") && told[3].ends_with("more"),
                "{told:?}"
            );
        }
    });
}
