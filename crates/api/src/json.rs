//! Decoding and encoding by Go's rules, which every Docker client relies on.
//!
//! serde_json is stricter than Go's `encoding/json` in two ways that real clients notice: Go takes
//! `null` for the zero value of any type, and finds a struct's field whatever the case of the
//! member's name. [`from_slice`] decodes into a [`serde_json::Value`] and walks it with a
//! deserializer that does both, so that the wire types need no attribute per field.

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, Expected, IntoDeserializer, Unexpected, Visitor,
};
use serde::{Serialize, forward_to_deserialize_any};
use serde_json::{Map, Value};
use std::{fmt, io};

/// Why a document was not understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON at all.
    #[error("invalid JSON")]
    Syntax(#[source] serde_json::Error),
    /// A member has a type that its field cannot take.
    #[error("json: {0}")]
    Type(#[from] Mismatch),
}

/// A value of the wrong type, with the path to it. Told in the words of Go's decoder.
#[derive(Debug)]
pub struct Mismatch {
    path: Vec<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// What was found, and the Go type that was wanted.
    Type {
        found: String,
        wanted: String,
    },
    Other(String),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
        let path = path.join(".");
        match &self.what {
            What::Type { found, wanted } if path.is_empty() => {
                write!(f, "cannot unmarshal {found} into Go value of type {wanted}")
            }
            What::Type { found, wanted } => write!(
                f,
                "cannot unmarshal {found} into Go struct field .{path} of type {wanted}"
            ),
            What::Other(message) if path.is_empty() => f.write_str(message),
            What::Other(message) => write!(f, "field {path}: {message}"),
        }
    }
}

impl std::error::Error for Mismatch {}

impl serde::de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            path: Vec::new(),
            what: What::Other(message.to_string()),
        }
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self {
            path: Vec::new(),
            what: What::Type {
                found: go_value(found),
                wanted: go_type(&wanted.to_string()),
            },
        }
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unsigned(number) => format!("number {number}"),
            Unexpected::Signed(number) => format!("number {number}"),
            other => go_value(other),
        };
        Self {
            path: Vec::new(),
            what: What::Type {
                found,
                wanted: go_type(&wanted.to_string()),
            },
        }
    }
}

/// How Go's decoder calls a JSON value.
fn go_value(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(_) => "bool".to_owned(),
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "number".to_owned(),
        Unexpected::Float(number) => format!("number {number}"),
        Unexpected::Str(_) | Unexpected::Char(_) => "string".to_owned(),
        Unexpected::Seq => "array".to_owned(),
        Unexpected::Map => "object".to_owned(),
        other => other.to_string(),
    }
}

/// The Go type behind what serde's visitors say they expect. The elements of lists and maps are not
/// known here; in this API they are strings nearly everywhere.
fn go_type(wanted: &str) -> String {
    let known = match wanted {
        "i8" => "int8",
        "i16" => "int16",
        "i32" => "int32",
        "i64" => "int64",
        "u8" => "uint8",
        "u16" => "uint16",
        "u32" => "uint32",
        "u64" => "uint64",
        "f32" => "float32",
        "f64" => "float64",
        "a boolean" => "bool",
        "a string" | "a string or a list of strings" => "string",
        "a sequence" => "[]string",
        "a map" => "map[string]string",
        other => other.strip_prefix("struct ").unwrap_or(other),
    };
    known.to_owned()
}

impl Mismatch {
    fn within(mut self, member: &str) -> Self {
        self.path.push(member.to_owned());
        self
    }
}

/// Decodes one JSON document by Go's rules.
///
/// # Errors
/// [`Error::Syntax`] when `bytes` is not one JSON document, [`Error::Type`] when it does not fit `T`.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let value: Value = serde_json::from_slice(bytes).map_err(Error::Syntax)?;
    Ok(from_value(value)?)
}

/// Decodes a parsed document by Go's rules.
///
/// # Errors
/// [`Mismatch`] when the document does not fit `T`.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Mismatch> {
    T::deserialize(Lenient(value))
}

/// Encodes as Go does by default: the characters that mean something to HTML are escaped. dockerd
/// writes events and progress messages so, and every other reply without (plain serde_json).
///
/// # Errors
/// Those of the value's own `Serialize`; the wire types have none.
pub fn to_vec_escaped<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoText);
    value.serialize(&mut serializer)?;
    Ok(out)
}

struct GoText;

impl serde_json::ser::Formatter for GoText {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut after = rest[at..].chars();
            if let Some(special) = after.next() {
                write!(writer, "\\u{:04x}", u32::from(special))?;
            }
            rest = after.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// A value that becomes whatever its field wants it to be, as far as Go would let it.
struct Lenient(Value);

impl<'de> IntoDeserializer<'de, Mismatch> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Lenient {
    fn strict<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Array(items) => Lenient(Value::Array(items)).visit_items(visitor),
            Value::Object(members) => Lenient::visit_members(members, &[], visitor),
            Value::String(text) => visitor.visit_string(text),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Null => visitor.visit_unit(),
            Value::Number(number) => {
                if let Some(value) = number.as_i64() {
                    visitor.visit_i64(value)
                } else if let Some(value) = number.as_u64() {
                    visitor.visit_u64(value)
                } else if let Some(value) = number.as_f64() {
                    visitor.visit_f64(value)
                } else {
                    Err(Mismatch::invalid_type(
                        Unexpected::Other("number"),
                        &visitor,
                    ))
                }
            }
        }
    }

    fn visit_items<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let Value::Array(items) = self.0 else {
            return self.strict(visitor);
        };
        let mut items = SeqDeserializer::new(items.into_iter().map(Lenient));
        let value = visitor.visit_seq(&mut items)?;
        items.end()?;
        Ok(value)
    }

    fn visit_members<'de, V: Visitor<'de>>(
        members: Map<String, Value>,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        // Of two spellings of one field Go lets the later win; serde would call it a duplicate.
        let mut named: Vec<(String, Value)> = Vec::with_capacity(members.len());
        for (name, value) in members {
            let name = canonical(&name, fields).map_or(name, str::to_owned);
            match named.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = value,
                None => named.push((name, value)),
            }
        }
        visitor.visit_map(Members {
            rest: named.into_iter(),
            value: None,
        })
    }
}

/// The field that Go would store a member of this name in, when it is not spelt exactly so.
fn canonical(name: &str, fields: &'static [&'static str]) -> Option<&'static str> {
    if fields.contains(&name) {
        return None;
    }
    fields
        .iter()
        .find(|field| field.eq_ignore_ascii_case(name))
        .copied()
}

/// Hands out members one by one and puts a member's name on the errors below it.
struct Members {
    rest: std::vec::IntoIter<(String, Value)>,
    value: Option<(String, Value)>,
}

impl<'de> serde::de::MapAccess<'de> for Members {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mismatch> {
        let Some((name, value)) = self.rest.next() else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, Mismatch> = name.as_str().into_deserializer();
        let key = seed.deserialize(key)?;
        self.value = Some((name, value));
        Ok(Some(key))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Mismatch> {
        let (name, value) = self
            .value
            .take()
            .ok_or_else(|| Mismatch::custom("value asked for before its key"))?;
        seed.deserialize(Lenient(value))
            .map_err(|error| error.within(&name))
    }
}

/// Declares `deserialize_x` methods that answer `null` with a zero.
macro_rules! zero_for_null {
    ($($method:ident => $visit:ident($zero:expr),)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
            match self.0 {
                Value::Null => visitor.$visit($zero),
                _ => self.strict(visitor),
            }
        }
    )*};
}

impl<'de> serde::Deserializer<'de> for Lenient {
    type Error = Mismatch;

    zero_for_null! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i8(0),
        deserialize_i16 => visit_i16(0),
        deserialize_i32 => visit_i32(0),
        deserialize_i64 => visit_i64(0),
        deserialize_u8 => visit_u8(0),
        deserialize_u16 => visit_u16(0),
        deserialize_u32 => visit_u32(0),
        deserialize_u64 => visit_u64(0),
        deserialize_f32 => visit_f32(0.0),
        deserialize_f64 => visit_f64(0.0),
        deserialize_str => visit_str(""),
        deserialize_string => visit_str(""),
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.strict(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => Lenient(Value::Array(Vec::new())).visit_items(visitor),
            _ => self.visit_items(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        // A Go array: too few elements leave zeros, too many are dropped.
        let mut items = match self.0 {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            _ => return self.strict(visitor),
        };
        items.resize(len, Value::Null);
        Lenient(Value::Array(items)).visit_items(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_map(MapDeserializer::<
                std::iter::Empty<(String, Lenient)>,
                Mismatch,
            >::new(std::iter::empty())),
            _ => self.strict(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => Lenient::visit_members(Map::new(), fields, visitor),
            Value::Object(members) => Lenient::visit_members(members, fields, visitor),
            // serde would fill a struct from a list by position; Go does not.
            Value::Array(_) => Err(Mismatch::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.strict(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::String(variant) => visitor.visit_enum(variant.into_deserializer()),
            // A variant with data; only Hull's own types have such.
            object @ Value::Object(_) => {
                let read = serde::Deserializer::deserialize_enum(object, name, variants, visitor);
                read.map_err(Mismatch::custom)
            }
            _ => self.strict(visitor),
        }
    }

    forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple_struct identifier ignored_any i128 u128
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Inner {
        name: String,
        count: i64,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Outer {
        text: String,
        flag: bool,
        list: Vec<String>,
        maybe: Option<Vec<String>>,
        map: BTreeMap<String, Inner>,
        inner: Inner,
        size: [u32; 2],
    }

    #[test]
    fn null_is_zero_everywhere() {
        let outer: Outer = from_slice(
            br#"{"Text":null,"Flag":null,"List":null,"Maybe":null,"Map":{"a":null},"Inner":null,"Size":null}"#,
        )
        .unwrap();
        assert_eq!(outer.map.get("a"), Some(&Inner::default()));
        assert_eq!(
            Outer {
                map: BTreeMap::new(),
                ..outer
            },
            Outer::default()
        );
        assert_eq!(from_slice::<Outer>(b"null").unwrap(), Outer::default());
    }

    #[test]
    fn names_match_in_any_case_and_strangers_are_ignored() {
        let outer: Outer = from_slice(
            br#"{"text":"a","FLAG":true,"other":[1,{}],"inner":{"NAME":"n","count":3},"map":{"Name":{"name":"m"}}}"#,
        )
        .unwrap();
        assert_eq!((outer.text.as_str(), outer.flag), ("a", true));
        assert_eq!((outer.inner.name.as_str(), outer.inner.count), ("n", 3));
        // The keys of a map are data: their case stays.
        assert_eq!(outer.map["Name"].name, "m");
    }

    #[test]
    fn wrong_types_name_the_field() {
        for (text, want) in [
            (
                r#"{"Text":1}"#,
                "json: cannot unmarshal number into Go struct field .Text of type string",
            ),
            (
                r#"{"Inner":{"Count":"x"}}"#,
                "json: cannot unmarshal string into Go struct field .Inner.Count of type int64",
            ),
            (
                r#"{"Inner":{"Count":1.5}}"#,
                "number 1.5 into Go struct field .Inner.Count of type int64",
            ),
            (
                r#"{"Size":[-1]}"#,
                "number -1 into Go struct field .Size of type uint32",
            ),
            (
                r#"{"Flag":"yes"}"#,
                "string into Go struct field .Flag of type bool",
            ),
            (
                r#"{"Map":[]}"#,
                "array into Go struct field .Map of type map[string]string",
            ),
            (r#"[]"#, "array into Go value of type Outer"),
            (
                r#"{"Inner":[1]}"#,
                "array into Go struct field .Inner of type Inner",
            ),
            (
                r#"{"List":"x"}"#,
                "string into Go struct field .List of type []string",
            ),
        ] {
            let error = from_slice::<Outer>(text.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains(want), "{error}");
        }
        assert!(matches!(
            from_slice::<Outer>(b"{").unwrap_err(),
            Error::Syntax(_)
        ));
    }

    #[test]
    fn html_is_escaped_as_go_does() {
        assert_eq!(
            to_vec_escaped("a<b>&&\u{2028}\"é").unwrap(),
            "\"a\\u003cb\\u003e\\u0026\\u0026\\u2028\\\"é\"".as_bytes()
        );
    }

    #[test]
    fn arrays_of_fixed_length_are_filled_or_cut() {
        let outer: Outer = from_slice(br#"{"Size":[7]}"#).unwrap();
        assert_eq!(outer.size, [7, 0]);
        let outer: Outer = from_slice(br#"{"Size":[7,8,9]}"#).unwrap();
        assert_eq!(outer.size, [7, 8]);
    }
}
