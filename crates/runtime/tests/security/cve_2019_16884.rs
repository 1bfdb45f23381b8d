//! An image or volume puts something else where `/proc` is expected, so that labels and masks go nowhere.

use crate::bundle::Container;
use std::path::Path;

#[test]
fn proc_is_not_mounted_behind_a_link() {
    let Some(container) = Container::new("16884-link", &["true"]) else {
        return;
    };
    fs_err::remove_dir(container.inside("proc")).unwrap();
    fs_err::create_dir(container.inside("elsewhere")).unwrap();
    fs_err::os::unix::fs::symlink("/elsewhere", container.inside("proc")).unwrap();
    container
        .run()
        .assert_refused("must be mounted on ordinary directory");
}

#[test]
fn nothing_but_procfs_covers_proc() {
    for (destination, reason) in [
        ("/proc", "because it is not of type proc"),
        ("/proc/../proc/", "because it is not of type proc"),
        ("/proc/self/attr", "because it is inside /proc"),
        ("/proc/sys", "because it is inside /proc"),
        ("/link/sys", "because it is inside /proc"),
    ] {
        let Some(mut container) = Container::new("16884-bind", &["true"]) else {
            return;
        };
        fs_err::os::unix::fs::symlink("/proc", container.inside("link")).unwrap();
        let outside = container.outside();
        container.mount("bind", &outside, destination);
        container.run().assert_refused(reason);
    }
}

#[test]
fn a_tmpfs_does_not_cover_proc_either() {
    let Some(mut container) = Container::new("16884-tmpfs", &["true"]) else {
        return;
    };
    container.mount("tmpfs", Path::new("tmpfs"), "/proc");
    container.run().assert_refused("not of type proc");
}

/// Files that describe the machine may be replaced, as lxcfs does.
#[test]
fn single_files_that_only_inform_may_be_covered() {
    let Some(mut container) = Container::new("16884-file", &["cat", "/proc/cpuinfo"]) else {
        return;
    };
    let file = container.outside().join("cpuinfo");
    fs_err::write(&file, "one of ours\n").unwrap();
    container.mount("bind", &file, "/proc/cpuinfo");
    let outcome = container.run();
    outcome.assert_succeeded();
    assert_eq!(outcome.text, "one of ours\n");
}
