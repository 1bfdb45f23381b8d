//! `moby.buildkit.v1.Control`: builds, their progress, and what is known of the builder.

use super::session::{Introduction, Sessions};
use super::{grpc, worker};
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use futures_util::stream::{self, BoxStream};
use proto::control_server::{Control, ControlServer};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// The bytes that one direction of a session in messages holds at most.
const BUFFER: usize = 64 << 10;

type Answer<T> = Result<Response<T>, Status>;
type Stream<T> = BoxStream<'static, Result<T, Status>>;

/// Answers `Control`.
#[derive(Debug)]
pub(super) struct ControlService {
    sessions: Arc<Sessions>,
}

impl ControlService {
    pub(super) fn new(sessions: Arc<Sessions>) -> Self {
        Self { sessions }
    }

    /// All that is answered on a connection.
    pub(super) fn services(self) -> Routes {
        let control = ControlServer::new(self).max_decoding_message_size(grpc::MAX_MESSAGE);
        Routes::new(control)
    }
}

fn not_yet(what: &str) -> Status {
    Status::unimplemented(format!("Hull does not support {what} yet"))
}

#[tonic::async_trait]
impl Control for ControlService {
    type PruneStream = Stream<proto::UsageRecord>;
    type StatusStream = Stream<proto::StatusResponse>;
    type SessionStream = Stream<proto::BytesMessage>;
    type ListenBuildHistoryStream = Stream<proto::BuildHistoryEvent>;

    async fn disk_usage(
        &self,
        _: Request<proto::DiskUsageRequest>,
    ) -> Answer<proto::DiskUsageResponse> {
        Ok(Response::new(proto::DiskUsageResponse::default()))
    }

    async fn prune(&self, _: Request<proto::PruneRequest>) -> Answer<Self::PruneStream> {
        Ok(Response::new(Box::pin(stream::empty())))
    }

    async fn solve(&self, _: Request<proto::SolveRequest>) -> Answer<proto::SolveResponse> {
        Err(not_yet("building images"))
    }

    async fn status(&self, _: Request<proto::StatusRequest>) -> Answer<Self::StatusStream> {
        Err(not_yet("building images"))
    }

    async fn session(
        &self,
        request: Request<Streaming<proto::BytesMessage>>,
    ) -> Answer<Self::SessionStream> {
        let (metadata, _, incoming) = request.into_parts();
        let introduction = Introduction::read(metadata.as_ref())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (near, far) = tokio::io::duplex(BUFFER);
        let (sender, outgoing) = mpsc::channel(4);
        let sessions = Arc::clone(&self.sessions);
        tokio::spawn(async move {
            // Each of the three ends the others: what is left of a connection is of no use.
            tokio::select! {
                served = sessions.serve(introduction, near) => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "a session failed");
                    }
                }
                _ = carry(incoming, far, sender) => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn list_workers(
        &self,
        _: Request<proto::ListWorkersRequest>,
    ) -> Answer<proto::ListWorkersResponse> {
        let record = vec![worker::worker()];
        Ok(Response::new(proto::ListWorkersResponse { record }))
    }

    async fn info(&self, _: Request<proto::InfoRequest>) -> Answer<proto::InfoResponse> {
        let buildkit_version = Some(worker::version());
        Ok(Response::new(proto::InfoResponse { buildkit_version }))
    }

    async fn listen_build_history(
        &self,
        _: Request<proto::BuildHistoryRequest>,
    ) -> Answer<Self::ListenBuildHistoryStream> {
        Ok(Response::new(Box::pin(stream::empty())))
    }

    async fn update_build_history(
        &self,
        _: Request<proto::UpdateBuildHistoryRequest>,
    ) -> Answer<proto::UpdateBuildHistoryResponse> {
        Ok(Response::new(proto::UpdateBuildHistoryResponse {}))
    }
}

type Messages = mpsc::Sender<Result<proto::BytesMessage, Status>>;

/// Carries the bytes of a session's connection in messages, until one direction ends.
async fn carry(
    mut incoming: Streaming<proto::BytesMessage>,
    connection: DuplexStream,
    outgoing: Messages,
) -> io::Result<()> {
    let (mut read, mut write) = tokio::io::split(connection);
    let inward = async {
        while let Some(Ok(message)) = incoming.next().await {
            write.write_all(&message.data).await?;
        }
        Ok(())
    };
    let outward = async {
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = read.read(&mut buffer).await?;
            let data = buffer[..length].to_vec();
            let sent = outgoing.send(Ok(proto::BytesMessage { data })).await;
            if length == 0 || sent.is_err() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        ended = inward => ended,
        ended = outward => ended,
    }
}
