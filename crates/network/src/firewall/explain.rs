//! Who can reach a port of an endpoint, from where, and which rule says so, in words. Made from what shall
//! be and from what others have in the kernel, by the same order of rules as `layout.rs` has them.

mod lines;

use super::NetworkRules;
use super::foreign::{ForeignChain, Survey};
use crate::model::{GatewayMode, Protocol, Publication};
use crate::ports::HELD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The port that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The network by which the endpoint is asked for.
    pub network: &'a NetworkRules,
    /// The endpoint's addresses on it.
    pub addresses: &'a [IpAddr],
    /// Protocol and port of the endpoint.
    pub protocol: Protocol,
    /// See `protocol`.
    pub port: u16,
    /// What is published; of others too, they are passed over.
    pub publications: &'a [Publication],
    /// What others have put into the kernel's packet filter.
    pub survey: &'a Survey,
}

/// The answer: one [`Way`] for every source and address of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The id of the endpoint's network.
    pub network: String,
    /// The protocol asked about.
    pub protocol: Protocol,
    /// The endpoint's port.
    pub port: u16,
    /// In the order of the endpoint's addresses and of [`Source`].
    pub ways: Vec<Way>,
    /// What else is worth knowing about other software's rules.
    pub remarks: Vec<String>,
}

/// How one kind of client gets there, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Who asks.
    pub from: Source,
    /// 4 or 6.
    pub family: u8,
    /// The endpoint's address that it is about.
    pub endpoint: IpAddr,
    /// Whether they get through.
    pub reachable: Answer,
    /// The addresses and ports by which they do, or may; all zeroes are every address of the host's.
    pub at: Vec<SocketAddr>,
    /// Where the rule is that decides: chain and set of our table, or others' rules.
    pub rule: String,
    /// Why, in a sentence.
    pub why: String,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Another endpoint of the same network.
    SameNetwork,
    /// An endpoint of another network of this daemon.
    OtherNetwork,
    /// The host itself, by the endpoint's own address.
    Host,
    /// The host itself, by 127.0.0.1 or `::1`.
    Loopback,
    /// Another machine, by the host's address.
    Outside,
    /// Another machine that sends straight to the endpoint's address, with the host as router.
    OutsideDirect,
}

/// All of them.
pub const SOURCES: [Source; 6] = [
    Source::SameNetwork,
    Source::OtherNetwork,
    Source::Host,
    Source::Loopback,
    Source::Outside,
    Source::OutsideDirect,
];

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameNetwork => "the same network",
            Self::OtherNetwork => "other networks",
            Self::Host => "the host, by the container's address",
            Self::Loopback => "the host, by its loopback address",
            Self::Outside => "outside, by the host's address",
            Self::OutsideDirect => "outside, by the container's address",
        })
    }
}

/// Yes, no, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// They get through.
    Yes,
    /// They do not.
    No,
    /// Rules decide that are not ours, and that are not read in full.
    Depends,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Depends => "perhaps",
        })
    }
}

/// Answers a question. Looks at nothing but what it is given.
#[must_use]
pub fn explain(question: &Question<'_>) -> Explanation {
    let mut ways = Vec::new();
    let mut remarks = question.survey.remarks();
    for address in question.addresses {
        let endpoint = Endpoint::new(question, *address);
        let passed_on = endpoint.relayed.iter().filter(|_| address.is_ipv4());
        remarks.extend(passed_on.map(|place| {
            format!(
                "it is published at {place} too: the container's shim passes on what comes there"
            )
        }));
        ways.extend(SOURCES.map(|from| endpoint.way(from)));
    }
    Explanation {
        network: question.network.id.clone(),
        protocol: question.protocol,
        port: question.port,
        ways,
        remarks,
    }
}

/// The address of the loopback device by which a port is reached that is published at `place`.
fn at_loopback(place: &SocketAddr) -> Option<SocketAddr> {
    let ip = match place.ip() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(ip) if ip.is_unspecified() => [127, 0, 0, 1].into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, place.port()))
}

/// What is known of one address.
struct Endpoint<'a> {
    network: &'a NetworkRules,
    address: IpAddr,
    port: u16,
    mode: GatewayMode,
    /// Published at these, by our table.
    translated: Vec<SocketAddr>,
    /// Published at these, if the host's rules let pass.
    by_host: Vec<SocketAddr>,
    /// The host's sockets whose bytes the container's shim passes on.
    relayed: Vec<SocketAddr>,
    /// Published without translation.
    open: bool,
    survey: &'a Survey,
}

/// A decision before other software's rules: answer, places, rule, reason.
struct Found {
    reachable: Answer,
    at: Vec<SocketAddr>,
    rule: &'static str,
    why: String,
}

fn yes(at: Vec<SocketAddr>, rule: &'static str, why: &str) -> Found {
    Found {
        reachable: Answer::Yes,
        at,
        rule,
        why: why.to_owned(),
    }
}

fn no(rule: &'static str, why: &str) -> Found {
    Found {
        reachable: Answer::No,
        at: Vec::new(),
        rule,
        why: why.to_owned(),
    }
}

impl<'a> Endpoint<'a> {
    fn new(question: &Question<'a>, address: IpAddr) -> Self {
        let options = &question.network.options;
        let mode = match address {
            IpAddr::V4(_) => options.gateway_mode,
            IpAddr::V6(_) => options.gateway_mode6,
        };
        let mut endpoint = Self {
            network: question.network,
            address,
            port: question.port,
            mode,
            translated: Vec::new(),
            by_host: Vec::new(),
            relayed: Vec::new(),
            open: false,
            survey: question.survey,
        };
        for publication in question.publications {
            if publication.target == address && publication.protocol == question.protocol {
                endpoint.take(publication);
            }
        }
        endpoint
    }

    fn take(&mut self, publication: &Publication) {
        let Some(offset) = self.port.checked_sub(publication.target_port) else {
            return;
        };
        let Some(port) = publication.host_ports.start().checked_add(offset) else {
            return;
        };
        if !publication.host_ports.contains(&port) {
            return;
        }
        if let Some(IpAddr::V6(host)) = publication.host
            && publication.host_ports.len() <= HELD.into()
        {
            self.relayed.push(SocketAddr::new(host.into(), port));
        }
        match publication.host {
            _ if publication.is_relayed() => return,
            Some(host) if publication.host_firewall => {
                self.by_host.push(SocketAddr::new(host, port));
            }
            Some(host) => self.translated.push(SocketAddr::new(host, port)),
            None => {}
        }
        let trusted = !self.network.options.trusted_interfaces.is_empty();
        self.open |= publication.host.is_none() || self.mode == GatewayMode::Routed || trusted;
    }

    fn own(&self) -> Vec<SocketAddr> {
        vec![SocketAddr::new(self.address, self.port)]
    }

    /// Published where others than the host itself may ask.
    fn public(places: &[SocketAddr]) -> Vec<SocketAddr> {
        let public = |place: &&SocketAddr| !place.ip().is_loopback();
        places.iter().filter(public).copied().collect()
    }

    fn way(&self, from: Source) -> Way {
        let found = match from {
            Source::SameNetwork => self.same(),
            Source::OtherNetwork => self.forwarded(self.other()),
            Source::Host => self.host(),
            Source::Loopback => self.loopback(),
            Source::Outside => self.forwarded(self.outside()),
            Source::OutsideDirect => self.forwarded(self.direct()),
        };
        Way {
            from,
            family: if self.address.is_ipv6() { 6 } else { 4 },
            endpoint: self.address,
            reachable: found.reachable,
            at: found.at,
            rule: found.rule.to_owned(),
            why: found.why,
        }
    }

    fn same(&self) -> Found {
        let public = Self::public(&self.translated);
        if self.network.options.icc {
            let found = yes(
                self.own(),
                "forward: within",
                "containers of one network reach each other",
            );
            return match self.survey.bridged[usize::from(self.address.is_ipv6())] {
                true => self.forwarded(found),
                false => found,
            };
        }
        if self.network.internal {
            return no(
                "forward: internal",
                "containers of this network do not reach each other",
            );
        }
        if !public.is_empty() {
            return self.forwarded(yes(
                public,
                "forward: published ports, within a network",
                "only by the published port: containers of this network do not reach each other",
            ));
        }
        self.left_to_host(no(
            "forward: same",
            "containers of this network do not reach each other",
        ))
    }

    fn other(&self) -> Found {
        if self.network.internal {
            return no("forward: internal", "the network is internal");
        }
        if self.mode == GatewayMode::Routed {
            return self.routed();
        }
        let public = Self::public(&self.translated);
        if !public.is_empty() {
            return yes(
                public,
                "forward: published ports, for other networks too",
                "the port is published there, for other networks too",
            );
        }
        self.left_to_host(no(
            "forward: networks do not reach each other",
            "networks do not reach each other but by ports that are published",
        ))
    }

    fn routed(&self) -> Found {
        match self.open {
            true => yes(
                self.own(),
                "routed: published ports",
                "the port is published",
            ),
            false => no("routed: not published", "the port is not published"),
        }
    }

    fn host(&self) -> Found {
        let unreachable = self.mode == GatewayMode::Isolated
            || (self.network.options.inhibit_ipv4 && self.address.is_ipv4());
        if unreachable {
            return no("no address", "the host has no address on this network");
        }
        yes(
            self.own(),
            "none",
            "what the host itself sends to its bridges is not filtered",
        )
    }

    fn loopback(&self) -> Found {
        let places = self.translated.iter().chain(&self.by_host);
        let translated: Vec<SocketAddr> = places.filter_map(at_loopback).collect();
        let relayed: Vec<SocketAddr> = self.relayed.iter().filter_map(at_loopback).collect();
        let is_translated = self.address.is_ipv4() && !translated.is_empty();
        match (is_translated, relayed.is_empty()) {
            (true, _) => yes(translated, "output: publish", "the port is published there"),
            (false, false) => yes(
                relayed,
                "none",
                "the container's shim passes on what comes there",
            ),
            (false, true) => no("none", "the port is not published there"),
        }
    }

    fn outside(&self) -> Found {
        if self.network.internal {
            return no("forward: internal", "the network is internal");
        }
        let public = Self::public(&self.translated);
        if !public.is_empty() {
            return yes(
                public,
                "forward: published ports",
                "the port is published there",
            );
        }
        let refused = if self.translated.is_empty() && self.by_host.is_empty() {
            no("prerouting: publish", "the port is not published there")
        } else {
            no(
                "guard: published at the loopback device only",
                "the port is published at the loopback device only",
            )
        };
        self.left_to_host(refused)
    }

    /// Ports about which the host's rules decide, if there are such; else as it is.
    fn left_to_host(&self, otherwise: Found) -> Found {
        let public = Self::public(&self.by_host);
        if public.is_empty() || self.network.internal {
            return otherwise;
        }
        let mut input = self.chains("input");
        let undecided = input.any(|chain| chain.drops || chain.rules > 0);
        let found = yes(public, "host rules, then forward: published ports", "");
        match undecided {
            true => Found {
                reachable: Answer::Depends,
                why: "as far as the host's own rules for incoming packets let through".to_owned(),
                ..found
            },
            false => Found {
                why: "the host has no rules for incoming packets, which would decide".to_owned(),
                ..found
            },
        }
    }

    fn direct(&self) -> Found {
        let options = &self.network.options;
        if self.network.internal {
            return no("guard: protected", "the network is internal");
        }
        match self.mode {
            GatewayMode::Routed => self.routed(),
            GatewayMode::NatUnprotected => yes(
                self.own(),
                "forward: unprotected",
                "the network's containers are reached at any port (nat-unprotected)",
            ),
            _ if self.open && !options.trusted_interfaces.is_empty() => Found {
                reachable: Answer::Depends,
                why: format!("only over {}", options.trusted_interfaces.join(", ")),
                ..yes(self.own(), "guard: direct", "")
            },
            _ => no(
                "guard: protected",
                "containers' own addresses are not reached from elsewhere",
            ),
        }
    }

    /// Others' chains that see packets of this family.
    fn chains(&self, hook: &'static str) -> impl Iterator<Item = &'a ForeignChain> {
        let family = if self.address.is_ipv6() { "ip6" } else { "ip" };
        let chains = self.survey.chains.iter();
        chains.filter(move |chain| {
            chain.hook == hook && (chain.family == family || chain.family == "inet")
        })
    }

    /// What is left of a yes after other software's rules for what is forwarded.
    fn forwarded(&self, found: Found) -> Found {
        if found.reachable == Answer::No {
            return found;
        }
        let closed = |chain: &&ForeignChain| !chain.opened && (chain.drops || chain.rules > 0);
        let mut others = self.chains("forward").filter(closed);
        match others.find(|chain| chain.drops && chain.rules == 0) {
            Some(chain) => no(
                "other software",
                &format!("{} drops what is forwarded", chain.in_words()),
            ),
            None => match self.chains("forward").find(closed) {
                Some(chain) => Found {
                    reachable: Answer::Depends,
                    why: format!("{}; but {} has a word in it", found.why, chain.in_words()),
                    ..found
                },
                None => found,
            },
        }
    }
}
