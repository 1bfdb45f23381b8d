//! Programs that keep credentials: `docker-credential-NAME get|store|erase`, which talk JSON over standard
//! input and output (docker-credential-helpers).

use hull_api::image::AuthConfig;
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

/// The user name by which helpers mark a token.
const TOKEN_USER: &str = "<token>";
/// What every helper says when it has nothing for a server.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// What helpers read and print.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Credentials {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

/// A helper by the name that the configuration has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Helper<'a>(pub(crate) &'a str);

impl Helper<'_> {
    /// What the helper has for `server`; nothing is no error.
    pub(crate) fn get(self, server: &str) -> io::Result<AuthConfig> {
        let reply = match self.run("get", server.as_bytes()) {
            Ok(reply) => reply,
            Err(failure) if failure.said == NOT_FOUND => return Ok(AuthConfig::default()),
            Err(failure) => return Err(failure.error("getting")),
        };
        let reply: Credentials = serde_json::from_slice(&reply).map_err(io::Error::other)?;
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

    /// Keeps credentials.
    pub(crate) fn store(self, auth: &AuthConfig) -> io::Result<()> {
        let (username, secret) = match auth.identity_token.as_str() {
            "" => (auth.username.as_str(), auth.password.as_str()),
            token => (TOKEN_USER, token),
        };
        let credentials = Credentials {
            server_url: auth.server_address.clone(),
            username: username.to_owned(),
            secret: secret.to_owned(),
        };
        let input = serde_json::to_vec(&credentials).map_err(io::Error::other)?;
        self.run("store", &input)
            .map(drop)
            .map_err(|failure| failure.error("storing"))
    }

    /// Forgets what there is for `server`; nothing is no error.
    pub(crate) fn erase(self, server: &str) -> io::Result<()> {
        match self.run("erase", server.as_bytes()) {
            Err(failure) if failure.said != NOT_FOUND => Err(failure.error("erasing")),
            _ => Ok(()),
        }
    }

    fn run(self, action: &str, input: &[u8]) -> Result<Vec<u8>, HelperFailure> {
        let program = format!("docker-credential-{}", self.0);
        let failed = |reason: String| HelperFailure {
            reason,
            said: String::new(),
        };
        let mut child = Command::new(&program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A helper may ask the user, or say what is wrong.
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => failed(format!(
                    "exec: \"{program}\": executable file not found in $PATH"
                )),
                _ => failed(format!("exec: \"{program}\": {error}")),
            })?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input says why on its way out.
            let _ = stdin.write_all(input);
        }
        let output = child
            .wait_with_output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(HelperFailure {
            reason: output.status.to_string().replace("status:", "status"),
            said: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        })
    }
}

/// A helper that did not do what it was asked for.
struct HelperFailure {
    reason: String,
    said: String,
}

impl HelperFailure {
    fn error(self, doing: &str) -> io::Error {
        io::Error::other(format!(
            "error {doing} credentials - err: {}, out: `{}`",
            self.reason, self.said
        ))
    }
}
