//! Searching for repositories: an API from before the distribution specification, which Docker Hub and
//! some private registries have.

use crate::hosts::Asked;
use crate::login::basic;
use crate::reason::transport;
use crate::{Client, Credentials, Error};
use hull_spec::DOCKER_HUB;
use reqwest::header::AUTHORIZATION;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use url::Url;

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name within the registry.
    pub name: String,
    /// Its owner's words, as they are.
    pub description: String,
    /// How many users marked it.
    pub star_count: i64,
    /// Whether it is one of Docker's own.
    pub is_official: bool,
}

/// Why a search failed. The texts are dockerd's.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The term or the registry in it makes no sense, or there is no such registry.
    #[error("{0}")]
    Term(String),
    /// The registry answered something else than results.
    #[error("{0}")]
    Answer(String),
    /// The registry cannot be asked.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// How many results are asked for when nobody says how many.
const USUAL: u32 = 25;
/// How many may be asked for.
const LIMIT: std::ops::RangeInclusive<u32> = 1..=100;
/// A hundred results need no more than this.
const MAX_REPLY: usize = 4 << 20;

impl Client {
    /// Searches Docker Hub for `term`, or another registry for what follows `host/` in it. A limit of 0
    /// is the usual one.
    ///
    /// # Errors
    /// See [`SearchError`].
    pub async fn search(
        &self,
        term: &str,
        limit: u32,
        credentials: &Credentials,
    ) -> Result<Vec<Found>, SearchError> {
        let limit = if limit == 0 { USUAL } else { limit };
        if !LIMIT.contains(&limit) {
            let text = format!("limit {limit} is outside the range of [1, 100]");
            return Err(SearchError::Term(text));
        }
        if term.contains("://") {
            return Err(SearchError::Term(format!(
                "invalid repository name: repository name ({term}) should not have a scheme"
            )));
        }
        let (host, name) = split(term);
        let base = match host {
            DOCKER_HUB => self.config().index.clone(),
            host => self.index_of(host).await?,
        };
        let name = match host {
            DOCKER_HUB => name.strip_prefix("library/").unwrap_or(name),
            _ => name,
        };
        let mut url = base.join("v1/search").map_err(|_| unusable(host))?;
        url.query_pairs_mut()
            .append_pair("q", name)
            .append_pair("n", &limit.to_string());
        let mut request = self.http(&url)?.get(url.clone());
        request = request.header("X-Docker-Token", "true");
        if let Some(grant) = basic(credentials) {
            request = request.header(AUTHORIZATION, grant);
        }
        let answer = request
            .send()
            .await
            .map_err(|error| transport("Get", &url, &error))?;
        results(answer, &url).await
    }

    /// The way in which a private registry's index answers: TLS, or plain HTTP where it may.
    async fn index_of(&self, host: &str) -> Result<Url, SearchError> {
        let https = Url::parse(&format!("https://{host}/")).map_err(|_| unusable(host))?;
        let Err(first) = self.ping_index(&https).await else {
            return Ok(https);
        };
        if self.is_verified(&https, Asked::ByName)? {
            let name = https.host_str().unwrap_or_default();
            return Err(SearchError::Term(format!(
                "invalid registry endpoint https://{host}/v1/: {first}. If this private registry supports only HTTP or HTTPS with an unknown CA certificate, add `--insecure-registry {host}` to the daemon's arguments. In the case of HTTPS, if you have access to the registry's CA certificate, no need for the flag; place the CA certificate in the certs.d directory of {name}"
            )));
        }
        let http = Url::parse(&format!("http://{host}/")).map_err(|_| unusable(host))?;
        match self.ping_index(&http).await {
            Ok(()) => Ok(http),
            Err(second) => Err(SearchError::Term(format!(
                "invalid registry endpoint \"http://{host}/v1/\". HTTPS attempt: {first}. HTTP attempt: {second}"
            ))),
        }
    }

    /// Any answer will do: the search itself says the rest.
    async fn ping_index(&self, base: &Url) -> Result<(), Error> {
        let Ok(url) = base.join("v1/_ping") else {
            return Err(Error::Malformed(format!("{base} makes no URL")));
        };
        let asked = self.http(&url)?.get(url.clone()).send().await;
        asked
            .map(drop)
            .map_err(|error| transport("Get", &url, &error))
    }
}

async fn results(answer: Response, url: &Url) -> Result<Vec<Found>, SearchError> {
    #[derive(Deserialize)]
    struct Results {
        #[serde(default)]
        results: Option<Vec<Found>>,
    }
    let status = answer.status();
    if status != StatusCode::OK {
        let text = format!("Unexpected status code {}", status.as_u16());
        return Err(SearchError::Answer(text));
    }
    let body = read(answer, url, MAX_REPLY, url.host_str().unwrap_or_default()).await?;
    let results: Results = serde_json::from_slice(&body).map_err(|error| {
        SearchError::Answer(format!("error decoding registry search results: {error}"))
    })?;
    Ok(results.results.unwrap_or_default())
}

fn unusable(host: &str) -> SearchError {
    SearchError::Term(format!("invalid index name ({host})"))
}

/// The registry that a term names, and what to look for there.
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some(("index.docker.io", rest)) => (DOCKER_HUB, rest),
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => (DOCKER_HUB, term),
    }
}

/// The host, with its port, of a registry's address as people write it; Docker Hub's when there is none.
pub(crate) fn host_of(server: &str) -> Result<String, String> {
    if server.is_empty() {
        return Ok(DOCKER_HUB.to_owned());
    }
    let text = match server.contains("://") {
        true => server.to_owned(),
        false => format!("https://{server}"),
    };
    let url = Url::parse(&text).map_err(|error| format!("parse {text:?}: {error}"))?;
    match (url.host_str().unwrap_or_default(), url.port()) {
        ("", _) => Err(format!("parse {text:?}: there is no host in it")),
        ("index.docker.io" | "registry-1.docker.io", None) => Ok(DOCKER_HUB.to_owned()),
        (host, None) => Ok(host.to_owned()),
        (host, Some(port)) => Ok(format!("{host}:{port}")),
    }
}

/// Reads an answer of `limit` bytes at most.
pub(crate) async fn read(
    mut answer: Response,
    url: &Url,
    limit: usize,
    server: &str,
) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| transport("Get", url, &error))?
    {
        if body.len() + chunk.len() > limit {
            return Err(Error::TooLarge {
                what: format!("the reply of {server}"),
                limit: limit as u64,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_and_servers_name_registries() {
        for (term, host, name) in [
            ("busybox", DOCKER_HUB, "busybox"),
            ("team/app", DOCKER_HUB, "team/app"),
            ("docker.io/busybox", DOCKER_HUB, "busybox"),
            ("index.docker.io/a/b", DOCKER_HUB, "a/b"),
            ("localhost/a", "localhost", "a"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b"),
            ("127.0.0.1:5000", DOCKER_HUB, "127.0.0.1:5000"),
        ] {
            assert_eq!(split(term), (host, name));
        }
        for (server, host) in [
            ("", DOCKER_HUB),
            ("https://index.docker.io/v1/", DOCKER_HUB),
            ("docker.io", DOCKER_HUB),
            ("reg.lan:5000", "reg.lan:5000"),
            ("http://127.0.0.1:5000/v1/", "127.0.0.1:5000"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(host_of(server).unwrap(), host);
        }
        assert!(host_of("https://a b/").is_err() && host_of("https://").is_err());
    }
}
