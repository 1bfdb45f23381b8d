//! The tables of iptables-nft, in which Docker and ufw have their rules as well.

use crate::Error;
use crate::error::link;
use hull_linux::nftables::{
    Batch, Chain, Comparison, Expression, Family, FoundChain, FoundRule, Hook, Meta, Register,
    Rule, Socket, Table, Verdict,
};
use std::collections::BTreeSet;

/// iptables' table for filters.
pub(super) const TABLE: &str = "filter";
const FORWARD: &str = "FORWARD";
/// Where Docker's users have rules that come before Docker's: they come before ours as well.
const USERS: &str = "DOCKER-USER";
/// iptables takes 28 bytes.
const MAX_CHAIN: usize = 28;
const ATTEMPTS: usize = 16;

/// Our chain in their table.
pub(super) fn chain_name(daemon: &str) -> String {
    const SUFFIX: &str = "-FORWARD";
    let name: String = daemon
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .take(MAX_CHAIN - SUFFIX.len())
        .collect();
    name.to_ascii_uppercase() + SUFFIX
}

/// Makes the tables let exactly these bridges' packets pass.
pub(super) fn apply(
    socket: &mut Socket,
    daemon: &str,
    devices: &BTreeSet<String>,
) -> Result<(), Error> {
    let error = || link("let bridges pass in", "the tables of iptables");
    for _ in 0..ATTEMPTS {
        let generation = socket.generation().map_err(error())?;
        let chains = socket.chains().map_err(error())?;
        let mut batch = Batch::default();
        for family in [Family::Ipv4, Family::Ipv6] {
            let table = Table::new(family, TABLE);
            let here: Vec<&FoundChain> =
                chains.iter().filter(|chain| chain.table == table).collect();
            if here.iter().any(|chain| is_forward(chain)) {
                let rules = socket.rules(Some(&table)).map_err(error())?;
                Plan::new(&table, daemon, devices, &here, &rules).write(&mut batch);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        batch.require_generation(generation);
        match socket.commit(batch) {
            Ok(()) => return Ok(()),
            Err(outdated) if outdated.is_outdated() => {}
            Err(refused) => return Err(error()(refused)),
        }
    }
    Err(Error::Invalid(
        "other software changes the tables of iptables without a pause".to_owned(),
    ))
}

fn is_forward(chain: &FoundChain) -> bool {
    let hook = chain.base.as_ref().map(|base| base.hook);
    chain.name == FORWARD && hook == Some(Hook::Forward as u32)
}

/// What has to change in one table.
struct Plan<'a> {
    table: &'a Table,
    chain: String,
    devices: &'a BTreeSet<String>,
    /// Whether our chain is there.
    present: bool,
    /// Whether it has to be.
    wanted: bool,
    /// Our chain's rules.
    ours: Vec<&'a FoundRule>,
    /// The calls of our chain, and where they are among the rules of FORWARD.
    calls: Vec<(usize, u64)>,
    /// The last call of Docker's users' chain.
    users: Option<(usize, u64)>,
}

impl<'a> Plan<'a> {
    fn new(
        table: &'a Table,
        daemon: &str,
        devices: &'a BTreeSet<String>,
        chains: &[&FoundChain],
        rules: &'a [FoundRule],
    ) -> Self {
        let chain = chain_name(daemon);
        let forward: Vec<&FoundRule> = rules.iter().filter(|r| r.chain == FORWARD).collect();
        let calls_of = |name: &str| -> Vec<(usize, u64)> {
            let numbered = forward.iter().enumerate();
            let calls = numbered.filter(|(_, rule)| target(rule).as_deref() == Some(name));
            calls.map(|(at, rule)| (at, rule.handle)).collect()
        };
        let calls = calls_of(&chain);
        let drops = chains
            .iter()
            .any(|chain| is_forward(chain) && chain.base.as_ref().is_some_and(|base| base.drops));
        // An empty chain that accepts stands in nobody's way: it is left alone.
        let decides = drops || forward.len() > calls.len();
        Self {
            table,
            devices,
            present: chains.iter().any(|found| found.name == chain),
            wanted: decides && !devices.is_empty(),
            ours: rules.iter().filter(|rule| rule.chain == chain).collect(),
            calls,
            users: calls_of(USERS).last().copied(),
            chain,
        }
    }

    fn write(&self, batch: &mut Batch) {
        match self.wanted {
            true => self.write_wanted(batch),
            false if self.present => {
                for (_, call) in &self.calls {
                    batch.delete_rule(self.table, FORWARD, *call);
                }
                batch.flush_chain(self.table, &self.chain);
                batch.delete_chain(self.table, &self.chain);
            }
            false => {}
        }
    }

    fn write_wanted(&self, batch: &mut Batch) {
        if !self.present {
            batch.add_chain(self.table, &Chain::regular(&self.chain));
        }
        let mut missing: BTreeSet<(&str, Way)> = BTreeSet::new();
        for device in self.devices {
            missing.extend([(device.as_str(), Way::From), (device.as_str(), Way::To)]);
        }
        for rule in &self.ours {
            let known = missing
                .iter()
                .find(|(device, way)| rule.comment.as_deref() == Some(&way.comment(device)))
                .copied();
            match known {
                Some(known) => {
                    missing.remove(&known);
                }
                None => batch.delete_rule(self.table, &self.chain, rule.handle),
            }
        }
        for (device, way) in missing {
            batch.add_rule(self.table, &self.chain, &way.rule(device));
        }
        self.write_call(batch);
    }

    fn write_call(&self, batch: &mut Batch) {
        let placed = |at: usize| self.users.is_none_or(|(users, _)| users < at);
        match self.calls.as_slice() {
            [(at, _)] if placed(*at) => return,
            calls => {
                for (_, call) in calls {
                    batch.delete_rule(self.table, FORWARD, *call);
                }
            }
        }
        let call = Rule::new().count().jump(&self.chain);
        match self.users {
            Some((_, users)) => batch.insert_rule_after(self.table, FORWARD, users, &call),
            None => batch.insert_rule(self.table, FORWARD, &call),
        }
    }
}

/// Which packets of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    From,
    To,
}

impl Way {
    /// By which the rule is known again. iptables shows it as a match of its own, and keeps it as one
    /// when somebody saves and restores.
    fn comment(self, device: &str) -> String {
        match self {
            Self::From => format!("hull: from {device}"),
            Self::To => format!("hull: to {device}"),
        }
    }

    /// As iptables-nft itself writes `-i DEVICE -j ACCEPT`.
    fn rule(self, device: &str) -> Rule {
        const AT: Register = Register(0);
        let key = match self {
            Self::From => Meta::InDevice,
            Self::To => Meta::OutDevice,
        };
        let mut name = device.as_bytes().to_vec();
        name.push(0);
        Rule::new()
            .with(Expression::Meta(key, AT))
            .with(Expression::Compare(AT, Comparison::Equal, name))
            .count()
            .accept()
            .comment(&self.comment(device))
    }
}

/// The chain that a rule calls, whatever its conditions.
fn target(rule: &FoundRule) -> Option<String> {
    rule.expressions
        .iter()
        .find_map(|expression| match expression.verdict()? {
            Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_have_names_that_iptables_takes() {
        assert_eq!(chain_name("hull"), "HULL-FORWARD");
        assert_eq!(chain_name(&"a b".repeat(40)).len(), MAX_CHAIN);
    }
}
