//! What the daemon sends, read where reading blocks.

use crate::failure::Failure;
use bytes::Bytes;
use hull_api::client::Body;
use std::io::{self, Read};
use tokio::sync::mpsc;

/// How many pieces wait at most.
const WAITING: usize = 4;

/// Has a thread read what comes.
///
/// # Errors
/// Those of the connection and of `work`.
pub(super) async fn read<T: Send + 'static>(
    mut body: Body,
    work: impl FnOnce(&mut dyn Read) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (sender, pieces) = mpsc::channel(WAITING);
    let reading = tokio::task::spawn_blocking(move || work(&mut Pieces::new(pieces)));
    while let Some(piece) = body.chunk().await? {
        // It has failed, and says why below, or it wants no more.
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    reading.await.map_err(io::Error::other)?
}

/// Bytes that come, to be read.
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Pieces {
    fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self {
            pieces,
            current: Bytes::new(),
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.current = piece,
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}
