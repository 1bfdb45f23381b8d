//! What is seen at paths of a container.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Something to be seen at a path in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Absolute, in the container.
    pub target: PathBuf,
    /// It cannot be written through this mount.
    pub read_only: bool,
    /// The options as written behind the last colon of `-v`, for inspect.
    pub mode: String,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the host.
    Bind(Bind),
    /// A file system in memory, with mount(8)'s options.
    Tmpfs {
        /// mount(8)'s options, separated by commas.
        options: String,
    },
    /// A volume, made if there is none of this name.
    Volume(VolumeMount),
    /// The files of an image, which cannot be written.
    Image {
        /// Its name.
        source: String,
        /// A part of it; empty for all.
        subpath: PathBuf,
    },
}

/// A path of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bind {
    /// Absolute, on the host.
    pub source: PathBuf,
    /// Whether to make a directory where there is nothing: `-v` does at each start, `--mount` does not.
    pub create_source: bool,
    /// A source that is not there is an error of the request: with `--mount`, unless it is to be made.
    pub must_exist: bool,
    /// How later mounts show on the other side; `None` is the default.
    pub propagation: Option<Propagation>,
    /// Without the mounts below the source.
    pub non_recursive: bool,
    /// What a read-only mount means for the mounts below the source.
    pub read_only_below: ReadOnlyBelow,
    /// Owners are shown as others, [`IdMap`]; Hull's own.
    pub id_map: Option<IdMap>,
}

/// What a read-only mount means for the mounts below its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadOnlyBelow {
    /// They are read-only too, where the runtime can do that.
    #[default]
    IfPossible,
    /// They can be written.
    No,
    /// They are read-only too, or the container does not start.
    Always,
}

/// Ranges of ids: what belongs to one on the disk is shown as another's, and what is written as the
/// second is the first's on the disk. `mount_setattr(2)`, `MOUNT_ATTR_IDMAP`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdMap {
    /// Users.
    pub users: Vec<IdRange>,
    /// Groups.
    pub groups: Vec<IdRange>,
    /// The mounts below as well.
    pub recursive: bool,
}

/// One range of ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first on the disk.
    pub disk: u32,
    /// The first as shown.
    pub shown: u32,
    /// How many.
    pub count: u32,
}

/// A volume in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeMount {
    /// Empty for an anonymous one, which goes with the container.
    pub name: String,
    /// Leave a new volume empty although the image has something at the target.
    pub no_copy: bool,
    /// A part of it; empty for all.
    pub subpath: PathBuf,
    /// Of a new one; empty: the default.
    pub driver: String,
    /// Of a new one.
    pub options: Option<BTreeMap<String, String>>,
    /// Of a new one.
    pub labels: Option<BTreeMap<String, String>>,
}

/// How mounts made on one side of a bind mount show on the other: mount_namespaces(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Neither way, below as well.
    #[default]
    RPrivate,
    /// Neither way, this mount only.
    Private,
    /// Both ways.
    RShared,
    /// Both ways, this mount only.
    Shared,
    /// From the host only.
    RSlave,
    /// From the host only, this mount only.
    Slave,
}

impl Propagation {
    /// Docker's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RPrivate => "rprivate",
            Self::Private => "private",
            Self::RShared => "rshared",
            Self::Shared => "shared",
            Self::RSlave => "rslave",
            Self::Slave => "slave",
        }
    }
}
