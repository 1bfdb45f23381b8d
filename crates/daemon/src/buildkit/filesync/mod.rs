//! Files of a client's: the protocol of fsutil (tonistiigi/fsutil `receive.go`), with the daemon as receiver of
//! a build's context, and as sender of what a build gives back.
//!
//! ```text
//!   sender ── STAT path, mode, size, time ──► receiver     every file, in the order of a walk; an empty one ends
//!   sender ◄─ REQ number of the STAT ──────── receiver     only what has changed since the last time
//!   sender ── DATA number, bytes ───────────► receiver     an empty one ends the file
//!   sender ◄─ FIN ─────────────────────────── receiver
//!   sender ── FIN, end of the stream ───────► receiver     ERR from either side instead: it failed
//! ```
//!
//! What came from a client stays, with an index of it, until the next time ([`store`]): the index says what has
//! changed without a look at the files, and what the digest of each is.

mod call;
mod index;
mod order;
mod receive;
mod received;
mod send;
mod store;
mod tree;
mod walk;

#[cfg(test)]
pub(super) use call::DIFF_COPY;
pub(super) use call::source_key;
pub(super) use receive::{Answer, Link, LocalRequest, receive};
pub(super) use received::ReceivedFiles;
pub(super) use send::{FileWriter, Root};
pub(super) use store::{ContextStore, Kept};
pub(super) use walk::described;

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};

/// Types and bits of a mode: those of Go's `fs.FileMode`.
pub(super) mod mode {
    pub(in crate::buildkit) const DIR: u32 = 1 << 31;
    pub(in crate::buildkit) const SYMLINK: u32 = 1 << 27;
    pub(in crate::buildkit) const DEVICE: u32 = 1 << 26;
    pub(in crate::buildkit) const FIFO: u32 = 1 << 25;
    pub(in crate::buildkit) const SOCKET: u32 = 1 << 24;
    pub(in crate::buildkit) const SETUID: u32 = 1 << 23;
    pub(in crate::buildkit) const SETGID: u32 = 1 << 22;
    pub(in crate::buildkit) const CHAR_DEVICE: u32 = 1 << 21;
    pub(in crate::buildkit) const STICKY: u32 = 1 << 20;
    pub(in crate::buildkit) const IRREGULAR: u32 = 1 << 19;
    pub(in crate::buildkit) const TYPE: u32 =
        DIR | SYMLINK | DEVICE | FIFO | SOCKET | CHAR_DEVICE | IRREGULAR;
}

/// What kind of file a [`Stat`] is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    /// With bytes of its own.
    File,
    /// Another name of an earlier file.
    HardLink,
    Symlink,
    Fifo,
    CharDevice,
    BlockDevice,
}

impl Kind {
    /// `None` for one that no file can have.
    fn of(stat: &Stat) -> Option<Self> {
        Some(match stat.mode & mode::TYPE {
            mode::DIR => Self::Directory,
            mode::SYMLINK => Self::Symlink,
            mode::FIFO => Self::Fifo,
            mode::DEVICE => Self::BlockDevice,
            kind if kind == mode::DEVICE | mode::CHAR_DEVICE => Self::CharDevice,
            0 if stat.linkname.is_empty() => Self::File,
            0 => Self::HardLink,
            _ => return None,
        })
    }
}

/// The bits that chmod(2) takes.
fn permissions(stat: &Stat) -> u32 {
    let bit = |go: u32, unix: u32| if stat.mode & go == 0 { 0 } else { unix };
    stat.mode & 0o777
        | bit(mode::SETUID, 0o4000)
        | bit(mode::SETGID, 0o2000)
        | bit(mode::STICKY, 0o1000)
}

/// A packet without a stat.
fn packet(kind: PacketType, id: u32, data: Vec<u8>) -> Packet {
    Packet {
        r#type: kind.into(),
        stat: None,
        id,
        data,
    }
}

#[cfg(test)]
pub(super) mod tests;
