//! The root file system and the mounts below it.

use super::{IdMapping, nullable};
use serde::{Deserialize, Serialize};

/// The container's root file system.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Root {
    /// Directory, absolute or relative to the bundle.
    pub path: String,
    /// Whether the root is read-only inside the container.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
}

/// One mount inside the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// Where, inside the container.
    pub destination: String,
    /// Type of the file system (`type`); for bind mounts a dummy such as `bind` or nothing.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Device, path or dummy name; a relative path of a bind mount starts at the bundle.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Options as fstab(5) writes them, also `rbind`, propagation words, `tmpcopyup`, `idmap`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// User ids of an id-mapped mount.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of an id-mapped mount.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}
