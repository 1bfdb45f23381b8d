//! Where files come from.

use hull_spec::Digest;
use serde::{Deserialize, Serialize};

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// `docker-image://`
    Image(ImageSource),
    /// `local://`: files that the client has.
    Local(LocalSource),
    /// `git://`
    Git(GitSource),
    /// `http://`, `https://`
    Http(HttpSource),
    /// `oci-layout://`: an image in a directory that the client has.
    OciLayout(OciLayoutSource),
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSource {
    /// Its whole name, `docker.io/library/busybox:latest`, with `@sha256:…` once it was resolved.
    pub reference: String,
    /// Whether a registry is asked.
    pub resolve: ResolveMode,
    /// Only so many of its layers; 0 is all.
    pub layer_limit: u32,
}

/// Whether a registry is asked for an image that is in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResolveMode {
    /// As [`ResolveMode::PreferLocal`] with one store for all.
    #[default]
    Default,
    /// Always.
    ForcePull,
    /// Only for what is not in the store.
    PreferLocal,
}

/// Files that the client has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalSource {
    /// Under which name: `context`, `dockerfile`, …
    pub name: String,
    /// The session that has it; empty is the build's own.
    pub session: String,
    /// Only these, in `.dockerignore`'s notation; none is all.
    pub include: Vec<String>,
    /// Without these, in `.dockerignore`'s notation.
    pub exclude: Vec<String>,
    /// Of these paths, symbolic links are followed, and what they name comes along.
    pub follow: Vec<String>,
    /// Helps to find what the same client sent earlier.
    pub shared_key_hint: String,
    /// How files are compared with what was sent earlier.
    pub differ: Differ,
    /// Only names and metadata are wanted, except of files that match [`LocalSource::metadata_except`].
    pub metadata_only: bool,
    /// See [`LocalSource::metadata_only`].
    pub metadata_except: Vec<String>,
}

/// How files are compared with what was sent earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Differ {
    /// By their metadata.
    #[default]
    Metadata,
    /// Not at all.
    None,
}

/// A git repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSource {
    /// Where it is, in any form git takes.
    pub remote: String,
    /// Branch, tag or commit; empty is the remote's HEAD.
    pub reference: String,
    /// Only this directory of it.
    pub subdir: String,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
    /// The commit it must be, or how its digest begins.
    pub checksum: String,
    /// Submodules are left out.
    pub skip_submodules: bool,
    /// The secret that has a token.
    pub auth_token_secret: String,
    /// The secret that has the whole header.
    pub auth_header_secret: String,
    /// Lines of `known_hosts`.
    pub known_ssh_hosts: String,
    /// The client's agent that is used; empty is none.
    pub ssh: String,
}

/// A file behind a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpSource {
    /// `http:` or `https:`.
    pub url: String,
    /// What it must be.
    pub checksum: Option<Digest>,
    /// The file's name; empty: from the answer or the URL.
    pub filename: String,
    /// Its mode; `None` is 0600.
    pub mode: Option<u32>,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The secret that has the `Authorization` header.
    pub auth_header_secret: String,
}

/// An image in a layout directory of the client's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciLayoutSource {
    /// `name@sha256:…`
    pub reference: String,
    /// The store's name in the session.
    pub store: String,
    /// The session; empty is the build's own.
    pub session: String,
    /// Only so many of its layers; 0 is all.
    pub layer_limit: u32,
}
