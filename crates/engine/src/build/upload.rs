//! Contexts that come as archives: each in a directory of its own, which goes with the build.
//!
//! ```text
//! <data root>/build/<id>/          what the archive had
//! <data root>/build/<id>.aside/    the Dockerfile, when the context is not to have it
//! ```

use crate::stream::{Incoming, Reader};
use crate::{Engine, Error, ErrorKind, Result, blocking, names};
use hull_build::dockerfile::{self, Dockerfile, Linter};
use hull_build::ignore;
use hull_build::plan::Request;
use hull_build::world::LocalFiles;
use hull_image::archive::decompressed;
use hull_image::extract;
use hull_linux::path::Root;
use rustix::fs::{AtFlags, OFlags, unlinkat};
use std::fs::Permissions;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What says which files are not wanted.
const IGNORE_FILE: &str = ".dockerignore";
/// A longer list of those is not read, bytes.
const MAX_IGNORE: u64 = 1 << 20;

/// A context on this machine, gone with the build.
#[derive(Debug)]
pub(super) struct Uploaded {
    path: PathBuf,
    aside: Option<Aside>,
}

/// The Dockerfile of a context that is not to have it.
#[derive(Clone, Debug)]
pub(super) struct Aside(PathBuf);

impl LocalFiles for Uploaded {
    fn path(&self) -> &Path {
        &self.path
    }
}

impl LocalFiles for Aside {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Uploaded {
    fn drop(&mut self) {
        let paths = [
            Some(self.path.clone()),
            self.aside.take().map(|aside| aside.0),
        ];
        // Whoever was the last may be one that must not wait. What is left the next start removes.
        let _ = std::thread::Builder::new()
            .name("build-context".to_owned())
            .spawn(move || {
                for path in paths.into_iter().flatten() {
                    if let Err(error) = hull_image::delete::remove_tree(&path) {
                        tracing::warn!(%error, "a build's context was not removed");
                    }
                }
            });
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Internal, "could not keep the build context").caused_by(error)
}

/// The bytes of a file of a context, and no more than `most`.
fn read(root: &Root, name: &str, most: u64) -> io::Result<Vec<u8>> {
    let file = root.open_file(Path::new(name))?;
    let mut text = Vec::new();
    std::fs::File::from(file)
        .take(most)
        .read_to_end(&mut text)?;
    Ok(text)
}

impl Engine {
    /// Unpacks an uploaded context for whoever builds with it. It is gone with the last one.
    ///
    /// # Errors
    /// When it is no archive, or cannot be kept.
    pub async fn upload_context(self: &Arc<Self>, body: Incoming) -> Result<Arc<dyn LocalFiles>> {
        let engine = Arc::clone(self);
        let body = Reader::new(body);
        blocking(move || Ok(Arc::new(engine.take_context(body)?) as Arc<dyn LocalFiles>)).await
    }

    /// Unpacks an uploaded context. Everything in it is root's, as in Docker.
    pub(super) fn take_context(&self, body: Reader) -> Result<Uploaded> {
        let path = self.config.data_root.join("build").join(names::id());
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(failed)?;
        let uploaded = Uploaded { path, aside: None };
        // Steps see it that are not root's; nobody else gets through the directory above.
        fs_err::set_permissions(&uploaded.path, Permissions::from_mode(0o755)).map_err(failed)?;
        let root = Root::open(&uploaded.path).map_err(failed)?;
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
            && let Err(error) = hull_image::delete::remove_tree(&directory)
        {
            tracing::warn!(%error, "what is left of a build was not removed");
        }
    }
}

impl Uploaded {
    /// Where the Dockerfile is instead.
    pub(super) fn aside(&self) -> Option<&Aside> {
        self.aside.as_ref()
    }

    /// dockerd reads the Dockerfile before it tells anything. The name of the one that there is.
    ///
    /// # Errors
    /// dockerd's for one that is missing or makes no sense.
    pub(super) fn check_dockerfile(&self, request: &Request) -> Result<String> {
        let attribute = |name: &str| request.attributes.get(name).map_or("", String::as_str);
        let name = match attribute("filename") {
            "" => "Dockerfile",
            name => name,
        };
        if leads_out(name) {
            let text = format!("forbidden path outside the build context: {name} ()");
            return Err(Error::new(ErrorKind::Internal, text));
        }
        let root = Root::open(&self.path).map_err(failed)?;
        let is_there = |name: &str| root.open_at(Path::new(name), OFlags::PATH).is_ok();
        let found = match name {
            "Dockerfile" if !is_there(name) => "dockerfile",
            name => name,
        };
        let most = dockerfile::MAX_SIZE as u64 + 1;
        let text = read(&root, found, most).map_err(|error| match is_there(found) {
            true => Error::new(ErrorKind::Internal, "unexpected error reading Dockerfile")
                .caused_by(error),
            false => {
                let text = format!("Cannot locate specified Dockerfile: {name}");
                Error::new(ErrorKind::Internal, text)
            }
        })?;
        if text.is_empty() {
            let text = format!("the Dockerfile ({name}) cannot be empty");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let invalid = |error: dockerfile::Error| Error::new(ErrorKind::InvalidInput, error.message);
        let syntax = dockerfile::parse(&text).map_err(invalid)?;
        let file = Dockerfile::read(&syntax, &mut Linter::default()).map_err(invalid)?;
        let target = attribute("target");
        let mut stages = file.stages.iter();
        let is_target = |stage: &dockerfile::Stage| stage.name.eq_ignore_ascii_case(target);
        if !target.is_empty() && !stages.any(is_target) {
            let text = format!("target stage {target:?} could not be found");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(found.to_owned())
    }

    /// Takes out the Dockerfile `name` and the ignore file, if that means them: clients send both always, and all else
    /// that is ignored never.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn leave_out(&mut self, name: &str) -> Result<()> {
        let root = Root::open(&self.path).map_err(failed)?;
        let Ok(text) = read(&root, IGNORE_FILE, MAX_IGNORE) else {
            return Ok(());
        };
        // Patterns that are none mean nothing.
        let patterns = ignore::read(&text);
        let Ok(ignored) = ignore::Matcher::new(&patterns) else {
            return Ok(());
        };
        let clean = plain(name);
        if clean.to_str().is_some_and(|name| ignored.matches(name)) {
            let most = dockerfile::MAX_SIZE as u64 + 1;
            let text = read(&root, name, most).map_err(failed)?;
            let aside = self.path.with_extension("aside");
            let mut place = aside.join(&clean);
            self.aside = Some(Aside(aside));
            place.pop();
            fs_err::create_dir_all(&place).map_err(failed)?;
            place.push(clean.file_name().unwrap_or_default());
            fs_err::write(place, text).map_err(failed)?;
            remove(&root, &clean).map_err(failed)?;
        }
        match ignored.matches(IGNORE_FILE) {
            true => remove(&root, Path::new(IGNORE_FILE)).map_err(failed),
            false => Ok(()),
        }
    }
}

/// Removes a file of a context, not what it may link to.
fn remove(root: &Root, path: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let parent = path.parent().unwrap_or(Path::new(""));
    let directory = root.open_at(&Path::new("/").join(parent), flags)?;
    let name = path.file_name().unwrap_or_default();
    Ok(unlinkat(directory, name, AtFlags::empty())?)
}

/// A path without what leads nowhere. `..` goes up by the name alone.
fn plain(name: &str) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    plain
}

/// Whether a path goes above where it begins.
fn leads_out(name: &str) -> bool {
    let mut depth = 0_i64;
    Path::new(name).components().any(|part| {
        depth += match part {
            Component::Normal(_) => 1,
            Component::ParentDir => -1,
            _ => 0,
        };
        depth < 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files_within() {
        assert_eq!(plain("/a/./b/../c"), Path::new("a/c"));
        assert!(leads_out("../a") && leads_out("a/../../b") && !leads_out("a/../b"));
    }
}
