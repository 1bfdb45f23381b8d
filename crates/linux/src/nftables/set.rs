//! Sets, maps and their elements.

use super::{ITEM, NESTED};
use crate::netlink::message::Message;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a part of a key, or of a map's value, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A transport protocol.
    Protocol,
    /// A port.
    Port,
    /// A device's name.
    Device,
}

impl Field {
    /// The number by which the nft program knows the type; the kernel only keeps it.
    const fn number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Device => 41,
        }
    }

    /// Bytes of a value.
    #[must_use]
    pub const fn length(self) -> u32 {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 | Self::Device => 16,
            Self::Protocol => 1,
            Self::Port => 2,
        }
    }
}

/// Type and length of a concatenation; parts but a single one are padded to four bytes.
fn concatenated(fields: &[Field]) -> (u32, u32) {
    match fields {
        [single] => (single.number(), single.length()),
        _ => fields.iter().fold((0, 0), |(kind, length), field| {
            (
                kind << 6 | field.number(),
                length + field.length().next_multiple_of(4),
            )
        }),
    }
}

/// Bytes of a key or value, part by part.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    bytes: Vec<u8>,
    /// The length of the last part without padding: a single part has none.
    single: usize,
    parts: usize,
}

impl Value {
    fn part(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.single = bytes.len();
        self.parts += 1;
        self
    }

    /// An address, 4 or 16 bytes.
    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.part(&address.octets()),
            IpAddr::V6(address) => self.part(&address.octets()),
        }
    }

    /// A transport protocol's number.
    #[must_use]
    pub fn protocol(self, number: u8) -> Self {
        self.part(&[number])
    }

    /// A port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.part(&port.to_be_bytes())
    }

    /// A device's name, of which the kernel knows 15 bytes.
    #[must_use]
    pub fn device(self, name: &str) -> Self {
        self.part(&device(name))
    }

    /// As the kernel wants it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self.parts {
            1 => &self.bytes[..self.single],
            _ => &self.bytes,
        }
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        Self::default().address(address)
    }
}

impl From<Ipv4Addr> for Value {
    fn from(address: Ipv4Addr) -> Self {
        Self::from(IpAddr::from(address))
    }
}

impl From<Ipv6Addr> for Value {
    fn from(address: Ipv6Addr) -> Self {
        Self::from(IpAddr::from(address))
    }
}

pub(super) fn device(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.as_bytes()) {
        *to = *from;
    }
    bytes
}

/// A set, or a map if it has values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// At most 255 bytes.
    pub name: String,
    /// Parts of the key.
    pub key: Vec<Field>,
    /// Parts of a map's values; empty for sets.
    pub value: Vec<Field>,
    /// Elements may be ranges. With several parts: Linux 5.6.
    pub intervals: bool,
}

impl Set {
    /// A set of single values.
    #[must_use]
    pub fn new(name: &str, key: &[Field]) -> Self {
        Self {
            name: name.to_owned(),
            key: key.to_vec(),
            value: Vec::new(),
            intervals: false,
        }
    }

    /// A set of ranges.
    #[must_use]
    pub fn ranges(name: &str, key: &[Field]) -> Self {
        Self {
            intervals: true,
            ..Self::new(name, key)
        }
    }

    /// Makes a map of it.
    #[must_use]
    pub fn to(self, value: &[Field]) -> Self {
        Self {
            value: value.to_vec(),
            ..self
        }
    }

    /// Ranges of several parts are kept otherwise than those of one.
    pub(super) fn is_concatenation_of_ranges(&self) -> bool {
        self.intervals && self.key.len() > 1
    }

    /// Attributes of `NFT_MSG_NEWSET` after the table's name.
    pub(super) fn write(&self, message: Message, id: u32) -> Message {
        const INTERVAL: u32 = 4;
        const MAP: u32 = 8;
        const CONCATENATION: u32 = 0x80;
        let mut flags = 0;
        if self.intervals {
            flags |= INTERVAL;
        }
        if !self.value.is_empty() {
            flags |= MAP;
        }
        if self.is_concatenation_of_ranges() {
            flags |= CONCATENATION;
        }
        let (kind, length) = concatenated(&self.key);
        let mut message = message
            .text(2, &self.name)
            .attribute(3, &flags.to_be_bytes())
            .attribute(4, &kind.to_be_bytes())
            .attribute(5, &length.to_be_bytes());
        if !self.value.is_empty() {
            let (kind, length) = concatenated(&self.value);
            message = message
                .attribute(6, &kind.to_be_bytes())
                .attribute(7, &length.to_be_bytes());
        }
        if self.is_concatenation_of_ranges() {
            // NFTA_SET_DESC, NFTA_SET_DESC_CONCAT: the length of each part.
            message = message.nested(9 | NESTED, |m| {
                m.nested(2 | NESTED, |m| {
                    self.key.iter().fold(m, |m, field| {
                        m.nested(ITEM | NESTED, |m| {
                            m.attribute(1, &field.length().to_be_bytes())
                        })
                    })
                })
            });
        }
        let message = message.attribute(10, &id.to_be_bytes());
        match self.key.as_slice() {
            // Only for the nft program, which could not print names otherwise: NFTNL_UDATA_SET_KEYBYTEORDER
            // is the host's.
            [Field::Device] => {
                let mut note = vec![0, 4];
                note.extend_from_slice(&1_u32.to_ne_bytes());
                message.attribute(13, &note)
            }
            _ => message,
        }
    }
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// The key, or the first of a range.
    pub key: Value,
    /// The last of a range, each part at its last; `None` for a single key.
    pub last: Option<Value>,
    /// A map's value.
    pub data: Option<Value>,
}

impl Element {
    /// An element of a set.
    #[must_use]
    pub fn key(key: impl Into<Value>) -> Self {
        Self {
            key: key.into(),
            last: None,
            data: None,
        }
    }

    /// A range of a set, both ends included.
    #[must_use]
    pub fn range(first: impl Into<Value>, last: impl Into<Value>) -> Self {
        Self {
            last: Some(last.into()),
            ..Self::key(first)
        }
    }

    /// With a map's value.
    #[must_use]
    pub fn value(self, value: impl Into<Value>) -> Self {
        Self {
            data: Some(value.into()),
            ..self
        }
    }

    /// An upper bound of what [`Element::write`] needs.
    pub(super) fn size(&self) -> usize {
        let value = |value: &Value| value.bytes.len() + 8;
        32 + 2 * value(&self.key) + self.data.as_ref().map_or(0, value)
    }

    /// Ranges of a set with one part are two elements: where it begins, and the first behind its end.
    /// Sets with several parts have both ends in one.
    pub(super) fn write(&self, message: Message, set: &Set) -> Message {
        const INTERVAL_END: u32 = 1;
        let parts = set.is_concatenation_of_ranges();
        let mut message = message.nested(ITEM | NESTED, |m| {
            let m = value(m, 1, &self.key);
            let m = match (&self.last, parts) {
                (Some(last), true) => value(m, 10, last),
                (None, true) => value(m, 10, &self.key),
                (_, false) => m,
            };
            match &self.data {
                None => m,
                Some(data) => value(m, 2, data),
            }
        });
        if set.intervals && !parts {
            let last = self.last.as_ref().unwrap_or(&self.key);
            if let Some(end) = following(last.bytes()) {
                message = message.nested(ITEM | NESTED, |m| {
                    m.nested(1 | NESTED, |m| m.attribute(1, &end))
                        .attribute(3, &INTERVAL_END.to_be_bytes())
                });
            }
        }
        message
    }
}

fn value(message: Message, attribute: u16, value: &Value) -> Message {
    message.nested(attribute | NESTED, |m| m.attribute(1, value.bytes()))
}

/// The next number; `None` after the last.
fn following(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    for byte in bytes.iter_mut().rev() {
        let (next, carried) = byte.overflowing_add(1);
        *byte = next;
        if !carried {
            return Some(bytes);
        }
    }
    None
}
