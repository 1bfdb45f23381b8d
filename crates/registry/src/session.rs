//! One request: sent, redirected, authorised, tried again.

use crate::body::Payload;
use crate::endpoint::{Trust, trust};
use crate::hosts::{Asked, Connection, Host, server};
use crate::reason::transport;
use crate::retry::Backoff;
use crate::{Client, Config, Credentials, Error};
use hull_spec::Reference;
use reqwest::header::{self, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// What a call is for: it decides the scope of the grant and the words of a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Purpose {
    #[default]
    Pull,
    /// Push, and perhaps pull from the repository that a blob is to be mounted from.
    Push { mount: Option<String> },
}

/// One request about a repository.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) reference: Reference,
    pub(crate) credentials: Credentials,
    /// The server that the grant is for: it is sent to no other origin.
    pub(crate) home: Url,
    /// How that server is spoken to.
    pub(crate) host: Arc<Host>,
    pub(crate) url: Url,
    pub(crate) method: Method,
    /// The `Accept` header.
    pub(crate) accept: Option<&'static str>,
    /// The first byte wanted.
    pub(crate) from: u64,
    /// The method that errors name. Docker asks for manifests with HEAD first.
    pub(crate) verb: &'static str,
    pub(crate) purpose: Purpose,
    pub(crate) payload: Payload,
}

impl Call {
    /// The call that sends `payload` to a place that the registry named.
    pub(crate) fn sending(
        &self,
        method: Method,
        verb: &'static str,
        url: Url,
        payload: Payload,
    ) -> Self {
        Self {
            method,
            verb,
            url,
            payload,
            ..self.clone()
        }
    }

    fn request(&self, http: &reqwest::Client, url: &Url) -> RequestBuilder {
        let mut request = http.request(self.method.clone(), url.clone());
        if let Some(accept) = self.accept {
            request = request.header(header::ACCEPT, accept);
        }
        if self.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.from));
        }
        self.payload.attach(request)
    }

    /// Whether an answer of this status may lead elsewhere: what carries data is sent on only where
    /// method and data stay the same.
    fn may_follow(&self, status: StatusCode) -> bool {
        match status.as_u16() {
            307 | 308 => true,
            301..=303 => matches!(self.method, Method::GET | Method::HEAD),
            _ => false,
        }
    }
}

/// Go's limit.
const MAX_REDIRECTS: usize = 10;

/// The HTTP clients, made when first needed: loading the system's certificates takes a while.
#[derive(Debug, Default)]
pub(crate) struct HttpClients(Mutex<HashMap<Key, reqwest::Client>>);

/// What makes a client of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    trust: Trust,
    uploads: bool,
    connection: Connection,
}

/// Clients beyond this are those of certificates that were replaced.
const MAX_CLIENTS: usize = 64;

impl HttpClients {
    /// The client for a URL. One for `uploads` waits for an answer as long as its data moves, which
    /// [`Client::send`] watches.
    pub(crate) fn get(
        &self,
        config: &Config,
        url: &Url,
        uploads: bool,
        connection: &Connection,
    ) -> Result<reqwest::Client, Error> {
        let key = Key {
            trust: trust(config, url, connection),
            uploads,
            connection: connection.clone(),
        };
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = build(config, &key)?;
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn build(config: &Config, key: &Key) -> Result<reqwest::Client, Error> {
    crate::install_crypto_provider();
    let failed = |error: reqwest::Error| Error::Setup(error.to_string());
    let connection = &key.connection;
    let connect = connection.dial_timeout.unwrap_or(config.connect_timeout);
    let mut builder = reqwest::Client::builder()
        .user_agent(&config.user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect.max(Duration::from_millis(1)))
        .no_proxy();
    if !key.uploads {
        builder = builder.read_timeout(config.stall_timeout);
    }
    if matches!(key.trust, Trust::Unverified | Trust::Local) {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    let mut authorities = Vec::new();
    for pem in &connection.authorities {
        authorities.extend(reqwest::Certificate::from_pem_bundle(pem).map_err(failed)?);
    }
    if !authorities.is_empty() {
        builder = builder.tls_certs_merge(authorities);
    }
    if let Some(pem) = &connection.identity {
        builder = builder.identity(reqwest::Identity::from_pem(pem).map_err(failed)?);
    }
    if matches!(key.trust, Trust::Verified | Trust::Unverified) {
        for proxy in config.proxies.rules()? {
            builder = builder.proxy(proxy);
        }
    }
    builder.build().map_err(failed)
}

impl Client {
    /// The HTTP client for a registry's URL, with what is set for its host.
    pub(crate) fn http(&self, url: &Url) -> Result<reqwest::Client, Error> {
        let host = server(self.config(), url, Asked::ByName)?;
        self.clients()
            .get(self.config(), url, false, &host.connection)
    }

    /// The HTTP client for a URL that a call leads to. The settings of the call's server are for that
    /// server; others it leads to, such as its token server, may have certificates of the same authority.
    pub(crate) fn http_of(
        &self,
        call: &Call,
        url: &Url,
        uploads: bool,
    ) -> Result<reqwest::Client, Error> {
        let own = &call.host.connection;
        if same_origin(url, &call.home) {
            return self.clients().get(self.config(), url, uploads, own);
        }
        let host = server(self.config(), url, Asked::ByAnother)?;
        let mut connection = host.connection.clone();
        let insecure = trust(self.config(), url, &connection);
        // Only where certificates are verified at all: more authorities must not make it stricter.
        if matches!(insecure, Trust::Verified | Trust::LocalVerified) {
            connection
                .authorities
                .extend(own.authorities.iter().cloned());
        }
        self.clients().get(self.config(), url, uploads, &connection)
    }
}

impl Client {
    /// Sends a request, authorising it when the registry asks, without trying again.
    pub(crate) async fn attempt(&self, call: &Call) -> Result<Response, Error> {
        let response = self.answer(call).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(call, response).await)
    }

    /// What an answer that is not a success says.
    pub(crate) async fn refusal(&self, call: &Call, response: Response) -> Error {
        let patience = self.config().stall_timeout;
        Error::from_response(&call.reference, &call.purpose, response, patience).await
    }

    /// As [`Client::attempt`], with any answer, other than a 401 that credentials help against.
    pub(crate) async fn answer(&self, call: &Call) -> Result<Response, Error> {
        let grant = self.cached_grant(call);
        let response = self.follow(call, grant.clone()).await?;
        // Only the registry itself may ask for credentials, not where it redirected to.
        if response.status() == StatusCode::UNAUTHORIZED && same_origin(response.url(), &call.home)
        {
            let grant = self.authorize(call, response, grant).await?;
            return self.follow(call, Some(grant)).await;
        }
        Ok(response)
    }

    /// Follows redirects. The authorisation goes to the registry's own origin and nowhere else.
    async fn follow(&self, call: &Call, grant: Option<HeaderValue>) -> Result<Response, Error> {
        let mut url = call.url.clone();
        let mut grant = grant.filter(|_| same_origin(&url, &call.home));
        for _ in 0..=MAX_REDIRECTS {
            let http = self.http_of(call, &url, call.payload.part().is_some())?;
            let mut request = call.request(&http, &url);
            if same_origin(&url, &call.home) {
                request = request.headers(call.host.headers.clone());
            }
            if let Some(grant) = &grant {
                request = request.header(header::AUTHORIZATION, grant.clone());
            }
            let response = self.send(call, &url, request).await?;
            if !call.may_follow(response.status()) {
                return Ok(response);
            }
            let target = redirect_target(&response, &url)?;
            self.refuse_downgrade(&url, &target)?;
            if !same_origin(&url, &target) {
                grant = None;
            }
            url = target;
        }
        Err(Error::Malformed(format!(
            "{} \"{}\": stopped after {MAX_REDIRECTS} redirects",
            call.verb, call.url
        )))
    }

    /// Sends what there is to send, as long as it moves.
    async fn send(
        &self,
        call: &Call,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<Response, Error> {
        let sending = request.send();
        let Some(part) = call.payload.part() else {
            return sending
                .await
                .map_err(|error| transport(call.verb, url, &error));
        };
        tokio::pin!(sending);
        loop {
            let (before, ended) = (part.sent.bytes(), part.state.ended());
            let patience = match ended {
                true => self.config().commit_timeout,
                false => self.config().stall_timeout,
            };
            tokio::select! {
                sent = &mut sending => return sent.map_err(|error| match part.state.failure() {
                    Some(reason) => Error::Source(reason),
                    None => transport(call.verb, url, &error),
                }),
                () = tokio::time::sleep(patience) => {
                    if part.sent.bytes() == before && part.state.ended() == ended {
                        return Err(Error::Transport {
                            verb: call.verb,
                            url: url.to_string(),
                            reason: "net/http: timeout awaiting response headers".to_owned(),
                            transient: true,
                            connect: false,
                        });
                    }
                }
            }
        }
    }

    /// Whether a host is spoken to over verified TLS and not otherwise.
    pub(crate) fn is_verified(&self, url: &Url, asked: Asked) -> Result<bool, Error> {
        let host = server(self.config(), url, asked)?;
        let trust = trust(self.config(), url, &host.connection);
        Ok(matches!(trust, Trust::Verified | Trust::LocalVerified))
    }

    /// Refuses to leave TLS, except for hosts that may do without.
    pub(crate) fn refuse_downgrade(&self, from: &Url, to: &Url) -> Result<(), Error> {
        let plain = from.scheme() == "https" && to.scheme() != "https";
        if plain && self.is_verified(to, Asked::ByAnother)? {
            return Err(Error::PlainHttp {
                url: to.to_string(),
            });
        }
        Ok(())
    }

    /// Repeats `attempt` while it fails for transient reasons, as the policy allows.
    pub(crate) async fn with_retries<T, F, Fut>(&self, attempt: F) -> Result<T, Error>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let mut backoff = Backoff::new(self.config().retry);
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let pause = match error.is_transient() {
                true => backoff.next(error.retry_after()),
                false => None,
            };
            let Some(pause) = pause else {
                return Err(error);
            };
            tracing::debug!(%error, ?pause, "registry request failed, trying again");
            tokio::time::sleep(pause).await;
        }
    }
}

fn redirect_target(response: &Response, url: &Url) -> Result<Url, Error> {
    response
        .headers()
        .get(header::LOCATION)
        .and_then(|location| url.join(location.to_str().ok()?).ok())
        .filter(|target| matches!(target.scheme(), "http" | "https"))
        .ok_or_else(|| {
            Error::Malformed(format!("Get \"{url}\": redirect without a usable Location"))
        })
}

pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_left_only_for_hosts_that_may_do_without() {
        let client = Client::new(Config {
            insecure: vec!["store.lan".parse().unwrap()],
            ..Config::default()
        });
        let allowed = |from: &str, to: &str| {
            let parse = |text| Url::parse(text).unwrap();
            client.refuse_downgrade(&parse(from), &parse(to)).is_ok()
        };
        assert!(!allowed("https://reg.org/", "http://reg.org/"));
        assert!(!allowed("https://reg.org/", "http://auth.org/token"));
        assert!(allowed("https://reg.org/", "https://other.org/"));
        assert!(allowed("https://reg.org/", "http://store.lan/"));
        assert!(allowed("http://reg.lan/", "http://other.lan/"));
    }
}
