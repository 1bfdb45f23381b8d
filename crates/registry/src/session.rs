//! One request: sent, redirected, authorised, tried again.

use crate::endpoint::{Trust, trust};
use crate::reason::transport;
use crate::retry::Backoff;
use crate::{Client, Config, Credentials, Error};
use hull_spec::Reference;
use reqwest::header::{self, HeaderValue};
use reqwest::{Response, StatusCode};
use std::sync::OnceLock;
use url::Url;

/// A GET on a repository.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) reference: Reference,
    pub(crate) credentials: Credentials,
    pub(crate) url: Url,
    /// The `Accept` header.
    pub(crate) accept: Option<&'static str>,
    /// The first byte wanted.
    pub(crate) from: u64,
    /// The method that errors name. Docker asks for manifests with HEAD first.
    pub(crate) verb: &'static str,
}

/// Go's limit.
const MAX_REDIRECTS: usize = 10;

/// The HTTP clients, made when first needed: loading the system's certificates takes a while.
#[derive(Debug, Default)]
pub(crate) struct HttpClients {
    verified: OnceLock<reqwest::Client>,
    unverified: OnceLock<reqwest::Client>,
    local: OnceLock<reqwest::Client>,
}

impl HttpClients {
    pub(crate) fn get(&self, config: &Config, url: &Url) -> Result<&reqwest::Client, Error> {
        let trust = trust(config, url);
        let slot = match trust {
            Trust::Verified => &self.verified,
            Trust::Unverified => &self.unverified,
            Trust::Local => &self.local,
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        crate::install_crypto_provider();
        let mut builder = reqwest::Client::builder()
            .user_agent(&config.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.connect_timeout)
            .read_timeout(config.stall_timeout);
        if trust != Trust::Verified {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if trust == Trust::Local {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| Error::Setup(error.to_string()))?;
        Ok(slot.get_or_init(|| client))
    }
}

impl Client {
    /// Sends a request, authorising it when the registry asks, without trying again.
    pub(crate) async fn attempt(&self, call: &Call) -> Result<Response, Error> {
        let mut response = self.follow(call, self.cached_grant(call)).await?;
        // Only the registry itself may ask for credentials, not where it redirected to.
        if response.status() == StatusCode::UNAUTHORIZED && same_origin(response.url(), &call.url) {
            let grant = self.authorize(call, response).await?;
            response = self.follow(call, Some(grant)).await?;
        }
        if response.status().is_success() {
            return Ok(response);
        }
        Err(Error::from_response(&call.reference, response).await)
    }

    /// Follows redirects. The authorisation goes to the registry's own origin and nowhere else.
    async fn follow(&self, call: &Call, grant: Option<HeaderValue>) -> Result<Response, Error> {
        let mut url = call.url.clone();
        let mut grant = grant;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.http(&url)?.get(url.clone());
            if let Some(accept) = call.accept {
                request = request.header(header::ACCEPT, accept);
            }
            if call.from > 0 {
                request = request.header(header::RANGE, format!("bytes={}-", call.from));
            }
            if let Some(grant) = &grant {
                request = request.header(header::AUTHORIZATION, grant.clone());
            }
            let response = request
                .send()
                .await
                .map_err(|error| transport(call.verb, &url, &error))?;
            let Some(target) = redirect_target(&response, &url)? else {
                return Ok(response);
            };
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

    /// Refuses to leave TLS, except for hosts that may do without.
    pub(crate) fn refuse_downgrade(&self, from: &Url, to: &Url) -> Result<(), Error> {
        let plain = from.scheme() == "https" && to.scheme() != "https";
        if plain && trust(self.config(), to) == Trust::Verified {
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

fn redirect_target(response: &Response, url: &Url) -> Result<Option<Url>, Error> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    response
        .headers()
        .get(header::LOCATION)
        .and_then(|location| url.join(location.to_str().ok()?).ok())
        .filter(|target| matches!(target.scheme(), "http" | "https"))
        .map(Some)
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
