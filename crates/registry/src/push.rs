//! Pushing: what a repository has already, mounts, manifests. Blobs themselves: `upload.rs`.

use crate::body::{Payload, Sent, Source};
use crate::document::{MAX_DOCUMENT, text};
use crate::endpoint::Endpoint;
use crate::session::{Call, Purpose};
use crate::{Client, Credentials, Error};
use bytes::Bytes;
use hull_spec::image::{Descriptor, Index, media_type as mt};
use hull_spec::{Digest, Reference};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use url::Url;

/// A repository that is pushed to, by the way that its registry was found to answer.
#[derive(Clone, Debug)]
pub struct Pusher {
    pub(crate) client: Client,
    pub(crate) endpoint: Endpoint,
    pub(crate) reference: Reference,
    pub(crate) credentials: Credentials,
}

/// What became of the wish to have a blob of another repository.
#[derive(Debug)]
pub enum Mount {
    /// The repository has the blob now.
    Mounted,
    /// It has not, and the registry has begun an upload instead.
    Begun(Upload),
}

/// An upload that the registry has begun; [`Pusher::upload`] goes on with it.
#[derive(Clone, Debug)]
pub struct Upload {
    pub(crate) url: Url,
    /// The least size of a chunk that the registry takes, but for the last.
    pub(crate) least: u64,
}

impl Client {
    /// Finds the server that the repository of `reference` is pushed to.
    ///
    /// # Errors
    /// [`Error`] when none answers.
    pub async fn pusher(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Pusher, Error> {
        let endpoint = self.push_endpoint(reference).await?;
        Ok(Pusher {
            client: self.clone(),
            endpoint,
            reference: reference.clone(),
            credentials: credentials.clone(),
        })
    }
}

impl Pusher {
    pub(crate) fn call(&self, method: Method, verb: &'static str, path: &str) -> Call {
        let path = format!("{}/{path}", self.reference.path());
        let mut call = self
            .client
            .call(&self.endpoint, &self.reference, &self.credentials, &path);
        call.method = method;
        call.verb = verb;
        call.purpose = Purpose::Push { mount: None };
        // Where a push goes was said by whoever set up the registry: it is the one that knows the user.
        call.credentials = self.credentials.clone();
        call
    }

    /// Whether the repository has a blob.
    ///
    /// # Errors
    /// What the registry says other than yes and no.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        self.has(&format!("blobs/{digest}"), None).await
    }

    /// Whether the repository has a manifest or index.
    ///
    /// # Errors
    /// As [`Pusher::has_blob`].
    pub async fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        let accept = Some(crate::document::ACCEPT);
        self.has(&format!("manifests/{digest}"), accept).await
    }

    async fn has(&self, path: &str, accept: Option<&'static str>) -> Result<bool, Error> {
        let mut call = self.call(Method::HEAD, "Head", path);
        call.accept = accept;
        let client = &self.client;
        let found = client.with_retries(|| async {
            let response = client.answer(&call).await?;
            match response.status() {
                status if status.is_success() => Ok(true),
                StatusCode::NOT_FOUND => Ok(false),
                _ => Err(client.refusal(&call, response).await),
            }
        });
        found.await
    }

    /// Asks for a blob of the repository `from` on the same registry (its path alone, such as
    /// `library/busybox`), which the user must be allowed to pull from.
    ///
    /// # Errors
    /// [`Error`]; a registry that does not want to mount begins an upload, which is none.
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, Error> {
        let mut call = self.call(Method::POST, "Post", "blobs/uploads/");
        call.purpose = Purpose::Push {
            mount: Some(from.to_owned()),
        };
        call.url
            .query_pairs_mut()
            .append_pair("mount", digest.as_str())
            .append_pair("from", from);
        call.payload = Payload::Empty;
        let client = &self.client;
        let answer = client.with_retries(|| client.attempt(&call)).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(Mount::Mounted);
        }
        Ok(Mount::Begun(Upload::read(&call, &answer)?))
    }

    /// Stores a document as a blob: an image's config.
    ///
    /// # Errors
    /// As [`Pusher::upload`].
    pub async fn put_blob(&self, blob: &Descriptor, bytes: Bytes) -> Result<(), Error> {
        let source: Arc<dyn Source> = Arc::new(bytes);
        self.upload(blob, &source, None, &Arc::new(Sent::default()))
            .await
    }

    /// Stores a manifest or index under a tag or, with `None`, under its digest alone. One with a
    /// `subject` is found by that subject's digest afterwards, also on registries that do not know
    /// referrers (distribution specification 1.1, "Pushing Manifests with Subject").
    ///
    /// # Errors
    /// [`Error`], with the registry's words.
    pub async fn put_manifest(
        &self,
        tag: Option<&str>,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<Digest, Error> {
        let digest = Digest::from_sha256(&Sha256::digest(&bytes).into());
        let name = tag.unwrap_or(digest.as_str());
        let mut call = self.call(Method::PUT, "Put", &format!("manifests/{name}"));
        call.payload = Payload::Document {
            media_type: media_type.to_owned(),
            bytes: bytes.clone(),
        };
        let client = &self.client;
        let answer = client.with_retries(|| client.attempt(&call)).await?;
        if let Some(Ok(stored)) =
            text(answer.headers(), "docker-content-digest").map(|text| text.parse::<Digest>())
            && stored != digest
        {
            return Err(Error::DigestMismatch(stored.to_string()));
        }
        let known = answer.headers().contains_key("oci-subject");
        if let Some(subject) = subject(&bytes).filter(|_| !known) {
            let referrer = referrer(media_type, &digest, &bytes);
            self.add_referrer(&subject, referrer).await?;
        }
        Ok(digest)
    }

    /// Adds to the list of referrers that is kept under a tag, for registries that keep none.
    async fn add_referrer(&self, subject: &Digest, referrer: Value) -> Result<(), Error> {
        let tag = crate::list::referrers_tag(subject);
        let mut index = self.tagged_index(&tag).await?;
        let list = index
            .get_mut("manifests")
            .and_then(Value::as_array_mut)
            .ok_or_else(|| Error::Malformed(format!("the referrers in {tag} are no index")))?;
        if list
            .iter()
            .any(|entry| entry.get("digest") == referrer.get("digest"))
        {
            return Ok(());
        }
        list.push(referrer);
        let bytes = serde_json::to_vec(&index)
            .map_err(|error| Error::Malformed(format!("the referrers in {tag}: {error}")))?;
        let mut call = self.call(Method::PUT, "Put", &format!("manifests/{tag}"));
        call.payload = Payload::Document {
            media_type: mt::OCI_INDEX.to_owned(),
            bytes: bytes.into(),
        };
        let client = &self.client;
        client.with_retries(|| client.attempt(&call)).await?;
        Ok(())
    }

    async fn tagged_index(&self, tag: &str) -> Result<Value, Error> {
        let mut call = self.call(Method::GET, "Get", &format!("manifests/{tag}"));
        call.accept = Some(mt::OCI_INDEX);
        let found = self.client.document(&call, None, MAX_DOCUMENT).await;
        let document = match found {
            Ok(document) => document,
            Err(error) if error.kind() == crate::Kind::NotFound => {
                return Ok(
                    json!({"schemaVersion": 2, "mediaType": mt::OCI_INDEX, "manifests": []}),
                );
            }
            Err(error) => return Err(error),
        };
        // Read as an index first: nothing else under this tag is added to.
        let malformed = |error| Error::Malformed(format!("the referrers in {tag}: {error}"));
        serde_json::from_slice::<Index>(&document.bytes).map_err(malformed)?;
        serde_json::from_slice(&document.bytes).map_err(malformed)
    }
}

/// What a manifest refers to, if anything.
fn subject(manifest: &[u8]) -> Option<Digest> {
    let manifest: Value = serde_json::from_slice(manifest).ok()?;
    manifest
        .get("subject")?
        .get("digest")?
        .as_str()?
        .parse()
        .ok()
}

/// The entry of a list of referrers for a manifest.
fn referrer(media_type: &str, digest: &Digest, bytes: &[u8]) -> Value {
    let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let member = |name: &str| manifest.get(name).filter(|value| !value.is_null());
    let kind = member("artifactType")
        .or_else(|| member("config").and_then(|config| config.get("mediaType")));
    let mut entry = json!({
        "mediaType": media_type,
        "digest": digest.as_str(),
        "size": bytes.len(),
    });
    if let Some(kind) = kind {
        entry["artifactType"] = kind.clone();
    }
    if let Some(annotations) = member("annotations") {
        entry["annotations"] = annotations.clone();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn referrers_say_what_they_are() {
        let digest = Digest::from_sha256(&[1; 32]);
        let text = format!(
            r#"{{"subject":{{"digest":"{digest}"}},"config":{{"mediaType":"a/config"}},"annotations":{{"k":"v"}}}}"#
        );
        assert_eq!(subject(text.as_bytes()), Some(digest.clone()));
        let entry = referrer(mt::OCI_MANIFEST, &digest, text.as_bytes());
        assert_eq!(entry["artifactType"], "a/config");
        assert_eq!(entry["annotations"]["k"], "v");
        assert_eq!(subject(b"{}"), None);
        assert_eq!(subject(br#"{"subject":null}"#), None);
    }
}
