//! Grants: what an `Authorization` header holds, how it is obtained, and how long it is kept.

use crate::reason::transport;
use crate::session::{Call, Purpose, same_origin};
use crate::{Challenge, Client, Credentials, Error, Secret, parse_challenges};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use url::Url;

/// Who may do what where: a grant must not serve another user, registry or repository.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    origin: String,
    scope: String,
    user: [u8; 32],
}

struct Grant {
    header: HeaderValue,
    /// `None`: as long as the registry takes it.
    expires: Option<Instant>,
}

/// The grants obtained so far, and who is just obtaining which.
#[derive(Default)]
pub(crate) struct Grants {
    known: Mutex<HashMap<Key, Grant>>,
    queues: Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>,
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grants")
    }
}

impl Grants {
    fn get(&self, key: &Key) -> Option<HeaderValue> {
        let mut grants = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        grants.retain(|_, grant| grant.expires.is_none_or(|expires| expires > now));
        grants.get(key).map(|grant| grant.header.clone())
    }

    /// The queue of those who want this grant.
    fn queue(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|_, queue| queue.strong_count() > 0);
        if let Some(queue) = queues.get(key).and_then(Weak::upgrade) {
            return queue;
        }
        let queue = Arc::default();
        queues.insert(key.clone(), Arc::downgrade(&queue));
        queue
    }

    fn put(&self, key: Key, header: HeaderValue, lifetime: Option<Duration>) {
        let mut grants = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let expires = lifetime.map(|lifetime| Instant::now() + lifetime);
        grants.insert(key, Grant { header, expires });
    }
}

/// What a token server answers (distribution's token specification).
#[derive(Deserialize)]
struct TokenReply {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

/// The lifetime that the specification gives to tokens without one, and the least that is believed.
const LEAST_LIFETIME: u64 = 60;
/// A token longer than this is no token.
const MAX_TOKEN_REPLY: usize = 1 << 20;
/// How token servers see us.
const CLIENT_ID: &str = "hull";

impl Client {
    /// The grant that an earlier answer left for such a call.
    pub(crate) fn cached_grant(&self, call: &Call) -> Option<HeaderValue> {
        match &call.credentials {
            Credentials::RegistryToken(token) => bearer(token.expose()),
            _ => self.grants().get(&key(call)),
        }
    }

    /// Does what a 401 asks for.
    pub(crate) async fn authorize(
        &self,
        call: &Call,
        refusal: Response,
        used: Option<HeaderValue>,
    ) -> Result<HeaderValue, Error> {
        // Those who ask for the same at the same time are served by one token.
        let queue = self.grants().queue(&key(call));
        let _turn = queue.lock().await;
        let cached = self.cached_grant(call);
        if let Some(grant) = cached.filter(|grant| used.as_ref() != Some(grant)) {
            return Ok(grant);
        }
        let challenges = challenges(refusal.headers());
        let find = |scheme| challenges.iter().find(|c| c.scheme == scheme);
        if matches!(call.credentials, Credentials::RegistryToken(_)) {
            return Err(self.refusal(call, refusal).await);
        }
        if let Some(challenge) = find("bearer") {
            return self.bearer_grant(call, challenge).await;
        }
        if find("basic").is_none() {
            return Err(self.refusal(call, refusal).await);
        }
        let Credentials::Password { username, password } = &call.credentials else {
            let text = "no basic auth credentials".to_owned();
            // dockerd tells the request of a pull only.
            return Err(Error::Unauthorized(match call.purpose {
                Purpose::Pull => format!("{} \"{}\": {text}", call.verb, call.url),
                _ => text,
            }));
        };
        let header = basic(username, password).ok_or_else(|| bad_secret(call))?;
        self.grants().put(key(call), header.clone(), None);
        Ok(header)
    }

    async fn bearer_grant(&self, call: &Call, challenge: &Challenge) -> Result<HeaderValue, Error> {
        let realm = challenge
            .get("realm")
            .and_then(|realm| Url::parse(realm).ok())
            .filter(|realm| matches!(realm.scheme(), "http" | "https"))
            .ok_or_else(|| {
                Error::Malformed(format!(
                    "{} \"{}\": the registry names no usable token server",
                    call.verb, call.url
                ))
            })?;
        self.refuse_downgrade(&call.home, &realm)?;
        let reply = self.token(call, challenge, &realm).await?;
        let token = match reply.token.as_str() {
            "" => &reply.access_token,
            token => token,
        };
        let header = bearer(token).filter(|_| !token.is_empty()).ok_or_else(|| {
            Error::Malformed("authorization server did not include a token in the response".into())
        })?;
        let lifetime = reply.expires_in.max(LEAST_LIFETIME);
        // A tenth is left for clocks and for the time that the request takes.
        let lifetime = Duration::from_secs(lifetime - lifetime / 10);
        self.grants().put(key(call), header.clone(), Some(lifetime));
        Ok(header)
    }

    /// Asks the token server: by GET, or by POST with a refresh token.
    async fn token(
        &self,
        call: &Call,
        challenge: &Challenge,
        realm: &Url,
    ) -> Result<TokenReply, Error> {
        let scopes = scopes(call, challenge);
        let service = challenge.get("service").unwrap_or_default();
        let http = self.http_of(call, realm, false)?;
        let (verb, request): (_, RequestBuilder) = match &call.credentials {
            Credentials::IdentityToken(token) => (
                "Post",
                http.post(realm.clone()).form(&[
                    ("grant_type", "refresh_token"),
                    ("service", service),
                    ("client_id", CLIENT_ID),
                    ("scope", &scopes.join(" ")),
                    ("refresh_token", token.expose()),
                ]),
            ),
            credentials => {
                let mut url = realm.clone();
                {
                    let mut query = url.query_pairs_mut();
                    if let Credentials::Password { username, .. } = credentials {
                        query.append_pair("account", username);
                    }
                    for scope in &scopes {
                        query.append_pair("scope", scope);
                    }
                    if !service.is_empty() {
                        query.append_pair("service", service);
                    }
                }
                let mut request = http.get(url);
                if let Credentials::Password { username, password } = credentials {
                    let header = basic(username, password).ok_or_else(|| bad_secret(call))?;
                    request = request.header(header::AUTHORIZATION, header);
                }
                ("Get", request)
            }
        };
        let response = request
            .send()
            .await
            .map_err(|error| transport(verb, realm, &error))?;
        read_token(self, call, response, realm, verb).await
    }
}

async fn read_token(
    client: &Client,
    call: &Call,
    mut response: Response,
    realm: &Url,
    verb: &'static str,
) -> Result<TokenReply, Error> {
    debug_assert!(same_origin(response.url(), realm));
    if !response.status().is_success() {
        let unauthorized = response.status() == StatusCode::UNAUTHORIZED;
        let error = client.refusal(call, response).await;
        return Err(match error {
            Error::Unauthorized(detail) if unauthorized => {
                Error::Unauthorized(format!("{} \"{}\": {detail}", call.verb, call.url))
            }
            other => other,
        });
    }
    let mut body = zeroize::Zeroizing::new(Vec::new());
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| transport(verb, realm, &error))?
    {
        if body.len() + chunk.len() > MAX_TOKEN_REPLY {
            return Err(Error::TooLarge {
                what: format!(
                    "the reply of the token server {}",
                    realm.host_str().unwrap_or_default()
                ),
                limit: MAX_TOKEN_REPLY as u64,
            });
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body)
        .map_err(|error| Error::Malformed(format!("unable to decode token response: {error}")))
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    headers
        .get_all(header::WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(parse_challenges)
        .collect()
}

/// What a call needs, the repository itself first.
fn own_scopes(call: &Call) -> Vec<String> {
    let path = call.reference.path();
    match &call.purpose {
        Purpose::Pull => vec![format!("repository:{path}:pull")],
        Purpose::Push { mount } => [format!("repository:{path}:pull,push")]
            .into_iter()
            .chain(mount.iter().map(|from| format!("repository:{from}:pull")))
            .collect(),
    }
}

/// What the token server is asked for: what the registry names, which may know the repository by
/// another name, and for a push all that it will need, so that one token serves it.
fn scopes(call: &Call, challenge: &Challenge) -> Vec<String> {
    let own = own_scopes(call);
    let Some(named) = challenge.get("scope") else {
        return own;
    };
    if call.purpose == Purpose::Pull {
        return vec![named.to_owned()];
    }
    let mut scopes: Vec<String> = named.split(' ').map(str::to_owned).collect();
    let covered = |scope: &String| {
        let reads = format!("repository:{}:pull", call.reference.path());
        *scope == reads || own.contains(scope)
    };
    scopes.retain(|scope| !scope.is_empty() && !covered(scope));
    own.into_iter().chain(scopes).collect()
}

fn key(call: &Call) -> Key {
    Key {
        origin: call.home.origin().ascii_serialization(),
        scope: own_scopes(call).join(" "),
        user: call.credentials.fingerprint(),
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(&zeroize::Zeroizing::new(format!("Bearer {token}")))
}

fn basic(username: &str, password: &Secret) -> Option<HeaderValue> {
    let pair = zeroize::Zeroizing::new(format!("{username}:{}", password.expose()));
    let encoded = zeroize::Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    sensitive(&zeroize::Zeroizing::new(format!("Basic {}", *encoded)))
}

/// A header value that logs and `Debug` leave out.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn bad_secret(call: &Call) -> Error {
    Error::Unauthorized(format!(
        "{} \"{}\": the credentials cannot be sent in a header",
        call.verb, call.url
    ))
}
