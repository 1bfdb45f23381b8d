//! What every [`Snapshotter`] has to do, as tests: give [`check`] a way to make one.

use super::{Error, Snapshotter, Usage};
use hull_spec::Digest;
use hull_spec::rootfs::RootFs;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// A snapshotter to test, and two layers that it has: the first with the files `a` ("1") and `d/b`
/// ("2"), the second with `a` ("3"), a whiteout of `d/b`, and a root of mode 0711.
pub(crate) struct Subject<S> {
    pub(crate) snapshotter: S,
    pub(crate) layers: [Digest; 2],
}

/// Runs all checks.
pub(crate) fn check<S: Snapshotter>(make: impl Fn(&Path) -> Subject<S>) {
    for check in [life, layering, many, refusals] {
        let dir = tempfile::tempdir().unwrap();
        let subject = make(dir.path());
        check(&subject.snapshotter, &subject.layers, dir.path());
        let mounts = dir.path().join("mounts");
        let _ = unmount(&mounts, UnmountFlags::DETACH);
    }
}

fn prepared(s: &dyn Snapshotter, key: &str, layers: &[Digest]) -> RootFs {
    s.prepare(key, layers).unwrap();
    s.root_fs(key).unwrap()
}

fn life(s: &dyn Snapshotter, layers: &[Digest; 2], _: &Path) {
    s.prepare("one", layers).unwrap();
    assert_eq!(s.root_fs("one").unwrap(), s.describe("one").unwrap());
    assert_eq!(s.usage("one").unwrap(), Usage::default());
    s.prepare("two", &[]).unwrap();
    assert_eq!(s.keys().unwrap(), ["one", "two"]);
    s.remove("one").unwrap();
    s.remove("one").unwrap();
    assert!(matches!(s.root_fs("one"), Err(Error::Missing(_))));
    assert_eq!(s.keys().unwrap(), ["two"]);
    s.prepare("one", layers).unwrap();
}

fn layering(s: &dyn Snapshotter, layers: &[Digest; 2], dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let root = prepared(s, "c", layers);
    let Some(mounted) = Mounted::new(&root, dir) else {
        return;
    };
    let path = |name: &str| mounted.0.join(name);
    assert_eq!(fs_err::read(path("a")).unwrap(), b"3");
    assert!(path("d").is_dir() && !path("d/b").exists());
    let mode = fs_err::metadata(&mounted.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o711);
    fs_err::write(path("new"), b"12345").unwrap();
    assert_eq!(
        s.usage("c").unwrap(),
        Usage {
            size: 5,
            entries: 1
        }
    );
    drop(mounted);
    let other = prepared(s, "other", layers);
    let mounted = Mounted::new(&other, dir).unwrap();
    assert!(!mounted.0.join("new").exists());
}

/// A layer may occur several times, and there may be more than fit into a mount's options.
fn many(s: &dyn Snapshotter, layers: &[Digest; 2], dir: &Path) {
    let repeated: Vec<Digest> = (0..200).map(|i| layers[i % 2].clone()).collect();
    let root = prepared(s, "many", &repeated);
    if let Some(mounted) = Mounted::new(&root, dir) {
        assert_eq!(fs_err::read(mounted.0.join("a")).unwrap(), b"3");
    }
}

fn refusals(s: &dyn Snapshotter, layers: &[Digest; 2], _: &Path) {
    for key in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "a\0"] {
        assert!(
            matches!(s.prepare(key, layers), Err(Error::Key(_))),
            "{key}"
        );
        assert!(s.remove(key).is_err());
    }
    s.prepare("x", layers).unwrap();
    assert!(matches!(s.prepare("x", layers), Err(Error::Exists(_))));
    let unknown = Digest::from_sha256(&[9; 32]);
    let error = s.prepare("y", &[unknown]);
    assert!(matches!(error, Err(Error::Layer { .. })));
    assert!(matches!(s.root_fs("y"), Err(Error::Missing(_))));
}

/// A mounted root, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where mounting is not allowed.
    fn new(root: &RootFs, dir: &Path) -> Option<Self> {
        let target = dir.join("mounted");
        fs_err::create_dir_all(&target).unwrap();
        let result = match root {
            RootFs::Directory { path } => mount(path, &target, "", MountFlags::BIND, None),
            RootFs::Overlay {
                lower, upper, work, ..
            } => {
                let lower: Vec<&str> = lower.iter().map(|l| l.to_str().unwrap()).collect();
                let (upper, work) = (upper.as_ref().unwrap(), work.as_ref().unwrap());
                let options = format!(
                    "lowerdir={},upperdir={},workdir={}",
                    lower.join(":"),
                    upper.display(),
                    work.display()
                );
                let options = CString::new(options).unwrap();
                mount(
                    "overlay",
                    &target,
                    "overlay",
                    MountFlags::empty(),
                    options.as_c_str(),
                )
            }
        };
        match result {
            Ok(()) => Some(Self(target)),
            Err(rustix::io::Errno::PERM) => {
                println!("skipped: not allowed to mount");
                None
            }
            Err(error) => panic!("mount {root:?}: {error}"),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}
