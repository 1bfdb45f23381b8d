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
            Self::Jump(chain) => (-3, Some(chain)),
            Self::Goto(chain) => (-4_i32, Some(chain)),
        };
        message.nested(2 | NESTED, |m| {
            let m = m.attribute(1, &code.to_be_bytes());
            match chain {
                Some(chain) => m.text(2, chain),
                None => m,
            }
        })
    }
}

/// What is known of a packet beside its bytes (`NFT_META_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Meta {
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
    /// Bits of [`super::status`], in the host's order.
    Status = 2,
}

/// From where bytes of a packet are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Base {
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

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads what is known of the packet.
    Meta(Meta, Register),
    /// Loads what is known of the connection.
    Connection(Connection, Register),
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
        /// Where the same header has the checksum of IPv4, TCP and UDP, which is kept right.
        checksum: Option<u32>,
    },
    /// Ends the rule unless the comparison holds.
    Compare(Register, Comparison, Vec<u8>),
    /// Keeps the bits of a mask as long as the value.
    Mask(Register, Vec<u8>),
    /// Ends the rule unless the key is in the set; loads a map's value.
    Lookup {
        /// Its name.
        set: String,
        /// Where the key begins.
        key: Register,
        /// Where the value shall begin.
        to: Option<Register>,
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
        device: Register,
    },
    /// Counts packets and bytes.
    Counter,
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
            Self::Connection(key, to) => {
                named(m, "ct", |m| word(register(m, 1, *to), 2, *key as u32))
            }
            Self::Payload { .. } | Self::SetPayload { .. } => self.write_payload(m),
            Self::Compare(from, how, bytes) => named(m, "cmp", |m| {
                data(word(register(m, 1, *from), 2, *how as u32), 3, bytes)
            }),
            Self::Mask(at, mask) => named(m, "bitwise", |m| {
                let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
                let m = word(register(register(m, 1, *at), 2, *at), 3, length);
                // What the result is combined with by xor.
                data(data(m, 4, mask), 5, &vec![0; mask.len()])
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
            } => named(m, "payload", |m| {
                let m = register(place(m, base, offset, length), 5, *from);
                match checksum {
                    Some(at) => word(word(m, 6, 1), 7, *at),
                    None => m,
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
            inverted,
        } = self
        else {
            return m;
        };
        named(m, "lookup", |m| {
            let m = register(m.text(1, set), 2, *key);
            let m = match to {
                Some(to) => register(m, 3, *to),
                None => m,
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
            } => named(m, "nat", |m| {
                let m = word(word(m, 1, *what as u32), 2, family.number().into());
                let m = register(m, 3, *address);
                match port {
                    Some(port) => register(m, 5, *port),
                    None => m,
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
            Self::Duplicate { address, device } => {
                named(m, "dup", |m| register(register(m, 1, *address), 2, *device))
            }
            Self::Counter => named(m, "counter", |m| {
                m.attribute(1, &[0; 8]).attribute(2, &[0; 8])
            }),
            _ => m,
        }
    }
}
