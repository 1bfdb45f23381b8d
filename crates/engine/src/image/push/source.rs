//! A kept blob's file as what an upload reads.

use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Bytes of one read: large, since each is a trip to a thread that may block.
const READ: usize = 1 << 20;

/// A file of the store.
#[derive(Debug)]
pub(super) struct File(pub(super) PathBuf);

impl hull_registry::Source for File {
    fn read_from(&self, offset: u64) -> BoxStream<'static, io::Result<bytes::Bytes>> {
        let path = self.0.clone();
        let open = move || {
            let mut file = fs_err::File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        };
        stream::once(blocking(open))
            .flat_map(|opened| match opened {
                Ok(file) => stream::try_unfold(file, |file| blocking(move || next(file))).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }
}

fn next(mut file: fs_err::File) -> io::Result<Option<(bytes::Bytes, fs_err::File)>> {
    let mut buffer = BytesMut::zeroed(READ);
    let length = file.read(&mut buffer)?;
    buffer.truncate(length);
    Ok((length > 0).then(|| (buffer.freeze(), file)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
