//! `pull`.
//!
//! ```text
//! reference ─ resolve ─► index ─ select platform ─► manifest ─► config
//!                                                      │
//!            every layer on its own, several at once ◄─┘
//!            registry ──bytes──► LayerWriter: file ──► decompress ► hash ► unpack
//! all there: Store::register, the commit point
//! ```

mod documents;

use super::tell::{Teller, telling};
use super::{Credentials, Progress, PullRequest, wrapped};
use crate::stream::{Task, told_by};
use crate::{Engine, Error, ErrorKind, Platform, Reference, Result, blocking};
use documents::Documents;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use hull_image::{Hold, ImageId, Layer, LayerWriter, Registration, Room, Waiter};
use hull_registry::{Credentials as Auth, Resolved};
use hull_spec::image::Descriptor;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How often a bar moves: more is work for a terminal that nobody sees.
const STEP: Duration = Duration::from_millis(100);

/// What all pulls share.
#[derive(Debug)]
pub(crate) struct Pulls(RwLock<Arc<Semaphore>>);

impl Pulls {
    pub(crate) fn new(at_once: usize) -> Self {
        Self(RwLock::new(Arc::new(Semaphore::new(at_once))))
    }

    /// Where layers wait for their turn.
    fn places(&self) -> Arc<Semaphore> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets so many layers come at once from now on, besides those that are on their way.
    pub(crate) fn allow(&self, at_once: usize) {
        let new = Arc::new(Semaphore::new(at_once));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

/// One pull.
#[derive(Clone)]
struct Pull {
    engine: Arc<Engine>,
    reference: Reference,
    auth: Auth,
    platform: Platform,
    /// Whether the platform was asked for.
    asked: bool,
    told: Teller<Result<Progress>>,
}

impl Engine {
    /// Pulls an image. The stream ends with the pull; an error is its last element. Dropping it
    /// cancels the pull; what was fetched so far is kept and used by the next one.
    ///
    /// # Errors
    /// `InvalidInput` for what is not a reference or platform, and what the registry says to it.
    pub async fn pull(
        self: &Arc<Self>,
        request: PullRequest,
    ) -> Result<BoxStream<'static, Result<Progress>>> {
        let invalid =
            |e: &dyn std::error::Error| Error::new(ErrorKind::InvalidInput, e.to_string());
        let reference: Reference = request
            .reference
            .parse()
            .map_err(|e: crate::InvalidReference| invalid(&e))?;
        let asked = request
            .platform
            .as_ref()
            .is_some_and(|text| !text.is_empty());
        let platform = match request.platform.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => text
                .parse()
                .map_err(|e: hull_spec::InvalidPlatform| invalid(&e))?,
            None => Platform::host(),
        };
        let (told, progress) = telling();
        let all = reference.tag().is_none() && reference.digest().is_none();
        let pull = Pull {
            engine: Arc::clone(self),
            reference,
            auth: auth(request.credentials),
            platform,
            asked,
            told: told.clone(),
        };
        // The registry's first answer decides whether this is an error or a stream.
        let first = match all {
            true => First::Tags(pull.tags().await?),
            false => First::Resolved(Box::new(pull.resolve().await?)),
        };
        let task = tokio::spawn(async move {
            let engine = Arc::clone(&pull.engine);
            let outcome = pull.run(first).await;
            let tally = &engine.tally;
            match outcome {
                Ok(()) => tally.pulls.add(1),
                Err(_) => tally.failed_pulls.add(1),
            }
            if let Err(error) = outcome {
                told.line(Err(error));
                // What it brought so far may be too much without its image.
                let _ = blocking(move || engine.store.fit().map_err(super::store_error)).await;
            }
        });
        Ok(told_by(progress, Task(task).ended()))
    }
}

pub(crate) fn auth(credentials: Credentials) -> Auth {
    match credentials {
        Credentials::Anonymous => Auth::Anonymous,
        Credentials::Basic { username, password } => Auth::Password {
            username,
            password: password.into(),
        },
        Credentials::IdentityToken(token) => Auth::IdentityToken(token.into()),
        Credentials::RegistryToken(token) => Auth::RegistryToken(token.into()),
    }
}

pub(crate) fn registry_error(error: &hull_registry::Error) -> Error {
    use hull_registry::Kind;
    let kind = match error.kind() {
        Kind::NotFound | Kind::Denied => ErrorKind::NotFound,
        Kind::InvalidRequest => ErrorKind::InvalidInput,
        // dockerd answers 500 to all that goes wrong between it and a registry.
        Kind::Unauthorized | Kind::TooManyRequests | Kind::Unavailable | Kind::InvalidResponse => {
            ErrorKind::Internal
        }
    };
    wrapped(kind, error)
}

/// The registry's first answer.
enum First {
    Resolved(Box<Resolved>),
    Tags(Vec<String>),
}

/// What became of one image.
struct One {
    /// It was here already, under this name.
    already: bool,
    warning: Option<String>,
}

impl Pull {
    async fn resolve(&self) -> Result<Resolved> {
        self.engine
            .registry()
            .resolve(&self.reference, &self.auth)
            .await
            .map_err(|e| registry_error(&e))
    }

    fn tell(&self, id: &str, status: &str, bytes: Option<(u64, u64)>) {
        let progress = Progress {
            id: id.to_owned(),
            status: status.to_owned(),
            bytes,
        };
        if bytes.is_some() {
            self.told.bar(Ok(progress));
        } else {
            self.told.line(Ok(progress));
        }
    }

    /// The repository's tags, for a reference without one: dockerd pulls them all.
    async fn tags(&self) -> Result<Vec<String>> {
        let registry = self.engine.registry();
        let tags = registry.tags(&self.reference, &self.auth);
        tags.await.map_err(|e| registry_error(&e))
    }

    async fn run(&self, first: First) -> Result<()> {
        let (mut already, mut warnings) = (true, Vec::new());
        match first {
            First::Resolved(resolved) => {
                let one = self.one(*resolved).await?;
                already = one.already;
                warnings.extend(one.warning);
            }
            First::Tags(tags) => {
                for tag in tags {
                    let invalid = |e: crate::InvalidReference| {
                        Error::new(ErrorKind::InvalidInput, e.to_string())
                    };
                    let pull = Self {
                        reference: self.reference.with_tag(&tag).map_err(invalid)?,
                        ..self.clone()
                    };
                    let one = pull.one(pull.resolve().await?).await?;
                    already &= one.already;
                    warnings.extend(one.warning);
                }
            }
        }
        let what = self.reference.familiar();
        let status = if already {
            format!("Status: Image is up to date for {what}")
        } else {
            format!("Status: Downloaded newer image for {what}")
        };
        self.tell("", &status, None);
        for warning in warnings {
            self.tell("", &warning, None);
        }
        self.engine
            .tell_image("pull", &what, &self.reference.familiar_name());
        Ok(())
    }

    /// Pulls one image.
    async fn one(&self, resolved: Resolved) -> Result<One> {
        let name = self.reference.digest().map_or_else(
            || self.reference.tag().unwrap_or_default().to_owned(),
            ToString::to_string,
        );
        let repository = self.reference.path();
        self.tell(&name, &format!("Pulling from {repository}"), None);
        let top = resolved.descriptor.digest.clone();
        let documents = self.documents(resolved).await?;
        let image = ImageId::new(documents.manifest.config.digest.clone());
        let pinned = (&top, &documents.descriptor.digest, &image);
        self.engine
            .check_pull(&self.reference, pinned, &self.auth)
            .await?;
        let warning = self.foreign_platform(&documents);
        // What is found here from now on stays.
        let room = self.room(&documents).await?;
        let known = self.is_known(&documents).await?;
        let already = known && self.is_up_to_date(&documents, &top).await?;
        let holds = if known {
            Vec::new()
        } else {
            self.layers(&documents).await?
        };
        let id = self.register(documents, &top).await?;
        drop((holds, room));
        self.tell("", &format!("Digest: {top}"), None);
        tracing::debug!(image = %id, "pulled");
        Ok(One { already, warning })
    }

    /// Room for the layers within the disk budget, before anything of them is written.
    async fn room(&self, documents: &Documents) -> Result<Room> {
        let diff_ids = documents.config.rootfs.diff_ids.iter().cloned();
        let layers = diff_ids.zip(documents.manifest.layers.iter().cloned());
        let (engine, layers): (_, Vec<_>) = (Arc::clone(&self.engine), layers.collect());
        blocking(move || engine.store.room(&layers).map_err(super::store_error)).await
    }

    async fn layers(&self, documents: &Documents) -> Result<Vec<Hold>> {
        let pairs: Vec<(Descriptor, hull_spec::Digest)> = documents
            .manifest
            .layers
            .iter()
            .cloned()
            .zip(documents.config.rootfs.diff_ids.iter().cloned())
            .collect();
        for (layer, _) in &pairs {
            self.tell(layer.digest.short(), "Pulling fs layer", None);
        }
        stream::iter(pairs)
            .map(|(layer, diff_id)| self.layer(layer, diff_id))
            .buffered(usize::MAX)
            .try_collect()
            .await
    }

    async fn layer(&self, layer: Descriptor, diff_id: hull_spec::Digest) -> Result<Hold> {
        let short = layer.digest.short();
        loop {
            let (engine, wanted, diff) = (Arc::clone(&self.engine), layer.clone(), diff_id.clone());
            let found = blocking(move || {
                engine
                    .store
                    .begin_layer(&wanted, &diff)
                    .map_err(|e| wrapped(ErrorKind::Internal, &e))
            })
            .await?;
            match found {
                Layer::Present(hold) => {
                    self.tell(short, "Already exists", None);
                    return Ok(hold);
                }
                Layer::InProgress(waiter) => self.follow(short, waiter).await?,
                Layer::Fetch(writer) => {
                    let hold = self.fetch(&layer, writer).await?;
                    self.tell(short, "Pull complete", None);
                    return Ok(hold);
                }
            }
        }
    }

    /// Shows how another pull's layer comes along, until that has ended.
    async fn follow(&self, short: &str, mut waiter: Waiter) -> Result<()> {
        self.tell(short, "Waiting", None);
        let progress = waiter.progress();
        loop {
            let ended;
            (ended, waiter) = blocking(move || Ok((waiter.wait_timeout(STEP), waiter))).await?;
            if ended {
                return Ok(());
            }
            let (received, total) = (progress.received(), progress.total());
            let (status, done) = if received < total {
                ("Downloading", received)
            } else {
                ("Extracting", progress.unpacked())
            };
            self.tell(short, status, Some((done, total)));
        }
    }

    async fn fetch(&self, layer: &Descriptor, mut writer: LayerWriter) -> Result<Hold> {
        let short = layer.digest.short();
        let places = self.engine.pulls.places();
        let permit = match places.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => {
                self.tell(short, "Waiting", None);
                // Closed never: the semaphore lives as long as the engine.
                places.acquire().await
            }
        };
        let registry = self.engine.registry();
        let blob = registry.fetch_blob(&self.reference, layer, writer.offset(), &self.auth);
        let mut blob = blob.await.map_err(|e| registry_error(&e))?;
        if blob.offset() != writer.offset() {
            writer = blocking(move || {
                writer
                    .restart()
                    .map(|()| writer)
                    .map_err(|e| wrapped(ErrorKind::Internal, &e))
            })
            .await?;
        }
        let tally = &self.engine.tally;
        let began = Instant::now();
        let mut shown = began;
        while let Some(bytes) = blob.next().await {
            let bytes = bytes.map_err(|e| registry_error(&e))?;
            tally.bytes.add(bytes.len() as u64);
            // A write into the page cache: not worth a trip to another thread.
            writer
                .write(&bytes)
                .map_err(|e| wrapped(ErrorKind::Internal, &e))?;
            if shown.elapsed() >= STEP {
                shown = Instant::now();
                self.tell(
                    short,
                    "Downloading",
                    Some((writer.progress().received(), layer.size)),
                );
            }
        }
        drop(permit);
        tally.downloading.spend(began.elapsed());
        self.tell(short, "Verifying Checksum", None);
        self.tell(short, "Download complete", None);
        self.unpacked(short, writer).await
    }

    /// Waits until all of a layer that is here is unpacked.
    async fn unpacked(&self, short: &str, writer: LayerWriter) -> Result<Hold> {
        let received = Instant::now();
        let tally = &self.engine.tally;
        let progress = writer.progress();
        let finish = blocking(move || {
            writer
                .finish()
                .map_err(|e| wrapped(ErrorKind::Internal, &e))
        });
        tokio::pin!(finish);
        let mut tick = tokio::time::interval(STEP);
        loop {
            tokio::select! {
                done = &mut finish => {
                    if done.is_ok() {
                        tally.layers.add(1);
                        tally.unpacking.spend(received.elapsed());
                    }
                    return done;
                }
                _ = tick.tick() => self.tell(short, "Extracting", Some((progress.unpacked(), progress.total()))),
            }
        }
    }

    async fn register(&self, documents: Documents, top: &hull_spec::Digest) -> Result<ImageId> {
        let engine = Arc::clone(&self.engine);
        let mut names = vec![self.reference.with_digest(top)];
        if self.reference.digest().is_none() {
            names.push(self.reference.clone());
        }
        blocking(move || {
            let registration = Registration {
                index: documents.index.as_ref().map(|(d, bytes)| (d, &**bytes)),
                manifest: Some((&documents.descriptor, &documents.manifest_bytes)),
                config: &documents.config_bytes,
                names: &names,
                ..Registration::default()
            };
            engine
                .store
                .register(&registration)
                .map_err(super::store_error)
        })
        .await
    }
}
