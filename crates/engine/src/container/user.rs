//! Who a process runs as: names looked up in the image's own files.
//!
//! The root file system is mounted in the shim only, so `/etc/passwd` is looked for where it lies:
//! in the writable directory, then in each layer from the top. Each is opened beneath its own
//! directory and through no symbolic link. Where a link is in the way the layers are put together, in
//! a mount that nobody else sees, and the link is followed within that: an image cannot make us read
//! the host's files.

use crate::{Error, ErrorKind, Result};
use hull_linux::path::Root;
use hull_spec::rootfs::RootFs;
use hull_spec::runtime::User;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, OFlags, fgetxattr, fstat};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The most bytes of `/etc/passwd` or `/etc/group` that are read. They come from strangers.
const MAX: u64 = 4 << 20;

/// A user with what the image's files say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) user: User,
    pub(super) home: String,
}

/// Resolves `user[:group]`, names or numbers, and supplementary `groups`.
///
/// # Errors
/// Docker's complaint about a name that is not in the files.
pub(super) fn resolve(root: &RootFs, text: &str, groups: &[String]) -> Result<Resolved> {
    let passwd = read(root, "etc/passwd");
    let group = read(root, "etc/group");
    from_files(&passwd, &group, text, groups)
}

fn from_files(passwd: &str, group: &str, text: &str, groups: &[String]) -> Result<Resolved> {
    let (user, own_group) = text.split_once(':').unwrap_or((text, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| {
            let id = fields.get(2).and_then(|id| id.parse::<u32>().ok());
            fields.len() >= 4 && (fields[0] == user || (number.is_some() && id == number))
        });
    let unable = |what: &str, name: &str| {
        let file = if what == "user" { "passwd" } else { "group" };
        // dockerd answers 500 here, not 400.
        Error::new(
            ErrorKind::Internal,
            format!("unable to find {what} {name}: no matching entries in {file} file"),
        )
    };
    let (name, uid, gid, home) = match &entry {
        Some(fields) => {
            let id = |at: usize| fields.get(at).and_then(|id| id.parse::<u32>().ok());
            let home = fields.get(5).copied().unwrap_or("/");
            (fields[0], id(2).unwrap_or(0), id(3).unwrap_or(0), home)
        }
        None => ("", number.ok_or_else(|| unable("user", user))?, 0, "/"),
    };
    let lookup = |wanted: &str| {
        let by_name = group_lines(group)
            .find(|(name, ..)| *name == wanted)
            .map(|(_, gid, _)| gid);
        by_name
            .or_else(|| wanted.parse().ok())
            .ok_or_else(|| unable("group", wanted))
    };
    let mut result = User {
        uid,
        gid,
        ..User::default()
    };
    if own_group.is_empty() {
        let member = |(_, _, members): &(&str, u32, &str)| {
            !name.is_empty() && members.split(',').any(|m| m == name)
        };
        result.additional_gids = group_lines(group)
            .filter(member)
            .map(|(_, gid, _)| gid)
            .collect();
    } else {
        result.gid = lookup(own_group)?;
    }
    for wanted in groups {
        result.additional_gids.push(lookup(wanted)?);
    }
    // The own group counts as supplementary too: else leaving it would gain what it is denied
    // (CVE-2022-36109).
    if !result.additional_gids.contains(&result.gid) {
        result.additional_gids.insert(0, result.gid);
    }
    let home = if home.is_empty() { "/" } else { home };
    Ok(Resolved {
        user: result,
        home: home.to_owned(),
    })
}

fn group_lines(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _, gid, members) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next().unwrap_or(""),
        );
        Some((name, gid.parse().ok()?, members.trim()))
    })
}

fn read(root: &RootFs, path: &str) -> String {
    let found = match root {
        RootFs::Directory { path: directory } => {
            Root::open(directory).ok().map(|root| (root, path))
        }
        RootFs::Overlay { lower, upper, .. } => {
            let layers = || upper.iter().chain(lower).map(PathBuf::as_path);
            match layers()
                .map(|layer| ask(layer, path))
                .find(|said| !matches!(said, Said::Nothing))
            {
                Some(Said::Content(text)) => return text,
                Some(Said::Link) => hull_linux::mount::overlay_of(layers())
                    .ok()
                    .map(|merged| (Root::from_directory(merged), path)),
                Some(Said::Absent | Said::Nothing) | None => None,
            }
        }
    };
    found
        .and_then(|(root, path)| content(|flags| root.open_at(Path::new(path), flags)))
        .unwrap_or_default()
}

/// What a layer says of a file.
enum Said {
    Nothing,
    /// That there is no such file: it is something else here, removed, or in a directory that hides
    /// those below.
    Absent,
    /// A symbolic link is in the way, which only the layers together can resolve.
    Link,
    Content(String),
}

fn ask(layer: &Path, path: &str) -> Said {
    let Ok(root) = Root::open(layer) else {
        return Said::Nothing;
    };
    let open = |path: &Path, flags| root.open_without_links(path, flags);
    let kind = |error: std::io::Error| {
        error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
    };
    match open(Path::new(path), OFlags::PATH).map_err(kind) {
        Ok(_) => content(|flags| open(Path::new(path), flags)).map_or(Said::Absent, Said::Content),
        Err(Some(rustix::io::Errno::LOOP)) => Said::Link,
        Err(Some(rustix::io::Errno::NOTDIR)) => Said::Absent,
        Err(_) => {
            let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
            match open(parent, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(parent) if is_opaque(&parent) => Said::Absent,
                _ => Said::Nothing,
            }
        }
    }
}

/// Whether a directory of a layer hides those of the same name below it (overlayfs documentation,
/// "whiteouts and opaque directories").
fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0_u8; 1];
    let length = fgetxattr(directory, "trusted.overlay.opaque", &mut value[..]);
    length == Ok(1) && value == *b"y"
}

/// The text of a regular file.
fn content(open: impl Fn(OFlags) -> std::io::Result<OwnedFd>) -> Option<String> {
    // O_PATH first: opening a device or a FIFO has effects, and a whiteout is a device.
    let found = open(OFlags::PATH).ok()?;
    if FileType::from_raw_mode(fstat(&found).ok()?.st_mode) != FileType::RegularFile {
        return None;
    }
    let file = open(OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
    let mut bytes = Vec::new();
    File::from(file).take(MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001:u:/home/u:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:1001:\nstaff:x:50:user,other\n";

    fn resolved(text: &str, groups: &[&str]) -> (u32, u32, Vec<u32>, String) {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let Resolved { user, home } = from_files(PASSWD, GROUP, text, &groups).unwrap();
        (user.uid, user.gid, user.additional_gids, home)
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(resolved("", &[]), (0, 0, vec![0], "/root".to_owned()));
        assert_eq!(
            resolved("user", &[]),
            (1000, 1001, vec![1001, 50], "/home/u".to_owned())
        );
        assert_eq!(
            resolved("1000", &[]),
            (1000, 1001, vec![1001, 50], "/home/u".to_owned())
        );
        assert_eq!(resolved("5:6", &[]), (5, 6, vec![6], "/".to_owned()));
        assert_eq!(
            resolved("user:staff", &[]),
            (1000, 50, vec![50], "/home/u".to_owned())
        );
        assert_eq!(
            resolved("0", &["staff", "77"]),
            (0, 0, vec![0, 50, 77], "/root".to_owned())
        );
        let unknown = from_files(PASSWD, GROUP, "nosuch", &[]).unwrap_err();
        assert_eq!(
            unknown.message(),
            "unable to find user nosuch: no matching entries in passwd file"
        );
        let unknown = from_files(PASSWD, GROUP, "0:nosuch", &[]).unwrap_err();
        assert_eq!(
            unknown.message(),
            "unable to find group nosuch: no matching entries in group file"
        );
    }

    #[test]
    fn layers_are_asked_from_the_top_and_links_followed_inside() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["upper", "top/etc", "base/etc", "base/usr/lib"] {
            fs_err::create_dir_all(at(name)).unwrap();
        }
        fs_err::write(at("base/etc/passwd"), PASSWD).unwrap();
        let root = RootFs::Overlay {
            lower: vec![at("top"), at("base")],
            upper: Some(at("upper")),
            work: None,
            volatile: false,
        };
        assert_eq!(resolve(&root, "user", &[]).unwrap().user.uid, 1000);

        // A link whose target is in another layer, and which must not end at the host's file.
        let other = PASSWD.replace("1000", "2000");
        fs_err::write(at("base/usr/lib/passwd"), other).unwrap();
        symlink("/usr/lib/passwd", at("top/etc/passwd")).unwrap();
        let found = resolve(&root, "user", &[]);
        if hull_linux::mount::overlay_of([at("top"), at("base")].iter().map(PathBuf::as_path))
            .is_ok()
        {
            assert_eq!(found.unwrap().user.uid, 2000);
        } else {
            println!("skipped: not allowed to mount an overlay of many directories");
        }
        fs_err::remove_file(at("top/etc/passwd")).unwrap();
        symlink(
            "../../../../../../../../../etc/passwd",
            at("top/etc/passwd"),
        )
        .unwrap();
        assert!(resolve(&root, "nobody", &[]).is_err());

        // What hides the layers below hides them here too.
        fs_err::remove_dir_all(at("top/etc")).unwrap();
        fs_err::write(at("top/etc"), "").unwrap();
        assert!(resolve(&root, "user", &[]).is_err());
        fs_err::remove_file(at("top/etc")).unwrap();
        fs_err::create_dir(at("top/etc")).unwrap();
        let opaque = rustix::fs::setxattr(
            at("top/etc"),
            "trusted.overlay.opaque",
            b"y",
            rustix::fs::XattrFlags::empty(),
        );
        if opaque.is_ok() {
            assert!(resolve(&root, "user", &[]).is_err());
        }
    }

    #[test]
    fn a_directory_is_a_root_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(directory.path().join("etc")).unwrap();
        fs_err::write(directory.path().join("etc/real"), PASSWD).unwrap();
        std::os::unix::fs::symlink("/etc/real", directory.path().join("etc/passwd")).unwrap();
        let root = RootFs::Directory {
            path: directory.path().to_owned(),
        };
        assert_eq!(resolve(&root, "user", &[]).unwrap().user.uid, 1000);
    }
}
