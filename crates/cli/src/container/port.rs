//! `hull port`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::Matches;
use crate::format::natural_cmp;
use hull_api::container::PortBinding;

pub(crate) static COMMAND: Command = Command {
    words: &["container port", "port"],
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "Show the published ports of a container",
    flags: &[],
    arity: Arity::Between(1, 2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let name = &matches.args[0];
    let container = cli.block_on(client.container(name))?;
    let ports = container.network_settings.ports.unwrap_or_default();
    let mut lines: Vec<String> = if let Some(wanted) = matches.args.get(1) {
        let (port, protocol) = wanted.split_once('/').unwrap_or((wanted, ""));
        let protocol = if protocol.is_empty() { "tcp" } else { protocol };
        check(port).map_err(Failure::new)?;
        let Some(Some(bindings)) = ports.get(&format!("{port}/{protocol}")) else {
            return Err(Failure::new(format!(
                "Error: No public port '{wanted}' published for {name}"
            )));
        };
        bindings.iter().map(address).collect()
    } else {
        let all = ports.iter().flat_map(|(port, bindings)| {
            let bindings = bindings.iter().flatten();
            bindings.map(move |binding| format!("{port} -> {}", address(binding)))
        });
        all.collect()
    };
    if lines.is_empty() {
        return Ok(());
    }
    lines.sort_by(|a, b| natural_cmp(a, b));
    crate::print(&format!("{}\n", lines.join("\n")));
    Ok(())
}

/// Whether a text is the number of a port; if not, what Go says of it.
fn check(port: &str) -> Result<(), String> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if digits && port.parse::<u16>().is_ok() {
        return Ok(());
    }
    let why = if digits {
        "value out of range"
    } else {
        "invalid syntax"
    };
    Err(format!(
        "Error: invalid port ({port}): strconv.ParseUint: parsing \"{port}\": {why}"
    ))
}

fn address(binding: &PortBinding) -> String {
    if binding.host_ip.contains(':') {
        format!("[{}]:{}", binding.host_ip, binding.host_port)
    } else {
        format!("{}:{}", binding.host_ip, binding.host_port)
    }
}
