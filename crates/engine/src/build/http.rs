//! Files behind URLs, as `ADD` and remote contexts want them. What was fetched once is asked for by its `ETag`.

use super::images::With;
use super::tree::NewStep;
use crate::Engine;
use futures_util::StreamExt as _;
use hull_build::graph::{HttpSource, digest_of};
use hull_build::world::{Fetched, SourceKey, Tree, WorldError, WorldResult};
use hull_registry::{Ask, Download, DownloadError, Secret};
use hull_spec::Digest;
use rustix::fs::{Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// No more URLs are remembered.
const MAX_KNOWN: usize = 4096;
/// The mode of files whose source says none, as in BuildKit.
const MODE: u32 = 0o600;
/// The longest name that file systems take.
const MAX_NAME: usize = 255;

/// What is remembered of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    tag: String,
    digest: Digest,
    name: String,
    modified: Option<String>,
}

/// All that a file's tree is made of.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    name: String,
    mode: u32,
    owner: (u32, u32),
    digest: Digest,
    modified: Option<String>,
}

impl Content {
    fn new(source: &HttpSource, name: String, digest: Digest, modified: Option<String>) -> Self {
        Self {
            name,
            mode: source.mode.unwrap_or(MODE),
            owner: (source.uid, source.gid),
            digest,
            modified,
        }
    }

    fn text(&self) -> WorldResult<String> {
        serde_json::to_string(self).map_err(|e| WorldError::caused("describe a file", e))
    }
}

/// A file that was fetched.
struct Brought {
    tree: Tree,
    content: Content,
    tag: Option<String>,
}

impl Engine {
    /// By what a URL's file is known. One that is not known, or has changed, is brought.
    pub(super) fn http_key(&self, source: &HttpSource, with: With<'_>) -> WorldResult<SourceKey> {
        if let Some(checksum) = &source.checksum {
            let name = name_of(source, None)?;
            let content = Content::new(source, name, checksum.clone(), None);
            return Ok(SourceKey::known(content.text()?));
        }
        let known = self.known_url(source);
        let ask = Ask {
            unless: known.as_ref().map(|known| known.tag.clone()),
            authorization: authorization(source, with)?,
        };
        let answer = self.ask(source, &ask, with)?;
        let Some(download) = answer else {
            // Only what is known is asked for in this way.
            let known = known.ok_or_else(|| WorldError::other("a server answered 304 unasked"))?;
            let name = match source.filename.as_str() {
                "" => known.name,
                name => checked_name(name)?,
            };
            let content = Content::new(source, name, known.digest, known.modified);
            return Ok(SourceKey::known(content.text()?));
        };
        let brought = self.bring(source, download, with)?;
        if let Some(tag) = brought.tag {
            self.remember_url(
                source,
                &Known {
                    tag,
                    digest: brought.content.digest.clone(),
                    name: brought.content.name.clone(),
                    modified: brought.content.modified.clone(),
                },
            );
        }
        Ok(SourceKey {
            content: Some(brought.content.text()?),
            brought: Some(brought.tree),
            keep: None,
        })
    }

    /// Brings a URL's file, which must be what it is known by.
    pub(super) fn http_fetch(
        &self,
        source: &HttpSource,
        content: Option<&str>,
        with: With<'_>,
    ) -> WorldResult<Fetched> {
        let known: Option<Content> = content.and_then(|text| serde_json::from_str(text).ok());
        let ask = Ask {
            unless: None,
            authorization: authorization(source, with)?,
        };
        let answer = self.ask(source, &ask, with)?;
        let download = answer.ok_or_else(|| WorldError::other("a server answered 304 unasked"))?;
        let brought = self.bring(source, download, with)?;
        let wanted = known.map(|known| known.digest);
        let wanted = wanted.or_else(|| source.checksum.clone());
        let got = &brought.content.digest;
        if let Some(wanted) = wanted.filter(|wanted| wanted != got) {
            let text = format!("digest mismatch {got}: {wanted}");
            self.discard_tree(&brought.tree);
            return Err(WorldError::other(text));
        }
        Ok(Fetched {
            tree: brought.tree,
            keep: None,
        })
    }

    fn ask(&self, source: &HttpSource, ask: &Ask, with: With<'_>) -> WorldResult<Option<Download>> {
        let registry = self.registry();
        let asked = within(with, registry.download_unless(&source.url, ask))?;
        asked.map_err(|error| match error {
            DownloadError::Refused { code, .. } => {
                WorldError::other(format!("invalid response status {code}"))
            }
            other => {
                let text = other.to_string();
                match std::error::Error::source(&other) {
                    Some(cause) => WorldError::caused(text, innermost(cause)),
                    None => WorldError::other(text),
                }
            }
        })
    }

    /// Writes what comes to a file in a step of its own.
    fn bring(
        &self,
        source: &HttpSource,
        download: Download,
        with: With<'_>,
    ) -> WorldResult<Brought> {
        let name = name_of(source, download.disposition.as_deref())?;
        let (tag, modified) = (download.tag.clone(), download.modified.clone());
        let step = self.new_step(&[])?;
        let digest = save(&step, &name, source, (download, with))?;
        Ok(Brought {
            tree: step.keep(),
            content: Content::new(source, name, digest, modified),
            tag,
        })
    }

    fn urls(&self) -> PathBuf {
        self.sources().join("http")
    }

    fn url_file(&self, source: &HttpSource) -> PathBuf {
        let digest = digest_of(&(&source.url, &source.auth_header_secret));
        self.urls().join(format!("{}.json", digest.hex()))
    }

    fn known_url(&self, source: &HttpSource) -> Option<Known> {
        let bytes = fs_err::read(self.url_file(source)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// What cannot be remembered is fetched again.
    fn remember_url(&self, source: &HttpSource, known: &Known) {
        let write = || -> std::io::Result<()> {
            let directory = self.urls();
            fs_err::create_dir_all(&directory)?;
            if fs_err::read_dir(&directory)?.count() >= MAX_KNOWN {
                fs_err::remove_dir_all(&directory)?;
                fs_err::create_dir_all(&directory)?;
            }
            let name = crate::names::id();
            let new = directory.join(format!("{name}.new"));
            fs_err::write(&new, serde_json::to_vec(known)?)?;
            fs_err::rename(&new, self.url_file(source))
        };
        if let Err(error) = write() {
            tracing::warn!(%error, "what was fetched of a URL was not remembered");
        }
    }
}

/// The secret's `Authorization` header, where the source names one that the client has.
fn authorization(source: &HttpSource, (job, _): With<'_>) -> WorldResult<Option<Secret>> {
    if source.auth_header_secret.is_empty() {
        return Ok(None);
    }
    let secret = job.client.secret(&source.auth_header_secret)?;
    let text = secret.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(text.map(Secret::from))
}

/// Waits for something, unless the build ends.
fn within<T>((job, runtime): With<'_>, work: impl Future<Output = T>) -> WorldResult<T> {
    let (woken, mut wake) = tokio::sync::oneshot::channel::<()>();
    let _wakes = job.cancel.on_cancel(move || {
        // The error means that it is over.
        let _ = woken.send(());
    });
    runtime.block_on(async {
        tokio::select! {
            done = work => Ok(done),
            Ok(()) = &mut wake => Err(WorldError::Cancelled),
        }
    })
}

/// Writes a file with its mode, owner and time; gives its digest.
fn save(
    step: &NewStep<'_>,
    name: &str,
    source: &HttpSource,
    (mut download, with): (Download, With<'_>),
) -> WorldResult<Digest> {
    let failed = |error: std::io::Error| WorldError::caused("write a fetched file", error);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let path = step.upper.join(name);
    let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(MODE));
    let mut file = File::from(file.map_err(|error| failed(error.into()))?);
    let mut hash = Sha256::new();
    within(with, async {
        while let Some(bytes) = download.bytes.next().await {
            let bytes = bytes
                .map_err(|error| WorldError::caused(format!("fetch {}", download.url), error))?;
            hash.update(&bytes);
            file.write_all(&bytes).map_err(failed)?;
        }
        Ok::<_, WorldError>(())
    })??;
    finish(&file, &path, source, download.modified.as_deref()).map_err(failed)?;
    Ok(Digest::from_sha256(&hash.finalize().into()))
}

fn finish(
    file: &File,
    path: &Path,
    source: &HttpSource,
    modified: Option<&str>,
) -> std::io::Result<()> {
    let owner = (Uid::from_raw(source.uid), Gid::from_raw(source.gid));
    rustix::fs::fchown(file, Some(owner.0), Some(owner.1))?;
    let mode = Mode::from_raw_mode(source.mode.unwrap_or(MODE) & 0o7777);
    rustix::fs::fchmod(file, mode)?;
    let time = Timespec {
        tv_sec: modified.and_then(seconds).unwrap_or(0),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::futimens(file, &times)?;
    // The directory's own time would tell when it was fetched.
    if let Some(parent) = path.parent() {
        let directory = rustix::fs::open(parent, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::futimens(&directory, &times)?;
    }
    Ok(())
}

/// The seconds of a date as HTTP writes it (RFC 9110, section 5.6.7; the obsolete forms are not read).
fn seconds(text: &str) -> Option<i64> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(zoned.timestamp().as_second())
}

/// The name a file gets: what the source says, else what the server says, else the URL's last part.
fn name_of(source: &HttpSource, disposition: Option<&str>) -> WorldResult<String> {
    if !source.filename.is_empty() {
        return checked_name(&source.filename);
    }
    let told = disposition.and_then(|text| {
        let name = text.split_once("filename=")?.1;
        let name = match name.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?.0,
            None => name.split(';').next()?.trim(),
        };
        checked_name(name.rsplit('/').next()?).ok()
    });
    if let Some(name) = told {
        return Ok(name);
    }
    let path = source.url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or("", |(_, rest)| rest);
    let last = path.split_once('/').map_or("", |(_, path)| path);
    let last = last.trim_end_matches('/').rsplit('/').next();
    Ok(last
        .and_then(|name| checked_name(name).ok())
        .unwrap_or_else(|| "download".to_owned()))
}

fn checked_name(name: &str) -> WorldResult<String> {
    let wrong =
        matches!(name, "" | "." | "..") || name.len() > MAX_NAME || name.contains(['/', '\0']);
    match wrong {
        true => Err(WorldError::Invalid(format!("invalid file name {name:?}"))),
        false => Ok(name.to_owned()),
    }
}

/// What people are told of a failed connection: the last of its causes.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_the_names_that_are_told_first() {
        let name = |url: &str, filename: &str, disposition: Option<&str>| {
            let source = HttpSource {
                url: url.to_owned(),
                filename: filename.to_owned(),
                ..HttpSource::default()
            };
            name_of(&source, disposition).map_err(|error| error.to_string())
        };
        let url = "http://h/a/b.tar?x=/y#z";
        assert_eq!(name(url, "", None).unwrap(), "b.tar");
        assert_eq!(name(url, "c", Some("attachment; filename=d")).unwrap(), "c");
        let told = Some("attachment; filename=\"../d e\"; x=y");
        assert_eq!(name(url, "", told).unwrap(), "d e");
        assert_eq!(name("http://h/", "", None).unwrap(), "download");
        assert_eq!(name("http://h", "", None).unwrap(), "download");
        assert!(name(url, "../x", None).is_err());
        assert_eq!(name("http://h/..", "", None).unwrap(), "download");
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:10 GMT"), Some(10));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("yesterday"), None);
    }
}
