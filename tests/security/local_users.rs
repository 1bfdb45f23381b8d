//! A local user without rights looks at everything that a daemon has on disk.

use hull_tests::setup::with_each_client;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// `nobody`: no group of its own has anything to do with containers.
const NOBODY: u32 = 65_534;
/// Where the user is to look.
const WHERE: &str = "HULL_TEST_LOOK_AT";
/// What only the container and its owner know.
const SECRET: &str = "a-secret-of-the-container";

#[test]
fn a_local_user_reads_nothing_and_connects_to_nothing() {
    with_each_client(|s| {
        let secret = format!("SECRET={SECRET}");
        let script = format!("echo {SECRET}; echo {SECRET} >/file; sleep 1000");
        let id = s.run(&[
            "run",
            "-d",
            "--name",
            "looked-at",
            "-e",
            &secret,
            "busybox",
            "sh",
            "-c",
            &script,
        ]);
        let id = id.ok().to_owned();
        hull_tests::daemon::wait_until("the container has written", || {
            let logs = s.line("logs looked-at");
            logs.stdout.contains(SECRET).then_some(()).ok_or(logs)
        });
        let wrong = looked_at(&s.daemon.path(""));
        assert!(wrong.is_empty(), "container {id}: {wrong:#?}");
        let mode = |name: &str| {
            let found = fs_err::metadata(s.daemon.path(name)).expect("is there");
            found.permissions().mode() & 0o7777
        };
        for (name, expected) in [
            ("data", 0o710),
            ("data/containers", 0o710),
            ("data/hull.db", 0o600),
            ("run/containers", 0o700),
            ("run/netns", 0o700),
            ("run/runtime", 0o700),
        ] {
            assert_eq!(mode(name), expected, "{name}");
        }
        let _ = s.line("rm -f -v looked-at").ok();
    });
}

/// What the user could enter, read and connect to below a directory.
fn looked_at(directory: &Path) -> Vec<String> {
    // The directory of the test itself is in nobody's way.
    open_to_all(directory, 0o755);
    let program = directory.join("look");
    fs_err::copy(std::env::current_exe().expect("this program"), &program).expect("copied");
    open_to_all(&program, 0o755);
    let seen = Command::new(&program)
        .args(["--exact", "local_users::look", "--ignored", "--nocapture"])
        .env_clear()
        .env(WHERE, directory)
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .expect("the user looks");
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    assert!(seen.contains("looked"), "the user looked: {seen}");
    let found = ["entered ", "read ", "connected "];
    seen.lines()
        .filter(|line| found.iter().any(|word| line.starts_with(word)))
        .filter(|line| !of_the_test(line, directory))
        .map(str::to_owned)
        .collect()
}

fn open_to_all(path: &Path, mode: u32) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("opened");
}

/// Files that this test and its daemon's starter made, and the directory in which the sockets are.
fn of_the_test(line: &str, directory: &Path) -> bool {
    let path = line.split_once(' ').map_or(line, |(_, path)| path);
    let Ok(path) = Path::new(path).strip_prefix(directory) else {
        return false;
    };
    let own = ["", "run", "look", "log", "pid", "daemon.json"];
    own.iter().any(|own| path == Path::new(own)) || path.starts_with("client")
}

/// Not a test: what the user does, in a process of its own.
#[test]
#[ignore = "run by the test above as another user"]
fn look() {
    let Some(start) = std::env::var_os(WHERE) else {
        return;
    };
    let mut directories = vec![std::path::PathBuf::from(start)];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        println!("entered {}", directory.display());
        for path in entries.flatten().map(|entry| entry.path()) {
            let Ok(kind) = std::fs::symlink_metadata(&path).map(|data| data.file_type()) else {
                continue;
            };
            if kind.is_dir() {
                directories.push(path);
            } else if kind.is_file() && fs_err::File::open(&path).is_ok() {
                println!("read {}", path.display());
            } else if UnixStream::connect(&path).is_ok() {
                println!("connected {}", path.display());
            }
        }
    }
    println!("looked");
}
