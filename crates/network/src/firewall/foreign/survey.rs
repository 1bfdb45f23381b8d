//! What others have put into the packet filter.

use crate::Error;
use crate::error::link;
use hull_linux::nftables::{Family, FoundChain, Hook, Socket};
use serde::{Deserialize, Serialize};

/// What others have put into the packet filter where our packets pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// Base chains on the hooks input and forward, of tables that are not ours.
    pub chains: Vec<ForeignChain>,
    /// iptables-legacy has tables, which nobody here can read or change.
    pub legacy: bool,
    /// Whether packets within a bridge pass the hook forward as well, of IPv4 and of IPv6 (br_netfilter).
    pub bridged: [bool; 2],
}

/// A base chain of a table that is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignChain {
    /// `ip`, `ip6` or `inet`.
    pub family: String,
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub chain: String,
    /// `input` or `forward`.
    pub hook: String,
    /// Lower ones come first.
    pub priority: i32,
    /// Whether packets on which no rule decides are dropped.
    pub drops: bool,
    /// How many rules the chain has itself.
    pub rules: usize,
    /// Whether our bridges are let through by rules of ours in it.
    pub opened: bool,
    /// Which software it is of, as far as names tell: `ufw`, `firewalld`, `docker`, `iptables`.
    pub owner: Option<String>,
}

/// Reads the tables that are not `name` or begin with it and a dash, in the network namespace of the
/// calling thread.
///
/// # Errors
/// [`Error::Link`] when the kernel does not tell.
pub fn survey(name: &str) -> Result<Survey, Error> {
    let socket = Socket::open().map_err(link("look at", "other software's tables"));
    read(&mut socket?, name)
}

pub(super) fn read(socket: &mut Socket, name: &str) -> Result<Survey, Error> {
    let error = || link("look at", "other software's tables");
    let all = socket.chains().map_err(error())?;
    let mut chains = Vec::new();
    for chain in &all {
        let Some((hook, base)) = passed(chain) else {
            continue;
        };
        let table = &chain.table;
        if table.name == name || table.name.starts_with(&format!("{name}-")) {
            continue;
        }
        let rules = socket.rules(Some(table)).map_err(error())?;
        let zone = super::firewalld::zone_name(name);
        let ours = super::iptables::chain_name(name);
        let opened = match owner(chain, &all) {
            Some("firewalld") => all
                .iter()
                .any(|other| other.table == *table && other.name.ends_with(&format!("_{zone}"))),
            _ => all
                .iter()
                .any(|other| other.table == *table && other.name == ours),
        };
        chains.push(ForeignChain {
            family: table.family.as_str().to_owned(),
            table: table.name.clone(),
            chain: chain.name.clone(),
            hook: hook.to_owned(),
            priority: base.priority,
            drops: base.drops,
            rules: rules.iter().filter(|rule| rule.chain == chain.name).count(),
            opened: opened && hook == "forward",
            owner: owner(chain, &all).map(str::to_owned),
        });
    }
    chains.sort_by_key(|chain| (chain.hook.clone(), chain.priority, chain.table.clone()));
    Ok(Survey {
        chains,
        legacy: legacy(),
        bridged: ["iptables", "ip6tables"].map(|which| {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{which}");
            fs_err::read_to_string(path).is_ok_and(|value| value.trim() == "1")
        }),
    })
}

fn passed(chain: &FoundChain) -> Option<(&'static str, &hull_linux::nftables::BaseChain)> {
    let base = chain.base.as_ref()?;
    let routed = matches!(
        chain.table.family,
        Family::Inet | Family::Ipv4 | Family::Ipv6
    );
    let hook = match base.hook {
        hook if hook == Hook::Input as u32 => "input",
        hook if hook == Hook::Forward as u32 => "forward",
        _ => return None,
    };
    (routed && base.kind == "filter").then_some((hook, base))
}

fn owner(chain: &FoundChain, all: &[FoundChain]) -> Option<&'static str> {
    let table = &chain.table;
    if table.family == Family::Inet {
        return (table.name == super::firewalld::TABLE).then_some("firewalld");
    }
    if table.name != super::iptables::TABLE {
        return None;
    }
    let has = |prefix: &str| {
        all.iter()
            .any(|other| other.table == *table && other.name.starts_with(prefix))
    };
    Some(match () {
        () if has("ufw") => "ufw",
        () if has("DOCKER") => "docker",
        () => "iptables",
    })
}

/// Whether iptables-legacy has tables in this network namespace: they are read and written by socket
/// options of their own, and are in force beside nf_tables.
#[must_use]
pub(crate) fn legacy() -> bool {
    ["ip_tables_names", "ip6_tables_names"].iter().any(|name| {
        fs_err::read_to_string(format!("/proc/thread-self/net/{name}"))
            .is_ok_and(|names| names.lines().any(|table| table == "filter"))
    })
}
