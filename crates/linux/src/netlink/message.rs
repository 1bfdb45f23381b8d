//! Bytes of netlink messages (netlink(7)): native byte order, everything aligned to four bytes.

/// The kernel answers also when all went well.
pub(crate) const ACK: u16 = 0x4;
/// Make it, it must not exist.
pub(crate) const CREATE: u16 = 0x400 | 0x200;
/// Everything there is.
pub(crate) const DUMP: u16 = 0x300;
const REQUEST: u16 = 0x1;
const HEADER: usize = 16;
/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`, which are no part of an attribute's type.
const TYPE_MASK: u16 = 0x3fff;

/// A request being written.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `fixed` is the family's own header, such as `struct ifinfomsg`.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        pad(&mut bytes);
        Self { bytes }
    }

    /// With more flags.
    pub(crate) fn with_flags(mut self, flags: u16) -> Self {
        for (byte, more) in self.bytes[6..8].iter_mut().zip(flags.to_ne_bytes()) {
            *byte |= more;
        }
        self
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.put(kind, value);
        self
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(&mut self.bytes);
    }

    /// A text with the zero that the kernel expects after it.
    pub(crate) fn text(mut self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes);
        self
    }

    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// An attribute that holds attributes, and perhaps bytes before them, written by `inner`.
    pub(crate) fn nested(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        let mut inner = inner(self);
        let length = u16::try_from(inner.bytes.len() - start).unwrap_or(u16::MAX);
        inner.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        inner
    }

    /// Bytes as they are, within [`Message::nested`].
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        pad(&mut self.bytes);
        self
    }

    /// The finished bytes.
    pub(crate) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// One message of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// Whose request it answers, or in news, who made the change.
    pub(crate) port: u32,
    pub(crate) payload: &'a [u8],
}

/// The messages in a buffer; ends at the first that does not fit.
pub(crate) fn answers(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        if length < HEADER {
            return None;
        }
        let message = bytes.get(..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Answer {
            kind: u16_at(message, 4)?,
            flags: u16_at(message, 6)?,
            sequence: u32_at(message, 8)?,
            port: u32_at(message, 12)?,
            payload: &message[HEADER..],
        })
    })
}

/// The attributes in a payload after its fixed header; ends at the first that does not fit.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// A text attribute without its zero.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nested_attributes_are_counted_and_padded() {
        let bytes = Message::new(16, ACK, &[0; 16])
            .text(3, "eth0")
            .nested(18, |m| {
                m.text(1, "veth").nested(2, |m| m.raw(&[7; 3]).number(4, 9))
            })
            .finish(5);
        assert_eq!(bytes.len() % 4, 0);
        let answer = answers(&bytes).next().unwrap();
        assert_eq!(
            (answer.kind, answer.flags, answer.sequence),
            (16, ACK | REQUEST, 5)
        );
        let top: Vec<_> = attributes(&answer.payload[16..]).collect();
        assert_eq!(top[0], (3, b"eth0\0".as_slice()));
        let inner: Vec<_> = attributes(top[1].1).collect();
        assert_eq!(text(inner[0].1), "veth");
        assert_eq!(
            attributes(&inner[1].1[4..]).next(),
            Some((4, 9_u32.to_ne_bytes().as_slice()))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            for answer in answers(&bytes) {
                let _ = attributes(answer.payload).count();
            }
            let _ = attributes(&bytes).count();
        }

        #[test]
        fn what_is_written_is_read_back(
            wanted in proptest::collection::vec((1_u16..100, proptest::collection::vec(any::<u8>(), 0..40)), 0..8)
        ) {
            let message = wanted
                .iter()
                .fold(Message::new(1, 0, &[]), |message, (kind, value)| message.attribute(*kind, value));
            let bytes = message.finish(1);
            let read: Vec<_> = attributes(answers(&bytes).next().unwrap().payload)
                .map(|(kind, value)| (kind, value.to_vec()))
                .collect();
            prop_assert_eq!(read, wanted);
        }
    }
}
