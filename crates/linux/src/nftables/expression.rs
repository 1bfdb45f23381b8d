//! Expressions: what the kernel runs for a rule, one after the other, on sixteen registers of four bytes.

use super::{Family, NESTED};
use crate::netlink::message::Message;

/// One of sixteen registers of four bytes; longer values take several, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u8);

impl Register {
    /// `NFT_REG32_00` and following; `NFT_REG_VERDICT` is no [`Register`] but [`Expression::Verdict`].
    fn bytes(self) -> [u8; 4] {
        (u32::from(self.0.min(15)) + 8).to_be_bytes()
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Let through by this base chain; others may still drop it.
    Accept,
    /// Gone.
    Drop,
    /// The next rule.
    Continue,
    /// Back to the calling chain.
    Return,
    /// Another chain, and back.
    Jump(String),
    /// Another chain.
    Goto(String),
}

impl Verdict {
    /// Attributes of `NFTA_DATA_VERDICT`, in that.
    pub(super) fn write(&self, message: Message) -> Message {
        let (code, chain) = match self {
            Self::Drop => (0, None),
            Self::Accept => (1, None),
            Self::Continue => (-1, None),
            Self::Jump(chain) => (-3, Some(chain)),
            Self::Goto(chain) => (-4, Some(chain)),
            Self::Return => (-5_i32, None),
        };
        message.nested(2 | NESTED, |m| {
            let m = m.attribute(1, &code.to_be_bytes());
            match chain {
                Some(chain) => m.text(2, chain),
                None => m,
            }
        })
    }

    pub(super) fn size(&self) -> usize {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => 32 + chain.len(),
            _ => 24,
        }
    }
}

/// What is known of a packet beside its bytes (`NFT_META_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Meta {
    /// The mark, 4 bytes in the host's order.
    Mark = 3,
    /// The number of the device by which it came, 4 bytes in the host's order.
    InIndex = 4,
    /// The number of the device by which it leaves.
    OutIndex = 5,
    /// The name of the device by which it came, 16 bytes.
    InDevice = 6,
    /// The name of the device by which it leaves.
    OutDevice = 7,
    /// The family, one byte.
    Family = 15,
    /// The transport protocol, one byte.
    Protocol = 16,
}

/// What is known of a packet's connection (`NFT_CT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Connection {
    /// Bits of [`super::state`], in the host's order.
    State = 0,
    /// One byte: 0 original, 1 reply.
    Direction = 1,
    /// Bits of [`super::status`], in the host's order.
    Status = 2,
    /// The mark, in the host's order.
    Mark = 3,
    /// The destination's port; needs a direction.
    DestinationPort = 12,
    /// The IPv4 destination; needs a direction. Linux 4.17.
    Destination4 = 20,
    /// The IPv6 destination; needs a direction.
    Destination6 = 22,
}

/// From where bytes of a packet are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Base {
    /// The link's header.
    Link = 0,
    /// The header of IPv4 or IPv6.
    Network = 1,
    /// The header of TCP, UDP and so on; no match for later fragments.
    Transport = 2,
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Comparison {
    /// The same.
    Equal = 0,
    /// Another.
    NotEqual = 1,
    /// Less, as a number in network byte order.
    Less = 2,
    /// Less or the same.
    LessOrEqual = 3,
    /// Greater.
    Greater = 4,
    /// Greater or the same.
    GreaterOrEqual = 5,
}

/// What is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Nat {
    /// Where the packet comes from.
    Source = 0,
    /// Where it goes.
    Destination = 1,
}

/// A checksum in a header, at this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// That of IPv4, TCP, UDP.
    Internet(u32),
    /// That of SCTP. Linux 5.10.
    Sctp(u32),
}

/// How a sender is told that its packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// An ICMP message of the packet's family: 0 no route, 1 port unreachable, 2 host unreachable,
    /// 3 prohibited.
    Icmp(u8),
    /// TCP's reset.
    TcpReset,
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads what is known of the packet.
    Meta(Meta, Register),
    /// Changes it.
    SetMeta(Meta, Register),
    /// Loads what is known of the connection; with a direction where it has one (0 original, 1 reply).
    Connection(Connection, Option<u8>, Register),
    /// Changes it.
    SetConnection(Connection, Register),
    /// Loads bytes of the packet.
    Payload {
        /// From where.
        base: Base,
        /// In bytes.
        offset: u32,
        /// In bytes.
        length: u32,
        /// To where.
        to: Register,
    },
    /// Writes bytes of the packet.
    SetPayload {
        /// From where.
        base: Base,
        /// In bytes.
        offset: u32,
        /// In bytes.
        length: u32,
        /// What.
        from: Register,
        /// The checksum of the same header, which is kept right.
        checksum: Option<Checksum>,
        /// The bytes belong to an address, which the transport's checksum covers too: the kernel finds that.
        pseudo_header: bool,
    },
    /// Ends the rule unless the comparison holds.
    Compare(Register, Comparison, Vec<u8>),
    /// `to = from & mask ^ xor`.
    Bitwise {
        /// What.
        from: Register,
        /// To where.
        to: Register,
        /// Of the value's length.
        mask: Vec<u8>,
        /// Of the same length.
        xor: Vec<u8>,
    },
    /// Ends the rule unless the key is in the set; loads a map's value. Without a register for it,
    /// a verdict map's verdict is followed.
    Lookup {
        /// Its name.
        set: String,
        /// Where the key begins.
        key: Register,
        /// Where the value shall begin.
        to: Option<Register>,
        /// The set is a map of verdicts.
        verdicts: bool,
        /// Ends the rule if the key is in the set.
        inverted: bool,
    },
    /// Loads a constant.
    Immediate(Register, Vec<u8>),
    /// Ends the rule, or calls a chain.
    Verdict(Verdict),
    /// Translates an address, and a port.
    Nat {
        /// Which.
        what: Nat,
        /// IPv4 or IPv6.
        family: Family,
        /// Where the address is.
        address: Register,
        /// Where the port is.
        port: Option<Register>,
        /// `NF_NAT_RANGE_*`: 0x10 persistent, 0x4 random ports.
        flags: u32,
    },
    /// Gives the packet the address of the device by which it leaves.
    Masquerade,
    /// Loads the type of a destination address as a number: 2 local (`RTN_*`), 4 bytes in the host's order.
    DestinationType(Register),
    /// Sends a copy (families ip, ip6).
    Duplicate {
        /// To which address.
        address: Register,
        /// By which device, as number in the host's order.
        device: Option<Register>,
    },
    /// Drops with an answer.
    Reject(Reject),
    /// Counts packets and bytes.
    Counter,
    /// Ends the rule when more packets come.
    Limit {
        /// How many.
        packets: u64,
        /// In how many seconds.
        seconds: u64,
        /// How many more at once.
        burst: u32,
    },
    /// Writes to the kernel's log.
    Log(String),
    /// The connection is not followed (before conntrack, priority raw).
    NoTrack,
}

/// An `NFTA_EXPR_NAME` with what comes in `NFTA_EXPR_DATA`.
fn named(message: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    message.text(1, name).nested(2 | NESTED, data)
}

fn word(message: Message, attribute: u16, value: u32) -> Message {
    message.attribute(attribute, &value.to_be_bytes())
}

fn register(message: Message, attribute: u16, register: Register) -> Message {
    message.attribute(attribute, &register.bytes())
}

fn data(message: Message, attribute: u16, bytes: &[u8]) -> Message {
    message.nested(attribute | NESTED, |m| m.attribute(1, bytes))
}

impl Expression {
    pub(super) fn write(&self, m: Message) -> Message {
        match self {
            Self::Meta(key, to) => named(m, "meta", |m| word(register(m, 1, *to), 2, *key as u32)),
            Self::SetMeta(key, from) => {
                named(m, "meta", |m| register(word(m, 2, *key as u32), 3, *from))
            }
            Self::Connection(key, direction, to) => named(m, "ct", |m| {
                let m = word(register(m, 1, *to), 2, *key as u32);
                direction.map_or(m.clone(), |direction| m.attribute(3, &[direction]))
            }),
            Self::SetConnection(key, from) => {
                named(m, "ct", |m| register(word(m, 2, *key as u32), 4, *from))
            }
            Self::Payload { .. } | Self::SetPayload { .. } => self.write_payload(m),
            Self::Compare(from, how, bytes) => named(m, "cmp", |m| {
                data(word(register(m, 1, *from), 2, *how as u32), 3, bytes)
            }),
            Self::Bitwise {
                from,
                to,
                mask,
                xor,
            } => named(m, "bitwise", |m| {
                let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
                let m = word(register(register(m, 1, *from), 2, *to), 3, length);
                data(data(m, 4, mask), 5, xor)
            }),
            Self::Lookup { .. } => self.write_lookup(m),
            Self::Immediate(to, bytes) => {
                named(m, "immediate", |m| data(register(m, 1, *to), 2, bytes))
            }
            Self::Verdict(verdict) => named(m, "immediate", |m| {
                word(m, 1, 0).nested(2 | NESTED, |m| verdict.write(m))
            }),
            _ => self.write_action(m),
        }
    }

    fn write_payload(&self, m: Message) -> Message {
        const PSEUDO_HEADER: u32 = 1;
        let place = |m: Message, base: &Base, offset: &u32, length: &u32| {
            word(word(word(m, 2, *base as u32), 3, *offset), 4, *length)
        };
        match self {
            Self::SetPayload {
                base,
                offset,
                length,
                from,
                checksum,
                pseudo_header,
            } => named(m, "payload", |m| {
                let m = register(place(m, base, offset, length), 5, *from);
                let m = match checksum {
                    Some(Checksum::Internet(at)) => word(word(m, 6, 1), 7, *at),
                    Some(Checksum::Sctp(at)) => word(word(m, 6, 2), 7, *at),
                    None => m,
                };
                match pseudo_header {
                    true => word(m, 8, PSEUDO_HEADER),
                    false => m,
                }
            }),
            Self::Payload {
                base,
                offset,
                length,
                to,
            } => named(m, "payload", |m| {
                place(register(m, 1, *to), base, offset, length)
            }),
            _ => m,
        }
    }

    fn write_lookup(&self, m: Message) -> Message {
        let Self::Lookup {
            set,
            key,
            to,
            verdicts,
            inverted,
        } = self
        else {
            return m;
        };
        named(m, "lookup", |m| {
            let m = register(m.text(1, set), 2, *key);
            let m = match (verdicts, to) {
                (true, _) => word(m, 3, 0),
                (false, Some(to)) => register(m, 3, *to),
                (false, None) => m,
            };
            match inverted {
                true => word(m, 5, 1),
                false => m,
            }
        })
    }

    fn write_action(&self, m: Message) -> Message {
        match self {
            Self::Nat {
                what,
                family,
                address,
                port,
                flags,
            } => named(m, "nat", |m| {
                let m = word(word(m, 1, *what as u32), 2, family.number().into());
                let m = register(m, 3, *address);
                let m = port.map_or(m.clone(), |port| register(m, 5, port));
                match flags {
                    0 => m,
                    flags => word(m, 7, *flags),
                }
            }),
            Self::Masquerade => named(m, "masq", |m| m),
            Self::DestinationType(to) => {
                const ADDRESS_TYPE: u32 = 3;
                const DESTINATION: u32 = 2;
                named(m, "fib", |m| {
                    word(word(register(m, 1, *to), 2, ADDRESS_TYPE), 3, DESTINATION)
                })
            }
            Self::Duplicate { address, device } => named(m, "dup", |m| {
                let m = register(m, 1, *address);
                device.map_or(m.clone(), |device| register(m, 2, device))
            }),
            Self::Reject(Reject::Icmp(code)) => {
                named(m, "reject", |m| word(m, 1, 2).attribute(2, &[*code]))
            }
            Self::Reject(Reject::TcpReset) => named(m, "reject", |m| word(m, 1, 1)),
            Self::Counter => named(m, "counter", |m| {
                m.attribute(1, &[0; 8]).attribute(2, &[0; 8])
            }),
            Self::Limit {
                packets,
                seconds,
                burst,
            } => named(m, "limit", |m| {
                let m = m.attribute(1, &packets.to_be_bytes());
                let m = m.attribute(2, &seconds.to_be_bytes());
                word(word(word(m, 3, *burst), 4, 0), 5, 0)
            }),
            Self::Log(prefix) => named(m, "log", |m| m.text(2, prefix)),
            Self::NoTrack => named(m, "notrack", |m| m),
            _ => m,
        }
    }
}
