//! Digests of what a client's files are known to be, without a look at them.

use super::{Bytes, Walk, below, head};
use crate::build::copy::Keep;
use hull_build::world::{LocalEntry, LocalFiles, WorldResult};
use rustix::fs::FileType;
use std::path::{Path, PathBuf};

impl Walk<'_> {
    /// What is in a directory, which itself was walked to; `false` when that is not known.
    pub(super) fn listed(&mut self, files: &dyn LocalFiles, directory: &Path) -> WorldResult<bool> {
        let top = below(directory);
        let mut left_out: Option<PathBuf> = None;
        // Directories above that come along if something in them does, and how many of their like are above each.
        let mut open: Vec<(PathBuf, usize)> = Vec::new();
        let known = files.each_below(&top, &mut |entry| {
            self.job.cancel.check()?;
            let path = Path::new(entry.path);
            let path = path.strip_prefix(&top).unwrap_or(path);
            if left_out.as_ref().is_some_and(|out| path.starts_with(out)) {
                return Ok(());
            }
            while let Some((_, above)) = open.pop_if(|(open, _)| !path.starts_with(open)) {
                self.pending.truncate(above);
            }
            let is_directory = FileType::from_raw_mode(entry.mode) == FileType::Directory;
            match self.sieve.keeps(path, is_directory) {
                Keep::No if is_directory => left_out = Some(path.to_owned()),
                Keep::IfNeeded if is_directory => {
                    open.push((path.to_owned(), self.pending.len()));
                    self.pending.push(head_of(path, &entry));
                }
                Keep::No | Keep::IfNeeded => {}
                Keep::Yes => {
                    let bytes = entry.digest.map_or(Bytes::None, Bytes::Known);
                    self.add(head_of(path, &entry), bytes);
                }
            }
            Ok(())
        })?;
        self.pending.clear();
        Ok(known)
    }
}

fn head_of(path: &Path, entry: &LocalEntry<'_>) -> Vec<u8> {
    let device = entry.device.to_le_bytes();
    let more = match FileType::from_raw_mode(entry.mode) {
        FileType::RegularFile | FileType::Directory => &[],
        FileType::Symlink => entry.link.as_bytes(),
        _ => &device[..],
    };
    let numbers = [entry.mode, entry.owner.0, entry.owner.1];
    head(path, numbers, more, entry.attributes.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::sieve;
    use hull_build::graph::{LocalSource, digest_of};
    use hull_build::progress::{Event, Watch};
    use hull_build::world::{Cancel, Client, Job, Login, WorldError};
    use sha2::{Digest as _, Sha256};
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;

    struct Nobody;

    impl Client for Nobody {
        fn local(&self, _: &LocalSource, _: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>> {
            Err(WorldError::other("none"))
        }

        fn secret(&self, _: &str) -> WorldResult<Option<Vec<u8>>> {
            Ok(None)
        }

        fn ssh(&self, _: &str, _: UnixListener) -> WorldResult<Option<Box<dyn Send>>> {
            Ok(None)
        }

        fn credentials(&self, _: &str) -> WorldResult<Option<Login>> {
            Ok(None)
        }
    }

    impl Watch for Nobody {
        fn tell(&self, _: Event) {}
    }

    /// Files of which all is known.
    #[derive(Debug)]
    struct Known(PathBuf);

    impl Known {
        fn tell(
            &self,
            top: &Path,
            path: &Path,
            tell: &mut dyn FnMut(LocalEntry<'_>) -> WorldResult<()>,
        ) -> WorldResult<()> {
            let entries = fs_err::read_dir(self.0.join(top).join(path)).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            for name in names {
                let path = path.join(name);
                let below = top.join(&path);
                let whole = self.0.join(&below);
                let metadata = fs_err::symlink_metadata(&whole).unwrap();
                let link = fs_err::read_link(&whole).unwrap_or_default();
                let bytes = || fs_err::read(&whole).unwrap();
                tell(LocalEntry {
                    path: below.to_str().unwrap(),
                    mode: metadata.mode(),
                    owner: (metadata.uid(), metadata.gid()),
                    device: metadata.rdev(),
                    link: link.to_str().unwrap(),
                    attributes: Vec::new(),
                    digest: metadata.is_file().then(|| Sha256::digest(bytes()).into()),
                })?;
                if metadata.is_dir() {
                    self.tell(top, &path, tell)?;
                }
            }
            Ok(())
        }
    }

    impl LocalFiles for Known {
        fn path(&self) -> &Path {
            &self.0
        }

        fn each_below(
            &self,
            directory: &Path,
            tell: &mut dyn FnMut(LocalEntry<'_>) -> WorldResult<()>,
        ) -> WorldResult<bool> {
            self.tell(directory, Path::new(""), tell)?;
            Ok(true)
        }
    }

    fn digest(
        root: &Path,
        top: &str,
        files: Option<&dyn LocalFiles>,
        patterns: &[&str],
    ) -> Vec<u8> {
        let (vertex, cancel) = (digest_of(&0), Cancel::new());
        let job = Job {
            vertex: &vertex,
            client: &Nobody,
            watch: &Nobody,
            cancel: &cancel,
        };
        let of = |prefix: char| -> Vec<String> {
            let own = patterns
                .iter()
                .filter_map(|pattern| pattern.strip_prefix(prefix));
            own.map(str::to_owned).collect()
        };
        let sieve = sieve::new(&of('+'), &of('-')).unwrap();
        let mut walk = Walk::new(&*sieve, &job, None);
        let found = hull_linux::path::Root::open(root).unwrap();
        let path = Path::new("/").join(top);
        let found = super::super::find(&found, &path, true).unwrap();
        walk.whole(&found, files, &path).unwrap();
        let mut hash = Sha256::new();
        walk.digest(&mut hash).unwrap();
        hash.finalize().to_vec()
    }

    #[test]
    fn what_is_known_and_what_is_looked_at_have_one_digest() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for file in ["a/b/c", "a/b-d/e", "a/f", "g/h/i/j", "g/h.txt", "k"] {
            let path = root.join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, file).unwrap();
        }
        fs_err::create_dir(root.join("g/empty")).unwrap();
        symlink("../k", root.join("a/link")).unwrap();
        let known = Known(root.to_owned());
        let mut seen = std::collections::HashSet::new();
        let all: [&[&str]; 8] = [
            &[],
            &["+a/b"],
            &["+**/j"],
            &["-a"],
            &["-a", "-!a/b/c"],
            &["+g", "-g/h/i"],
            &["+**/h*", "-**/i"],
            &["-*", "-!g/h.txt"],
        ];
        for patterns in all {
            let walked = digest(root, "", None, patterns);
            assert_eq!(
                digest(root, "", Some(&known), patterns),
                walked,
                "{patterns:?}"
            );
            seen.insert(walked);
        }
        assert_eq!(seen.len(), all.len());
        let walked = digest(root, "g/h", None, &[]);
        assert_eq!(digest(root, "g/h", Some(&known), &[]), walked);
    }
}
