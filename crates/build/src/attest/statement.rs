//! Statements: what is said, and of what (in-toto attestation framework, version 0.1).

use super::Attestation;
use hull_spec::{Digest, Platform, Reference};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// An in-toto statement, version 0.1.
#[derive(Serialize)]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    #[serde(rename = "predicateType")]
    predicate_type: &'a str,
    subject: Vec<Subject>,
    predicate: &'a Value,
}

#[derive(Serialize)]
struct Subject {
    name: String,
    digest: BTreeMap<&'static str, String>,
}

/// What is said, with the image that it is said about.
///
/// # Panics
/// Never: a statement is JSON.
#[must_use]
pub fn statement(
    attestation: &Attestation,
    (image, platform): (&Digest, &Platform),
    names: &[Reference],
) -> Vec<u8> {
    let mut subjects: Vec<Subject> = names
        .iter()
        .map(|name| subject(package_url(name, Some(platform)), image))
        .collect();
    if subjects.is_empty() {
        subjects.push(subject("_".to_owned(), image));
    }
    let statement = said(attestation, subjects);
    serde_json::to_vec(&statement).expect("a statement is JSON")
}

/// What is said, with the files that it is said about, by their paths; for people to read.
///
/// # Panics
/// Never: a statement is JSON.
#[must_use]
pub fn statement_of_files(attestation: &Attestation, files: &[(String, Digest)]) -> Vec<u8> {
    let subjects = files
        .iter()
        .map(|(path, digest)| subject(path.clone(), digest));
    let statement = said(attestation, subjects.collect());
    serde_json::to_vec_pretty(&statement).expect("a statement is JSON")
}

fn subject(name: String, digest: &Digest) -> Subject {
    Subject {
        name,
        digest: BTreeMap::from([("sha256", digest.hex().to_owned())]),
    }
}

fn said(attestation: &Attestation, subject: Vec<Subject>) -> Statement<'_> {
    Statement {
        kind: "https://in-toto.io/Statement/v0.1",
        predicate_type: &attestation.predicate_type,
        subject,
        predicate: &attestation.predicate,
    }
}

/// An image as a package: `pkg:docker/busybox@latest?platform=linux%2Famd64` (package-url specification).
pub(super) fn package_url(name: &Reference, platform: Option<&Platform>) -> String {
    let familiar = name.familiar_name();
    let path: Vec<String> = familiar.split('/').map(escaped).collect();
    let mut url = format!("pkg:docker/{}", path.join("/"));
    if let Some(tag) = name.tag() {
        url = format!("{url}@{}", escaped(tag));
    } else if let Some(digest) = name.digest() {
        url = format!("{url}@{}", escaped(digest.as_str()));
    }
    match platform {
        Some(platform) => format!("{url}?platform={}", escaped(&platform.to_string())),
        None => url,
    }
}

/// Everything but unreserved characters and colons as `%41`.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_as_packages() {
        let url = |name: &str, platform: Option<&str>| {
            let platform = platform.map(|text| text.parse().unwrap());
            package_url(&name.parse().unwrap(), platform.as_ref())
        };
        assert_eq!(
            url("busybox:1", Some("linux/arm64")),
            "pkg:docker/busybox@1?platform=linux%2Farm64"
        );
        assert_eq!(url("h:5000/a/b:c", None), "pkg:docker/h:5000/a/b@c");
    }

    #[test]
    fn files_are_told_by_their_paths() {
        let attestation = Attestation {
            predicate_type: "t".to_owned(),
            predicate: Value::Null,
        };
        let files = [("a/b".to_owned(), Digest::from_sha256(&[1; 32]))];
        let told = statement_of_files(&attestation, &files);
        let told: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["subject"][0]["name"], "a/b");
        assert_eq!(told["subject"][0]["digest"]["sha256"], "01".repeat(32));
    }
}
