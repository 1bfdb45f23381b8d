//! JSON read as strictly as a policy must be: a key that stands twice or that nobody knows is an error,
//! because a misspelt rule would otherwise be a rule that is not there.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// A JSON value whose objects have no key twice.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
    /// A number or truth value: policies have neither.
    Other,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((key, value)) = members.next_entry::<String, Json>()? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(format!("duplicate key {key:?}")));
            }
            object.insert(key, value);
        }
        Ok(Json::Object(object))
    }
}

/// Why a document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub(super) String);

impl Invalid {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same error with the place where it happened before it.
    pub(super) fn within(self, place: &str) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

/// Reads a whole document.
pub(super) fn parse(bytes: &[u8]) -> Result<Json, Invalid> {
    serde_json::from_slice(bytes).map_err(|error| Invalid::new(format!("invalid JSON: {error}")))
}

impl Json {
    pub(super) fn text(self) -> Result<String, Invalid> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(Invalid::new("expected a string")),
        }
    }

    pub(super) fn list(self) -> Result<Vec<Json>, Invalid> {
        match self {
            Self::List(list) => Ok(list),
            _ => Err(Invalid::new("expected a list")),
        }
    }

    pub(super) fn object(self) -> Result<BTreeMap<String, Json>, Invalid> {
        match self {
            Self::Object(members) => Ok(members),
            _ => Err(Invalid::new("expected an object")),
        }
    }

    pub(super) fn fields(self) -> Result<Fields, Invalid> {
        self.object().map(Fields)
    }
}

/// An object whose members are taken one by one; what is left over at the end is an error.
pub(super) struct Fields(BTreeMap<String, Json>);

impl Fields {
    pub(super) fn optional(&mut self, key: &str) -> Option<Json> {
        self.0.remove(key)
    }

    pub(super) fn required(&mut self, key: &str) -> Result<Json, Invalid> {
        self.optional(key)
            .ok_or_else(|| Invalid::new(format!("the key {key:?} is missing")))
    }

    /// A member that is a string.
    pub(super) fn text(&mut self, key: &str) -> Result<String, Invalid> {
        self.required(key)?.text().map_err(|e| e.within(key))
    }

    /// A member that is a string or absent.
    pub(super) fn optional_text(&mut self, key: &str) -> Result<Option<String>, Invalid> {
        // null and "" are Go's for absent.
        match self.optional(key) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => {
                let text = value.text().map_err(|e| e.within(key))?;
                Ok(Some(text).filter(|text| !text.is_empty()))
            }
        }
    }

    /// A member that is a list of strings, not an empty one, or absent.
    pub(super) fn optional_texts(&mut self, key: &str) -> Result<Option<Vec<String>>, Invalid> {
        let value = match self.optional(key) {
            None | Some(Json::Null) => return Ok(None),
            Some(value) => value,
        };
        let texts = value
            .list()
            .and_then(|list| {
                list.into_iter()
                    .map(Json::text)
                    .collect::<Result<Vec<_>, _>>()
            })
            .map_err(|e| e.within(key))?;
        if texts.is_empty() {
            return Err(Invalid::new("the list is empty").within(key));
        }
        Ok(Some(texts))
    }

    pub(super) fn finish(self) -> Result<(), Invalid> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(key) => Err(Invalid::new(format!("unknown key {key:?}"))),
        }
    }
}
