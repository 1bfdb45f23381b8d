//! Rules, built from left to right as nft's language has them.

use super::expression::{Base, Comparison, Connection, Expression, Meta, Nat, Register, Verdict};
use super::set::device;
use super::{Family, ITEM, NESTED, protocol};
use crate::netlink::message::Message;

/// Where a value of a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The name of the device by which it came.
    InDevice,
    /// The name of the device by which it leaves.
    OutDevice,
    /// The IPv4 address of its sender.
    Source4,
    /// The IPv4 address of its destination.
    Destination4,
    /// The IPv6 address of its sender.
    Source6,
    /// The IPv6 address of its destination.
    Destination6,
    /// The transport protocol.
    Protocol,
    /// The sender's port, of any protocol that has ports.
    SourcePort,
    /// The destination's port.
    DestinationPort,
}

impl Source {
    fn load(self, to: Register) -> Expression {
        let payload = |base, offset, length| Expression::Payload {
            base,
            offset,
            length,
            to,
        };
        match self {
            Self::InDevice => Expression::Meta(Meta::InDevice, to),
            Self::OutDevice => Expression::Meta(Meta::OutDevice, to),
            Self::Protocol => Expression::Meta(Meta::Protocol, to),
            Self::Source4 => payload(Base::Network, 12, 4),
            Self::Destination4 => payload(Base::Network, 16, 4),
            Self::Source6 => payload(Base::Network, 8, 16),
            Self::Destination6 => payload(Base::Network, 24, 16),
            Self::SourcePort => payload(Base::Transport, 0, 2),
            Self::DestinationPort => payload(Base::Transport, 2, 2),
        }
    }

    /// Registers that the value takes.
    const fn registers(self) -> u8 {
        match self {
            Self::InDevice | Self::OutDevice | Self::Source6 | Self::Destination6 => 4,
            _ => 1,
        }
    }
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    expressions: Vec<Expression>,
    comment: Option<String>,
}

/// Where values are loaded.
const FIRST: Register = Register(0);

impl Rule {
    /// A rule that matches everything and does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends any expression.
    #[must_use]
    pub fn with(mut self, expression: Expression) -> Self {
        self.expressions.push(expression);
        self
    }

    /// What users read behind the rule; the first 127 bytes are kept.
    #[must_use]
    pub fn comment(self, text: &str) -> Self {
        let mut end = text.len().min(127);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            comment: Some(text[..end].to_owned()),
            ..self
        }
    }

    /// Only packets with this value.
    #[must_use]
    pub fn equals(self, source: Source, value: &[u8]) -> Self {
        self.compare(source, Comparison::Equal, value)
    }

    fn compare(self, source: Source, how: Comparison, value: &[u8]) -> Self {
        self.with(source.load(FIRST))
            .with(Expression::Compare(FIRST, how, value.to_vec()))
    }

    /// Only packets whose value, masked, is this.
    #[must_use]
    pub fn masked(self, source: Source, mask: &[u8], value: &[u8]) -> Self {
        self.with(source.load(FIRST))
            .mask(mask)
            .with(Expression::Compare(
                FIRST,
                Comparison::Equal,
                value.to_vec(),
            ))
    }

    fn mask(self, mask: &[u8]) -> Self {
        self.with(Expression::Mask(FIRST, mask.to_vec()))
    }

    /// Only IPv4 or only IPv6, in tables of both.
    #[must_use]
    pub fn family(self, family: Family) -> Self {
        self.with(Expression::Meta(Meta::Family, FIRST))
            .with(Expression::Compare(
                FIRST,
                Comparison::Equal,
                vec![family.number()],
            ))
    }

    /// Only this transport protocol.
    #[must_use]
    pub fn protocol(self, number: u8) -> Self {
        self.equals(Source::Protocol, &[number])
    }

    /// Only what came by this device.
    #[must_use]
    pub fn in_device(self, name: &str) -> Self {
        self.equals(Source::InDevice, &device(name))
    }

    /// Only what came by another.
    #[must_use]
    pub fn not_in_device(self, name: &str) -> Self {
        self.compare(Source::InDevice, Comparison::NotEqual, &device(name))
    }

    fn connection_bits(self, key: Connection, bits: u32) -> Self {
        self.with(Expression::Connection(key, FIRST))
            .mask(&bits.to_ne_bytes())
            .with(Expression::Compare(FIRST, Comparison::NotEqual, vec![0; 4]))
    }

    /// Only connections in one of these states ([`super::state`]).
    #[must_use]
    pub fn state(self, bits: u32) -> Self {
        self.connection_bits(Connection::State, bits)
    }

    /// Only connections with one of these bits ([`super::status`]).
    #[must_use]
    pub fn status(self, bits: u32) -> Self {
        self.connection_bits(Connection::Status, bits)
    }

    /// Only packets to an address of this host (`fib daddr type local`).
    #[must_use]
    pub fn to_this_host(self, yes: bool) -> Self {
        const LOCAL: u32 = 2;
        let how = match yes {
            true => Comparison::Equal,
            false => Comparison::NotEqual,
        };
        self.with(Expression::DestinationType(FIRST))
            .with(Expression::Compare(
                FIRST,
                how,
                LOCAL.to_ne_bytes().to_vec(),
            ))
    }

    fn load(mut self, key: &[Source]) -> Self {
        let mut at = 0;
        for source in key {
            self = self.with(source.load(Register(at)));
            at += source.registers();
        }
        self
    }

    fn lookup(self, key: &[Source], set: &str, to: Option<Register>, inverted: bool) -> Self {
        self.load(key).with(Expression::Lookup {
            set: set.to_owned(),
            key: FIRST,
            to,
            inverted,
        })
    }

    /// Only packets whose values, one after the other, are in a set.
    #[must_use]
    pub fn in_set(self, key: &[Source], set: &str) -> Self {
        self.lookup(key, set, None, false)
    }

    /// Only packets whose values are not in a set.
    #[must_use]
    pub fn not_in_set(self, key: &[Source], set: &str) -> Self {
        self.lookup(key, set, None, true)
    }

    /// Only packets whose values are a key of a map; loads what it has for them into the first registers.
    #[must_use]
    pub fn map(self, key: &[Source], map: &str) -> Self {
        self.lookup(key, map, Some(FIRST), false)
    }

    /// Changes a port of packets of one transport protocol, which the rule must have checked, without
    /// translation by conntrack; the checksums of TCP and UDP are kept right.
    #[must_use]
    pub fn set_port(self, source: Source, transport: u8, port: u16) -> Self {
        let offset = match source {
            Source::SourcePort => 0,
            _ => 2,
        };
        let checksum = match transport {
            protocol::TCP => Some(16),
            protocol::UDP => Some(6),
            _ => None,
        };
        self.with(Expression::Immediate(FIRST, port.to_be_bytes().to_vec()))
            .with(Expression::SetPayload {
                base: Base::Transport,
                offset,
                length: 2,
                from: FIRST,
                checksum,
            })
    }

    /// Translates the destination to the address, and port, in the first registers ([`Rule::map`]).
    #[must_use]
    pub fn destination_nat(self, family: Family, port: bool) -> Self {
        self.nat(Nat::Destination, family, port)
    }

    /// Translates the source to the address in the first registers.
    #[must_use]
    pub fn source_nat(self, family: Family) -> Self {
        self.nat(Nat::Source, family, false)
    }

    fn nat(self, what: Nat, family: Family, port: bool) -> Self {
        let behind = match family {
            Family::Ipv6 => Register(4),
            _ => Register(1),
        };
        self.with(Expression::Nat {
            what,
            family,
            address: FIRST,
            port: port.then_some(behind),
        })
    }

    /// Gives the packet the address of the device by which it leaves.
    #[must_use]
    pub fn masquerade(self) -> Self {
        self.with(Expression::Masquerade)
    }

    /// Counts what has come so far in the rule.
    #[must_use]
    pub fn count(self) -> Self {
        self.with(Expression::Counter)
    }

    /// What becomes of the packet.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.with(Expression::Verdict(verdict))
    }

    /// `verdict(Verdict::Accept)`.
    #[must_use]
    pub fn accept(self) -> Self {
        self.verdict(Verdict::Accept)
    }

    /// `verdict(Verdict::Drop)`.
    #[must_use]
    pub fn drop(self) -> Self {
        self.verdict(Verdict::Drop)
    }

    /// `verdict(Verdict::Jump(chain))`.
    #[must_use]
    pub fn jump(self, chain: &str) -> Self {
        self.verdict(Verdict::Jump(chain.to_owned()))
    }

    /// Attributes of `NFT_MSG_NEWRULE` after table and chain.
    pub(super) fn write(&self, message: Message) -> Message {
        let message = message.nested(4 | NESTED, |m| {
            self.expressions.iter().fold(m, |m, expression| {
                m.nested(ITEM | NESTED, |m| expression.write(m))
            })
        });
        match &self.comment {
            Some(text) => message.attribute(7, &comment(text)),
            None => message,
        }
    }
}

/// As the nft program keeps comments: type 0, length, text with a zero.
fn comment(text: &str) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}
