//! What daemon and resolver say to each other: one request, one reply.
//!
//! ```text
//!  frame: length (4 bytes, little endian) │ JSON
//! ```
//!
//! The descriptor of a namespace comes with the first byte of its frame (unix(7), `SCM_RIGHTS`).

use super::{Entry, Sandbox};
use hull_linux::socket;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Differs between resolvers that cannot stand in for each other.
pub(super) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "/1");

/// The longest frame: some 100,000 endpoints.
const LONGEST: usize = 64 << 20;

/// Which namespace a file is: its device and inode, unique while the namespace lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// What the daemon asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Which version are you?
    Hello,
    /// Forget what is not in here, take over what is.
    Sync {
        sandboxes: Vec<(Identity, Sandbox)>,
        names: Vec<(String, Entry)>,
    },
    /// Serve this namespace, or serve it in another way. With its descriptor.
    Add(Sandbox),
    /// Let a namespace go.
    Remove(String),
    /// An endpoint of a network.
    Name { network: String, entry: Entry },
    /// No longer an endpoint of a network.
    Forget { network: String, endpoint: String },
    /// End: nobody needs you, or another one serves in your place.
    Leave,
}

/// What the resolver answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Version(String),
    /// The sandboxes whose namespaces are not served yet.
    Missing(Vec<String>),
    Done,
    Failed(String),
}

fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Appends a frame.
pub(super) fn encode(message: &impl Serialize, to: &mut Vec<u8>) -> io::Result<()> {
    to.extend(frame(message)?);
    Ok(())
}

/// Asks and waits for the answer.
pub(super) fn ask(
    stream: &mut UnixStream,
    request: &Request,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<Reply> {
    let bytes = frame(request)?;
    match descriptor {
        Some(descriptor) => {
            socket::send_descriptor(&*stream, &bytes[..1], descriptor)?;
            stream.write_all(&bytes[1..])?;
        }
        None => stream.write_all(&bytes)?,
    }
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Puts frames together from what comes in, and keeps the descriptors that came along.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Decoder {
    pub(super) fn push(&mut self, bytes: &[u8], descriptor: Option<OwnedFd>) {
        self.bytes.extend_from_slice(bytes);
        self.descriptors.extend(descriptor);
    }

    /// The next message that is complete.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = serde_json::from_slice(body)?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }

    /// The descriptor that came first.
    pub(super) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_pieces() {
        let mut bytes = Vec::new();
        encode(&Request::Remove("a".to_owned()), &mut bytes).unwrap();
        encode(&Request::Leave, &mut bytes).unwrap();
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for byte in bytes {
            decoder.push(&[byte], None);
            while let Some(request) = decoder.next::<Request>().unwrap() {
                seen.push(format!("{request:?}"));
            }
        }
        assert_eq!(seen, ["Remove(\"a\")", "Leave"]);
        decoder.push(&u32::MAX.to_le_bytes(), None);
        assert!(decoder.next::<Request>().is_err());
    }
}
