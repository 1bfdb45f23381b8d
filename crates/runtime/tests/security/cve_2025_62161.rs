//! youki took what the container has as `/dev/null` to cover masked paths.

use crate::bundle::Container;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

/// A pipe would stop a runtime that opens it, a directory would be what a file is covered with.
#[test]
fn a_null_device_of_the_image_is_not_even_opened() {
    for kind in [FileType::Fifo, FileType::Directory] {
        let look = ["stat", "-c", "%F %t:%T", "/secret", "/directory"];
        let Some(mut container) = Container::new("62161", &look) else {
            return;
        };
        fs_err::write(container.inside("secret"), "a secret").unwrap();
        fs_err::create_dir(container.inside("directory")).unwrap();
        fs_err::write(container.inside("directory/file"), "a secret").unwrap();
        let volume = container.path("volume");
        fs_err::create_dir(&volume).unwrap();
        match kind {
            FileType::Fifo => mknodat(CWD, volume.join("null"), kind, Mode::RWXU, 0).unwrap(),
            _ => fs_err::create_dir(volume.join("null")).unwrap(),
        }
        container.without("/dev");
        container.mount("bind", &volume, "/dev");
        container.spec["linux"]["maskedPaths"] = json!(["/secret", "/directory"]);
        let outcome = container.run();
        outcome.assert_succeeded();
        assert_eq!(outcome.text, "character special file 1:3\ndirectory 0:0\n");
        container.spec["process"]["args"] = json!(["ls", "-A", "/directory"]);
        assert_eq!(container.run().text, "");
    }
}

/// What a mask is to cover is looked up inside the root: a link to the host covers nothing there.
#[test]
fn a_mask_covers_nothing_of_the_host() {
    let Some(mut container) = Container::new("62161-link", &["cat", "/secret"]) else {
        return;
    };
    let victim = container.outside().join("victim");
    fs_err::write(&victim, "the host's").unwrap();
    fs_err::write(container.inside("real"), "a secret").unwrap();
    fs_err::os::unix::fs::symlink("real", container.inside("secret")).unwrap();
    fs_err::os::unix::fs::symlink(&victim, container.inside("other")).unwrap();
    container.spec["linux"]["maskedPaths"] = json!(["/secret", "/other", "/../../nosuch"]);
    let outcome = container.run();
    outcome.assert_succeeded();
    assert_eq!(outcome.text, "", "hidden behind the link");
    assert_eq!(fs_err::read_to_string(&victim).unwrap(), "the host's");
}
