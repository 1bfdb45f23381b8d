//! `moby.buildkit.v1.frontend.LLBBridge`: the client's own part in its build. buildx asks for the frontend itself, looks
//! at what that made, and gives it back to be exported.

use super::builds::{Build, Builds, Planned};
use super::plans::{self, Asked, in_thread};
use super::{capabilities, definition, failure, grpc, reading, worker};
use bollard_buildkit_proto::moby::buildkit::v1::frontend as proto;
use bollard_buildkit_proto::pb;
use futures_util::stream::BoxStream;
use hull_engine::build::graph::{ImageSource, ResolveMode, digest_of};
use hull_engine::build::plan::Plan;
use hull_engine::build::progress::{Event, Warning, Watch as _};
use hull_engine::build::world::{Job, ResolvedImage};
use hull_engine::{Digest, Engine, Platform};
use proto::llb_bridge_server::{LlbBridge, LlbBridgeServer};
use proto::result::Result as Named;
use std::collections::HashMap;
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

/// Which build a call belongs to.
const BUILD: &str = "buildkit-controlapi-buildid";

type Answer<T> = Result<Response<T>, Status>;

/// Answers `LLBBridge`.
#[derive(Clone, Debug)]
pub(super) struct GatewayService {
    engine: Arc<Engine>,
    builds: Arc<Builds>,
}

impl GatewayService {
    pub(super) fn new(engine: Arc<Engine>, builds: Arc<Builds>) -> Self {
        Self { engine, builds }
    }

    pub(super) fn server(self) -> LlbBridgeServer<Self> {
        LlbBridgeServer::new(self).max_decoding_message_size(grpc::MAX_MESSAGE)
    }

    async fn build(&self, metadata: &MetadataMap) -> Result<Arc<Build>, Status> {
        let name = metadata.get(BUILD).and_then(|name| name.to_str().ok());
        let name = name.ok_or_else(|| Status::unknown("no buildid found in context"))?;
        self.builds.get(name).await
    }

    /// The build and the result that a call is about.
    async fn result<T>(
        &self,
        request: Request<T>,
        name: impl Fn(&T) -> &String,
    ) -> Result<(Arc<Build>, Planned, T), Status> {
        let build = self.build(request.metadata()).await?;
        let request = request.into_inner();
        let result = build.result(name(&request))?;
        Ok((build, result, request))
    }

    async fn resolve(&self, build: Arc<Build>, image: Wanted) -> Result<ResolvedImage, Status> {
        let solver = self.engine.solver();
        in_thread(move || {
            let vertex = digest_of(&("resolve image config", &image.reference));
            let context = &build.context;
            let job = Job {
                vertex: &vertex,
                client: &*context.client,
                watch: &*context.watch,
                cancel: &context.cancel,
            };
            let source = ImageSource {
                reference: image.reference,
                resolve: resolve_mode(&image.mode),
                layer_limit: 0,
            };
            let platform = image.platform.unwrap_or_else(|| context.platform.clone());
            solver
                .world()
                .resolve_image(&source, &platform, &job)
                .map_err(|error| Status::unknown(error.full_message()))
        })
        .await?
    }
}

/// An image that a client asks about.
struct Wanted {
    reference: String,
    mode: String,
    platform: Option<Platform>,
}

fn resolve_mode(text: &str) -> ResolveMode {
    match text {
        "pull" => ResolveMode::ForcePull,
        "local" => ResolveMode::PreferLocal,
        _ => ResolveMode::Default,
    }
}

/// Makes a plan's first outputs at once, for who wants to know whether they can be made.
async fn evaluate(
    engine: &Arc<Engine>,
    build: &Arc<Build>,
    planned: Vec<Planned>,
) -> Result<(), Status> {
    let (solver, build) = (engine.solver(), Arc::clone(build));
    in_thread(move || {
        planned
            .iter()
            .try_for_each(|one| build.solution(&solver, one).map(drop))
    })
    .await?
}

/// A plan as its client sees it: names of what can be had, and configs unless the plan is the client's own.
fn shown(build: &Build, plan: &Arc<Plan>, described: bool) -> Result<proto::Result, Status> {
    let mut metadata: HashMap<String, Vec<u8>> = plan.answers.clone().into_iter().collect();
    let planned = Planned::all(plan);
    let reference = |one: &Planned| {
        // Also of nothing: its config counts.
        let id = build.keep(one.clone())?;
        let output = one.image().output;
        let def = output.map(|output| definition::write(&plan.graph, output, &build.session));
        Ok::<_, Status>(proto::Ref { id, def })
    };
    let result = match planned.as_slice() {
        [] => Named::Ref(proto::Ref::default()),
        [one] => {
            if described {
                let config = one.image().config.clone();
                metadata.insert("containerimage.config".to_owned(), config);
            }
            Named::Ref(reference(one)?)
        }
        several => {
            let mut refs = HashMap::new();
            let mut platforms = Vec::new();
            for one in several {
                let image = one.image();
                let name = image.platform.to_string();
                metadata.insert(
                    format!("containerimage.config/{name}"),
                    image.config.clone(),
                );
                platforms.push(serde_json::json!({"ID": name, "Platform": image.platform}));
                refs.insert(name, reference(one)?);
            }
            let platforms = serde_json::json!({"Platforms": platforms});
            metadata.insert(
                "refs.platforms".to_owned(),
                platforms.to_string().into_bytes(),
            );
            Named::Refs(proto::RefMap { refs })
        }
    };
    Ok(proto::Result {
        metadata,
        attestations: HashMap::new(),
        result: Some(result),
    })
}

fn not_yet(what: &str) -> Status {
    Status::unimplemented(format!("Hull does not support {what} yet"))
}

#[tonic::async_trait]
impl LlbBridge for GatewayService {
    type ExecProcessStream = BoxStream<'static, Result<proto::ExecMessage, Status>>;

    async fn ping(&self, _: Request<proto::PingRequest>) -> Answer<proto::PongResponse> {
        Ok(Response::new(proto::PongResponse {
            frontend_api_caps: capabilities::gateway(),
            llb_caps: capabilities::llb(),
            workers: vec![worker::worker(&self.engine)],
        }))
    }

    async fn solve(&self, request: Request<proto::SolveRequest>) -> Answer<proto::SolveResponse> {
        let build = self.build(request.metadata()).await?;
        let request = request.into_inner();
        let described = !request.frontend.is_empty();
        let plan = match request.definition {
            Some(definition) if !described => plans::of(&definition)?,
            None if !described => Arc::new(Plan::default()),
            _ => {
                let asked = Asked {
                    frontend: request.frontend,
                    attributes: request.frontend_opt,
                    inputs: request.frontend_inputs,
                };
                plans::plan(&self.engine, &build, asked).await?
            }
        };
        if request.evaluate {
            evaluate(&self.engine, &build, Planned::all(&plan)).await?;
        }
        let result = shown(&build, &plan, described)?;
        let default = match &result.result {
            Some(Named::Ref(one)) if !request.allow_result_return => one.id.clone(),
            _ => String::new(),
        };
        Ok(Response::new(proto::SolveResponse {
            r#ref: default,
            result: Some(result),
        }))
    }

    async fn r#return(
        &self,
        request: Request<proto::ReturnRequest>,
    ) -> Answer<proto::ReturnResponse> {
        let build = self.build(request.metadata()).await?;
        let request = request.into_inner();
        let returned = match (request.error, request.result) {
            (Some(error), _) => Err(failure::passed_on(error)),
            (None, result) => build.named(result.unwrap_or_default()),
        };
        build.give(returned);
        Ok(Response::new(proto::ReturnResponse {}))
    }

    async fn evaluate(
        &self,
        request: Request<proto::EvaluateRequest>,
    ) -> Answer<proto::EvaluateResponse> {
        let build = self.build(request.metadata()).await?;
        let result = build.result(&request.into_inner().r#ref)?;
        evaluate(&self.engine, &build, vec![result]).await?;
        Ok(Response::new(proto::EvaluateResponse {}))
    }

    async fn resolve_image_config(
        &self,
        request: Request<proto::ResolveImageConfigRequest>,
    ) -> Answer<proto::ResolveImageConfigResponse> {
        let build = self.build(request.metadata()).await?;
        let request = request.into_inner();
        let wanted = Wanted {
            reference: request.r#ref,
            mode: request.resolve_mode,
            platform: request.platform.map(definition::platform),
        };
        let found = self.resolve(build, wanted).await?;
        Ok(Response::new(proto::ResolveImageConfigResponse {
            digest: digest(&found),
            r#ref: found.reference,
            config: found.config,
        }))
    }

    async fn resolve_source_meta(
        &self,
        request: Request<proto::ResolveSourceMetaRequest>,
    ) -> Answer<proto::ResolveSourceMetaResponse> {
        let build = self.build(request.metadata()).await?;
        let request = request.into_inner();
        let source = request
            .source
            .ok_or_else(|| Status::invalid_argument("source is required"))?;
        let Some(reference) = source.identifier.strip_prefix("docker-image://") else {
            return Err(not_yet("asking about sources that are no images"));
        };
        let wanted = Wanted {
            reference: reference.to_owned(),
            mode: request.resolve_mode,
            platform: request.platform.map(definition::platform),
        };
        let found = self.resolve(build, wanted).await?;
        let no_config = request.image.is_some_and(|image| image.no_config);
        Ok(Response::new(proto::ResolveSourceMetaResponse {
            source: Some(pb::SourceOp {
                identifier: format!("docker-image://{}", found.reference),
                attrs: source.attrs,
            }),
            image: Some(proto::ResolveSourceImageResponse {
                digest: digest(&found),
                config: if no_config { Vec::new() } else { found.config },
                attestation_chain: None,
            }),
            git: None,
            http: None,
        }))
    }

    async fn inputs(
        &self,
        request: Request<proto::InputsRequest>,
    ) -> Answer<proto::InputsResponse> {
        self.build(request.metadata()).await?;
        Ok(Response::new(proto::InputsResponse::default()))
    }

    async fn warn(&self, request: Request<proto::WarnRequest>) -> Answer<proto::WarnResponse> {
        let build = self.build(request.metadata()).await?;
        let request = request.into_inner();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        build.progress.tell(Event::Warning(Warning {
            vertex: request.digest.parse::<Digest>().ok(),
            level: request.level,
            short: text(request.short),
            detail: request.detail.into_iter().map(text).collect(),
            url: request.url,
            location: None,
        }));
        Ok(Response::new(proto::WarnResponse {}))
    }

    async fn read_file(
        &self,
        request: Request<proto::ReadFileRequest>,
    ) -> Answer<proto::ReadFileResponse> {
        let (build, result, request) = self.result(request, |request| &request.r#ref).await?;
        let solver = self.engine.solver();
        let engine = Arc::clone(&self.engine);
        let data = in_thread(move || {
            let files = build.solution(&solver, &result)?;
            let files = reading::Files::open(&engine, files.as_deref())?;
            let range = request.range.map(|range| (range.offset, range.length));
            files.read(&request.file_path, range)
        });
        Ok(Response::new(proto::ReadFileResponse {
            data: data.await??,
        }))
    }

    async fn read_dir(
        &self,
        request: Request<proto::ReadDirRequest>,
    ) -> Answer<proto::ReadDirResponse> {
        let (build, result, request) = self.result(request, |request| &request.r#ref).await?;
        let solver = self.engine.solver();
        let engine = Arc::clone(&self.engine);
        let entries = in_thread(move || {
            let files = build.solution(&solver, &result)?;
            let files = reading::Files::open(&engine, files.as_deref())?;
            files.list(&request.dir_path, &request.include_pattern)
        });
        Ok(Response::new(proto::ReadDirResponse {
            entries: entries.await??,
        }))
    }

    async fn stat_file(
        &self,
        request: Request<proto::StatFileRequest>,
    ) -> Answer<proto::StatFileResponse> {
        let (build, result, request) = self.result(request, |request| &request.r#ref).await?;
        let solver = self.engine.solver();
        let engine = Arc::clone(&self.engine);
        let stat = in_thread(move || {
            let files = build.solution(&solver, &result)?;
            reading::Files::open(&engine, files.as_deref())?.stat(&request.path)
        });
        Ok(Response::new(proto::StatFileResponse {
            stat: Some(stat.await??),
        }))
    }

    async fn new_container(
        &self,
        _: Request<proto::NewContainerRequest>,
    ) -> Answer<proto::NewContainerResponse> {
        Err(not_yet("processes in a build's files"))
    }

    async fn release_container(
        &self,
        _: Request<proto::ReleaseContainerRequest>,
    ) -> Answer<proto::ReleaseContainerResponse> {
        Err(not_yet("processes in a build's files"))
    }

    async fn exec_process(
        &self,
        _: Request<Streaming<proto::ExecMessage>>,
    ) -> Answer<Self::ExecProcessStream> {
        Err(not_yet("processes in a build's files"))
    }

    async fn read_file_container(
        &self,
        _: Request<proto::ReadFileRequest>,
    ) -> Answer<proto::ReadFileResponse> {
        Err(not_yet("processes in a build's files"))
    }

    async fn read_dir_container(
        &self,
        _: Request<proto::ReadDirRequest>,
    ) -> Answer<proto::ReadDirResponse> {
        Err(not_yet("processes in a build's files"))
    }

    async fn stat_file_container(
        &self,
        _: Request<proto::StatFileRequest>,
    ) -> Answer<proto::StatFileResponse> {
        Err(not_yet("processes in a build's files"))
    }
}

fn digest(image: &ResolvedImage) -> String {
    image.digest.as_ref().unwrap_or(&image.id).to_string()
}
