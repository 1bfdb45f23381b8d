//! A runtime that lives in a chroot(2), as in a rescue system: above the container's root must be nothing of the host's.

use crate::bundle::Container;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn nothing_of_the_host_is_above_the_root() {
    let Some(mut container) = Container::new("in-a-chroot", &["sleep", "1000"]) else {
        return;
    };
    fs_err::write(container.inside("marker"), "of the container").unwrap();
    let top = container.outside().join("top");
    fs_err::create_dir(&top).unwrap();
    let caller = container.outside().join("caller");
    let (top, runtime) = (top.display(), container.runtime.display());
    // The mounts are of a namespace that ends with the caller: whoever removes the directory must not find the host in it.
    let script = format!(
        "#!/bin/busybox sh\nexec unshare --mount --propagation private /bin/busybox sh -ec \
         '/bin/busybox mount -o rbind / {top}; exec /bin/busybox chroot {top} {runtime} \"$@\"' caller \"$@\"\n"
    );
    fs_err::write(&caller, script).unwrap();
    fs_err::set_permissions(&caller, Permissions::from_mode(0o755)).unwrap();
    container.runtime = caller;
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    // Joining the namespace leads to its root.
    let seen = container.exec(&[], &["cat", "/marker"]);
    seen.assert_succeeded();
    assert!(seen.text.contains("of the container"), "{seen:?}");
    // The first mount of the namespace is the container's root: of what is above nothing is told.
    let seen = container.exec(&[], &["cat", "/proc/1/mountinfo"]);
    let points: Vec<&str> = seen
        .text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .collect();
    assert_eq!(points, ["/", "/proc", "/dev"], "{seen:?}");
}
