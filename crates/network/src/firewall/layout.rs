//! The table as it always is: chains, sets, and rules that do not depend on networks or ports. What
//! there is of these is elements of the sets alone, so a change never touches a rule.

use hull_linux::nftables::{
    Chain, Family, Field, Hook, Rule, Set, Source, protocol, state, status,
};

/// Where users put rules of their own for what is forwarded; we never empty it.
pub(super) const USER: &str = "hull-user";

/// Names of sets; of pairs, the first is for IPv4.
pub(super) mod set {
    /// Bridges.
    pub(in super::super) const BRIDGES: &str = "bridges";
    /// Bridges of internal networks.
    pub(in super::super) const INTERNAL: &str = "internal";
    /// Every bridge, twice.
    pub(in super::super) const SAME: &str = "same";
    /// Bridges whose endpoints reach each other, twice.
    pub(in super::super) const WITHIN: &str = "within";
    /// Subnets with their own bridge.
    pub(in super::super) const HOME: [&str; 2] = ["home4", "home6"];
    /// Subnets whose addresses are reached by way of the host's only.
    pub(in super::super) const PROTECTED: [&str; 2] = ["protected4", "protected6"];
    /// Protected subnets with the devices over which their addresses are reached nevertheless.
    pub(in super::super) const DIRECT: [&str; 2] = ["direct4", "direct6"];
    /// Subnets whose endpoints are reached at any port.
    pub(in super::super) const UNPROTECTED: [&str; 2] = ["unprotected4", "unprotected6"];
    /// Subnets whose endpoints are reached at published ports without translation.
    pub(in super::super) const ROUTED: [&str; 2] = ["routed4", "routed6"];
    /// Endpoints' ports that are reached without translation.
    pub(in super::super) const OPEN: [&str; 2] = ["open4", "open6"];
    /// Ports at addresses of the loopback device about which the host's rules decide.
    pub(in super::super) const LOCAL: [&str; 2] = ["local4", "local6"];
    /// Subnets that leave with the host's address.
    pub(in super::super) const MASQUERADE: [&str; 2] = ["masquerade4", "masquerade6"];
    /// Subnets that leave with a certain address.
    pub(in super::super) const SOURCE: [&str; 2] = ["source4", "source6"];
    /// Ports published at all addresses of the host's.
    pub(in super::super) const ANY: [&str; 2] = ["any4", "any6"];
    /// Ranges of ports that are the same on both sides.
    pub(in super::super) const ANY_RANGE: [&str; 2] = ["anyrange4", "anyrange6"];
    /// Ports published at one address.
    pub(in super::super) const AT: [&str; 2] = ["at4", "at6"];
    /// Ranges of these.
    pub(in super::super) const AT_RANGE: [&str; 2] = ["atrange4", "atrange6"];
}

const GUARD: &str = "guard";
const GUARD_LOOPBACK: &str = "guard-loopback";
const PREROUTING: &str = "prerouting";
const OUTPUT: &str = "output";
const PUBLISH: &str = "publish";
const POSTROUTING: &str = "postrouting";
const FORWARD: &str = "forward";
const ROUTED: &str = "routed";

/// All chains of ours but [`USER`].
pub(super) fn chains() -> Vec<Chain> {
    vec![
        Chain::filter(GUARD, Hook::Prerouting, -300),
        Chain::regular(GUARD_LOOPBACK),
        Chain::nat(PREROUTING, Hook::Prerouting, -100),
        Chain::nat(OUTPUT, Hook::Output, -100),
        Chain::regular(PUBLISH),
        Chain::nat(POSTROUTING, Hook::Postrouting, 100),
        Chain::filter(FORWARD, Hook::Forward, 0),
        Chain::regular(ROUTED),
    ]
}

/// All sets of ours.
pub(super) fn sets() -> Vec<Set> {
    let device = [Field::Device];
    let devices = [Field::Device, Field::Device];
    let mut sets = vec![
        Set::new(set::BRIDGES, &device),
        Set::new(set::INTERNAL, &device),
        Set::new(set::SAME, &devices),
        Set::new(set::WITHIN, &devices),
    ];
    for (at, address) in [Field::Ipv4, Field::Ipv6].into_iter().enumerate() {
        let port = [Field::Protocol, Field::Port];
        let place = [address, Field::Protocol, Field::Port];
        sets.extend([
            Set::ranges(set::HOME[at], &[address, Field::Device]),
            Set::ranges(set::PROTECTED[at], &[address]),
            Set::ranges(set::DIRECT[at], &[address, Field::Device]),
            Set::ranges(set::UNPROTECTED[at], &[address]),
            Set::ranges(set::ROUTED[at], &[address]),
            Set::ranges(set::OPEN[at], &place),
            Set::ranges(set::LOCAL[at], &place),
            Set::ranges(set::MASQUERADE[at], &[address]),
            Set::ranges(set::SOURCE[at], &[address]).to(&[address]),
            Set::new(set::ANY[at], &port).to(&[address, Field::Port]),
            Set::ranges(set::ANY_RANGE[at], &port).to(&[address]),
            Set::new(set::AT[at], &place).to(&[address, Field::Port]),
            Set::ranges(set::AT_RANGE[at], &place).to(&[address]),
        ]);
    }
    sets
}

/// What differs between the families.
struct Side {
    at: usize,
    family: Family,
    source: Source,
    destination: Source,
    icmp: u8,
    /// Addresses of the loopback device: value and mask.
    loopback: (Vec<u8>, Vec<u8>),
}

fn sides() -> [Side; 2] {
    let mut one = vec![0; 16];
    one[15] = 1;
    [
        Side {
            at: 0,
            family: Family::Ipv4,
            source: Source::Source4,
            destination: Source::Destination4,
            icmp: protocol::ICMP,
            loopback: (vec![127, 0, 0, 0], vec![255, 0, 0, 0]),
        },
        Side {
            at: 1,
            family: Family::Ipv6,
            source: Source::Source6,
            destination: Source::Destination6,
            icmp: protocol::ICMPV6,
            loopback: (one, vec![255; 16]),
        },
    ]
}

impl Side {
    fn rule(&self) -> Rule {
        Rule::new().family(self.family)
    }

    fn port(&self) -> [Source; 3] {
        [self.destination, Source::Protocol, Source::DestinationPort]
    }

    fn loopback(&self, source: Source) -> Rule {
        self.rule()
            .masked(source, &self.loopback.1, &self.loopback.0)
    }
}

/// All rules, each with its chain.
pub(super) fn rules() -> Vec<(&'static str, Rule)> {
    let mut rules = Vec::new();
    rules.extend(guard().into_iter().map(|rule| (GUARD, rule)));
    rules.extend(
        guard_loopback()
            .into_iter()
            .map(|rule| (GUARD_LOOPBACK, rule)),
    );
    let publish = || Rule::new().to_this_host(true).jump(PUBLISH);
    rules.extend([(PREROUTING, publish()), (OUTPUT, not_from_loopback6())]);
    rules.push((OUTPUT, publish()));
    rules.extend(
        sides()
            .iter()
            .flat_map(publishing)
            .map(|rule| (PUBLISH, rule)),
    );
    rules.extend(
        sides()
            .iter()
            .flat_map(leaving)
            .map(|rule| (POSTROUTING, rule)),
    );
    rules.extend(forward().into_iter().map(|rule| (FORWARD, rule)));
    rules.extend(sides().iter().flat_map(routed).map(|rule| (ROUTED, rule)));
    rules
}

/// Of what comes in, before anything else: addresses that nobody outside has any business with.
fn guard() -> Vec<Rule> {
    let mut rules = vec![Rule::new().in_device("lo").accept()];
    for side in &sides() {
        rules.extend([
            side.loopback(side.destination).jump(GUARD_LOOPBACK),
            side.loopback(side.source)
                .in_set(&[Source::InDevice], set::BRIDGES)
                .drop(),
            // The bridge's own address is one of the host's, reached as any other.
            side.rule()
                .in_set(&[side.destination], set::PROTECTED[side.at])
                .not_in_set(&[side.destination, Source::InDevice], set::DIRECT[side.at])
                .to_this_host(false)
                .drop()
                .comment("containers' own addresses are not reached from elsewhere"),
        ]);
    }
    rules
}

/// Of what comes in for the loopback device, by another.
fn guard_loopback() -> Vec<Rule> {
    let mut rules = vec![Rule::new().in_set(&[Source::InDevice], set::BRIDGES).drop()];
    for side in &sides() {
        let said = "published at the loopback device only";
        for map in [set::AT[side.at], set::AT_RANGE[side.at]] {
            rules.push(side.rule().map(&side.port(), map).drop().comment(said));
        }
        let local = side.rule().in_set(&side.port(), set::LOCAL[side.at]);
        rules.push(local.drop().comment(said));
    }
    rules
}

/// Answers that come from a bridge never reach a socket at `::1`: IPv6 ties that address to its device,
/// and br_netfilter has them dropped besides. So nothing is translated: packets come to the socket that keeps the
/// port, whose program passes bytes on. The kernel takes such packets from the loopback device only.
pub(super) fn not_from_loopback6() -> Rule {
    let [_, side] = sides();
    side.loopback(side.destination).accept()
}

/// Of the first packet of a connection to the host: where a published port leads.
fn publishing(side: &Side) -> Vec<Rule> {
    let any = &side.port()[1..];
    let rule = |key: &[Source], map: &str, port| {
        side.rule().map(key, map).destination_nat(side.family, port)
    };
    vec![
        rule(&side.port(), set::AT[side.at], true),
        rule(&side.port(), set::AT_RANGE[side.at], false),
        rule(any, set::ANY[side.at], true),
        rule(any, set::ANY_RANGE[side.at], false),
    ]
}

/// Of the first packet of a connection that leaves: the address that it gets.
fn leaving(side: &Side) -> Vec<Rule> {
    let home = [side.source, Source::OutDevice];
    vec![
        side.rule()
            .in_set(&home, set::HOME[side.at])
            .status(status::DNAT)
            .masquerade()
            .comment("to a port published by the own network: the answer must come back here"),
        side.rule().in_set(&home, set::HOME[side.at]).accept(),
        side.loopback(side.source)
            .in_set(&[Source::OutDevice], set::BRIDGES)
            .status(status::DNAT)
            .masquerade()
            .comment("from the loopback device, whose addresses mean nothing in a container"),
        side.rule()
            .map(&[side.source], set::SOURCE[side.at])
            .source_nat(side.family),
        side.rule()
            .in_set(&[side.source], set::MASQUERADE[side.at])
            .masquerade(),
    ]
}

/// Of what is forwarded.
fn forward() -> Vec<Rule> {
    let (from, to) = ([Source::InDevice], [Source::OutDevice]);
    let both = [Source::InDevice, Source::OutDevice];
    let mut rules = vec![
        Rule::new().jump(USER),
        Rule::new()
            .state(state::ESTABLISHED | state::RELATED)
            .accept(),
        Rule::new().in_set(&both, set::WITHIN).accept(),
        Rule::new()
            .in_set(&from, set::INTERNAL)
            .drop()
            .comment("internal networks"),
        Rule::new()
            .in_set(&to, set::INTERNAL)
            .drop()
            .comment("internal networks"),
        Rule::new()
            .in_set(&both, set::SAME)
            .status(status::DNAT)
            .accept()
            .comment("published ports, within a network"),
        Rule::new()
            .in_set(&both, set::SAME)
            .drop()
            .comment("networks whose containers do not reach each other"),
    ];
    rules.extend(sides().iter().map(|side| {
        side.rule()
            .in_set(&[side.destination], set::ROUTED[side.at])
            .verdict(hull_linux::nftables::Verdict::Goto(ROUTED.to_owned()))
    }));
    rules.extend([
        Rule::new()
            .in_set(&to, set::BRIDGES)
            .status(status::DNAT)
            .accept()
            .comment("published ports, for other networks too"),
        Rule::new()
            .in_set(&from, set::BRIDGES)
            .in_set(&to, set::BRIDGES)
            .drop()
            .comment("networks do not reach each other"),
    ]);
    rules.extend(arriving());
    rules
}

/// Of what goes to a network from elsewhere, without translation.
fn arriving() -> Vec<Rule> {
    let mut rules = Vec::new();
    for side in &sides() {
        rules.extend([
            side.rule()
                .in_set(&[side.destination], set::UNPROTECTED[side.at])
                .accept(),
            side.rule()
                .in_set(&side.port(), set::OPEN[side.at])
                .in_set(&[side.destination, Source::InDevice], set::DIRECT[side.at])
                .accept()
                .comment("published ports, over trusted devices"),
        ]);
    }
    rules.push(
        Rule::new()
            .in_set(&[Source::OutDevice], set::BRIDGES)
            .drop()
            .comment("not published"),
    );
    rules
}

/// Of what goes to a routed network.
fn routed(side: &Side) -> Vec<Rule> {
    vec![
        side.rule().protocol(side.icmp).accept(),
        side.rule()
            .in_set(&side.port(), set::OPEN[side.at])
            .accept()
            .comment("published ports"),
        side.rule().drop().comment("not published"),
    ]
}
