//! What networks leave on the host: everything that a container or network brings must go with it.

use crate::stage::Stage;
use hull_tests::command::run;
use hull_tests::daemon::wait_until;
use serde_json::Value;
use std::collections::BTreeSet;

/// Devices, addresses, routes, rules and namespaces, each as a line of text.
pub(crate) type Traces = BTreeSet<String>;

impl Stage<'_> {
    /// What there is on the host now.
    pub(crate) fn traces(&self) -> Traces {
        let host = &self.layout.host;
        let mut traces = Traces::new();
        traces.extend(host.links().into_iter().map(|name| format!("link {name}")));
        for what in ["address", "route", "-6 route"] {
            let words = ["-o"].into_iter().chain(what.split(' '));
            let shown = run(host.command("ip").args(words), &[]);
            // Numbers of devices and lifetimes change; neither is anything that was left.
            // Link-local addresses come with the first port of a bridge.
            let lines = shown.ok().lines().filter(|line| !line.contains("fe80:"));
            traces.extend(lines.map(|line| {
                let line = line.split_once(": ").map_or(line, |(_, rest)| rest);
                let line = line.split(" valid_lft").next().unwrap_or_default();
                format!("{what} {}", line.replace(" linkdown", "").trim_end())
            }));
        }
        let rules = run(host.command("nft").args(["-j", "list", "ruleset"]), &[]);
        let rules: Value = serde_json::from_str(rules.ok()).expect("nft writes JSON");
        collect(&rules, "rules", &mut traces);
        let namespaces = fs_err::read_dir(self.daemon.path("run/netns"));
        for entry in namespaces.into_iter().flatten().flatten() {
            traces.insert(format!("namespace {}", entry.file_name().display()));
        }
        traces.extend(
            self.daemon
                .shims()
                .into_iter()
                .map(|(pid, line)| format!("process {pid} {line}")),
        );
        traces
    }

    /// Waits until there is exactly what was there before.
    pub(crate) fn is_as(&self, before: &Traces) {
        wait_until("nothing is left, nothing is missing", || {
            let now = self.traces();
            // The first of them are enough to see what it is.
            let left: Vec<&String> = now.difference(before).take(12).collect();
            let missing: Vec<&String> = before.difference(&now).take(12).collect();
            if left.is_empty() && missing.is_empty() {
                Ok(())
            } else {
                Err(format!("left: {left:#?}\nmissing: {missing:#?}"))
            }
        });
    }
}

/// Every leaf with its path, but for handles and counters: elements of sets have no order.
fn collect(value: &Value, path: &str, traces: &mut Traces) {
    match value {
        Value::Array(values) => {
            for value in values {
                collect(value, path, traces);
            }
        }
        Value::Object(object) if object.contains_key("metainfo") => {}
        Value::Object(object) => {
            for (key, value) in object {
                let counted = matches!(key.as_str(), "handle" | "packets" | "bytes" | "expires");
                let whole = matches!(key.as_str(), "rule" | "elem" | "expr" | "index");
                match (counted, whole, value) {
                    (true, ..) => {}
                    (_, true, Value::Array(elements)) => {
                        traces.extend(
                            elements
                                .iter()
                                .map(|element| format!("{path}/{key} {element}")),
                        );
                    }
                    _ => collect(value, &format!("{path}/{key}"), traces),
                }
            }
        }
        leaf => drop(traces.insert(format!("{path} {leaf}"))),
    }
}
