//! `hull network connect`.

use super::create::values;
use crate::command::{Arity, Command};
use crate::container::check_link;
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Kind, Matches, int, list, value};
use hull_api::network::{EndpointIpamConfig, EndpointSettings};
use std::collections::BTreeMap;

static FLAGS: &[Flag] = &[
    list(
        "alias",
        "strings",
        "Other name of the container in this network",
    ),
    list("driver-opt", "strings", "Option of the driver"),
    int(
        "gw-priority",
        "The network with the highest one leads to elsewhere",
    ),
    value("ip", "string", "IPv4 address, such as 172.30.100.104"),
    value("ip6", "string", "IPv6 address, such as 2001:db8::33"),
    list("link", "list", "Container to be linked to").kind(Kind::Checked(check_link)),
    list(
        "link-local-ip",
        "strings",
        "Link-local address of the container",
    ),
];

pub(crate) static COMMAND: Command = Command {
    words: &["network connect"],
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Connect a container to a network",
    flags: &[FLAGS],
    arity: Arity::Exactly(2),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let endpoint = endpoint(matches).map_err(Failure::new)?;
    let client = cli.client()?;
    let (network, container) = (&matches.args[0], &matches.args[1]);
    Ok(cli.block_on(client.connect_network(network, container, endpoint))?)
}

pub(super) fn endpoint(matches: &Matches) -> Result<EndpointSettings, String> {
    let mut options = BTreeMap::new();
    for option in values(matches, "driver-opt")? {
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| "invalid key/value pair format in driver options".to_owned())?;
        options.insert(name.to_owned(), value.to_owned());
    }
    let links = matches.list("link");
    Ok(EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: matches.text("ip").to_owned(),
            ipv6_address: matches.text("ip6").to_owned(),
            link_local_ips: values(matches, "link-local-ip")?,
        }),
        links: (!links.is_empty()).then(|| links.to_vec()),
        aliases: Some(values(matches, "alias")?),
        driver_opts: Some(options),
        gw_priority: matches.int("gw-priority").unwrap_or_default(),
        ..EndpointSettings::default()
    })
}
