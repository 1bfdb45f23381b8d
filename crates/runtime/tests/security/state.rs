//! What the runtime leaves on disk, and what it takes from its caller.

use crate::bundle::Container;
use std::os::unix::fs::MetadataExt as _;

/// The configuration has the container's environment in it.
#[test]
fn the_state_is_not_for_other_users() {
    let Some(container) = Container::new("state-modes", &["sleep", "1000"]) else {
        return;
    };
    container.create().assert_succeeded();
    let state = container.path("state");
    let own = fs_err::read_dir(&state)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mode = |path: &std::path::Path| fs_err::symlink_metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&state), mode(&own)), (0o700, 0o711));
    for file in fs_err::read_dir(&own).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file) & 0o077, 0, "{}", file.display());
    }
}

#[test]
fn links_in_the_place_of_state_are_not_followed() {
    let Some(container) = Container::new("state-links", &["true"]) else {
        return;
    };
    let victim = container.outside().join("victim");
    fs_err::write(&victim, "untouched").unwrap();
    // Where `--pid-file` is written before it gets its name.
    fs_err::os::unix::fs::symlink(&victim, container.path(".pid")).unwrap();
    container.create().assert_succeeded();
    assert_eq!(fs_err::read_to_string(&victim).unwrap(), "untouched");
    assert!(container.pid().parse::<u32>().is_ok());
    container.delete().assert_succeeded();
    // A state directory that is a link is none.
    let elsewhere = container.outside().join("state");
    fs_err::create_dir(&elsewhere).unwrap();
    fs_err::write(elsewhere.join("file"), "").unwrap();
    let own = container.path("state").join(container.id());
    fs_err::os::unix::fs::symlink(&elsewhere, own).unwrap();
    container.delete();
    assert!(elsewhere.join("file").exists(), "followed by delete");
    container.create().assert_refused("");
}

/// How many hold a keyring of this name, by proc_keys(5); `None` unless there is exactly one.
fn holders(keys: &str, name: &str) -> Option<u32> {
    let wanted = format!(" {name}: ");
    let mut found = keys.lines().filter(|line| line.contains(&wanted));
    let holders = found.next()?.split_whitespace().nth(2)?.parse().ok();
    if found.next().is_none() {
        holders
    } else {
        None
    }
}

/// The session keyring is the container's, also for later processes: one more holds it, and the
/// caller's stays with the caller.
#[test]
fn keyrings_are_the_containers() {
    let Some(container) = Container::new("state-keys", &["sleep", "1000"]) else {
        return;
    };
    let Ok(keys) = fs_err::read_to_string("/proc/keys") else {
        eprintln!("skipped: no keyrings");
        return;
    };
    drop(keys);
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    let own = format!("_ses.{}", container.id());
    // Those of processes that have ended count until the kernel comes to it.
    let idle = || holders(&fs_err::read_to_string("/proc/keys").unwrap(), &own).unwrap();
    let (mut least, mut seen) = (idle(), Vec::new());
    for _ in 0..50 {
        let outcome = container.exec(&[], &["cat", "/proc/keys"]);
        seen.push(holders(&outcome.text, &own).expect("one keyring, and in sight"));
        least = least.min(idle());
        if seen.iter().all(|holders| *holders > least) {
            return;
        }
    }
    panic!("held by {least} and, with a later process, by {seen:?}");
}

/// Without mounts of its own nothing but its root keeps a container from the host's files, and a later
/// process comes from outside of it.
#[test]
fn a_later_process_has_the_containers_root() {
    let Some(mut container) = Container::new("state-root", &["sleep", "1000"]) else {
        return;
    };
    fs_err::write(container.inside("inside"), "").unwrap();
    container.without("/proc");
    container.without("/dev");
    container.spec["linux"]["namespaces"] = serde_json::json!([{"type": "pid"}, {"type": "ipc"}]);
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    for cwd in ["/", "/bin/.."] {
        let outcome = container.exec(&["--cwd", cwd], &["ls", ".", "/"]);
        outcome.assert_succeeded();
        let inside = outcome.text.matches("inside\n").count();
        assert_eq!(inside, 2, "{outcome:?}");
        assert!(!outcome.text.contains("usr"), "{outcome:?}");
    }
}
