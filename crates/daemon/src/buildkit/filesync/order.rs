//! The order in which files are told of, and what a path may be.

use super::Kind;
use crate::buildkit::session::SessionError;
use bollard_buildkit_proto::fsutil::types::Stat;
use std::cmp::Ordering;

/// The longest path, bytes: `PATH_MAX` of Linux without its end.
const MAX_PATH: usize = 4095;
/// The longest name, bytes: `NAME_MAX` of Linux.
const MAX_NAME: usize = 255;

/// Which of two paths a walk meets first: names are compared as bytes, and what is below a directory comes
/// right after it.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let key = |byte: u8| if byte == b'/' { 0 } else { byte };
    one.bytes().map(key).cmp(other.bytes().map(key))
}

/// The directory that a path is in, and its name there.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Sees to it that paths come in order, each in a directory that came before.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The directories above the last path, itself included if it is one, and their numbers.
    open: Vec<(String, usize)>,
    last: String,
    count: usize,
}

impl Order {
    /// Takes the next one.
    ///
    /// # Errors
    /// [`SessionError::Protocol`]
    pub(super) fn next(&mut self, stat: &Stat, kind: Kind) -> Result<(), SessionError> {
        let path = stat.path.as_str();
        check(path)?;
        if self.count > 0 && compare(&self.last, path) != Ordering::Less {
            let text = format!("changes out of order: {path:?} {:?}", self.last);
            return Err(SessionError::Protocol(text));
        }
        let (parent, _) = split(path);
        while self
            .open
            .last()
            .is_some_and(|(open, _)| !is_above(open, path))
        {
            self.open.pop();
        }
        if self.open.last().map_or("", |(open, _)| open) != parent {
            let text = format!("{path:?} is in no directory that came before");
            return Err(SessionError::Protocol(text));
        }
        if kind == Kind::Directory {
            self.open.push((path.to_owned(), self.count));
        }
        path.clone_into(&mut self.last);
        self.count += 1;
        Ok(())
    }

    /// How many came.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The number of the directory that `path` is in, if it came and may still get files: so for every path
    /// from the last one on.
    pub(super) fn directory_of(&self, path: &str) -> Option<usize> {
        let (parent, _) = split(path);
        let open = self.open.iter().rev().find(|(open, _)| open == parent);
        open.map(|(_, number)| *number)
    }
}

/// Whether `path` is below `directory`.
pub(super) fn is_above(directory: &str, path: &str) -> bool {
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a path stays inside: relative, clean, and nothing that the kernel would not take.
fn check(path: &str) -> Result<(), SessionError> {
    let fits = |name: &str| {
        !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME && !name.contains('\0')
    };
    if path.len() <= MAX_PATH && path.split('/').all(fits) {
        return Ok(());
    }
    let shown: String = path.chars().take(256).collect();
    Err(SessionError::Protocol(format!("unclean path {shown:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::filesync::mode;

    fn go(order: &mut Order, path: &str, mode: u32) -> Result<(), SessionError> {
        let stat = Stat {
            path: path.to_owned(),
            mode,
            ..Stat::default()
        };
        order.next(&stat, Kind::of(&stat).unwrap())
    }

    #[test]
    fn a_walk_is_in_order() {
        let mut order = Order::default();
        for (path, kind) in [
            ("a", mode::DIR),
            ("a/b", mode::DIR),
            ("a/b/c", 0o644),
            ("a/x", 0),
            ("a.txt", 0),
            ("a0", mode::DIR),
            ("a0/ü", 0),
            ("b", 0),
        ] {
            go(&mut order, path, kind).unwrap();
        }
        assert_eq!(order.count(), 8);
        assert_eq!(order.directory_of("z"), None);
    }

    #[test]
    fn what_is_no_walk_is_refused() {
        for (first, kind, second) in [
            ("b", 0, "a"),
            ("a", 0, "a"),
            ("a", 0, "a/b"),
            ("a", mode::DIR, "b/c"),
            ("a", mode::DIR, "a/b/c"),
            ("a.txt", 0, "a"),
        ] {
            let mut order = Order::default();
            go(&mut order, first, kind).unwrap();
            go(&mut order, second, 0).unwrap_err();
        }
    }

    #[test]
    fn paths_stay_inside() {
        let long = "n".repeat(256);
        let longer = "n/".repeat(2048) + "n";
        for path in [
            "", "/", "/a", "..", "../a", "a/..", "a/../b", "a//b", "a/", "./a", "a/.", "a\0b",
            &long, &longer,
        ] {
            go(&mut Order::default(), path, 0).unwrap_err();
        }
    }

    proptest::proptest! {
        #[test]
        fn the_order_is_that_of_names(one in "[a-c./-]{0,8}", other in "[a-c./-]{0,8}") {
            let names = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
            proptest::prop_assert_eq!(compare(&one, &other), names(&one).cmp(&names(&other)));
        }
    }
}
