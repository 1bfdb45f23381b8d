//! Signing in: whether a registry takes some credentials, and the token that it gives for them.

use crate::endpoint::{Endpoint, places};
use crate::reason::transport;
use crate::search::{host_of, read};
use crate::session::Call;
use crate::{Challenge, Client, Credentials, Error, Secret, parse_challenges};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

/// Why signing in failed. The texts are dockerd's.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The address names no registry.
    #[error("unable to parse server address: {0}")]
    Address(String),
    /// The token server does not take the credentials.
    #[error("{0}")]
    Refused(String),
    /// The registry does not take them, or its answer is none that a registry gives.
    #[error("login attempt to {url} failed with status: {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer's status, in numbers and words.
        status: String,
    },
    /// The registry cannot be asked.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What a token server answers.
#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
}

/// Registries know this name: some hand out tokens for later to no other.
const CLIENT_ID: &str = "docker";
/// An answer longer than this is none.
const MAX_REPLY: usize = 1 << 20;

impl Client {
    /// Tries credentials at the registry `server`: a host, a URL of one, or nothing for Docker Hub.
    /// Mirrors are not asked. Gives the refresh token of a token server that has such.
    ///
    /// # Errors
    /// See [`LoginError`].
    pub async fn login(
        &self,
        server: &str,
        credentials: &Credentials,
    ) -> Result<Option<Secret>, LoginError> {
        let host = host_of(server).map_err(LoginError::Address)?;
        let reference = format!("{host}/x")
            .parse()
            .map_err(|error| LoginError::Address(format!("{host:?}: {error}")))?;
        let mut last = Error::Malformed(format!("no endpoints found for {host}"));
        for place in places(self.config(), &reference)? {
            for base in place.bases.iter().filter(|_| !place.mirror) {
                let endpoint = Endpoint {
                    base: base.clone(),
                    mirror: false,
                    host: place.host.clone(),
                };
                let call = self.call(&endpoint, &reference, credentials, "");
                match self.ask(&call, None).await {
                    // Only where nobody answers is another way tried, before any password is told:
                    // the next way may be plain HTTP.
                    Err(error @ Error::Transport { .. }) => last = error,
                    answer => return self.login_at(&call, answer?).await,
                }
            }
        }
        Err(last.into())
    }

    async fn login_at(
        &self,
        call: &Call,
        mut answer: Response,
    ) -> Result<Option<Secret>, LoginError> {
        let mut token = None;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let (grant, refresh) = self.grant(call, &answer).await?;
            token = refresh;
            answer = self.ask(call, grant).await?;
        }
        if answer.status() != StatusCode::OK {
            return Err(LoginError::Status {
                url: call.url.to_string(),
                status: answer.status().to_string(),
            });
        }
        Ok(token)
    }

    async fn ask(&self, call: &Call, grant: Option<HeaderValue>) -> Result<Response, Error> {
        let url = &call.url;
        let mut request = self.http_of(call, url, false)?.get(url.clone());
        request = request.headers(call.host.headers.clone());
        if let Some(grant) = grant {
            request = request.header(AUTHORIZATION, grant);
        }
        request
            .send()
            .await
            .map_err(|error| transport("Get", url, &error))
    }

    /// What the registry asks for: a token of its server, or the password itself.
    async fn grant(
        &self,
        call: &Call,
        refusal: &Response,
    ) -> Result<(Option<HeaderValue>, Option<Secret>), LoginError> {
        let values = refusal.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<Challenge> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(parse_challenges)
            .collect();
        let find = |scheme| challenges.iter().find(|c| c.scheme == scheme);
        if let Some(challenge) = find("bearer") {
            return self.exchange(call, challenge).await;
        }
        if find("basic").is_none() {
            return Ok((None, None));
        }
        match basic(&call.credentials) {
            Some(grant) => Ok((Some(grant), None)),
            None => {
                let text = format!("Get \"{}\": no basic auth credentials", call.url);
                Err(Error::Unauthorized(text).into())
            }
        }
    }

    /// Credentials for a token, and for a refresh token where there are such.
    async fn exchange(
        &self,
        call: &Call,
        challenge: &Challenge,
    ) -> Result<(Option<HeaderValue>, Option<Secret>), LoginError> {
        let (url, credentials) = (&call.url, &call.credentials);
        let realm = challenge
            .get("realm")
            .and_then(|realm| Url::parse(realm).ok())
            .filter(|realm| matches!(realm.scheme(), "http" | "https"))
            .ok_or_else(|| {
                let text = format!("Get \"{url}\": the registry names no usable token server");
                Error::Malformed(text)
            })?;
        self.refuse_downgrade(url, &realm)?;
        let service = challenge.get("service").unwrap_or_default();
        let (verb, request) = match credentials {
            Credentials::IdentityToken(token) => {
                let form = [
                    ("client_id", CLIENT_ID),
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token.expose()),
                    ("scope", ""),
                    ("service", service),
                ];
                (
                    "Post",
                    self.http_of(call, &realm, false)?
                        .post(realm.clone())
                        .form(&form),
                )
            }
            _ => ("Get", self.token_request(call, &realm, service)?),
        };
        let answer = request
            .send()
            .await
            .map_err(|error| transport(verb, &realm, &error))?;
        let tokens = tokens(url, &realm, answer).await?;
        let token = match tokens.token.as_str() {
            "" => tokens.access_token,
            token => token.to_owned(),
        };
        let header = sensitive(&Zeroizing::new(format!("Bearer {token}")));
        let header = header.filter(|_| !token.is_empty()).ok_or_else(|| {
            Error::Malformed(format!(
                "Get \"{url}\": authorization server did not include a token in the response"
            ))
        })?;
        let refresh = match (tokens.refresh_token, credentials) {
            (token, _) if !token.is_empty() => Some(Secret::from(token)),
            (_, Credentials::IdentityToken(token)) => Some(token.clone()),
            _ => None,
        };
        Ok((Some(header), refresh))
    }

    fn token_request(
        &self,
        call: &Call,
        realm: &Url,
        service: &str,
    ) -> Result<reqwest::RequestBuilder, Error> {
        let credentials = &call.credentials;
        let grant = basic(credentials);
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let (Credentials::Password { username, .. }, Some(_)) = (credentials, &grant) {
                query.append_pair("account", username);
            }
            query.append_pair("client_id", CLIENT_ID);
            query.append_pair("offline_token", "true");
            if !service.is_empty() {
                query.append_pair("service", service);
            }
        }
        let mut request = self.http_of(call, realm, false)?.get(url);
        if let Some(grant) = grant {
            request = request.header(AUTHORIZATION, grant);
        }
        Ok(request)
    }
}

async fn tokens(url: &Url, realm: &Url, answer: Response) -> Result<Tokens, LoginError> {
    let status = answer.status();
    let server = realm.host_str().unwrap_or_default();
    let body = Zeroizing::new(read(answer, realm, MAX_REPLY, server).await?);
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| {
            let text = format!("Get \"{url}\": unable to decode token response: {error}");
            Error::Malformed(text).into()
        });
    }
    let (code, detail) = crate::error::explain(status, &body);
    let text = format!("Get \"{url}\": {detail}");
    match code.as_str() {
        "UNAUTHORIZED" => Err(LoginError::Refused(text)),
        _ => Err(Error::Malformed(text).into()),
    }
}

/// The header with user and password, if there are both.
pub(crate) fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let Credentials::Password { username, password } = credentials else {
        return None;
    };
    if username.is_empty() || password.expose().is_empty() {
        return None;
    }
    let pair = Zeroizing::new(format!("{username}:{}", password.expose()));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    sensitive(&Zeroizing::new(format!("Basic {}", *encoded)))
}

/// A header value that logs and `Debug` leave out.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
