//! `moby.buildkit.v1.Control`: builds, their progress, and what is known of the builder.

use super::builds::{Active, Build};
use super::caches::{CacheTarget, Caches, Imports};
use super::client::SessionClient;
use super::export::{Outlet, Target, Work, export};
use super::filesync::{ContextStore, Kept};
use super::plans::{self, Asked, in_thread};
use super::progress::{Progress, timestamp};
use super::session::Introduction;
use super::{BuildKit, builds, grpc, worker};
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use futures_util::stream::{self, BoxStream};
use hull_engine::build::solve::{Context, KnownSources};
use hull_engine::build::world::Cancel;
use hull_engine::{Engine, Platform};
use proto::control_server::{Control, ControlServer};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// The bytes that one direction of a session in messages holds at most.
const BUFFER: usize = 64 << 10;

type Answer<T> = Result<Response<T>, Status>;
type Stream<T> = BoxStream<'static, Result<T, Status>>;

/// Answers `Control`.
#[derive(Debug)]
pub(super) struct ControlService {
    engine: Arc<Engine>,
    shared: BuildKit,
}

impl ControlService {
    pub(super) fn new(engine: Arc<Engine>, shared: BuildKit) -> Self {
        Self { engine, shared }
    }

    pub(super) fn server(self) -> ControlServer<Self> {
        ControlServer::new(self).max_decoding_message_size(grpc::MAX_MESSAGE)
    }

    fn contexts(&self) -> Result<Arc<ContextStore>, Status> {
        let contexts = self.shared.contexts(self.engine.data_root());
        contexts.map_err(|error| Status::internal(error.to_string()))
    }

    /// Begins a build of a client with a session.
    fn begin(&self, request: &proto::SolveRequest) -> Result<(Active, SessionClient), Status> {
        let token = CancellationToken::new();
        let imports = request.cache.as_ref().map(|cache| cache.imports.clone());
        let imports = imports.unwrap_or_default();
        let client = SessionClient {
            sessions: Arc::clone(&self.shared.sessions),
            contexts: self.contexts()?,
            session: request.session.clone(),
            runtime: Handle::current(),
            cancel: token.clone(),
            host_network: entitled(request)?,
            imports: Arc::new(Imports::new(&self.engine, imports)),
        };
        let progress = Arc::new(Progress::default());
        let context = Context {
            client: Arc::new(client.clone()),
            watch: Arc::clone(&progress) as _,
            cancel: Cancel::new(),
            platform: Platform::host(),
            sources: KnownSources::default(),
        };
        let build = Build::new((&request.r#ref, &request.session), progress, context);
        Ok((self.enter(build, token)?, client))
    }

    /// Gives a build its place among the others. It ends with what is returned: also when its client goes.
    ///
    /// # Errors
    /// As [`builds::Builds::begin`].
    pub(super) fn enter(&self, build: Build, token: CancellationToken) -> Result<Active, Status> {
        self.shared.builds.begin(build, token)
    }

    /// What is to be exported: what the client makes of the build, or what the frontend does.
    pub(super) async fn wanted(
        &self,
        build: &Arc<Build>,
        request: &proto::SolveRequest,
    ) -> Result<builds::Returned, Status> {
        let definition = request.definition.as_ref();
        let plan = match definition.filter(|definition| !definition.def.is_empty()) {
            Some(definition) => plans::of(definition)?,
            None if request.frontend.is_empty() => return build.returned().await,
            None => {
                let asked = Asked {
                    frontend: request.frontend.clone(),
                    attributes: request.frontend_attrs.clone(),
                    inputs: request.frontend_inputs.clone(),
                };
                plans::plan(&self.engine, build, asked).await?
            }
        };
        let images = builds::Planned::all(&plan);
        let several = images.len() > 1;
        let named = images.into_iter().map(|image| {
            let platform = image.image().platform.to_string();
            (if several { platform } else { String::new() }, image)
        });
        Ok(builds::Returned {
            images: named.collect(),
            metadata: plan.answers.clone().into_iter().collect(),
        })
    }

    /// Builds what was returned and gives it to those who are to have it.
    pub(super) async fn run(
        &self,
        build: &Arc<Build>,
        outlet: Arc<dyn Outlet>,
        returned: builds::Returned,
        (targets, caches): (Vec<Target>, Option<(Vec<CacheTarget>, SessionClient)>),
    ) -> Result<proto::SolveResponse, Status> {
        let (engine, solver) = (Arc::clone(&self.engine), self.engine.solver());
        let (build, runtime) = (Arc::clone(build), Handle::current());
        let exporter_response = in_thread(move || {
            let work = Work {
                targets: &targets,
                caches: caches
                    .as_ref()
                    .map(|(targets, client)| Caches { targets, client }),
                outlet: &*outlet,
                runtime: &runtime,
            };
            let exported = export(&engine, &solver, &build, &returned, work);
            // What was made before a failure, too.
            engine.settle_builds();
            exported
        })
        .await??;
        Ok(proto::SolveResponse { exporter_response })
    }

    /// A whole build.
    async fn build(
        &self,
        build: &Arc<Build>,
        client: SessionClient,
        request: &proto::SolveRequest,
        (targets, caches): (Vec<Target>, Vec<CacheTarget>),
    ) -> Result<proto::SolveResponse, Status> {
        let returned = self.wanted(build, request).await?;
        let caches = Some((caches, client.clone()));
        let outlet = Arc::new(client);
        self.run(build, outlet, returned, (targets, caches)).await
    }
}

/// Whether steps may have the host's network.
pub(super) fn entitled(request: &proto::SolveRequest) -> Result<bool, Status> {
    let mut host = false;
    for asked in &request.entitlements {
        match asked.as_str() {
            "network.host" => host = true,
            "security.insecure" => {
                let text = "granting entitlement security.insecure is not allowed by build daemon configuration";
                return Err(Status::permission_denied(text));
            }
            other => {
                let text = format!("unknown entitlement {other}");
                return Err(Status::invalid_argument(text));
            }
        }
    }
    Ok(host)
}

/// Files of a client's that are kept, in the words of `buildx du`.
fn usage(kept: &Kept) -> proto::UsageRecord {
    let time = |time| jiff::Timestamp::try_from(time).ok().map(timestamp);
    proto::UsageRecord {
        id: kept.id.clone(),
        mutable: true,
        in_use: kept.in_use,
        size: i64::try_from(kept.size).unwrap_or(i64::MAX),
        created_at: time(kept.created),
        last_used_at: time(kept.last_used),
        description: "local source".to_owned(),
        record_type: "source.local".to_owned(),
        ..proto::UsageRecord::default()
    }
}

/// Removes what no build has and was not used for the time that is asked for; what was removed.
fn prune(contexts: &ContextStore, request: &proto::PruneRequest) -> io::Result<Vec<Kept>> {
    let keep = Duration::from_nanos(u64::try_from(request.keep_duration).unwrap_or(0));
    let mut removed = Vec::new();
    for kept in contexts.kept()? {
        let recent = kept.last_used.elapsed().is_ok_and(|unused| unused < keep);
        if !recent && contexts.remove(&kept.id)? {
            removed.push(kept);
        }
    }
    Ok(removed)
}

/// The exporters of a request, old clients' too.
pub(super) fn targets(request: &proto::SolveRequest) -> Result<Vec<Target>, Status> {
    let old = proto::Exporter {
        r#type: request.exporter_deprecated.clone(),
        attrs: request.exporter_attrs_deprecated.clone(),
    };
    let exporters = match request.exporters.as_slice() {
        [] if !old.r#type.is_empty() => std::slice::from_ref(&old),
        exporters => exporters,
    };
    let epoch = request.frontend_attrs.get("build-arg:SOURCE_DATE_EPOCH");
    let mut targets = Vec::new();
    for (place, exporter) in exporters.iter().enumerate() {
        let mut exporter = exporter.clone();
        if let Some(epoch) = epoch {
            let attribute = exporter.attrs.entry("source-date-epoch".to_owned());
            attribute.or_insert_with(|| epoch.clone());
        }
        targets.extend(Target::parse(place, &exporter)?);
    }
    Ok(targets)
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
        let contexts = self.contexts()?;
        let kept = in_thread(move || contexts.kept()).await?;
        let kept = kept.map_err(|error| Status::internal(error.to_string()))?;
        let record = kept.iter().map(usage).collect();
        Ok(Response::new(proto::DiskUsageResponse { record }))
    }

    async fn prune(&self, request: Request<proto::PruneRequest>) -> Answer<Self::PruneStream> {
        let request = request.into_inner();
        // buildx sends an empty one for none.
        if request.filter.iter().any(|filter| !filter.is_empty()) {
            return Err(not_yet("filters of prune"));
        }
        let contexts = self.contexts()?;
        let removed = in_thread(move || prune(&contexts, &request)).await?;
        let removed = removed.map_err(|error| Status::internal(error.to_string()))?;
        let removed = removed.into_iter().map(|kept| Ok(usage(&kept)));
        Ok(Response::new(Box::pin(stream::iter(removed))))
    }

    async fn solve(&self, request: Request<proto::SolveRequest>) -> Answer<proto::SolveResponse> {
        let request = request.into_inner();
        let targets = targets(&request)?;
        let caches = request.cache.iter().flat_map(|cache| &cache.exports);
        let caches = caches.map(CacheTarget::parse).collect::<Result<_, _>>()?;
        let (active, client) = self.begin(&request)?;
        let mut record = self.shared.history.begin(&request);
        let build = &active.build;
        let solved = self.build(build, client, &request, (targets, caches));
        let solved = solved.await;
        record.end(&solved, active.build.progress.counts());
        solved.map(Response::new)
    }

    async fn status(&self, request: Request<proto::StatusRequest>) -> Answer<Self::StatusStream> {
        let name = request.into_inner().r#ref;
        let reader = self.shared.builds.progress(&name).await?.reader();
        Ok(Response::new(Box::pin(stream::unfold(
            reader,
            async |mut reader| {
                let told = reader.next().await?;
                Some((Ok(told), reader))
            },
        ))))
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
        let sessions = Arc::clone(&self.shared.sessions);
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
        let record = vec![worker::worker(&self.engine)];
        Ok(Response::new(proto::ListWorkersResponse { record }))
    }

    async fn info(&self, _: Request<proto::InfoRequest>) -> Answer<proto::InfoResponse> {
        let buildkit_version = Some(worker::version());
        Ok(Response::new(proto::InfoResponse { buildkit_version }))
    }

    async fn listen_build_history(
        &self,
        request: Request<proto::BuildHistoryRequest>,
    ) -> Answer<Self::ListenBuildHistoryStream> {
        let told = self.shared.history.listen(request.into_inner());
        Ok(Response::new(Box::pin(told)))
    }

    async fn update_build_history(
        &self,
        request: Request<proto::UpdateBuildHistoryRequest>,
    ) -> Answer<proto::UpdateBuildHistoryResponse> {
        self.shared.history.update(&request.into_inner())?;
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
