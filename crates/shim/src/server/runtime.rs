//! The OCI runtime, executed.

use super::{Error, step};
use crate::Launch;
use hull_linux::{process, pty, socket};
use hull_spec::runtime::{ConsoleSize, Process as ProcessDocument, Resources};
use rustix::fs::Mode;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// The name of Hull's own runtime.
const OWN: &str = "hull-runtime";

/// How often a runtime is executed that somebody kills, to have the container deleted.
const ATTEMPTS: u32 = 8;

/// How to call the runtime for this container.
#[derive(Debug)]
pub(super) struct Runtime {
    program: PathBuf,
    before: Vec<OsString>,
    bundle: PathBuf,
    id: String,
}

/// A process that the runtime has made, and the shim's ends of its input and output.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) pid: i32,
    pub(super) stdin: Option<OwnedFd>,
    /// Standard output, or the terminal.
    pub(super) stdout: OwnedFd,
    /// Standard error; `None` with a terminal.
    pub(super) stderr: Option<OwnedFd>,
}

/// Which ends a process needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wiring {
    pub(super) tty: bool,
    pub(super) stdin: bool,
    pub(super) console_size: Option<(u16, u16)>,
}

impl Runtime {
    pub(super) fn new(launch: &Launch) -> Self {
        let mut before: Vec<OsString> = launch.runtime_args.iter().map(OsString::from).collect();
        before.push("--root".into());
        before.push(launch.runtime_root.clone().into());
        Self {
            program: launch.runtime.clone(),
            before,
            bundle: launch.bundle.clone(),
            id: launch.id.clone(),
        }
    }

    pub(super) fn create(&self, launch: &Launch) -> Result<Made, Error> {
        let wiring = Wiring {
            tty: launch.tty,
            stdin: launch.open_stdin,
            console_size: launch.console_size,
        };
        let mut arguments: Vec<OsString> = match &launch.restore {
            None => vec!["create".into()],
            Some(images) => {
                let mut arguments = self.criu_options("restore", images);
                arguments.push("--detach".into());
                arguments
            }
        };
        arguments.extend(["--bundle".into(), self.bundle.clone().into()]);
        self.make(&mut arguments, "init", wiring)
    }

    /// Saves the container's processes.
    pub(super) fn checkpoint(&self, images: &Path, leave_running: bool) -> Result<(), Error> {
        let mut arguments = self.criu_options("checkpoint", images);
        if leave_running {
            arguments.push("--leave-running".into());
        }
        self.tell(&arguments)
    }

    /// A command that works with a checkpoint. Both must have the same options; CRIU's log goes to the
    /// bundle, and is gone with it.
    fn criu_options(&self, verb: &str, images: &Path) -> Vec<OsString> {
        vec![
            verb.into(),
            "--image-path".into(),
            images.into(),
            "--work-path".into(),
            self.bundle.join("criu").into(),
            "--tcp-established".into(),
            "--ext-unix-sk".into(),
            "--file-locks".into(),
        ]
    }

    pub(super) fn exec(
        &self,
        id: &str,
        document: &ProcessDocument,
        wiring: Wiring,
    ) -> Result<Made, Error> {
        let name = format!("exec-{id}");
        let path = self.bundle.join(format!("{name}.json"));
        // The process runs before we have its terminal: the runtime must set the size.
        let mut document = document.clone();
        if let Some((height, width)) = wiring.console_size {
            document.console_size = Some(ConsoleSize { height, width });
        }
        let bytes = serde_json::to_vec(&document)
            .map_err(|e| step("write the process document")(e.into()))?;
        fs_err::write(&path, bytes).map_err(step("write the process document"))?;
        let mut arguments: Vec<OsString> = vec![
            "exec".into(),
            "--detach".into(),
            "--process".into(),
            path.clone().into(),
        ];
        let made = self.make(&mut arguments, &name, wiring);
        let _ = fs_err::remove_file(path);
        made
    }

    /// Runs a command that makes a process, with `name` for its files in the bundle.
    fn make(
        &self,
        arguments: &mut Vec<OsString>,
        name: &str,
        wiring: Wiring,
    ) -> Result<Made, Error> {
        let pid_file = self.bundle.join(format!("{name}.pid"));
        arguments.extend(["--pid-file".into(), pid_file.clone().into()]);
        let made = if wiring.tty {
            self.make_with_terminal(arguments, name, wiring)
        } else {
            self.make_with_pipes(arguments, wiring)
        };
        let (stdin, stdout, stderr) = made?;
        let pid = fs_err::read_to_string(&pid_file).map_err(step("read the runtime's pid file"))?;
        let _ = fs_err::remove_file(&pid_file);
        let pid = pid
            .trim()
            .parse()
            .map_err(|_| Error::Runtime(format!("the runtime wrote `{pid}` as process id")))?;
        Ok(Made {
            pid,
            stdin,
            stdout,
            stderr,
        })
    }

    fn make_with_pipes(&self, arguments: &[OsString], wiring: Wiring) -> Result<Ends, Error> {
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|e| step("make a pipe")(e.into()));
        let (out, out_theirs) = pipe()?;
        let (err, err_theirs) = pipe()?;
        let (stdin, stdin_theirs) = if wiring.stdin {
            let (theirs, ours) = pipe()?;
            (Some(ours), Stdio::from(theirs))
        } else {
            (None, Stdio::null())
        };
        let (mut command, _view) = self.making_command(arguments);
        command
            .stdin(stdin_theirs)
            .stdout(out_theirs)
            .stderr(err_theirs);
        self.run(command)?;
        Ok((stdin, out, Some(err)))
    }

    fn make_with_terminal(
        &self,
        arguments: &mut Vec<OsString>,
        name: &str,
        wiring: Wiring,
    ) -> Result<Ends, Error> {
        const STEP: &str = "receive the terminal from the runtime";
        let directory = fs_err::File::open(&self.bundle).map_err(step(STEP))?;
        let file = format!("{name}.console");
        let listener = socket::listen_at(directory.as_fd(), &file).map_err(step(STEP))?;
        // The runtime reaches it through our descriptor: the path itself may be too long for an address.
        let own = rustix::process::getpid().as_raw_nonzero();
        let address = socket::short_path(directory.as_fd(), &file);
        let address = address
            .to_string_lossy()
            .replace("/self/", &format!("/{own}/"));
        arguments.extend(["--console-socket".into(), address.into()]);
        let (mut command, _view) = self.making_command(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let ran = self.run(command);
        let _ = fs_err::remove_file(self.bundle.join(&file));
        ran?;
        // The runtime has connected and sent before it ended, so neither call waits.
        listener.set_nonblocking(true).map_err(step(STEP))?;
        let (connection, _) = listener.accept().map_err(step(STEP))?;
        connection.set_nonblocking(false).map_err(step(STEP))?;
        let terminal = socket::receive_descriptor(&connection).map_err(step(STEP))?;
        if let Some((rows, columns)) = wiring.console_size {
            pty::resize(&terminal, rows, columns).map_err(step("set the terminal's size"))?;
        }
        let input = wiring
            .stdin
            .then(|| terminal.try_clone().map_err(step(STEP)))
            .transpose()?;
        Ok((input, terminal, None))
    }

    /// Runs a command about the container that makes no process: `start`, `pause`, `delete` …
    pub(super) fn tell(&self, verb: &[impl AsRef<OsStr>]) -> Result<(), Error> {
        let arguments: Vec<OsString> = verb.iter().map(OsString::from).collect();
        let mut command = self.command(&arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.run(command)
    }

    /// Deletes the container with all that it has, if need be by force. A runtime that was killed at it has not
    /// finished, and nobody else would: it is executed again. What it cannot delete is left to the next daemon.
    pub(super) fn delete(&self) {
        let arguments = ["delete".into(), "--force".into()];
        for _ in 0..ATTEMPTS {
            let mut command = self.command(&arguments);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            match self.execute(command) {
                Ok(status) if status.signal().is_some() => {}
                _ => return,
            }
        }
    }

    /// Changes the container's limits.
    pub(super) fn update(&self, limits: &Resources) -> Result<(), Error> {
        const STEP: &str = "write the new limits";
        let path = self.bundle.join("update.json");
        let bytes = serde_json::to_vec(limits).map_err(|e| step(STEP)(e.into()))?;
        fs_err::write(&path, bytes).map_err(step(STEP))?;
        let mut command =
            self.command(&["update".into(), "--resources".into(), path.clone().into()]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let updated = self.run(command);
        let _ = fs_err::remove_file(path);
        updated
    }

    fn command(&self, arguments: &[OsString]) -> Command {
        self.command_of(&self.program, arguments)
    }

    /// A command that makes a process, which is this program until it becomes the container's. `hull-runtime` has
    /// such a process come from a file that nobody can write through, and executes itself again for that
    /// unless its caller has seen to it: this saves the second time. The descriptor must live until the command runs.
    fn making_command(&self, arguments: &[OsString]) -> (Command, Option<OwnedFd>) {
        let own = self.program.file_name() == Some(OsStr::new(OWN));
        let path = CString::new(self.program.as_os_str().as_bytes()).ok();
        let path = path.filter(|_| own);
        let Some(view) = path.and_then(|path| process::read_only_executable(&path).ok()) else {
            return (self.command(arguments), None);
        };
        let program = PathBuf::from(format!("/proc/self/fd/{}", view.as_raw_fd()));
        let mut command = self.command_of(&program, arguments);
        command.arg0(&self.program);
        (command, Some(view))
    }

    fn command_of(&self, program: &Path, arguments: &[OsString]) -> Command {
        let mut command = Command::new(program);
        command
            .args(&self.before)
            .arg("--log")
            .arg(self.log_path())
            .args(["--log-format", "json"]);
        command
            .args(arguments)
            .arg(&self.id)
            .current_dir(&self.bundle);
        // One that goes on alone would make a container of which nobody knows.
        process::dying_with_parent(&mut command);
        command
    }

    fn log_path(&self) -> PathBuf {
        self.bundle.join("log.json")
    }

    fn run(&self, command: Command) -> Result<(), Error> {
        let status = self.execute(command)?;
        if status.success() {
            return Ok(());
        }
        let told = last_error(&self.log_path())
            .unwrap_or_else(|| format!("the OCI runtime ended with {status} and gave no reason"));
        Err(Error::Runtime(told))
    }

    /// Runs a command to its end, with a log of its own.
    fn execute(&self, mut command: Command) -> Result<ExitStatus, Error> {
        let _ = fs_err::remove_file(self.log_path());
        // Our files are for root alone. What the runtime makes in the container is for everybody in
        // it: mount points that the image does not have, above all.
        let ours = rustix::process::umask(Mode::from_raw_mode(0o022));
        let status = command.status();
        rustix::process::umask(ours);
        status.map_err(|source| {
            let text = format!(
                "could not run the OCI runtime {}: {source}",
                self.program.display()
            );
            Error::Runtime(text)
        })
    }
}

type Ends = (Option<OwnedFd>, OwnedFd, Option<OwnedFd>);

/// The last message of level error in a runtime's JSON log.
fn last_error(log: &Path) -> Option<String> {
    /// A log of a runtime that went wild is not worth more.
    const MAX: u64 = 1 << 20;
    let mut text = String::new();
    let file = File::from(rustix::fs::open(log, rustix::fs::OFlags::RDONLY, Mode::empty()).ok()?);
    io::Read::read_to_string(&mut io::Read::take(file, MAX), &mut text).ok()?;
    let message = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        (value["level"] == "error" || value["level"] == "fatal")
            .then(|| value["msg"].as_str().map(str::to_owned))?
    };
    text.lines().rev().find_map(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_log_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = concat!(
            r#"{"level":"error","msg":"first","time":"t"}"#,
            "\n",
            r#"{"level":"error","msg":"exec: \"x\"","time":"t"}"#,
            "\n",
            r#"{"level":"warning","msg":"later","time":"t"}"#,
            "\nnot json\n",
        );
        fs_err::write(file.path(), lines).unwrap();
        assert_eq!(last_error(file.path()).unwrap(), "exec: \"x\"");
        assert_eq!(last_error(Path::new("/nonexistent")), None);
    }
}
