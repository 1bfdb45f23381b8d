//! `cp`: files out of a container and into it.

mod place;
mod view;

use super::live::Container;
use super::{State, user};
use crate::stream::{Incoming, Outgoing, Reader, written_by};
use crate::{Engine, Error, ErrorKind, Result, blocking};
use hull_image::Snapshotter;
use hull_image::archive::decompressed;
use hull_image::{diff, extract};
use jiff::Timestamp;
use place::{Found, Place};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatVfsMountFlags, StatxFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use view::{Access, View};

/// What a path in a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// The last part of the path as it was asked for.
    pub name: String,
    /// Bytes; of a directory what its file system says.
    pub size: u64,
    /// Type and permissions, as stat(2) has them.
    pub mode: u32,
    /// When it was changed last.
    pub mtime: Timestamp,
    /// Where a link leads in the end, as an absolute path in the container; empty for anything else.
    pub link_target: String,
}

/// How files come into a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// A directory is not replaced by something else, nor the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// The files become those of the container's user, where it has one.
    pub copy_uid_gid: bool,
}

impl Engine {
    /// What a path in a container is, whether it runs or not. Mounts are seen, and tmpfs mounts while it
    /// runs; links are followed within the container, the last one not.
    ///
    /// # Errors
    /// `NotFound` for a container or a path that is not there.
    pub async fn archive_stat(self: &Arc<Self>, name: &str, path: &str) -> Result<PathStat> {
        let container = self.find_whole(name)?;
        let (engine, named, path) = (Arc::clone(self), name.to_owned(), path.to_owned());
        blocking(move || {
            let view = engine.view(&container, Access::Read)?;
            let place = Place::of(&path);
            let (_, stat) = place
                .find(&view.root)
                .map_err(|error| missing(error, &path, &named))?;
            Ok(stat)
        })
        .await
    }

    /// A file or directory of a container as a tar archive. Dropping the stream ends it.
    ///
    /// # Errors
    /// As [`Engine::archive_stat`]; later ones are the stream's last element.
    pub async fn archive_get(
        self: &Arc<Self>,
        name: &str,
        path: &str,
    ) -> Result<(PathStat, Outgoing)> {
        let container = self.find_whole(name)?;
        let (engine, named, path) = (Arc::clone(self), name.to_owned(), path.to_owned());
        let looked_at = Arc::clone(&container);
        let (view, stat, found) = blocking(move || {
            let view = engine.view(&looked_at, Access::Read)?;
            let (found, stat) = Place::of(&path)
                .find(&view.root)
                .map_err(|error| missing(error, &path, &named))?;
            Ok((view.root, stat, found))
        })
        .await?;
        self.tell_container(&container, "archive-path", &[]);
        let shown = stat.name.clone();
        let archive = written_by(move |out| {
            let part = match &found {
                Found::Directory(directory) => diff::Part::Directory(directory.as_fd()),
                Found::Entry(parent, name) => diff::Part::Entry(parent.as_fd(), name),
            };
            let written = diff::part(part, shown.as_bytes(), out);
            // The mounts are there for as long as this is.
            drop(view);
            written.map_err(super::export::diff_error)
        });
        Ok((stat, archive))
    }

    /// Extracts a tar archive, which may be compressed, into a directory of a container.
    ///
    /// # Errors
    /// `NotFound` for a container or a path that is not there, `InvalidInput` when that is no directory or
    /// read-only. What was extracted before an error stays.
    pub async fn archive_put(
        self: &Arc<Self>,
        name: &str,
        path: &str,
        options: PutOptions,
        body: Incoming,
    ) -> Result<()> {
        let container = self.find_whole(name)?;
        let (engine, named, path) = (Arc::clone(self), name.to_owned(), path.to_owned());
        let filled = Arc::clone(&container);
        let body = Reader::new(body);
        blocking(move || {
            let view = engine.view(&filled, Access::Write)?;
            let place = Place::of(&path);
            let directory = place
                .directory(&view.root)
                .map_err(|error| missing(error, &path, &named))?
                .ok_or_else(|| invalid("extraction point is not a directory"))?;
            refuse_read_only(&view, &directory)?;
            let options = extract::Options {
                keep_kind: options.no_overwrite_dir_non_dir,
                owner: match options.copy_uid_gid {
                    true => engine.owner(&filled)?,
                    false => None,
                },
            };
            let mut archive = decompressed(body).map_err(|error| {
                Error::new(ErrorKind::Internal, "could not read the archive").caused_by(error)
            })?;
            let target = (&view.root, place.path(), directory);
            extract::extract(&mut archive, target, options)
                .map_err(|error| crate::image::wrapped(ErrorKind::Internal, &error))
        })
        .await?;
        self.tell_container(&container, "extract-to-dir", &[]);
        Ok(())
    }

    /// A container whose files are all there.
    fn find_whole(&self, name: &str) -> Result<Arc<Container>> {
        let container = self.find(name)?;
        match container.read(|record| record.state.clone()) {
            State::Removing { .. } | State::Dead { .. } => {
                let text = format!("container {} is marked for removal", container.id);
                Err(Error::new(ErrorKind::Conflict, text))
            }
            _ => Ok(container),
        }
    }

    /// Who a container's files belong to when they are to be its user's.
    fn owner(&self, container: &Container) -> Result<Option<(u32, u32)>> {
        let text = container.read(|record| record.effective.user.clone());
        if text.is_empty() {
            return Ok(None);
        }
        let root = self.snapshots.root_fs(&container.id);
        let root = root.map_err(crate::image::snapshot_error)?;
        let user = user::resolve(&root, &text, &[])
            .map_err(|error| Error::new(ErrorKind::InvalidInput, error.full_message()))?
            .user;
        Ok(Some((user.uid, user.gid)))
    }
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

/// Docker's words for a path that is not there, and for one that cannot be looked at.
fn missing(error: io::Error, path: &str, container: &str) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        let text = format!("Could not find the file {path} in container {container}");
        return Error::new(ErrorKind::NotFound, text);
    }
    // As Go words it: without the number, and small.
    let why = error.to_string();
    let why = why.split(" (os error").next().unwrap_or_default();
    let text = format!("lstat {}: {}", Place::of(path).shown(), why.to_lowercase());
    Error::new(ErrorKind::Internal, text)
}

/// # Errors
/// `InvalidInput` for a directory that nothing can be put into, which is said before anything was tried.
fn refuse_read_only(view: &View<'_>, directory: &OwnedFd) -> Result<()> {
    let unknown = |errno: rustix::io::Errno| {
        Error::new(ErrorKind::Internal, "could not look at the directory")
            .caused_by(io::Error::from(errno))
    };
    let about = rustix::fs::fstatvfs(directory).map_err(unknown)?;
    if !about.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let mount = |of: rustix::fd::BorrowedFd<'_>| {
        let (flags, mask) = (AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
        rustix::fs::statx(of, "", flags, mask).map(|about| about.stx_mnt_id)
    };
    let of_root = mount(view.root.as_fd()).map_err(unknown)?;
    Err(invalid(
        if mount(directory.as_fd()).map_err(unknown)? == of_root {
            "container rootfs is marked read-only"
        } else {
            "mounted volume is marked read-only"
        },
    ))
}

/// Opens a directory that is open as a place only.
fn readable(directory: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, ".", flags, Mode::empty())?)
}

fn is_directory(mode: u32) -> bool {
    FileType::from_raw_mode(mode) == FileType::Directory
}
