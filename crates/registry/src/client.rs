//! The client: from a reference to an answer, over the places where it may be found.

use crate::auth::Grants;
use crate::body::Payload;
use crate::document::{ACCEPT, MAX_DOCUMENT, is_manifest, media_type};
use crate::endpoint::{Endpoint, Place, places};
use crate::hosts::Capability;
use crate::reason::transport;
use crate::session::{Call, HttpClients, Purpose};
use crate::{Blob, Config, Credentials, Error};
use bytes::Bytes;
use hull_spec::Reference;
use hull_spec::image::Descriptor;
use reqwest::Method;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use url::Url;

/// A client of registries. Cheap to clone; clones share connections and grants.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    http: HttpClients,
    grants: Grants,
    /// Servers that answered lately, and until when that is believed.
    alive: Mutex<HashMap<Url, Instant>>,
}

/// What a reference stands for.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The manifest or index: media type, digest, length.
    pub descriptor: Descriptor,
    /// Its bytes, of which the digest is made.
    pub bytes: Bytes,
    /// The server that gave it.
    pub source: Url,
}

/// How long a server that answered is not asked again whether it is there.
const ALIVE: Duration = Duration::from_secs(60);

impl Client {
    /// Makes a client. Nothing is connected or loaded before the first request.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner {
            config,
            http: HttpClients::default(),
            grants: Grants::default(),
            alive: Mutex::default(),
        }))
    }

    /// Fetches the manifest or index of a reference, by its digest or else its tag (`latest` when it
    /// has neither).
    ///
    /// # Errors
    /// [`Error`], with the words that dockerd has for `docker pull`.
    pub async fn resolve(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Resolved, Error> {
        let reference = &reference.clone().with_default_tag();
        self.over_places(reference, Capability::Resolve, |endpoint| async move {
            let name = match (reference.digest(), reference.tag()) {
                (Some(digest), _) => digest.as_str(),
                (None, tag) => tag.unwrap_or("latest"),
            };
            let path = format!("{}/manifests/{name}", reference.path());
            let mut call = self.call(&endpoint, reference, credentials, &path);
            call.accept = Some(ACCEPT);
            call.verb = "Head";
            let document = self
                .document(&call, reference.digest(), MAX_DOCUMENT)
                .await?;
            let media_type =
                media_type(reference, document.content_type.as_deref(), &document.bytes)?;
            Ok(Resolved {
                descriptor: Descriptor {
                    media_type,
                    digest: document.digest,
                    size: document.bytes.len() as u64,
                    urls: Vec::new(),
                    annotations: BTreeMap::new(),
                    platform: None,
                },
                bytes: document.bytes,
                source: endpoint.base,
            })
        })
        .await
    }

    /// Fetches a small document by its descriptor: a manifest of an index, or an image config. The
    /// bytes match the descriptor's digest and length.
    ///
    /// # Errors
    /// [`Error`]; [`Error::TooLarge`] above [`MAX_DOCUMENT`].
    pub async fn fetch_document(
        &self,
        reference: &Reference,
        document: &Descriptor,
        credentials: &Credentials,
    ) -> Result<Bytes, Error> {
        if document.size > MAX_DOCUMENT {
            return Err(Error::TooLarge {
                what: format!("document {}", document.digest),
                limit: MAX_DOCUMENT,
            });
        }
        let manifest = is_manifest(&document.media_type);
        let folder = if manifest { "manifests" } else { "blobs" };
        let path = format!("{}/{folder}/{}", reference.path(), document.digest);
        let fetched = self
            .over_places(reference, Capability::Pull, |endpoint| {
                let mut call = self.call(&endpoint, reference, credentials, &path);
                call.accept = manifest.then_some(ACCEPT);
                async move {
                    self.document(&call, Some(&document.digest), MAX_DOCUMENT)
                        .await
                }
            })
            .await?;
        let actual = fetched.bytes.len() as u64;
        if actual != document.size {
            return Err(Error::WrongSize {
                what: format!("document {}", document.digest),
                actual,
                expected: document.size,
            });
        }
        if manifest {
            media_type(reference, Some(&document.media_type), &fetched.bytes)?;
        }
        Ok(fetched.bytes)
    }

    /// Fetches a blob from the byte `offset` on. See [`Blob::offset`] for servers that ignore it.
    ///
    /// # Errors
    /// [`Error`], also within the stream; [`Error::Interrupted`] says where to go on.
    pub async fn fetch_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        offset: u64,
        credentials: &Credentials,
    ) -> Result<Blob, Error> {
        let path = format!("{}/blobs/{}", reference.path(), blob.digest);
        self.over_places(reference, Capability::Pull, |endpoint| {
            let mut call = self.call(&endpoint, reference, credentials, &path);
            call.from = offset;
            self.open_blob(call, blob)
        })
        .await
    }

    pub(crate) fn call(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        credentials: &Credentials,
        path: &str,
    ) -> Call {
        Call {
            reference: reference.clone(),
            // Credentials are for the registry; a mirror is another server.
            credentials: match endpoint.mirror {
                true => Credentials::Anonymous,
                false => credentials.clone(),
            },
            home: endpoint.base.clone(),
            host: Arc::clone(&endpoint.host),
            url: endpoint.url(path),
            method: Method::GET,
            accept: None,
            from: 0,
            verb: "Get",
            purpose: Purpose::Pull,
            payload: Payload::None,
        }
    }

    /// Does `ask` at each place until one succeeds; the last failure is told, as dockerd does.
    pub(crate) async fn over_places<T, F, Fut>(
        &self,
        reference: &Reference,
        what: Capability,
        ask: F,
    ) -> Result<T, Error>
    where
        F: Fn(Endpoint) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let mut last = Error::Malformed(format!("no endpoints found for {}", reference.domain()));
        for place in places(self.config(), reference)? {
            if !place.can(what) {
                continue;
            }
            let answer = match self.reach(&place).await {
                Ok(endpoint) => ask(endpoint).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(value) => return Ok(value),
                Err(error) => {
                    if place.mirror {
                        tracing::info!(%error, "mirror failed, going on without it");
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// The server that pushes go to: the first that may be pushed to.
    pub(crate) async fn push_endpoint(&self, reference: &Reference) -> Result<Endpoint, Error> {
        let mut last = Error::Malformed(format!("no endpoints found for {}", reference.domain()));
        for place in places(self.config(), reference)? {
            if !place.can(Capability::Push) {
                continue;
            }
            match self.reach(&place).await {
                Ok(endpoint) => return Ok(endpoint),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Finds the way in which a place answers. Any HTTP answer will do: what it says about access is
    /// for the request itself to find out.
    pub(crate) async fn reach(&self, place: &Place) -> Result<Endpoint, Error> {
        let mut last = Error::Malformed("the registry's name makes no URL".to_owned());
        for base in &place.bases {
            let endpoint = Endpoint {
                base: base.clone(),
                mirror: place.mirror,
                host: Arc::clone(&place.host),
            };
            if self.is_alive(base) {
                return Ok(endpoint);
            }
            let url = endpoint.url("");
            match self.with_retries(|| self.ping(&endpoint, &url)).await {
                Ok(()) => {
                    self.lock_alive()
                        .insert(base.clone(), Instant::now() + ALIVE);
                    return Ok(endpoint);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ping(&self, endpoint: &Endpoint, url: &Url) -> Result<(), Error> {
        let connection = &endpoint.host.connection;
        let http = self.clients().get(self.config(), url, false, connection)?;
        let headers = endpoint.host.headers.clone();
        match http.get(url.clone()).headers(headers).send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let mut error = transport("Get", url, &error);
                // Nobody listens or the name is wrong: the user wants to hear that at once.
                if error.is_connect()
                    && let Error::Transport { transient, .. } = &mut error
                {
                    *transient = false;
                }
                Err(error)
            }
        }
    }

    fn is_alive(&self, base: &Url) -> bool {
        self.lock_alive()
            .get(base)
            .is_some_and(|until| *until > Instant::now())
    }

    fn lock_alive(&self) -> std::sync::MutexGuard<'_, HashMap<Url, Instant>> {
        self.0.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn grants(&self) -> &Grants {
        &self.0.grants
    }

    pub(crate) fn clients(&self) -> &HttpClients {
        &self.0.http
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_may_move_between_threads() {
        fn is_send<T: Send>(_: T) {}
        let client = Client::new(Config::default());
        let reference: Reference = "a".parse().unwrap();
        let descriptor = Descriptor {
            media_type: String::new(),
            digest: hull_spec::Digest::from_sha256(&[0; 32]),
            size: 0,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
        };
        let nobody = Credentials::Anonymous;
        is_send(client.resolve(&reference, &nobody));
        is_send(client.fetch_document(&reference, &descriptor, &nobody));
        is_send(client.fetch_blob(&reference, &descriptor, 0, &nobody));
    }
}
