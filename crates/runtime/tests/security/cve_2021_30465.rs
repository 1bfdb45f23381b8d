//! A path in a shared volume becomes a link between the check of a mount's destination and the mount.

use crate::bundle::{Container, Exchange};
use std::path::PathBuf;

/// A container with a volume, and another mount below a link in that volume which leads out.
fn container(name: &str, link: &dyn Fn(&Container) -> PathBuf) -> Option<Container> {
    let mut container = Container::new(name, &["true"])?;
    let (volume, data) = (container.path("volume"), container.path("data"));
    fs_err::create_dir_all(volume.join("place")).unwrap();
    fs_err::create_dir(&data).unwrap();
    fs_err::os::unix::fs::symlink(link(&container), volume.join("link")).unwrap();
    container.mount("bind", &volume, "/volume");
    Some(container)
}

#[test]
fn links_of_a_volume_end_inside_the_root() {
    let up = |container: &Container| {
        let outside = container.outside();
        PathBuf::from("../".repeat(12)).join(outside.strip_prefix("/").unwrap())
    };
    let absolute = |container: &Container| container.outside();
    for (name, link) in [
        (
            "30465-absolute",
            &absolute as &dyn Fn(&Container) -> PathBuf,
        ),
        ("30465-up", &up),
    ] {
        let Some(mut container) = container(name, link) else {
            return;
        };
        let data = container.path("data");
        container.mount("bind", &data, "/volume/link/target");
        let outcome = container.run();
        assert!(
            !container.outside().join("target").exists(),
            "{name}: reached the host: {outcome:?}"
        );
    }
}

#[test]
fn exchanging_a_directory_for_a_link_does_not_help() {
    let Some(mut container) = container("30465-race", &|container| container.outside()) else {
        return;
    };
    let data = container.path("data");
    for target in ["a", "b", "c", "d"] {
        container.mount("bind", &data, &format!("/volume/place/{target}"));
    }
    let attacker = Exchange::start(
        container.path("volume/place"),
        container.path("volume/link"),
    );
    // Whether it works or is refused depends on who wins; only where it ends counts.
    for _ in 0..30 {
        container.run();
        container.delete();
    }
    attacker.stop();
    let reached: Vec<_> = fs_err::read_dir(container.outside()).unwrap().collect();
    assert!(reached.is_empty(), "reached the host: {reached:?}");
}
