//! The loop, and the container's end.

use super::client::{Client, Role};
use super::memory::Memory;
use super::process::{INPUT_LIMIT, Process};
use super::rootfs;
use super::runtime::Runtime;
use crate::protocol::{self, Event};
use crate::relay::Relays;
use crate::{ExitRecord, Launch, files};
use hull_linux::cgroup::{Cgroup, Layout};
use hull_linux::reactor::{Interest, Reactor, Ready};
use rustix::process::{WaitOptions, wait};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

/// How long output may stay open after its process ended: a background child may hold it for ever.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The signal that ends what is left in a container.
pub(super) const SIGKILL: i32 = 9;

/// The key of the first process.
pub(super) const FIRST: u32 = 0;

/// What the reactor's tokens stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Listener,
    Children,
    Input(u32),
    Output(u32, u8),
    Client(u32),
    Relay,
    Memory,
    Remote,
}

impl Token {
    pub(super) fn pack(self) -> u64 {
        let (kind, key, stream) = match self {
            Self::Listener => (0, 0, 0),
            Self::Children => (1, 0, 0),
            Self::Input(key) => (2, key, 0),
            Self::Output(key, stream) => (3, key, stream),
            Self::Client(id) => (4, id, 0),
            Self::Relay => (5, 0, 0),
            Self::Memory => (6, 0, 0),
            Self::Remote => (7, 0, 0),
        };
        kind << 40 | u64::from(stream) << 32 | u64::from(key)
    }

    fn unpack(token: u64) -> Self {
        let bytes = token.to_le_bytes();
        let number = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        match token >> 40 {
            0 => Self::Listener,
            1 => Self::Children,
            2 => Self::Input(number),
            3 => Self::Output(number, bytes[4]),
            4 => Self::Client(number),
            5 => Self::Relay,
            6 => Self::Memory,
            _ => Self::Remote,
        }
    }
}

/// Everything a running shim has.
#[derive(Debug)]
pub(super) struct Shim {
    pub(super) launch: Launch,
    pub(super) runtime: Runtime,
    pub(super) reactor: Reactor,
    listener: Option<UnixListener>,
    children: OwnedFd,
    pub(super) relays: Relays,
    /// From the start on, where the host counts memory.
    pub(super) memory: Option<Memory>,
    /// What is waited for of a log server's program; `None` while it is not watched.
    pub(super) remote_interest: Option<Interest>,
    pub(super) processes: BTreeMap<u32, Process>,
    pub(super) clients: BTreeMap<u32, Client>,
    next: u32,
    pub(super) started: bool,
    pub(super) paused: bool,
    pub(super) buffer: Vec<u8>,
}

impl Shim {
    pub(super) fn new(
        launch: Launch,
        runtime: Runtime,
        (listener, children): (UnixListener, OwnedFd),
        first: Process,
        relays: Relays,
    ) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        reactor.add(&listener, Token::Listener.pack(), Interest::READ)?;
        reactor.add(&children, Token::Children.pack(), Interest::READ)?;
        relays.watch(&reactor, Token::Relay.pack())?;
        let mut shim = Self {
            launch,
            runtime,
            reactor,
            listener: Some(listener),
            children,
            relays,
            memory: None,
            remote_interest: None,
            processes: BTreeMap::new(),
            clients: BTreeMap::new(),
            next: FIRST,
            started: false,
            paused: false,
            buffer: Vec::new(),
        };
        shim.adopt(first)?;
        shim.watch_remote();
        Ok(shim)
    }

    /// Takes charge of a process and gives its key.
    pub(super) fn adopt(&mut self, process: Process) -> io::Result<u32> {
        let key = self.next;
        self.next += 1;
        for output in &process.outputs {
            self.reactor.add(
                &output.descriptor,
                Token::Output(key, output.stream).pack(),
                Interest::READ,
            )?;
        }
        if let Some(stdin) = &process.stdin {
            self.reactor
                .add(stdin, Token::Input(key).pack(), Interest::NONE)?;
        }
        self.processes.insert(key, process);
        Ok(key)
    }

    /// Runs until the container is gone and nobody waits for its output any more.
    pub(super) fn run(&mut self) -> io::Result<()> {
        while self.listener.is_some() || !self.clients.is_empty() {
            let deadline = self
                .processes
                .values()
                .filter_map(|process| process.ended_at.map(|(_, until)| until))
                .chain(self.remote().and_then(super::log::Remote::due))
                .min();
            let timeout = deadline.map(|until| until.saturating_duration_since(Instant::now()));
            for ready in self.reactor.wait(timeout)? {
                self.on_ready(ready);
            }
            self.retry_remote();
            for key in self.processes.keys().copied().collect::<Vec<_>>() {
                self.finish_if_done(key);
            }
        }
        Ok(())
    }

    fn on_ready(&mut self, ready: Ready) {
        match Token::unpack(ready.token) {
            Token::Listener => self.on_connection(),
            Token::Children => self.on_children(),
            Token::Relay => self.relays.begin(&self.reactor),
            Token::Memory => self.on_memory(),
            Token::Remote => self.on_remote(ready.hung_up),
            Token::Input(key) if ready.hung_up => self.close_input(key),
            Token::Input(key) => self.on_input(key),
            Token::Output(key, stream) => self.on_output(key, stream),
            Token::Client(id) => {
                if ready.writable {
                    self.on_client_writable(id);
                }
                if ready.readable {
                    self.on_client_readable(id);
                }
                let gone = ready.hung_up
                    && self
                        .clients
                        .get(&id)
                        .is_some_and(|client| client.input_ended);
                if gone {
                    self.drop_client(id);
                }
            }
        }
    }

    fn on_connection(&mut self) {
        let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) else {
            return;
        };
        let Ok(client) = Client::new(stream) else {
            return;
        };
        self.next += 1;
        let id = self.next;
        if self
            .reactor
            .add(&client.stream, Token::Client(id).pack(), Interest::READ)
            .is_ok()
        {
            self.clients.insert(id, client);
        }
    }

    fn on_children(&mut self) {
        let mut signal = [0_u8; 128];
        while rustix::io::read(&self.children, &mut signal).is_ok() {}
        // Everything that ends below us comes here: the first process, execs, and strays.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let code = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => code,
                (None, Some(signal)) => 128 + signal,
                (None, None) => continue,
            };
            let pid = pid.as_raw_nonzero().get();
            let ended = self
                .processes
                .iter_mut()
                .find(|(_, process)| process.pid == pid && process.exit_code.is_none());
            if let Some((_, process)) = ended {
                process.exit_code = Some(code);
                process.ended_at = Some((jiff::Timestamp::now(), Instant::now() + DRAIN_TIME));
            }
        }
    }

    pub(super) fn finish_if_done(&mut self, key: u32) {
        if !self.processes.get(&key).is_some_and(Process::is_done) {
            return;
        }
        // Where time has run out, what is in the pipes is passed on whatever waits for slow clients.
        self.drain(key);
        let Some(mut process) = self.processes.remove(&key) else {
            return; // Its last output has just ended it.
        };
        if let Some(log) = process.log.take() {
            log.finish();
        }
        let code = process.exit_code.unwrap_or(-1);
        match &process.exec {
            Some(id) => {
                self.tell(&Event::ExecExited {
                    id: id.clone(),
                    exit_code: code,
                });
                self.end_streams(key);
            }
            None => self.finish_container(&process, code),
        }
    }

    /// The first process has ended and all its output was passed on.
    fn finish_container(&mut self, process: &Process, code: i32) {
        let ended_at = process
            .ended_at
            .map_or_else(jiff::Timestamp::now, |(at, _)| at);
        self.finish_execs();
        let record = ExitRecord {
            exit_code: code,
            oom_killed: self.oom_killed(),
            exited_at: ended_at.to_string(),
        };
        let _ = self.record(&record);
        self.tell(&Event::Exited(record));
        self.end_streams(FIRST);
        self.clean();
        self.tell(&Event::Cleaned);
        // Whoever still reads gets what waits, the rest is closed.
        for id in self.clients.keys().copied().collect::<Vec<_>>() {
            if let Some(client) = self.clients.get_mut(&id) {
                client.closing = true;
                self.update_client(id);
            }
        }
    }

    /// Execs die with the container: what they wrote is passed on and their end is told, since nobody
    /// will hear of it later.
    fn finish_execs(&mut self) {
        self.on_children();
        for key in self.processes.keys().copied().collect::<Vec<_>>() {
            self.drain(key);
            let Some(process) = self.processes.remove(&key) else {
                continue; // Its last output has just ended it.
            };
            if let Some(id) = process.exec {
                // One that outlived the first process is about to be killed with the rest.
                let exit_code = process.exit_code.unwrap_or(128 + SIGKILL);
                self.tell(&Event::ExecExited { id, exit_code });
            }
            self.end_streams(key);
        }
    }

    /// Deletes the container, unmounts its root, and gives up the socket.
    fn clean(&mut self) {
        let root = self.launch.bundle.join(files::ROOT);
        if self.launch.root_first && rootfs::unmount(&root).is_ok() {
            self.tell(&Event::Unmounted);
        }
        self.runtime.delete();
        let _ = rootfs::unmount(&root);
        let _ = fs_err::remove_file(self.launch.bundle.join(files::SOCKET));
        if let Some(listener) = self.listener.take() {
            let _ = self.reactor.remove(&listener);
        }
    }

    /// Undoes the creation: nobody was told of it.
    pub(super) fn abandon(&mut self) {
        self.clean();
    }

    /// Begins to watch the container's memory.
    pub(super) fn watch_memory(&mut self) {
        self.memory = self.launch.cgroup.as_deref().and_then(Memory::new);
        if let Some(memory) = &self.memory {
            // What cannot be watched is asked for at the end.
            let _ = memory.watch(&self.reactor, Token::Memory.pack());
        }
    }

    fn on_memory(&mut self) {
        if self.memory.as_mut().is_some_and(Memory::take) {
            self.tell(&Event::OutOfMemory);
        }
    }

    fn oom_killed(&mut self) -> bool {
        let group = self.launch.cgroup.as_deref();
        let group = group.and_then(|path| Cgroup::new(Layout::detect().ok()?, path).ok());
        group.is_some_and(|group| group.oom_kills() > 0)
            || self.memory.as_ref().is_some_and(Memory::ran_out)
    }

    /// Writes the exit file: whole or not at all.
    fn record(&self, record: &ExitRecord) -> io::Result<()> {
        let mut partial = self.launch.exit_file.clone().into_os_string();
        partial.push(".tmp");
        fs_err::write(&partial, serde_json::to_vec(record)?)?;
        fs_err::rename(&partial, &self.launch.exit_file)
    }

    fn tell(&mut self, event: &Event) {
        let Ok(bytes) = protocol::encode(event) else {
            return;
        };
        let listening: Vec<u32> = self
            .clients
            .iter()
            .filter(|(_, client)| matches!(client.role, Role::Events))
            .map(|(id, _)| *id)
            .collect();
        for id in listening {
            if self
                .clients
                .get_mut(&id)
                .is_some_and(|client| client.push(&[&bytes]).is_err())
            {
                self.drop_client(id);
            } else {
                self.update_client(id);
            }
        }
    }

    fn end_streams(&mut self, key: u32) {
        for id in self.streams_of(key) {
            if let Some(client) = self.clients.get_mut(&id) {
                client.closing = true;
            }
            self.update_client(id);
        }
    }

    /// Waits for what the client's state calls for, or closes it when it is done.
    pub(super) fn update_client(&mut self, id: u32) {
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        if client.closing && client.waiting() == 0 {
            self.drop_client(id);
            return;
        }
        let full = match &client.role {
            Role::Stream { process, .. } => self
                .processes
                .get(process)
                .is_some_and(|p| p.input.len() >= INPUT_LIMIT),
            _ => false,
        };
        let interest = Interest {
            readable: !client.input_ended && !full,
            writable: client.waiting() > 0,
        };
        if interest == client.interest {
            return;
        }
        let changed = self
            .reactor
            .change(&client.stream, Token::Client(id).pack(), interest);
        if let (Ok(()), Some(client)) = (changed, self.clients.get_mut(&id)) {
            client.interest = interest;
        }
    }

    pub(super) fn drop_client(&mut self, id: u32) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        let _ = self.reactor.remove(&client.stream);
        let ends_input = !client.input_ended && !client.closing;
        let role = match client.role {
            Role::Stream { process, options } => Some((process, options)),
            _ => None,
        };
        client.close();
        if let Some((process, options)) = role {
            self.release_if_drained(process);
            if options.stdin && ends_input {
                self.end_input(process);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        for token in [
            Token::Listener,
            Token::Children,
            Token::Input(7),
            Token::Output(u32::MAX, 2),
            Token::Client(1 << 31),
            Token::Relay,
            Token::Memory,
            Token::Remote,
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
