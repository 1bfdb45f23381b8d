//! Where a repository can be fetched from, in which order.

use crate::config::is_loopback;
use crate::hosts::{Asked, Capability, Connection, Host, server, settings};
use crate::{Config, Error};
use hull_spec::{DOCKER_HUB, Reference};
use std::sync::Arc;
use url::Url;

/// One server and the ways in which it may be spoken to, preferred first: verified TLS alone, or
/// TLS and then plain HTTP where the host is insecure.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) bases: Vec<Url>,
    pub(crate) mirror: bool,
    pub(crate) host: Arc<Host>,
}

impl Place {
    pub(crate) fn can(&self, what: Capability) -> bool {
        self.host.can(what, self.mirror)
    }
}

/// A place with the way that works.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) base: Url,
    pub(crate) mirror: bool,
    pub(crate) host: Arc<Host>,
}

impl Endpoint {
    /// The URL of `path` below `/v2/`. `path` holds only characters of references, digests and
    /// slashes, so it needs no escapes.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/');
        let version = if self.host.override_path { "" } else { "/v2" };
        let whole = format!("{prefix}{version}/{path}");
        url.set_path(&whole);
        if let Some(namespace) = &self.host.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        url
    }
}

/// The places of a reference's registry: mirrors first, those of the daemon's settings (which are
/// Docker Hub's) before those of `hosts.toml`.
pub(crate) fn places(config: &Config, reference: &Reference) -> Result<Vec<Place>, Error> {
    let domain = reference.domain();
    let set = settings(config, domain)?;
    let mut places = Vec::new();
    if domain == DOCKER_HUB {
        for url in &config.mirrors {
            places.push(Place {
                bases: vec![url.clone()],
                mirror: true,
                host: server(config, url, Asked::ByName)?,
            });
        }
    }
    places.extend(set.mirrors.into_iter().map(|host| Place {
        bases: host.url.iter().cloned().collect(),
        mirror: true,
        host,
    }));
    let bases = match &set.server.url {
        Some(url) => vec![url.clone()],
        None if domain == DOCKER_HUB => vec![config.hub.clone()],
        None => own_bases(config, domain, &set.server.connection),
    };
    places.push(Place {
        bases,
        mirror: false,
        host: set.server,
    });
    Ok(places)
}

/// The registry by its own name. Who names an authority wants it to be asked: no other way then.
fn own_bases(config: &Config, domain: &str, connection: &Connection) -> Vec<Url> {
    let Ok(https) = Url::parse(&format!("https://{domain}/")) else {
        return Vec::new();
    };
    let insecure = config.is_insecure(https.host_str().unwrap_or_default(), domain)
        && connection.authorities.is_empty()
        && connection.skip_verify != Some(false);
    let mut bases = vec![https];
    if insecure {
        bases.extend(Url::parse(&format!("http://{domain}/")));
    }
    bases
}

/// Host and port of a URL, without its scheme's usual port, which URLs do not keep.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The names that references may have for a URL's host: with its port, and also without the usual one.
pub(crate) fn authorities(url: &Url) -> Vec<String> {
    let short = authority(url);
    let host = url.host_str().unwrap_or_default();
    let long = url
        .port_or_known_default()
        .map(|port| format!("{host}:{port}"));
    let long = long.filter(|long| *long != short);
    [Some(short), long].into_iter().flatten().collect()
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
    /// The host is this machine, and certificates are verified all the same.
    LocalVerified,
}

/// The trust that a URL's host has.
pub(crate) fn trust(config: &Config, url: &Url, connection: &Connection) -> Trust {
    let host = url.host_str().unwrap_or_default();
    let stated = match connection.skip_verify {
        Some(skip) => Some(skip),
        None => (!connection.authorities.is_empty()).then_some(false),
    };
    let insecure = stated.unwrap_or_else(|| {
        let names = authorities(url);
        names.iter().any(|name| config.is_insecure(host, name))
    });
    match (is_loopback(host), insecure) {
        (true, true) => Trust::Local,
        (true, false) => Trust::LocalVerified,
        (false, true) => Trust::Unverified,
        (false, false) => Trust::Verified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(config: &Config, reference: &str) -> Vec<String> {
        places(config, &reference.parse().unwrap())
            .unwrap()
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
    fn a_written_usual_port_counts() {
        let config = Config {
            insecure: vec!["reg.lan:443".parse().unwrap()],
            ..Config::default()
        };
        let trust_in = |url: &str| {
            let url = Url::parse(url).unwrap();
            trust(&config, &url, &Connection::default())
        };
        assert_eq!(trust_in("https://reg.lan:443/"), Trust::Unverified);
        assert_eq!(trust_in("https://reg.lan:5000/"), Trust::Verified);
        assert_eq!(trust_in("http://reg.lan/"), Trust::Verified);
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
                host: Arc::default(),
            };
            assert_eq!(endpoint.url("a/blobs/sha256:00").as_str(), url);
        }
    }
}
