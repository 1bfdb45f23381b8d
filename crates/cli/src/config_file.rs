//! `~/.docker/config.json`, and the credentials that it or its helpers have.

use crate::credential_helper::Helper;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_api::client::EncodedAuth;
use hull_api::image::AuthConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The key of Docker Hub in `auths`.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

/// Credentials for this process alone: `{"auths":{…}}`, in place of those in the file.
const AUTH_VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// The client's configuration; members that are not ours are kept for when it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ConfigFile {
    auths: BTreeMap<String, StoredAuth>,
    #[serde(skip_serializing_if = "String::is_empty")]
    creds_store: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    detach_keys: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ps_format: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    images_format: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    networks_format: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    volumes_format: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    stats_format: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    current_context: String,
    #[serde(rename = "HttpHeaders", skip_serializing_if = "BTreeMap::is_empty")]
    http_headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    proxies: BTreeMap<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prune_filters: Vec<String>,
    #[serde(rename = "cliPluginsExtraDirs", skip_serializing_if = "Vec::is_empty")]
    plugin_dirs: Vec<PathBuf>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
    /// Those of the environment, which count first.
    #[serde(skip)]
    given: BTreeMap<String, StoredAuth>,
    #[serde(skip)]
    path: PathBuf,
}

/// Proxies that containers and builds are told of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Proxies {
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    ftp_proxy: String,
    all_proxy: String,
}

/// Where credentials went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// To a helper, or they were in the file already.
    Safely,
    /// To the file, where everybody who may read it sees them.
    InPlainText,
}

/// Credentials as the file has them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct StoredAuth {
    #[serde(skip_serializing_if = "String::is_empty")]
    auth: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    password: String,
    #[serde(rename = "identitytoken", skip_serializing_if = "String::is_empty")]
    identity_token: String,
    #[serde(rename = "registrytoken", skip_serializing_if = "String::is_empty")]
    registry_token: String,
}

impl std::fmt::Debug for StoredAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets stay out of logs.
        f.debug_struct("StoredAuth").finish_non_exhaustive()
    }
}

impl ConfigFile {
    /// Reads the file; an absent one is empty.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let mut config = match fs_err::read(path) {
            Ok(text) if text.is_empty() => Self::default(),
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error),
        };
        config.path = path.to_owned();
        Ok(config)
    }

    /// The keys that detach, if configured.
    pub(crate) fn detach_keys(&self) -> &str {
        &self.detach_keys
    }

    /// The format of `ps`, if configured.
    pub(crate) fn ps_format(&self) -> &str {
        &self.ps_format
    }

    /// The format of `network ls`, if configured.
    pub(crate) fn networks_format(&self) -> &str {
        &self.networks_format
    }

    /// The format of `volume ls`, if configured.
    pub(crate) fn volumes_format(&self) -> &str {
        &self.volumes_format
    }

    /// The format of `images`, if configured.
    pub(crate) fn images_format(&self) -> &str {
        &self.images_format
    }

    /// The format of `stats`, if configured.
    pub(crate) fn stats_format(&self) -> &str {
        &self.stats_format
    }

    /// Filters that every prune has.
    pub(crate) fn prune_filters(&self) -> &[String] {
        &self.prune_filters
    }

    /// Folders of plugins beside the usual ones.
    pub(crate) fn plugin_dirs(&self) -> &[PathBuf] {
        &self.plugin_dirs
    }

    /// The context that is used when nobody says.
    pub(crate) fn current_context(&self) -> &str {
        &self.current_context
    }

    /// Has a context be used from now on.
    pub(crate) fn use_context(&mut self, name: &str) -> io::Result<()> {
        let name = if name == "default" { "" } else { name };
        if self.current_context == name {
            return Ok(());
        }
        name.clone_into(&mut self.current_context);
        self.save()
    }

    /// Headers that every request has.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let pair = |(name, value)| (String::as_str(name), String::as_str(value));
        self.http_headers.iter().map(pair)
    }

    /// Variables with the proxies for containers and builds of the daemon at `host`, in both spellings; `given` has those
    /// that the user gave, which count more.
    pub(crate) fn proxies(
        &self,
        host: &str,
        given: impl Fn(&str) -> bool,
    ) -> Vec<(String, String)> {
        let found = self
            .proxies
            .get(host)
            .or_else(|| self.proxies.get("default"));
        let found = found.and_then(|found| Proxies::deserialize(found).ok());
        let Some(found) = found else {
            return Vec::new();
        };
        let all = [
            ("ALL_PROXY", &found.all_proxy),
            ("FTP_PROXY", &found.ftp_proxy),
            ("HTTPS_PROXY", &found.https_proxy),
            ("HTTP_PROXY", &found.http_proxy),
            ("NO_PROXY", &found.no_proxy),
        ];
        let set = all.into_iter().filter(|(_, value)| !value.is_empty());
        set.flat_map(|(name, value)| [(name.to_owned(), value), (name.to_lowercase(), value)])
            .filter(|(name, _)| !given(name))
            .map(|(name, value)| (name, value.clone()))
            .collect()
    }

    /// Puts the credentials that the environment has before those of the file.
    pub(crate) fn with_environment(mut self) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Given {
            auths: BTreeMap<String, StoredAuth>,
        }
        if let Some(text) = given_by_environment() {
            let given: Given = serde_json::from_str(&text)
                .map_err(|error| io::Error::other(format!("{AUTH_VARIABLE}: {error}")))?;
            self.given = given.auths;
        }
        Ok(self)
    }

    /// The credentials for a registry: `docker.io`, `127.0.0.1:5000`.
    pub(crate) fn credentials(&self, registry: &str) -> io::Result<AuthConfig> {
        let server = server_key(registry);
        if let Some(given) = find(&self.given, server) {
            return Ok(given.resolve(server));
        }
        if let Some(helper) = self.helper(server) {
            return helper.get(server);
        }
        let stored = find(&self.auths, server);
        Ok(stored.map_or_else(AuthConfig::default, |stored| stored.resolve(server)))
    }

    /// The same, as the header carries them. A helper that fails is told about and no reason to end: the
    /// registry may be public.
    pub(crate) fn encoded(&self, registry: &str) -> io::Result<EncodedAuth> {
        let credentials = self.credentials(registry).unwrap_or_else(|error| {
            crate::say(&format!("WARNING: {error}"));
            AuthConfig::default()
        });
        if credentials == AuthConfig::default() {
            return Ok(EncodedAuth::default());
        }
        EncodedAuth::new(&credentials).map_err(io::Error::other)
    }

    fn helper(&self, server: &str) -> Option<Helper<'_>> {
        self.cred_helpers
            .get(host_of(server))
            .or_else(|| self.cred_helpers.get(server))
            .map(String::as_str)
            .filter(|helper| !helper.is_empty())
            .or(Some(self.creds_store.as_str()))
            .filter(|helper| !helper.is_empty())
            .map(Helper)
    }

    /// Keeps credentials, in the helper or in the file.
    pub(crate) fn store(&mut self, auth: &AuthConfig) -> io::Result<Kept> {
        let server = auth.server_address.clone();
        let mut kept = Kept::Safely;
        let stored = match self.helper(&server) {
            Some(helper) => {
                helper.store(auth)?;
                // The file says that there are credentials, for programs that list registries.
                StoredAuth::default()
            }
            None => StoredAuth {
                auth: STANDARD.encode(format!("{}:{}", auth.username, auth.password)),
                identity_token: auth.identity_token.clone(),
                ..StoredAuth::default()
            },
        };
        if self.auths.get(&server) == Some(&stored) {
            return Ok(kept);
        }
        if self.helper(&server).is_none() && !auth.password.is_empty() {
            kept = Kept::InPlainText;
        }
        self.auths.insert(server, stored);
        self.save()?;
        Ok(kept)
    }

    /// Forgets credentials, where there are any.
    pub(crate) fn erase(&mut self, server: &str) -> io::Result<()> {
        if let Some(helper) = self.helper(server) {
            helper.erase(server)?;
        }
        if self.auths.remove(server).is_some() {
            self.save()?;
        }
        Ok(())
    }

    fn save(&self) -> io::Result<()> {
        let mut text = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut writer = serde_json::Serializer::with_formatter(&mut text, tabs);
        self.serialize(&mut writer).map_err(io::Error::other)?;
        if let Some(folder) = self.path.parent() {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder)?;
        }
        // A link stays one: what it leads to is written.
        let path = fs_err::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let mode = fs_err::metadata(&path).map_or(0o600, |known| {
            std::os::unix::fs::PermissionsExt::mode(&known.permissions())
        });
        // Written beside and renamed, so that an interrupted write loses no credentials.
        let fresh = path.with_extension(format!("json.{}", std::process::id()));
        let written = write_new(&fresh, mode & 0o777, &text);
        let placed = written.and_then(|()| fs_err::rename(&fresh, &path));
        if placed.is_err() {
            let _ = fs_err::remove_file(&fresh);
        }
        placed
    }
}

fn write_new(path: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.options_mut().mode(mode);
    let mut file = options.open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// What the environment says instead of the file.
fn given_by_environment() -> Option<String> {
    std::env::var(AUTH_VARIABLE)
        .ok()
        .filter(|text| !text.is_empty())
}

/// Says that the environment's credentials count more than what is done now.
pub(crate) fn warn_of_environment() {
    if given_by_environment().is_some() {
        crate::say(&format!(
            "\n Warn -> {AUTH_VARIABLE} is set and takes precedence.\n         Unset {AUTH_VARIABLE} to restore the CLI auth behaviour.\n         "
        ));
    }
}

/// By the key itself, else by its host: older clients kept URLs.
fn find<'a>(auths: &'a BTreeMap<String, StoredAuth>, server: &str) -> Option<&'a StoredAuth> {
    auths.get(server).or_else(|| {
        auths
            .iter()
            .find(|(key, _)| host_of(key) == host_of(server))
            .map(|(_, stored)| stored)
    })
}

impl StoredAuth {
    fn resolve(&self, server: &str) -> AuthConfig {
        let decoded = STANDARD
            .decode(self.auth.trim_end_matches('\0'))
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|pair| {
                let (user, password) = pair.split_once(':')?;
                Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
            });
        let (username, password) =
            decoded.unwrap_or_else(|| (self.username.clone(), self.password.clone()));
        AuthConfig {
            username,
            password,
            server_address: server.to_owned(),
            identity_token: self.identity_token.clone(),
            registry_token: self.registry_token.clone(),
            ..AuthConfig::default()
        }
    }
}

/// The name by which a registry's credentials are kept.
pub(crate) fn server_key(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => HUB,
        other => other,
    }
}

/// The host of a key that may be a URL.
pub(crate) fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> ConfigFile {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs_err::write(&path, text).unwrap();
        ConfigFile::load(&path).unwrap()
    }

    #[test]
    fn stored_credentials_are_found_by_registry() {
        let config = config(
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},
                "https://r.example:5000/v2/":{"auth":"YTpiOmM="},"t":{"identitytoken":"x"}},
                "detachKeys":"ctrl-a","HttpHeaders":{}}"#,
        );
        let hub = config.credentials("docker.io").unwrap();
        assert_eq!((hub.username.as_str(), hub.password.as_str()), ("u", "p"));
        assert_eq!(hub.server_address, HUB);
        let other = config.credentials("r.example:5000").unwrap();
        assert_eq!(
            (other.username.as_str(), other.password.as_str()),
            ("a", "b:c")
        );
        assert_eq!(config.credentials("t").unwrap().identity_token, "x");
        assert_eq!(config.credentials("none").unwrap(), AuthConfig::default());
        assert_eq!(config.detach_keys(), "ctrl-a");
    }

    #[test]
    fn what_is_stored_can_be_erased_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.json");
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, r#"{"proxies":{"a":1}}"#).unwrap();
        let mut config = ConfigFile::load(&path).unwrap();
        let auth = AuthConfig {
            username: "u".into(),
            password: "p".into(),
            server_address: "r".into(),
            ..AuthConfig::default()
        };
        assert_eq!(config.store(&auth).unwrap(), Kept::InPlainText);
        // The second time nothing is written, and there is nothing to warn of.
        assert_eq!(config.store(&auth).unwrap(), Kept::Safely);
        let mut again = ConfigFile::load(&path).unwrap();
        assert_eq!(again.credentials("r").unwrap().password, "p");
        again.erase("r").unwrap();
        again.erase("r").unwrap();
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains("proxies") && !text.contains("dTpw"));
    }

    #[test]
    fn proxies_are_those_of_the_daemon() {
        let config = config(
            r#"{"proxies":{"default":{"httpProxy":"http://p"},"unix:///x":{"noProxy":"n","allProxy":"a"}}}"#,
        );
        let names = |host: &str| {
            let found = config.proxies(host, |name| name == "http_proxy" || name == "NO_PROXY");
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("tcp://y"), ["HTTP_PROXY"]);
        assert_eq!(names("unix:///x"), ["ALL_PROXY", "all_proxy", "no_proxy"]);
    }

    #[test]
    fn links_and_modes_stay() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (path, real) = (dir.path().join("config.json"), dir.path().join("real.json"));
        fs_err::write(&real, "{}").unwrap();
        fs_err::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.json", &path).unwrap();
        let mut config = ConfigFile::load(&path).unwrap();
        let auth = AuthConfig {
            username: "u".into(),
            password: "p".into(),
            server_address: "r".into(),
            ..AuthConfig::default()
        };
        config.store(&auth).unwrap();
        assert!(fs_err::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(
            fs_err::read_to_string(&real).unwrap(),
            "{\n\t\"auths\": {\n\t\t\"r\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t}\n}"
        );
        assert_eq!(
            fs_err::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 2);
    }
}
