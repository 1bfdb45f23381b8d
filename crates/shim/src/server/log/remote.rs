//! Output for a log server: a program of its own delivers it (`hull-logger`), and gets it over a socket, entries as
//! [`super::local`] writes them.
//!
//! What it does not take at once waits here. When too much waits, the container's output is not read until it has taken
//! some, or the oldest is dropped, as [`Receiver::waits`] says. When the program ends, the next one is started, and hears
//! how much that was.

use super::local::Local;
use super::{Cutter, Moment};
use crate::Receiver;
use crate::server::Error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes that may wait for the program.
const LIMIT: usize = 256 << 10;
/// How long a driver may take to connect before the container is created.
const START_TIME: Duration = Duration::from_secs(60);
/// How long the program may take what waits at the container's end.
const LAST_CHANCE: Duration = Duration::from_secs(3);
/// A program that lived so long is replaced at once.
const SOUND: Duration = Duration::from_secs(1);
/// The most bytes of the reason why a driver cannot be started.
const LONGEST_REASON: usize = 64 << 10;

/// The way to the program.
#[derive(Debug)]
pub(in crate::server) struct Remote {
    id: String,
    receiver: Receiver,
    cutter: Cutter,
    /// `None` while there is no program.
    socket: Option<UnixStream>,
    started: Instant,
    /// Entries, and before them what a new program must be told.
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of them all.
    bytes: usize,
    /// How much of the first one is written.
    written: usize,
    /// The first one is what a new program must be told: among it, that so many entries were dropped.
    greets: Option<u64>,
    /// How many entries were dropped.
    lost: u64,
}

impl Remote {
    /// Starts the program, and waits until the driver is ready.
    pub(in crate::server) fn start(id: &str, receiver: &Receiver) -> Result<Self, Error> {
        let wrong = |error: io::Error| Error::Logging(error.to_string());
        let mut socket = launch(id, receiver).map_err(wrong)?;
        let refused = greet(&mut socket, receiver).map_err(wrong)?;
        if !refused.is_empty() {
            return Err(Error::Logging(refused));
        }
        socket.set_nonblocking(true).map_err(wrong)?;
        Ok(Self {
            id: id.to_owned(),
            receiver: receiver.clone(),
            cutter: Cutter::default(),
            socket: Some(socket),
            started: Instant::now(),
            waiting: VecDeque::new(),
            bytes: 0,
            written: 0,
            greets: None,
            lost: 0,
        })
    }

    /// What to wait on for room, when something waits.
    pub(in crate::server) fn socket(&self) -> Option<&UnixStream> {
        self.socket.as_ref()
    }

    pub(in crate::server) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the container is to wait.
    pub(in crate::server) fn is_full(&self) -> bool {
        self.receiver.waits && self.socket.is_some() && self.bytes >= LIMIT
    }

    /// Whether there is room again for a container that waited.
    pub(in crate::server) fn has_room(&self) -> bool {
        self.socket.is_none() || self.bytes <= LIMIT / 2
    }

    /// When the next program is to be started, which something waits for.
    pub(in crate::server) fn due(&self) -> Option<Instant> {
        let waits = self.socket.is_none() && self.has_waiting();
        waits.then(|| self.started + SOUND)
    }

    /// Starts the next program, if it is time.
    pub(in crate::server) fn retry(&mut self) {
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.restart();
        }
    }

    /// Takes output of stream 1 or 2 that came now.
    pub(super) fn write(&mut self, stream: u8, bytes: &[u8]) {
        let mut entries = Vec::new();
        let now = Moment::now();
        let _ = self.cutter.cut(stream, bytes, |entry| {
            let mut frame = Vec::with_capacity(entry.bytes.len() + 64);
            Local.append(entry, &now, &mut frame);
            entries.push(frame);
            Ok(())
        });
        self.add(entries);
    }

    fn add(&mut self, entries: Vec<Vec<u8>>) {
        let may_wait = self.receiver.waits && self.socket.is_some();
        for entry in entries {
            if !may_wait {
                self.make_room(entry.len());
            }
            self.bytes += entry.len();
            self.waiting.push_back(entry);
        }
        self.retry();
        self.flush();
    }

    /// Drops the oldest entries until one of that length fits; one that the program has begun to take stays whole.
    fn make_room(&mut self, length: usize) {
        while self.bytes + length > LIMIT {
            let oldest = usize::from(self.greets.is_some() || self.written > 0);
            let Some(entry) = self.waiting.remove(oldest) else {
                return;
            };
            self.bytes -= entry.len();
            self.lost += 1;
        }
    }

    /// Writes what goes without waiting.
    pub(in crate::server) fn flush(&mut self) {
        while let (Some(socket), Some(first)) = (&mut self.socket, self.waiting.front()) {
            match socket.write(&first[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The hang-up is told by the socket, too; until then nothing can be written.
                Err(_) => return,
            }
            if self.written == first.len() {
                self.bytes -= first.len();
                self.written = 0;
                self.waiting.pop_front();
                self.lost -= self.greets.take().unwrap_or(0);
            }
        }
    }

    /// The program is gone: another one gets what it has not taken whole.
    pub(in crate::server) fn on_end(&mut self) {
        self.socket = None;
        self.written = 0;
        if self.started.elapsed() >= SOUND {
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.started = Instant::now();
        if self.greets.take().is_some()
            && let Some(untold) = self.waiting.pop_front()
        {
            // The last program has not even heard its settings.
            self.bytes -= untold.len();
        }
        let mut receiver = self.receiver.clone();
        receiver.settings["again"] = true.into();
        receiver.settings["lost"] = self.lost.into();
        let Ok(socket) = launch(&self.id, &receiver) else {
            return; // The next output tries again.
        };
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        let greeting = greeting(&receiver);
        self.bytes += greeting.len();
        self.waiting.push_front(greeting);
        self.greets = Some(self.lost);
        self.socket = Some(socket);
        self.flush();
    }

    /// Writes what has come of lines that will not end; the program goes on alone with what it has.
    pub(super) fn finish(mut self) {
        let now = Moment::now();
        let mut entries = Vec::new();
        let _ = self.cutter.rest(|entry| {
            let mut frame = Vec::new();
            Local.append(entry, &now, &mut frame);
            entries.push(frame);
            Ok(())
        });
        self.add(entries);
        if self.socket.is_none() && self.has_waiting() {
            self.restart();
        }
        let until = Instant::now() + LAST_CHANCE;
        while let (true, Some(socket)) = (self.has_waiting(), &self.socket) {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(left) = Timespec::try_from(left) else {
                return;
            };
            let _ = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&left));
            let before = (self.waiting.len(), self.written);
            self.flush();
            if (self.waiting.len(), self.written) == before {
                return;
            }
        }
    }
}

/// Starts the program with one end of a socket as its standard input. It is reaped with all other children.
fn launch(id: &str, receiver: &Receiver) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(&receiver.program);
    command
        .arg(id)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let started = hull_linux::process::without_blocked_signals(&mut command).spawn();
    started.map_err(|error| {
        let program = receiver.program.display();
        io::Error::new(error.kind(), format!("start {program}: {error}"))
    })?;
    Ok(ours)
}

fn greeting(receiver: &Receiver) -> Vec<u8> {
    let settings = receiver.settings.to_string();
    let length = u32::try_from(settings.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), settings.as_bytes()].concat()
}

/// Tells the settings, and reads why they do not do; empty when they do.
fn greet(socket: &mut UnixStream, receiver: &Receiver) -> io::Result<String> {
    socket.set_read_timeout(Some(START_TIME))?;
    socket.set_write_timeout(Some(START_TIME))?;
    socket.write_all(&greeting(receiver))?;
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let mut reason = vec![0; (u32::from_be_bytes(length) as usize).min(LONGEST_REASON)];
    socket.read_exact(&mut reason)?;
    Ok(String::from_utf8_lossy(&reason).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program that says that it is ready, copies what it gets for its settings and after, and ends when told so.
    fn receiver(directory: &std::path::Path, script: &str) -> Receiver {
        let program = directory.join("logger");
        fs_err::write(
            &program,
            format!("#!/bin/sh\ncd {}\n{script}\n", directory.display()),
        )
        .unwrap();
        fs_err::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
        Receiver {
            program,
            settings: serde_json::json!({"driver": "x"}),
            waits: true,
        }
    }

    /// What is written while it is still open elsewhere cannot be executed: another test has just forked.
    fn start(receiver: &Receiver) -> Result<Remote, Error> {
        loop {
            match Remote::start("c", receiver) {
                Err(Error::Logging(why)) if why.contains("busy") => std::thread::yield_now(),
                other => return other,
            }
        }
    }

    #[test]
    fn entries_follow_the_settings_and_the_end_flushes() {
        let directory = tempfile::tempdir().unwrap();
        let script = "printf '\\0\\0\\0\\0' >&0; cat > got.tmp; mv got.tmp got";
        let mut remote = start(&receiver(directory.path(), script)).unwrap();
        remote.write(1, b"one\ntw");
        remote.write(1, b"o\nrest");
        remote.finish();
        let got = loop {
            match fs_err::read(directory.path().join("got")) {
                Ok(got) => break String::from_utf8_lossy(&got).into_owned(),
                Err(_) => std::thread::yield_now(),
            }
        };
        let places = ["\"driver\":\"x\"", "one", "two", "rest"].map(|text| got.find(text).unwrap());
        assert!(places.is_sorted(), "{got}");
    }

    #[test]
    fn why_a_driver_does_not_start_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let refused = start(&receiver(
            directory.path(),
            "head -c 18 > told; printf '\\0\\0\\0\\3why' >&0",
        ))
        .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "failed to initialize logging driver: why"
        );
        let mut missing = receiver(directory.path(), "");
        missing.program = directory.path().join("none");
        assert!(start(&missing).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn a_container_waits_or_loses_when_nobody_takes_its_output() {
        let directory = tempfile::tempdir().unwrap();
        let script = "printf '\\0\\0\\0\\0' >&0; read line < fifo; exec cat > /dev/null";
        let made = Command::new("mkfifo")
            .arg(directory.path().join("fifo"))
            .status();
        assert!(made.unwrap().success());
        let mut remote = start(&receiver(directory.path(), script)).unwrap();
        let line = [b'a'; 1023];
        let line = [&line[..], b"\n"].concat();
        while !remote.is_full() {
            remote.write(1, &line);
        }
        // Whose container may not wait has no more of it in memory, however much comes.
        remote.receiver.waits = false;
        for _ in 0..10_000 {
            remote.write(1, &line);
        }
        assert!(!remote.is_full() && remote.bytes < LIMIT + 2 * line.len());
        assert!(remote.lost > 9_000, "{}", remote.lost);
        fs_err::write(directory.path().join("fifo"), "go\n").unwrap();
        while !remote.has_room() {
            remote.flush();
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_next_program_gets_what_the_last_one_has_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let script = "if [ -e first ]; then cat > got.tmp; mv got.tmp got; else head -c 18 > first; printf '\\0\\0\\0\\0' >&0; fi";
        let mut remote = start(&receiver(directory.path(), script)).unwrap();
        // The end of the first one arrives.
        let socket = remote.socket().unwrap().try_clone().unwrap();
        socket.set_nonblocking(false).unwrap();
        // With what it has not read, it is a reset.
        assert_eq!((&socket).read(&mut [0]).unwrap_or(0), 0);
        drop(socket);
        remote.socket = None;
        // It is not replaced before that is said.
        remote.started = Instant::now() + Duration::from_secs(3600);
        for number in 0..20_000 {
            remote.write(2, format!("{number:020}\n").as_bytes());
        }
        remote.write(2, b"kept\n");
        assert!(remote.has_waiting() && remote.bytes <= LIMIT);
        assert!(remote.lost > 0, "the oldest are dropped, and counted");
        remote.started = Instant::now().checked_sub(SOUND).unwrap();
        remote.on_end();
        remote.finish();
        let got = loop {
            match fs_err::read(directory.path().join("got")) {
                Ok(got) => break String::from_utf8_lossy(&got).into_owned(),
                Err(_) => std::thread::yield_now(),
            }
        };
        assert!(
            got.contains("\"again\":true") && got.contains("kept") && !got.contains("\"lost\":0"),
            "{got}"
        );
    }
}
