//! Mount points that are made while a shared volume changes under the runtime: empty files and
//! directories appear on the host. Working directories are made as well (CVE-2026-55686 of Podman).

use crate::bundle::{Container, Exchange};
use serde_json::json;
use std::path::PathBuf;

/// What is outside after the container was run.
fn reached(container: &Container) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(container.outside()).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn nothing_is_made_on_the_host() {
    let Some(mut container) = Container::new("45310", &["true"]) else {
        return;
    };
    let (volume, file) = (container.path("volume"), container.path("file"));
    fs_err::create_dir_all(volume.join("place")).unwrap();
    fs_err::write(&file, "").unwrap();
    let up = PathBuf::from("../".repeat(20)).join(container.outside().strip_prefix("/").unwrap());
    fs_err::os::unix::fs::symlink(up, volume.join("link")).unwrap();
    container.mount("bind", &volume, "/volume");
    let outside = container.path("rootfs/bin");
    for number in 0..6 {
        container.mount("bind", &file, &format!("/volume/place/file{number}"));
        let deep = format!("/volume/place/{number}/a/b/c");
        container.mount("bind", &outside, &deep);
    }
    let attacker = Exchange::start(volume.join("place"), volume.join("link"));
    for _ in 0..30 {
        container.run();
        container.delete();
        assert!(reached(&container).is_empty(), "{:?}", reached(&container));
    }
    attacker.stop();
}

/// CVE-2026-55686.
#[test]
fn a_working_directory_is_made_inside() {
    let Some(mut container) = Container::new("45310-cwd", &["busybox", "pwd"]) else {
        return;
    };
    let outside = container.outside();
    fs_err::os::unix::fs::symlink(&outside, container.inside("link")).unwrap();
    container.spec["process"]["cwd"] = json!("/link/made/here");
    let outcome = container.run();
    outcome.assert_succeeded();
    assert!(reached(&container).is_empty(), "{:?}", reached(&container));
    let inside = container.inside(outside.to_str().unwrap().trim_start_matches('/'));
    assert!(inside.join("made/here").is_dir());
}
