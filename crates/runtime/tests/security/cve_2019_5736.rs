//! A container overwrites the runtime through `/proc/PID/exe`.

use crate::bundle::{Container, copy};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// A container with a runtime of its own to attack: nobody else runs it, so that the only obstacle to
/// writing is the one that is tested.
fn container(name: &str, args: &[&str]) -> Option<Container> {
    let mut container = Container::new(name, args)?;
    let own = container.path("runtime");
    copy(&container.runtime, &own);
    container.runtime = own;
    Some(container)
}

/// Keeps hold of a process' executable as an attacker would, and gives the error of writing to it once
/// `gone` has made the process execute something else or end.
fn write_to_executable(pid: &str, gone: impl FnOnce()) -> Option<Errno> {
    let path = format!("/proc/{pid}/exe");
    let held = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    gone();
    let again = format!("/proc/self/fd/{}", held.as_raw_fd());
    open(again, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).err()
}

#[test]
fn the_first_process_does_not_show_a_writable_runtime() {
    let Some(container) = container("5736-init", &["true"]) else {
        return;
    };
    container.create().assert_succeeded();
    let error = write_to_executable(&container.pid(), || {
        container.start().assert_succeeded();
        container.delete().assert_succeeded();
    });
    assert_eq!(error, Some(Errno::ROFS));
    let writable = open(&container.runtime, OFlags::WRONLY, Mode::empty());
    assert!(
        writable.is_ok(),
        "the file itself can be written, or the test shows nothing"
    );
}

/// The attack as it was published: the image's program is a link to `/proc/self/exe`, its libraries
/// are the attacker's.
#[test]
fn a_program_that_is_the_runtime_itself_cannot_be_written() {
    let Some(container) = container("5736-self", &["sleep", "1000"]) else {
        return;
    };
    for library in libraries() {
        let target = container.inside(library.trim_start_matches('/'));
        fs_err::create_dir_all(target.parent().unwrap()).unwrap();
        copy(Path::new(&library), &target);
    }
    fs_err::os::unix::fs::symlink("/proc/self/exe", container.inside("bin/evil")).unwrap();
    container.create().assert_succeeded();
    container.start().assert_succeeded();
    // It stops at opening its log, which nobody reads.
    let log = container.inside("log");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &log,
        rustix::fs::FileType::Fifo,
        Mode::RWXU,
        0,
    )
    .unwrap();
    let pid_file = container.path("pid");
    let options = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
    let evil = ["evil", "--root", "/nosuch", "--log", "/log", "state", "x"];
    container.exec(&options, &evil).assert_succeeded();
    let pid = container.pid();
    let program = fs_err::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_ne!(
        program,
        Path::new("/bin/busybox"),
        "it is the runtime that runs"
    );
    let error = write_to_executable(&pid, || container.delete().assert_succeeded());
    assert_eq!(error, Some(Errno::ROFS));
}

/// The libraries of this program, which are those of the runtime, and the program loader.
fn libraries() -> Vec<String> {
    let maps = fs_err::read_to_string("/proc/self/maps").unwrap();
    let paths = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5));
    let mut libraries: Vec<String> = paths
        .filter(|path| path.contains(".so"))
        .map(str::to_owned)
        .collect();
    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    libraries.extend(
        loaders
            .iter()
            .filter(|path| Path::new(path).exists())
            .map(|&path| path.to_owned()),
    );
    // The runtime may need one more than this program.
    let math = |path: &String| {
        path.strip_suffix("libc.so.6")
            .map(|to| format!("{to}libm.so.6"))
    };
    libraries.extend(libraries.iter().filter_map(math).collect::<Vec<_>>());
    libraries.sort();
    libraries.dedup();
    libraries
}
