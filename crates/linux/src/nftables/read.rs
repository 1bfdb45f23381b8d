//! What there is: chains, rules, sets and elements, of all tables or one.

use super::expression::Verdict;
use super::socket::{Socket, be32};
use super::{Family, SUBSYSTEM, Table, header, kind};
use crate::netlink::Error;
use crate::netlink::message::{Message, attributes, text};

/// Where a base chain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// `filter`, `nat`, `route`.
    pub kind: String,
    /// `NF_INET_*`.
    pub hook: u32,
    /// Lower comes first.
    pub priority: i32,
    /// What no rule decided on is dropped.
    pub drops: bool,
}

/// A chain that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundChain {
    /// Where.
    pub table: Table,
    /// Its name.
    pub name: String,
    /// `None`: others call it.
    pub base: Option<BaseChain>,
}

/// An expression of a rule that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundExpression {
    /// `meta`, `cmp` and so on; `match` and `target` are of iptables.
    pub name: String,
    /// Its attributes, as the kernel writes them.
    pub data: Vec<u8>,
}

impl FoundExpression {
    /// One of its attributes.
    #[must_use]
    pub fn attribute(&self, wanted: u16) -> Option<&[u8]> {
        attribute(&self.data, wanted)
    }

    /// What it makes of the packet, if it decides that; `None` also for `return` and `continue`.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        if self.name != "immediate" {
            return None;
        }
        let verdict = attribute(self.attribute(2)?, 2)?;
        let chain = || attribute(verdict, 2).map(text);
        Some(match be32(attribute(verdict, 1)?)?.cast_signed() {
            0 => Verdict::Drop,
            1 => Verdict::Accept,
            -3 => Verdict::Jump(chain()?),
            -4 => Verdict::Goto(chain()?),
            _ => return None,
        })
    }

    /// One of its attributes, as a number.
    #[must_use]
    pub fn number(&self, wanted: u16) -> Option<u32> {
        be32(self.attribute(wanted)?)
    }
}

/// An attribute within others.
fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

/// A rule that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRule {
    /// Where.
    pub table: Table,
    /// Its chain.
    pub chain: String,
    /// Its number in the table.
    pub handle: u64,
    /// What users read behind it.
    pub comment: Option<String>,
    /// In order.
    pub expressions: Vec<FoundExpression>,
}

/// An element of a set that exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundElement {
    /// The key, or the first of a range.
    pub key: Vec<u8>,
    /// The last of a range, in sets of several parts.
    pub last: Option<Vec<u8>>,
    /// A map's value; empty for sets and verdicts.
    pub value: Vec<u8>,
    /// No element, but the first behind a range.
    pub end: bool,
}

impl Socket {
    fn list<T>(
        &mut self,
        what: &'static str,
        (kind, family): (u16, u8),
        write: impl Fn(Message) -> Message,
        read: impl Fn(Family, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let request = |flags| write(Message::new(SUBSYSTEM | kind, flags, &header(family, 0)));
        self.channel()
            .dump(request, |payload| {
                read(Family::from_number(*payload.first()?), payload.get(4..)?)
            })
            .map_err(|error| Error::new("list", what, error))
    }

    /// All chains of all tables.
    ///
    /// # Errors
    /// Without `CAP_NET_ADMIN` over the network namespace, or in a kernel without nf_tables.
    pub fn chains(&mut self) -> Result<Vec<FoundChain>, Error> {
        self.list(
            "the chains of nftables",
            (kind::GET_CHAIN, 0),
            |m| m,
            read_chain,
        )
    }

    /// The names of a table's sets; none if there is no such table.
    ///
    /// # Errors
    /// As [`Socket::chains`].
    pub fn sets(&mut self, table: &Table) -> Result<Vec<String>, Error> {
        let listed = self.list(
            "the sets of an nftables table",
            (kind::GET_SET, table.family.number()),
            |m| m.text(1, &table.name),
            |_, bytes| attribute(bytes, 2).map(text),
        );
        or_none(listed)
    }

    /// The rules of a table, or of all tables.
    ///
    /// # Errors
    /// As [`Socket::chains`].
    pub fn rules(&mut self, table: Option<&Table>) -> Result<Vec<FoundRule>, Error> {
        let family = table.map_or(0, |table| table.family.number());
        let listed = self.list(
            "the rules of nftables",
            (kind::GET_RULE, family),
            |m| match table {
                Some(table) => m.text(1, &table.name),
                None => m,
            },
            read_rule,
        );
        or_none(listed)
    }

    /// The elements of a set; none if there is no such set.
    ///
    /// # Errors
    /// As [`Socket::chains`].
    pub fn elements(&mut self, table: &Table, set: &str) -> Result<Vec<FoundElement>, Error> {
        let listed = self.list(
            "the elements of an nftables set",
            (kind::GET_ELEMENT, table.family.number()),
            |m| m.text(1, &table.name).text(2, set),
            |_, bytes| attribute(bytes, 3).map(read_elements),
        );
        Ok(or_none(listed)?.into_iter().flatten().collect())
    }
}

fn or_none<T>(listed: Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
    match listed {
        Err(error) if error.is_absent() => Ok(Vec::new()),
        other => other,
    }
}

fn read_chain(family: Family, bytes: &[u8]) -> Option<FoundChain> {
    let base = attribute(bytes, 4).and_then(|hook| {
        Some(BaseChain {
            kind: text(attribute(bytes, 7)?),
            hook: be32(attribute(hook, 1)?)?,
            priority: be32(attribute(hook, 2)?)?.cast_signed(),
            drops: attribute(bytes, 5).and_then(be32) == Some(0),
        })
    });
    Some(FoundChain {
        table: Table::new(family, &text(attribute(bytes, 1)?)),
        name: text(attribute(bytes, 3)?),
        base,
    })
}

fn read_rule(family: Family, bytes: &[u8]) -> Option<FoundRule> {
    let expressions = attribute(bytes, 4).map_or_else(Vec::new, |list| {
        attributes(list)
            .filter_map(|(_, item)| {
                Some(FoundExpression {
                    name: text(attribute(item, 1)?),
                    data: attribute(item, 2).unwrap_or_default().to_vec(),
                })
            })
            .collect()
    });
    Some(FoundRule {
        table: Table::new(family, &text(attribute(bytes, 1)?)),
        chain: text(attribute(bytes, 2)?),
        handle: u64::from_be_bytes(attribute(bytes, 3)?.try_into().ok()?),
        comment: attribute(bytes, 7).and_then(comment),
        expressions,
    })
}

/// The first text among a rule's user data.
fn comment(mut bytes: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = bytes {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            return Some(text(value));
        }
        bytes = &rest[value.len()..];
    }
    None
}

fn read_elements(list: &[u8]) -> Vec<FoundElement> {
    const INTERVAL_END: u32 = 1;
    let value = |item: &[u8], wanted| {
        attribute(item, wanted)
            .and_then(|data| attribute(data, 1))
            .map(<[u8]>::to_vec)
    };
    attributes(list)
        .filter_map(|(_, item)| {
            Some(FoundElement {
                key: value(item, 1)?,
                last: value(item, 10),
                value: value(item, 2).unwrap_or_default(),
                end: attribute(item, 3).and_then(be32).unwrap_or(0) & INTERVAL_END != 0,
            })
        })
        .collect()
}
