//! The part of a request's target after `?`, read by the rules of dockerd's form helpers.

use crate::error::ApiError;
use serde_json::Value;
use std::collections::BTreeMap;

/// The query's names and values, decoded, in the order of the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a raw query string.
    pub(crate) fn parse(raw: &str) -> Self {
        let pairs = url::form_urlencoded::parse(raw.as_bytes())
            .into_owned()
            .collect();
        Self { pairs }
    }

    /// The first value of `name`; empty when there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.given(name).unwrap_or_default()
    }

    /// The first value of `name`, if it is there at all.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of `name`, in the order of the request.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let given = self.pairs.iter().filter(|(key, _)| key == name);
        given.map(|(_, value)| value.as_str()).collect()
    }

    /// Whether `name` is switched on: everything but nothing, `0`, `no`, `false` and `none` is.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let value = self.text(name).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// The boolean in `name`, by the rules of Go's `strconv.ParseBool`; `false` when it is missing or empty.
    ///
    /// # Errors
    /// 400 in dockerd's words when it is none.
    pub(crate) fn strict_flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name) {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            other => Err(ApiError::bad_request(format!(
                "invalid value for {name}: {other}: strconv.ParseBool: parsing {other:?}: invalid syntax"
            ))),
        }
    }

    /// The whole number in `name`; `None` when it is missing or empty.
    ///
    /// # Errors
    /// In the words of Go's strconv when it is none; dockerd answers such a request with 500.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        parse_int(text)
            .map(Some)
            .map_err(|why| ApiError::internal(format!("strconv.Atoi: parsing {text:?}: {why}")))
    }

    /// Adds values to a filter.
    ///
    /// # Errors
    /// As [`Query::filters`].
    pub(crate) fn add_filters(
        &mut self,
        name: &str,
        values: impl Iterator<Item = String>,
    ) -> Result<(), ApiError> {
        let mut filters = self.filters()?.0;
        let mut values = values.peekable();
        if values.peek().is_some() {
            filters.entry(name.to_owned()).or_default().extend(values);
        }
        self.pairs.retain(|(key, _)| key != "filters");
        if !filters.is_empty() {
            let text = serde_json::json!(filters).to_string();
            self.pairs.push(("filters".to_owned(), text));
        }
        Ok(())
    }

    /// The `filters` parameter.
    ///
    /// # Errors
    /// 400 when it is not one of the two forms that clients send.
    pub(crate) fn filters(&self) -> Result<Filters, ApiError> {
        let text = self.text("filters");
        if text.is_empty() {
            return Ok(Filters::default());
        }
        Filters::parse(text).ok_or_else(|| ApiError::bad_request("invalid filter"))
    }
}

/// A decimal number as Go's `strconv` takes it.
///
/// # Errors
/// Go's reason: `invalid syntax` or `value out of range`.
pub(crate) fn parse_int(text: &str) -> Result<i64, &'static str> {
    text.parse()
        .map_err(|error: std::num::ParseIntError| match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                "value out of range"
            }
            _ => "invalid syntax",
        })
}

/// Filters: for each name the values of which one has to match.
pub(crate) type FilterMap = BTreeMap<String, Vec<String>>;

/// The decoded `filters` parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters(pub(crate) FilterMap);

impl Filters {
    /// Reads `{"name":{"value":true}}` (since API 1.22) or `{"name":["value"]}` (before, and many
    /// libraries today). As in dockerd, what a value is mapped to does not matter.
    fn parse(text: &str) -> Option<Self> {
        let Value::Object(names) = serde_json::from_str(text).ok()? else {
            return None;
        };
        let mut filters = FilterMap::new();
        for (name, values) in names {
            let values = match values {
                Value::Null => Vec::new(),
                Value::Array(values) => values
                    .into_iter()
                    .map(|value| value.as_str().map(str::to_owned))
                    .collect::<Option<_>>()?,
                Value::Object(values) => values
                    .into_iter()
                    .map(|(value, on)| on.as_bool().map(|_| value))
                    .collect::<Option<_>>()?,
                _ => return None,
            };
            filters.insert(name, values);
        }
        Some(Self(filters))
    }

    /// Refuses names that the endpoint does not know.
    ///
    /// # Errors
    /// 400 in dockerd's words.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(ApiError::bad_request(format!("invalid filter '{name}'"))),
            None => Ok(()),
        }
    }

    /// The values of one filter.
    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_as_dockerd_reads_them() {
        for (text, on) in [
            ("x", false),
            ("x=", false),
            ("x=0", false),
            ("x=false", false),
            ("x=False", false),
            ("x=no", false),
            ("x=none", false),
            ("x=%20", false),
            ("x=1", true),
            ("x=true", true),
            ("x=maybe", true),
            ("x=00", true),
            ("y=1", false),
            ("x=1&x=0", true),
        ] {
            assert_eq!(Query::parse(text).flag("x"), on, "{text}");
        }
    }

    #[test]
    fn values_are_percent_decoded() {
        let query = Query::parse("name=a%2Fb+c&t=1&t=2");
        assert_eq!(query.text("name"), "a/b c");
        assert_eq!(query.text("t"), "1", "the first of several counts");
        assert_eq!(query.all("t"), ["1", "2"]);
        assert_eq!(query.given("none"), None);
    }

    #[test]
    fn numbers_fail_in_strconvs_words() {
        let query = Query::parse("t=abc&u=99999999999999999999&v=-1&w=");
        assert_eq!(
            query.integer("t").unwrap_err().message,
            "strconv.Atoi: parsing \"abc\": invalid syntax"
        );
        assert_eq!(
            query.integer("u").unwrap_err().message,
            "strconv.Atoi: parsing \"99999999999999999999\": value out of range"
        );
        assert_eq!(query.integer("v").unwrap(), Some(-1));
        assert_eq!(query.integer("w").unwrap(), None);
    }

    #[test]
    fn filters_come_in_two_forms() {
        let filters = |text: &str| Filters::parse(text).map(|filters| filters.0);
        let expected = FilterMap::from([("label".to_owned(), vec!["a=b".to_owned()])]);
        assert_eq!(filters(r#"{"label":["a=b"]}"#), Some(expected.clone()));
        assert_eq!(filters(r#"{"label":{"a=b":true}}"#), Some(expected));
        let unset = filters(r#"{"label":{"a=b":true,"c":false}}"#).unwrap();
        assert_eq!(unset["label"], ["a=b", "c"]);
        for bad in [
            "xx",
            "[]",
            "3",
            r#"{"label":"a"}"#,
            r#"{"label":[1]}"#,
            r#"{"l":{"a":1}}"#,
        ] {
            assert_eq!(filters(bad), None, "{bad}");
        }
    }

    #[test]
    fn unknown_filters_are_refused() {
        let filters = Filters::parse(r#"{"nope":["a"]}"#).unwrap();
        assert_eq!(
            filters.only(&["label"]).unwrap_err().message,
            "invalid filter 'nope'"
        );
        assert!(filters.only(&["nope"]).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_query_makes_it_panic(raw in ".*") {
            let query = Query::parse(&raw);
            let _ = (query.flag("a"), query.integer("a"), query.filters());
        }
    }
}
