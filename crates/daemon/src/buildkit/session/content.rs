//! Content stores of a client's: containerd's `services.content.v1` (containerd `api/services/content/v1/content.proto`).
//! Caches that are exported to directories, and OCI layouts, are such.

use super::{Caller, Channel, SessionError};
use bytes::Bytes;
use hull_engine::Digest;
use hull_engine::image::Descriptor;
use std::io::{self, Read};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, GrpcMethod, Request, Streaming};
use tonic_prost::ProstCodec;

const SERVICE: &str = "containerd.services.content.v1.Content";
const READ: &str = "/containerd.services.content.v1.Content/Read";
const WRITE: &str = "/containerd.services.content.v1.Content/Write";
/// Which of a client's stores a call is for.
const STORE: &str = "buildkit-attachable-store-id";
/// The bytes of a blob in one message.
const PIECE: usize = 256 << 10;

/// What is asked of a blob.
#[derive(Clone, PartialEq, prost::Message)]
struct ReadRequest {
    #[prost(string, tag = "1")]
    digest: String,
    #[prost(int64, tag = "2")]
    offset: i64,
    #[prost(int64, tag = "3")]
    size: i64,
}

/// A piece of a blob.
#[derive(Clone, PartialEq, prost::Message)]
struct ReadResponse {
    #[prost(int64, tag = "1")]
    offset: i64,
    #[prost(bytes = "vec", tag = "2")]
    data: Vec<u8>,
}

/// A step of writing a blob: 0 asks how far it is, 1 writes, 2 ends it.
#[derive(Clone, PartialEq, prost::Message)]
struct WriteRequest {
    #[prost(int32, tag = "1")]
    action: i32,
    #[prost(string, tag = "2")]
    reference: String,
    #[prost(int64, tag = "3")]
    total: i64,
    #[prost(string, tag = "4")]
    expected: String,
    #[prost(int64, tag = "5")]
    offset: i64,
    #[prost(bytes = "vec", tag = "6")]
    data: Vec<u8>,
}

/// How far it is now.
#[derive(Clone, PartialEq, prost::Message)]
struct WriteResponse {
    #[prost(int32, tag = "1")]
    action: i32,
    #[prost(int64, tag = "4")]
    offset: i64,
    #[prost(int64, tag = "5")]
    total: i64,
    #[prost(string, tag = "6")]
    digest: String,
}

fn protocol(why: impl Into<String>) -> SessionError {
    SessionError::Protocol(why.into())
}

fn number(size: u64) -> Result<i64, SessionError> {
    i64::try_from(size).map_err(|_| protocol("a blob that is too large"))
}

/// A store of a client's. All calls block.
#[derive(Clone, Debug)]
pub(crate) struct ContentClient {
    caller: Caller,
    id: MetadataValue<Ascii>,
}

impl Caller {
    /// The client's content store of that id.
    ///
    /// # Errors
    /// [`SessionError::Unsupported`] when the client has none.
    pub(crate) fn content(&self, id: &str) -> Result<ContentClient, SessionError> {
        self.channel(READ)?;
        let id = MetadataValue::try_from(id)
            .map_err(|_| protocol(format!("the id {id:?} of a store is no header's value")))?;
        Ok(ContentClient {
            caller: self.clone(),
            id,
        })
    }
}

impl ContentClient {
    fn request<T>(&self, message: T, method: &'static str) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(STORE, self.id.clone());
        request
            .extensions_mut()
            .insert(GrpcMethod::new(SERVICE, method));
        request
    }

    fn client(&self, method: &'static str) -> Result<tonic::client::Grpc<Channel>, SessionError> {
        let channel = self.caller.channel(method)?;
        let client = tonic::client::Grpc::with_origin(channel, Channel::origin());
        Ok(client.max_decoding_message_size(crate::buildkit::grpc::MAX_MESSAGE))
    }

    /// A blob's bytes. Who reads them checks them.
    ///
    /// # Errors
    /// What the client says.
    pub(crate) fn read(&self, digest: &Digest) -> Result<BlobReader, SessionError> {
        let mut client = self.client(READ)?;
        let message = ReadRequest {
            digest: digest.to_string(),
            ..ReadRequest::default()
        };
        let request = self.request(message, "Read");
        let path = PathAndQuery::from_static(READ);
        let pieces = self.caller.wait(async {
            client.ready().await.map_err(SessionError::Connection)?;
            let codec = ProstCodec::<ReadRequest, ReadResponse>::default();
            let answer = client.server_streaming(request, path, codec).await?;
            Ok::<_, SessionError>(answer.into_inner())
        })?;
        Ok(BlobReader {
            caller: self.caller.clone(),
            pieces,
            piece: Bytes::new(),
        })
    }

    /// Writes a blob, if it is not there.
    ///
    /// # Errors
    /// What the client says, and when `bytes` cannot be read.
    pub(crate) fn write(
        &self,
        blob: &Descriptor,
        bytes: &mut dyn Read,
    ) -> Result<(), SessionError> {
        let mut client = self.client(WRITE)?;
        let (sender, outgoing) = mpsc::channel(4);
        let request = self.request(ReceiverStream::new(outgoing), "Write");
        let path = PathAndQuery::from_static(WRITE);
        let first = WriteRequest {
            reference: format!("hull-{}", blob.digest.hex()),
            total: number(blob.size)?,
            expected: blob.digest.to_string(),
            ..WriteRequest::default()
        };
        let sent = sender.try_send(first.clone());
        sent.map_err(|_| protocol("the client takes no blob"))?;
        let begun = self.caller.wait(async {
            client.ready().await.map_err(SessionError::Connection)?;
            let codec = ProstCodec::<WriteRequest, WriteResponse>::default();
            let mut answers = client.streaming(request, path, codec).await?.into_inner();
            let begun = answers.message().await?;
            Ok::<_, SessionError>((answers, begun))
        });
        let (mut answers, begun) = match begun {
            Err(SessionError::Refused(status)) if status.code() == Code::AlreadyExists => {
                return Ok(());
            }
            begun => begun?,
        };
        // What an earlier attempt has brought stays there.
        let mut offset = begun.map_or(0, |begun| begun.offset);
        let known = u64::try_from(offset).map_err(|_| protocol("a blob of negative length"))?;
        io::copy(&mut (&mut *bytes).take(known), &mut io::sink())
            .map_err(|error| SessionError::local(format!("read {}", blob.digest), error))?;
        loop {
            let mut data = Vec::with_capacity(PIECE);
            let read = (&mut *bytes).take(PIECE as u64).read_to_end(&mut data);
            read.map_err(|error| SessionError::local(format!("read {}", blob.digest), error))?;
            let last = data.is_empty();
            let length = number(data.len() as u64)?;
            let message = WriteRequest {
                action: if last { 2 } else { 1 },
                offset,
                data,
                ..first.clone()
            };
            offset += length;
            match self.step(&sender, message, &mut answers) {
                Err(SessionError::Refused(status)) if status.code() == Code::AlreadyExists => {
                    return Ok(());
                }
                done => done?,
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Sends one message, and waits for its answer.
    fn step(
        &self,
        sender: &mpsc::Sender<WriteRequest>,
        message: WriteRequest,
        answers: &mut Streaming<WriteResponse>,
    ) -> Result<(), SessionError> {
        self.caller.wait(async {
            // What the client had against it is its answer.
            let _ = sender.send(message).await;
            match answers.message().await? {
                Some(_) => Ok(()),
                None => Err(protocol("the client takes no more of a blob")),
            }
        })
    }
}

/// A blob on its way from a client.
#[derive(Debug)]
pub(crate) struct BlobReader {
    caller: Caller,
    pieces: Streaming<ReadResponse>,
    piece: Bytes,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = self.caller.wait(self.pieces.message());
            match next.map_err(io::Error::other)? {
                Some(piece) => self.piece = piece.data.into(),
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}
