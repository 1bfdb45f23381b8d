//! Bytes between blocking work and whoever sends or brings them: a few pieces at a time, so that the
//! slower one sets the pace.

use crate::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::io::{self, BufRead, Read, Write};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How much is handed over at once.
const PIECE: usize = 256 << 10;
/// How many pieces wait at most.
const WAITING: usize = 4;

/// Bytes that come from a client.
pub type Incoming = BoxStream<'static, io::Result<Bytes>>;
/// Bytes for a client; an error is the last element.
pub type Outgoing = BoxStream<'static, Result<Bytes>>;

/// Runs blocking work that writes, and gives what it writes. Dropping the stream makes writing fail.
pub(crate) fn written_by(
    work: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
) -> Outgoing {
    let (send, pieces) = mpsc::channel(WAITING);
    let work = tokio::task::spawn_blocking(move || {
        let mut writer = Sender {
            pieces: send.clone(),
            current: BytesMut::with_capacity(PIECE),
        };
        let result = work(&mut writer).and_then(|()| {
            let gone = |e| Error::new(ErrorKind::Internal, "the client left").caused_by(e);
            writer.flush().map_err(gone)
        });
        if let Err(error) = result {
            // Who is gone need not know.
            let _ = send.blocking_send(Err(error));
        }
    });
    told_by(pieces_of(pieces), Task(work).ended())
}

/// What work beside tells, which is over when its channel is. Work that panicked makes an error the last
/// element: what came would look like all of it otherwise.
pub(crate) fn told_by<T: Send + 'static>(
    told: BoxStream<'static, Result<T>>,
    ended: impl Future<Output = Result<()>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let failure = stream::once(ended).filter_map(|ended| async { ended.err().map(Err) });
    told.chain(failure).boxed()
}

/// Work that ends when nobody waits for it any more; blocking work only if it has not begun.
#[derive(Debug)]
pub(crate) struct Task(pub(crate) JoinHandle<()>);

impl Task {
    /// Waits for it.
    ///
    /// # Errors
    /// When it panicked.
    pub(crate) async fn ended(mut self) -> Result<()> {
        (&mut self.0).await.map_err(crate::failed)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A channel as a stream.
pub(crate) fn pieces_of<T: Send + 'static>(pieces: mpsc::Receiver<T>) -> BoxStream<'static, T> {
    stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece| (piece, pieces))
    })
    .boxed()
}

struct Sender {
    pieces: mpsc::Sender<Result<Bytes>>,
    current: BytesMut,
}

impl Sender {
    fn hand_over(&self, piece: Bytes) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.blocking_send(Ok(piece)).map_err(gone)
    }
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.is_empty() && bytes.len() >= PIECE {
            self.hand_over(Bytes::copy_from_slice(bytes))?;
            return Ok(bytes.len());
        }
        let count = bytes.len().min(PIECE - self.current.len());
        self.current.extend_from_slice(&bytes[..count]);
        if self.current.len() == PIECE {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.current, BytesMut::with_capacity(PIECE));
        self.hand_over(full.freeze())
    }
}

/// A stream to be read by blocking work.
pub(crate) struct Reader {
    stream: Incoming,
    runtime: Handle,
    current: Bytes,
    ended: bool,
}

impl Reader {
    /// Call it within the runtime that drives the stream.
    pub(crate) fn new(stream: Incoming) -> Self {
        Self {
            stream,
            runtime: Handle::current(),
            current: Bytes::new(),
            ended: false,
        }
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            match self.runtime.block_on(self.stream.next()) {
                Some(piece) => self.current = piece?,
                None => self.ended = true,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        bytes::Buf::advance(&mut self.current, count);
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_written_comes_out_and_goes_in() {
        let out = written_by(|out| {
            for _ in 0..20 {
                out.write_all(&[7; 100_000])
                    .map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
            }
            Ok(())
        });
        let incoming = out.map(|piece| piece.map_err(|e| io::Error::other(e.to_string())));
        let mut reader = Reader::new(incoming.boxed());
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        let all = read.await.unwrap().unwrap();
        assert_eq!(all.len(), 2_000_000);
        assert!(all.iter().all(|byte| *byte == 7));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_ends_when_nobody_listens_and_tells_its_errors() {
        let (told, ended) = tokio::sync::oneshot::channel();
        let mut out = written_by(move |out| {
            let error = loop {
                if let Err(error) = out.write_all(&[0; PIECE]) {
                    break error;
                }
            };
            let _ = told.send(error.kind());
            Ok(())
        });
        // Work that has not begun does not begin any more.
        assert!(out.next().await.unwrap().is_ok());
        drop(out);
        assert_eq!(ended.await.unwrap(), io::ErrorKind::BrokenPipe);
        let mut out = written_by(|_| Err(Error::new(ErrorKind::NotFound, "nothing")));
        let error = out.next().await.unwrap().unwrap_err();
        assert_eq!(error.message(), "nothing");
        assert!(out.next().await.is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_is_no_end() {
        let mut out = written_by(|out| {
            let _ = out.write_all(&[0; PIECE]);
            panic!("on purpose");
        });
        assert_eq!(out.next().await.unwrap().unwrap().len(), PIECE);
        let error = out.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(out.next().await.is_none());
        let (told, items) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let _ = told.send(Ok(1)).await;
            panic!("on purpose");
        });
        let items = told_by(pieces_of(items), Task(task).ended());
        let items: Vec<_> = items.collect().await;
        assert_eq!(items[0].as_ref().unwrap(), &1);
        assert!(items[1].is_err() && items.len() == 2);
    }
}
