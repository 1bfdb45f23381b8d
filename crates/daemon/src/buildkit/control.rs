//! `moby.buildkit.v1.Control`: builds, their progress, and what is known of the builder.

use super::builds::{Active, Build};
use super::caches::{CacheTarget, Caches, Imports};
use super::client::SessionClient;
use super::export::{Outlet, Target, Work, export};
use super::filesync::ContextStore;
use super::filters::Filters;
use super::keeper::Keeper;
use super::plans::{self, Asked, in_thread};
use super::progress::{Progress, timestamp};
use super::session::Introduction;
use super::{BuildKit, builds, failure, grpc, worker};
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use futures_util::stream::{self, BoxStream};
use hull_engine::build::cache::Kind;
use hull_engine::build::solve::{Context, KnownSources};
use hull_engine::build::world::{Cancel, LocalFiles};
use hull_engine::build::{BuildLimits, BuildPrune, BuildRecord, RecordTest};
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

/// The caches that are exported, and whose they are.
type ToKeep = (Vec<CacheTarget>, Arc<dyn Keeper>);
type Answer<T> = Result<Response<T>, Status>;
type Stream<T> = BoxStream<'static, Result<T, Status>>;

/// Answers `Control`.
#[derive(Debug)]
pub(super) struct ControlService {
    engine: Arc<Engine>,
    shared: BuildKit,
    /// The context of its build, where that did not come over a session.
    upload: Option<Arc<dyn LocalFiles>>,
}

impl ControlService {
    pub(super) fn new(engine: Arc<Engine>, shared: BuildKit) -> Self {
        Self {
            engine,
            shared,
            upload: None,
        }
    }

    /// For one build, whose context is here already.
    pub(super) fn with_upload(mut self, upload: Option<Arc<dyn LocalFiles>>) -> Self {
        self.upload = upload;
        self
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
            upload: self.upload.clone(),
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
        (targets, caches): (Vec<Target>, ToKeep),
    ) -> Result<proto::SolveResponse, Status> {
        let (engine, solver) = (Arc::clone(&self.engine), self.engine.solver());
        let (build, runtime) = (Arc::clone(build), Handle::current());
        let exporter_response = in_thread(move || {
            let work = Work {
                targets: &targets,
                caches: Caches {
                    targets: &caches.0,
                    client: &*caches.1,
                },
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
        let client = Arc::new(client);
        let keeper = Arc::clone(&client) as _;
        self.run(build, client, returned, (targets, (caches, keeper)))
            .await
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

/// What builds have left, in the words of `buildx du`.
fn usage(record: BuildRecord) -> proto::UsageRecord {
    proto::UsageRecord {
        id: record.id,
        mutable: matches!(record.kind, Kind::Local | Kind::CacheMount),
        in_use: record.in_use,
        size: i64::try_from(record.size).unwrap_or(i64::MAX),
        created_at: Some(timestamp(record.created)),
        last_used_at: record.last_used.map(timestamp),
        usage_count: i64::try_from(record.uses).unwrap_or(i64::MAX),
        description: record.description,
        record_type: record.kind.as_str().to_owned(),
        shared: record.shared,
        parents: record.parents,
        ..proto::UsageRecord::default()
    }
}

/// What is to be removed; negative numbers are none.
fn to_prune(request: &proto::PruneRequest, filters: Filters) -> BuildPrune {
    let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
    BuildPrune {
        all: request.all,
        takes: (!filters.is_empty()).then(|| RecordTest::new(move |record| filters.takes(record))),
        unused_for: Duration::from_nanos(bytes(request.keep_duration)),
        limits: BuildLimits {
            reserved: bytes(request.reserved_space),
            max_used: bytes(request.max_used_space),
            min_free: bytes(request.min_free_space),
        },
        ..BuildPrune::default()
    }
}

/// The caches that a request has exported.
pub(super) fn cache_targets(request: &proto::SolveRequest) -> Result<Vec<CacheTarget>, Status> {
    let caches = request.cache.iter().flat_map(|cache| &cache.exports);
    caches.map(CacheTarget::parse).collect()
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

#[tonic::async_trait]
impl Control for ControlService {
    type PruneStream = Stream<proto::UsageRecord>;
    type StatusStream = Stream<proto::StatusResponse>;
    type SessionStream = Stream<proto::BytesMessage>;
    type ListenBuildHistoryStream = Stream<proto::BuildHistoryEvent>;

    async fn disk_usage(
        &self,
        request: Request<proto::DiskUsageRequest>,
    ) -> Answer<proto::DiskUsageResponse> {
        let filters = Filters::parse(&request.into_inner().filter)?;
        let records = self.engine.build_records().await;
        let records = records.map_err(|error| failure::of_engine(&error))?;
        let records = records.into_iter().filter(|record| filters.takes(record));
        let record = records.map(usage).collect();
        Ok(Response::new(proto::DiskUsageResponse { record }))
    }

    async fn prune(&self, request: Request<proto::PruneRequest>) -> Answer<Self::PruneStream> {
        let request = request.into_inner();
        let prune = to_prune(&request, Filters::parse(&request.filter)?);
        let pruned = self.engine.prune_builds(prune).await;
        let pruned = pruned.map_err(|error| failure::of_engine(&error))?;
        let removed = pruned.records.into_iter().map(|record| Ok(usage(record)));
        Ok(Response::new(Box::pin(stream::iter(removed))))
    }

    async fn solve(&self, request: Request<proto::SolveRequest>) -> Answer<proto::SolveResponse> {
        let request = request.into_inner();
        let targets = targets(&request)?;
        let caches = cache_targets(&request)?;
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
