//! The form of `cases/*.txt`: a Dockerfile, its context, and how it is built.
//!
//! ```text
//! # What the case is about.
//! args: --build-arg A=b --secret id=x,src=../secret     further arguments; paths are the context's
//! before: -f Dockerfile.base -t proof-onbuild           a build that comes before (any number)
//! needs: buildx                                         what the classic endpoint has no words for
//! needs: tools                                          an image with programs (`TREES` in `main.rs`)
//! setup: mkfifo pipe; chmod 4755 file                   a line of shell, run in the context
//! loose: /out/*                                         files whose contents are not compared
//! === Dockerfile
//! FROM proof-base
//! === sub/file 600
//! text of a file of the context, and its mode
//! === ../secret
//! beside the context
//! ```
//!
//! A line that ends in `\r`, or a file without a last line break, is made by `setup`.

use hull_tests::daemon::other_engine;
use hull_tests::host::reference;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What all files of contexts say of their age, unless `setup` gave them one: 2020-09-13 12:26:40.
const AGE: i64 = 1_600_000_000;

/// A case as it is written down.
#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Further arguments of the build.
    pub(crate) args: Vec<String>,
    /// Arguments of builds that come before.
    pub(crate) before: Vec<Vec<String>>,
    /// Whether only BuildKit's clients can ask for it.
    pub(crate) buildx: bool,
    /// Patterns of files whose contents are not compared.
    pub(crate) loose: Vec<String>,
    /// The images with programs that it begins from.
    pub(crate) trees: Vec<String>,
    setup: Vec<String>,
    files: Vec<(String, u32, String)>,
}

/// Reads a case.
pub(crate) fn parse(name: &str, text: &str) -> Case {
    let mut case = Case {
        name: name.to_owned(),
        ..Case::default()
    };
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end_matches('\n');
        if let Some(head) = bare.strip_prefix("=== ") {
            // Names may have spaces.
            let mode = head.rsplit_once(' ');
            let mode =
                mode.and_then(|(path, mode)| Some((path, u32::from_str_radix(mode, 8).ok()?)));
            let (path, mode) = mode.unwrap_or((head, 0o644));
            case.files.push((path.to_owned(), mode, String::new()));
        } else if let Some((_, _, content)) = case.files.last_mut() {
            content.push_str(line);
        } else if let Some((key, value)) = bare.split_once(": ").filter(|_| !bare.starts_with('#'))
        {
            match key {
                "args" => case.args = words(value),
                "before" => case.before.push(words(value)),
                "needs" => {
                    for word in words(value) {
                        match word.as_str() {
                            "buildx" => case.buildx = true,
                            _ => case.trees.push(word),
                        }
                    }
                }
                "setup" => case.setup.push(value.to_owned()),
                "loose" => case.loose = words(value),
                other => panic!("{name}: what is {other}?"),
            }
        } else {
            assert!(bare.is_empty() || bare.starts_with('#'), "{name}: {bare}");
        }
    }
    case
}

impl Case {
    /// Writes the context, all of one age.
    pub(crate) fn write(&self, context: &Path) {
        fs_err::create_dir_all(context).unwrap();
        for (path, mode, content) in &self.files {
            let path = context.join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            let mut content = content.clone();
            if reference().is_some() || other_engine().is_some() {
                // docker would fetch that frontend, which is the one that it has.
                content = content.replace("syntax", "s-ntax");
            }
            fs_err::write(&path, content).unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(*mode)).unwrap();
        }
        if !self.setup.is_empty() {
            let script = format!("set -euf; umask 022; set +f\n{}", self.setup.join("\n"));
            let mut command = std::process::Command::new("sh");
            command.args(["-c", &script]).current_dir(context);
            let _ = hull_tests::command::run(&mut command, &[]).ok();
        }
        age(context);
    }
}

/// Gives all below `path` one age, but for what has one.
fn age(path: &Path) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs_err::symlink_metadata(path).unwrap();
    if metadata.is_dir() {
        for entry in fs_err::read_dir(path).unwrap() {
            age(&entry.unwrap().path());
        }
    }
    if metadata.mtime() > AGE {
        let time = Timespec {
            tv_sec: AGE,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}
