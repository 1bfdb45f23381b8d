//! What the tests of Hull share: a real registry on loopback, images made from Debian's packages, a
//! daemon on directories of its own, and clients driven as a person would drive them.
//!
//! Nothing here links against the engine: the tests see what a user sees.
#![forbid(unsafe_code)]

pub mod client;
pub mod command;
pub mod daemon;
pub mod host;
pub mod http;
pub mod image;
pub mod index;
pub mod liar;
pub mod registry;
pub mod setup;

use std::path::PathBuf;

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
