//! What is attested of images: how they were built (SLSA provenance) and what is in them (SPDX).
//!
//! A predicate is made here; which image it is about is known when that has its digest ([`statement()`]).

mod provenance;
mod rpm;
mod spdx;
mod statement;
mod steps;

pub use provenance::{Built, Terms, provenance};
pub use spdx::{Inventory, inventory};
pub use statement::{statement, statement_of_files};

use statement::{escaped, package_url};

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

impl Attestation {
    /// How a file is called that has it.
    #[must_use]
    pub fn file_name(&self) -> &'static str {
        match self.predicate_type == spdx::PREDICATE {
            true => "sbom.spdx.json",
            false => "provenance.json",
        }
    }
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
    /// Reads the attributes of a frontend, for images: what is wanted only where there is an index anyway
    /// (`inline-only`) is wanted if there is one, for what else is wanted or for several images.
    ///
    /// # Errors
    /// [`InvalidWish`]
    pub fn of_images(
        attributes: &BTreeMap<String, String>,
        several: bool,
    ) -> Result<Self, InvalidWish> {
        let wanted = Self::read(attributes, several)?;
        match wanted.is_any() && !several {
            true => Self::read(attributes, true),
            false => Ok(wanted),
        }
    }

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
        let both = [default[0], ("attest:sbom", "")];
        let read = |inline| {
            let both = both.map(|(key, value)| (key.to_owned(), value.to_owned()));
            Wanted::of_images(&both.into(), inline).unwrap()
        };
        assert!(read(false).provenance.is_some() && read(true).sbom);
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
}
