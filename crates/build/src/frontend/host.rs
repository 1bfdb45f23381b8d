//! What a frontend asks of the world: the client's files, and configs of images.

use super::Error;
use super::convert::local;
use super::draft::{Draft, Handle};
use super::options::Options;
use super::remote::Remote;
use crate::dockerfile::MAX_SIZE;
use crate::graph::{Differ, ImageSource, LocalSource, OciLayoutSource, digest_of};
use crate::ignore;
use crate::plan::SourceFile;
use crate::progress::{Event, VertexState};
use crate::solve::Context;
use crate::world::{Job, ResolvedImage, World, WorldError, WorldResult};
use hull_spec::{Digest, Platform};
use jiff::Timestamp;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

const IGNORE_FILE: &str = ".dockerignore";

/// The world, for one request.
pub(super) struct Host<'a> {
    pub(super) world: &'a dyn World,
    pub(super) context: &'a Context,
    /// What is left out of the context, once it is known.
    ignore: Mutex<Option<Vec<String>>>,
    images: Mutex<HashMap<Digest, ResolvedImage>>,
    /// The context, where it is not the client's.
    pub(super) remote: Option<Remote>,
}

/// Two steps of the same name are two lines of the progress.
static NUMBER: AtomicU64 = AtomicU64::new(0);

impl<'a> Host<'a> {
    pub(super) fn new(world: &'a dyn World, context: &'a Context) -> Self {
        Self {
            world,
            context,
            ignore: Mutex::default(),
            images: Mutex::default(),
            remote: None,
        }
    }

    /// Does something as a step of its own in the progress.
    pub(super) fn internal<T>(
        &self,
        name: &str,
        work: impl FnOnce(&Job<'_>) -> WorldResult<T>,
    ) -> WorldResult<T> {
        self.context.cancel.check()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let now = Timestamp::now();
        let digest = digest_of(&(name, number, now.as_nanosecond()));
        let job = Job {
            vertex: &digest,
            client: self.context.client.as_ref(),
            watch: self.context.watch.as_ref(),
            cancel: &self.context.cancel,
        };
        let mut state = VertexState {
            digest: digest.clone(),
            inputs: Vec::new(),
            name: name.to_owned(),
            cached: false,
            started: Some(now),
            completed: None,
            error: String::new(),
            group: None,
            location: None,
            description: BTreeMap::new(),
        };
        let watch = &self.context.watch;
        watch.tell(Event::Vertex(Box::new(state.clone())));
        let done = work(&job);
        state.completed = Some(Timestamp::now());
        state.error = done
            .as_ref()
            .err()
            .map(WorldError::full_message)
            .unwrap_or_default();
        watch.tell(Event::Vertex(Box::new(state)));
        done
    }

    /// The Dockerfile. Its own ignore file is noted when there is one.
    pub(super) fn dockerfile(&self, options: &Options) -> Result<SourceFile, Error> {
        if let Some(remote) = &self.remote
            && options.dockerfile_key.is_none()
        {
            return self.remote_dockerfile(remote, options);
        }
        let name = options.filename.as_str();
        let key = options.dockerfile_key.as_deref().unwrap_or("dockerfile");
        let own_ignore = format!("{name}{IGNORE_FILE}");
        let mut follow = vec![name.to_owned(), own_ignore.clone()];
        let lower = lower_case(name);
        follow.extend(lower.clone());
        let source = LocalSource {
            name: key.to_owned(),
            session: options.session(key),
            follow,
            shared_key_hint: key.to_owned(),
            differ: Differ::None,
            ..LocalSource::default()
        };
        let title = format!("[internal] load build definition from {name}");
        let (text, ignored) = self
            .internal(&title, |job| {
                let files = job.client.local(&source, job)?;
                let found = match (read(files.path(), name)?, &lower) {
                    (None, Some(lower)) => read(files.path(), lower)?,
                    (found, _) => found,
                };
                let ignored = read(files.path(), &own_ignore)?;
                Ok((found, ignored))
            })
            .map_err(|why| failed("failed to read dockerfile", &why))?;
        if let Some(text) = ignored {
            self.note_ignore(ignore::read(&text));
        }
        Ok(SourceFile {
            name: name.to_owned(),
            text: text.ok_or_else(|| missing(name))?,
        })
    }

    /// The Dockerfile in a context that is not the client's.
    fn remote_dockerfile(&self, remote: &Remote, options: &Options) -> Result<SourceFile, Error> {
        let name = remote.filename.unwrap_or(&options.filename);
        let names = [Some(name.to_owned()), lower_case(name)];
        // One byte more tells that it is too large; who reads it says so.
        let most = MAX_SIZE as u64 + 1;
        for wanted in names.into_iter().flatten() {
            let read = self.world.read_file(&remote.files.tree, &wanted, most);
            let read = read.map_err(|why| failed("failed to read dockerfile", &why))?;
            if let Some(text) = read {
                return Ok(SourceFile {
                    name: name.to_owned(),
                    text,
                });
            }
        }
        Err(missing(name))
    }

    pub(super) fn note_ignore(&self, patterns: Vec<String>) {
        *self.ignore.lock().unwrap_or_else(PoisonError::into_inner) = Some(patterns);
    }

    /// What is left out of the context.
    pub(super) fn ignore_patterns(&self, options: &Options) -> Result<Vec<String>, Error> {
        let known = self
            .ignore
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(known) = known {
            return Ok(known);
        }
        // As in BuildKit, only clients' directories have such a file.
        if self.remote.is_some() {
            return Ok(Vec::new());
        }
        let title = format!("[internal] load {IGNORE_FILE}");
        let patterns = self.local_ignore("context", "context", &title, options)?;
        self.note_ignore(patterns.clone());
        Ok(patterns)
    }

    /// The patterns of the ignore file in a source of the client's.
    pub(super) fn local_ignore(
        &self,
        name: &str,
        hint: &str,
        title: &str,
        options: &Options,
    ) -> Result<Vec<String>, Error> {
        let source = LocalSource {
            name: name.to_owned(),
            session: options.session(name),
            follow: vec![IGNORE_FILE.to_owned()],
            shared_key_hint: format!("{hint}-{IGNORE_FILE}"),
            differ: Differ::None,
            ..LocalSource::default()
        };
        let text = self.internal(title, |job| {
            let files = job.client.local(&source, job)?;
            read(files.path(), IGNORE_FILE)
        });
        let text = text.map_err(|why| failed("failed to read dockerignore patterns", &why))?;
        Ok(ignore::read(&text.unwrap_or_default()))
    }

    /// The build's context as a vertex; what of it is wanted is not known yet.
    pub(super) fn context(&self, options: &Options, draft: &mut Draft) -> Result<Handle, Error> {
        if let Some(remote) = &self.remote {
            let mut last: Option<Handle> = None;
            for (op, metadata) in &remote.steps {
                let inputs = last.into_iter().collect();
                last = Some(draft.add(op.clone(), inputs, None, metadata.clone()));
            }
            return last.ok_or_else(|| Error::new("the context was not brought"));
        }
        let source = LocalSource {
            name: "context".to_owned(),
            session: options.session("context"),
            shared_key_hint: "context".to_owned(),
            ..LocalSource::default()
        };
        Ok(local(
            draft,
            source,
            "[internal] load build context".to_owned(),
        ))
    }

    /// An image's config, looked up once in a request.
    pub(super) fn image(
        &self,
        source: &ImageSource,
        platform: &Platform,
        title: &str,
    ) -> Result<ResolvedImage, Error> {
        let key = digest_of(&(source, platform));
        self.looked_up((key, &source.reference), platform, || {
            self.internal(title, |job| self.world.resolve_image(source, platform, job))
        })
    }

    /// The config of an image in a layout of the client's, as [`Host::image`].
    pub(super) fn layout(
        &self,
        source: &OciLayoutSource,
        platform: &Platform,
        title: &str,
    ) -> Result<ResolvedImage, Error> {
        let key = digest_of(&(source, platform));
        self.looked_up((key, &source.reference), platform, || {
            self.internal(title, |job| {
                self.world.resolve_layout(source, platform, job)
            })
        })
    }

    fn looked_up(
        &self,
        (key, name): (Digest, &str),
        platform: &Platform,
        look: impl FnOnce() -> WorldResult<ResolvedImage>,
    ) -> Result<ResolvedImage, Error> {
        let images = || self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = images().get(&key) {
            return Ok(known.clone());
        }
        let found = look().map_err(|why| {
            let doing = format!("failed to resolve source metadata for {name}");
            failed(&doing, &why)
        })?;
        self.context.sources.found(&found, platform);
        images().insert(key, found.clone());
        Ok(found)
    }
}

fn missing(name: &str) -> Error {
    let text = format!("failed to read dockerfile: open {name}: no such file or directory");
    Error::new(text)
}

fn failed(doing: &str, why: &WorldError) -> Error {
    match why {
        WorldError::Cancelled => Error::new(why.to_string()),
        why => Error::new(format!("{doing}: {}", why.full_message())),
    }
}

/// `dockerfile` is found too where `Dockerfile` is not.
fn lower_case(name: &str) -> Option<String> {
    match name.strip_suffix("Dockerfile") {
        Some(before) if before.is_empty() || before.ends_with('/') => {
            Some(format!("{before}dockerfile"))
        }
        _ => None,
    }
}

/// A file of the client's; `None` when it is not there. Links lead nowhere out of the directory, for who made
/// them does not own this machine.
fn read(directory: &Path, name: &str) -> WorldResult<Option<Vec<u8>>> {
    let wrong = |why: &dyn std::fmt::Display| WorldError::other(format!("open {name}: {why}"));
    let directory = fs_err::File::open(directory)
        .map_err(|why| WorldError::caused("open the client's files", why))?;
    // A place only: what is no file is not opened, for with some devices that is an act of its own.
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(&directory, name, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(why) => return Err(wrong(&why)),
    };
    let found = fstat(&file).map_err(|why| wrong(&why))?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => {
            return Err(WorldError::other(format!("read {name}: is a directory")));
        }
        _ => {
            return Err(WorldError::other(format!(
                "read {name}: not a regular file"
            )));
        }
    }
    let mut text = Vec::new();
    // One byte more tells that it is too large; who reads it says so.
    let most = MAX_SIZE as u64 + 1;
    let file = fs_err::File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    file.map_err(|why| wrong(&why))?
        .take(most)
        .read_to_end(&mut text)
        .map_err(|why| wrong(&why))?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_nowhere_out_of_the_clients_files() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let inside = dir.path().join("in");
        fs_err::create_dir(&inside).unwrap();
        fs_err::write(&outside, "secret").unwrap();
        fs_err::write(inside.join("there"), "fine").unwrap();
        let link =
            |to: &str, name: &str| std::os::unix::fs::symlink(to, inside.join(name)).unwrap();
        link("../outside", "up");
        link(outside.to_str().unwrap(), "absolute");
        link("there", "good");
        link("/there", "rooted");
        for gone in ["up", "absolute", "../outside", "nothing", "there/x"] {
            assert_eq!(read(&inside, gone).unwrap(), None, "{gone}");
        }
        for good in ["there", "good", "rooted", "./there"] {
            assert_eq!(read(&inside, good).unwrap().unwrap(), b"fine", "{good}");
        }
        assert!(read(&inside, ".").is_err());
        assert_eq!(lower_case("a/Dockerfile").as_deref(), Some("a/dockerfile"));
        assert_eq!(lower_case("a.Dockerfile"), None);
    }
}
