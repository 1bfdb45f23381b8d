//! Plans: what the frontend makes of a request, or a client's own definition.

use super::builds::Build;
use super::{definition, failure};
use bollard_buildkit_proto::pb;
use hull_engine::build::frontend;
use hull_engine::build::plan::{Plan, PlanInput, PlannedImage, Request};
use hull_engine::{Engine, Platform};
use std::collections::HashMap;
use std::sync::Arc;
use tonic::Status;

/// The frontends that this one stands for; of `gateway.v0` only those whose `source` is Docker's own.
const DOCKERFILE: &str = "dockerfile.v0";
const GATEWAY: &str = "gateway.v0";

/// Does what blocks in a thread of its own: the runtime's are for short work.
pub(super) async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let (sender, result) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("build-client".to_owned());
    thread
        // Who waited for it may be gone.
        .spawn(move || drop(sender.send(work())))
        .map_err(|error| Status::unavailable(format!("could not start a thread: {error}")))?;
    let broke_off = |_| Status::internal("the builder broke off: see the daemon's log");
    result.await.map_err(broke_off)
}

/// What a frontend is asked for.
pub(super) struct Asked {
    /// Which.
    pub(super) frontend: String,
    pub(super) attributes: HashMap<String, String>,
    /// Trees that the client has made already, by the names that attributes have for them.
    pub(super) inputs: HashMap<String, pb::Definition>,
}

/// Lets the frontend make a plan.
///
/// # Errors
/// What it says.
pub(super) async fn plan(
    engine: &Arc<Engine>,
    build: &Arc<Build>,
    asked: Asked,
) -> Result<Arc<Plan>, Status> {
    let Asked {
        frontend: name,
        attributes,
        inputs,
    } = asked;
    let source = attributes
        .get("source")
        .map(String::as_str)
        .unwrap_or_default();
    let ours = name == DOCKERFILE || name == GATEWAY && is_dockers(source);
    if !ours {
        return Err(Status::unknown(format!(
            "unsupported frontend {name} {source}: Hull has that of Dockerfiles only"
        )));
    }
    let inputs = inputs.into_iter().map(|(name, definition)| {
        let read = definition::read(&definition)?;
        let (graph, output) = (Arc::new(read.graph), read.output);
        Ok((name, PlanInput { graph, output }))
    });
    let request = Request {
        inputs: inputs.collect::<Result<_, Status>>()?,
        attributes: attributes.into_iter().collect(),
    };
    let (solver, build) = (engine.solver(), Arc::clone(build));
    in_thread(move || {
        let plan = frontend::plan(&request, &solver, &build.context)
            .map_err(|error| failure::of_plan(&error))?;
        let sources = plan.sources.iter().map(|file| pb::SourceInfo {
            filename: file.name.clone(),
            data: file.text.clone(),
            language: "Dockerfile".to_owned(),
            definition: None,
        });
        build.progress.sources(sources.collect());
        Ok(Arc::new(plan))
    })
    .await?
}

/// A client's own plan.
///
/// # Errors
/// For a definition that makes no sense.
pub(super) fn of(definition: &pb::Definition) -> Result<Arc<Plan>, Status> {
    let read = definition::read(definition)?;
    let platform = Platform {
        variant: None,
        ..Platform::host()
    };
    // As BuildKit's exporter has it for files without a config.
    let config = serde_json::json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "/",
        },
    });
    Ok(Arc::new(Plan {
        graph: Arc::new(read.graph),
        images: vec![PlannedImage {
            platform,
            output: read.output,
            config: config.to_string().into_bytes(),
        }],
        sources: read.sources,
        ..Plan::default()
    }))
}

/// Whether an image is one of Docker's Dockerfile frontends.
fn is_dockers(source: &str) -> bool {
    let name = source.split(['@', ':']).next().unwrap_or_default();
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
}
