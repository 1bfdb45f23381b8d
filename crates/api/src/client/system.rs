//! Requests about the daemon itself.

use super::{Client, Error, JsonLines, Payload, Target};
use crate::event::Event;
use crate::image::AuthConfig;
use crate::json;
use crate::system::{DiskUsage, Info, Version};
use http::Method;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What `/auth` says about credentials.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct AuthReply {
    /// For people.
    pub status: String,
    /// A refresh token to store in place of the password.
    pub identity_token: String,
}

impl std::fmt::Debug for AuthReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthReply")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// What a prune of the build cache did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Pruned {
    /// What is gone.
    pub caches_deleted: Option<Vec<String>>,
    /// Bytes.
    pub space_reclaimed: u64,
}

impl Client {
    /// The version.
    ///
    /// # Errors
    /// Those of the request, as everywhere here.
    pub async fn server_version(&self) -> Result<Version, Error> {
        self.get(&Target::new("/version")).await
    }

    /// What the daemon knows of itself and its host.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn info(&self) -> Result<Info, Error> {
        self.get(&Target::new("/info")).await
    }

    /// What everything takes on the disk.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn disk_usage(&self) -> Result<DiskUsage, Error> {
        self.get(&Target::new("/system/df")).await
    }

    /// Has the daemon verify what it keeps; dropping the stream ends that.
    ///
    /// # Errors
    /// 409 while another check runs.
    pub async fn check(&self, repair: bool) -> Result<JsonLines<crate::check::Message>, Error> {
        let target = Target::new("/hull/system/check").flag("repair", repair);
        let response = self.send(Method::POST, &target, Payload::default()).await?;
        Ok(JsonLines::new(response))
    }

    /// Removes what nothing uses of the build cache. Returns the names of what is gone and the bytes of it.
    ///
    /// # Errors
    /// 400 for a filter the daemon does not know.
    pub async fn prune_build(
        &self,
        all: bool,
        filters: &BTreeMap<String, Vec<String>>,
    ) -> Result<Pruned, Error> {
        self.prune_build_within(all, filters, &[]).await
    }

    /// The same within sizes, in bytes: `reserved-space`, `max-used-space`, `min-free-space`.
    ///
    /// # Errors
    /// As [`Client::prune_build`].
    pub async fn prune_build_within(
        &self,
        all: bool,
        filters: &BTreeMap<String, Vec<String>>,
        sizes: &[(&str, i64)],
    ) -> Result<Pruned, Error> {
        let mut target = Target::new("/build/prune")
            .flag("all", all)
            .filters(filters);
        for (name, size) in sizes {
            target = target.query(name, &size.to_string());
        }
        Ok(json::from_slice(
            &self.post(&target, Payload::default()).await?,
        )?)
    }

    /// Events between two times, which are `SECONDS[.NANOSECONDS]` or empty.
    ///
    /// # Errors
    /// 400 for a filter the daemon does not know.
    pub async fn events(
        &self,
        since: &str,
        until: &str,
        filters: &BTreeMap<String, Vec<String>>,
    ) -> Result<JsonLines<Event>, Error> {
        let target = Target::new("/events")
            .query_some("since", Some(since))
            .query_some("until", Some(until))
            .filters(filters);
        let response = self.send(Method::GET, &target, Payload::default()).await?;
        Ok(JsonLines::new(response))
    }

    /// Has the daemon try credentials at their registry.
    ///
    /// # Errors
    /// 401 when the registry refuses them.
    pub async fn check_auth(&self, auth: &AuthConfig) -> Result<AuthReply, Error> {
        let body = self
            .post(&Target::new("/auth"), Payload::json(auth)?)
            .await?;
        if body.is_empty() {
            return Ok(AuthReply::default());
        }
        Ok(json::from_slice(&body)?)
    }
}
