//! A container that controls `/dev/null` controls what masked paths are covered with.

use crate::bundle::Container;
use serde_json::json;
use std::path::Path;

/// A container whose `/dev` comes from a volume, with this done to its null device.
fn container(name: &str, spoil: impl Fn(&Path)) -> Option<Container> {
    let mut container = Container::new(name, &["stat", "-c", "%F %t:%T", "/secret"])?;
    fs_err::write(container.inside("secret"), "a secret").unwrap();
    let volume = container.path("volume");
    fs_err::create_dir(&volume).unwrap();
    spoil(&volume);
    container.without("/dev");
    container.mount("bind", &volume, "/dev");
    container.spec["linux"]["maskedPaths"] = json!(["/secret", "/nosuch"]);
    Some(container)
}

#[test]
fn masks_are_the_null_device_whatever_the_container_calls_so() {
    let spoilers = [
        ("31133-missing", &(|_: &Path| {}) as &dyn Fn(&Path)),
        ("31133-file", &|dev| {
            fs_err::write(dev.join("null"), "not null").unwrap();
        }),
        ("31133-link", &|dev| {
            fs_err::os::unix::fs::symlink("/proc/sys/kernel/core_pattern", dev.join("null"))
                .unwrap();
        }),
    ];
    for (name, spoil) in spoilers {
        let Some(container) = container(name, spoil) else {
            return;
        };
        let outcome = container.run();
        outcome.assert_succeeded();
        assert_eq!(outcome.text.trim(), "character special file 1:3", "{name}");
    }
}

/// Where the runtime makes the nodes, it does not take a link of the image for one.
#[test]
fn a_link_in_an_image_is_not_a_device() {
    let Some(mut container) = Container::new("31133-image", &["true"]) else {
        return;
    };
    container.without("/dev");
    fs_err::os::unix::fs::symlink("/proc/sysrq-trigger", container.inside("dev/null")).unwrap();
    container.run().assert_refused("/dev/null");
}
