//! Building the path and query of a request.

use std::fmt::Write as _;

/// A path with its query, percent-encoded as it grows.
#[derive(Clone, Debug)]
pub struct Target {
    text: String,
    has_query: bool,
}

impl Target {
    /// Starts with a path of our own making, such as `/containers/json`.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            text: path.to_owned(),
            has_query: false,
        }
    }

    /// Joins path segments; each is encoded but for slashes, which image names contain.
    #[must_use]
    pub fn segments(parts: &[&str]) -> Self {
        let mut text = String::new();
        for part in parts {
            text.push('/');
            encode(part, b"/:", &mut text);
        }
        Self {
            text,
            has_query: false,
        }
    }

    /// Adds `name=value`.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(name);
        self.text.push('=');
        encode(value, b"", &mut self.text);
        self
    }

    /// Adds `name=value` when there is a value that is not empty.
    #[must_use]
    pub fn query_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) if !value.is_empty() => self.query(name, value),
            _ => self,
        }
    }

    /// Adds `name=1` when `set`.
    #[must_use]
    pub fn flag(self, name: &str, set: bool) -> Self {
        if set { self.query(name, "1") } else { self }
    }

    /// Adds Docker's `filters`: a JSON object of lists.
    #[must_use]
    pub fn filters(self, filters: &std::collections::BTreeMap<String, Vec<String>>) -> Self {
        if filters.is_empty() {
            return self;
        }
        // The wire form is a set: {"status":{"running":true}}.
        let sets: serde_json::Map<String, serde_json::Value> = filters
            .iter()
            .map(|(name, values)| {
                let set = values
                    .iter()
                    .map(|value| (value.clone(), serde_json::Value::Bool(true)))
                    .collect();
                (name.clone(), serde_json::Value::Object(set))
            })
            .collect();
        self.query("filters", &serde_json::Value::Object(sets).to_string())
    }

    /// The finished text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn encode(text: &str, plain: &[u8], out: &mut String) {
    for byte in text.bytes() {
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if unreserved || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_encoded() {
        let target = Target::segments(&["images", "127.0.0.1:5000/a b?", "json"])
            .query("x", "a&b=c d/ü")
            .flag("all", true)
            .flag("none", false)
            .query_some("empty", Some(""))
            .query_some("some", Some("1"));
        assert_eq!(
            target.as_str(),
            "/images/127.0.0.1:5000/a%20b%3F/json?x=a%26b%3Dc%20d%2F%C3%BC&all=1&some=1"
        );
        let filters = [("status".to_owned(), vec!["running".to_owned()])].into();
        assert_eq!(
            Target::new("/containers/json").filters(&filters).as_str(),
            "/containers/json?filters=%7B%22status%22%3A%7B%22running%22%3Atrue%7D%7D"
        );
    }
}
