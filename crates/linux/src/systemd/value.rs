//! Values and their marshalled form (D-Bus specification, "Marshalling (Wire Format)").

use super::Error;

/// The most that one array, and so one message, may hold (the specification allows 64 MiB).
const MAX_BYTES: usize = 1 << 20;

/// How deep containers may lie in each other (the specification allows 32 arrays and 32 structs).
const MAX_DEPTH: usize = 32;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `y`.
    Byte(u8),
    /// `b`.
    Bool(bool),
    /// `n`.
    I16(i16),
    /// `q`.
    U16(u16),
    /// `i`.
    I32(i32),
    /// `u`.
    U32(u32),
    /// `x`.
    I64(i64),
    /// `t`.
    U64(u64),
    /// `d`.
    Double(f64),
    /// `s`.
    Text(String),
    /// `o`.
    Path(String),
    /// `g`.
    Signature(String),
    /// `v`.
    Variant(Box<Value>),
    /// `a`, with the type of its members.
    Array(Type, Vec<Value>),
    /// `( )`.
    Struct(Vec<Value>),
    /// `{ }`, in arrays only.
    Entry(Box<(Value, Value)>),
}

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// One letter of `ybnqiuxtdsogv`.
    Plain(char),
    /// `a` and the type of its members.
    Array(Box<Type>),
    /// `( )`.
    Struct(Vec<Type>),
    /// `{ }`.
    Entry(Box<(Type, Type)>),
}

impl Type {
    /// Parses a signature: any number of types.
    #[must_use]
    pub fn parse_all(signature: &str) -> Option<Vec<Self>> {
        let mut rest = signature.as_bytes();
        let mut types = Vec::new();
        while !rest.is_empty() {
            types.push(Self::parse(&mut rest, 0)?);
        }
        Some(types)
    }

    fn parse(rest: &mut &[u8], depth: usize) -> Option<Self> {
        let (first, behind) = rest.split_first()?;
        *rest = behind;
        if depth > MAX_DEPTH {
            return None;
        }
        match first {
            b'a' => Some(Self::Array(Box::new(Self::parse(rest, depth + 1)?))),
            b'(' => {
                let mut members = Vec::new();
                while *rest.first()? != b')' {
                    members.push(Self::parse(rest, depth + 1)?);
                }
                *rest = &rest[1..];
                (!members.is_empty()).then_some(Self::Struct(members))
            }
            b'{' => {
                let (key, value) = (Self::parse(rest, depth + 1)?, Self::parse(rest, depth + 1)?);
                let (end, behind) = rest.split_first()?;
                *rest = behind;
                (*end == b'}').then(|| Self::Entry(Box::new((key, value))))
            }
            letter if b"ybnqiuxtdsogv".contains(letter) => Some(Self::Plain(char::from(*letter))),
            _ => None,
        }
    }

    /// The signature of the type.
    #[must_use]
    pub fn signature(&self) -> String {
        match self {
            Self::Plain(letter) => letter.to_string(),
            Self::Array(member) => format!("a{}", member.signature()),
            Self::Struct(members) => {
                let members: String = members.iter().map(Self::signature).collect();
                format!("({members})")
            }
            Self::Entry(pair) => format!("{{{}{}}}", pair.0.signature(), pair.1.signature()),
        }
    }

    fn alignment(&self) -> usize {
        match self {
            Self::Plain('y' | 'g' | 'v') => 1,
            Self::Plain('n' | 'q') => 2,
            Self::Plain('x' | 't' | 'd') | Self::Struct(_) | Self::Entry(_) => 8,
            Self::Plain(_) | Self::Array(_) => 4,
        }
    }
}

impl Value {
    /// Text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The value's type.
    #[must_use]
    pub fn kind(&self) -> Type {
        Type::Plain(match self {
            Self::Byte(_) => 'y',
            Self::Bool(_) => 'b',
            Self::I16(_) => 'n',
            Self::U16(_) => 'q',
            Self::I32(_) => 'i',
            Self::U32(_) => 'u',
            Self::I64(_) => 'x',
            Self::U64(_) => 't',
            Self::Double(_) => 'd',
            Self::Text(_) => 's',
            Self::Path(_) => 'o',
            Self::Signature(_) => 'g',
            Self::Variant(_) => 'v',
            Self::Array(member, _) => return Type::Array(Box::new(member.clone())),
            Self::Struct(members) => {
                return Type::Struct(members.iter().map(Self::kind).collect());
            }
            Self::Entry(pair) => {
                return Type::Entry(Box::new((pair.0.kind(), pair.1.kind())));
            }
        })
    }

    /// Appends the value; positions count from the start of `out`, which must be the message's.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        pad(out, self.kind().alignment());
        match self {
            Self::Byte(value) => out.push(*value),
            Self::Bool(value) => out.extend(u32::from(*value).to_le_bytes()),
            Self::I16(value) => out.extend(value.to_le_bytes()),
            Self::U16(value) => out.extend(value.to_le_bytes()),
            Self::I32(value) => out.extend(value.to_le_bytes()),
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::I64(value) => out.extend(value.to_le_bytes()),
            Self::U64(value) => out.extend(value.to_le_bytes()),
            Self::Double(value) => out.extend(value.to_le_bytes()),
            Self::Text(text) | Self::Path(text) => {
                out.extend(length(text.len()));
                out.extend(text.as_bytes());
                out.push(0);
            }
            Self::Signature(text) => encode_signature(text, out),
            Self::Variant(value) => {
                encode_signature(&value.kind().signature(), out);
                value.encode(out);
            }
            Self::Array(member, values) => {
                let at = out.len();
                out.extend([0; 4]);
                pad(out, member.alignment());
                let start = out.len();
                values.iter().for_each(|value| value.encode(out));
                let size = length(out.len() - start);
                out[at..at + 4].copy_from_slice(&size);
            }
            Self::Struct(members) => members.iter().for_each(|member| member.encode(out)),
            Self::Entry(pair) => {
                pair.0.encode(out);
                pair.1.encode(out);
            }
        }
    }
}

/// What is longer than its length can say is no message of ours: the other side will refuse it.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn encode_signature(text: &str, out: &mut Vec<u8>) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend(text.as_bytes());
    out.push(0);
}

pub(super) fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}

/// Reads values from a message.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize, big_endian: bool) -> Self {
        Self {
            bytes,
            at,
            big_endian,
        }
    }

    pub(super) fn align(&mut self, alignment: usize) {
        self.at = self.at.next_multiple_of(alignment);
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(Error::Protocol("a message is shorter than it says"))?;
        self.at += count;
        Ok(taken)
    }

    /// A number of `N` bytes at its place, in the order of this machine's `from_le_bytes`.
    fn number<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.align(N);
        let mut number = [0; N];
        number.copy_from_slice(self.take(N)?);
        if self.big_endian {
            number.reverse();
        }
        Ok(number)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.number().map(u32::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Result<String, Error> {
        let text = self.take(length)?.to_vec();
        self.take(1)?;
        String::from_utf8(text).map_err(|_| Error::Protocol("a text is not UTF-8"))
    }

    fn signature(&mut self) -> Result<String, Error> {
        let length = self.take(1)?[0];
        self.text(length.into())
    }

    pub(super) fn value(&mut self, kind: &Type, depth: usize) -> Result<Value, Error> {
        if depth > 2 * MAX_DEPTH {
            return Err(Error::Protocol("a value is too deep"));
        }
        self.align(kind.alignment());
        match kind {
            Type::Plain(letter) => self.plain(*letter, depth),
            Type::Array(member) => {
                let length = self.u32()? as usize;
                if length > MAX_BYTES {
                    return Err(Error::Protocol("an array is too long"));
                }
                self.align(member.alignment());
                let end = self.at + length;
                let mut values = Vec::new();
                while self.at < end {
                    values.push(self.value(member, depth + 1)?);
                }
                Ok(Value::Array((**member).clone(), values))
            }
            Type::Struct(members) => {
                let members = members.iter().map(|kind| self.value(kind, depth + 1));
                Ok(Value::Struct(members.collect::<Result<_, _>>()?))
            }
            Type::Entry(pair) => {
                let key = self.value(&pair.0, depth + 1)?;
                let value = self.value(&pair.1, depth + 1)?;
                Ok(Value::Entry(Box::new((key, value))))
            }
        }
    }

    fn plain(&mut self, letter: char, depth: usize) -> Result<Value, Error> {
        Ok(match letter {
            'y' => Value::Byte(self.take(1)?[0]),
            'b' => Value::Bool(self.u32()? != 0),
            'n' => Value::I16(i16::from_le_bytes(self.number()?)),
            'q' => Value::U16(u16::from_le_bytes(self.number()?)),
            'i' => Value::I32(i32::from_le_bytes(self.number()?)),
            'u' => Value::U32(self.u32()?),
            'x' => Value::I64(i64::from_le_bytes(self.number()?)),
            't' => Value::U64(u64::from_le_bytes(self.number()?)),
            'd' => Value::Double(f64::from_le_bytes(self.number()?)),
            's' | 'o' => {
                let length = self.u32()? as usize;
                let text = self.text(length)?;
                if letter == 's' {
                    Value::Text(text)
                } else {
                    Value::Path(text)
                }
            }
            'g' => Value::Signature(self.signature()?),
            _ => {
                let signature = self.signature()?;
                let kinds = Type::parse_all(&signature);
                let Some([kind]) = kinds.as_deref() else {
                    return Err(Error::Protocol("a variant is not of one type"));
                };
                Value::Variant(Box::new(self.value(kind, depth + 1)?))
            }
        })
    }
}
