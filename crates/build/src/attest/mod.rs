//! What is attested of images: how they were built (SLSA provenance) and what is in them (SPDX).
//!
//! A predicate is made here; which image it is about is known when that has its digest ([`statement`]).

mod provenance;
mod spdx;

pub use provenance::{Built, Terms, provenance};
pub use spdx::{Inventory, inventory};

use hull_spec::{Digest, Platform, Reference};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Something said about an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Attestation {
    /// What kind of thing, a URI.
    pub predicate_type: String,
    /// What is said.
    pub predicate: Value,
}

/// What a client asks for: BuildKit's `attest:provenance` and `attest:sbom`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How it was built.
    pub provenance: Option<Terms>,
    /// What is in it.
    pub sbom: bool,
}

/// How much provenance tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Without build arguments and the Dockerfile.
    Min,
    /// All of it.
    #[default]
    Max,
}

/// Why what is asked for cannot be attested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWish {
    /// Not a mode.
    #[error("invalid mode {0:?} of provenance")]
    Mode(String),
    /// Not a version.
    #[error("invalid provenance SLSA version: {0}")]
    Version(String),
    /// Another program would have to be run, with all files of the image.
    #[error("generator {0:?} of SBOMs is not supported: packages are listed by Hull itself")]
    Generator(String),
}

impl Wanted {
    /// Reads the attributes of a frontend. What is wanted only where an exporter keeps it beside the image anyway
    /// (`inline-only`) is wanted if `inline`.
    ///
    /// # Errors
    /// [`InvalidWish`]
    pub fn read(attributes: &BTreeMap<String, String>, inline: bool) -> Result<Self, InvalidWish> {
        let mut wanted = Self::default();
        if let Some(fields) = attributes.get("attest:provenance").map(|text| fields(text)) {
            let field = |name: &str| fields.get(name).map_or("", String::as_str);
            let mode = match field("mode") {
                "" | "max" => Mode::Max,
                "min" => Mode::Min,
                other => return Err(InvalidWish::Mode(other.to_owned())),
            };
            let version_1 = match field("version") {
                "" | "v0.2" => false,
                "v1" => true,
                other => return Err(InvalidWish::Version(other.to_owned())),
            };
            let off = field("disabled") == "true";
            let only = field("inline-only") == "true";
            let terms = Terms {
                mode,
                version_1,
                builder: field("builder-id").to_owned(),
                reproducible: field("reproducible") == "true",
            };
            wanted.provenance = (!off && (inline || !only)).then_some(terms);
        }
        if let Some(fields) = attributes.get("attest:sbom").map(|text| fields(text)) {
            let generator = fields.get("generator").map_or("", String::as_str);
            let own = generator.is_empty() || generator.contains("docker/buildkit-syft-scanner");
            let off = fields.get("disabled").is_some_and(|value| value == "true");
            if !own && !off {
                return Err(InvalidWish::Generator(generator.to_owned()));
            }
            wanted.sbom = !off;
        }
        Ok(wanted)
    }

    /// Whether anything is.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.provenance.is_some() || self.sbom
    }
}

/// `a=b,c=d`.
fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| match pair.split_once('=') {
        Some((key, value)) => (key.trim().to_owned(), value.trim().to_owned()),
        None => (pair.trim().to_owned(), "true".to_owned()),
    };
    pairs.map(pair).collect()
}

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
    let subject = |name: String| Subject {
        name,
        digest: BTreeMap::from([("sha256", image.hex().to_owned())]),
    };
    let mut subjects: Vec<Subject> = names
        .iter()
        .map(|name| subject(package_url(name, Some(platform))))
        .collect();
    if subjects.is_empty() {
        subjects.push(subject("_".to_owned()));
    }
    let statement = Statement {
        kind: "https://in-toto.io/Statement/v0.1",
        predicate_type: &attestation.predicate_type,
        subject: subjects,
        predicate: &attestation.predicate,
    };
    serde_json::to_vec(&statement).expect("a statement is JSON")
}

/// An image as a package: `pkg:docker/busybox@latest?platform=linux%2Famd64` (package-url specification).
fn package_url(name: &Reference, platform: Option<&Platform>) -> String {
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
fn escaped(text: &str) -> String {
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

    fn wanted(attributes: &[(&str, &str)], inline: bool) -> Result<Wanted, InvalidWish> {
        let attributes = attributes.iter();
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Wanted::read(&attributes.map(own).collect(), inline)
    }

    #[test]
    fn wishes_are_read_as_buildx_writes_them() {
        let default = [("attest:provenance", "mode=min,inline-only=true")];
        assert!(!wanted(&default, false).unwrap().is_any());
        let terms = wanted(&default, true).unwrap().provenance.unwrap();
        assert_eq!((terms.mode, terms.version_1), (Mode::Min, false));
        let max = wanted(
            &[("attest:provenance", "mode=max"), ("attest:sbom", "")],
            false,
        )
        .unwrap();
        assert_eq!((max.provenance.unwrap().mode, max.sbom), (Mode::Max, true));
        let more = "version=v1,builder-id=me,reproducible=true";
        let more = wanted(&[("attest:provenance", more)], false).unwrap();
        let more = more.provenance.unwrap();
        assert!(more.version_1 && more.reproducible && more.builder == "me");
        let off = [
            ("attest:provenance", "disabled=true"),
            ("attest:sbom", "disabled=true"),
        ];
        assert!(!wanted(&off, true).unwrap().is_any());
        for wrong in [
            ("attest:provenance", "mode=x"),
            ("attest:provenance", "version=v2"),
            ("attest:sbom", "generator=mine"),
        ] {
            assert!(wanted(&[wrong], true).is_err());
        }
    }

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
}
