//! Upper directories as layers, and trees as archives.

use super::walk::{Found, Step, Walk};
use super::writer::{Header, Records, Type, Writer};
use super::{Error, stubs};
use hull_linux::xattr;
use rustix::fd::BorrowedFd;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::collections::HashMap;
use std::io::Write;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const OPAQUE_ATTRIBUTE: &[u8] = b"trusted.overlay.opaque";
const REDIRECT_ATTRIBUTE: &[u8] = b"trusted.overlay.redirect";
const METACOPY_ATTRIBUTE: &[u8] = b"trusted.overlay.metacopy";
/// What stays behind: overlayfs's own marks, and labels that are the host's business.
const LEFT_OUT: [&[u8]; 5] = [
    b"trusted.overlay.",
    b"user.overlay.",
    b"security.selinux",
    b"security.ima",
    b"security.evm",
];
/// How much of a file is read at once.
const CHUNK: usize = 256 << 10;

/// The times of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// As the files have them.
    #[default]
    Own,
    /// None is later than this, seconds since 1970.
    NotAfter(i64),
    /// All are this, seconds since 1970.
    All(i64),
}

impl Times {
    fn of(self, own: i64) -> i64 {
        match self {
            Self::Own => own,
            Self::NotAfter(latest) => own.min(latest),
            Self::All(time) => time,
        }
    }
}

/// Writes what an upper directory of overlayfs holds as a layer: whiteouts become `.wh.name`, opaque
/// directories get a `.wh..wh..opq` (image-spec, "Layer filesystem changeset"). Mount points that
/// only the runtime made are left out; `lower`, the merged tree below, helps to tell them. Sockets
/// are left out as dockerd does.
///
/// # Errors
/// See [`Error`]; the archive is incomplete then.
pub fn layer(
    upper: BorrowedFd<'_>,
    lower: Option<BorrowedFd<'_>>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    upper_layer(upper, Archive::new(out, true), |found| {
        stubs::is_stub(found) || stubs::holds_only_stubs(found, lower)
    })
}

/// As [`layer`], and nothing is left out: for an upper directory in which nobody but its owner has made
/// anything.
///
/// # Errors
/// As [`layer`].
pub fn exact_layer(upper: BorrowedFd<'_>, times: Times, out: &mut dyn Write) -> Result<(), Error> {
    let archive = Archive {
        times,
        ..Archive::new(out, true)
    };
    upper_layer(upper, archive, |_| false)
}

fn upper_layer(
    upper: BorrowedFd<'_>,
    mut archive: Archive<'_>,
    is_left_out: impl Fn(&Found<'_>) -> bool,
) -> Result<(), Error> {
    let mut walk = Walk::new(upper)?;
    while let Some(step) = walk.next()? {
        let Step::Entry(found) = step else {
            continue;
        };
        if is_left_out(&found) {
            continue;
        }
        archive.add(&found)?;
        if found.is_directory() {
            let name = found.name;
            walk.enter(&name)?;
        }
    }
    archive.finish()
}

/// Writes a whole tree, without its root directory itself: what `docker export` sends.
///
/// # Errors
/// See [`Error`]; the archive is incomplete then.
pub fn tree(root: BorrowedFd<'_>, times: Times, out: &mut dyn Write) -> Result<(), Error> {
    let mut archive = Archive {
        times,
        ..Archive::new(out, false)
    };
    archive.add_tree(root)?;
    archive.finish()
}

/// Writes several trees, each into a directory of its own name; of `None` the directory alone.
///
/// # Errors
/// As [`tree()`].
pub fn trees(
    roots: &[(&str, Option<BorrowedFd<'_>>)],
    times: Times,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut archive = Archive {
        times,
        ..Archive::new(out, false)
    };
    for (name, root) in roots {
        archive.prefix = format!("{name}/").into_bytes();
        // A file's other names are in its own tree.
        archive.links.clear();
        let path = archive.prefix.clone();
        archive.begin(&Header::new(Type::Directory, path, 0o755, 0))?;
        if let Some(root) = root {
            archive.add_tree(*root)?;
        }
    }
    archive.finish()
}

/// An archive being filled.
pub(super) struct Archive<'w> {
    writer: Writer<'w>,
    /// What stands before every path.
    prefix: Vec<u8>,
    /// Whether overlayfs's marks mean something here.
    marks: bool,
    times: Times,
    /// The first name of every file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl<'w> Archive<'w> {
    fn new(out: &'w mut dyn Write, marks: bool) -> Self {
        Self {
            writer: Writer::new(out),
            prefix: Vec::new(),
            marks,
            times: Times::Own,
            links: HashMap::new(),
            buffer: vec![0; CHUNK],
        }
    }

    /// An archive in which every path begins with `prefix`, and overlayfs's marks mean nothing.
    pub(super) fn with_prefix(out: &'w mut dyn Write, prefix: &[u8]) -> Self {
        Self {
            prefix: prefix.to_vec(),
            ..Self::new(out, false)
        }
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        self.writer.finish().map_err(Error::Write)
    }

    /// All that is below a root.
    fn add_tree(&mut self, root: BorrowedFd<'_>) -> Result<(), Error> {
        let mut walk = Walk::new(root)?;
        while let Some(step) = walk.next()? {
            let Step::Entry(found) = step else {
                continue;
            };
            self.add(&found)?;
            if found.is_directory() {
                let name = found.name;
                walk.enter(&name)?;
            }
        }
        Ok(())
    }

    pub(super) fn add(&mut self, found: &Found<'_>) -> Result<(), Error> {
        if self.marks && found.is_whiteout() {
            return self.whiteout(found);
        }
        let kind = match found.kind {
            FileType::RegularFile => Type::File,
            FileType::Directory => Type::Directory,
            FileType::Symlink => Type::Symlink,
            FileType::CharacterDevice => Type::Character,
            FileType::BlockDevice => Type::Block,
            FileType::Fifo => Type::Fifo,
            _ => return Ok(()),
        };
        let mut header = self.header_of(found, kind);
        let key = (found.stat.st_dev, found.stat.st_ino);
        let has_more = kind != Type::Directory && found.stat.st_nlink > 1;
        if has_more && let Some(first) = self.links.get(&key) {
            header.kind = Type::Link;
            header.size = 0;
            header.link.clone_from(first);
            header.xattrs = self.attributes(found)?.0;
            return self.begin(&header);
        }
        if kind == Type::Symlink {
            let target = rustix::fs::readlinkat(found.parent, found.name.as_slice(), Vec::new());
            match target {
                Ok(target) => header.link = target.into_bytes(),
                Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                Err(errno) => return Err(found.failed("read link")(errno)),
            }
        }
        let (xattrs, opaque) = self.attributes(found)?;
        header.xattrs = xattrs;
        let written = match kind {
            Type::File => self.file(found, &header)?,
            _ => self.begin(&header).map(|()| true)?,
        };
        // What is gone by now is no target for its other names.
        if has_more && written {
            self.links.insert(key, join(&self.prefix, found.path));
        }
        if opaque && kind == Type::Directory {
            let mut mark = Header::new(Type::File, join(&header.path, OPAQUE), 0, 0);
            mark.mode = header.mode & 0o777;
            (mark.uid, mark.gid) = (header.uid, header.gid);
            self.begin(&mark)?;
        }
        Ok(())
    }

    fn begin(&mut self, header: &Header) -> Result<(), Error> {
        self.writer.begin(header).map_err(Error::Write)
    }

    fn header_of(&self, found: &Found<'_>, kind: Type) -> Header {
        let stat = &found.stat;
        let path = join(&self.prefix, found.path);
        let mut header = Header::new(kind, path, stat.st_mode & 0o7777, 0);
        (header.uid, header.gid) = (stat.st_uid, stat.st_gid);
        header.mtime = self.times.of(stat.st_mtime);
        match kind {
            // A prefix ends with a slash already: that is the tree itself.
            Type::Directory if !header.path.ends_with(b"/") => header.path.push(b'/'),
            Type::File => header.size = u64::try_from(stat.st_size).unwrap_or(0),
            Type::Character | Type::Block => {
                let device = stat.st_rdev;
                header.device = (rustix::fs::major(device), rustix::fs::minor(device));
            }
            _ => {}
        }
        header
    }

    fn whiteout(&mut self, found: &Found<'_>) -> Result<(), Error> {
        let directory = &found.path[..found.path.len() - found.name.len()];
        let mut header = self.header_of(found, Type::File);
        header.path = [directory, WHITEOUT, &found.name].concat();
        header.mode = 0o600;
        header.size = 0;
        self.begin(&header)
    }

    /// Writes a file; `false` when it is gone.
    fn file(&mut self, found: &Found<'_>, header: &Header) -> Result<bool, Error> {
        let Some(file) = found.open()? else {
            return Ok(false);
        };
        self.begin(header)?;
        while self.writer.owed() > 0 {
            match rustix::io::read(&file, &mut self.buffer[..]) {
                Ok(0) => break,
                Ok(count) => self
                    .writer
                    .data(&self.buffer[..count])
                    .map_err(Error::Write)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(found.failed("read")(errno)),
            }
        }
        Ok(true)
    }

    /// The extended attributes that belong into the archive, and whether it is an opaque directory.
    fn attributes(&self, found: &Found<'_>) -> Result<(Records, bool), Error> {
        let mut kept = Records::new();
        let mut opaque = false;
        let names = match xattr::list_at(found.parent, &found.name) {
            Err(Errno::OPNOTSUPP | Errno::NOENT) => return Ok((kept, opaque)),
            names => names.map_err(found.failed("list extended attributes of"))?,
        };
        for name in names {
            if self.marks {
                refuse_marks(found, &name)?;
            }
            let left_out = LEFT_OUT.iter().any(|prefix| name.starts_with(prefix));
            let is_opaque = self.marks && name == OPAQUE_ATTRIBUTE;
            if left_out && !is_opaque {
                continue;
            }
            // A pax record's keyword ends at its first one: another attribute would come out.
            if name.contains(&b'=') {
                let (path, name) = (super::shown(found.path), super::shown(&name));
                tracing::warn!(path, name, "an extended attribute is left out for its name");
                continue;
            }
            let value = match xattr::get_at(found.parent, &found.name, &name) {
                Err(Errno::NOENT) => None,
                value => value.map_err(found.failed("read extended attribute of"))?,
            };
            if is_opaque {
                opaque = value.as_deref() == Some(b"y");
            } else if let Some(value) = value {
                kept.insert(name, value);
            }
        }
        Ok((kept, opaque))
    }
}

/// Refuses what cannot be told without the layers below.
fn refuse_marks(found: &Found<'_>, attribute: &[u8]) -> Result<(), Error> {
    let what = match attribute {
        REDIRECT_ATTRIBUTE => "overlayfs renamed this directory by reference",
        METACOPY_ATTRIBUTE => "overlayfs copied only the attributes of this file",
        _ => return Ok(()),
    };
    Err(Error::Overlay {
        path: super::shown(found.path),
        what,
    })
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{AtFlags, Mode, OFlags};
    use std::os::fd::AsFd as _;

    #[test]
    fn several_trees_are_in_directories() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("a"), b"data").unwrap();
        fs_err::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap();
        let roots = [
            ("one", Some(root.as_fd())),
            ("two", Some(root.as_fd())),
            ("none", None),
        ];
        let mut bytes = Vec::new();
        trees(&roots, Times::Own, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let link = entry.link_name().unwrap();
            let link = link.map_or(String::new(), |link| format!(" -> {}", link.display()));
            format!("{}{link}", entry.path().unwrap().display())
        });
        let entries: Vec<String> = entries.collect();
        let expected = [
            "one/",
            "one/a",
            "one/b -> one/a",
            "two/",
            "two/a",
            "two/b -> two/a",
            "none/",
        ];
        assert_eq!(entries, expected);
    }

    #[test]
    fn what_is_gone_is_no_target() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("a"), b"data").unwrap();
        fs_err::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        fs_err::hard_link(dir.path().join("a"), dir.path().join("c")).unwrap();
        let root = rustix::fs::open(dir.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut out = Vec::new();
        let mut archive = Archive::new(&mut out, true);
        for name in [b"a".as_slice(), b"b", b"c"] {
            let stat = rustix::fs::statat(&root, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let found = Found {
                path: name,
                name: name.to_vec(),
                parent: root.as_fd(),
                kind: FileType::from_raw_mode(stat.st_mode),
                stat,
            };
            if name == b"a" {
                fs_err::remove_file(dir.path().join("a")).unwrap();
            }
            archive.add(&found).unwrap();
        }
        archive.finish().unwrap();
        let mut archive = tar::Archive::new(out.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let link = entry.link_name_bytes().map(|link| link.into_owned());
            (entry.path_bytes().into_owned(), link)
        });
        let entries: Vec<_> = entries.collect();
        assert_eq!(
            entries,
            [(b"b".to_vec(), None), (b"c".to_vec(), Some(b"b".to_vec())),]
        );
    }
}
