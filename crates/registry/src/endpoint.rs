//! Where a repository can be fetched from, in which order.

use crate::Config;
use crate::config::is_loopback;
use hull_spec::{DOCKER_HUB, Reference};
use url::Url;

/// One server and the ways in which it may be spoken to, preferred first: verified TLS alone, or
/// TLS and then plain HTTP where the host is insecure.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) bases: Vec<Url>,
    pub(crate) mirror: bool,
}

/// A place with the way that works.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) base: Url,
    pub(crate) mirror: bool,
}

impl Endpoint {
    /// The URL of `path` below `/v2/`. `path` holds only characters of references, digests and
    /// slashes, so it needs no escapes.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/');
        let whole = format!("{prefix}/v2/{path}");
        url.set_path(&whole);
        url
    }
}

/// The places of a reference's registry: mirrors first when it is Docker Hub.
pub(crate) fn places(config: &Config, reference: &Reference) -> Vec<Place> {
    let domain = reference.domain();
    if domain == DOCKER_HUB {
        let single = |url: &Url, mirror| Place {
            bases: vec![url.clone()],
            mirror,
        };
        return config
            .mirrors
            .iter()
            .map(|url| single(url, true))
            .chain([single(&config.hub, false)])
            .collect();
    }
    let mut bases = Vec::new();
    if let Ok(https) = Url::parse(&format!("https://{domain}/")) {
        let insecure = config.is_insecure(https.host_str().unwrap_or_default(), domain);
        bases.push(https);
        if insecure {
            bases.extend(Url::parse(&format!("http://{domain}/")));
        }
    }
    vec![Place {
        bases,
        mirror: false,
    }]
}

/// How TLS and proxies are used for a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// Certificates are verified.
    Verified,
    /// The host is configured as insecure.
    Unverified,
    /// The host is this machine: unverified, and no proxy, as Go's clients have it.
    Local,
}

/// The trust that a URL's host has.
pub(crate) fn trust(config: &Config, url: &Url) -> Trust {
    let host = url.host_str().unwrap_or_default();
    if is_loopback(host) {
        return Trust::Local;
    }
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    if config.is_insecure(host, &authority) {
        Trust::Unverified
    } else {
        Trust::Verified
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(config: &Config, reference: &str) -> Vec<String> {
        places(config, &reference.parse().unwrap())
            .into_iter()
            .flat_map(|place| place.bases)
            .map(Into::into)
            .collect()
    }

    #[test]
    fn plain_http_only_where_it_may_be() {
        let config = Config {
            insecure: vec!["reg.lan:5000".parse().unwrap()],
            mirrors: vec![Url::parse("https://m.lan/hub").unwrap()],
            ..Config::default()
        };
        assert_eq!(bases(&config, "reg.org/a"), ["https://reg.org/"]);
        assert_eq!(
            bases(&config, "reg.lan:5000/a"),
            ["https://reg.lan:5000/", "http://reg.lan:5000/"]
        );
        assert_eq!(
            bases(&config, "localhost/a"),
            ["https://localhost/", "http://localhost/"]
        );
        assert_eq!(
            bases(&config, "debian"),
            ["https://m.lan/hub", "https://registry-1.docker.io/"]
        );
    }

    #[test]
    fn paths_follow_a_mirrors_prefix() {
        for (base, url) in [
            (
                "https://m.lan/hub/",
                "https://m.lan/hub/v2/a/blobs/sha256:00",
            ),
            ("https://m.lan", "https://m.lan/v2/a/blobs/sha256:00"),
        ] {
            let endpoint = Endpoint {
                base: Url::parse(base).unwrap(),
                mirror: true,
            };
            assert_eq!(endpoint.url("a/blobs/sha256:00").as_str(), url);
        }
    }
}
