//! Parser of `WWW-Authenticate` (RFC 9110, 11.6.1).

use std::collections::BTreeMap;

/// One challenge: how a server wants to be authenticated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme in lower case: `bearer`, `basic`, …
    pub scheme: String,
    /// The parameters, names in lower case.
    pub parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// A parameter that is not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// Reads the challenges of one header value; several may share a line, separated by commas as their
/// parameters are. What does not fit the grammar ends the reading: what was read before counts.
#[must_use]
pub fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut cursor = Cursor { rest: header };
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        cursor.skip(|c| c == ',' || c.is_ascii_whitespace());
        let Some(word) = cursor.token() else {
            return challenges;
        };
        cursor.skip(|c| c == ' ' || c == '\t');
        if !cursor.eat('=') {
            challenges.push(Challenge {
                scheme: word.to_ascii_lowercase(),
                parameters: BTreeMap::new(),
            });
            continue;
        }
        cursor.skip(|c| c == ' ' || c == '\t');
        let (Some(value), Some(challenge)) = (cursor.value(), challenges.last_mut()) else {
            return challenges;
        };
        challenge
            .parameters
            .entry(word.to_ascii_lowercase())
            .or_insert(value);
    }
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(skipped);
    }

    fn eat(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self
            .rest
            .find(|c: char| !is_token(c))
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token or a quoted string with its escapes undone.
    fn value(&mut self) -> Option<String> {
        if !self.eat('"') {
            return self.token().map(str::to_owned);
        }
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                '\\' => text.push(characters.next()?.1),
                other => text.push(other),
            }
        }
        None
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn registries_challenges_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull,push""#;
        let read = parse_challenges(hub);
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].scheme, "bearer");
        assert_eq!(read[0].get("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(read[0].get("scope"), Some("repository:library/a:pull,push"));

        let both = parse_challenges(r#"Basic realm="a \"b\", c" , BEARER Realm=x"#);
        assert_eq!(both[0].get("realm"), Some(r#"a "b", c"#));
        assert_eq!(
            (both[1].scheme.as_str(), both[1].get("realm")),
            ("bearer", Some("x"))
        );
        assert_eq!(parse_challenges("Negotiate").len(), 1);
        assert!(parse_challenges("=").is_empty());
        assert!(
            parse_challenges(r#"Bearer realm="open"#)[0]
                .parameters
                .is_empty()
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in any::<String>()) {
            let _ = parse_challenges(&text);
        }

        #[test]
        fn what_is_written_is_read_back(
            wanted in proptest::collection::vec(
                ("[a-z]{1,8}", proptest::collection::btree_map("[a-z]{1,8}", "[ -~]{0,20}", 0..4)),
                0..4,
            )
        ) {
            let mut header = String::new();
            for (scheme, parameters) in &wanted {
                if !header.is_empty() {
                    header.push_str(", ");
                }
                header.push_str(scheme);
                let mut separator = ' ';
                for (name, value) in parameters {
                    let quoted = value.replace('\\', r"\\").replace('"', "\\\"");
                    header.push(separator);
                    header.push_str(&format!("{name}=\"{quoted}\""));
                    separator = ',';
                }
            }
            let expected: Vec<_> = wanted
                .into_iter()
                .map(|(scheme, parameters)| Challenge { scheme, parameters })
                .collect();
            prop_assert_eq!(parse_challenges(&header), expected);
        }
    }
}
