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
use evaluate::{Signature, Subject};
use hull_image::{Image, Removed, Store};
use hull_registry::Credentials;
use hull_spec::Digest;
use redb::Database;
use rows::{Kept, Rows};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a policy is looked for when none is configured.
const POLICIES: [&str; 2] = ["/etc/hull/policy.json", "/etc/containers/policy.json"];
/// A policy longer than this is none.
const MAX_POLICY: u64 = 4 << 20;
/// How many manifests of one index are remembered: more platforms than an image has.
const MAX_DIGESTS: usize = 64;

/// The policy's place, and the signatures that are kept.
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
    /// Opens the table of signatures and drops those whose image is gone.
    pub(crate) fn open(
        configured: Option<PathBuf>,
        database: Arc<Database>,
        store: &Store,
    ) -> Result<Self> {
        let rows = Rows::open(database)?;
        let images = store.images().map_err(crate::image::store_error)?;
        let names = images
            .iter()
            .flat_map(|image| &image.repo_digests)
            .map(ToString::to_string)
            .collect();
        rows.retain(&names)?;
        let trust = Self { configured, rows };
        if let Err(error) = trust.load() {
            tracing::error!("images will be refused: {}", error.full_message());
        }
        Ok(trust)
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

    /// Forgets the signatures of names that are gone.
    pub(crate) fn forget(&self, removed: &[Removed]) {
        for removed in removed {
            // What is not forgotten now is so at the next start.
            if let Removed::Untagged(name) = removed
                && let Ok(Some(_)) = self.rows.get(&name.to_string())
                && let Err(error) = self.rows.change(&name.to_string(), |_| None)
            {
                tracing::warn!(%name, "could not forget signatures: {}", error.full_message());
            }
        }
    }

    fn kept(&self, name: &Reference) -> Result<Kept> {
        Ok(self.rows.get(&name.to_string())?.unwrap_or_default())
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
    /// since both pin the content. The signatures are kept for [`Engine::check_stored`].
    ///
    /// # Errors
    /// `Forbidden`, with the rule and its scope.
    pub(crate) async fn check_pull(
        self: &Arc<Self>,
        reference: &Reference,
        (top, manifest): (&Digest, &Digest),
        auth: &Credentials,
    ) -> Result<()> {
        let engine = Arc::clone(self);
        let Some(loaded) = blocking(move || engine.trust.load()).await? else {
            return Ok(());
        };
        let reference = meant(reference);
        let mut digests = vec![top.clone()];
        if manifest != top {
            digests.push(manifest.clone());
        }
        let mut signatures = Vec::new();
        if loaded.policy.needs_signatures(&reference) {
            signatures = fetch::signatures(&self.registry, &reference, &digests, auth).await?;
        }
        let (engine, name) = (Arc::clone(self), reference.with_digest(top));
        blocking(move || {
            let subject = Subject {
                reference: &reference,
                digests: &digests,
                signatures: &signatures,
            };
            loaded.check(&subject)?;
            if signatures.is_empty() {
                return Ok(());
            }
            engine.trust.keep(&name, digests, signatures)
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
        let mut refused = None;
        for (name, origin) in origins(image, typed) {
            let mut kept = self.trust.kept(&origin)?;
            kept.digests.extend(origin.digest().cloned());
            let subject = Subject {
                reference: &name,
                digests: &kept.digests,
                signatures: &kept.signatures,
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
    pub fn check_archive(&self, transports: &[&str]) -> Result<()> {
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

impl Trust {
    fn keep(&self, name: &Reference, digests: Vec<Digest>, found: Vec<Signature>) -> Result<()> {
        let mut kept = Kept {
            digests,
            signatures: found,
        };
        self.rows.change(&name.to_string(), |before| {
            // Other platforms of the same index keep their manifests.
            for digest in before.digests {
                if kept.digests.len() < MAX_DIGESTS && !kept.digests.contains(&digest) {
                    kept.digests.push(digest);
                }
            }
            for signature in before.signatures {
                if kept.signatures.len() < MAX_DIGESTS && !kept.signatures.contains(&signature) {
                    kept.signatures.push(signature);
                }
            }
            // The order says nothing.
            kept.digests.sort();
            kept.signatures.sort();
            Some(kept)
        })
    }
}

/// A reference as policies have it: with its digest alone, or else with a tag.
fn meant(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest),
        None => reference.clone().with_default_tag(),
    }
}

/// Where an image came from: the names to judge it by, each with the `repository@digest` it was pulled
/// as. The name that was typed, when the image was pulled under it; else every name it was pulled under,
/// because an id and a name given here say nothing about the origin.
fn origins(image: &Image, typed: &str) -> Vec<(Reference, Reference)> {
    let typed = typed.parse::<Reference>().ok().map(|name| meant(&name));
    let pulled = |name: &Reference| {
        let origins = image.repo_digests.iter();
        let of_repository = origins.filter(|origin| origin.name() == name.name());
        let name = name.clone();
        of_repository
            .map(|origin| (name.clone(), origin.clone()))
            .collect::<Vec<_>>()
    };
    if let Some(name) =
        typed.filter(|name| image.tags.contains(name) || image.repo_digests.contains(name))
    {
        let found = pulled(&name);
        if !found.is_empty() {
            return found;
        }
    }
    image
        .tags
        .iter()
        .chain(&image.repo_digests)
        .flat_map(pulled)
        .collect()
}
