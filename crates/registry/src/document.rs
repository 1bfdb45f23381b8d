//! Manifests, indexes and configs: read with a limit, verified by their bytes, named by media type.

use crate::reason::transport;
use crate::session::Call;
use crate::{Client, Error};
use bytes::{Bytes, BytesMut};
use hull_spec::image::media_type as mt;
use hull_spec::{Digest, Reference};
use reqwest::Response;
use reqwest::header::{self, HeaderMap};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The longest document that is read, in bytes: what the distribution specification tells
/// registries to accept at least, and dockerd's own limit.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// Manifests that are understood, and schema 1 so that registries send it and it can be named.
pub(crate) const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v1+prettyjws, \
     application/json";

/// A document as it came, its digest computed.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
    pub(crate) content_type: Option<String>,
    /// The `Link` header: where a list goes on.
    pub(crate) link: Option<String>,
}

impl Client {
    /// Fetches a document, reading `limit` bytes at most, and checks it against `expected`.
    pub(crate) async fn document(
        &self,
        call: &Call,
        expected: Option<&Digest>,
        limit: u64,
    ) -> Result<Document, Error> {
        self.with_retries(|| async {
            let response = self.attempt(call).await?;
            let content_type = text(response.headers(), header::CONTENT_TYPE.as_str());
            let claimed = text(response.headers(), "docker-content-digest");
            let link = crate::list::link(response.headers());
            let bytes = read(call, response, limit).await?;
            let digest = Digest::from_sha256(&Sha256::digest(&bytes).into());
            let wrong = expected.filter(|expected| **expected != digest);
            if let Some(expected) = wrong {
                return Err(Error::DigestMismatch(expected.to_string()));
            }
            // The registry's own claim proves nothing, but a false one shows that something is broken.
            if let Some(Ok(claimed)) = claimed.map(|claimed| claimed.parse::<Digest>())
                && claimed != digest
            {
                return Err(Error::DigestMismatch(claimed.to_string()));
            }
            Ok(Document {
                bytes,
                digest,
                content_type,
                link,
            })
        })
        .await
    }
}

async fn read(call: &Call, mut response: Response, limit: u64) -> Result<Bytes, Error> {
    let too_large = || Error::TooLarge {
        what: format!("the document at {}", call.url),
        limit,
    };
    if response
        .content_length()
        .is_some_and(|length| length > limit)
    {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| transport("Get", &call.url, &error))?
    {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            return Err(too_large());
        }
    }
    Ok(bytes.freeze())
}

pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// What tells the kinds of manifests apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    schema_version: u64,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// The media type of a manifest or index. The document's own word counts; the header must not
/// contradict it, and a document that could be read as both kinds is refused (CVE-2021-41190).
pub(crate) fn media_type(
    reference: &Reference,
    content_type: Option<&str>,
    bytes: &[u8],
) -> Result<String, Error> {
    let header = content_type
        .map(|value| {
            value
                .split(';')
                .next()
                .unwrap_or(value)
                .trim()
                .to_ascii_lowercase()
        })
        .unwrap_or_default();
    let schema1 = || Error::Schema1(reference.to_string());
    if header == mt::DOCKER_SCHEMA1 || header == mt::DOCKER_SCHEMA1_SIGNED {
        return Err(schema1());
    }
    let outline: Outline = serde_json::from_slice(bytes).map_err(|error| {
        Error::Malformed(format!("manifest of {reference} is not valid: {error}"))
    })?;
    if outline.schema_version == 1 || outline.fs_layers.is_some() {
        return Err(schema1());
    }
    let index = outline.manifests.is_some();
    if index && (outline.layers.is_some() || outline.config.is_some()) {
        return Err(Error::Malformed(format!(
            "manifest of {reference} is ambiguous: it has both manifests and layers"
        )));
    }
    let known = |kind: &str| kinds(index).contains(&kind);
    let foreign = |kind: &str| kinds(!index).contains(&kind);
    let stated = outline.media_type.unwrap_or_default();
    if foreign(&header)
        || foreign(&stated)
        || (known(&header) && known(&stated) && header != stated)
    {
        return Err(Error::Malformed(format!(
            "mediaType in manifest should be '{header}' not '{stated}'"
        )));
    }
    match (known(&stated), known(&header)) {
        (true, _) => Ok(stated),
        (false, true) if stated.is_empty() => Ok(header),
        (false, _) if !stated.is_empty() => {
            Err(Error::Malformed(format!("unsupported media type {stated}")))
        }
        // OCI documents need not state their type, and files served as they are have no good header.
        _ if index => Ok(mt::OCI_INDEX.to_owned()),
        _ if outline.layers.is_some() => Ok(mt::OCI_MANIFEST.to_owned()),
        _ => Err(Error::Malformed(format!("unsupported media type {header}"))),
    }
}

fn kinds(index: bool) -> [&'static str; 2] {
    match index {
        true => [mt::OCI_INDEX, mt::DOCKER_LIST],
        false => [mt::OCI_MANIFEST, mt::DOCKER_MANIFEST],
    }
}

/// Whether content of this type lives below `manifests/` and not below `blobs/`.
pub(crate) fn is_manifest(media_type: &str) -> bool {
    kinds(true).contains(&media_type)
        || kinds(false).contains(&media_type)
        || media_type == mt::DOCKER_SCHEMA1
        || media_type == mt::DOCKER_SCHEMA1_SIGNED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(content_type: &str, body: &str) -> Result<String, String> {
        let reference = "reg.org/a:1".parse().unwrap();
        media_type(&reference, Some(content_type), body.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_documents_word_counts() {
        let manifest = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert_eq!(
            kind("application/octet-stream", manifest).unwrap(),
            mt::OCI_MANIFEST
        );
        assert_eq!(kind("text/plain", index).unwrap(), mt::OCI_INDEX);
        assert_eq!(
            kind(
                "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8",
                manifest
            )
            .unwrap(),
            mt::DOCKER_MANIFEST
        );
        let stated = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
            mt::DOCKER_LIST
        );
        assert_eq!(kind("application/json", &stated).unwrap(), mt::DOCKER_LIST);
    }

    #[test]
    fn contradictions_and_schema_1_are_refused() {
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(kind(mt::OCI_MANIFEST, index).is_err());
        assert!(kind("", r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#).is_err());
        assert!(kind("", "{}").is_err());
        assert!(kind("", "nonsense").is_err());
        let old = kind("application/json", r#"{"schemaVersion":1,"fsLayers":[]}"#).unwrap_err();
        assert!(old.starts_with("Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest the author of reg.org/a:1 to"), "{old}");
        assert!(
            kind(mt::DOCKER_SCHEMA1_SIGNED, "")
                .unwrap_err()
                .contains("schema 1")
        );
    }
}
