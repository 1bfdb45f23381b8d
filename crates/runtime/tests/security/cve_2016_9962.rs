//! A process of the container looks into one that is just joining it, which still has descriptors of
//! the host.

use crate::bundle::Container;
use serde_json::json;

/// In a user namespace of its own the container has every power over those who enter it. Its program
/// looks at all the processes it sees, over and over.
#[test]
fn descriptors_of_a_joining_process_are_out_of_sight() {
    let look = "while :; do ls -l /proc/[0-9]*/fd /proc/[0-9]*/exe 2>/dev/null; done >/seen";
    let Some(mut container) = Container::new("9962", &["sh", "-c", look]) else {
        return;
    };
    let all = json!(hull_linux::capability::NAMES.as_slice());
    container.spec["process"]["capabilities"] =
        json!({"bounding": all, "effective": all, "permitted": all});
    container.in_user_namespace();
    fs_err::write(container.inside("seen"), "").unwrap();
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    for _ in 0..30 {
        container.exec(&[], &["true"]).assert_succeeded();
    }
    container.delete().assert_succeeded();
    let seen = fs_err::read(container.inside("seen")).unwrap();
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("busybox"), "the program looked: {seen}");
    for line in seen.lines().filter_map(|line| line.split_once(" -> ")) {
        let target = line.1;
        let own = ["/bin/busybox", "/seen", "/dev/null", "/proc/"];
        let own = own.iter().any(|start| target.starts_with(start));
        // The output of `exec` itself is handed over on purpose.
        assert!(
            own || target.ends_with("/output"),
            "the container saw {line:?}"
        );
    }
}
