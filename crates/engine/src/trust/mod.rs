//! Which images may come and be run: `policy.json` as podman and skopeo read it (containers-policy.json(5)),
//! and sigstore signatures by public keys.
//!
//! ```text
//! pull ─ resolve, manifest ─► check_pull ─► layers          run ─ image of the store ─► check_stored
//!                                │ signatures beside the image          │
//!                                └──────────► kept with the name ◄──────┘ no registry needed
//! ```
//!
//! The file is read at every check: a change counts at once. Without a file everything is accepted, as by
//! dockerd; a file that cannot be read or understood refuses everything.

mod evaluate;
mod fetch;
mod identity;
mod json;
mod key;
mod payload;
mod policy;
mod requirement;
mod rows;
#[cfg(test)]
mod tests;

pub use json::Invalid;
pub use policy::{Policy, Scope};

use crate::{Engine, Error, ErrorKind, Reference, Result, blocking};
use evaluate::Subject;
use hull_image::{Database, Image, ImageId, Removed, Store};
use hull_registry::Credentials;
use hull_spec::Digest;
use rows::{Origin, Rows};
use std::collections::HashSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a policy is looked for when none is configured.
const POLICIES: [&str; 2] = ["/etc/hull/policy.json", "/etc/containers/policy.json"];
/// A policy longer than this is none.
const MAX_POLICY: u64 = 4 << 20;
/// How many signatures of one name, and origins of one image, are remembered.
const MAX_KEPT: usize = 64;

/// The policy's place, and what is remembered of images that came.
#[derive(Debug)]
pub(crate) struct Trust {
    configured: Option<PathBuf>,
    rows: Rows,
}

/// A policy and the file it came from.
struct Loaded {
    path: PathBuf,
    policy: Policy,
}

impl Trust {
    /// Opens the tables and drops what is about images that are gone.
    pub(crate) fn open(
        configured: Option<PathBuf>,
        database: Arc<Database>,
        store: &Store,
    ) -> Result<Self> {
        let rows = Rows::open(database)?;
        let trust = Self { configured, rows };
        trust.retain(store)?;
        if let Err(error) = trust.load() {
            tracing::error!("images will be refused: {}", error.full_message());
        }
        Ok(trust)
    }

    fn retain(&self, store: &Store) -> Result<()> {
        let images = store.summaries();
        let names = images
            .iter()
            .flat_map(|image| &image.repo_digests)
            .map(ToString::to_string)
            .collect();
        let here: HashSet<&str> = images.iter().map(|image| image.id.as_str()).collect();
        self.rows.retain(|image| here.contains(image), names)
    }

    /// Reads the policy; `None` when there is none.
    fn load(&self) -> Result<Option<Loaded>> {
        if let Some(path) = &self.configured {
            return read(path).map(Some);
        }
        for path in POLICIES.map(Path::new) {
            match read(path) {
                Err(error) if is_missing(&error) => {}
                other => return other.map(Some),
            }
        }
        Ok(None)
    }

    /// Forgets what is about images that are gone.
    pub(crate) fn forget(&self, removed: &[Removed], store: &Store) {
        let is_origin = |digest: &Digest| {
            let origins = self.rows.origins(digest.as_str());
            origins.is_ok_and(|origins| !origins.is_empty())
        };
        let any = removed
            .iter()
            .any(|removed| matches!(removed, Removed::Deleted(digest) if is_origin(digest)));
        // What is not forgotten now is so at the next start.
        if any && let Err(error) = self.retain(store) {
            tracing::warn!("could not forget signatures: {}", error.full_message());
        }
    }
}

fn read(path: &Path) -> Result<Loaded> {
    let failed = || {
        let text = format!("the trust policy {} cannot be used", path.display());
        Error::new(ErrorKind::Forbidden, text)
    };
    let mut text = Vec::new();
    fs_err::File::open(path)
        .and_then(|file| file.take(MAX_POLICY).read_to_end(&mut text))
        .map_err(|error| failed().caused_by(error))?;
    let policy = Policy::parse(&text).map_err(|error| failed().caused_by(error))?;
    let path = path.to_owned();
    Ok(Loaded { path, policy })
}

fn is_missing(error: &Error) -> bool {
    let cause = std::error::Error::source(error);
    cause
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

impl Loaded {
    fn check(&self, subject: &Subject<'_>) -> Result<()> {
        self.policy
            .check(subject)
            .map_err(|refusal| self.refused(&refusal))
    }

    fn refused(&self, refusal: &evaluate::Refusal) -> Error {
        let text = format!("{refusal} (trust policy {})", self.path.display());
        Error::new(ErrorKind::Forbidden, text)
    }
}

impl Engine {
    /// Asks the policy whether an image may be pulled, before any of its layers is. `top` is what the
    /// reference stands for, `manifest` the manifest chosen from it; a signature of either will do,
    /// since both pin the content. The signatures are kept for [`Engine::check_stored`], and what `image` was
    /// pulled as, whether there is a policy or not: there may be one later.
    ///
    /// # Errors
    /// `Forbidden`, with the rule and its scope.
    pub(crate) async fn check_pull(
        self: &Arc<Self>,
        reference: &Reference,
        (top, manifest, image): (&Digest, &Digest, &ImageId),
        auth: &Credentials,
    ) -> Result<()> {
        let reference = meant(reference);
        let origin = Origin {
            name: reference.with_digest(top),
            manifest: Some(manifest.clone()),
        };
        let (engine, id) = (Arc::clone(self), image.to_string());
        let name = origin.name.clone();
        let loaded = blocking(move || {
            let trust = &engine.trust;
            trust.rows.add_origin(&id, origin, MAX_KEPT)?;
            trust.load()
        });
        let Some(loaded) = loaded.await? else {
            return Ok(());
        };
        let mut digests = vec![top.clone()];
        if manifest != top {
            digests.push(manifest.clone());
        }
        let mut signatures = Vec::new();
        if loaded.policy.needs_signatures(&reference) {
            signatures = fetch::signatures(&self.registry(), &reference, &digests, auth).await?;
        }
        let engine = Arc::clone(self);
        blocking(move || {
            let subject = Subject {
                reference: &reference,
                digests: &digests,
                signatures: &signatures,
            };
            loaded.check(&subject)?;
            let rows = &engine.trust.rows;
            rows.add_signatures(&name, &signatures, MAX_KEPT)
        })
        .await
    }

    /// Asks the policy whether an image of the store may be run, by what is known of where it came
    /// from. Images that were made here came from nowhere and are nobody's to sign. Blocking; needs no
    /// registry.
    ///
    /// # Errors
    /// `Forbidden`, with the rule and its scope.
    pub(crate) fn check_stored(&self, image: &Image, typed: &str) -> Result<()> {
        let Some(loaded) = self.trust.load()? else {
            return Ok(());
        };
        let mut origins = self.trust.rows.origins(image.id.as_str())?;
        // What was pushed from here counts as the registry's.
        for name in &image.repo_digests {
            if origins.iter().all(|origin| origin.name != *name) {
                let name = name.clone();
                let manifest = None;
                origins.push(Origin { name, manifest });
            }
        }
        let mut refused = None;
        for (name, origin) in judged(image, typed, &origins) {
            let digests: Vec<Digest> = origin
                .name
                .digest()
                .into_iter()
                .chain(&origin.manifest)
                .cloned()
                .collect();
            let subject = Subject {
                reference: &name,
                digests: &digests,
                signatures: &self.trust.rows.signatures(&origin.name)?,
            };
            match loaded.check(&subject) {
                Ok(()) => return Ok(()),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Asks the policy whether an archive may come in that may be read as any of `transports`:
    /// `docker-archive`, `oci-archive`, `tarball`. Blocking.
    ///
    /// # Errors
    /// `Forbidden`, with the rule and its scope.
    pub(crate) fn check_archive(&self, transports: &[&str]) -> Result<()> {
        let Some(loaded) = self.trust.load()? else {
            return Ok(());
        };
        for transport in transports {
            let checked = loaded.policy.check_transport(transport, "this archive");
            checked.map_err(|refusal| loaded.refused(&refusal))?;
        }
        Ok(())
    }
}

/// A reference as policies have it: with its digest alone, or else with a tag.
fn meant(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest),
        None => reference.clone().with_default_tag(),
    }
}

/// The names to judge an image by, each with the origin it stands for. The name that was typed, when the
/// image was pulled under it; else everything it was ever pulled as, by the names it still has from there
/// or by the origin itself, because an id and a name given here say nothing about the origin.
fn judged<'a>(image: &Image, typed: &str, origins: &'a [Origin]) -> Vec<(Reference, &'a Origin)> {
    let typed = typed.parse::<Reference>().ok().map(|name| meant(&name));
    let is_name = |name: &Reference| image.tags.contains(name) || image.repo_digests.contains(name);
    if let Some(name) = typed.filter(is_name) {
        let of_repository = origins.iter().filter(|o| o.name.name() == name.name());
        let found: Vec<_> = of_repository.map(|origin| (name.clone(), origin)).collect();
        if !found.is_empty() {
            return found;
        }
    }
    let mut all = Vec::new();
    for origin in origins {
        let tags = image.tags.iter();
        let tags = tags.filter(|tag| tag.name() == origin.name.name());
        all.extend(
            tags.chain([&origin.name])
                .map(|name| (name.clone(), origin)),
        );
    }
    all
}
