//! `login`.

use super::pull::{auth, registry_error};
use super::{Credentials, wrapped};
use crate::{Engine, ErrorKind, Result};
use hull_registry::{Credentials as Auth, LoginError};

impl Engine {
    /// Tries credentials at a registry, Docker Hub when none is named. Returns its token for later, if it
    /// gives one.
    ///
    /// # Errors
    /// `Unauthorized` when the registry's token server does not take them; what the registry says else.
    pub async fn authenticate(
        &self,
        registry: &str,
        credentials: Credentials,
    ) -> Result<Option<String>> {
        let credentials = match credentials {
            // A token for the registry itself is nothing to sign in with.
            Credentials::RegistryToken(_) => Auth::Anonymous,
            other => auth(other),
        };
        let token = self.registry().login(registry, &credentials).await;
        let token = token.map_err(|error| match &error {
            LoginError::Address(_) => wrapped(ErrorKind::InvalidInput, &error),
            LoginError::Refused(_) => wrapped(ErrorKind::Unauthorized, &error),
            // dockerd's 500 for what a registry itself answers.
            LoginError::Status { .. } => wrapped(ErrorKind::Internal, &error),
            LoginError::Failed(error) => registry_error(error),
        })?;
        Ok(token.map(|token| token.expose().to_owned()))
    }
}
