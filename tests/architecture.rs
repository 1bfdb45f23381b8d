//! The law of dependencies: which crate may see which, as `docs/ARCHITECTURE.md` states it.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Crate, and the crates of ours it may depend on.
const LAW: &[(&str, &[&str])] = &[
    ("spec", &[]),
    ("linux", &[]),
    ("runtime", &["spec", "linux"]),
    ("shim", &["spec", "linux"]),
    ("logger", &["spec"]),
    ("registry", &["spec"]),
    ("image", &["spec", "linux"]),
    ("network", &["linux"]),
    ("build", &["spec", "image"]),
    (
        "engine",
        &[
            "spec", "linux", "logger", "registry", "image", "network", "shim", "build",
        ],
    ),
    ("api", &[]),
    ("ui", &[]),
    ("template", &[]),
    ("cri", &["engine"]),
    ("daemon", &["api", "engine", "cri", "ui"]),
    ("top", &["api"]),
    (
        "cli",
        &["api", "daemon", "spec", "build", "template", "top"],
    ),
    ("tests", &["spec"]),
];

/// Crates whose programs must start in a millisecond and stay small: nothing async in their trees.
const WITHOUT_TOKIO: &[&str] = &[
    "spec", "linux", "logger", "runtime", "shim", "network", "image", "build", "ui", "template",
];
const HEAVY: &[&str] = &["tokio", "hyper", "reqwest"];

fn metadata() -> Value {
    // For this machine only: other platforms' packages need not have been downloaded.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--filter-platform",
            &platform,
            "--manifest-path",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .expect("run cargo metadata");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Package id → (name, the ids of its normal dependencies).
fn graph(metadata: &Value) -> BTreeMap<String, (String, Vec<String>)> {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let names: BTreeMap<String, String> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let normal = |dependency: &&Value| {
        dependency["dep_kinds"]
            .as_array()
            .expect("kinds")
            .iter()
            .any(|kind| kind["kind"].is_null())
    };
    let node = |node: &Value| {
        let id = text(&node["id"]);
        let below = node["deps"]
            .as_array()
            .expect("deps")
            .iter()
            .filter(normal)
            .map(|d| text(&d["pkg"]))
            .collect();
        (id.clone(), (names[&id].clone(), below))
    };
    metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(node)
        .collect()
}

fn reachable(graph: &BTreeMap<String, (String, Vec<String>)>, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![from.to_owned()];
    while let Some(id) = todo.pop() {
        if seen.insert(id.clone()) {
            todo.extend(graph[&id].1.iter().cloned());
        }
    }
    seen
}

#[test]
fn no_crate_depends_on_one_it_must_not_see() {
    let graph = graph(&metadata());
    for (name, below) in graph.values() {
        let Some(short) = name.strip_prefix("hull-") else {
            continue;
        };
        let (_, allowed) = LAW.iter().find(|(crate_name, _)| *crate_name == short).unwrap_or_else(|| {
            panic!("`{name}` is not in the law of dependencies: docs/ARCHITECTURE.md, then this table")
        });
        for id in below {
            if let Some(seen) = graph[id].0.strip_prefix("hull-") {
                assert!(
                    allowed.contains(&seen),
                    "`{short}` must not depend on `{seen}`: docs/ARCHITECTURE.md"
                );
            }
        }
    }
}

#[test]
fn the_small_programs_have_no_async_runtime() {
    let graph = graph(&metadata());
    for (id, (name, _)) in &graph {
        let Some(short) = name.strip_prefix("hull-") else {
            continue;
        };
        if !WITHOUT_TOKIO.contains(&short) {
            continue;
        }
        for below in reachable(&graph, id) {
            let seen = graph[&below].0.as_str();
            assert!(
                !HEAVY.contains(&seen),
                "`{short}` must not reach `{seen}`: docs/ARCHITECTURE.md"
            );
        }
    }
}
