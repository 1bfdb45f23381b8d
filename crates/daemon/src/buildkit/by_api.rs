//! Builds by `POST /build?version=2`, which clients of before Docker 23 speak: one request begins the build and streams
//! what it tells; the files come over a session, or came before.

use super::BuildKit;
use super::control::ControlService;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use hull_engine::Engine;
use hull_engine::build::world::LocalFiles;
use prost::Message as _;
use proto::control_server::Control as _;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tonic::{Request, Status};

/// What is to be built.
#[derive(Debug)]
pub(crate) struct ApiBuild {
    /// What it is known by.
    pub(crate) name: String,
    /// The client's session.
    pub(crate) session: String,
    /// The context, where it did not come over that.
    pub(crate) upload: Option<Arc<dyn LocalFiles>>,
    /// What the frontend is asked for.
    pub(crate) attributes: BTreeMap<String, String>,
    /// The exporter, and what it is told.
    pub(crate) exporter: (String, BTreeMap<String, String>),
    /// Images whose steps need not be done again.
    pub(crate) cache_from: Vec<String>,
    /// Whether the image says what its steps made.
    pub(crate) inline_cache: bool,
}

/// What a build tells.
#[derive(Debug)]
pub(crate) enum ApiStep {
    /// A `StatusResponse`, encoded.
    Trace(Vec<u8>),
    /// It is done; with the image's id, if it made one.
    Done(Option<String>),
    /// It failed.
    Failed(String),
}

/// A build that ends when nobody waits for it any more.
struct Solving(JoinHandle<Result<proto::SolveResponse, Status>>);

impl Drop for Solving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Solving {
    async fn ended(mut self) -> ApiStep {
        match (&mut self.0).await {
            Ok(Ok(solved)) => {
                let id = solved.exporter_response.get("containerimage.digest");
                ApiStep::Done(id.cloned())
            }
            Ok(Err(status)) => ApiStep::Failed(status.message().to_owned()),
            Err(error) => ApiStep::Failed(error.to_string()),
        }
    }
}

impl BuildKit {
    /// Builds. Dropping the stream ends it.
    pub(crate) async fn build(
        &self,
        engine: &Arc<Engine>,
        mut build: ApiBuild,
    ) -> BoxStream<'static, ApiStep> {
        let service = ControlService::new(Arc::clone(engine), self.clone());
        let service = Arc::new(service.with_upload(build.upload.take()));
        let status = proto::StatusRequest {
            r#ref: build.name.clone(),
        };
        let request = request(build);
        let solver = Arc::clone(&service);
        let solving = tokio::spawn(async move {
            let solved = solver.solve(Request::new(request)).await;
            solved.map(tonic::Response::into_inner)
        });
        let mut solving = Solving(solving);
        let told = tokio::select! {
            told = service.status(Request::new(status)) => told.ok(),
            // It did not even begin.
            ended = &mut solving.0 => {
                solving.0 = tokio::spawn(async { ended.unwrap_or_else(|error| Err(Status::internal(error.to_string()))) });
                None
            }
        };
        let told = match told {
            Some(told) => told.into_inner(),
            None => stream::empty().boxed(),
        };
        let told = told.filter_map(async |step| step.ok());
        let told = told.map(|step| ApiStep::Trace(step.encode_to_vec()));
        // Its progress ends with the build.
        told.chain(stream::once(solving.ended())).boxed()
    }
}

fn request(build: ApiBuild) -> proto::SolveRequest {
    let (kind, attributes) = build.exporter;
    let inline = proto::CacheOptionsEntry {
        r#type: "inline".to_owned(),
        attrs: HashMap::new(),
    };
    proto::SolveRequest {
        r#ref: build.name,
        session: build.session,
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: build.attributes.into_iter().collect(),
        exporters: vec![proto::Exporter {
            r#type: kind,
            attrs: attributes.into_iter().collect(),
        }],
        cache: Some(proto::CacheOptions {
            exports: build.inline_cache.then_some(inline).into_iter().collect(),
            imports: build.cache_from.into_iter().map(import).collect(),
            ..proto::CacheOptions::default()
        }),
        ..proto::SolveRequest::default()
    }
}

fn import(name: String) -> proto::CacheOptionsEntry {
    proto::CacheOptionsEntry {
        r#type: "registry".to_owned(),
        attrs: HashMap::from([("ref".to_owned(), name)]),
    }
}
