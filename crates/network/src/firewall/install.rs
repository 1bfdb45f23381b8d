//! Transactions: the whole table, or a change of its elements.

use super::elements::Elements;
use super::layout::{self, USER};
use hull_linux::netlink::Error;
use hull_linux::nftables::{Batch, Chain, Element, Family, FoundChain, Set, Socket, Table};
use std::collections::BTreeMap;

/// How often a whole installation is tried while others change their tables under it.
const ATTEMPTS: usize = 20;

/// The table in the kernel.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) table: Table,
    sets: Vec<Set>,
}

impl Installed {
    pub(super) fn new(name: &str) -> Self {
        Self {
            table: Table::new(Family::Inet, name),
            sets: layout::sets(),
        }
    }

    /// Makes the table what it shall be, whatever it was: one transaction. What users have put into
    /// [`USER`], and chains and sets that are not ours, stay.
    pub(super) fn replace(&self, socket: &mut Socket, wanted: &Elements) -> Result<(), Error> {
        let mut again = false;
        let mut attempts = ATTEMPTS;
        loop {
            let generation = socket.generation()?;
            let chains = socket.chains()?;
            let sets = socket.sets(&self.table)?;
            let mut batch = Batch::default();
            batch.require_generation(generation);
            self.clear(&mut batch, &chains, &sets, again);
            self.fill(&mut batch, wanted);
            attempts -= 1;
            match socket.commit(batch) {
                Err(error) if error.is_outdated() && attempts > 0 => {}
                // Sets or chains of ours from another version: made anew, which takes longer.
                Err(error) if !again && !error.is_outdated() => {
                    tracing::debug!(%error, "the firewall is made anew");
                    again = true;
                }
                result => return result,
            }
        }
    }

    /// Empties what is there of ours, or removes it.
    fn clear(&self, batch: &mut Batch, chains: &[FoundChain], sets: &[String], remove: bool) {
        let before = Table::new(Family::Ipv4, &self.table.name);
        if chains.iter().any(|chain| chain.table == before) {
            batch.remove_table(&before);
        }
        batch.add_table(&self.table);
        let there = |chain: &&Chain| {
            chains
                .iter()
                .any(|found| found.table == self.table && found.name == chain.name)
        };
        let ours = layout::chains();
        for chain in ours.iter().filter(there) {
            batch.flush_chain(&self.table, &chain.name);
        }
        if remove {
            // In this order: what calls before what is called.
            for chain in ours.iter().filter(there) {
                batch.delete_chain(&self.table, &chain.name);
            }
        }
        for set in self.sets.iter().filter(|set| sets.contains(&set.name)) {
            match remove {
                true => batch.delete_set(&self.table, &set.name),
                false => batch.flush_set(&self.table, &set.name),
            }
        }
    }

    fn fill(&self, batch: &mut Batch, wanted: &Elements) {
        batch.add_chain(&self.table, &Chain::regular(USER));
        for chain in layout::chains() {
            batch.add_chain(&self.table, &chain);
        }
        for set in &self.sets {
            batch.add_set(&self.table, set);
        }
        self.each_set(wanted, |set, elements| {
            batch.add_elements(&self.table, set, elements);
        });
        for (chain, rule) in layout::rules() {
            batch.add_rule(&self.table, chain, &rule);
        }
    }

    fn each_set(&self, elements: &Elements, mut each: impl FnMut(&Set, &[Element])) {
        let mut by_set: BTreeMap<&str, Vec<Element>> = BTreeMap::new();
        for (set, element) in elements {
            by_set.entry(set).or_default().push(element.clone());
        }
        for (name, elements) in by_set {
            if let Some(set) = self.sets.iter().find(|set| set.name == name) {
                each(set, &elements);
            }
        }
    }

    /// Removes and adds elements: one transaction.
    pub(super) fn change(
        &self,
        socket: &mut Socket,
        gone: &Elements,
        new: &Elements,
    ) -> Result<(), Error> {
        let mut batch = Batch::default();
        self.each_set(gone, |set, elements| {
            batch.delete_elements(&self.table, set, elements);
        });
        self.each_set(new, |set, elements| {
            batch.add_elements(&self.table, set, elements);
        });
        socket.commit(batch)
    }

    /// Whether all rules and elements are in the kernel.
    pub(super) fn is_whole(&self, socket: &mut Socket, wanted: &Elements) -> Result<bool, Error> {
        let mut open: BTreeMap<&str, usize> = BTreeMap::new();
        for (chain, _) in layout::rules() {
            *open.entry(chain).or_default() += 1;
        }
        for rule in socket.rules(Some(&self.table))? {
            if let Some(count) = open.get_mut(rule.chain.as_str()) {
                *count = count.saturating_sub(1);
            }
        }
        if open.values().any(|count| *count > 0) {
            return Ok(false);
        }
        let (mut failure, mut whole) = (None, true);
        self.each_set(wanted, |set, elements| {
            if failure.is_some() || !whole {
                return;
            }
            match socket.elements(&self.table, &set.name) {
                Ok(found) => {
                    let found = found.iter().filter(|element| !element.end).count();
                    whole = found >= elements.len();
                }
                Err(error) => failure = Some(error),
            }
        });
        failure.map_or(Ok(whole), Err)
    }
}
