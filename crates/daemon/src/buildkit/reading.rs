//! What clients read of a build's files. Links lead nowhere out of them: who built them does not own this machine.

use super::failure;
use super::filesync::described;
use super::grpc::MAX_MESSAGE;
use bollard_buildkit_proto::fsutil::types::Stat;
use hull_engine::Engine;
use hull_engine::build::Attested;
use hull_engine::build::ignore::Matcher;
use hull_engine::build::solve::Solution;
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use tonic::{Code, Status};

/// No directory with more entries is listed: clients ask for the few at the top.
const MAX_ENTRIES: usize = 100_000;

/// A build's files, put together.
pub(super) struct Files(Option<OwnedFd>);

impl Files {
    /// Opens them; of none there is nothing to be read.
    ///
    /// # Errors
    /// When they cannot be put together.
    pub(super) fn open(engine: &Engine, files: Option<&Solution>) -> Result<Self, Status> {
        let files = engine.loose_files(files, Attested::default());
        let files = files.map_err(|error| failure::of_engine(&error))?;
        let root = files.root().map(|root| root.try_clone_to_owned());
        Ok(Self(
            root.transpose()
                .map_err(|error| Status::internal(error.to_string()))?,
        ))
    }

    fn at(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let root = self.0.as_ref().ok_or(Errno::NOENT)?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = match path.trim_start_matches('/') {
            "" => ".",
            path => path,
        };
        Ok(openat2(
            root,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )?)
    }

    /// A file's bytes, or those from an offset on, as many as there are of a length.
    ///
    /// # Errors
    /// For what is no file, is not there, or does not fit into a message.
    pub(super) fn read(&self, path: &str, range: Option<(i64, i64)>) -> Result<Vec<u8>, Status> {
        let failed = |error: io::Error| told("open", path, &error);
        // A place only: what is no file is not opened, for with some devices that is an act of its own.
        let place = File::from(self.at(path, OFlags::PATH).map_err(failed)?);
        if !place.metadata().map_err(failed)?.is_file() {
            return Err(Status::unknown(format!("{path} is not a regular file")));
        }
        let file = fs_err::File::open(format!("/proc/self/fd/{}", place.as_raw_fd()));
        let mut file = file.map_err(failed)?;
        let mut length = u64::MAX;
        if let Some((from, most)) = range {
            let negative = |_| Status::invalid_argument(format!("read {path}: negative range"));
            let from = u64::try_from(from).map_err(negative)?;
            length = u64::try_from(most).map_err(negative)?;
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
        }
        // Room for the message around it.
        let most = (MAX_MESSAGE - 1024) as u64;
        let mut data = Vec::new();
        let read = file.take(length.min(most + 1)).read_to_end(&mut data);
        read.map_err(|error| told("read", path, &error))?;
        if data.len() as u64 > most {
            let text = format!("read {path}: larger than a message: ask for a part of it");
            return Err(Status::resource_exhausted(text));
        }
        Ok(data)
    }

    /// What a path leads to.
    ///
    /// # Errors
    /// For what is not there.
    pub(super) fn stat(&self, path: &str) -> Result<Stat, Status> {
        let found = self.at(path, OFlags::PATH);
        let name = Path::new(path).file_name().unwrap_or_default();
        found
            .and_then(|file| stat(&name.to_string_lossy(), file))
            .map_err(|error| told("lstat", path, &error))
    }

    /// What is in a directory, in order; with a pattern only what it fits.
    ///
    /// # Errors
    /// For what is no directory, and for one that has too much in it.
    pub(super) fn list(&self, path: &str, pattern: &str) -> Result<Vec<Stat>, Status> {
        let failed = |error: io::Error| told("open", path, &error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = self.at(path, flags).map_err(failed)?;
        let wanted = Some(pattern).filter(|pattern| !pattern.is_empty());
        let wanted = wanted.map(|pattern| Matcher::new(&[pattern])).transpose();
        let wanted = wanted.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut names = Vec::new();
        let entries = Dir::read_from(&directory).map_err(|error| failed(error.into()))?;
        for entry in entries {
            let entry = entry.map_err(|error| failed(error.into()))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if names.len() == MAX_ENTRIES {
                let text = format!("list {path}: more than {MAX_ENTRIES} entries");
                return Err(Status::resource_exhausted(text));
            }
            names.push(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
        }
        names.sort();
        let mut all = Vec::new();
        for name in names {
            let text = name.to_string_lossy();
            if wanted.as_ref().is_some_and(|wanted| !wanted.matches(&text)) {
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = rustix::fs::openat(&directory, &name, flags, Mode::empty());
            let found = found.map_err(io::Error::from);
            let found = found.and_then(|file| stat(&name.to_string_lossy(), file));
            all.push(found.map_err(failed)?);
        }
        Ok(all)
    }
}

fn stat(name: &str, file: OwnedFd) -> io::Result<Stat> {
    let metadata = File::from(file.try_clone()?).metadata()?;
    let target = match metadata.file_type().is_symlink() {
        true => Some(readlinkat(&file, "", Vec::new())?),
        false => None,
    };
    let target = target.map(|target| PathBuf::from(std::ffi::OsStr::from_bytes(target.as_bytes())));
    Ok(described(name, &metadata, target.as_deref()))
}

fn told(what: &str, path: &str, error: &io::Error) -> Status {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::NotFound,
        _ => Code::Unknown,
    };
    let text = match error.kind() {
        // As Go says it.
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        _ => error.to_string(),
    };
    Status::new(code, format!("{what} {path}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn files() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs_err::create_dir_all(root.join("d")).unwrap();
        fs_err::write(dir.path().join("outside"), "secret").unwrap();
        fs_err::write(root.join("d/file"), "0123456789").unwrap();
        fs_err::write(root.join("d/other"), "").unwrap();
        symlink("../../outside", root.join("d/up")).unwrap();
        symlink("/d/file", root.join("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = rustix::fs::open(&root, flags, Mode::empty()).unwrap();
        (dir, Files(Some(root)))
    }

    #[test]
    fn files_are_read_and_nothing_outside() {
        let (_dir, files) = files();
        assert_eq!(files.read("/link", None).unwrap(), b"0123456789");
        assert_eq!(files.read("d/file", Some((7, 100))).unwrap(), b"789");
        assert_eq!(files.read("d/file", Some((2, 2))).unwrap(), b"23");
        for (path, text) in [
            ("d/up", "no such file or directory"),
            ("../outside", "no such file or directory"),
            ("d", "not a regular file"),
            ("pipe", "not a regular file"),
            ("d/file/x", "not a directory"),
        ] {
            let status = files.read(path, None).unwrap_err();
            assert!(status.message().contains(text), "{status:?}");
        }
        assert!(files.read("d/file", Some((-1, 2))).is_err());
        assert!(Files(None).read("x", None).is_err());
    }

    #[test]
    fn directories_are_listed() {
        let (_dir, files) = files();
        let names = |pattern: &str| -> Vec<String> {
            let listed = files.list("/d", pattern).unwrap();
            listed.into_iter().map(|stat| stat.path).collect()
        };
        assert_eq!(names(""), ["file", "other", "up"]);
        assert_eq!(names("f*"), ["file"]);
        let up = files.list("d", "up").unwrap();
        assert_eq!(up[0].linkname, "../../outside");
        let stat = files.stat("link").unwrap();
        assert_eq!((stat.path.as_str(), stat.size), ("link", 10));
        assert!(files.list("link", "").is_err());
        assert_eq!(files.stat("none").unwrap_err().code(), Code::NotFound);
    }
}
