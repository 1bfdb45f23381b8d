//! A host that refuses what a container needs: it is said, nothing is left, and when the host has thought better of
//! it, the same container starts.

use hull_tests::client::Client;
use hull_tests::setup::with;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::path::Path;

#[test]
fn a_control_group_that_is_refused_leaves_nothing() {
    with(Client::Hull, |s| {
        // One of several hierarchies, or the only one.
        let one = Path::new("/sys/fs/cgroup/pids");
        let one = if one.exists() {
            one.to_str().unwrap()
        } else {
            "/sys/fs/cgroup"
        };
        s.daemon.stop();
        s.daemon
            .set_prelude(&format!("mount -o bind,ro {one} {one}"));
        s.daemon.restart();
        let run = "run --name refused --network none busybox echo accepted";
        let refused = s.line(run);
        let told = refused.fails(125).to_lowercase();
        assert!(told.contains("read-only file system"), "{told}");
        let id = s.inspect("refused", "/Id").as_str().unwrap().to_owned();
        assert_eq!(hull_tests::groups(&id), [""; 0]);
        assert!(!s.daemon.path("run/runtime").join(&id).exists());
        assert_eq!(s.inspect("refused", "/State/Status"), "created");
        s.daemon.stop();
        s.daemon.set_prelude("");
        s.daemon.restart();
        assert_eq!(s.line("start -a refused").ok(), "accepted");
    });
}

#[test]
fn a_network_namespace_that_is_refused_leaves_nothing() {
    with(Client::Hull, |s| {
        let run = "run -d --name first busybox sleep 1000";
        let _ = s.line(run).ok();
        let namespaces = s.daemon.path("run/netns");
        mount("tmpfs", &namespaces, "tmpfs", MountFlags::RDONLY, None).unwrap();
        let refused = s.line("run --name refused busybox echo accepted");
        let told = refused.fails(125).to_lowercase();
        assert!(told.contains("read-only file system"), "{told}");
        assert_eq!(s.inspect("refused", "/State/Status"), "created");
        let id = s.inspect("refused", "/Id").as_str().unwrap().to_owned();
        assert_eq!(hull_tests::groups(&id), [""; 0]);
        let network = s.daemon.get("/networks/bridge").json();
        assert_eq!(
            network["Containers"].as_object().unwrap().len(),
            1,
            "{network}"
        );
        unmount(&namespaces, UnmountFlags::DETACH).unwrap();
        assert_eq!(s.line("start -a refused").ok(), "accepted");
        assert_eq!(s.line("exec first echo untouched").ok(), "untouched");
    });
}
