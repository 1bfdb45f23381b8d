//! Where an entry goes, and what its name makes of it.

use super::archive::Entry;
use super::{Error, shown};
use std::collections::VecDeque;

const WHITEOUT: &[u8] = b".wh.";
/// Prefix of aufs's own files, which mean nothing but for the next one.
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// `PATH_MAX`: longer ones would make many directories from few bytes, too.
const MAX_PATH: usize = 4096;
/// `NAME_MAX`.
const MAX_NAME: usize = 255;

/// As many symbolic links as Linux follows on one way.
const MAX_LINKS: usize = 40;
/// Why a layer's links are not followed any more.
pub(crate) const EXHAUSTED: &str = "the layer's symbolic links lead on too long ways";
/// Why an entry has no place.
pub(crate) const ABOVE: &str = "a part of its path is a file in this layer";

/// A place in the tree.
#[derive(Debug)]
pub(crate) struct Place<'e> {
    /// The directories on the way.
    pub(crate) parents: Vec<&'e [u8]>,
    pub(crate) meaning: Meaning<'e>,
}

/// What an entry is about, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'e> {
    /// Nothing: a file of aufs's own.
    Nothing,
    /// The root directory's attributes.
    Root,
    /// Its directory hides all that lower layers have in it.
    Opaque,
    /// This name of lower layers is hidden.
    Whiteout(&'e [u8]),
    /// What has this name in its directory.
    Entry(&'e [u8]),
}

impl Place<'_> {
    /// What Linux refuses, whatever the file system is.
    fn too_long(&self, entry: &Entry) -> Option<&'static str> {
        let mut names = self.parents.iter().copied().chain(match self.meaning {
            Meaning::Nothing => return None,
            Meaning::Whiteout(name) | Meaning::Entry(name) => Some(name),
            Meaning::Root | Meaning::Opaque => None,
        });
        if entry.path.len() > MAX_PATH {
            Some("a path of more than 4096 bytes")
        } else if names.any(|name| name.len() > MAX_NAME) {
            Some("a name of more than 255 bytes")
        } else {
            None
        }
    }
}

/// The place of an entry.
///
/// # Errors
/// When it is outside of the layer, has a name that is too long, or is the whiteout of a name that
/// nothing can have.
pub(crate) fn place(entry: &Entry) -> Result<Place<'_>, Error> {
    let outside = || Error::Outside(shown(&entry.path));
    let mut parents = split(&entry.path).ok_or_else(outside)?;
    let meaning = match parents.pop() {
        None => Meaning::Root,
        _ if parents.iter().any(|part| part.starts_with(AUFS)) => Meaning::Nothing,
        Some(OPAQUE) => Meaning::Opaque,
        Some(name) if name.starts_with(AUFS) => Meaning::Nothing,
        Some(name) => match name.strip_prefix(WHITEOUT) {
            Some(b"" | b"." | b"..") => {
                return Err(Error::Entry {
                    entry: shown(&entry.path),
                    reason: "a whiteout of nothing",
                });
            }
            Some(hidden) => Meaning::Whiteout(hidden),
            None => Meaning::Entry(name),
        },
    };
    let place = Place { parents, meaning };
    match place.too_long(entry) {
        Some(reason) => Err(Error::Entry {
            entry: shown(&entry.path),
            reason,
        }),
        None => Ok(place),
    }
}

/// Gives the target of what has a name in a directory; `None` when that is no link, or nothing.
pub(crate) type LinkOf<'a> = &'a mut dyn FnMut(&[Vec<u8>], &[u8]) -> Option<Vec<u8>>;

/// What one layer may still cost in symbolic links that are followed: each part of their targets, and
/// the depth it is looked up at. A layer of which every path leads through links to eight
/// directories may have a million of them.
#[derive(Debug)]
pub(crate) struct Effort(u64);

impl Default for Effort {
    fn default() -> Self {
        Self(1 << 26)
    }
}

impl Effort {
    /// # Errors
    /// [`EXHAUSTED`].
    fn take(&mut self, depth: usize) -> Result<(), &'static str> {
        self.0 = self.0.saturating_sub(1 + depth as u64);
        if self.0 == 0 { Err(EXHAUSTED) } else { Ok(()) }
    }
}

/// Where a path leads when the symbolic links on its way are followed, with the layer as the root of
/// all. `link` is asked for the parts one after the other: each for a place that is the one before,
/// one above it, or the one before and the part that was asked for.
///
/// Docker follows them too, and makes what a link points at where it does not exist; a link that
/// leads out of the layer is an error there as well.
///
/// # Errors
/// Why there is no such place.
pub(crate) fn follow(
    path: &[&[u8]],
    effort: &mut Effort,
    link: LinkOf<'_>,
) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut pending: VecDeque<Vec<u8>> = path.iter().map(|part| part.to_vec()).collect();
    let mut place: Vec<Vec<u8>> = Vec::new();
    let mut length = 0;
    let mut links = 0;
    while let Some(part) = pending.pop_front() {
        // The path itself is no longer than its entry.
        if links > 0 {
            effort.take(place.len())?;
        }
        match part.as_slice() {
            b"" | b"." => continue,
            b".." => {
                let above = place.pop();
                let above =
                    above.ok_or("a part of its path is a symbolic link out of the layer")?;
                length -= above.len() + 1;
                continue;
            }
            _ => {}
        }
        let Some(target) = link(&place, &part) else {
            length += part.len() + 1;
            place.push(part);
            if length > MAX_PATH {
                return Err("its path leads deeper than 4096 bytes");
            }
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err("too many symbolic links on its path");
        }
        if target.starts_with(b"/") {
            place.clear();
            length = 0;
        }
        for part in target.split(|byte| *byte == b'/').rev() {
            pending.push_front(part.to_vec());
        }
    }
    Ok(place)
}

/// Splits a path into its parts. `..` is taken literally, as long as it does not leave the root;
/// an absolute path means one below the root.
pub(crate) fn split(path: &[u8]) -> Option<Vec<&[u8]>> {
    let absolute = path.first() == Some(&b'/');
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if parts.pop().is_none() && !absolute {
                    return None;
                }
            }
            part => parts.push(part),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        let joined = |path: &str| split(path.as_bytes()).map(|parts| parts.join(&b'/'));
        for (path, expected) in [
            ("./a//b/.", Some("a/b")),
            ("/a", Some("a")),
            ("a/../b", Some("b")),
            ("/../a", Some("a")),
            ("./", Some("")),
            ("", Some("")),
            ("../a", None),
            ("a/../../b", None),
        ] {
            assert_eq!(
                joined(path),
                expected.map(|e| e.as_bytes().to_vec()),
                "{path}"
            );
        }
    }
}
