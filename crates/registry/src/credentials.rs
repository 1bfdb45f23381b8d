//! Secrets, and what a user may know about a registry.

use sha2::{Digest as _, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// A password or token: wiped when dropped, never shown by `Debug`, without `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// How a user identifies at a registry, as `X-Registry-Auth` and `config.json` tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    #[default]
    Anonymous,
    /// With a password, sent to the registry itself or to its token server, as it asks.
    Password {
        /// The user.
        username: String,
        /// The password or access token.
        password: Secret,
    },
    /// With a refresh token of the token server (`identitytoken`).
    IdentityToken(Secret),
    /// With a bearer token for the registry itself (`registrytoken`).
    RegistryToken(Secret),
}

impl Credentials {
    /// A key that differs between users, for caches; nothing can be learned from it.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        match self {
            Self::Anonymous => hash.update([0]),
            Self::Password { username, password } => {
                hash.update([1]);
                hash.update(username.len().to_le_bytes());
                hash.update(username);
                hash.update(password.expose());
            }
            Self::IdentityToken(token) => {
                hash.update([2]);
                hash.update(token.expose());
            }
            Self::RegistryToken(token) => {
                hash.update([3]);
                hash.update(token.expose());
            }
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown_and_users_not_confused() {
        let alice = Credentials::Password {
            username: "alice".into(),
            password: "hunter2".into(),
        };
        assert!(!format!("{alice:?}").contains("hunter2"));
        let shifted = Credentials::Password {
            username: "alicehunter".into(),
            password: "2".into(),
        };
        assert_ne!(alice.fingerprint(), shifted.fingerprint());
        assert_ne!(
            Credentials::IdentityToken("x".into()).fingerprint(),
            Credentials::RegistryToken("x".into()).fingerprint()
        );
    }
}
