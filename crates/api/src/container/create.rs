//! `POST /containers/create`.
#![expect(
    missing_docs,
    reason = "a field means what the API reference says of the member of its name"
)]

use super::{Config, HostConfig};
use crate::json;
use crate::network::EndpointSettings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The body of the request: the members of `Config`, with two more objects among them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CreateRequest {
    #[serde(flatten)]
    pub config: Config,
    #[serde(rename = "HostConfig")]
    pub host_config: HostConfig,
    #[serde(rename = "NetworkingConfig")]
    pub networking_config: NetworkingConfig,
    /// What Hull has and Docker has not.
    #[serde(rename = "Hull", skip_serializing_if = "crate::is_default")]
    pub hull: Own,
}

/// Members of Hull's own, beside Docker's: see `docs/hull-api.md`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Own {
    /// What happens when it becomes unhealthy: empty or `none`, `restart`, `stop` or `kill`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub on_unhealthy: String,
}

impl CreateRequest {
    /// Decodes the body by Go's rules.
    ///
    /// # Errors
    /// [`json::Error`] when `body` is not JSON or a member has a wrong type.
    pub fn from_slice(body: &[u8]) -> Result<Self, json::Error> {
        #[derive(Default, Deserialize)]
        #[serde(
            expecting = "struct container.CreateRequest",
            default,
            rename_all = "PascalCase"
        )]
        struct Rest {
            host_config: HostConfig,
            networking_config: NetworkingConfig,
            hull: Own,
        }
        let value: serde_json::Value = serde_json::from_slice(body).map_err(json::Error::Syntax)?;
        let rest: Rest = json::from_value(value.clone())?;
        Ok(Self {
            config: json::from_value(value)?,
            host_config: rest.host_config,
            networking_config: rest.networking_config,
            hull: rest.hull,
        })
    }
}

/// The networks to connect to, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkingConfig {
    pub endpoints_config: Option<BTreeMap<String, EndpointSettings>>,
}

/// The reply, status 201.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CreateResponse {
    pub id: String,
    pub warnings: Vec<String>,
}
