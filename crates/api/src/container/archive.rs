//! The header that tells of a path in a container.

use serde::Serialize;

/// The name of the header. Its value is a [`PathStat`] as JSON in base64 (the usual alphabet, padded).
pub const PATH_STAT_HEADER: &str = "x-docker-container-path-stat";

/// What a path is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(default)]
pub struct PathStat {
    /// The last part of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `fs.FileMode`.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a link leads; empty for anything else.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

/// The bits of Go's `fs.FileMode` above the permissions.
pub mod mode {
    /// A directory.
    pub const DIRECTORY: u32 = 1 << 31;
    /// A symbolic link.
    pub const SYMLINK: u32 = 1 << 27;
    /// A device.
    pub const DEVICE: u32 = 1 << 26;
    /// A fifo.
    pub const FIFO: u32 = 1 << 25;
    /// A socket.
    pub const SOCKET: u32 = 1 << 24;
    /// Set-user-id.
    pub const SET_UID: u32 = 1 << 23;
    /// Set-group-id.
    pub const SET_GID: u32 = 1 << 22;
    /// A character device, beside [`DEVICE`].
    pub const CHARACTER: u32 = 1 << 21;
    /// Sticky.
    pub const STICKY: u32 = 1 << 20;
    /// What is no regular file.
    pub const TYPE: u32 = DIRECTORY | SYMLINK | FIFO | SOCKET | DEVICE | CHARACTER | 1 << 19;
}
