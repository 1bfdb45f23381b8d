//! What a client is told about registries.

use crate::{Error, Retry};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use url::Url;

/// Settings of a [`crate::Client`], all with the defaults that a daemon without options has.
#[derive(Clone, Debug)]
pub struct Config {
    /// Registries that may be spoken to over unverified TLS or plain HTTP. Loopback addresses and
    /// `localhost` always are.
    pub insecure: Vec<Insecure>,
    /// Mirrors of Docker Hub, tried in order before it.
    pub mirrors: Vec<Url>,
    /// Directories in which hosts have a directory of their own, with `hosts.toml` or certificates.
    pub host_dirs: Vec<PathBuf>,
    /// Proxies, before those of the environment.
    pub proxies: Proxies,
    /// Docker Hub's registry, which references call `docker.io`.
    pub hub: Url,
    /// Docker Hub's index, which is searched.
    pub index: Url,
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a connection may be silent. There is no limit on a transfer that moves.
    pub stall_timeout: Duration,
    /// How long a registry may take to accept a blob whose last byte it has: some copy it then.
    pub commit_timeout: Duration,
    /// What happens after transient failures.
    pub retry: Retry,
}

/// Proxies by the scheme of what is asked for; what is `None` is taken from the environment
/// (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`). This machine's own addresses are never asked by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://`.
    pub http: Option<String>,
    /// For `https://`.
    pub https: Option<String>,
    /// Hosts, domains, addresses and networks without a proxy, separated by commas.
    pub none: Option<String>,
}

impl Proxies {
    /// The rules for an HTTP client.
    pub(crate) fn rules(&self) -> Result<Vec<reqwest::Proxy>, Error> {
        let from = |own: &Option<String>, name: &str| {
            let environment = || {
                let lower = name.to_ascii_lowercase();
                std::env::var(name).or_else(|_| std::env::var(lower)).ok()
            };
            own.clone()
                .or_else(environment)
                .filter(|text| !text.is_empty())
        };
        let none = from(&self.none, "NO_PROXY").unwrap_or_default();
        let mut rules = Vec::new();
        for (own, name) in [(&self.http, "HTTP_PROXY"), (&self.https, "HTTPS_PROXY")] {
            let Some(text) = from(own, name) else {
                continue;
            };
            // As Go reads it: a proxy without a scheme is asked by HTTP.
            let url = match text.contains("://") {
                true => text,
                false => format!("http://{text}"),
            };
            let rule = match name {
                "HTTP_PROXY" => reqwest::Proxy::http(&url),
                _ => reqwest::Proxy::https(&url),
            };
            // The URL may hold a password: it is not part of the message.
            let rule = rule.map_err(|_| Error::Setup(format!("{name} is no URL of a proxy")))?;
            rules.push(rule.no_proxy(reqwest::NoProxy::from_string(&none)));
        }
        Ok(rules)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            host_dirs: Vec::new(),
            proxies: Proxies::default(),
            hub: hub(),
            index: Url::parse("https://index.docker.io/").expect("a constant URL"),
            user_agent: concat!("hull/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            commit_timeout: Duration::from_secs(15 * 60),
            retry: Retry::default(),
        }
    }
}

fn hub() -> Url {
    Url::parse("https://registry-1.docker.io/").expect("a constant URL")
}

impl Config {
    /// Whether `host` (no port), which a reference or URL wrote as `authority` (with its port, if
    /// any), may be spoken to without verified TLS.
    pub(crate) fn is_insecure(&self, host: &str, authority: &str) -> bool {
        is_loopback(host)
            || self.insecure.iter().any(|insecure| match insecure {
                Insecure::Host(name) => name == authority || name == host,
                Insecure::Network(network) => address(host).is_some_and(|ip| network.contains(&ip)),
            })
    }
}

/// Whether `host` is `localhost` or a loopback address, in brackets or not.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|ip| ip.is_loopback())
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

/// One value of dockerd's `--insecure-registry`: a host, a host with its port, or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Insecure {
    /// `registry.lan` or `registry.lan:5000`; without a port it stands for every port.
    Host(String),
    /// `10.0.0.0/8`: registries named by an address in it.
    Network(IpNet),
}

/// Why a setting was refused. The texts are dockerd's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// An insecure registry with a scheme.
    #[error("insecure registry {0} should not contain '://'")]
    Scheme(String),
    /// An insecure registry that is no host.
    #[error("insecure registry {0} is not valid: invalid host \"{0}\"")]
    Host(String),
    /// A mirror that is not a URL.
    #[error("invalid mirror: \"{0}\" is not a valid URI")]
    MirrorUrl(String),
    /// A mirror that is neither http nor https.
    #[error("invalid mirror: unsupported scheme \"{scheme}\" in \"{url}\"")]
    MirrorScheme {
        /// The scheme.
        scheme: String,
        /// The whole text.
        url: String,
    },
    /// A mirror with a query or fragment.
    #[error("invalid mirror: query or fragment at end of the URI \"{0}\"")]
    MirrorQuery(String),
    /// A mirror with a user or password in it.
    #[error("invalid mirror: username/password not allowed in URI \"{0}\"")]
    MirrorUser(String),
}

impl FromStr for Insecure {
    type Err = InvalidConfig;

    fn from_str(text: &str) -> Result<Self, InvalidConfig> {
        if text.contains("://") {
            return Err(InvalidConfig::Scheme(text.to_owned()));
        }
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        // A URL's parser knows hosts, ports and brackets best.
        let valid = Url::parse(&format!("http://{text}/")).is_ok_and(|url| {
            url.has_host() && url.path() == "/" && url.query().is_none() && url.username() == ""
        });
        if text.is_empty() || text.contains('/') || !valid {
            return Err(InvalidConfig::Host(text.to_owned()));
        }
        Ok(Self::Host(text.to_owned()))
    }
}

/// Checks one value of `--registry-mirror`.
///
/// # Errors
/// [`InvalidConfig`] with dockerd's words.
pub fn parse_mirror(text: &str) -> Result<Url, InvalidConfig> {
    let url = Url::parse(text).map_err(|_| InvalidConfig::MirrorUrl(text.to_owned()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(InvalidConfig::MirrorScheme {
            scheme: url.scheme().to_owned(),
            url: text.to_owned(),
        });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidConfig::MirrorQuery(text.to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidConfig::MirrorUser(format!(
            "{}://xxxxx:xxxxx@{}/",
            url.scheme(),
            url.host_str().unwrap_or_default()
        )));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_configured_are_insecure() {
        let config = Config {
            insecure: ["reg.lan:5000", "any.lan", "10.1.0.0/16", "fd00::/8"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            ..Config::default()
        };
        for (host, authority, insecure) in [
            ("localhost", "localhost:5000", true),
            ("127.8.9.1", "127.8.9.1", true),
            ("[::1]", "[::1]:5000", true),
            ("reg.lan", "reg.lan:5000", true),
            ("reg.lan", "reg.lan:5001", false),
            ("any.lan", "any.lan:1", true),
            ("10.1.2.3", "10.1.2.3:80", true),
            ("10.2.2.3", "10.2.2.3:80", false),
            ("[fd00::1]", "[fd00::1]", true),
            ("localhost.evil.org", "localhost.evil.org", false),
            ("127.0.0.1.evil.org", "127.0.0.1.evil.org", false),
        ] {
            assert_eq!(config.is_insecure(host, authority), insecure, "{authority}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "http://a", "a/b", "a b", "u@h", "a:port"] {
            assert!(bad.parse::<Insecure>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "ftp://a",
            "http://a/?b",
            "https://a/#b",
            "https://u:p@a",
        ] {
            assert!(parse_mirror(bad).is_err(), "{bad}");
        }
        assert!(
            !parse_mirror("https://u:hidden@a")
                .unwrap_err()
                .to_string()
                .contains("hidden")
        );
        parse_mirror("https://mirror.lan/hub/").unwrap();
    }
}
