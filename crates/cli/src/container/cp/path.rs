//! Paths as `docker cp` reads them: a `/` or `/.` at the end has a meaning, and which name a copy gets
//! depends on what is where.

use super::told;
use crate::failure::Failure;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// As many links as Docker follows to where something shall go.
const MAX_LINKS: usize = 10;

/// One end of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) path: String,
    pub(super) exists: bool,
    pub(super) is_directory: bool,
    /// The name it is to have instead of its own; empty for none.
    pub(super) rebase: String,
}

/// Where an archive is extracted, and the first part of whose names becomes what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) directory: String,
    pub(super) rename: Option<(String, String)>,
}

pub(super) fn is_absolute(path: &str) -> bool {
    path.starts_with('/')
}

/// Go's `filepath.Base`.
pub(super) fn base(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        trimmed => trimmed.rsplit('/').next().unwrap_or(trimmed),
    }
}

/// Go's `filepath.Clean`.
pub(super) fn clean(path: &str) -> String {
    let absolute = is_absolute(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    match (absolute, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

fn insists(path: &str) -> bool {
    path.ends_with('/') || base(path) == "."
}

/// A clean path with the ending that the user gave it.
fn preserve(mut cleaned: String, original: &str) -> String {
    if base(&cleaned) != "." && base(original) == "." {
        if !cleaned.ends_with('/') {
            cleaned.push('/');
        }
        cleaned.push('.');
    }
    if !cleaned.ends_with('/') && original.ends_with('/') {
        cleaned.push('/');
    }
    cleaned
}

/// A local path from the root on.
pub(super) fn absolute(path: &str) -> Result<String, Failure> {
    let whole = match is_absolute(path) {
        true => path.to_owned(),
        false => format!("{}/{path}", std::env::current_dir()?.display()),
    };
    Ok(preserve(clean(&whole), path))
}

/// Directory and name; a `.` at the end is a name.
pub(super) fn split(path: &str) -> (String, String) {
    let mut cleaned = clean(path);
    if base(path) == "." {
        cleaned.push_str("/.");
    }
    let directory = match cleaned.rfind('/') {
        Some(0) => "/",
        Some(at) => &cleaned[..at],
        None => ".",
    };
    // `//.` of the root is the root.
    let directory = clean(directory);
    (directory, base(&cleaned).to_owned())
}

/// A path whose links were followed gets the ending back, and the name it was asked for by.
pub(super) fn rebase(path: &str, mut resolved: String) -> (String, String) {
    if base(path) == "." && base(&resolved) != "." {
        resolved.push_str("/.");
    }
    if path.ends_with('/') && !resolved.ends_with('/') {
        resolved.push('/');
    }
    let name = match base(path) == base(&resolved) {
        true => String::new(),
        false => base(path).to_owned(),
    };
    (resolved, name)
}

/// What is copied, of a local, absolute path: links before the last part are followed, and that one too
/// if it is asked for.
pub(super) fn local_source(path: &str, follow: bool) -> Result<Info, Failure> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let failed = |path: &str| {
        let path = path.to_owned();
        move |error: std::io::Error| Failure::new(told("lstat", Path::new(&path), &error))
    };
    let (resolved, name) = if follow {
        let resolved = std::fs::canonicalize(path).map_err(failed(path))?;
        rebase(path, text(resolved))
    } else {
        let at = path.rfind('/').map_or(0, |at| at + 1);
        let (directory, last) = path.split_at(at);
        let parent =
            std::fs::canonicalize(directory).map_err(failed(directory.trim_end_matches('/')))?;
        let resolved = match text(parent) {
            root if root == "/" => format!("/{last}"),
            parent => format!("{parent}/{last}"),
        };
        let renamed = path.ends_with('/') && base(path) != base(&resolved);
        let name = if renamed { base(path) } else { "" };
        (resolved, name.to_owned())
    };
    let found = std::fs::symlink_metadata(&resolved).map_err(failed(&resolved))?;
    Ok(Info {
        is_directory: found.is_dir(),
        exists: true,
        path: resolved,
        rebase: name,
    })
}

/// Where something goes, of a local path: every link is followed, and the last may lead to nothing.
pub(super) fn local_target(path: &str) -> Result<Info, String> {
    let mut place = path.to_owned();
    for _ in 0..=MAX_LINKS {
        let found = match std::fs::symlink_metadata(&place) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let parent = split(&place).0;
                let parent_found = std::fs::metadata(&parent)
                    .map_err(|error| told("stat", Path::new(&parent), &error))?;
                if !parent_found.is_dir() {
                    return Err("not a directory".to_owned());
                }
                return Ok(Info {
                    path: place,
                    ..Info::default()
                });
            }
            found => found.map_err(|error| told("lstat", Path::new(&place), &error))?,
        };
        if !found.is_symlink() {
            return Ok(Info {
                path: place,
                exists: true,
                is_directory: found.is_dir(),
                rebase: String::new(),
            });
        }
        let target = std::fs::read_link(&place)
            .map_err(|error| told("readlink", Path::new(&place), &error))?;
        let target = target.to_string_lossy().into_owned();
        place = match is_absolute(&target) {
            true => target,
            false => clean(&format!("{}/{target}", split(&place).0)),
        };
    }
    Err(format!("too many symlinks in {path}"))
}

/// Which directory an archive goes into, and what its first name becomes there.
///
/// # Errors
/// In Docker's words, when the two ends do not go together.
pub(super) fn prepare(source: &Info, target: &Info) -> Result<Prepared, String> {
    let (parent, new) = split(&target.path);
    if target.exists && target.is_directory {
        return Ok(Prepared {
            directory: target.path.clone(),
            rename: None,
        });
    }
    if target.exists && source.is_directory {
        return Err("cannot copy directory".to_owned());
    }
    if !target.exists && !source.is_directory && insists(&target.path) {
        return Err("no such directory".to_owned());
    }
    let old = match source.rebase.is_empty() {
        true => split(&source.path).1,
        false => source.rebase.clone(),
    };
    Ok(Prepared {
        directory: parent,
        rename: Some((old, new)),
    })
}

/// Refuses a place for what comes out before anything is asked for, as Docker words it.
pub(super) fn check_output(path: &str) -> Result<(), String> {
    let directory = split(path.trim_end_matches('/')).0;
    if path != "-" && !Path::new(&directory).exists() {
        return Err(format!(
            "invalid output path: directory {directory:?} does not exist"
        ));
    }
    match std::fs::metadata(path) {
        Ok(found) if found.file_type().is_char_device() || found.file_type().is_block_device() => {
            Err(format!(
                "invalid output path: {path:?} must be a directory or a regular file: got a device"
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_as_go_does() {
        for (path, cleaned, name, parts) in [
            ("/a/b", "/a/b", "b", ("/a", "b")),
            ("/a/b/", "/a/b", "b", ("/a", "b")),
            ("/a/b/.", "/a/b", ".", ("/a/b", ".")),
            ("/a/../b", "/b", "b", ("/", "b")),
            ("a", "a", "a", (".", "a")),
            ("../a", "../a", "a", ("..", "a")),
            ("/", "/", "/", ("/", "/")),
            ("/.", "/", ".", ("/", ".")),
            ("", ".", ".", (".", ".")),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
            assert_eq!(base(path), name, "{path}");
            let (directory, last) = split(path);
            assert_eq!((directory.as_str(), last.as_str()), parts, "{path}");
        }
        assert_eq!(preserve("/a".to_owned(), "a/."), "/a/.");
        assert_eq!(preserve("/a".to_owned(), "a/"), "/a/");
    }

    /// The table of `docker cp`'s manual.
    #[test]
    fn names_depend_on_what_is_where() {
        let info = |path: &str, exists, is_directory| Info {
            path: path.to_owned(),
            exists,
            is_directory,
            rebase: String::new(),
        };
        let file = info("/s/f", true, false);
        let directory = info("/s/d", true, true);
        let renamed = |source: &Info, target: &Info| {
            let prepared = prepare(source, target)?;
            Ok::<_, String>((prepared.directory, prepared.rename.map(|(_, new)| new)))
        };
        let to = |directory: &str, new: &str| Ok((directory.to_owned(), Some(new.to_owned())));
        let refused = |why: &str| Err(why.to_owned());
        let (there, nothing) = (info("/t/x", true, false), info("/t/x", false, false));
        assert_eq!(renamed(&file, &there), to("/t", "x"));
        assert_eq!(renamed(&file, &nothing), to("/t", "x"));
        assert_eq!(renamed(&directory, &nothing), to("/t", "x"));
        assert_eq!(
            renamed(&directory, &there),
            refused("cannot copy directory")
        );
        let insisting = info("/t/x/", false, false);
        assert_eq!(renamed(&file, &insisting), refused("no such directory"));
        let place = info("/t", true, true);
        assert_eq!(renamed(&directory, &place), Ok(("/t".to_owned(), None)));
        assert_eq!(
            rebase("/a/link/", "/b/real".to_owned()),
            ("/b/real/".to_owned(), "link".to_owned())
        );
    }
}
