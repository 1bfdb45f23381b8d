//! Messages (D-Bus specification, "Message Format").

use super::Error;
use super::value::{Decoder, Type, Value, pad};

/// The most bytes of a message that we read; systemd's to us have some hundred.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The bytes at the start that tell how many follow.
pub(super) const START: usize = 16;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call.
    Call,
    /// The answer to one.
    Return,
    /// Its failure.
    Error,
    /// News.
    Signal,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The sender's number for it, not 0.
    pub serial: u32,
    /// Of an answer: the call's number.
    pub reply_to: u32,
    /// The object.
    pub path: String,
    /// The interface.
    pub interface: String,
    /// The method or signal.
    pub member: String,
    /// Of an error.
    pub error: String,
    /// Whom it is for, on a bus.
    pub destination: String,
    /// The arguments.
    pub body: Vec<Value>,
}

// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

impl Message {
    /// An empty one.
    #[must_use]
    pub fn new(kind: Kind, serial: u32) -> Self {
        Self {
            kind,
            serial,
            reply_to: 0,
            path: String::new(),
            interface: String::new(),
            member: String::new(),
            error: String::new(),
            destination: String::new(),
            body: Vec::new(),
        }
    }

    /// The message as it is sent, little-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        // The body starts at a multiple of 8, so that its own positions will do.
        self.body.iter().for_each(|value| value.encode(&mut body));
        let kind = match self.kind {
            Kind::Call => 1,
            Kind::Return => 2,
            Kind::Error => 3,
            Kind::Signal => 4,
        };
        let mut bytes = vec![b'l', kind, 0, 1];
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.serial.to_le_bytes());
        self.fields().encode(&mut bytes);
        pad(&mut bytes, 8);
        bytes.extend(body);
        bytes
    }

    fn fields(&self) -> Value {
        let mut fields = Vec::new();
        let mut field = |code, value| {
            let value = Value::Variant(Box::new(value));
            fields.push(Value::Struct(vec![Value::Byte(code), value]));
        };
        if !self.path.is_empty() {
            field(PATH, Value::Path(self.path.clone()));
        }
        for (code, text) in [
            (INTERFACE, &self.interface),
            (MEMBER, &self.member),
            (ERROR_NAME, &self.error),
        ] {
            if !text.is_empty() {
                field(code, Value::text(text));
            }
        }
        if self.reply_to != 0 {
            field(REPLY_SERIAL, Value::U32(self.reply_to));
        }
        if !self.destination.is_empty() {
            field(DESTINATION, Value::text(&self.destination));
        }
        if !self.body.is_empty() {
            let kinds = self.body.iter().map(|value| value.kind().signature());
            field(SIGNATURE, Value::Signature(kinds.collect()));
        }
        let kind = Type::Struct(vec![Type::Plain('y'), Type::Plain('v')]);
        Value::Array(kind, fields)
    }

    /// How long the message is that starts with these bytes.
    ///
    /// # Errors
    /// [`Error::Protocol`] when it is none, or too long.
    pub fn length(start: [u8; START]) -> Result<usize, Error> {
        let big_endian = match start[0] {
            b'l' => false,
            b'B' => true,
            _ => return Err(Error::Protocol("that is no message")),
        };
        let body = Decoder::new(&start, 4, big_endian).u32()? as usize;
        let fields = Decoder::new(&start, 12, big_endian).u32()? as usize;
        if body > MAX_BYTES || fields > MAX_BYTES {
            return Err(Error::Protocol("a message is too long"));
        }
        Ok((START + fields).next_multiple_of(8) + body)
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// [`Error::Protocol`] says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let Some(start) = bytes.first_chunk::<START>() else {
            return Err(Error::Protocol("a message is shorter than it says"));
        };
        if bytes.len() != Self::length(*start)? || start[3] != 1 {
            return Err(Error::Protocol("a message is not as long as it says"));
        }
        let kind = match start[1] {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return Err(Error::Protocol("a message of no known kind")),
        };
        let mut decoder = Decoder::new(bytes, 8, start[0] == b'B');
        let mut message = Self::new(kind, decoder.u32()?);
        let field = Type::Struct(vec![Type::Plain('y'), Type::Plain('v')]);
        let fields = decoder.value(&Type::Array(Box::new(field)), 0)?;
        let signature = message.take_fields(fields);
        decoder.align(8);
        let kinds = Type::parse_all(&signature);
        let kinds = kinds.ok_or(Error::Protocol("a signature of no known types"))?;
        for kind in &kinds {
            message.body.push(decoder.value(kind, 0)?);
        }
        Ok(message)
    }

    /// Takes over what it knows of the header, and gives the body's signature.
    fn take_fields(&mut self, fields: Value) -> String {
        let mut signature = String::new();
        let Value::Array(_, fields) = fields else {
            return signature;
        };
        for field in fields {
            let Value::Struct(mut members) = field else {
                continue;
            };
            let (Some(Value::Variant(value)), Some(Value::Byte(code))) =
                (members.pop(), members.pop())
            else {
                continue;
            };
            match (code, *value) {
                (PATH, Value::Path(text)) => self.path = text,
                (INTERFACE, Value::Text(text)) => self.interface = text,
                (MEMBER, Value::Text(text)) => self.member = text,
                (ERROR_NAME, Value::Text(text)) => self.error = text,
                (DESTINATION, Value::Text(text)) => self.destination = text,
                (REPLY_SERIAL, Value::U32(serial)) => self.reply_to = serial,
                (SIGNATURE, Value::Signature(text)) => signature = text,
                _ => {}
            }
        }
        signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The call every client makes first, byte by byte as libdbus and sd-bus send it.
    const HELLO: &[u8] = b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6d\x00\x00\x00\
        \x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00\
        \x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00\
        \x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00\
        \x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00";

    fn hello() -> Message {
        Message {
            path: "/org/freedesktop/DBus".to_owned(),
            interface: "org.freedesktop.DBus".to_owned(),
            member: "Hello".to_owned(),
            destination: "org.freedesktop.DBus".to_owned(),
            ..Message::new(Kind::Call, 1)
        }
    }

    #[test]
    fn a_known_message_is_written_and_read() {
        assert_eq!(hello().encode(), HELLO);
        assert_eq!(Message::decode(HELLO).unwrap(), hello());
    }

    #[test]
    fn the_other_byte_order_is_read() {
        let bytes = b"B\x02\x00\x01\x00\x00\x00\x0c\x00\x00\x00\x07\x00\x00\x00\x10\
            \x05\x01u\x00\x00\x00\x00\x03\x08\x01g\x00\x02su\x00\
            \x00\x00\x00\x02ab\x00\x00\x00\x00\x00\x09";
        let cut = Message::decode(&bytes[..bytes.len() - 1]);
        assert!(matches!(cut, Err(Error::Protocol(_))));
        let message = Message::decode(bytes);
        let expected = Message {
            reply_to: 3,
            body: vec![Value::text("ab"), Value::U32(9)],
            ..Message::new(Kind::Return, 7)
        };
        assert_eq!(message.unwrap(), expected);
    }

    #[test]
    fn values_lie_where_the_specification_puts_them() {
        let property = |name: &str, value| {
            Value::Struct(vec![Value::text(name), Value::Variant(Box::new(value))])
        };
        let kind = Type::parse_all("(sv)").unwrap().remove(0);
        let value = Value::Array(kind, vec![property("A", Value::U64(5))]);
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let expected = b"\x18\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00A\x00\x01t\x00\
            \x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00";
        // Length 24, padding to 8, text, signature, padding to 8, the number.
        assert_eq!(bytes.len(), 32);
        assert_eq!(bytes[..16], expected[..16]);
        assert_eq!(bytes[24..], 5_u64.to_le_bytes());
    }

    #[test]
    fn signatures_are_types() {
        for signature in ["ssa(sv)a(sa(sv))", "a{sv}", "ay", "", "v"] {
            let kinds = Type::parse_all(signature).unwrap();
            let again: String = kinds.iter().map(Type::signature).collect();
            assert_eq!(again, signature);
        }
        for signature in ["a", "(", "()", "{s", "{sv", "z", "(s"] {
            assert_eq!(Type::parse_all(signature), None, "{signature}");
        }
        let deep = "a".repeat(200) + "y";
        assert_eq!(Type::parse_all(&deep), None);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<u8>().prop_map(Value::Byte),
            any::<bool>().prop_map(Value::Bool),
            any::<i16>().prop_map(Value::I16),
            any::<u16>().prop_map(Value::U16),
            any::<i32>().prop_map(Value::I32),
            any::<u32>().prop_map(Value::U32),
            any::<i64>().prop_map(Value::I64),
            any::<u64>().prop_map(Value::U64),
            "[a-z/µ]{0,9}".prop_map(Value::Text),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                inner
                    .clone()
                    .prop_map(|value| Value::Variant(Box::new(value))),
                proptest::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
                (inner, 0..4_usize)
                    .prop_map(|(value, count)| { Value::Array(value.kind(), vec![value; count]) }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_is_read(body in proptest::collection::vec(any_value(), 0..5)) {
            let message = Message { body, ..hello() };
            let bytes = message.encode();
            let start = bytes.first_chunk::<START>().unwrap();
            prop_assert_eq!(Message::length(*start).unwrap(), bytes.len());
            prop_assert_eq!(Message::decode(&bytes).unwrap(), message);
        }

        #[test]
        fn a_spoiled_message_is_an_error_or_another_message(
            body in proptest::collection::vec(any_value(), 0..5),
            spoil in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = Message { body, ..hello() }.encode();
            for (at, byte) in spoil {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = Message::decode(&bytes);
        }
    }
}
