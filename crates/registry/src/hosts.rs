//! Registries' own settings: containerd's `hosts.toml`, and certificates as Docker has them in
//! `/etc/docker/certs.d`. The only place of this crate that reads files.
//!
//! ```text
//! <directory>/<host[:port]>/    also <host>_<port>_, and _default for hosts without one
//!     hosts.toml                server, [host."URL"]: capabilities, ca, client, skip_verify, …
//!     *.crt                     without hosts.toml: authorities for the registry
//!     *.cert, *.key             and certificates to identify with
//! ```
//!
//! Of several directories the first that knows the host counts. The files are read for every request:
//! they are small, and a renewed certificate counts at once.

use crate::endpoint::authorities as names_of;
use crate::{Config, Error};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use toml::{Table, Value};
use url::Url;
use zeroize::Zeroizing;

/// A settings file or certificate longer than this is none.
const MAX_FILE: u64 = 1 << 20;
/// The most files of one directory and hosts of one file.
const MAX_ENTRIES: usize = 64;

/// How a server is connected to, beyond what is so for all.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    /// PEM: authorities besides the system's.
    pub(crate) authorities: Vec<Vec<u8>>,
    /// PEM: a certificate with its key.
    pub(crate) identity: Option<Zeroizing<Vec<u8>>>,
    pub(crate) skip_verify: Option<bool>,
    pub(crate) dial_timeout: Option<Duration>,
}

impl Hash for Connection {
    /// Without the identity: equality tells those apart.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.authorities.hash(state);
        self.skip_verify.hash(state);
        self.dial_timeout.hash(state);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("authorities", &self.authorities.len())
            .field("identity", &self.identity.is_some())
            .field("skip_verify", &self.skip_verify)
            .finish_non_exhaustive()
    }
}

/// What a server may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    Pull,
    Resolve,
    Push,
}

/// One server of a registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// `None`: the registry by its own name.
    pub(crate) url: Option<Url>,
    /// `None`: everything, except that mirrors are pushed to only when that is said.
    capabilities: Option<Vec<String>>,
    pub(crate) headers: HeaderMap,
    /// Whether the URL's path is the whole path of the API, without `/v2`.
    pub(crate) override_path: bool,
    /// Sent to mirrors as `ns`: which registry's content is meant.
    pub(crate) namespace: Option<String>,
    pub(crate) connection: Connection,
}

impl Host {
    pub(crate) fn can(&self, what: Capability, mirror: bool) -> bool {
        let name = match what {
            Capability::Pull => "pull",
            Capability::Resolve => "resolve",
            Capability::Push => "push",
        };
        match &self.capabilities {
            Some(stated) => stated.iter().any(|stated| stated == name),
            None => !(mirror && what == Capability::Push),
        }
    }
}

/// What is set for one registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Asked in this order, before the server.
    pub(crate) mirrors: Vec<Arc<Host>>,
    pub(crate) server: Arc<Host>,
}

/// The settings of the registry that is called `authority`: host and port, as references write them.
pub(crate) fn settings(config: &Config, authority: &str) -> Result<Settings, Error> {
    match directory(config, authority) {
        Some(directory) => load(&directory, authority),
        None => Ok(Settings::default()),
    }
}

/// How a server came to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// As a registry, by its name.
    ByName,
    /// Another server led to it: a redirect's target or a token server. It may be no registry, so
    /// what `_default` says of registries is not for it.
    ByAnother,
}

/// What is set for the server at `url` by the name of its host. What is set there for another server
/// (`server = "…"`) is not for it.
pub(crate) fn server(config: &Config, url: &Url, asked: Asked) -> Result<Arc<Host>, Error> {
    let names = names_of(url);
    let own = names
        .iter()
        .find_map(|name| Some((named(config, name)?, name)));
    let default = || Some((default(config)?, names.first()?));
    let found = match asked {
        Asked::ByName => own.or_else(default),
        Asked::ByAnother => own,
    };
    let Some((directory, name)) = found else {
        return Ok(Arc::default());
    };
    let server = load(&directory, name)?.server;
    let other = server
        .url
        .as_ref()
        .is_some_and(|own| own.origin() != url.origin());
    Ok(if other { Arc::default() } else { server })
}

fn load(directory: &Path, authority: &str) -> Result<Settings, Error> {
    let file = directory.join("hosts.toml");
    let read = match read(&file) {
        Ok(text) => String::from_utf8(text)
            .map_err(|error| error.to_string())
            .and_then(|text| parse(&text, directory, authority)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            certificates(directory).map(|connection| Settings {
                mirrors: Vec::new(),
                server: Arc::new(Host {
                    connection,
                    ..Host::default()
                }),
            })
        }
        Err(error) => Err(error.to_string()),
    };
    read.map_err(|reason| Error::HostConfig {
        path: directory.display().to_string(),
        reason,
    })
}

fn directory(config: &Config, authority: &str) -> Option<PathBuf> {
    named(config, authority).or_else(|| default(config))
}

fn default(config: &Config) -> Option<PathBuf> {
    let mut defaults = config.host_dirs.iter().map(|dir| dir.join("_default"));
    defaults.find(|directory| directory.is_dir())
}

fn named(config: &Config, authority: &str) -> Option<PathBuf> {
    let mut names = vec![authority.to_owned()];
    if let Some((host, port)) = authority.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        // File systems that know no colons.
        names.insert(0, format!("{host}_{port}_"));
    }
    // Authorities of URLs and references have no slashes, but this is where it would matter.
    names.retain(|name| !name.contains('/') && name != "." && name != "..");
    let mut own = config
        .host_dirs
        .iter()
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)));
    own.find(|directory| directory.is_dir())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs_err::File::open(path)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!(
            "{} is larger than {MAX_FILE} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Reads certificates as Docker does.
fn certificates(directory: &Path) -> Result<Connection, String> {
    let mut connection = Connection::default();
    let entries = fs_err::read_dir(directory).map_err(|error| error.to_string())?;
    let mut names: Vec<String> = entries
        .take(MAX_ENTRIES)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let has = |name: &str| names.iter().any(|other| other == name);
    for name in &names {
        let path = directory.join(name);
        if name.ends_with(".crt") {
            connection.authorities.push(file(&path)?);
        } else if let Some(stem) = name.strip_suffix(".cert") {
            let key = format!("{stem}.key");
            if !has(&key) {
                return Err(format!(
                    "missing key {key} for client certificate {name}. CA certificates must use the extension .crt"
                ));
            }
            if connection.identity.is_none() {
                connection.identity = Some(pair(&path, &directory.join(key))?);
            }
        } else if let Some(stem) = name.strip_suffix(".key")
            && !has(&format!("{stem}.cert"))
        {
            return Err(format!(
                "missing client certificate {stem}.cert for key {name}"
            ));
        }
    }
    Ok(connection)
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    read(path).map_err(|error| error.to_string())
}

fn pair(certificate: &Path, key: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(file(certificate)?);
    if certificate != key {
        bytes.push(b'\n');
        bytes.extend_from_slice(&Zeroizing::new(file(key)?));
    }
    Ok(bytes)
}

/// One server's part of the file. `[host]` is a table of these, and the file's top is one.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Section {
    server: Option<String>,
    capabilities: Option<Vec<String>>,
    ca: Option<Value>,
    client: Option<Value>,
    skip_verify: Option<bool>,
    header: Table,
    override_path: bool,
    dial_timeout: Option<String>,
    host: Table,
}

/// Reads a `hosts.toml` (containerd, docs/hosts.md) of `directory`. Keys that are not known are no error
/// there, and none here.
fn parse(text: &str, directory: &Path, authority: &str) -> Result<Settings, String> {
    let mut top: Section = toml::from_str(text).map_err(|error| error.to_string())?;
    let hosts = std::mem::take(&mut top.host);
    if hosts.len() > MAX_ENTRIES {
        return Err(format!("more than {MAX_ENTRIES} hosts"));
    }
    let server = top.server.take().filter(|server| !server.is_empty());
    let mut mirrors = Vec::new();
    for (url, section) in hosts {
        let section: Section = section
            .try_into()
            .map_err(|error| format!("host {url:?}: {error}"))?;
        let mut host = host(Some(&url), section, directory)?;
        host.namespace = Some(authority.to_owned());
        mirrors.push(Arc::new(host));
    }
    Ok(Settings {
        mirrors,
        server: Arc::new(host(server.as_deref(), top, directory)?),
    })
}

fn host(url: Option<&str>, section: Section, directory: &Path) -> Result<Host, String> {
    for capability in section.capabilities.iter().flatten() {
        if !matches!(capability.as_str(), "pull" | "resolve" | "push") {
            return Err(format!("unknown capability {capability}"));
        }
    }
    let url = match url {
        Some(text) => Some(parse_url(text, section.override_path)?),
        None => None,
    };
    let dial_timeout = match &section.dial_timeout {
        Some(text) => Some(duration(text).ok_or_else(|| format!("invalid dial_timeout {text:?}"))?),
        None => None,
    };
    Ok(Host {
        url,
        capabilities: section.capabilities,
        headers: headers(section.header)?,
        override_path: section.override_path,
        namespace: None,
        connection: Connection {
            authorities: authorities(section.ca, directory)?,
            identity: identity(section.client, directory)?,
            skip_verify: section.skip_verify,
            dial_timeout,
        },
    })
}

/// A host with or without scheme and path; `/v2` at its end is what is appended anyway.
fn parse_url(text: &str, override_path: bool) -> Result<Url, String> {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let mut url = Url::parse(&whole).map_err(|error| format!("host {text:?}: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("host {text:?}: neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a host with a user or password in it".to_owned());
    }
    url.set_query(None);
    url.set_fragment(None);
    let path = url.path().trim_end_matches('/');
    let path = match path.strip_suffix("/v2") {
        Some(rest) if !override_path => rest,
        _ => path,
    };
    let path = format!("{path}/");
    url.set_path(&path);
    Ok(url)
}

fn headers(table: Table) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, values) in table {
        let invalid = || format!("invalid header {name:?}");
        let values = match values {
            Value::Array(values) => values,
            value => vec![value],
        };
        let key: HeaderName = name.parse().map_err(|_| invalid())?;
        for value in values {
            let text = value.as_str().ok_or_else(invalid)?;
            let mut value = HeaderValue::from_str(text).map_err(|_| invalid())?;
            // Often a token.
            value.set_sensitive(true);
            headers.append(key.clone(), value);
        }
    }
    Ok(headers)
}

/// A path of the file, relative to its directory.
fn path(value: &Value, directory: &Path) -> Result<PathBuf, String> {
    let text = value.as_str().ok_or("ca and client are paths")?;
    Ok(directory.join(text))
}

fn authorities(value: Option<Value>, directory: &Path) -> Result<Vec<Vec<u8>>, String> {
    let values = match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values,
        Some(value) => vec![value],
    };
    values
        .iter()
        .take(MAX_ENTRIES)
        .map(|value| file(&path(value, directory)?))
        .collect()
}

/// `client` is a path of both, a list of such, or a list of pairs; the first is used.
fn identity(value: Option<Value>, directory: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let first = match value {
        None => return Ok(None),
        Some(Value::Array(values)) => match values.into_iter().next() {
            Some(first) => first,
            None => return Ok(None),
        },
        Some(value) => value,
    };
    let (certificate, key) = match &first {
        Value::Array(pair) => match pair.as_slice() {
            [certificate] => (path(certificate, directory)?, None),
            [certificate, key] => {
                let key = path(key, directory)
                    .ok()
                    .filter(|_| key.as_str() != Some(""));
                (path(certificate, directory)?, key)
            }
            _ => return Err("a client is a certificate and a key".to_owned()),
        },
        value => (path(value, directory)?, None),
    };
    let key = key.unwrap_or_else(|| certificate.clone());
    pair(&certificate, &key).map(Some)
}

/// Go's durations, as far as they make sense here: `3s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let nanoseconds = hull_spec::parse_duration(text).ok()?;
    let nanoseconds = u64::try_from(nanoseconds).ok()?;
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(directory: &Path) -> Config {
        Config {
            host_dirs: vec![directory.join("a"), directory.join("b")],
            ..Config::default()
        }
    }

    fn parsed(text: &str) -> Result<Settings, String> {
        parse(text, Path::new("/nonexistent"), "reg.org")
    }

    #[test]
    fn the_first_directory_that_knows_the_host_counts() {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path());
        let make = |name: &str| fs_err::create_dir_all(root.path().join(name)).unwrap();
        assert_eq!(directory(&config, "reg.org:5000"), None);
        make("a/_default");
        assert!(
            directory(&config, "reg.org:5000")
                .unwrap()
                .ends_with("a/_default")
        );
        make("b/reg.org:5000");
        assert!(
            directory(&config, "reg.org:5000")
                .unwrap()
                .ends_with("b/reg.org:5000")
        );
        make("b/reg.org_5000_");
        assert!(
            directory(&config, "reg.org:5000")
                .unwrap()
                .ends_with("b/reg.org_5000_")
        );
        make("a/reg.org:5000");
        assert!(
            directory(&config, "reg.org:5000")
                .unwrap()
                .ends_with("a/reg.org:5000")
        );
        assert!(directory(&config, "..").unwrap().ends_with("a/_default"));
    }

    #[test]
    fn hosts_come_in_the_order_of_the_file() {
        let settings = parsed(
            r#"
            server = "https://up.org"
            [host."https://z.lan:5000"]
              capabilities = ["pull", "resolve"]
              dial_timeout = "1m500ms"
            [host."http://a.lan/v2/"]
              capabilities = ["push"]
              [host."http://a.lan/v2/".header]
                x-one = "1"
                x-two = ["2", "3"]
            [host."m.lan/hub"]
              override_path = true
              skip_verify = true
              unknown = 1
            "#,
        )
        .unwrap();
        let urls: Vec<&str> = settings
            .mirrors
            .iter()
            .map(|host| host.url.as_ref().unwrap().as_str())
            .collect();
        assert_eq!(
            urls,
            ["https://z.lan:5000/", "http://a.lan/", "https://m.lan/hub/"]
        );
        assert_eq!(
            settings.server.url.as_ref().unwrap().as_str(),
            "https://up.org/"
        );
        let [z, a, m] = settings.mirrors.as_slice() else {
            panic!("three mirrors");
        };
        assert_eq!(
            z.connection.dial_timeout,
            Some(Duration::from_millis(60_500))
        );
        assert!(z.can(Capability::Pull, true) && !z.can(Capability::Push, true));
        assert!(a.can(Capability::Push, true) && !a.can(Capability::Resolve, true));
        assert_eq!(a.headers.get_all("x-two").iter().count(), 2);
        assert!(m.override_path && m.connection.skip_verify == Some(true));
        assert!(m.can(Capability::Pull, true) && !m.can(Capability::Push, true));
        assert!(settings.server.can(Capability::Push, false));
    }

    #[test]
    fn settings_are_for_the_servers_that_they_name() {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path());
        let put = |name: &str, text: &str| {
            let directory = root.path().join("a").join(name);
            fs_err::create_dir_all(&directory).unwrap();
            fs_err::write(directory.join("hosts.toml"), text).unwrap();
        };
        put("_default", "skip_verify = true");
        put("reg.lan:443", "skip_verify = true");
        put(
            "auth.lan",
            "server = \"https://other.lan\"\nskip_verify = true",
        );
        let skips = |url: &str, asked| {
            let host = server(&config, &Url::parse(url).unwrap(), asked).unwrap();
            host.connection.skip_verify == Some(true)
        };
        assert!(skips("https://any.lan/", Asked::ByName));
        assert!(!skips("https://any.lan/", Asked::ByAnother));
        assert!(skips("https://reg.lan/", Asked::ByAnother));
        assert!(!skips("https://auth.lan/token", Asked::ByAnother));
        assert!(!skips("https://auth.lan/", Asked::ByName));
    }

    #[test]
    fn mistakes_are_told() {
        for (text, word) in [
            ("server = 1", "server"),
            ("[host.\"ftp://a\"]", "ftp"),
            ("[host.\"https://u:hidden@a\"]", "password"),
            (
                "[host.\"a\"]\ncapabilities = [\"fly\"]",
                "unknown capability fly",
            ),
            ("ca = \"none.pem\"", "none.pem"),
            ("client = [[\"a\",\"b\",\"c\"]]", "certificate"),
            ("dial_timeout = \"soon\"", "soon"),
            ("[host.a.header]\n\"x y\" = \"1\"", "x y"),
            ("= nonsense", ""),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(
                error.contains(word) && !error.contains("hidden"),
                "{text}: {error}"
            );
        }
        assert!(parsed("").unwrap().mirrors.is_empty());
    }

    #[test]
    fn certificates_are_found_as_docker_finds_them() {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path());
        let directory = root.path().join("a/reg.lan");
        fs_err::create_dir_all(&directory).unwrap();
        let write = |name: &str| fs_err::write(directory.join(name), name).unwrap();
        write("ca.crt");
        write("client.cert");
        let error = settings(&config, "reg.lan").unwrap_err().to_string();
        assert!(
            error.contains("missing key client.key for client certificate client.cert"),
            "{error}"
        );
        write("client.key");
        let connection = &settings(&config, "reg.lan").unwrap().server.connection;
        assert_eq!(connection.authorities, [b"ca.crt"]);
        assert_eq!(
            connection.identity.as_ref().unwrap().as_slice(),
            b"client.cert\nclient.key"
        );
        assert!(!format!("{connection:?}").contains("key"));
        fs_err::remove_file(directory.join("client.cert")).unwrap();
        let error = settings(&config, "reg.lan").unwrap_err().to_string();
        assert!(
            error.contains("missing client certificate client.cert"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = parsed(&text);
        }

        #[test]
        fn any_host_is_read_or_refused(
            key in "[a-z0-9:/._%@?#-]{0,40}", value in "[a-z0-9\"\\[\\], {}=-]{0,40}"
        ) {
            if let Ok(settings) = parsed(&format!("[host.\"{key}\"]\nca = {value}\n")) {
                for host in &settings.mirrors {
                    prop_assert!(host.url.as_ref().unwrap().has_host());
                }
            }
        }

        #[test]
        fn any_duration_is_read_or_refused(text in "[0-9.mshx]{0,20}") {
            let _ = duration(&text);
        }
    }
}
