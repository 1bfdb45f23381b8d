//! The call of a session by which a client is asked for files.

use super::receive::{Answer, Link, LocalRequest, broken, receive};
use super::received::ReceivedFiles;
use super::store::ContextStore;
use crate::buildkit::session::{Caller, Channel, SessionError};
use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::moby::filesync::v1::file_sync_client::FileSyncClient;
use futures_util::StreamExt as _;
use ring::digest::{SHA256, digest};
use std::sync::Arc;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::{AsciiMetadataKey, MetadataMap, MetadataValue};
use tonic::{Request, Streaming};

pub(in crate::buildkit) const DIFF_COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";

/// The longest message, bytes: as BuildKit's.
const MAX_MESSAGE: usize = 16 << 20;

impl Caller {
    /// Brings files of the client's. `progress` is told how many bytes came.
    ///
    /// # Errors
    /// What the client said, what the file system said, and for a client that breaks the protocol.
    pub(crate) fn receive(
        &self,
        request: &LocalRequest,
        store: &Arc<ContextStore>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<ReceivedFiles, SessionError> {
        let (outgoing, queue) = mpsc::unbounded_channel();
        let call = Request::from_parts(
            metadata(request)?,
            tonic::Extensions::default(),
            UnboundedReceiverStream::new(queue).map(Answer::packet),
        );
        let channel = self.channel(DIFF_COPY)?;
        let mut client = FileSyncClient::with_origin(channel, Channel::origin())
            .max_decoding_message_size(MAX_MESSAGE);
        let mut link = CallLink {
            caller: self,
            incoming: self.wait(client.diff_copy(call))?.into_inner(),
            outgoing,
        };
        let key = source_key(request, self.session().shared_key());
        receive((&mut link, key.as_deref()), request, store, progress)
    }
}

/// A call of a session.
struct CallLink<'a> {
    caller: &'a Caller,
    incoming: Streaming<Packet>,
    outgoing: UnboundedSender<Answer>,
}

impl Link for CallLink<'_> {
    fn next(&mut self) -> Result<Option<Packet>, SessionError> {
        self.caller.wait(self.incoming.message())
    }

    fn answer(&mut self, answer: Answer) -> Result<(), SessionError> {
        let sent = self.outgoing.send(answer);
        sent.map_err(|_| broken("the stream ended too early"))
    }
}

/// What sources have in common whose files are mostly the same. Of a client that does not say which one it is
/// nothing is kept: files of one must not be taken for another's.
pub(in crate::buildkit) fn source_key(request: &LocalRequest, shared_key: &str) -> Option<String> {
    if shared_key.is_empty() {
        return None;
    }
    let LocalRequest {
        name,
        shared_key_hint: hint,
        ..
    } = request;
    let text = format!("{}:{name}{}:{hint}{shared_key}", name.len(), hint.len());
    let digest = digest(&SHA256, text.as_bytes());
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    Some(hex.collect())
}

/// What is wanted, as metadata of the call: what is no plain text is encoded as in URLs.
fn metadata(request: &LocalRequest) -> Result<MetadataMap, SessionError> {
    let mut map = MetadataMap::new();
    let name = vec![request.name.clone()];
    for (key, values) in [
        ("dir-name", &name),
        ("include-patterns", &request.include),
        ("exclude-patterns", &request.exclude),
        ("followpaths", &request.follow),
    ] {
        let plain = |value: &String| {
            value.trim() == value && value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        let encoded = !values.iter().all(plain);
        for value in values {
            let value = match encoded {
                true => url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
                false => value.clone(),
            };
            let value = MetadataValue::try_from(value)
                .map_err(|_| SessionError::Protocol(format!("{key} are no header")))?;
            map.append(AsciiMetadataKey::from_static(key), value);
        }
        if encoded {
            let key = AsciiMetadataKey::from_bytes(format!("{key}-encoded").as_bytes());
            let key = key.map_err(|_| SessionError::Protocol("no header's name".to_owned()))?;
            map.insert(key, MetadataValue::from_static("1"));
        }
    }
    Ok(map)
}
