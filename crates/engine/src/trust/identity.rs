//! Whose signature it is: the name in a signature against the name that was asked for.

use super::json::{Invalid, Json};
use hull_spec::Reference;

/// How the name that a signature carries must relate to the name of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Identity {
    /// The same, with the same tag or digest.
    MatchExact,
    /// The same, or only the same repository when the image was asked for by its digest.
    #[default]
    MatchRepoDigestOrExact,
    /// The same repository.
    MatchRepository,
    /// This reference, whatever was asked for.
    ExactReference(Reference),
    /// This repository, whatever was asked for.
    ExactRepository(Reference),
    /// As [`Identity::MatchRepoDigestOrExact`], after the name's beginning was replaced.
    Remap {
        prefix: String,
        signed_prefix: String,
    },
}

impl Identity {
    pub(super) fn parse(value: Json) -> Result<Self, Invalid> {
        let mut fields = value.fields()?;
        let kind = fields.text("type")?;
        let parsed = match kind.as_str() {
            "matchExact" => Self::MatchExact,
            "matchRepoDigestOrExact" => Self::MatchRepoDigestOrExact,
            "matchRepository" => Self::MatchRepository,
            "exactReference" => {
                let reference = parse(&fields.text("dockerReference")?)?;
                if is_name_only(&reference) {
                    return Err(Invalid::new(format!(
                        "dockerReference {reference} contains neither a tag nor digest"
                    )));
                }
                Self::ExactReference(reference)
            }
            "exactRepository" => Self::ExactRepository(parse(&fields.text("dockerRepository")?)?),
            "remapIdentity" => Self::Remap {
                prefix: remap_prefix(fields.text("prefix")?)?,
                signed_prefix: remap_prefix(fields.text("signedPrefix")?)?,
            },
            other => {
                return Err(Invalid::new(format!(
                    "unknown policy reference match type {other:?}"
                )));
            }
        };
        fields.finish()?;
        Ok(parsed)
    }

    /// Whether a signature for `signed` (as its payload has it) may stand for `image`, which has a tag
    /// or digest.
    pub(super) fn admits(&self, image: &Reference, signed: &str) -> bool {
        let Ok(signed) = signed.parse::<Reference>() else {
            return false;
        };
        match self {
            Self::MatchExact => !is_name_only(&signed) && same(image, &signed),
            Self::MatchRepoDigestOrExact => exact_or_by_digest(image, &signed),
            Self::MatchRepository => image.name() == signed.name(),
            Self::ExactReference(wanted) => same(wanted, &signed),
            Self::ExactRepository(wanted) => wanted.name() == signed.name(),
            Self::Remap {
                prefix,
                signed_prefix,
            } => remapped(image, prefix, signed_prefix)
                .is_some_and(|image| exact_or_by_digest(&image, &signed)),
        }
    }
}

fn exact_or_by_digest(image: &Reference, signed: &Reference) -> bool {
    match (image.tag(), image.digest()) {
        _ if is_name_only(signed) => false,
        (Some(_), _) => same(image, signed),
        // The digest itself is compared with the payload's by who checks the signature.
        (None, Some(_)) => image.name() == signed.name(),
        (None, None) => false,
    }
}

fn same(a: &Reference, b: &Reference) -> bool {
    a.to_string() == b.to_string()
}

fn is_name_only(reference: &Reference) -> bool {
    reference.tag().is_none() && reference.digest().is_none()
}

fn parse(text: &str) -> Result<Reference, Invalid> {
    text.parse()
        .map_err(|error| Invalid::new(format!("{text:?}: {error}")))
}

/// A host, or the beginning of a repository's name up to a slash.
fn remap_prefix(prefix: String) -> Result<String, Invalid> {
    // A host alone is no reference; with a path behind it, it must be one.
    let reference: Reference = parse(&format!("{prefix}/x"))?;
    let whole = reference.name() == format!("{prefix}/x");
    if !whole || !is_name_only(&reference) {
        return Err(Invalid::new(format!(
            "{prefix:?} is no host and no repository with its host"
        )));
    }
    Ok(prefix)
}

/// The image's name with another beginning; `None` when that makes no reference.
fn remapped(image: &Reference, prefix: &str, signed_prefix: &str) -> Option<Reference> {
    let name = image.name();
    let below = match name.strip_prefix(prefix) {
        Some(below) if below.is_empty() || below.starts_with('/') => below,
        _ => return Some(image.clone()),
    };
    let suffix = image.to_string()[name.len()..].to_owned();
    format!("{signed_prefix}{below}{suffix}").parse().ok()
}
