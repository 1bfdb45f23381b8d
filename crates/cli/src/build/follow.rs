//! Which files links lead to: what a build asks for by name is also what it leads to.

use hull_build::ignore::Matcher;
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

/// No path leads through more links: the kernel follows forty.
const MAX_LINKS: usize = 255;

/// Patterns of `paths` below `root` and of all that links in them lead to; `None` is everything.
pub(super) fn follow(root: &Path, paths: &[String]) -> Option<Vec<String>> {
    let mut following = Following {
        root,
        found: BTreeSet::new(),
        links: 0,
    };
    for path in paths {
        let parts = parts(path);
        if parts.is_empty() {
            return None;
        }
        following
            .found
            .insert(parts.iter().cloned().collect::<Vec<_>>().join("/"));
        following.walk(String::new(), parts)?;
    }
    Some(following.found.into_iter().collect())
}

struct Following<'a> {
    root: &'a Path,
    found: BTreeSet<String>,
    links: usize,
}

impl Following<'_> {
    /// Goes on from `at`; `None` when something leads to the root itself.
    fn walk(&mut self, at: String, mut parts: VecDeque<String>) -> Option<()> {
        let Some(part) = parts.pop_front() else {
            if at.is_empty() {
                return None;
            }
            self.found.insert(escaped(&at));
            return Some(());
        };
        if part.contains(['*', '?', '[', '\\']) {
            for name in self.matching(&at, &part) {
                self.step(&at, &name, parts.clone())?;
            }
            return Some(());
        }
        self.step(&at, &part, parts)
    }

    fn step(&mut self, at: &str, name: &str, parts: VecDeque<String>) -> Option<()> {
        let path = join(at, name);
        let Ok(target) = std::fs::read_link(self.root.join(&path)) else {
            return self.walk(path, parts);
        };
        self.found.insert(escaped(&path));
        self.links += 1;
        if self.links > MAX_LINKS {
            return Some(());
        }
        let target = target.to_string_lossy().into_owned();
        // What is absolute begins at the root, and nothing leads out of it.
        let mut whole = match target.starts_with('/') {
            true => VecDeque::new(),
            false => parts_of(at),
        };
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(whole.pop_back()),
                part => whole.push_back(part.to_owned()),
            }
        }
        whole.extend(parts);
        self.walk(String::new(), whole)
    }

    /// The names in a directory that a pattern means.
    fn matching(&self, at: &str, pattern: &str) -> Vec<String> {
        let Ok(matcher) = Matcher::new(&[pattern]) else {
            return Vec::new();
        };
        let Ok(entries) = std::fs::read_dir(self.root.join(at)) else {
            return Vec::new();
        };
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| matcher.matches(name)).collect();
        names.sort_unstable();
        names
    }
}

fn join(at: &str, name: &str) -> String {
    match at {
        "" => name.to_owned(),
        at => format!("{at}/{name}"),
    }
}

fn parts_of(path: &str) -> VecDeque<String> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// The parts of a path as typed; none leads upwards.
fn parts(path: &str) -> VecDeque<String> {
    let mut parts = VecDeque::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop_back()),
            part => parts.push_back(part.to_owned()),
        }
    }
    parts
}

/// A path as a pattern of itself.
fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for (at, c) in path.chars().enumerate() {
        if matches!(c, '*' | '?' | '[' | '\\') || at == 0 && c == '!' {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn followed(root: &Path, paths: &[&str]) -> Option<Vec<String>> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        follow(root, &paths)
    }

    #[test]
    fn what_links_lead_to_comes_along() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs_err::create_dir_all(root.join("d/e")).unwrap();
        fs_err::write(root.join("d/e/file"), "").unwrap();
        symlink("d/e", root.join("l")).unwrap();
        symlink("/d/../d/e/file", root.join("d/a*")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("../../../..", root.join("d/up")).unwrap();
        let found = |paths: &[&str]| followed(root, paths).unwrap();
        assert_eq!(found(&["l/file"]), ["d/e/file", "l", "l/file"]);
        assert_eq!(found(&["/d/./a*"]), ["d/a*", "d/a\\*", "d/e/file"]);
        assert_eq!(found(&["nothing"]), ["nothing"]);
        assert!(found(&["loop"]).contains(&"loop".to_owned()));
        assert_eq!(followed(root, &["d/up"]), None);
        assert_eq!(followed(root, &["l", "."]), None);
    }
}
