//! From who writes to who reads, on another thread: a few pieces long, and either end may leave.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// How much is handed over at once.
const PIECE: usize = 256 << 10;
/// How many pieces wait at most.
const WAITING: usize = 4;

/// What is written comes out of the other end.
#[derive(Debug)]
pub struct PipeWriter {
    pieces: SyncSender<io::Result<Vec<u8>>>,
    current: Vec<u8>,
}

/// What was written. Ends when the writer is gone.
#[derive(Debug)]
pub struct PipeReader {
    pieces: Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    position: usize,
    /// An error was told, or the end.
    ended: bool,
}

/// A pipe's two ends.
#[must_use]
pub fn pipe() -> (PipeWriter, PipeReader) {
    let (send, receive) = sync_channel(WAITING);
    let writer = PipeWriter {
        pieces: send,
        current: Vec::with_capacity(PIECE),
    };
    let reader = PipeReader {
        pieces: receive,
        current: Vec::new(),
        position: 0,
        ended: false,
    };
    (writer, reader)
}

impl PipeWriter {
    /// Makes the reader fail, so that what is there is not taken for all.
    pub fn fail(self, error: io::Error) {
        // A reader that is gone does not care.
        let _ = self.pieces.send(Err(error));
    }

    fn hand_over(&mut self, piece: Vec<u8>) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.send(Ok(piece)).map_err(gone)
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.is_empty() && bytes.len() >= PIECE {
            self.hand_over(bytes.to_vec())?;
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
        let piece = std::mem::replace(&mut self.current, Vec::with_capacity(PIECE));
        self.hand_over(piece)
    }
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.position == self.current.len() && !self.ended {
            match self.pieces.recv() {
                Ok(Ok(piece)) => {
                    self.current = piece;
                    self.position = 0;
                }
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Err(_) => self.ended = true,
            }
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
