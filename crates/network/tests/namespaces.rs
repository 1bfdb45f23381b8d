//! Network namespaces as files.
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests"
)]

mod host;

use host::{Host, inside, link_named};
use hull_linux::namespace::{self, flag};
use hull_network::netns;
use rustix::mount::MountPropagationFlags;

fn mounts() -> String {
    fs_err::read_to_string("/proc/thread-self/mountinfo").unwrap()
}

#[test]
fn a_namespace_is_made_once_and_removed() {
    let Some(host) = Host::new() else { return };
    let path = host.namespaces().join("aaaa");
    netns::create(&path).unwrap();
    assert!(netns::create(&path).is_err());
    assert!(inside(&path, || link_named("lo")).unwrap().up);
    netns::remove(&path).unwrap();
    netns::remove(&path).unwrap();
    assert!(!path.exists());
    assert!(!mounts().contains("/netns/aaaa"));
}

#[test]
fn copies_of_mounts_do_not_keep_a_namespace() {
    let Some(host) = Host::new() else { return };
    let path = host.namespaces().join("gggg");
    netns::create(&path).unwrap();
    let (ready, wait) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        // As a shim does: mounts of its own, slaves of the host's.
        let shim = scope.spawn(move || {
            namespace::unshare(flag::MOUNT).unwrap();
            rustix::mount::mount_change(
                "/",
                MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
            )
            .unwrap();
            ready.send(()).unwrap();
            gone.recv().unwrap();
            mounts()
        });
        wait.recv().unwrap();
        netns::remove(&path).unwrap();
        go.send(()).unwrap();
        assert!(!shim.join().unwrap().contains("/netns/gggg"));
    });
}
