//! Archives between files and the daemon.

use crate::failure::{Failure, Outcome};
use fs_err::File;
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
    let parent = parent(Path::new(path));
    if let Err(error) = fs_err::metadata(&parent) {
        let parent = parent.display();
        return Err(format!(
            "invalid output path: stat {parent}: {}",
            plain(&error)
        ));
    }
    match fs_err::metadata(path) {
        Ok(found) if found.is_dir() => Err("cannot write to a directory".to_owned()),
        Ok(found) if found.file_type().is_char_device() || found.file_type().is_block_device() => {
            Err("cannot write to a device".to_owned())
        }
        _ => Ok(()),
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Writes what the daemon sends to a file, or to standard output. The file has its name only when it
/// is whole.
pub(crate) async fn received(body: Body, path: &str) -> Outcome {
    if path.is_empty() {
        return copy(body, &mut io::stdout().lock()).await;
    }
    let name = Path::new(path).file_name().unwrap_or_default();
    let mut scratch = std::ffi::OsString::from(".");
    scratch.push(name);
    scratch.push(format!(".{}", std::process::id()));
    let scratch = parent(Path::new(path)).join(scratch);
    let written = async {
        let mut file = File::create_new(&scratch)?;
        copy(body, &mut file).await?;
        fs_err::rename(&scratch, path)?;
        Ok(())
    };
    let written: Outcome = written.await;
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

/// A platform as the daemon wants it with archives: JSON; empty stays empty.
pub(crate) fn platform(text: &str) -> Result<String, Failure> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let parts: Vec<&str> = text.split('/').collect();
    let (os, architecture, variant) = match parts.as_slice() {
        [os, architecture] => (*os, *architecture, ""),
        [os, architecture, variant] => (*os, *architecture, *variant),
        [architecture] => ("linux", *architecture, ""),
        _ => {
            return Err(Failure::new(format!(
                "invalid platform: {text:?}: cannot parse platform specifier: invalid argument"
            )));
        }
    };
    let mut platform = serde_json::json!({"architecture": architecture, "os": os});
    if !variant.is_empty() {
        platform["variant"] = variant.into();
    }
    Ok(platform.to_string())
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
        let error = check_output(&path("none/x"), true).unwrap_err();
        assert!(
            error.ends_with("none: no such file or directory"),
            "{error}"
        );
    }

    #[test]
    fn platforms_become_json() {
        assert_eq!(platform("").unwrap(), "");
        assert_eq!(
            platform("linux/arm64/v8").unwrap(),
            r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#
        );
        assert!(platform("a/b/c/d").is_err());
    }
}
