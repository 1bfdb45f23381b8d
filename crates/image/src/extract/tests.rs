use super::*;
use crate::diff::{Part, part};
use proptest::prelude::*;
use std::os::unix::fs::{MetadataExt as _, symlink};

/// A root with a directory `dest` in it, and one beside the root.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(dir.path().join("root/dest")).unwrap();
        fs_err::create_dir_all(dir.path().join("outside")).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn extract(&self, archive: &[u8], options: Options) -> Result<(), Error> {
        let root = Root::open(&self.path("root")).unwrap();
        let path = Path::new("/dest");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = root.open_at(path, flags).unwrap();
        extract(&mut &archive[..], (&root, path, directory), options)
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path("root").join(name)).unwrap()
    }
}

/// `name` and content, `name ->` and target, `name =` and target, `name/`.
fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o640);
        header.set_mtime(77);
        // The process's own: tests may be run by others than root.
        header.set_uid(rustix::process::getuid().as_raw().into());
        header.set_gid(rustix::process::getgid().as_raw().into());
        let (name, kind, link) = match (name.strip_suffix(" ->"), name.strip_suffix(" =")) {
            (Some(name), _) => (name, tar::EntryType::Symlink, true),
            (_, Some(name)) => (name, tar::EntryType::Link, true),
            _ if name.ends_with('/') => (*name, tar::EntryType::Directory, false),
            _ => (*name, tar::EntryType::Regular, false),
        };
        header.set_entry_type(kind);
        if kind == tar::EntryType::Directory {
            header.set_mode(0o750);
        }
        // Names that the crate refuses are wanted, too.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        if link {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let data = if link { "" } else { content };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn files_directories_and_links_arrive() {
    let scene = Scene::new();
    let archive = archive(&[
        ("a/", ""),
        ("a/f", "one"),
        ("a/g =", "a/f"),
        ("a/s ->", "f"),
        ("implied/deep/f", "two"),
        (".wh.f", "no whiteout"),
    ]);
    scene.extract(&archive, Options::default()).unwrap();
    assert_eq!(scene.read("dest/a/f"), "one");
    assert_eq!(scene.read("dest/a/s"), "one");
    assert_eq!(scene.read("dest/implied/deep/f"), "two");
    assert_eq!(scene.read("dest/.wh.f"), "no whiteout");
    let stat = |name: &str| fs_err::symlink_metadata(scene.path("root/dest").join(name)).unwrap();
    assert_eq!((stat("a").mode() & 0o7777, stat("a").mtime()), (0o750, 77));
    assert_eq!(stat("a/f").ino(), stat("a/g").ino());
    assert_eq!(stat("implied").mode() & 0o7777, 0o755);
}

#[test]
fn nothing_leads_out_of_the_root() {
    let scene = Scene::new();
    let outside = scene.path("outside");
    symlink(&outside, scene.path("root/dest/absolute")).unwrap();
    symlink("../../../../outside", scene.path("root/dest/up")).unwrap();
    fs_err::write(outside.join("victim"), "safe").unwrap();
    symlink(outside.join("victim"), scene.path("root/dest/victim")).unwrap();
    let archive = archive(&[
        ("absolute/x", "1"),
        ("up/x", "2"),
        ("victim", "replaced"),
        ("evil ->", "/etc"),
        ("evil/x", "3"),
    ]);
    scene.extract(&archive, Options::default()).unwrap();
    assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(
        fs_err::read_to_string(outside.join("victim")).unwrap(),
        "safe"
    );
    assert_eq!(scene.read("dest/victim"), "replaced");
    assert_eq!(scene.read("outside/x"), "2");
    assert_eq!(scene.read("etc/x"), "3");
    for name in ["../x", "a/../../x"] {
        let archive = self::archive(&[(name, "out")]);
        let error = scene.extract(&archive, Options::default()).unwrap_err();
        assert!(matches!(error, Error::Outside { .. }), "{error}");
    }
    let archive = self::archive(&[("link =", "../../outside/victim")]);
    assert!(scene.extract(&archive, Options::default()).is_err());
}

#[test]
fn kinds_are_kept_when_that_is_asked_for() {
    let scene = Scene::new();
    let (file, directory) = (archive(&[("f", "1")]), archive(&[("f/", "")]));
    let keep = Options {
        keep_kind: true,
        ..Options::default()
    };
    scene.extract(&file, keep).unwrap();
    let error = scene.extract(&directory, keep).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"cannot overwrite non-directory "f" with directory "/dest""#
    );
    scene.extract(&directory, Options::default()).unwrap();
    fs_err::write(scene.path("root/dest/f/below"), "").unwrap();
    let error = scene.extract(&file, keep).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"cannot overwrite directory "f" with non-directory "/dest""#
    );
    let both = archive(&[("f/x", "2"), ("f", "3"), ("f/", ""), ("f/y", "4")]);
    scene.extract(&both, Options::default()).unwrap();
    assert_eq!(scene.read("dest/f/y"), "4");
    assert!(!scene.path("root/dest/f/below").exists());
}

#[test]
fn an_owner_replaces_those_of_the_archive() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root gives files away");
        return;
    }
    let scene = Scene::new();
    let options = Options {
        owner: Some((5, 6)),
        ..Options::default()
    };
    scene.extract(&archive(&[("f", "1")]), options).unwrap();
    let stat = fs_err::metadata(scene.path("root/dest/f")).unwrap();
    assert_eq!((stat.uid(), stat.gid()), (5, 6));
}

#[test]
fn what_is_no_archive_is_refused_and_what_is_empty_is_not() {
    let scene = Scene::new();
    let error = scene.extract(&[7; 700], Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "archive/tar: invalid tar header");
    scene.extract(&[], Options::default()).unwrap();
    let mut cut = archive(&[("f", "123456")]);
    cut.truncate(515);
    assert!(scene.extract(&cut, Options::default()).is_err());
}

#[test]
fn what_comes_out_goes_in() {
    let scene = Scene::new();
    let first = archive(&[
        ("d/", ""),
        ("d/f", "1"),
        ("d/g =", "d/f"),
        ("d/s ->", "nowhere"),
    ]);
    scene.extract(&first, Options::default()).unwrap();
    let out = |directory: &str| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let path = scene.path("root/dest").join(directory);
        let directory = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        let mut out = Vec::new();
        part(Part::Directory(directory.as_fd()), b"d", &mut out).unwrap();
        out
    };
    let archived = out("d");
    fs_err::create_dir(scene.path("root/dest/again")).unwrap();
    let root = Root::open(&scene.path("root")).unwrap();
    let path = Path::new("/dest/again");
    let directory = root
        .open_at(path, OFlags::RDONLY | OFlags::DIRECTORY)
        .unwrap();
    extract(
        &mut archived.as_slice(),
        (&root, path, directory),
        Options::default(),
    )
    .unwrap();
    assert_eq!(out("again/d"), archived);
}

proptest! {
    #[test]
    fn no_names_lead_out(names in prop::collection::vec("(\\.\\.|/|a|b|l|\\.){1,6}", 1..6)) {
        let scene = Scene::new();
        symlink("../../outside", scene.path("root/dest/l")).unwrap();
        for name in &names {
            let archive = archive(&[(name, "x"), ("l/b", "y")]);
            let _ = scene.extract(&archive, Options::default());
        }
        prop_assert_eq!(fs_err::read_dir(scene.path("outside")).unwrap().count(), 0);
        prop_assert_eq!(fs_err::read_dir(scene.dir.path()).unwrap().count(), 2);
    }
}
