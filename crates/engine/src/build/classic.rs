//! A build as dockerd's classic endpoint has it: the context comes as an archive, and everything is told in one
//! stream.
//!
//! ```text
//! archive ─► a directory of ours ─ frontend ─► graph ─ solver ─► files ─ export ─► image, names
//! ```

use super::export::world_error;
use super::index::Part;
use super::story::{self, Asked, Stopped, Story};
use super::upload::Uploaded;
use crate::image::Credentials;
use crate::stream::{Incoming, Reader};
use crate::{Engine, Error, ErrorKind, Platform, Reference, Result, blocking, names};
use hull_build::attest::{self, Wanted};
use hull_build::graph::LocalSource;
use hull_build::plan::{Plan, PlanError, Request};
use hull_build::progress::{Event, Watch};
use hull_build::solve::{Context, KnownSources, Solution, SolveError};
use hull_build::world::{
    Cancel, Client, Entitlement, Job, LocalFiles, Login, Surroundings, WorldError, WorldResult,
};
use hull_spec::Digest;
use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

/// A longer name of a build is nobody's.
const MAX_NAME: usize = 256;

/// What to build.
pub struct BuildRequest {
    /// The context, which may be compressed.
    pub context: Incoming,
    /// What the frontend is asked for.
    pub attributes: BTreeMap<String, String>,
    /// Names of the image.
    pub names: Vec<String>,
    /// For registries, by host.
    pub credentials: BTreeMap<String, Credentials>,
    /// What surrounds the processes of its steps.
    pub surroundings: Surroundings,
    /// By what others may end it; empty: nothing.
    pub id: String,
    /// When to stop.
    pub cancel: Cancel,
}

impl std::fmt::Debug for BuildRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildRequest")
            .field("attributes", &self.attributes)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// A build that has its context and a Dockerfile that can be read: what dockerd refuses by a status was refused.
pub struct Prepared {
    engine: Arc<Engine>,
    request: Request,
    context: Context,
    names: Vec<Reference>,
    /// `SOURCE_DATE_EPOCH`.
    epoch: Option<i64>,
    attested: Wanted,
    _named: Option<Named>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// How a build failed.
#[derive(Debug)]
pub enum BuildError {
    /// Before the first step, such as an image that is not to be had.
    Plan(Error, Option<Stopped>),
    /// A step.
    Step(SolveError),
    /// What comes after the steps.
    Export(Error),
}

/// An image that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Its id.
    pub id: Digest,
    /// Its names, shortened as Docker shows them.
    pub names: Vec<String>,
}

/// Who uploads a context has nothing else but credentials.
struct Uploader {
    context: Arc<Uploaded>,
    credentials: BTreeMap<String, Credentials>,
    surroundings: Surroundings,
    /// The request asks for the host's network itself.
    host_network: bool,
}

impl Client for Uploader {
    fn allows(&self, entitlement: Entitlement) -> bool {
        entitlement == Entitlement::NetworkHost && self.host_network
    }

    fn local(&self, source: &LocalSource, _: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>> {
        Ok(match (&source.name[..], self.context.aside()) {
            ("context", _) | (_, None) => Arc::<Uploaded>::clone(&self.context),
            (_, Some(aside)) => Arc::new(aside.clone()),
        })
    }

    fn secret(&self, _: &str) -> WorldResult<Option<Vec<u8>>> {
        Ok(None)
    }

    fn ssh(&self, _: &str, _: UnixListener) -> WorldResult<Option<Box<dyn Send>>> {
        Ok(None)
    }

    fn credentials(&self, host: &str) -> WorldResult<Option<Login>> {
        // Docker Hub's are kept under the name of its old index.
        let hub = "https://index.docker.io/v1/";
        let found = self.credentials.get(host);
        let found = found.or_else(|| self.credentials.get(hub).filter(|_| host == "docker.io"));
        Ok(match found {
            None | Some(Credentials::Anonymous) => None,
            Some(Credentials::Basic { username, password }) => Some(Login::Password {
                username: username.clone(),
                password: password.clone(),
            }),
            Some(Credentials::IdentityToken(token)) => Some(Login::Identity(token.clone())),
            Some(Credentials::RegistryToken(token)) => Some(Login::Registry(token.clone())),
        })
    }

    fn surroundings(&self) -> Surroundings {
        self.surroundings.clone()
    }
}

/// A build that can be ended by its name, as long as this lives.
struct Named {
    builds: Arc<super::Builds>,
    id: String,
    cancel: Cancel,
}

impl Drop for Named {
    fn drop(&mut self) {
        let mut named = self.builds.named();
        // Another may have taken the name meanwhile.
        if named
            .get(&self.id)
            .is_some_and(|other| other.is_same(&self.cancel))
        {
            named.remove(&self.id);
        }
    }
}

/// Names of dockerd's, whole.
fn checked(names: &[String]) -> Result<Vec<Reference>> {
    let mut all: Vec<Reference> = Vec::new();
    for text in names.iter().filter(|text| !text.is_empty()) {
        let invalid = |why: String| Error::new(ErrorKind::Internal, why);
        let name: Reference = text
            .parse()
            .map_err(|e: crate::InvalidReference| invalid(e.to_string()))?;
        if name.digest().is_some() {
            return Err(invalid("build tag cannot contain a digest".to_owned()));
        }
        let name = name.with_default_tag();
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(all)
}

impl Engine {
    /// Takes a context and reads its Dockerfile.
    ///
    /// # Errors
    /// dockerd's for names, archives and Dockerfiles that are none.
    pub async fn prepare_build(
        self: &Arc<Self>,
        request: BuildRequest,
        told: Arc<dyn Watch>,
    ) -> Result<Prepared> {
        let names = checked(&request.names)?;
        let engine = Arc::clone(self);
        let body = Reader::new(request.context);
        // Pulls run in this runtime.
        let _ = self.solver();
        let named = self.name_build(request.id, &request.cancel);
        let network = request.attributes.get("force-network-mode");
        let host_network = network.is_some_and(|network| network == "host");
        blocking(move || {
            let mut uploaded = engine.take_context(body)?;
            let asked = Request {
                attributes: request.attributes,
                ..Request::default()
            };
            let invalid = |error: hull_build::attest::InvalidWish| {
                Error::new(ErrorKind::InvalidInput, error.to_string())
            };
            let attested = Wanted::read(&asked.attributes, false).map_err(invalid)?;
            if asked.attributes.get("context").is_none_or(String::is_empty) {
                let name = uploaded.check_dockerfile(&asked)?;
                uploaded.leave_out(&name)?;
            }
            let epoch = asked.attributes.get("build-arg:SOURCE_DATE_EPOCH");
            // One that is no number is refused with the plan.
            let epoch = epoch.and_then(|text| text.parse().ok());
            Ok(Prepared {
                engine,
                request: asked,
                context: Context {
                    client: Arc::new(Uploader {
                        context: Arc::new(uploaded),
                        credentials: request.credentials,
                        surroundings: request.surroundings,
                        host_network,
                    }),
                    watch: told,
                    cancel: request.cancel,
                    platform: Platform::host(),
                    sources: KnownSources::default(),
                },
                names,
                epoch,
                attested,
                _named: named,
            })
        })
        .await
    }

    /// The first digits of the id of an image that is here.
    fn short_id(&self, reference: &str, platform: &Platform) -> Option<String> {
        let found = self.store.resolve_for(reference, Some(platform)).ok()?;
        Some(found.digest().short().to_owned())
    }

    fn name_build(&self, id: String, cancel: &Cancel) -> Option<Named> {
        if id.is_empty() || id.len() > MAX_NAME {
            return None;
        }
        self.builds.named().insert(id.clone(), cancel.clone());
        Some(Named {
            builds: Arc::clone(&self.builds),
            id,
            cancel: cancel.clone(),
        })
    }

    /// Ends a build by the name that its client gave it. One that is not (any more) there has ended.
    pub fn cancel_build(&self, id: &str) {
        let found = self.builds.named().get(id).cloned();
        if let Some(cancel) = found {
            cancel.cancel();
        }
    }
}

fn plan_error(error: PlanError) -> Error {
    match error.source {
        Some(source @ (WorldError::Unsupported(_) | WorldError::Cancelled)) => world_error(&source),
        Some(WorldError::NotFound(_)) => Error::new(ErrorKind::NotFound, error.text),
        Some(_) => Error::new(ErrorKind::Internal, error.text),
        None => Error::new(ErrorKind::InvalidInput, error.text),
    }
}

impl Prepared {
    /// Does it. What is going to be done is told first, once that is known. Blocking.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn run(self, begins: &dyn Fn(Story)) -> std::result::Result<Built, BuildError> {
        let solver = self.engine.solver();
        let plan = hull_build::frontend::plan(&self.request, &solver, &self.context);
        let plan = plan.map_err(|error| {
            let target = self.request.attributes.get("target");
            let stopped = story::stopped(&error, target.map_or("", String::as_str));
            BuildError::Plan(plan_error(*error), stopped)
        })?;
        begins(self.story(&plan));
        let images = &plan.images;
        if images.is_empty() {
            let text = "No image was generated. Is your Dockerfile empty?";
            return Err(BuildError::Export(Error::new(ErrorKind::Internal, text)));
        }
        let targets: Vec<_> = images.iter().filter_map(|image| image.output).collect();
        let solved = solver.solve(&plan.graph, &targets, &self.context);
        // What was made before a failure, too.
        self.engine.settle_builds();
        let mut solved = solved.map_err(BuildError::Step)?.into_iter();
        let files: Vec<Option<Solution>> = images
            .iter()
            .map(|image| image.output.and_then(|_| solved.next()))
            .collect();
        let id = self.export(&plan, &files);
        // What was needed for the image may go from now on.
        drop(files);
        self.engine.collect_soon();
        let id = id.map_err(BuildError::Export)?;
        Ok(Built {
            id,
            names: self.names.iter().map(Reference::familiar).collect(),
        })
    }

    fn story(&self, plan: &Plan) -> Story {
        let attributes = &self.request.attributes;
        let named = |prefix: &'static str| {
            let named = attributes
                .iter()
                .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())));
            named.collect::<BTreeMap<_, _>>()
        };
        let asked = Asked {
            target: attributes.get("target").map_or("", String::as_str),
            labels: &named("label:"),
            arguments: &named("build-arg:"),
            image: &|name| self.engine.short_id(name, &self.context.platform),
        };
        story::story(plan, asked)
    }
}

impl Prepared {
    /// Makes an image, or an index of several and of what is attested of them; the id of the first.
    fn export(&self, plan: &Plan, files: &[Option<Solution>]) -> Result<Digest> {
        let images = plan.images.iter().zip(files);
        let (names, epoch) = (&self.names, self.epoch);
        if let ([image], [files], false) = (plan.images.as_slice(), files, self.attested.is_any()) {
            let files = files.as_ref();
            let made = self
                .engine
                .export_image(files, &image.config, names, epoch)?;
            return Ok(made.id);
        }
        let id = names::id();
        let mut parts = Vec::with_capacity(files.len());
        for (image, files) in images {
            let built = attest::Built {
                plan,
                image,
                sources: &self.context.sources,
                id: &id,
            };
            let files = files.as_ref();
            parts.push(Part {
                files,
                config: &image.config,
                attestations: self.engine.attestations(&self.attested, &built, files)?,
            });
        }
        let made = self.engine.export_index(&parts, names, epoch)?;
        let missing = || Error::new(ErrorKind::Internal, "an index of no images was made");
        made.images.into_iter().next().ok_or_else(missing)
    }
}

/// Passes events on through a function.
pub struct Heard<F>(pub F);

impl<F: Fn(Event) + Send + Sync> Watch for Heard<F> {
    fn tell(&self, event: Event) {
        (self.0)(event);
    }
}

impl<F> std::fmt::Debug for Heard<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heard(…)")
    }
}
