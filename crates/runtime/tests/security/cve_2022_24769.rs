//! Inheritable capabilities that nobody asked for: a program with inheritable file capabilities, started
//! by somebody without rights, gets what is in the bounding set. runc had them from its caller and from
//! `exec --cap` (CVE-2022-29162), crun by default (CVE-2022-27650), youki for later processes, ambient
//! ones too (CVE-2025-27612).

use crate::bundle::Container;
use hull_linux::capability::{self, Set};
use serde_json::json;

const LOOK: &[&str] = &["grep", "-E", "CapInh|CapAmb", "/proc/self/status"];

fn assert_none(text: &str, what: &str) {
    let sets: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(":\t"))
        .collect();
    assert_eq!(sets.len(), 2, "{what}: {text}");
    for (name, bits) in sets {
        assert_eq!(bits, "0000000000000000", "{what}: {name}");
    }
}

#[test]
fn nothing_is_inheritable_unless_the_configuration_says_so() {
    let Some(mut container) = Container::new("24769", LOOK) else {
        return;
    };
    // As a caller that has inheritable capabilities itself.
    let (permitted, _) = capability::own().unwrap();
    capability::set(permitted, permitted, permitted).unwrap();
    for user in [0, 1000] {
        container.spec["process"]["user"] = json!({"uid": user, "gid": user});
        let outcome = container.run();
        outcome.assert_succeeded();
        assert_none(&outcome.text, "run");
    }
    container.spec["process"]["args"] = json!(["sleep", "1000"]);
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    for options in [
        &["--cap", "CAP_NET_RAW", "--cap", "CAP_KILL"] as &[&str],
        &["--cap", "CAP_NET_RAW", "--user", "0:0"],
        &[],
    ] {
        let outcome = container.exec(options, LOOK);
        outcome.assert_succeeded();
        assert_none(&outcome.text, "exec");
    }
    capability::set(permitted, permitted, Set::default()).unwrap();
}

/// A process document without capabilities has none.
#[test]
fn what_is_not_said_is_not_given() {
    let Some(mut container) = Container::new("24769-none", &["grep", "Cap", "/proc/self/status"])
    else {
        return;
    };
    container.spec["process"]
        .as_object_mut()
        .unwrap()
        .remove("capabilities");
    let outcome = container.run();
    outcome.assert_succeeded();
    for line in outcome.text.lines() {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
}
