//! Changes of files without a process: what Dockerfiles call COPY, ADD, WORKDIR. They are made in an overlay of
//! ours above what is changed, with its root as the root of all paths.

use super::copy::{All, Copier, Look};
use super::find::{self, cleaned, unless_blocked};
use super::glob;
use super::tree::{NewStep, Reading, pieces};
use crate::Engine;
use hull_build::graph::{
    Account, Action, Change, CopyFiles, Files, MakeDir, MakeFile, Mode as Wanted, Owner, Remove,
    Symlink, Tree as At,
};
use hull_build::world::{Job, Piece, Tree, WorldError, WorldResult};
use hull_image::delete::remove_tree_at;
use hull_linux::path::Root;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

/// What an action works on and leaves.
enum Made<'e> {
    /// It is being changed.
    Open(NewStep<'e>, Root),
    /// It is an output.
    Done(Tree),
    /// A later action went on with it.
    Continued,
}

struct Changing<'e, 'j> {
    engine: &'e Engine,
    inputs: &'j [Tree],
    job: &'j Job<'j>,
    made: Vec<Made<'e>>,
}

/// A tree that is read.
enum Source<'s> {
    Reading {
        root: Root,
        _layers: Option<Reading<'s>>,
    },
    Own(&'s Root),
}

impl Source<'_> {
    fn root(&self) -> &Root {
        match self {
            Self::Reading { root, .. } => root,
            Self::Own(root) => root,
        }
    }
}

impl Engine {
    /// Does the actions one after the other; gives the outputs in their order.
    pub(super) fn perform_files(
        &self,
        files: &Files,
        inputs: &[Tree],
        job: &Job<'_>,
    ) -> WorldResult<Vec<Tree>> {
        let mut changing = Changing {
            engine: self,
            inputs,
            job,
            made: Vec::new(),
        };
        let mut outputs: Vec<(usize, Tree)> = Vec::new();
        for action in &files.actions {
            let (step, root) = changing.begin(action)?;
            changing.apply(action, &root)?;
            changing.made.push(match action.output {
                Some(number) => {
                    drop(root);
                    let tree = step.keep();
                    outputs.push((number, tree.clone()));
                    Made::Done(tree)
                }
                None => Made::Open(step, root),
            });
        }
        outputs.sort_by_key(|(number, _)| *number);
        Ok(outputs.into_iter().map(|(_, tree)| tree).collect())
    }

    /// A client's files as a tree that stays.
    pub(super) fn local_copy(&self, local: &Tree, job: &Job<'_>) -> WorldResult<Tree> {
        Ok(self.copied(local, job)?.0.keep())
    }

    fn copied(&self, local: &Tree, job: &Job<'_>) -> WorldResult<(NewStep<'_>, Root)> {
        let step = self.new_step(&[])?;
        let root = step.open()?;
        if let Some((source, _)) = self.open_tree(local)? {
            let failed = |error| WorldError::caused("copy the client's files", error);
            let found = find::find(&source, Path::new("/"), true).map_err(failed)?;
            let look = Look::default();
            let directory = directory(&root, Path::new("/")).map_err(failed)?;
            Copier::new(&look, &All, job.cancel).contents(&found, directory)?;
        }
        Ok((step, root))
    }
}

impl<'e> Changing<'e, '_> {
    /// A place to write for an action.
    fn begin(&mut self, action: &Action) -> WorldResult<(NewStep<'e>, Root)> {
        let below: Vec<Piece> = match action.base {
            At::Empty => Vec::new(),
            At::Input(place) => match self.input(place)? {
                tree @ Tree::Pieces(_) => pieces(tree)?.to_vec(),
                // A client's files are copied, for they do not stay.
                local @ Tree::Local(_) => {
                    return self.engine.copied(local, self.job);
                }
            },
            At::Action(place) => {
                let made = self.made.get_mut(place);
                let made = made.ok_or_else(|| WorldError::other("an action without a base"))?;
                match std::mem::replace(made, Made::Continued) {
                    Made::Open(step, root) => return Ok((step, root)),
                    Made::Done(tree) => {
                        let below = pieces(&tree)?.to_vec();
                        *made = Made::Done(tree);
                        below
                    }
                    Made::Continued => {
                        let text = "two actions that go on with one that is no output";
                        return Err(WorldError::Unsupported(text.to_owned()));
                    }
                }
            }
        };
        let step = self.engine.new_step(&below)?;
        let root = step.open()?;
        Ok((step, root))
    }

    fn input(&self, place: usize) -> WorldResult<&Tree> {
        let tree = self.inputs.get(place);
        tree.ok_or_else(|| WorldError::other("an action without its input"))
    }

    fn apply(&self, action: &Action, root: &Root) -> WorldResult<()> {
        let owner = match action.change.owner() {
            Some(owner) => Some(self.owner(owner, (action.base, root))?),
            None => None,
        };
        match &action.change {
            Change::Copy(copy) => self.copy(action.from, copy, owner, root),
            Change::MakeFile(file) => make_file(root, file, owner),
            Change::MakeDir(dir) => make_dir(root, dir, owner),
            Change::Symlink(link) => symlink(root, link, owner),
            Change::Remove(gone) => remove(root, gone),
        }
    }

    fn source(&self, at: At) -> WorldResult<Option<Source<'_>>> {
        match at {
            At::Empty => Ok(None),
            At::Input(place) => {
                let opened = self.engine.open_tree(self.input(place)?)?;
                Ok(opened.map(|(root, _layers)| Source::Reading { root, _layers }))
            }
            At::Action(place) => match self.made.get(place) {
                Some(Made::Open(_, root)) => Ok(Some(Source::Own(root))),
                Some(Made::Done(tree)) => {
                    let opened = self.engine.open_tree(tree)?;
                    Ok(opened.map(|(root, _layers)| Source::Reading { root, _layers }))
                }
                _ => Err(WorldError::other("an action without its source")),
            },
        }
    }

    /// Numbers for an owner; names are looked up in trees.
    fn owner(&self, owner: &Owner, (base, root): (At, &Root)) -> WorldResult<(u32, u32)> {
        let file = |tree: At, name: &str| -> WorldResult<String> {
            if tree == base {
                return Ok(text_of(root, name));
            }
            let source = self.source(tree)?;
            Ok(source
                .map(|source| text_of(source.root(), name))
                .unwrap_or_default())
        };
        let mut ids = match &owner.user {
            None => (0, 0),
            Some(Account::Id(id)) => (*id, *id),
            Some(Account::Name { name, tree }) => {
                // Whom nobody knows is root, as in BuildKit.
                account(&file(*tree, "etc/passwd")?, name).unwrap_or_default()
            }
        };
        match &owner.group {
            None => {}
            Some(Account::Id(id)) => ids.1 = *id,
            Some(Account::Name { name, tree }) => {
                let group = account(&file(*tree, "etc/group")?, name);
                ids.1 = group.unwrap_or_default().0;
            }
        }
        Ok(ids)
    }

    fn copy(
        &self,
        from: At,
        copy: &CopyFiles,
        owner: Option<(u32, u32)>,
        root: &Root,
    ) -> WorldResult<()> {
        let Some(source) = self.source(from)? else {
            return Err(not_found(&copy.source));
        };
        let source = source.root();
        let look = Look {
            owner,
            mode: copy.mode.clone(),
            time: copy.timestamp,
        };
        let (path, _) = cleaned(&copy.source);
        let paths = match copy.wildcard {
            true => glob::resolve(source, &path, copy.follow_symlink)?,
            false => vec![path],
        };
        if paths.is_empty() && !copy.empty_wildcard {
            return Err(not_found(&copy.source));
        }
        for required in &copy.required {
            if find::find(source, &cleaned(required).0, true).is_err() {
                return Err(not_found(required));
            }
        }
        for path in paths {
            self.copy_one((source, &path), copy, &look, root)?;
        }
        Ok(())
    }

    fn copy_one(
        &self,
        (source, path): (&Root, &Path),
        copy: &CopyFiles,
        look: &Look,
        root: &Root,
    ) -> WorldResult<()> {
        let found =
            find::find(source, path, copy.follow_symlink).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => not_found(&path.to_string_lossy()),
                _ => WorldError::caused(format!("look at {}", path.display()), error),
            })?;
        let (dest, is_directory) = cleaned(&copy.dest);
        let failed = |error| unless_blocked(root, &dest, format!("copy to {}", copy.dest), error);
        let dest = find::followed(root, &dest).map_err(failed)?;
        if copy.unpack && found.is_file() {
            let (ids, cancel) = (look.owner, self.job.cancel);
            let unpacked = super::unpack::unpack(&found, (root, &dest), ids, cancel);
            // A build that ends has an end of its own.
            cancel.check()?;
            if unpacked.map_err(failed)? {
                return Ok(());
            }
        }
        let sieve = super::sieve::of(copy)?;
        let mut copier = Copier::new(look, &*sieve, self.job.cancel);
        copier.replace = copy.replace;
        let there = root.open_at(&dest, OFlags::PATH);
        let there = there.ok().filter(is_dir).is_some();
        let mode = mode_above(look);
        let make = |path: &Path, mode: u32| -> io::Result<OwnedFd> {
            match copy.create_dest {
                true => drop(find::make_directories(root, path, mode, look)?),
                false => drop(root.open_at(path, OFlags::PATH)?),
            }
            directory(root, path)
        };
        if found.is_directory() && copy.contents {
            if find::find(root, &dest, true).is_ok_and(|there| !there.is_directory()) {
                let text = format!("cannot copy to non-directory: {}", dest.display());
                return Err(WorldError::Invalid(text));
            }
            let into = make(&dest, mode).map_err(failed)?;
            copier.contents(&found, into)?;
            // The place keeps what it is, new or not, but for its time.
            return copier.date(&found, directory(root, &dest).map_err(failed)?);
        }
        let own = path.file_name();
        let into_it = there || is_directory;
        let (parent, name) = match (into_it, own) {
            (true, Some(own)) => (dest.as_path(), own),
            // All of the source, into something.
            (true, None) => return copier.contents(&found, make(&dest, mode).map_err(failed)?),
            (false, _) => match (dest.parent(), dest.file_name()) {
                (Some(parent), Some(name)) => (parent, name),
                _ => (dest.as_path(), own.unwrap_or_default()),
            },
        };
        copier.copy(&found, make(parent, mode).map_err(failed)?, name)
    }
}

/// The mode of directories that are made above what is copied: the one that files get, if it is a number, as
/// BuildKit's umask leaves it.
fn mode_above(look: &Look) -> u32 {
    match &look.mode {
        Some(Wanted::Bits(bits)) => bits & 0o755,
        _ => 0o755,
    }
}

fn is_dir(entry: &OwnedFd) -> bool {
    rustix::fs::fstat(entry).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
    })
}

fn directory(root: &Root, path: &Path) -> io::Result<OwnedFd> {
    root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)
}

fn not_found(path: &str) -> WorldError {
    let (clean, _) = cleaned(path);
    WorldError::NotFound(format!("\"{}\": not found", clean.display()))
}

/// A small file that strangers wrote; empty when it is not there.
fn text_of(root: &Root, path: &str) -> String {
    let mut text = Vec::new();
    if let Ok(file) = root.open_file(Path::new(path)) {
        let _ = std::fs::File::from(file)
            .take(4 << 20)
            .read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The two numbers of a line of `/etc/passwd`; of `/etc/group` the first counts.
fn account(file: &str, name: &str) -> Option<(u32, u32)> {
    let mut lines = file.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.first() == Some(&name))?;
    let first = line.get(2)?.parse().ok()?;
    let second = line.get(3).and_then(|field| field.parse().ok());
    Some((first, second.unwrap_or(first)))
}

fn make_file(root: &Root, file: &MakeFile, owner: Option<(u32, u32)>) -> WorldResult<()> {
    let failed = |error: io::Error| WorldError::caused(format!("write {}", file.path), error);
    let (path, _) = cleaned(&file.path);
    let made = root.ensure_file(&path).map_err(failed)?;
    let opened = hull_linux::path::regular(&made, OFlags::WRONLY | OFlags::TRUNC);
    let opened = opened.map_err(failed)?;
    find::write_all(&opened, &file.data).map_err(failed)?;
    let (user, group) = owner.unwrap_or_default();
    let done = rustix::fs::fchown(
        &opened,
        Some(Uid::from_raw(user)),
        Some(Gid::from_raw(group)),
    )
    .and_then(|()| rustix::fs::fchmod(&opened, Mode::from_raw_mode(file.mode & 0o7777)))
    .and_then(|()| match file.timestamp {
        Some(time) => rustix::fs::futimens(&opened, &find::times(time)),
        None => Ok(()),
    });
    done.map_err(|errno| failed(errno.into()))
}

fn make_dir(root: &Root, dir: &MakeDir, owner: Option<(u32, u32)>) -> WorldResult<()> {
    let (path, _) = cleaned(&dir.path);
    let failed = |error| unless_blocked(root, &path, format!("make {}", dir.path), error);
    let look = Look {
        owner,
        mode: None,
        time: dir.timestamp,
    };
    if !dir.parents
        && let Some(parent) = path.parent()
    {
        drop(
            root.open_at(parent, OFlags::PATH | OFlags::DIRECTORY)
                .map_err(failed)?,
        );
    }
    find::make_directories(root, &path, dir.mode & 0o7777, &look)
        .map(drop)
        .map_err(failed)
}

fn symlink(root: &Root, link: &Symlink, owner: Option<(u32, u32)>) -> WorldResult<()> {
    let failed = |error: io::Error| WorldError::caused(format!("link {}", link.path), error);
    let (path, _) = cleaned(&link.path);
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent, name),
        _ => return Err(failed(Errno::EXIST.into())),
    };
    let parent = root
        .open_at(parent, OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(failed)?;
    let (user, group) = owner.unwrap_or_default();
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    let done = rustix::fs::symlinkat(link.target.as_str(), &parent, name)
        .and_then(|()| {
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            rustix::fs::chownat(&parent, name, Some(user), Some(group), nofollow)
        })
        .and_then(|()| match link.timestamp {
            Some(time) => rustix::fs::utimensat(&parent, name, &find::times(time), nofollow),
            None => Ok(()),
        });
    done.map_err(|errno| failed(errno.into()))
}

fn remove(root: &Root, gone: &Remove) -> WorldResult<()> {
    let (path, _) = cleaned(&gone.path);
    let paths = match gone.wildcard {
        true => glob::resolve(root, &path, false)?,
        false => vec![path],
    };
    for path in paths {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => not_found(&path.to_string_lossy()),
            _ => WorldError::caused(format!("remove {}", path.display()), error),
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(WorldError::Invalid("remove: the root stays".to_owned()));
        };
        let removed = root
            .open_at(parent, OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(
                |parent| match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
                    Err(Errno::ISDIR) => remove_tree_at(parent.as_fd(), name),
                    other => Ok(other?),
                },
            );
        match removed {
            Err(error) if gone.allow_missing && error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(failed)?,
        }
    }
    Ok(())
}
