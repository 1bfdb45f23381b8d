//! A container's archive as local files. It comes from a stranger: nothing is written through a link, and
//! nothing outside of where it goes.

use super::path::{Info, local_target, prepare, split};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use tar::{Archive, Entry, EntryType};
use tokio::sync::mpsc;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Extracts what comes to `target`. Blocking.
///
/// # Errors
/// In Docker's words.
pub(super) fn into(
    source: &Info,
    target: &str,
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
) -> Result<(), String> {
    let found = local_target(target)?;
    let prepared = prepare(source, &found)?;
    let mut renames = Vec::new();
    if !source.rebase.is_empty() {
        renames.push((split(&source.path).1, source.rebase.clone()));
    }
    renames.extend(prepared.rename);
    let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
    let directory = rustix::fs::open(&prepared.directory, flags, Mode::empty())
        .map_err(|errno| said("open", prepared.directory.as_bytes(), errno))?;
    let mut place = Place {
        path: prepared.directory,
        directory,
        renames,
        directories: Vec::new(),
    };
    let mut archive = Archive::new(Incoming {
        pieces,
        current: Vec::new(),
        taken: 0,
    });
    for entry in archive.entries().map_err(broken)? {
        place.add(&mut entry.map_err(broken)?)?;
    }
    place.finish();
    Ok(())
}

/// Extracts an archive below a directory. Blocking.
///
/// # Errors
/// In Docker's words.
pub(crate) fn below(directory: &Path, archive: &mut dyn Read) -> Result<(), String> {
    let path = directory.to_string_lossy().into_owned();
    let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
    let opened = rustix::fs::open(directory, flags, Mode::empty())
        .map_err(|errno| said("open", path.as_bytes(), errno))?;
    let mut place = Place {
        path,
        directory: opened,
        renames: Vec::new(),
        directories: Vec::new(),
    };
    for entry in Archive::new(archive).entries().map_err(broken)? {
        place.add(&mut entry.map_err(broken)?)?;
    }
    place.finish();
    Ok(())
}

fn broken(error: io::Error) -> String {
    format!("error reading the archive: {error}")
}

fn said(operation: &str, path: &[u8], errno: Errno) -> String {
    super::told(operation, Path::new(OsStr::from_bytes(path)), &errno.into())
}

/// Where files go.
struct Place {
    path: String,
    directory: OwnedFd,
    /// What first comes to be called what.
    renames: Vec<(String, String)>,
    /// Modes and times, for when nothing comes into them any more.
    directories: Vec<(Vec<u8>, u32, i64)>,
}

impl Place {
    /// An entry's name here.
    fn renamed(&self, name: &[u8]) -> Vec<u8> {
        let mut name = name.to_vec();
        for (old, new) in &self.renames {
            // The root's entries have nothing before their slash.
            let old = if old == "/" { "" } else { old };
            let at = name
                .windows(old.len().max(1))
                .position(|part| old.is_empty() || part == old.as_bytes());
            if let Some(at) = at {
                name.splice(at..at + old.len(), new.bytes());
            }
        }
        name
    }

    fn add<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), String> {
        let path = self.renamed(&entry.path_bytes());
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let mut parts = self.parts(&path)?;
        let Some(name) = parts.pop() else {
            return Ok(());
        };
        let parent = self.open(&parts, true)?;
        let parent = parent.as_ref().unwrap_or(&self.directory).as_fd();
        let is_directory = kind == EntryType::Directory;
        self.make_room(parent, name, &path, is_directory)?;
        let failed = |operation: &'static str| {
            let path = path.clone();
            move |errno| said(operation, &path, errno)
        };
        let link = entry.link_name_bytes().map(|link| link.into_owned());
        let link = link.unwrap_or_default();
        let mode = entry.header().mode().unwrap_or(0o644) & 0o7777;
        let mtime = entry.header().mtime().unwrap_or(0).cast_signed();
        match kind {
            EntryType::Directory => {
                match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed("mkdir")(errno)),
                }
                self.directories.push((path, mode, mtime));
                return Ok(());
            }
            EntryType::Symlink => {
                rustix::fs::symlinkat(link.as_slice(), parent, name).map_err(failed("symlink"))?;
            }
            EntryType::Link => return self.link(&link, parent, name),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                node(entry.header(), parent, name).map_err(failed("mknod"))?;
            }
            _ => {
                let file = write(entry, parent, name, &path)?;
                let permissions = Mode::from_raw_mode(mode);
                rustix::fs::fchmod(&file, permissions).map_err(failed("chmod"))?;
            }
        }
        rustix::fs::utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("chtimes"))
    }

    /// Gives a file that came before another name.
    fn link(&self, target: &[u8], parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), String> {
        let target = self.renamed(target);
        let mut parts = self.parts(&target)?;
        let old = parts.pop().unwrap_or(b".");
        let there = self.open(&parts, false)?;
        let there = there.as_ref().unwrap_or(&self.directory);
        rustix::fs::linkat(there, old, parent, name, AtFlags::empty())
            .map_err(|errno| said("link", &target, errno))
    }

    /// Takes away what has the name, but for a directory where a directory comes.
    fn make_room(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        is_directory: bool,
    ) -> Result<(), String> {
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat.map_err(|errno| said("lstat", path, errno))?,
        };
        let there = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let shown = format!("{}/{}", self.path, String::from_utf8_lossy(path));
        let shown = shown.trim_end_matches('/');
        match (there, is_directory) {
            (true, true) => Ok(()),
            (false, false) => rustix::fs::unlinkat(parent, name, AtFlags::empty())
                .map_err(|errno| said("unlink", path, errno)),
            (true, false) => Err(format!(
                "cannot overwrite directory {shown:?} with non-directory {:?}",
                self.path
            )),
            (false, true) => Err(format!(
                "cannot overwrite non-directory {shown:?} with directory {:?}",
                self.path
            )),
        }
    }

    /// The parts of a name, none of which leads upwards.
    fn parts<'n>(&self, name: &'n [u8]) -> Result<Vec<&'n [u8]>, String> {
        let parts = name.split(|byte| *byte == b'/');
        let parts: Vec<&[u8]> = parts.filter(|part| !matches!(*part, b"" | b".")).collect();
        if parts.contains(&b"..".as_slice()) {
            let name = String::from_utf8_lossy(name);
            return Err(format!("{name:?} is outside of {:?}", self.path));
        }
        Ok(parts)
    }

    /// Opens the directory of an entry; `None` is the place itself.
    fn open(&self, parts: &[&[u8]], make: bool) -> Result<Option<OwnedFd>, String> {
        let mut open: Option<OwnedFd> = None;
        for part in parts {
            let here = open.as_ref().unwrap_or(&self.directory);
            let next = match rustix::fs::openat(here, *part, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    let mode = Mode::from_raw_mode(0o755);
                    rustix::fs::mkdirat(here, *part, mode)
                        .and_then(|()| rustix::fs::openat(here, *part, DIRECTORY, Mode::empty()))
                }
                next => next,
            };
            open = Some(next.map_err(|errno| said("open", &parts.join(&b'/'), errno))?);
        }
        Ok(open)
    }

    /// Modes and times of directories, the deepest first; best effort, as they may be gone.
    fn finish(mut self) {
        for (path, mode, mtime) in std::mem::take(&mut self.directories).into_iter().rev() {
            let Ok(parts) = self.parts(&path) else {
                continue;
            };
            if let Ok(Some(directory)) = self.open(&parts, false) {
                let _ = rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode));
                let _ = rustix::fs::futimens(&directory, &times(mtime));
            }
        }
    }
}

fn node(header: &tar::Header, parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let kind = match header.entry_type() {
        EntryType::Char => FileType::CharacterDevice,
        EntryType::Block => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    let number = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0);
    let device = rustix::fs::makedev(number(header.device_major()), number(header.device_minor()));
    let mode = Mode::from_raw_mode(header.mode().unwrap_or(0o644) & 0o7777);
    rustix::fs::mknodat(parent, name, kind, mode, device)
}

/// Writes a new file.
fn write<R: Read>(
    entry: &mut Entry<'_, R>,
    parent: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
) -> Result<OwnedFd, String> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| said("open", path, errno))?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = entry.read(&mut buffer).map_err(broken)?;
        let mut rest = &buffer[..count];
        if rest.is_empty() {
            return Ok(file);
        }
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))
                .map_err(|errno| said("write", path, errno))?;
            rest = &rest[written..];
        }
    }
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// What comes, to be read.
struct Incoming {
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    taken: usize,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.current.len() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => (self.current, self.taken) = (piece?, 0),
            }
        }
        let count = buffer.len().min(self.current.len() - self.taken);
        buffer[..count].copy_from_slice(&self.current[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extract(dir: &Path, entries: &[(&str, EntryType, &str)]) -> Result<(), String> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            let data = match kind {
                EntryType::Regular | EntryType::Directory => *content,
                _ => {
                    let link = &mut header.as_old_mut().linkname;
                    link[..content.len()].copy_from_slice(content.as_bytes());
                    ""
                }
            };
            header.set_size(data.len() as u64);
            header.set_cksum();
            builder.append(&header, data.as_bytes()).unwrap();
        }
        let (send, pieces) = mpsc::channel(1);
        send.blocking_send(Ok(builder.into_inner().unwrap()))
            .unwrap();
        drop(send);
        let source = Info {
            path: "/d".to_owned(),
            exists: true,
            is_directory: true,
            rebase: String::new(),
        };
        into(&source, &dir.join("new").display().to_string(), pieces)
    }

    #[test]
    fn archives_of_strangers_stay_where_they_belong() {
        use EntryType::{Directory, Link, Regular, Symlink};
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs_err::create_dir(&victim).unwrap();
        extract(
            dir.path(),
            &[
                ("d/", Directory, ""),
                ("d/f", Regular, "1"),
                ("d/g", Link, "d/f"),
                ("d/s", Symlink, "../victim"),
            ],
        )
        .unwrap();
        assert_eq!(
            fs_err::read_to_string(dir.path().join("new/g")).unwrap(),
            "1"
        );
        // It is there now, so that what comes goes into it under its own name.
        let through = [("s/x", Regular, "evil")];
        assert!(extract(dir.path(), &through).is_err());
        assert!(extract(dir.path(), &[("d/../../x", Regular, "evil")]).is_err());
        let outside = [("h", Link, "s/../x")];
        assert!(extract(dir.path(), &outside).is_err());
        let error = extract(dir.path(), &[("f/", Directory, "")]).unwrap_err();
        assert!(
            error.starts_with("cannot overwrite non-directory"),
            "{error}"
        );
        assert_eq!(fs_err::read_dir(&victim).unwrap().count(), 0);
    }
}
