//! `ps`: the processes of a container.

use super::{Command, Context, list::FORMAT, output};
use crate::arguments::{Arguments, Order};
use crate::cgroups;
use crate::error::{Error, Step as _, said};
use std::process::{self, ExitCode};

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "ps",
    summary: "list the processes of a container",
    arguments: "<container-id> [ps options]",
    description: "",
    flags: &[FORMAT],
    order: Order::First,
    count: (1, usize::MAX),
    run,
};

/// Prints their ids as JSON, or what ps(1) says about them.
fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Error> {
    let container = context.container(arguments)?;
    let group = cgroups::needed(&container.record.cgroup, "unable to get all container pids")?;
    let pids = group.pids().step(|| "list the processes")?;
    match arguments.value("format").unwrap_or("table") {
        "json" => {
            let text = serde_json::to_string(&pids).step(|| "encode the list")?;
            // As Go prints a list that was never made.
            let text = if pids.is_empty() { "null" } else { &text };
            output(&format!("{text}\n"))?;
        }
        "table" => table(&pids, arguments.rest.get(1..).unwrap_or_default())?,
        _ => return Err(said("invalid format option")),
    }
    Ok(ExitCode::SUCCESS)
}

fn table(pids: &[u32], options: &[String]) -> Result<(), Error> {
    let default = ["-ef".to_owned()];
    let options = if options.is_empty() {
        &default
    } else {
        options
    };
    let printed = process::Command::new("ps")
        .args(options)
        .output()
        .step(|| "run ps")?;
    let text = String::from_utf8_lossy(&printed.stdout);
    if let Some(code) = printed.status.code().filter(|code| *code != 0) {
        let errors = String::from_utf8_lossy(&printed.stderr);
        return Err(said(format!("exit status {code}: {text}{errors}")));
    }
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
