//! What templates are filled in with.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;

/// JSON that keeps the order of members, and records of commands such as `ps`.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// JSON's `null`.
    Null,
    /// What is not there, where that is no error.
    Missing,
    /// `null` where Go has an empty list or map: printed as such, `null` again as JSON.
    NullOf(Empty),
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Data>),
    /// An object of the API; its members keep the daemon's order.
    Object(Vec<(String, Data)>),
    /// An object that is a Go struct to Docker: as one for all that asks for its members, but printed otherwise.
    Struct(Vec<(String, Data)>, Shape),
    /// A row of a table: a Go struct with methods for fields.
    Record(Record),
}

/// How Go prints a struct: the names of its fields in their order, and what stands for one that the JSON leaves out.
pub type Shape = &'static [(&'static str, &'static str)];

/// What `null` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// A list.
    List,
    /// A map.
    Map,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The Go type that an unknown field is said to be missing in.
    pub type_name: &'static str,
    /// In alphabetical order, as `json` prints them.
    pub fields: Vec<(&'static str, Data)>,
    /// For the method `.Label "name"`.
    pub labels: Vec<(String, String)>,
}

impl Record {
    /// A record of `fields`.
    #[must_use]
    pub fn new(type_name: &'static str, mut fields: Vec<(&'static str, Data)>) -> Self {
        fields.sort_by_key(|(name, _)| *name);
        Self {
            type_name,
            fields,
            labels: Vec::new(),
        }
    }

    /// With labels to ask for.
    #[must_use]
    pub fn labels<'a>(
        mut self,
        labels: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Self {
        self.labels = labels
            .into_iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        self
    }
}

impl Data {
    /// Anything that serializes.
    pub fn of<T: Serialize>(value: &T) -> Self {
        serde_json::to_string(value)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or(Self::Null)
    }

    /// Go's truth: not zero, not empty.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::Null | Self::Missing | Self::NullOf(_) => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Object(members) => !members.is_empty(),
            Self::Struct(..) | Self::Record(_) => true,
        }
    }

    /// As the function `json` prints it. Rows come from Go's own marshaller, which escapes HTML.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Data always serializes.
        let text = serde_json::to_string(self).unwrap_or_default();
        match self {
            // These characters stand only in strings.
            Self::Record(_) => text
                .replace('<', "\\u003c")
                .replace('>', "\\u003e")
                .replace('&', "\\u0026"),
            _ => text,
        }
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Go's `%v`.
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<nil>"),
            Self::Missing => f.write_str("<no value>"),
            Self::NullOf(Empty::List) => f.write_str("[]"),
            Self::NullOf(Empty::Map) => f.write_str("map[]"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => f.write_str(&crate::printf::shortest(*value, 21)),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let space = if index > 0 { " " } else { "" };
                    write!(f, "{space}{item}")?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(name, _)| name);
                f.write_str("map[")?;
                for (index, (name, value)) in members.into_iter().enumerate() {
                    let space = if index > 0 { " " } else { "" };
                    write!(f, "{space}{name}:{value}")?;
                }
                f.write_str("]")
            }
            Self::Struct(members, shape) => {
                f.write_str("{")?;
                for (index, (name, zero)) in shape.iter().enumerate() {
                    let space = if index > 0 { " " } else { "" };
                    match members.iter().find(|(known, _)| known == name) {
                        Some((_, value)) => write!(f, "{space}{value}")?,
                        None => write!(f, "{space}{zero}")?,
                    }
                }
                f.write_str("}")
            }
            Self::Record(_) => f.write_str(&self.to_json()),
        }
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null | Self::Missing | Self::NullOf(_) => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(members) | Self::Struct(members, _) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Self::Record(record) => {
                serializer.collect_map(record.fields.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON")
            }

            fn visit_unit<E>(self) -> Result<Data, E> {
                Ok(Data::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Data, E> {
                Ok(Data::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Data, E> {
                Ok(Data::Int(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Data, E> {
                Ok(i64::try_from(value).map_or(Data::Text(value.to_string()), Data::Int))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Data, E> {
                Ok(Data::Float(value))
            }

            fn visit_str<E>(self, text: &str) -> Result<Data, E> {
                Ok(Data::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Data, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Data::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Data, A::Error> {
                let mut object = Vec::new();
                while let Some(member) = members.next_entry()? {
                    object.push(member);
                }
                Ok(Data::Object(object))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
