//! Programs, run to their end with a deadline.

use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long any one program of a test may take. Generous: the machines are small and shared.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a program did.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// Its exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// The command line, for messages.
    pub line: String,
}

impl Finished {
    /// Asserts success and gives the output without its last line break.
    ///
    /// # Panics
    /// When the program failed.
    #[must_use = "assert on what the program said, or bind it to _"]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout.trim_end_matches(['\n', '\r'])
    }

    /// Asserts that the program ended with `code` and gives what it wrote to standard error.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[must_use = "assert on the message too"]
    pub fn fails(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{self:#?}");
        &self.stderr
    }
}

/// Runs `command` with `input` on its standard input.
///
/// # Panics
/// When it cannot be started or outlives the deadline; then it is killed first.
#[must_use]
pub fn run(command: &mut Command, input: &[u8]) -> Finished {
    let line = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let input = input.to_vec();
    // A program that exits without reading its input closes the pipe: that is its right.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = collect(child.stdout.take().expect("stdout is a pipe"));
    let stderr = collect(child.stderr.take().expect("stderr is a pipe"));
    let pid = rustix::process::Pid::from_child(&child);
    let (done, waited) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let status = child.wait().expect("wait for our own child");
        let _ = done.send(());
        status
    });
    if waited.recv_timeout(DEADLINE).is_err() {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        panic!("{line}: still running after {DEADLINE:?}");
    }
    let status = waiter.join().expect("the waiting thread");
    writer.join().expect("the writing thread");
    Finished {
        stdout: stdout.join().expect("the reading thread"),
        stderr: stderr.join().expect("the reading thread"),
        code: code(status),
        line,
    }
}

/// Runs `command` as a conversation: each step waits for its first text, then types its second.
///
/// # Panics
/// When an awaited text does not come before the program ends or the deadline passes.
#[must_use]
pub fn converse(command: &mut Command, steps: &[(&str, &str)]) -> Finished {
    let line = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let mut stdout = child.stdout.take().expect("stdout is a pipe");
    let (send, received) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stdout.read(&mut buffer) {
            if send.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    let pid = rustix::process::Pid::from_child(&child);
    let mut screen = Screen {
        received,
        all: Vec::new(),
        seen: 0,
        pid,
    };
    for (awaited, typed) in steps {
        screen.wait_for(awaited, &line);
        stdin
            .write_all(typed.as_bytes())
            .expect("type into the terminal");
        stdin.flush().expect("type into the terminal");
    }
    screen.read_to_end(&line);
    drop(stdin);
    reader.join().expect("the reading thread");
    let status = child.wait().expect("wait for our own child");
    let stdout = String::from_utf8_lossy(&screen.all).into_owned();
    Finished {
        stdout,
        stderr: String::new(),
        code: code(status),
        line,
    }
}

/// What a terminal program has shown.
struct Screen {
    received: mpsc::Receiver<Vec<u8>>,
    all: Vec<u8>,
    seen: usize,
    pid: rustix::process::Pid,
}

impl Screen {
    fn wait_for(&mut self, awaited: &str, line: &str) {
        loop {
            let rest = String::from_utf8_lossy(&self.all[self.seen..]).into_owned();
            if rest.contains(awaited) {
                self.seen = self.all.len();
                return;
            }
            assert!(
                self.read(line),
                "{line}: ended without showing {awaited:?}; it showed {rest:?}"
            );
        }
    }

    fn read_to_end(&mut self, line: &str) {
        while self.read(line) {}
    }

    /// Reads more; `false` at the end.
    fn read(&mut self, line: &str) -> bool {
        match self.received.recv_timeout(DEADLINE) {
            Ok(bytes) => {
                self.all.extend(bytes);
                true
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => false,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
                panic!(
                    "{line}: nothing more came after {:?}",
                    String::from_utf8_lossy(&self.all)
                );
            }
        }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)
            .expect("read what the program wrote");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Whether a program of this name is in `PATH`.
#[must_use]
pub fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}
