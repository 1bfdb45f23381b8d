//! A process of the container: its ends, and how far it is.

use super::log::Log;
use super::runtime::Made;
use crate::Launch;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// How much input may wait for a process that does not read it, bytes.
pub(super) const INPUT_LIMIT: usize = 64 << 10;

/// One of a process's outputs.
#[derive(Debug)]
pub(super) struct Output {
    /// 1 for standard output and terminals, 2 for standard error.
    pub(super) stream: u8,
    pub(super) descriptor: OwnedFd,
}

/// A process of the container.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// Its exec's id; `None` for the first process.
    pub(super) exec: Option<String>,
    pub(super) tty: bool,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) input: VecDeque<u8>,
    /// Standard input is closed when the first client that sends some ends.
    pub(super) stdin_once: bool,
    /// Standard input is to be closed when what waits was written.
    pub(super) input_ends: bool,
    pub(super) outputs: Vec<Output>,
    /// Output is not read: clients have too much waiting.
    pub(super) held: bool,
    pub(super) log: Option<Log>,
    /// The exit code, once it has ended.
    pub(super) exit_code: Option<i32>,
    /// When it ended, and until when its output may stay open after that.
    pub(super) ended_at: Option<(jiff::Timestamp, Instant)>,
}

impl Process {
    pub(super) fn first(launch: &Launch, made: Made, log: Option<Log>) -> Self {
        let mut process = Self::new(made, launch.tty);
        process.stdin_once = launch.stdin_once;
        process.log = log;
        process
    }

    pub(super) fn exec(id: &str, made: Made, tty: bool) -> Self {
        let mut process = Self::new(made, tty);
        process.exec = Some(id.to_owned());
        process.stdin_once = true;
        process
    }

    fn new(made: Made, tty: bool) -> Self {
        let mut outputs = vec![Output {
            stream: 1,
            descriptor: made.stdout,
        }];
        outputs.extend(made.stderr.map(|descriptor| Output {
            stream: 2,
            descriptor,
        }));
        for output in &outputs {
            set_nonblocking(&output.descriptor);
        }
        if let Some(stdin) = &made.stdin {
            set_nonblocking(stdin);
        }
        Self {
            pid: made.pid,
            exec: None,
            tty,
            stdin: made.stdin,
            input: VecDeque::new(),
            stdin_once: false,
            input_ends: false,
            outputs,
            held: false,
            log: None,
            exit_code: None,
            ended_at: None,
        }
    }

    pub(super) fn output(&self, stream: u8) -> Option<&Output> {
        self.outputs.iter().find(|output| output.stream == stream)
    }

    pub(super) fn take_output(&mut self, stream: u8) -> Option<Output> {
        let at = self
            .outputs
            .iter()
            .position(|output| output.stream == stream)?;
        Some(self.outputs.swap_remove(at))
    }

    /// The terminal, if the process has one that is still open.
    pub(super) fn terminal(&self) -> Option<&OwnedFd> {
        self.outputs
            .first()
            .map(|output| &output.descriptor)
            .filter(|_| self.tty)
    }

    /// Writes what input goes without waiting; `false` when nobody reads it any more.
    pub(super) fn write_input(&mut self) -> bool {
        let Some(stdin) = &self.stdin else {
            self.input.clear();
            return true;
        };
        while !self.input.is_empty() {
            match rustix::io::write(stdin, self.input.as_slices().0) {
                Ok(length) => drop(self.input.drain(..length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Whether it has ended and no more output is to come, or has had its time to come.
    pub(super) fn is_done(&self) -> bool {
        self.exit_code.is_some()
            && (self.outputs.is_empty()
                || self
                    .ended_at
                    .is_some_and(|(_, until)| Instant::now() >= until))
    }
}

fn set_nonblocking(descriptor: impl AsFd) {
    if let Ok(flags) = fcntl_getfl(&descriptor) {
        let _ = fcntl_setfl(&descriptor, flags | OFlags::NONBLOCK);
    }
}
