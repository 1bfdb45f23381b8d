//! Whether a source can propagate its mounts: mount_namespaces(7).

use super::{MountPoint, Propagation};
use crate::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// What a container's mounts mean for its root: the widest propagation of them all, as dockerd has it.
pub(super) fn of_root(points: &[MountPoint]) -> &'static str {
    let any = |words: [Propagation; 2]| {
        let words = words.map(Propagation::as_str);
        points
            .iter()
            .any(|point| words.contains(&&*point.propagation))
    };
    if any([Propagation::Shared, Propagation::RShared]) {
        "shared"
    } else if any([Propagation::Slave, Propagation::RSlave]) {
        "rslave"
    } else {
        ""
    }
}

/// Checks the sources of mounts that propagate; a propagation that nobody asked for gives way to none.
///
/// # Errors
/// Docker's complaint about a source whose mount is not shared.
pub(super) fn settle(points: &mut [MountPoint]) -> Result<()> {
    let mut table = None;
    for point in points.iter_mut().filter(|point| point.kind == "bind") {
        let needs = match point.propagation.as_str() {
            "shared" | "rshared" => &["shared:"][..],
            "slave" | "rslave" => &["shared:", "master:"],
            _ => continue,
        };
        let table = table.get_or_insert_with(|| {
            fs_err::read_to_string("/proc/self/mountinfo").unwrap_or_default()
        });
        let source = fs_err::canonicalize(&point.source);
        let source = source.unwrap_or_else(|_| PathBuf::from(&point.source));
        let Some((at, tags)) = mount_of(table, &source) else {
            continue;
        };
        if needs
            .iter()
            .any(|tag| tags.iter().any(|own| own.starts_with(tag)))
        {
            continue;
        }
        if point.propagation_by_default {
            Propagation::RPrivate
                .as_str()
                .clone_into(&mut point.propagation);
            continue;
        }
        let wanted = if needs.len() == 1 {
            "shared"
        } else {
            "shared or slave"
        };
        let text = format!(
            "path {} is mounted on {} but it is not a {wanted} mount",
            point.source,
            at.display()
        );
        return Err(Error::new(ErrorKind::Internal, text));
    }
    Ok(())
}

/// The mount that a path is on, the last one that covers it, and its optional fields; `mountinfo` as in
/// proc_pid_mountinfo(5).
fn mount_of<'t>(mountinfo: &'t str, path: &Path) -> Option<(PathBuf, Vec<&'t str>)> {
    let mut best: Option<(PathBuf, Vec<&str>)> = None;
    for line in mountinfo.lines() {
        let mut fields = line.split(' ');
        let Some(at) = fields.nth(4).map(|at| PathBuf::from(unescaped(at))) else {
            continue;
        };
        let longest = best
            .as_ref()
            .is_none_or(|(known, _)| at.components().count() >= known.components().count());
        if path.starts_with(&at) && longest {
            let tags = fields.skip(1).take_while(|field| *field != "-").collect();
            best = Some((at, tags));
        }
    }
    best
}

/// Blanks and the like are written as three octal digits behind a backslash.
fn unescaped(text: &str) -> String {
    let mut plain = text.to_owned();
    for (code, meant) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        plain = plain.replace(code, meant);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "22 1 0:20 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /a\\040b rw,relatime shared:5 master:1 - tmpfs tmpfs rw
24 23 0:22 / /a\\040b/c rw - tmpfs tmpfs rw";

    #[test]
    fn the_mount_of_a_path_is_the_deepest() {
        let of = |path: &str| {
            let (at, tags) = mount_of(TABLE, Path::new(path)).unwrap();
            (at.display().to_string(), tags.join(" "))
        };
        assert_eq!(of("/x"), ("/".to_owned(), String::new()));
        assert_eq!(
            of("/a b/x"),
            ("/a b".to_owned(), "shared:5 master:1".to_owned())
        );
        assert_eq!(of("/a b/c/d"), ("/a b/c".to_owned(), String::new()));
        assert_eq!(of("/a bc").0, "/");
    }

    #[test]
    fn the_root_gets_the_widest_propagation() {
        let points = |words: &[&str]| {
            let words = words.iter();
            words
                .map(|word| MountPoint {
                    propagation: (*word).to_owned(),
                    ..MountPoint::default()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(of_root(&points(&["rprivate", ""])), "");
        assert_eq!(of_root(&points(&["rprivate", "slave"])), "rslave");
        assert_eq!(of_root(&points(&["rslave", "rshared"])), "shared");
    }
}
