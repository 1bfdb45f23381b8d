//! Running hooks: state on standard input, a time limit, output kept for the error.

use crate::error::{Error, Step as _, said};
use hull_linux::process;
use hull_spec::runtime::{Hook, State};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd as _;
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The most bytes of a hook's output that go into an error.
const MAX_OUTPUT: u64 = 4096;

/// Runs the hooks of a kind in order; the first that fails stops. Those without an environment have the
/// runtime's. Those of the runtime's namespace start in the bundle, the others where the caller is.
pub(crate) fn run(kind: &str, hooks: &[Hook], state: &State) -> Result<(), Error> {
    run_in(None, kind, hooks, state)
}

/// As [`run`], with another environment for the hooks that have none.
pub(crate) fn run_in(
    environment: Option<&[String]>,
    kind: &str,
    hooks: &[Hook],
    state: &State,
) -> Result<(), Error> {
    if hooks.is_empty() {
        return Ok(());
    }
    let input = serde_json::to_vec(state).step(|| "encode the state")?;
    let bundle = Path::new(&state.bundle);
    let in_container = matches!(kind, "createContainer" | "startContainer");
    let directory = Some(bundle).filter(|bundle| !in_container && bundle.is_dir());
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, hook.env.as_deref().or(environment), directory, &input)
            .step(|| format!("error running {kind} hook #{index}"))?;
    }
    Ok(())
}

fn run_one(
    hook: &Hook,
    environment: Option<&[String]>,
    directory: Option<&Path>,
    input: &[u8],
) -> Result<(), Error> {
    // Files, not pipes: a hook that fills its output or does not read its input cannot block us.
    let mut stdin = memory_file()?;
    stdin
        .write_all(input)
        .and_then(|()| stdin.rewind())
        .step(|| "write the state")?;
    let (mut stdout, mut stderr) = (memory_file()?, memory_file()?);
    let duplicate = |file: &File| {
        file.try_clone()
            .map(Stdio::from)
            .step(|| "duplicate a file")
    };
    let name = hook.args.first().map_or(hook.path.as_str(), String::as_str);
    let mut command = Command::new(Path::new(&hook.path));
    command.arg0(name).args(hook.args.iter().skip(1));
    if let Some(environment) = environment {
        let variables = environment.iter().filter_map(|pair| pair.split_once('='));
        command.env_clear().envs(variables);
    }
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let mut child = process::without_blocked_signals(&mut command)
        .stdin(Stdio::from(stdin))
        .stdout(duplicate(&stdout)?)
        .stderr(duplicate(&stderr)?)
        .spawn()
        .step(|| format!("fork/exec {}", hook.path))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let limit = hook
        .timeout
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs);
    if let (Some(pid), Some(limit)) = (pid, limit)
        && !ends_within(pid, limit)?
    {
        // It may have ended by itself this moment.
        let _ = child.kill();
        child.wait().step(|| "wait for the hook")?;
        return Err(said(format!(
            "hook ran past specified timeout of {:.1}s",
            limit.as_secs_f64()
        )));
    }
    let status = child.wait().step(|| "wait for the hook")?;
    if status.success() {
        return Ok(());
    }
    let ended = match (
        status.code(),
        std::os::unix::process::ExitStatusExt::signal(&status),
    ) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal: {}", signal_words(signal.unwrap_or_default())),
    };
    Err(said(format!(
        "{ended}, stdout: {}, stderr: {}",
        text(&mut stdout),
        text(&mut stderr)
    )))
}

/// A signal in Go's words.
fn signal_words(number: i32) -> String {
    const WORDS: [&str; 15] = [
        "hangup",
        "interrupt",
        "quit",
        "illegal instruction",
        "trace/breakpoint trap",
        "aborted",
        "bus error",
        "floating point exception",
        "killed",
        "user defined signal 1",
        "segmentation fault",
        "user defined signal 2",
        "broken pipe",
        "alarm clock",
        "terminated",
    ];
    let place = usize::try_from(number - 1).ok();
    let words = place.and_then(|place| WORDS.get(place));
    words.map_or_else(|| format!("signal {number}"), |words| (*words).to_owned())
}

fn ends_within(pid: Pid, limit: Duration) -> Result<bool, Error> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).step(|| "open the hook's process")?;
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).step(|| "wait for the hook")?;
        match poll(
            &mut [PollFd::new(&pidfd.as_fd(), PollFlags::IN)],
            Some(&left),
        ) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).step(|| "wait for the hook"),
        }
    }
}

fn memory_file() -> Result<File, Error> {
    rustix::fs::memfd_create("hook", MemfdFlags::CLOEXEC)
        .map(File::from)
        .step(|| "make a file in memory")
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is missing from an error's text, no more.
    let _ = file
        .rewind()
        .and_then(|()| file.take(MAX_OUTPUT).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
