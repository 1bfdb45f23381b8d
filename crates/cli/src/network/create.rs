//! `hull network create`.

use super::subnets;
use crate::command::{Arity, Command};
use crate::container::{check_label, csv, pairs};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Kind, Matches, flag, list, value};
use hull_api::network::{ConfigReference, CreateRequest, Ipam};

static FLAGS: &[Flag] = &[
    flag("attachable", "Let containers join by hand"),
    list(
        "aux-address",
        "map",
        "Address that containers shall not get (name=address)",
    ),
    value(
        "config-from",
        "string",
        "Network whose configuration to take over",
    ),
    flag("config-only", "Only keep a configuration for others"),
    value("driver", "string", "What carries the network")
        .short('d')
        .default("\"bridge\""),
    list(
        "gateway",
        "strings",
        "Address of the router, in one of the subnets",
    ),
    flag(
        "ingress",
        "Have swarm mode route by it; refused without that",
    ),
    flag("internal", "Let nothing in or out"),
    list(
        "ip-range",
        "strings",
        "Part of a subnet that containers get addresses of",
    ),
    value("ipam-driver", "string", "What gives out addresses").default("\"default\""),
    list("ipam-opt", "map", "Option of what gives out addresses"),
    flag("ipv4", "Give containers IPv4 addresses").default("true"),
    flag("ipv6", "Give containers IPv6 addresses"),
    list("label", "list", "Label of the network").kind(Kind::Checked(check_label)),
    list("opt", "map", "Option of the driver").short('o'),
    value("scope", "string", "Where the network is known"),
    list(
        "subnet",
        "strings",
        "Addresses of the network, such as 10.1.0.0/16",
    ),
];

pub(crate) static COMMAND: Command = Command {
    words: &["network create"],
    usage: "[OPTIONS] NETWORK",
    about: "Create a network",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    interspersed: true,
    run,
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let request = request(matches).map_err(Failure::new)?;
    let client = cli.client()?;
    let created = cli.block_on(client.create_network(&request))?;
    if !created.warning.is_empty() {
        crate::say(&format!("WARNING: {}", created.warning));
    }
    crate::print(&format!("{}\n", created.id));
    Ok(())
}

/// What a flag that takes several values, with commas between them, was given.
pub(super) fn values(matches: &Matches, flag: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for text in matches.list(flag) {
        all.extend(csv(text)?);
    }
    Ok(all)
}

fn or<'a>(text: &'a str, default: &'a str) -> String {
    if text.is_empty() { default } else { text }.to_owned()
}

pub(super) fn request(matches: &Matches) -> Result<CreateRequest, String> {
    let asked = |flag: &str| matches.changed(flag).then(|| matches.bool(flag));
    let pools = subnets::pools(
        &values(matches, "subnet")?,
        &values(matches, "ip-range")?,
        &values(matches, "gateway")?,
        &pairs(matches.list("aux-address")),
    )?;
    let from = matches.text("config-from");
    Ok(CreateRequest {
        name: matches.args[0].clone(),
        driver: or(matches.text("driver"), "bridge"),
        scope: matches.text("scope").to_owned(),
        enable_ipv4: asked("ipv4"),
        enable_ipv6: asked("ipv6"),
        ipam: Some(Ipam {
            driver: or(matches.text("ipam-driver"), "default"),
            options: Some(pairs(matches.list("ipam-opt"))),
            config: Some(pools),
        }),
        internal: matches.bool("internal"),
        attachable: matches.bool("attachable"),
        ingress: matches.bool("ingress"),
        config_only: matches.bool("config-only"),
        config_from: (!from.is_empty()).then(|| ConfigReference {
            network: from.to_owned(),
        }),
        options: Some(pairs(matches.list("opt"))),
        labels: Some(pairs(matches.list("label"))),
    })
}
