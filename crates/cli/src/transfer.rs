//! Archives between files and the daemon.

use crate::failure::{Failure, Outcome};
use crate::terminal::Signals;
use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use hull_api::client::{Body, Upload, upload};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// How much is read at once.
const PIECE: usize = 256 << 10;
/// How many pieces wait at most.
const WAITING: usize = 4;

/// What can be read, as something to send: a thread reads ahead of the connection.
pub(crate) fn sent(mut source: impl Read + Send + 'static) -> Upload {
    let (send, pieces) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = match source.read(&mut piece) {
                Ok(0) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(count) => {
                    piece.truncate(count);
                    Ok(piece)
                }
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            // The daemon has heard enough.
            if send.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    upload(pieces)
}

/// Opens a file to be sent, with Docker's words when there is none.
pub(crate) fn open(path: &str) -> Result<File, Failure> {
    File::open(path).map_err(|error| Failure::new(format!("open {path}: {}", plain(&error))))
}

/// An error of a file as Go words it.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.kind().to_string(),
    }
}

/// Refuses an output that cannot be written, before the daemon is asked for anything.
pub(crate) fn check_output(path: &str, terminal: bool) -> Result<(), String> {
    if path.is_empty() {
        return if terminal {
            Err("cowardly refusing to save to a terminal. Use the -o flag or redirect".to_owned())
        } else {
            Ok(())
        };
    }
    let parent = parent(path);
    let invalid = |why: &str| format!("invalid output path: stat {}: {why}", parent.display());
    match fs_err::metadata(&parent) {
        Ok(found) if found.is_dir() => replaceable(path),
        Ok(_) => Err(invalid("not a directory")),
        Err(error) => Err(invalid(&plain(&error))),
    }
}

/// Refuses what is no regular file: a rename over `/dev/stdout` or a pipe would take it from everybody.
fn replaceable(path: &str) -> Result<(), String> {
    let kind = match fs_err::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("stat {path}: {}", plain(&error))),
    };
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "directory",
        _ if kind.is_symlink() => "symbolic link directly",
        _ if kind.is_fifo() => "named pipe (FIFO)",
        _ if kind.is_socket() => "socket",
        _ if kind.is_block_device() => "block device file",
        _ => "character device file",
    };
    Err(format!("cannot write to a {what}"))
}

/// The directory a path is in. As in Go, one that ends in a slash is itself such a directory.
fn parent(path: &str) -> PathBuf {
    match Path::new(path).parent() {
        _ if path.ends_with('/') => PathBuf::from(path),
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Writes what the daemon sends to a file that only its owner may read, or to standard output. The file
/// has its name only when it is whole.
pub(crate) async fn received(body: Body, path: &str) -> Outcome {
    if path.is_empty() {
        return copy(body, &mut io::stdout()).await;
    }
    let name = Path::new(path).file_name().unwrap_or_default();
    let mut scratch = std::ffi::OsString::from(".");
    scratch.push(name);
    scratch.push(format!(".{}", std::process::id()));
    let scratch = parent(path).join(scratch);
    let written = async {
        let mut file = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&scratch)?;
        copy(body, &mut file).await?;
        // It may have come meanwhile.
        replaceable(path).map_err(Failure::new)?;
        fs_err::rename(&scratch, path)?;
        Ok(())
    };
    let mut signals = Signals::ending()?;
    let written: Outcome = tokio::select! {
        written = written => written,
        // The file without its name must not stay.
        name = signals.next() => Err(Failure::Exit(Signals::exit_code(name))),
    };
    if written.is_err() {
        // It may never have been made.
        let _ = fs_err::remove_file(&scratch);
    }
    written
}

async fn copy(mut body: Body, out: &mut impl io::Write) -> Outcome {
    while let Some(piece) = body.chunk().await? {
        out.write_all(&piece)?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_checked_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        assert!(check_output("", true).unwrap_err().starts_with("cowardly"));
        check_output("", false).unwrap();
        check_output(&path("new"), true).unwrap();
        assert_eq!(
            check_output(&path(""), true).unwrap_err(),
            "cannot write to a directory"
        );
        fs_err::write(path("file"), b"").unwrap();
        check_output(&path("file"), true).unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        std::os::unix::fs::symlink("nothing", path("dangling")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let fifo = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), fifo.0, fifo.1, 0).unwrap();
        for (name, expected) in [
            (path("link"), "cannot write to a symbolic link directly"),
            (path("dangling"), "cannot write to a symbolic link directly"),
            (path("socket"), "cannot write to a socket"),
            (path("fifo"), "cannot write to a named pipe (FIFO)"),
            (
                "/dev/null".to_owned(),
                "cannot write to a character device file",
            ),
        ] {
            assert_eq!(check_output(&name, true).unwrap_err(), expected, "{name}");
        }
        for (name, expected) in [
            ("none/x", "none: no such file or directory"),
            ("file/x", "file: not a directory"),
            ("file/", "not a directory"),
        ] {
            let error = check_output(&path(name), true).unwrap_err();
            assert!(error.starts_with("invalid output path: stat "), "{error}");
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
