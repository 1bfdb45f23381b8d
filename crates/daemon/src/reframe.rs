//! Output in another form than the process's own.
//!
//! dockerd decides by what an exec's *start* says of a terminal whether output is framed, and by what
//! its creation says whether there is one. Clients that start without a word of the terminal get its
//! output in frames; those that claim one that is not there get bare bytes.

use bytes::BytesMut;
use hull_api::stream::{Decoder, StreamKind, encode};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// The bytes that are held at most: what a pipe holds by default, pipe(7).
const COPY_BUFFER: usize = 64 * 1024;

/// Another end of `process`, whose output is framed there if `framed`, and is bare bytes otherwise: the
/// opposite of what it is on `process`. Input is passed on as it is, and so are the ends of both. Without
/// descriptors for that it is `process` itself: a client can make nothing of the form, and so of nothing
/// at all.
pub(crate) fn reframe(process: UnixStream, framed: bool) -> UnixStream {
    let Ok((near, far)) = UnixStream::pair() else {
        tracing::error!("no descriptors are left to change the form of an exec's output");
        return process;
    };
    let (mut from_client, mut to_client) = near.into_split();
    let (mut from_process, mut to_process) = process.into_split();
    tokio::spawn(async move {
        let input = async {
            // Whichever side is gone: the other learns it from the end.
            let _ = tokio::io::copy(&mut from_client, &mut to_process).await;
            let _ = to_process.shutdown().await;
        };
        let output = async {
            let copied = if framed {
                add(&mut from_process, &mut to_client).await
            } else {
                strip(&mut from_process, &mut to_client).await
            };
            if let Err(error) = copied {
                tracing::debug!(%error, "a stream broke off while its form was changed");
            }
            let _ = to_client.shutdown().await;
        };
        tokio::select! {
            () = output => {}
            // Output goes on after the end of the input.
            () = async { input.await; std::future::pending::<()>().await } => {}
        }
    });
    far
}

async fn add(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BUFFER];
    let mut frames = BytesMut::new();
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        frames.clear();
        encode(StreamKind::Stdout, &buffer[..count], &mut frames);
        to.write_all(&frames).await?;
    }
}

async fn strip(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BUFFER];
    let mut decoder = Decoder::new();
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        decoder.push(&buffer[..count]);
        while let Some((_, bytes)) = decoder.next_chunk().map_err(io::Error::other)? {
            to.write_all(&bytes).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_added_and_taken_off_and_input_passes() {
        for (framed, sent, seen) in [
            (true, &b"hi"[..], &b"\x01\0\0\0\0\0\0\x02hi"[..]),
            (
                false,
                &b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!"[..],
                &b"hi!"[..],
            ),
        ] {
            let (process, mut far_process) = UnixStream::pair().unwrap();
            let mut client = reframe(process, framed);
            client.write_all(b"input").await.unwrap();
            client.shutdown().await.unwrap();
            let mut input = Vec::new();
            far_process.read_to_end(&mut input).await.unwrap();
            assert_eq!(input, b"input");
            far_process.write_all(sent).await.unwrap();
            drop(far_process);
            let mut output = Vec::new();
            client.read_to_end(&mut output).await.unwrap();
            assert_eq!(output, seen);
        }
    }
}
