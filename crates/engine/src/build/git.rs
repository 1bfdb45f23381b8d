//! Git repositories, as `ADD` and remote contexts want them. The program `git` does it.
//!
//! ```text
//! ls-remote ─► commit: the source's key
//!    not in the cache ─► sources/git/<remote>: a repository of all commits that were wanted of it
//!       ─► a worktree beside it, with its submodules ─► a step's files
//! ```

mod command;

use super::images::With;
use super::tree::NewStep;
use crate::{Engine, names};
use command::Git;
use hull_build::graph::{GitSource, digest_of};
use hull_build::world::{Fetched, SourceKey, WorldError, WorldResult};
use hull_linux::path::Root;
use rustix::fs::OFlags;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Repositories that are being used, by name.
pub(super) type Turns = Mutex<HashMap<String, Arc<Mutex<()>>>>;

impl Engine {
    /// The commit of a source, and what of it is wanted.
    pub(super) fn git_key(&self, source: &GitSource, with: With<'_>) -> WorldResult<SourceKey> {
        check(source)?;
        let commit = match is_commit(&source.reference) {
            true => source.reference.clone(),
            false => Git::new(self, source, with)?.resolve(source)?,
        };
        if !commit.starts_with(&source.checksum) {
            let text = format!(
                "expected checksum to match {}, got {commit}",
                source.checksum
            );
            return Err(WorldError::other(text));
        }
        let mut key = commit;
        if source.keep_git_dir {
            key.push_str(&format!(".git {} {}", source.remote, source.reference));
        }
        if source.skip_submodules {
            key.push_str(" without submodules");
        }
        // The last part: it may have any character.
        if !source.subdir.is_empty() {
            key.push_str(&format!(":{}", source.subdir));
        }
        Ok(SourceKey::known(key))
    }

    /// Brings the files of the commit that a source is known by.
    pub(super) fn git_fetch(
        &self,
        source: &GitSource,
        content: Option<&str>,
        with: With<'_>,
    ) -> WorldResult<Fetched> {
        let key = match content {
            Some(content) => content.to_owned(),
            None => self.git_key(source, with)?.content.unwrap_or_default(),
        };
        let end = key.find(|c: char| !c.is_ascii_hexdigit());
        let commit = &key[..end.unwrap_or(key.len())];
        let git = Git::new(self, source, with)?;
        let turn = self.git_turn(source);
        {
            let _held = turn.lock.lock().unwrap_or_else(PoisonError::into_inner);
            git.bring(&turn.repository(), (source, commit))?;
        }
        let checkout = Checkout::begin(self)?;
        git.check_out(&turn.repository(), checkout.path(), (source, commit))?;
        let step = self.new_step(&[])?;
        checkout.become_step(&step, &source.subdir)?;
        Ok(Fetched {
            tree: step.keep(),
            keep: None,
        })
    }

    /// A remote's turn: its repository is changed by one at a time, and stays while it is held.
    fn git_turn(&self, source: &GitSource) -> Turn<'_> {
        let name = digest_of(&source.remote).hex().to_owned();
        let lock = Arc::clone(self.git_turns().entry(name.clone()).or_default());
        Turn {
            engine: self,
            name,
            lock,
        }
    }

    fn git_turns(&self) -> MutexGuard<'_, HashMap<String, Arc<Mutex<()>>>> {
        let turns = self.builds.git.lock();
        turns.unwrap_or_else(PoisonError::into_inner)
    }

    /// Where what was fetched is remembered. All of it can be fetched again.
    pub(super) fn sources(&self) -> PathBuf {
        self.config.data_root.join("sources")
    }

    /// Removes what killed daemons left of checkouts.
    pub(crate) fn sweep_checkouts(&self) {
        let _ = fs_err::remove_dir_all(self.sources().join("checkout"));
        let _ = fs_err::remove_dir_all(self.config.exec_root.join("git"));
        let _ = fs_err::remove_dir_all(self.loose_scratch());
    }

    /// Removes what was fetched and no build uses; how many bytes that were.
    pub(super) fn prune_sources(&self) -> u64 {
        let _ = fs_err::remove_dir_all(self.sources().join("http"));
        let repositories = self.sources().join("git");
        let mut reclaimed = 0;
        for entry in fs_err::read_dir(&repositories)
            .into_iter()
            .flatten()
            .flatten()
        {
            // Who begins now waits for the table.
            let turns = self.git_turns();
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| turns.contains_key(name)) {
                continue;
            }
            reclaimed += size(&entry.path());
            if let Err(error) = fs_err::remove_dir_all(entry.path()) {
                tracing::warn!(%error, "a repository was not removed");
            }
        }
        reclaimed
    }
}

/// A repository of ours that is being used.
struct Turn<'e> {
    engine: &'e Engine,
    name: String,
    lock: Arc<Mutex<()>>,
}

impl Turn<'_> {
    fn repository(&self) -> PathBuf {
        self.engine.sources().join("git").join(&self.name)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.engine.git_turns();
        // The table has it, and this.
        if Arc::strong_count(&self.lock) <= 2 {
            turns.remove(&self.name);
        }
    }
}

/// The bytes of the files below a directory.
fn size(path: &Path) -> u64 {
    let mut total = 0;
    for entry in fs_err::read_dir(path).into_iter().flatten().flatten() {
        total += match entry.metadata() {
            Ok(found) if found.is_dir() => size(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        };
    }
    total
}

/// A worktree in the making, gone with this.
struct Checkout(PathBuf);

impl Drop for Checkout {
    fn drop(&mut self) {
        match fs_err::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a checkout was not removed");
            }
            _ => {}
        }
    }
}

impl Checkout {
    fn begin(engine: &Engine) -> WorldResult<Self> {
        let path = engine.sources().join("checkout").join(names::id());
        let made = Self(path);
        fs_err::create_dir_all(made.path())
            .map_err(|error| WorldError::caused("make a place for a checkout", error))?;
        Ok(made)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// Its files, or those of a directory of it, become those of a step.
    fn become_step(&self, step: &NewStep<'_>, subdir: &str) -> WorldResult<()> {
        let failed = |error: std::io::Error| WorldError::caused("keep a checkout", error);
        let root = Root::open(self.path()).map_err(failed)?;
        let missing = |error: std::io::Error| {
            let subdir = subdir.trim_start_matches('/');
            WorldError::caused(format!("invalid subdir /{subdir}"), error)
        };
        // No link of the repository leads out of it.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let from = root.open_at(Path::new(subdir), flags).map_err(missing)?;
        let to = Root::open(&step.upper)
            .and_then(|root| root.open_at(Path::new("/"), flags))
            .map_err(failed)?;
        for name in super::find::names(&from).map_err(failed)? {
            rustix::fs::renameat(&from, name.as_os_str(), &to, name.as_os_str())
                .map_err(|error| failed(error.into()))?;
        }
        Ok(())
    }
}

/// Whether a text is a whole commit.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Refuses what `git` would take for an option or another transport.
fn check(source: &GitSource) -> WorldResult<()> {
    let GitSource { remote, .. } = source;
    let odd = |text: &str| text.starts_with('-') || text.contains(char::is_control);
    let transport = match remote.split_once("://") {
        Some((scheme, _)) => matches!(scheme, "http" | "https" | "git" | "ssh"),
        // `user@host:path`
        None => remote
            .split_once(':')
            .is_some_and(|(login, _)| login.contains('@')),
    };
    if odd(remote) || !transport || remote.contains("::") && !remote.contains('[') {
        let remote = shown(remote);
        return Err(WorldError::Invalid(format!(
            "invalid git remote {remote:?}"
        )));
    }
    let spaced = source.reference.contains(char::is_whitespace);
    if odd(&source.reference) || spaced || source.reference.contains([':', '^', '~', '*', '?', '['])
    {
        let reference = &source.reference;
        return Err(WorldError::Invalid(format!(
            "invalid git ref {reference:?}"
        )));
    }
    Ok(())
}

/// A remote without its user's password.
fn shown(remote: &str) -> String {
    match password(remote) {
        Some(password) => remote.replacen(&format!(":{password}@"), ":xxxxx@", 1),
        None => remote.to_owned(),
    }
}

fn password(remote: &str) -> Option<&str> {
    let (_, rest) = remote.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (login, _) = authority.rsplit_once('@')?;
    let (_, password) = login.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repositories_of_the_network_are_taken() {
        let source = |remote: &str, reference: &str| GitSource {
            remote: remote.to_owned(),
            reference: reference.to_owned(),
            ..GitSource::default()
        };
        for good in ["https://h/a.git", "git://[::1]/a", "ssh://g@h/a", "g@h:a/b"] {
            check(&source(good, "refs/heads/x")).unwrap();
        }
        for bad in [
            "file:///a",
            "/a/b",
            "ext::sh -c x",
            "--upload-pack=x",
            "https::x",
            "g@h:a\nb",
        ] {
            assert!(check(&source(bad, "")).is_err(), "{bad}");
        }
        for bad in ["--x", "a b", "a:b", "a\n", "x^{}"] {
            assert!(check(&source("git://h/a", bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("https://u:p@h/a"), "https://u:xxxxx@h/a");
        assert_eq!(shown("https://u@h/a:b@c"), "https://u@h/a:b@c");
        assert_eq!(shown("git@h:a"), "git@h:a");
        assert!(is_commit(&"a1".repeat(20)) && !is_commit("a1") && !is_commit(&"A1".repeat(20)));
    }
}
