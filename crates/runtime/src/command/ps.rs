//! `ps`: the processes of a container.

use super::{Context, output};
use crate::arguments::Arguments;
use crate::cgroups;
use crate::error::{Error, Step as _, said};
use crate::id::ContainerId;
use crate::state::Container;
use std::process::Command;

/// Prints their ids as JSON, or what ps(1) says about them.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Error> {
    let (id, options) = arguments
        .rest
        .split_first()
        .ok_or_else(|| said("runc: \"ps\" requires a minimum of 1 argument"))?;
    let container = Container::load(&context.root, &ContainerId::parse(id)?)?;
    let group = cgroups::open(&container.record.cgroup)?;
    let pids = match group {
        Some(group) => group.pids().step(|| "list the processes")?,
        None => Vec::new(),
    };
    match arguments.value("format").unwrap_or("table") {
        "json" => output(&serde_json::to_string(&pids).step(|| "encode the list")?),
        "table" => table(&pids, options),
        _ => Err(said("invalid format option")),
    }
}

fn table(pids: &[u32], options: &[String]) -> Result<(), Error> {
    let default = ["-ef".to_owned()];
    let options = if options.is_empty() {
        &default
    } else {
        options
    };
    let printed = Command::new("ps")
        .args(options)
        .output()
        .step(|| "run ps")?;
    let text = String::from_utf8_lossy(&printed.stdout);
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| said("couldn't find PID field in ps output"))?;
    let ours = |line: &&str| {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|field| field.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    let lines: String = lines.filter(ours).map(|line| format!("{line}\n")).collect();
    output(&format!("{header}\n{lines}"))
}
