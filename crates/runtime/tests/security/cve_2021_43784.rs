//! Long lists of the configuration overflow a 16-bit length and are read as something else: a container
//! without the namespaces it asked for.

use crate::bundle::Container;
use serde_json::{Value, json};

const LOOK: &[&str] = &[
    "sh",
    "-c",
    "readlink /proc/self/ns/net; readlink /proc/self/ns/user",
];

fn own_namespaces(outcome: &str) -> bool {
    ["net", "user"].iter().all(|kind| {
        let host = fs_err::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let own = outcome.lines().find(|line| line.starts_with(kind));
        own.is_some_and(|own| own != host.to_str().unwrap())
    })
}

/// The text of these maps is longer than 64 KiB; the kernel takes 340 of them.
#[test]
fn id_maps_without_end_are_refused() {
    let Some(mut container) = Container::new("43784-maps", LOOK) else {
        return;
    };
    container.in_user_namespace();
    let many: Vec<Value> = (0..6000)
        .map(|id| json!({"containerID": id, "hostID": id + 100_000, "size": 1}))
        .collect();
    container.spec["linux"]["uidMappings"] = json!(many);
    container.run().assert_refused("uid_map");
}

/// Whatever else is long, the namespaces are those that were asked for.
#[test]
fn long_strings_stay_strings() {
    let Some(mut container) = Container::new("43784-long", LOOK) else {
        return;
    };
    container.in_user_namespace();
    for length in [65_535, 65_536, 65_540, 131_076] {
        container.spec["annotations"] = json!({"long": "A".repeat(length)});
        let variable = format!("LONG={}", "A".repeat(length - 5));
        container.spec["process"]["env"] = json!(["PATH=/bin", variable]);
        let outcome = container.run();
        // A single string of more than 128 KiB is more than execve(2) takes.
        if length < 131_072 {
            outcome.assert_succeeded();
            assert!(own_namespaces(&outcome.text), "{length}: {outcome:?}");
        } else {
            outcome.assert_refused("argument list too long");
        }
    }
    container.spec["process"]["env"] = json!(["PATH=/bin"]);
    let network = container.spec["linux"]["namespaces"]
        .as_array_mut()
        .unwrap();
    network[1] = json!({"type": "network", "path": format!("/{}", "a/".repeat(40_000))});
    assert!(!container.run().succeeded, "a path that cannot be");
}
