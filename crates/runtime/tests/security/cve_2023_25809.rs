//! A container without a cgroup namespace sees, and writes to, the host's control groups.

use crate::bundle::Container;
use serde_json::json;
use std::path::Path;

/// A container that looks at a directory of its control groups.
fn container(name: &str, options: &[&str], look: &str) -> Option<Container> {
    let look = format!("cd /sys/fs/cgroup && if [ -d pids ]; then cd pids; fi; {look}");
    let mut container = Container::new(name, &["sh", "-c", &look])?;
    if !["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/pids"]
        .iter()
        .any(|path| Path::new(path).exists())
    {
        eprintln!("skipped: no control groups");
        return None;
    }
    fs_err::create_dir_all(container.inside("sys/fs/cgroup")).unwrap();
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options});
    container.spec["mounts"].as_array_mut().unwrap().push(mount);
    Some(container)
}

#[test]
fn only_the_containers_own_groups_are_there() {
    for user in [false, true] {
        let name = if user { "25809-user" } else { "25809" };
        // Its own group has the shell and nothing below; any other has other processes or groups.
        let Some(mut container) = container(name, &[], "cat cgroup.procs; ls -d */ 2>/dev/null")
        else {
            return;
        };
        if user {
            container.in_user_namespace();
        }
        let outcome = container.run();
        let lines: Vec<_> = outcome.text.lines().collect();
        let own = lines.iter().all(|line| matches!(*line, "1" | "2" | "3"));
        assert!(own && lines.contains(&"1"), "{name}: {outcome:?}");
    }
}

#[test]
fn read_only_is_read_only() {
    for user in [false, true] {
        let name = if user { "25809-ro-user" } else { "25809-ro" };
        let look = "mkdir x 2>/dev/null || echo 1 >cgroup.procs || echo refused";
        let Some(mut container) = container(name, &["ro"], look) else {
            return;
        };
        container.without("/nosuch");
        fs_err::os::unix::fs::symlink("busybox", container.inside("bin/mkdir")).unwrap();
        if user {
            container.in_user_namespace();
        }
        let outcome = container.run();
        assert!(outcome.text.ends_with("refused\n"), "{name}: {outcome:?}");
    }
}
