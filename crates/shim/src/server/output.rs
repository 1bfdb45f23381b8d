//! From a process's output to log and clients.

use super::client::{QUEUE_LIMIT, Role};
use super::log::Remote;
use super::process::Output;
use super::shim::{FIRST, Shim, Token};
use crate::protocol::frame_header;
use hull_linux::reactor::Interest;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Bytes taken from a pipe at once: what a pipe holds.
const CHUNK: usize = 64 << 10;

impl Shim {
    /// Reads what an output has and passes it on.
    pub(super) fn on_output(&mut self, key: u32, stream: u8) {
        let Some(process) = self.processes.get_mut(&key) else {
            return;
        };
        let Some(output) = process.output(stream) else {
            return;
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(CHUNK, 0);
        match rustix::io::read(&output.descriptor, &mut *buffer) {
            Ok(0) => self.close_output(key, stream),
            Ok(length) => self.distribute(key, stream, &buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EIO: the last program has closed the terminal.
            Err(_) => self.close_output(key, stream),
        }
        self.buffer = buffer;
    }

    /// Passes on what a process's outputs have at this moment, at most what a pipe may hold (pipe(7),
    /// `pipe-max-size`), so that something that writes without end does not keep us.
    pub(super) fn drain(&mut self, key: u32) {
        const MOST_READS: usize = (1 << 20) / CHUNK;
        for stream in [1, 2] {
            for _ in 0..MOST_READS {
                let has_some = self
                    .processes
                    .get(&key)
                    .and_then(|process| process.output(stream))
                    .is_some_and(|output| is_readable(&output.descriptor));
                if !has_some {
                    break;
                }
                self.on_output(key, stream);
            }
        }
    }

    fn close_output(&mut self, key: u32, stream: u8) {
        if let Some(process) = self.processes.get_mut(&key)
            && let Some(Output { descriptor, .. }) = process.take_output(stream)
        {
            let _ = self.reactor.remove(&descriptor);
        }
        self.finish_if_done(key);
    }

    fn distribute(&mut self, key: u32, stream: u8, bytes: &[u8]) {
        let Some(process) = self.processes.get_mut(&key) else {
            return;
        };
        let mut full = false;
        if let Some(log) = &mut process.log {
            log.write(stream, bytes);
            full = log.is_full();
        }
        let header = frame_header(stream, bytes.len());
        let framed = !process.tty;
        let watchers = self.streams_of(key);
        for id in &watchers {
            let Some(client) = self.clients.get_mut(id) else {
                continue;
            };
            let Role::Stream { options, .. } = &client.role else {
                continue;
            };
            if !(if stream == 2 {
                options.stderr
            } else {
                options.stdout
            }) || client.closing
            {
                continue;
            }
            let pushed = if framed {
                client.push(&[&header, bytes])
            } else {
                client.push(&[bytes])
            };
            let waiting = client.waiting();
            if pushed.is_err() || (waiting > QUEUE_LIMIT && watchers.len() > 1) {
                // Whoever does not read while others do is let go; alone, it makes the container wait.
                self.drop_client(*id);
                continue;
            }
            full |= waiting > QUEUE_LIMIT;
            self.update_client(*id);
        }
        if full {
            self.hold(key, true);
        }
        self.watch_remote();
    }

    /// Waits for room for what a log server has not got, and for its program's end.
    pub(super) fn watch_remote(&mut self) {
        let Some(remote) = self.remote() else { return };
        let interest = match remote.has_waiting() {
            true => Interest::WRITE,
            false => Interest::NONE,
        };
        let Some(socket) = remote.socket() else {
            return;
        };
        let _ = match self.remote_interest {
            Some(known) if known == interest => return,
            Some(_) => self.reactor.change(socket, Token::Remote.pack(), interest),
            None => self.reactor.add(socket, Token::Remote.pack(), interest),
        };
        self.remote_interest = Some(interest);
    }

    /// Starts the log server's program again, if it is time.
    pub(super) fn retry_remote(&mut self) {
        if let Some(remote) = self.remote_mut()
            && remote.due().is_some()
        {
            remote.retry();
            self.watch_remote();
        }
    }

    /// There is room, or the program has ended.
    pub(super) fn on_remote(&mut self, hung_up: bool) {
        if hung_up {
            if let Some(socket) = self.remote().and_then(Remote::socket) {
                let _ = self.reactor.remove(socket);
            }
            self.remote_interest = None;
        }
        let Some(remote) = self.remote_mut() else {
            return;
        };
        if hung_up {
            remote.on_end();
        } else {
            remote.flush();
        }
        self.watch_remote();
        self.release_if_drained(FIRST);
    }

    pub(super) fn remote(&self) -> Option<&Remote> {
        self.processes.get(&FIRST)?.log.as_ref()?.remote.as_ref()
    }

    fn remote_mut(&mut self) -> Option<&mut Remote> {
        self.processes
            .get_mut(&FIRST)?
            .log
            .as_mut()?
            .remote
            .as_mut()
    }

    /// Stops or resumes reading a process's output.
    pub(super) fn hold(&mut self, key: u32, held: bool) {
        let Some(process) = self.processes.get_mut(&key) else {
            return;
        };
        if process.held == held {
            return;
        }
        process.held = held;
        let interest = if held { Interest::NONE } else { Interest::READ };
        for output in &process.outputs {
            let _ = self.reactor.change(
                &output.descriptor,
                Token::Output(key, output.stream).pack(),
                interest,
            );
        }
    }

    /// Resumes reading when neither a client nor a log server has too much waiting.
    pub(super) fn release_if_drained(&mut self, key: u32) {
        let waiting = self
            .streams_of(key)
            .iter()
            .filter_map(|id| self.clients.get(id))
            .map(super::client::Client::waiting)
            .max();
        let log = self
            .processes
            .get(&key)
            .and_then(|process| process.log.as_ref());
        let room = log.is_none_or(super::log::Log::has_room);
        if room && waiting.unwrap_or(0) <= QUEUE_LIMIT / 2 {
            self.hold(key, false);
        }
    }

    /// The clients that are streams of a process.
    pub(super) fn streams_of(&self, key: u32) -> Vec<u32> {
        let of = |role: &Role| matches!(role, Role::Stream { process, .. } if *process == key);
        self.clients
            .iter()
            .filter(|(_, client)| of(&client.role))
            .map(|(id, _)| *id)
            .collect()
    }
}

/// Whether there is something to read, or the end.
fn is_readable(descriptor: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(descriptor, PollFlags::IN)];
    let at_once = Timespec::default();
    poll(&mut ready, Some(&at_once)).is_ok_and(|count| count > 0)
}
