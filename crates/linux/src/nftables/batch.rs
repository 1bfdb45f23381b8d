//! Transactions.

use super::rule::Rule;
use super::set::{Element, Set};
use super::{Family, NESTED, SUBSYSTEM, header, kind};
use crate::netlink::message::Message;

/// `NLM_F_CREATE`; without `NLM_F_EXCL` what exists is no error.
const CREATE: u16 = 0x400;
/// `NLM_F_CREATE | NLM_F_APPEND`.
const APPEND: u16 = 0xc00;
/// Elements go in messages of at most this many bytes: an attribute has a length of 16 bits.
const MOST_ELEMENTS: usize = 48 << 10;

/// A table: its family and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table {
    /// What packets it sees.
    pub family: Family,
    /// At most 255 bytes.
    pub name: String,
}

impl Table {
    /// Names a table.
    #[must_use]
    pub fn new(family: Family, name: &str) -> Self {
        Self {
            family,
            name: name.to_owned(),
        }
    }
}

/// Where a base chain sees packets (`NF_INET_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// All that came in.
    Prerouting = 0,
    /// To this host.
    Input = 1,
    /// From elsewhere to elsewhere.
    Forward = 2,
    /// From this host.
    Output = 3,
    /// All that leaves.
    Postrouting = 4,
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Let through or not.
    Filter,
    /// Translate the first packet of a connection.
    Nat,
}

impl ChainKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

/// What becomes of packets of a base chain that no rule decided on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Policy {
    /// Gone.
    Drop = 0,
    /// Let through.
    #[default]
    Accept = 1,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// At most 255 bytes.
    pub name: String,
    /// A base chain's place; `None`: a chain that others call.
    pub base: Option<(ChainKind, Hook, i32)>,
    /// Of a base chain.
    pub policy: Policy,
}

impl Chain {
    /// A chain that others call.
    #[must_use]
    pub fn regular(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            base: None,
            policy: Policy::Accept,
        }
    }

    /// A base chain that filters. Lower priorities come first: raw -300, conntrack -200,
    /// destination translation -100, filter 0, source translation 100.
    #[must_use]
    pub fn filter(name: &str, hook: Hook, priority: i32) -> Self {
        Self {
            base: Some((ChainKind::Filter, hook, priority)),
            ..Self::regular(name)
        }
    }

    /// A base chain that translates.
    #[must_use]
    pub fn nat(name: &str, hook: Hook, priority: i32) -> Self {
        Self {
            base: Some((ChainKind::Nat, hook, priority)),
            ..Self::regular(name)
        }
    }
}

/// A step of a transaction, and what to call it in an error.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) message: Message,
    pub(super) operation: &'static str,
    pub(super) object: String,
}

/// Changes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) steps: Vec<Step>,
    pub(super) generation: Option<u32>,
    sets: u32,
}

impl Batch {
    /// Whether nothing shall change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The transaction shall fail (`ERESTART`) if anybody has changed anything since this generation
    /// ([`super::Socket::generation`]). Linux 4.10.
    pub fn require_generation(&mut self, generation: u32) {
        self.generation = Some(generation);
    }

    fn push(
        &mut self,
        table: &Table,
        (kind, flags): (u16, u16),
        (operation, object): (&'static str, &str),
        write: impl FnOnce(Message) -> Message,
    ) {
        let message = Message::new(SUBSYSTEM | kind, flags, &header(table.family.number(), 0));
        self.steps.push(Step {
            message: write(message.text(1, &table.name)),
            operation,
            object: format!("{object} of table {} {}", table.family.as_str(), table.name),
        });
    }

    /// Makes a table.
    pub fn add_table(&mut self, table: &Table) {
        let what = ("add nftables", "table");
        self.push(table, (kind::NEW_TABLE, CREATE), what, |m| {
            m.attribute(2, &[0; 4])
        });
    }

    /// Removes a table with all in it, whether it is there or not.
    pub fn remove_table(&mut self, table: &Table) {
        self.add_table(table);
        self.push(
            table,
            (kind::DELETE_TABLE, 0),
            ("delete nftables", "table"),
            |m| m,
        );
    }

    /// Makes a chain.
    pub fn add_chain(&mut self, table: &Table, chain: &Chain) {
        let what = ("add nftables chain", chain.name.as_str());
        self.push(table, (kind::NEW_CHAIN, CREATE), what, |m| {
            let m = m.text(3, &chain.name);
            let Some((kind, hook, priority)) = chain.base else {
                return m;
            };
            m.nested(4 | NESTED, |m| {
                m.attribute(1, &(hook as u32).to_be_bytes())
                    .attribute(2, &priority.to_be_bytes())
            })
            .attribute(5, &(chain.policy as u32).to_be_bytes())
            .text(7, kind.as_str())
        });
    }

    /// Removes a chain, which must be empty and called by nobody.
    pub fn delete_chain(&mut self, table: &Table, chain: &str) {
        let what = ("delete nftables chain", chain);
        self.push(table, (kind::DELETE_CHAIN, 0), what, |m| m.text(3, chain));
    }

    /// Removes all rules of a chain.
    pub fn flush_chain(&mut self, table: &Table, chain: &str) {
        let what = ("flush nftables chain", chain);
        self.push(table, (kind::DELETE_RULE, 0), what, |m| m.text(2, chain));
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, table: &Table, chain: &str, rule: &Rule) {
        let what = ("add a rule to nftables chain", chain);
        self.push(table, (kind::NEW_RULE, APPEND), what, |m| {
            rule.write(m.text(2, chain))
        });
    }

    /// Puts a rule before all others of a chain.
    pub fn insert_rule(&mut self, table: &Table, chain: &str, rule: &Rule) {
        let what = ("add a rule to nftables chain", chain);
        self.push(table, (kind::NEW_RULE, CREATE), what, |m| {
            rule.write(m.text(2, chain))
        });
    }

    /// Puts a rule behind the one with this number.
    pub fn insert_rule_after(&mut self, table: &Table, chain: &str, handle: u64, rule: &Rule) {
        let what = ("add a rule to nftables chain", chain);
        self.push(table, (kind::NEW_RULE, APPEND), what, |m| {
            rule.write(m.text(2, chain).attribute(6, &handle.to_be_bytes()))
        });
    }

    /// Removes one rule.
    pub fn delete_rule(&mut self, table: &Table, chain: &str, handle: u64) {
        let what = ("delete a rule of nftables chain", chain);
        self.push(table, (kind::DELETE_RULE, 0), what, |m| {
            m.text(2, chain).attribute(3, &handle.to_be_bytes())
        });
    }

    /// Makes a set or map.
    pub fn add_set(&mut self, table: &Table, set: &Set) {
        self.sets += 1;
        let id = self.sets;
        let what = ("add nftables set", set.name.as_str());
        self.push(table, (kind::NEW_SET, CREATE), what, |m| set.write(m, id));
    }

    /// Removes a set, which no rule may use.
    pub fn delete_set(&mut self, table: &Table, set: &str) {
        let what = ("delete nftables set", set);
        self.push(table, (kind::DELETE_SET, 0), what, |m| m.text(2, set));
    }

    /// Removes all elements of a set.
    pub fn flush_set(&mut self, table: &Table, set: &str) {
        let what = ("flush nftables set", set);
        self.push(table, (kind::DELETE_ELEMENT, 0), what, |m| m.text(2, set));
    }

    /// Adds elements. One that is there already must have the same value (`EEXIST`).
    pub fn add_elements(&mut self, table: &Table, set: &Set, elements: &[Element]) {
        let what = ("add elements to nftables set", set.name.as_str());
        self.elements(table, set, elements, ((kind::NEW_ELEMENT, CREATE), what));
    }

    /// Removes elements, all of which must be there (`ENOENT`).
    pub fn delete_elements(&mut self, table: &Table, set: &Set, elements: &[Element]) {
        let what = ("delete elements of nftables set", set.name.as_str());
        self.elements(table, set, elements, ((kind::DELETE_ELEMENT, 0), what));
    }

    fn elements(
        &mut self,
        table: &Table,
        set: &Set,
        mut elements: &[Element],
        (message, what): ((u16, u16), (&'static str, &str)),
    ) {
        while !elements.is_empty() {
            let mut size = 0;
            let fits = elements.iter().take_while(|element| {
                size += element.size();
                size <= MOST_ELEMENTS
            });
            let (now, later) = elements.split_at(fits.count().max(1));
            self.push(table, message, what, |m| {
                m.text(2, &set.name).nested(3 | NESTED, |m| {
                    now.iter().fold(m, |m, element| element.write(m, set))
                })
            });
            elements = later;
        }
    }
}
