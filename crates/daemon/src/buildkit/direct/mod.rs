//! Builds of Hull's own command line: the same builds, without a session. What happens goes out as one stream, and
//! what is wanted of the client is asked for in it; each answer is a request of its own.
//!
//! ```text
//!   client ── POST /hull/build ────────► Direct::begin ── ControlService ── frontend, solver, exports
//!   client ◄─ messages ──────────────── events of the build; Ask(number, what)
//!   client ── …/build/answer?number= ──► Asks ── the thread that waits for it
//! ```

mod asks;
mod client;
mod files;
mod messages;
mod store;

pub(crate) use asks::{Answer, Asks};

use super::builds::{Active, Build};
use super::caches::{CacheTarget, Imports};
use super::control::{ControlService, cache_targets, entitled, targets};
use super::export::Target;
use super::progress::Progress;
use super::{BuildKit, failure};
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use client::DirectClient;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use hull_api::build::{Choice, Done, Failed, Message, Request};
use hull_engine::build::solve::{Context, KnownSources};
use hull_engine::build::world::Cancel;
use hull_engine::{Engine, Platform};
use messages::{Stage, Telling};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// The frontend's name.
const FRONTEND: &str = "dockerfile.v0";

impl BuildKit {
    /// Begins a build; it ends with the stream.
    ///
    /// # Errors
    /// For exporters that there are not, and when there are too many builds.
    pub(crate) fn begin_direct(
        &self,
        engine: &Arc<Engine>,
        mut request: Request,
    ) -> Result<BoxStream<'static, Message>, Status> {
        let name = random_name()?;
        if let Some(hosts) = request.attributes.get_mut("add-hosts") {
            *hosts = with_gateway(hosts, engine)?;
        }
        let asked = solve_request(&name, &request);
        let targets = (targets(&asked)?, cache_targets(&asked)?);
        let token = CancellationToken::new();
        let (asks, asked_for) = mpsc::unbounded_channel();
        let asking = asks::Asking {
            asks: Arc::clone(&self.asks),
            build: name.clone(),
            messages: asks,
            runtime: Handle::current(),
            token: token.clone(),
        };
        let client = Arc::new(self.direct_client(engine, asking, (&request, &asked))?);
        let progress = Arc::new(Progress::default());
        let context = Context {
            client: Arc::clone(&client) as _,
            watch: Arc::clone(&progress) as _,
            cancel: Cancel::new(),
            platform: Platform::host(),
            sources: KnownSources::default(),
        };
        let control = ControlService::new(Arc::clone(engine), self.clone());
        let active = control.enter(
            Build::new((&name, &name), Arc::clone(&progress), context),
            token,
        )?;
        let (ended, end) = oneshot::channel();
        let history = Arc::clone(&self.history);
        let work = tokio::spawn(async move {
            let mut record = history.begin(&asked);
            let built = build(&control, &active, &asked, (&client, targets)).await;
            let solved = built.as_ref().map(|(response, _)| proto::SolveResponse {
                exporter_response: response.clone(),
            });
            let counts = active.build.progress.counts();
            record.end(&solved.map_err(Status::clone), counts);
            let last = last(built, &client);
            // Its end lets the stream come to its last message.
            drop(active);
            // The client may be gone.
            let _ = ended.send(last);
        });
        let telling = Telling {
            begun: Some(name),
            asks: asked_for,
            progress: progress.reader(),
            stage: Stage::Running(end),
            ready: std::collections::VecDeque::new(),
            _work: tokio_util::task::AbortOnDropHandle::new(work),
        };
        Ok(stream::unfold(telling, Telling::next).boxed())
    }

    /// Who is asked what a build wants to know.
    fn direct_client(
        &self,
        engine: &Arc<Engine>,
        asking: asks::Asking,
        (request, asked): (&Request, &proto::SolveRequest),
    ) -> Result<DirectClient, Status> {
        let contexts = self.contexts(engine.data_root());
        let contexts = contexts.map_err(|error| Status::internal(error.to_string()))?;
        let imports = asked.cache.as_ref().map(|cache| cache.imports.clone());
        let imports = Imports::new(engine, imports.unwrap_or_default());
        let request = (request, entitled(asked)?);
        Ok(DirectClient::new(asking, contexts, request, imports))
    }

    /// Who waits for answers.
    pub(crate) fn asks(&self) -> &Asks {
        &self.asks
    }
}

/// What exporters say, and the answers to what is no build.
type Built = Result<(HashMap<String, String>, HashMap<String, String>), Status>;

async fn build(
    control: &ControlService,
    active: &Active,
    asked: &proto::SolveRequest,
    (client, (targets, caches)): (&Arc<DirectClient>, (Vec<Target>, Vec<CacheTarget>)),
) -> Built {
    let returned = control.wanted(&active.build, asked).await?;
    let answers = messages::answers(&returned.metadata);
    if !answers.is_empty() {
        return Ok((HashMap::new(), answers));
    }
    let outlet = Arc::clone(client) as _;
    let caches = (caches, Arc::clone(client) as _);
    let solved = control.run(&active.build, outlet, returned, (targets, caches));
    Ok((solved.await?.exporter_response, answers))
}

fn last(built: Built, client: &DirectClient) -> Message {
    match built {
        Ok((response, answers)) => Message::Done(Done {
            response: response.into_iter().collect(),
            answers: answers.into_iter().collect(),
        }),
        Err(status) => Message::Failed(Failed {
            message: status.message().to_owned(),
            source: failure::source(&status),
            kept: client.kept(),
        }),
    }
}

fn random_name() -> Result<String, Status> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Status::internal("the kernel has no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Hosts with the address that `host-gateway` stands for: clients of BuildKit ask for it, and write it there themselves.
fn with_gateway(hosts: &str, engine: &Engine) -> Result<String, Status> {
    const GATEWAY: &str = "=host-gateway";
    let named = |host: &str| host.ends_with(GATEWAY);
    if !hosts.split(',').any(named) {
        return Ok(hosts.to_owned());
    }
    let found = engine.host_gateways().map_err(|error| error.full_message());
    let found = found.and_then(|all| all.into_iter().next().ok_or_else(String::new));
    let address = found.map_err(|why| {
        let text = "unable to derive the IP value for host-gateway";
        Status::invalid_argument(format!("{text}: {why}").trim_end_matches(": "))
    })?;
    let hosts = hosts
        .split(',')
        .map(|host| match host.strip_suffix(GATEWAY) {
            Some(name) => format!("{name}={address}"),
            None => host.to_owned(),
        });
    Ok(hosts.collect::<Vec<_>>().join(","))
}

/// The request in BuildKit's words.
fn solve_request(name: &str, request: &Request) -> proto::SolveRequest {
    let attributes = |choice: &Choice| -> HashMap<String, String> {
        choice.attributes.clone().into_iter().collect()
    };
    let exporter = |choice: &Choice| proto::Exporter {
        r#type: match choice.kind.as_str() {
            // The client unpacks it.
            "local" => "tar".to_owned(),
            kind => kind.to_owned(),
        },
        attrs: attributes(choice),
    };
    let cache = |choice: &Choice| proto::CacheOptionsEntry {
        r#type: choice.kind.clone(),
        attrs: attributes(choice),
    };
    proto::SolveRequest {
        r#ref: name.to_owned(),
        frontend: FRONTEND.to_owned(),
        frontend_attrs: request.attributes.clone().into_iter().collect(),
        exporters: request.exporters.iter().map(exporter).collect(),
        cache: Some(proto::CacheOptions {
            imports: request.cache_from.iter().map(cache).collect(),
            exports: request.cache_to.iter().map(cache).collect(),
            ..proto::CacheOptions::default()
        }),
        entitlements: request.entitlements.clone(),
        ..proto::SolveRequest::default()
    }
}
