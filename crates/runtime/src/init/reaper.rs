//! The init of a container that asks for one: reaps processes that lost their parent, passes signals on to the
//! command, and ends with it.
//!
//! It is this program, which stays above the command as process 1: nothing of the host's appears in the container,
//! and nothing is executed once more. Executed as `docker-init` it is the same to other runtimes.

use super::Common;
use crate::error::{Error, Step as _, said};
use hull_linux::process::{self, Signals};
use hull_linux::reactor::signal_process;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::process::{DumpableBehavior, Pid, WaitOptions, WaitStatus, getpid, setpgid, wait};
use std::ffi::{CString, OsString};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// `SIGCHLD`, the same on all architectures Hull runs on.
const SIGCHLD: i32 = 17;

/// Waits for the command at `child` to end; gives its exit code.
pub(super) fn run(child: Pid) -> Result<i32, Error> {
    let signals = Signals::open().step(|| "wait for signals")?;
    loop {
        if let Some(code) = reap(child)? {
            return Ok(code);
        }
        let mut ready = [PollFd::new(&signals, PollFlags::IN)];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).step(|| "wait for signals"),
        }
        while let Some(signal) = signals.next().step(|| "read a signal")? {
            if signal.number != SIGCHLD {
                // One that ended meanwhile is reaped next.
                let _ = signal_process(child.as_raw_nonzero().get(), signal.number);
            }
        }
    }
}

/// Takes all that have ended; gives the exit code of `child` if it is among them.
fn reap(child: Pid) -> Result<Option<i32>, Error> {
    let mut code = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => code = Some(exit_code(status)),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return Ok(code),
            // Who called the runtime ignores ends of processes, and so did the kernel here: the code is lost.
            Err(rustix::io::Errno::CHILD) => return Ok(code.or(Some(1))),
            Err(error) => return Err(error).step(|| "wait for processes"),
        }
    }
}

fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    }
}

/// Puts the calling process into a group of its own, which has the terminal if there is one: its keys are
/// the command's, not the init's.
pub(super) fn take_terminal() {
    // Neither failure keeps a program from running: without a terminal the second is usual.
    let _ = setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), getpid());
}

/// Lets the container's processes of its user see into `/proc/1` again, which executing a program would have done and
/// taking an identity has undone: many write to `/proc/1/fd/1` for the log.
pub(super) fn open_to_its_own() {
    // What cannot be set leaves it closed.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
}

/// Has the process list show an init and its command, and not how the runtime was called on the host.
pub(super) fn set_title(common: &Common<'_>, command: &[String]) {
    let _ = rustix::thread::set_name(c"docker-init");
    // A list that shows something else is no reason not to start.
    let _ = write_title(common, command);
}

fn write_title(common: &Common<'_>, command: &[String]) -> io::Result<()> {
    let missing = || io::Error::from(io::ErrorKind::InvalidData);
    let own = Path::new(&common.proc.own_id()?).join("stat");
    let stat = common.proc.open_at(&own, OFlags::RDONLY)?;
    let stat = io::read_to_string(std::fs::File::from(stat))?;
    // proc_pid_stat(5): what follows the name, which may have spaces, begins with field 3.
    let fields = stat.rsplit_once(')').ok_or_else(missing)?.1;
    let field = |number: usize| -> io::Result<u64> {
        let text = fields.split_whitespace().nth(number - 3);
        text.and_then(|text| text.parse().ok()).ok_or_else(missing)
    };
    // Arguments and, right behind, the environment: where they were when the program was executed.
    let (start, end, last) = (field(48)?, field(49)?, field(51)?);
    let length =
        |from: u64, to: u64| usize::try_from(to.saturating_sub(from)).map_err(|_| missing());
    let (arguments, all) = (length(start, end)?, length(start, last)?);
    if arguments == 0 || all > 1 << 21 {
        return Err(missing());
    }
    let mut title = Vec::new();
    let words = ["/sbin/docker-init", "--"];
    for word in words.into_iter().chain(command.iter().map(String::as_str)) {
        title.extend_from_slice(word.as_bytes());
        title.push(0);
    }
    title.truncate(arguments.saturating_sub(1));
    title.resize(all.max(arguments), 0);
    let memory = common.proc.open_own("mem")?;
    std::fs::File::from(memory).write_all_at(&title, start)
}

/// This program executed as `docker-init`: `docker-init -- command argument …`.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> i32 {
    let words = arguments
        .into_iter()
        .skip_while(|word| word == "--")
        .map(|word| CString::new(word.into_vec()));
    let outcome = words
        .collect::<Result<Vec<_>, _>>()
        .step(|| "arguments with a zero byte")
        .and_then(|words| above(&words));
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "docker-init: {}", crate::error::chain(&error));
        127
    })
}

fn above(words: &[CString]) -> Result<i32, Error> {
    let name = words.first().ok_or_else(|| said("no command"))?;
    let name = name.to_string_lossy();
    let path = std::env::var("PATH").unwrap_or_default();
    let program = super::program::look_up(&name, &path)?;
    let program = CString::new(program).step(|| "a path with a zero byte")?;
    let environment: Vec<CString> = std::env::vars_os()
        .filter_map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec()).ok()
        })
        .collect();
    process::block_all().step(|| "block signals")?;
    let child = process::fork(|| {
        take_terminal();
        process::reset_all();
        let error = process::execute(&program, words, &environment);
        let _ = writeln!(io::stderr(), "docker-init: exec {name}: {error}");
        127
    });
    run(child.step(|| "start the command")?)
}
