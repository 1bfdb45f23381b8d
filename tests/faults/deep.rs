//! Trees so deep that who walks them with a call, or a descriptor, for each level ends: a container can make them.

use hull_tests::client::Client;
use hull_tests::daemon::wait_until;
use hull_tests::setup::with;

#[test]
fn a_very_deep_tree_ends_no_daemon() {
    with(Client::Hull, |s| {
        // 500 levels at once, many times: no path that names the deepest is valid.
        let path = vec!["d"; 500].join("/");
        let deeper = format!(
            "i=0; while [ $i -lt 24 ]; do mkdir -p {path} && cd -P {path}; i=$((i+1)); done; : > file"
        );
        let script = format!("mkdir /top && cd /top && {deeper}; cd /volume && {deeper}");
        let made = s.script("run --name deep -v deep-volume:/volume busybox", &script);
        assert_eq!(made.code, 0, "{made:?}");
        let daemon = s.daemon.pid();
        let _ = s.line("rm -f deep").ok();
        let _ = s.line("volume rm deep-volume").ok();
        wait_until("all of it is deleted", || {
            let directory = |name: &str| fs_err::read_dir(s.daemon.path("data").join(name));
            let directories = ["trash", "volumes/.removed"]
                .map(directory)
                .into_iter()
                .flatten();
            let left = directories
                .flatten()
                .map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = left.collect();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        assert_eq!(s.daemon.get("/_ping").status, 200);
        assert_eq!(s.daemon.pid(), daemon);
        s.daemon.remove_containers();
    });
}
