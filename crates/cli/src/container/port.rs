//! `hull port`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::Matches;
use hull_api::container::PortBinding;

pub(crate) static COMMAND: Command = Command {
    words: &["container port", "port"],
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "Show the published ports of a container",
    flags: &[],
    arity: Arity::AtLeast(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let name = &matches.args[0];
    let container = cli.block_on(client.container(name))?;
    let ports = container.network_settings.ports.unwrap_or_default();
    if let Some(wanted) = matches.args.get(1) {
        let key = if wanted.contains('/') {
            wanted.clone()
        } else {
            format!("{wanted}/tcp")
        };
        let Some(Some(bindings)) = ports.get(&key).filter(|found| found.is_some()) else {
            return Err(Failure::new(format!(
                "no public port '{key}' published for {name}"
            )));
        };
        for binding in bindings {
            crate::print(&format!("{}\n", address(binding)));
        }
        return Ok(());
    }
    for (port, bindings) in &ports {
        for binding in bindings.iter().flatten() {
            crate::print(&format!("{port} -> {}\n", address(binding)));
        }
    }
    Ok(())
}

fn address(binding: &PortBinding) -> String {
    if binding.host_ip.contains(':') {
        format!("[{}]:{}", binding.host_ip, binding.host_port)
    } else {
        format!("{}:{}", binding.host_ip, binding.host_port)
    }
}
