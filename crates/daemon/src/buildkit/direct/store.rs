//! What such a client takes and gives in blobs and files.

use super::super::export::Outgoing;
use super::super::keeper::Store;
use super::asks::{Answer, Asking, wrong};
use crate::buildkit::Duplex;
use crate::transport::Socket;
use bytes::Bytes;
use hull_api::build::{Blob, Wanted};
use hull_engine::Digest;
use hull_engine::build::blobs::Blobs;
use hull_engine::build::world::{WorldError, WorldResult};
use hull_engine::image::Descriptor;
use std::io::{self, Read, Write as _};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// A directory of the client's that has blobs. What it is asked for is in its own words.
#[derive(Debug)]
pub(super) struct DirectStore {
    asking: Asking,
    id: String,
}

impl DirectStore {
    pub(super) fn new(asking: &Asking, id: &str) -> Self {
        Self {
            asking: asking.clone(),
            id: id.to_owned(),
        }
    }

    fn blob(&self, digest: &Digest) -> Blob {
        Blob {
            store: self.id.clone(),
            digest: digest.to_string(),
        }
    }
}

impl Blobs for DirectStore {
    fn read(&self, digest: &Digest) -> WorldResult<Box<dyn Read + Send>> {
        let wanted = Wanted::Blob(self.blob(digest));
        match self.asking.ask_blocking(wanted, &self.asking.token)? {
            Answer::Connection(connection) => Ok(Box::new(Coming {
                asking: self.asking.clone(),
                connection,
            })),
            Answer::Nothing => Err(WorldError::NotFound(format!("{digest}: not found"))),
            other => Err(wrong(&other)),
        }
    }
}

impl Store for DirectStore {
    fn write(&self, blob: &Descriptor, bytes: &mut dyn Read) -> WorldResult<()> {
        let wanted = Wanted::TakeBlob(self.blob(&blob.digest));
        let sender = match self.asking.ask_blocking(wanted, &self.asking.token)? {
            Answer::Taker(sender) => sender,
            // It has it.
            Answer::Nothing => return Ok(()),
            other => return Err(wrong(&other)),
        };
        let failed = |error| WorldError::caused(format!("write {}", blob.digest), error);
        let mut out = io::BufWriter::with_capacity(PIECE, Taken::new(&self.asking, sender));
        io::copy(bytes, &mut out).map_err(failed)?;
        out.flush().map_err(failed)?;
        let out = out
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        let finished = Box::new(out).finish();
        finished.map_err(|status| WorldError::other(status.message()))
    }
}

/// How many bytes are sent at once.
const PIECE: usize = 256 << 10;

/// A blob on its way from the client.
struct Coming {
    asking: Asking,
    connection: Duplex<Socket>,
}

impl Read for Coming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let token = &self.asking.token;
        let connection = &mut self.connection;
        self.asking.runtime.block_on(async {
            tokio::select! {
                () = token.cancelled() => Err(io::Error::other("the build has ended")),
                read = connection.read(buffer) => read,
            }
        })
    }
}

/// A file on its way to the client.
pub(super) struct Taken {
    asking: Asking,
    /// `None` once it is whole.
    sender: Option<mpsc::Sender<io::Result<Bytes>>>,
}

impl Taken {
    pub(super) fn new(asking: &Asking, sender: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self {
            asking: asking.clone(),
            sender: Some(sender),
        }
    }
}

impl io::Write for Taken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client takes no more");
        let sender = self.sender.as_ref().ok_or_else(gone)?;
        let length = bytes.len().min(1 << 20);
        let piece = Bytes::copy_from_slice(&bytes[..length]);
        let token: &CancellationToken = &self.asking.token;
        let sent = self.asking.runtime.block_on(async {
            tokio::select! {
                () = token.cancelled() => false,
                sent = sender.send(Ok(piece)) => sent.is_ok(),
            }
        });
        if sent { Ok(length) } else { Err(gone()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Outgoing for Taken {
    fn finish(mut self: Box<Self>) -> Result<(), Status> {
        let Some(sender) = self.sender.take() else {
            return Ok(());
        };
        match sender.is_closed() {
            false => Ok(()),
            true => Err(Status::unknown("the client takes no more")),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // An end that comes too early must not look like one.
        if let Some(sender) = self.sender.take() {
            self.asking.runtime.spawn(async move {
                let broken = io::Error::other("the build broke off");
                let _ = sender.send(Err(broken)).await;
            });
        }
    }
}
