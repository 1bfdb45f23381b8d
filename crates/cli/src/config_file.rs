//! `~/.docker/config.json`, and the credentials that it or its helpers have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_api::client::EncodedAuth;
use hull_api::image::AuthConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The key of Docker Hub in `auths`.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

/// The user name by which helpers mark a token.
const TOKEN_USER: &str = "<token>";

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
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
    #[serde(skip)]
    path: PathBuf,
}

/// Credentials as the file has them.
#[derive(Clone, Default, Serialize, Deserialize)]
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

/// What a credential helper prints.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct HelperReply {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
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

    /// The format of `images`, if configured.
    pub(crate) fn images_format(&self) -> &str {
        &self.images_format
    }

    /// The credentials for a registry: `docker.io`, `127.0.0.1:5000`.
    pub(crate) fn credentials(&self, registry: &str) -> io::Result<AuthConfig> {
        let server = server_key(registry);
        if let Some(helper) = self.helper(server) {
            return helper_get(helper, server);
        }
        let stored = self.auths.get(server).or_else(|| {
            self.auths
                .iter()
                .find(|(key, _)| host_of(key) == host_of(server))
                .map(|(_, stored)| stored)
        });
        Ok(stored.map_or_else(AuthConfig::default, |stored| stored.resolve(server)))
    }

    /// The same, as the header carries them.
    pub(crate) fn encoded(&self, registry: &str) -> io::Result<EncodedAuth> {
        let credentials = self.credentials(registry)?;
        if credentials == AuthConfig::default() {
            return Ok(EncodedAuth::default());
        }
        EncodedAuth::new(&credentials).map_err(io::Error::other)
    }

    fn helper(&self, server: &str) -> Option<&str> {
        self.cred_helpers
            .get(host_of(server))
            .or_else(|| self.cred_helpers.get(server))
            .map(String::as_str)
            .or(Some(self.creds_store.as_str()))
            .filter(|helper| !helper.is_empty())
    }

    /// Keeps credentials, in the helper or in the file. True when they went to the file.
    pub(crate) fn store(&mut self, auth: &AuthConfig) -> io::Result<bool> {
        let server = auth.server_address.clone();
        if let Some(helper) = self.helper(&server) {
            let (username, secret) = if auth.identity_token.is_empty() {
                (auth.username.clone(), auth.password.clone())
            } else {
                (TOKEN_USER.to_owned(), auth.identity_token.clone())
            };
            let reply = HelperReply {
                server_url: server,
                username,
                secret,
            };
            let input = serde_json::to_vec(&reply).map_err(io::Error::other)?;
            helper_run(helper, "store", &input)?;
            return Ok(false);
        }
        let basic = format!("{}:{}", auth.username, auth.password);
        let stored = StoredAuth {
            auth: STANDARD.encode(basic),
            identity_token: auth.identity_token.clone(),
            ..StoredAuth::default()
        };
        self.auths.insert(server, stored);
        self.save()?;
        Ok(true)
    }

    /// Forgets credentials; true when there were any.
    pub(crate) fn erase(&mut self, server: &str) -> io::Result<bool> {
        if let Some(helper) = self.helper(server) {
            return helper_run(helper, "erase", server.as_bytes()).map(|_| true);
        }
        let known = self.auths.remove(server).is_some();
        if known {
            self.save()?;
        }
        Ok(known)
    }

    fn save(&self) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        text.push(b'\n');
        if let Some(folder) = self.path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        // Written beside and renamed, so that an interrupted write loses no credentials.
        let fresh = self.path.with_extension("json.new");
        let mut options = fs_err::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.options_mut().mode(0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs_err::rename(&fresh, &self.path)
    }
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
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn helper_get(helper: &str, server: &str) -> io::Result<AuthConfig> {
    let reply = match helper_run(helper, "get", server.as_bytes()) {
        Ok(output) => output,
        // Helpers say so when they have none; then the registry may still be public.
        Err(error) if error.to_string().contains("credentials not found") => {
            return Ok(AuthConfig::default());
        }
        Err(error) => return Err(error),
    };
    let reply: HelperReply = serde_json::from_slice(&reply).map_err(io::Error::other)?;
    let mut auth = AuthConfig {
        server_address: server.to_owned(),
        ..AuthConfig::default()
    };
    if reply.username == TOKEN_USER {
        auth.identity_token = reply.secret;
    } else {
        auth.username = reply.username;
        auth.password = reply.secret;
    }
    Ok(auth)
}

fn helper_run(helper: &str, action: &str, input: &[u8]) -> io::Result<Vec<u8>> {
    let program = format!("docker-credential-{helper}");
    let mut child = Command::new(&program)
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            io::Error::other(format!(
                "error getting credentials - err: exec: \"{program}\": {error}"
            ))
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input says why on its way out.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Err(io::Error::other(format!(
        "error getting credentials - err: {}, out: `{said}`",
        output.status
    )))
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
        assert!(config.store(&auth).unwrap());
        let mut again = ConfigFile::load(&path).unwrap();
        assert_eq!(again.credentials("r").unwrap().password, "p");
        assert!(again.erase("r").unwrap() && !again.erase("r").unwrap());
        let text = fs_err::read_to_string(&path).unwrap();
        assert!(text.contains("proxies") && !text.contains("dTpw"));
    }
}
