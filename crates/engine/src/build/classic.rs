//! A build as dockerd's classic endpoint has it: the context comes as an archive, and everything is told in one
//! stream.
//!
//! ```text
//! archive ─► a directory of ours ─ frontend ─► graph ─ solver ─► files ─ export ─► image, names
//! ```

use super::export::world_error;
use super::index::Part;
use crate::image::Credentials;
use crate::stream::{Incoming, Reader};
use crate::{Engine, Error, ErrorKind, Platform, Reference, Result, blocking, names};
use hull_build::attest::{self, Wanted};
use hull_build::graph::LocalSource;
use hull_build::plan::{Plan, PlanError, Request};
use hull_build::progress::{Event, Watch};
use hull_build::solve::{Context, KnownSources, Solution, SolveError, Solver};
use hull_build::world::{
    Cancel, Client, Entitlement, Job, LocalFiles, Login, WorldError, WorldResult,
};
use hull_image::archive::decompressed;
use hull_image::extract;
use hull_linux::path::Root;
use hull_spec::Digest;
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// A build that has its context and its plan: all that can be refused was.
pub struct Planned {
    engine: Arc<Engine>,
    plan: Plan,
    context: Context,
    names: Vec<Reference>,
    /// `SOURCE_DATE_EPOCH`.
    epoch: Option<i64>,
    attested: Wanted,
    /// Who hears of it from the beginning.
    told: Arc<dyn Watch>,
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planned")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// How a build failed.
#[derive(Debug)]
pub enum BuildError {
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

/// A context on this machine, gone with the build.
#[derive(Debug)]
struct Uploaded(PathBuf);

impl LocalFiles for Uploaded {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Uploaded {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a build's context was not removed");
        }
    }
}

/// Who uploads a context has nothing else but credentials.
struct Uploader {
    context: Arc<Uploaded>,
    credentials: BTreeMap<String, Credentials>,
    /// The request asks for the host's network itself.
    host_network: bool,
}

impl Client for Uploader {
    fn allows(&self, entitlement: Entitlement) -> bool {
        entitlement == Entitlement::NetworkHost && self.host_network
    }

    fn local(&self, _: &LocalSource, _: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>> {
        Ok(Arc::<Uploaded>::clone(&self.context))
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
    /// Takes a context and makes a plan of its Dockerfile.
    ///
    /// # Errors
    /// dockerd's for names, archives and Dockerfiles that are none.
    pub async fn plan_build(
        self: &Arc<Self>,
        request: BuildRequest,
        told: Arc<dyn Watch>,
    ) -> Result<Planned> {
        let names = checked(&request.names)?;
        let engine = Arc::clone(self);
        let body = Reader::new(request.context);
        let solver = self.solver();
        let network = request.attributes.get("force-network-mode");
        let host_network = network.is_some_and(|network| network == "host");
        blocking(move || {
            let uploaded = Arc::new(engine.take_context(body)?);
            let context = Context {
                client: Arc::new(Uploader {
                    context: Arc::clone(&uploaded),
                    credentials: request.credentials,
                    host_network,
                }),
                watch: Arc::clone(&told),
                cancel: request.cancel,
                platform: Platform::host(),
                sources: KnownSources::default(),
            };
            let asked = Request {
                attributes: request.attributes,
                ..Request::default()
            };
            let invalid = |error: hull_build::attest::InvalidWish| {
                Error::new(ErrorKind::InvalidInput, error.to_string())
            };
            let attested = Wanted::read(&asked.attributes, false).map_err(invalid)?;
            if asked.attributes.get("context").is_none_or(String::is_empty) {
                check_dockerfile(&uploaded, &asked)?;
            }
            let epoch = asked.attributes.get("build-arg:SOURCE_DATE_EPOCH");
            // One that is no number is refused with the plan.
            let epoch = epoch.and_then(|text| text.parse().ok());
            let plan = hull_build::frontend::plan(&asked, &solver, &context);
            Ok(Planned {
                engine,
                plan: plan.map_err(|error| plan_error(*error))?,
                context,
                names,
                epoch,
                attested,
                told,
            })
        })
        .await
    }

    /// Unpacks an uploaded context. Everything in it is root's, as in Docker.
    fn take_context(&self, body: Reader) -> Result<Uploaded> {
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Internal, "could not keep the build context").caused_by(e)
        };
        let path = self.config.data_root.join("build").join(names::id());
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(failed)?;
        let uploaded = Uploaded(path);
        let root = Root::open(&uploaded.0).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = root.open_at(Path::new("/"), flags).map_err(failed)?;
        let mut archive = decompressed(body).map_err(failed)?;
        let options = extract::Options {
            keep_kind: false,
            owner: Some((0, 0)),
        };
        extract::extract(&mut archive, (&root, Path::new("/"), directory), options)
            .map_err(|error| crate::image::wrapped(ErrorKind::Internal, &error))?;
        Ok(uploaded)
    }

    /// Removes what killed daemons left of contexts.
    pub(crate) fn sweep_contexts(&self) {
        let directory = self.config.data_root.join("build");
        if directory.exists()
            && let Err(error) = fs_err::remove_dir_all(directory)
        {
            tracing::warn!(%error, "what is left of a build was not removed");
        }
    }
}

/// dockerd looks for the Dockerfile before it tells anything.
fn check_dockerfile(context: &Uploaded, request: &Request) -> Result<()> {
    let name = request
        .attributes
        .get("filename")
        .map_or("Dockerfile", String::as_str);
    let there = Root::open(&context.0)
        .and_then(|root| root.open_at(Path::new(name), OFlags::PATH))
        .is_ok();
    if there {
        return Ok(());
    }
    let text = format!("Cannot locate specified Dockerfile: {name}");
    Err(Error::new(ErrorKind::Internal, text))
}

fn plan_error(error: PlanError) -> Error {
    match error.source {
        Some(source @ (WorldError::Unsupported(_) | WorldError::Cancelled)) => world_error(&source),
        Some(WorldError::NotFound(_)) => Error::new(ErrorKind::NotFound, error.text),
        Some(_) => Error::new(ErrorKind::Internal, error.text),
        None => Error::new(ErrorKind::InvalidInput, error.text),
    }
}

impl Planned {
    /// Does it. Blocking.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn run(self) -> std::result::Result<Built, BuildError> {
        let images = &self.plan.images;
        if images.is_empty() {
            let text = "No image was generated. Is your Dockerfile empty?";
            return Err(BuildError::Export(Error::new(ErrorKind::Internal, text)));
        }
        let solver: Solver = self.engine.solver();
        let targets: Vec<_> = images.iter().filter_map(|image| image.output).collect();
        let solved = solver.solve(&self.plan.graph, &targets, &self.context);
        // What was made before a failure, too.
        self.engine.settle_builds();
        let mut solved = solved.map_err(BuildError::Step)?.into_iter();
        let files: Vec<Option<Solution>> = images
            .iter()
            .map(|image| image.output.and_then(|_| solved.next()))
            .collect();
        let id = self.export(&files).map_err(BuildError::Export)?;
        drop(self.told);
        Ok(Built {
            id,
            names: self.names.iter().map(Reference::familiar).collect(),
        })
    }
}

impl Planned {
    /// Makes an image, or an index of several and of what is attested of them; the id of the first.
    fn export(&self, files: &[Option<Solution>]) -> Result<Digest> {
        let images = self.plan.images.iter().zip(files);
        let (names, epoch) = (&self.names, self.epoch);
        if let ([image], [files], false) =
            (self.plan.images.as_slice(), files, self.attested.is_any())
        {
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
                plan: &self.plan,
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
