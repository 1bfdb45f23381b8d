//! Requests about scoped sockets: Hull's own.

use super::{Client, Error, Payload, Target};
use crate::access::Grant;
use crate::json;
use http::Method;

impl Client {
    /// The grants, by name.
    ///
    /// # Errors
    /// 403 over a scoped socket.
    pub async fn grants(&self) -> Result<Vec<Grant>, Error> {
        self.get(&Target::new("/hull/access")).await
    }

    /// Makes a grant and its socket.
    ///
    /// # Errors
    /// 400 for a request that makes no sense, 409 when there is one of this name.
    pub async fn create_grant(&self, request: &Grant) -> Result<Grant, Error> {
        let target = Target::new("/hull/access/create");
        let body = self.post(&target, Payload::json(request)?).await?;
        Ok(json::from_slice(&body)?)
    }

    /// Takes a grant back.
    ///
    /// # Errors
    /// 404.
    pub async fn remove_grant(&self, name: &str) -> Result<(), Error> {
        let target = Target::segments(&["hull", "access", name]);
        self.send(Method::DELETE, &target, Payload::default())
            .await
            .map(drop)
    }
}
