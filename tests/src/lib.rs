//! What the tests of Hull share: a real registry on loopback, images made from Debian's packages, a
//! daemon on directories of its own, and clients driven as a person would drive them.
//!
//! Nothing here links against the engine: the tests see what a user sees.
#![forbid(unsafe_code)]

pub mod browser;
pub mod client;
pub mod command;
pub mod daemon;
pub mod host;
pub mod http;
pub mod image;
pub mod index;
pub mod layout;
pub mod liar;
pub mod names;
pub mod probe;
pub mod registry;
pub mod setup;
pub mod stream;

use std::path::{Path, PathBuf};

/// The directory with the binaries under test: that of the running test, or `$HULL_BIN`.
///
/// # Panics
/// When the test binary's own path cannot be found.
#[must_use]
pub fn binaries() -> PathBuf {
    if let Some(directory) = std::env::var_os("HULL_BIN") {
        return directory.into();
    }
    let own = std::env::current_exe().expect("a program knows its own path");
    own.ancestors()
        .find(|directory| directory.join("hull").is_file())
        .expect("the binaries are built before the tests: cargo build --workspace")
        .to_path_buf()
}

/// Prints why a test did not run and gives `false`, or gives `true`.
#[must_use]
pub fn can_run(what: &str, available: bool) -> bool {
    if !available {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: {what} is missing here");
        }
    }
    available
}

/// The control groups of a container that are there, in whichever hierarchy; with the default parent.
#[must_use]
pub fn groups(id: &str) -> Vec<String> {
    let root = Path::new("/sys/fs/cgroup");
    let below = fs_err::read_dir(root).into_iter().flatten().flatten();
    let hierarchies = below.map(|entry| entry.path()).chain([root.to_owned()]);
    let groups = hierarchies.map(|hierarchy| hierarchy.join("hull").join(id));
    let there = groups.filter(|group| group.exists());
    there.map(|group| group.display().to_string()).collect()
}

/// Whether layers of a store in `dir` must be mounted from files: the kernel does so since 6.12, with
/// EROFS in it, from file systems that are neither memory nor layers themselves.
///
/// # Panics
/// When the kernel does not say what it is.
#[must_use]
pub fn mounts_layers(dir: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const OVERLAY: u64 = 0x794c_7630;
    let uname = rustix::system::uname();
    let release = uname.release().to_str().expect("a release of Linux");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
    let known = fs_err::read_to_string("/proc/filesystems").expect("the kernel's file systems");
    let below = rustix::fs::statfs(dir).expect("the store's file system");
    let below = u64::try_from(below.f_type).unwrap_or_default();
    let available = number().zip(number()) >= Some((6, 12))
        && known.split_whitespace().any(|word| word == "erofs")
        && ![TMPFS, OVERLAY].contains(&below);
    can_run("mounting layers from files", available)
}
