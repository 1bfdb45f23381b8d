//! The mount of the terminal on `/dev/console` is led elsewhere.

use crate::bundle::{Container, Outcome};
use serde_json::json;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// A container with a terminal whose `/dev` is the image's.
fn container(name: &str) -> Option<Container> {
    let mut container = Container::new(name, &["true"])?;
    container.without("/dev");
    container.mount("devpts", Path::new("devpts"), "/dev/pts");
    container.spec["process"]["terminal"] = json!(true);
    fs_err::write(container.inside("victim"), "").unwrap();
    Some(container)
}

fn create(container: &Container) -> Outcome {
    let socket = container.path("console");
    let _listener = UnixListener::bind(&socket).unwrap();
    container.create_with_console(&socket)
}

#[test]
fn an_ordinary_console_works() {
    let Some(container) = container("52565-ordinary") else {
        return;
    };
    create(&container).assert_succeeded();
}

#[test]
fn a_console_that_is_a_link_is_refused() {
    for (name, target) in [
        ("52565-link", "/victim"),
        ("52565-dangling", "/nosuch"),
        ("52565-proc", "/proc/sys/kernel/core_pattern"),
    ] {
        let Some(container) = container(name) else {
            return;
        };
        fs_err::os::unix::fs::symlink(target, container.inside("dev/console")).unwrap();
        create(&container).assert_refused("/dev/console is a symbolic link");
        assert!(!container.inside("nosuch").exists());
    }
}

#[test]
fn a_multiplexer_that_is_none_is_refused() {
    let Some(mut container) = container("52565-ptmx") else {
        return;
    };
    container.without("/dev/pts");
    let volume = container.path("volume");
    fs_err::create_dir(&volume).unwrap();
    fs_err::write(volume.join("ptmx"), "").unwrap();
    container.mount("bind", &volume, "/dev/pts");
    create(&container).assert_refused("/dev/pts/ptmx is not a terminal multiplexer");
}
