//! The target of a mount is a link of the image that leads out of it.

use crate::bundle::Container;
use std::path::PathBuf;

/// Links to a file of the host: absolute, upwards, through other links.
#[test]
fn links_of_an_image_end_inside_it() {
    for name in ["18837-absolute", "18837-up", "18837-chain"] {
        let Some(mut container) = Container::new(name, &["cat", "/etc/target"]) else {
            return;
        };
        let (victim, data) = (container.outside().join("victim"), container.path("data"));
        fs_err::write(&victim, "the host's").unwrap();
        fs_err::write(&data, "mounted\n").unwrap();
        fs_err::create_dir_all(container.inside("etc")).unwrap();
        let link = |target: PathBuf, name: &str| {
            fs_err::os::unix::fs::symlink(target, container.inside(name)).unwrap();
        };
        let below = victim.strip_prefix("/").unwrap().to_owned();
        match name {
            "18837-absolute" => link(victim.clone(), "etc/target"),
            "18837-up" => link(PathBuf::from("../".repeat(20)).join(below), "etc/target"),
            _ => {
                link("/..".into(), "etc/up");
                link(PathBuf::from("up/up/up").join(below), "etc/target");
                // `up` leads to a root that has no `up`: the last link is what counts.
                link("etc/up".into(), "up");
            }
        }
        container.mount("bind", &data, "/etc/target");
        let outcome = container.run();
        outcome.assert_succeeded();
        assert_eq!(outcome.text, "mounted\n", "{name}");
        assert_eq!(fs_err::read_to_string(&victim).unwrap(), "the host's");
        assert!(
            container
                .inside(victim.to_str().unwrap().trim_start_matches('/'))
                .is_file(),
            "{name}: the place was made inside"
        );
    }
}

#[test]
fn links_without_end_are_refused() {
    let Some(mut container) = Container::new("18837-loop", &["true"]) else {
        return;
    };
    fs_err::os::unix::fs::symlink("b", container.inside("a")).unwrap();
    fs_err::os::unix::fs::symlink("a", container.inside("b")).unwrap();
    let outside = container.outside();
    container.mount("bind", &outside, "/a/target");
    container
        .run()
        .assert_refused("too many levels of symbolic links");
}
