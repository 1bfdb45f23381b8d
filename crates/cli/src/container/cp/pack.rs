//! Local files as an archive for a container.

use super::told;
use std::collections::HashMap;
use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tar::{Builder, EntryType, Header, HeaderMode};
use tokio::sync::mpsc;

/// How much is handed over at once.
const PIECE: usize = 256 << 10;

/// Writes what is at `path`, under `name`, which may be `.` for what is in a directory only. Blocking.
///
/// # Errors
/// What cannot be read; the archive is broken off then.
pub(super) fn all(
    path: &str,
    name: &str,
    pieces: mpsc::Sender<io::Result<Vec<u8>>>,
    copied: &AtomicU64,
) -> Result<(), String> {
    let out = Pieces {
        pieces: pieces.clone(),
        current: Vec::with_capacity(PIECE),
        copied,
    };
    let mut archive = Packing {
        builder: Builder::new(out),
        links: HashMap::new(),
    };
    let name = if name == "." { "" } else { name };
    let written = archive
        .add(Path::new(path), Path::new(name))
        .and_then(|()| archive.finish());
    match written {
        // Nobody takes it any more: the daemon has said why.
        Err(Failed::Gone) | Ok(()) => Ok(()),
        Err(Failed::Read(why)) => {
            let _ = pieces.blocking_send(Err(io::Error::other(why.clone())));
            Err(why)
        }
    }
}

enum Failed {
    Gone,
    Read(String),
}

struct Packing<'p> {
    builder: Builder<Pieces<'p>>,
    /// The first name of every file that has several.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Packing<'_> {
    fn finish(self) -> Result<(), Failed> {
        let done = self.builder.into_inner();
        done.and_then(|mut out| out.flush())
            .map_err(|_| Failed::Gone)
    }

    /// Adds a file, or a directory and all that is in it, in the order of names.
    fn add(&mut self, path: &Path, name: &Path) -> Result<(), Failed> {
        let failed = |operation: &'static str| {
            move |error: io::Error| Failed::Read(told(operation, path, &error))
        };
        let about = std::fs::symlink_metadata(path).map_err(failed("lstat"))?;
        if !name.as_os_str().is_empty() {
            self.entry(path, name, &about)?;
        }
        if !about.is_dir() {
            return Ok(());
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed("open"))? {
            names.push(entry.map_err(failed("readdir"))?.file_name());
        }
        names.sort_unstable();
        for below in names {
            self.add(&path.join(&below), &name.join(&below))?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &Path, about: &Metadata) -> Result<(), Failed> {
        let kind = about.file_type();
        if kind.is_socket() {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        header.set_metadata_in_mode(about, HeaderMode::Complete);
        header.set_size(0);
        let gone = |_| Failed::Gone;
        let inode = (about.dev(), about.ino());
        if !kind.is_dir() && about.nlink() > 1 {
            if let Some(first) = self.links.get(&inode) {
                header.set_entry_type(EntryType::Link);
                let linked = self.builder.append_link(&mut header, name, first);
                return linked.map_err(gone);
            }
            self.links.insert(inode, name.to_owned());
        }
        if kind.is_symlink() {
            let target = std::fs::read_link(path);
            let target = target.map_err(|error| Failed::Read(told("readlink", path, &error)))?;
            let linked = self.builder.append_link(&mut header, name, target);
            return linked.map_err(gone);
        }
        if !kind.is_file() {
            // A directory's name ends with a slash.
            let name = match kind.is_dir() {
                true => name.join(""),
                false => name.to_owned(),
            };
            return self
                .builder
                .append_data(&mut header, name, io::empty())
                .map_err(gone);
        }
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
        let file = file.map_err(|errno| Failed::Read(told("open", path, &errno.into())))?;
        let file = std::fs::File::from(file);
        self.capability(path)?;
        header.set_size(about.len());
        // It may shrink or grow while it is read: as long as it was, whatever comes.
        let data = io::Read::take(io::Read::chain(file, io::repeat(0)), about.len());
        self.builder
            .append_data(&mut header, name, data)
            .map_err(gone)
    }

    /// The one extended attribute that Docker sends.
    fn capability(&mut self, path: &Path) -> Result<(), Failed> {
        let mut value = [0; 64];
        let name = "security.capability";
        let Ok(length) = rustix::fs::lgetxattr(path.as_os_str().as_bytes(), name, &mut value)
        else {
            return Ok(());
        };
        let record = [("SCHILY.xattr.security.capability", &value[..length])];
        self.builder
            .append_pax_extensions(record)
            .map_err(|_| Failed::Gone)
    }
}

/// Pieces of an archive on their way.
struct Pieces<'p> {
    pieces: mpsc::Sender<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    copied: &'p AtomicU64,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.current.len());
        self.current.extend_from_slice(&bytes[..count]);
        if self.current.len() == PIECE {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.current, Vec::with_capacity(PIECE));
        self.copied.fetch_add(full.len() as u64, Ordering::Relaxed);
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.blocking_send(Ok(full)).map_err(gone)
    }
}
