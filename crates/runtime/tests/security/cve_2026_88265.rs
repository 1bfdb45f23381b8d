//! After the change of the root crun opened `/dev/null` of the container for the standard streams,
//! through links, and gave the file to the container's user.

use crate::bundle::Container;
use serde_json::json;
use std::os::unix::fs::MetadataExt as _;

#[test]
fn standard_streams_are_the_callers_and_no_file_changes_its_owner() {
    let Some(mut container) = Container::new("88265", &["sh", "-c", "ls -l /proc/self/fd/0"])
    else {
        return;
    };
    let volume = container.path("volume");
    fs_err::create_dir(&volume).unwrap();
    fs_err::os::unix::fs::symlink("/victim", volume.join("null")).unwrap();
    fs_err::write(container.inside("victim"), "").unwrap();
    container.without("/dev");
    container.mount("bind", &volume, "/dev");
    container.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let owner = || fs_err::metadata(container.inside("victim")).unwrap().uid();
    // The harness gives the host's null device as standard input.
    let outcome = container.run();
    assert!(outcome.text.contains("/dev/null"), "{outcome:?}");
    assert_eq!(owner(), 0);
    let outcome = container.run_without_input();
    assert!(!outcome.text.contains("victim"), "{outcome:?}");
    assert_eq!(owner(), 0);
}
