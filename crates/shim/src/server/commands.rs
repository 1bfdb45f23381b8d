//! What clients ask for, and their streams.

use super::client::Role;
use super::memory::Memory;
use super::process::Process;
use super::runtime::Wiring;
use super::shim::{FIRST, SIGKILL, Shim, Token};
use crate::protocol::{self, AttachOptions, ExecRequest, Reply, Request, Snapshot};
use hull_linux::pty;
use hull_linux::reactor::{Interest, signal_process};
use hull_spec::runtime::Resources;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::path::Path;

impl Shim {
    pub(super) fn on_client_writable(&mut self, id: u32) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if client.flush().is_err() {
            self.drop_client(id);
            return;
        }
        let role = match &client.role {
            Role::Stream { process, .. } => Some(*process),
            _ => None,
        };
        self.update_client(id);
        if let Some(process) = role {
            self.release_if_drained(process);
        }
    }

    pub(super) fn on_client_readable(&mut self, id: u32) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if client.input_ended {
            return;
        }
        let mut buffer = [0; 16 << 10];
        let bytes = match client.read(&mut buffer) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(_) => {
                self.drop_client(id);
                return;
            }
        };
        let ended = bytes.is_empty();
        match &mut client.role {
            Role::Control(decoder) => {
                decoder.push(bytes);
                if ended {
                    self.drop_client(id);
                } else {
                    self.on_requests(id);
                }
            }
            Role::Events if ended => self.drop_client(id),
            Role::Events => {}
            Role::Stream { process, options } => {
                let (key, options) = (*process, *options);
                client.input_ended = ended;
                self.on_stream_input(key, options, bytes);
                self.update_client(id);
            }
        }
    }

    fn on_requests(&mut self, id: u32) {
        loop {
            let Some(client) = self.clients.get_mut(&id) else {
                return;
            };
            let Role::Control(decoder) = &mut client.role else {
                return;
            };
            match decoder.next::<Request>() {
                Ok(None) => return,
                Ok(Some(request)) => self.on_request(id, request),
                Err(_) => {
                    self.drop_client(id);
                    return;
                }
            }
        }
    }

    fn on_request(&mut self, id: u32, request: Request) {
        let starts = matches!(request, Request::Start);
        let outcome = match request {
            Request::Start => self.start(),
            Request::Kill(signal) => self.kill(signal),
            Request::KillExec(id) => self.kill_exec(&id),
            Request::Pause => self.set_paused(true),
            Request::Resume => self.set_paused(false),
            Request::Resize {
                exec,
                rows,
                columns,
            } => self.resize(exec.as_deref(), rows, columns),
            Request::Retarget(relays) => {
                self.relays.retarget(&relays);
                Ok(Reply::Done)
            }
            Request::Update(limits) => self.update(&limits),
            Request::Checkpoint {
                images,
                leave_running,
            } => self.checkpoint(&images, leave_running),
            Request::Snapshot => Ok(Reply::Snapshot(self.snapshot())),
            Request::Events => {
                self.answer(id, &Reply::Done, Some(Role::Events));
                return;
            }
            Request::Attach(options) => {
                self.answer(
                    id,
                    &Reply::Done,
                    Some(Role::Stream {
                        process: FIRST,
                        options,
                    }),
                );
                return;
            }
            Request::Exec(request) => {
                self.exec(id, &request);
                return;
            }
        };
        let reply = outcome.unwrap_or_else(|message| Reply::Failed { message });
        self.answer(id, &reply, None);
        if starts && self.started {
            // Nobody waits for this.
            self.watch_memory();
        }
    }

    /// Sends a reply, after which the connection may become something else.
    fn answer(&mut self, id: u32, reply: &Reply, role: Option<Role>) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let sent = protocol::encode(reply).and_then(|bytes| client.push(&[&bytes]));
        let mut rest = Vec::new();
        if let Some(role) = role
            && let Role::Control(decoder) = std::mem::replace(&mut client.role, role)
        {
            rest = decoder.into_rest();
        }
        if sent.is_err() {
            self.drop_client(id);
            return;
        }
        if let Role::Stream { process, options } = &client.role
            && !rest.is_empty()
        {
            let (process, options) = (*process, *options);
            self.on_stream_input(process, options, &rest);
        }
        self.update_client(id);
    }

    fn checkpoint(&mut self, images: &Path, leave_running: bool) -> Result<Reply, String> {
        self.runtime
            .checkpoint(images, leave_running)
            .map_err(|error| error.to_string())?;
        Ok(Reply::Done)
    }

    fn start(&mut self) -> Result<Reply, String> {
        // What was restored runs already.
        if self.launch.restore.is_none() {
            self.runtime
                .tell(&["start"])
                .map_err(|error| error.to_string())?;
        }
        self.started = true;
        Ok(Reply::Done)
    }

    fn kill(&mut self, signal: i32) -> Result<Reply, String> {
        let Some(process) = self
            .processes
            .get(&FIRST)
            .filter(|process| process.exit_code.is_none())
        else {
            return Ok(Reply::Done);
        };
        // The process is our child and not yet waited for: its id cannot be somebody else's.
        match signal_process(process.pid, signal) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            _ if signal == SIGKILL && self.paused => {
                // A frozen process of a version 1 control group dies only when it is thawed. One of version 2 dies
                // at once, and then the runtime has nothing to resume.
                let _already_dead = self.set_paused(false);
                Ok(Reply::Done)
            }
            _ => Ok(Reply::Done),
        }
    }

    /// Whoever runs a command by a shell means what the shell has started as well.
    fn kill_exec(&self, id: &str) -> Result<Reply, String> {
        let process = self
            .processes
            .values()
            .find(|process| process.exec.as_deref() == Some(id) && process.exit_code.is_none());
        // Not yet waited for: neither id can be another's. Runtimes make it the leader of a group; where one
        // does not, there is no group of this id.
        let Some(pid) = process.and_then(|process| Pid::from_raw(process.pid)) else {
            return Ok(Reply::Done);
        };
        let killed = kill_process_group(pid, Signal::KILL);
        match killed.or_else(|_| kill_process(pid, Signal::KILL)) {
            Err(error) if error != Errno::SRCH => Err(error.to_string()),
            _ => Ok(Reply::Done),
        }
    }

    fn update(&self, limits: &Resources) -> Result<Reply, String> {
        self.runtime
            .update(limits)
            .map_err(|error| error.to_string())?;
        Ok(Reply::Done)
    }

    fn set_paused(&mut self, paused: bool) -> Result<Reply, String> {
        let verb = if paused { "pause" } else { "resume" };
        self.runtime
            .tell(&[verb])
            .map_err(|error| error.to_string())?;
        self.paused = paused;
        Ok(Reply::Done)
    }

    fn resize(&mut self, exec: Option<&str>, rows: u16, columns: u16) -> Result<Reply, String> {
        let process = self
            .processes
            .values()
            .find(|process| process.exec.as_deref() == exec);
        let Some(terminal) = process.and_then(Process::terminal) else {
            return Err("there is no such terminal".to_owned());
        };
        pty::resize(terminal, rows, columns).map_err(|error| error.to_string())?;
        Ok(Reply::Done)
    }

    fn snapshot(&self) -> Snapshot {
        let execs = self
            .processes
            .values()
            .filter_map(|p| Some((p.exec.clone()?, p.pid)))
            .collect();
        let pid = self.processes.get(&FIRST).map_or(0, |process| process.pid);
        Snapshot {
            pid,
            started: self.started,
            paused: self.paused,
            execs,
            out_of_memory: self.memory.as_ref().is_some_and(Memory::ran_out),
        }
    }

    fn exec(&mut self, id: u32, request: &ExecRequest) {
        let tty = request.process.terminal;
        let stdin = request.attach.is_some_and(|options| options.stdin);
        let wiring = Wiring {
            tty,
            stdin,
            console_size: request.console_size,
        };
        if request.id.is_empty() || !request.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            self.answer(
                id,
                &Reply::Failed {
                    message: "invalid exec id".to_owned(),
                },
                None,
            );
            return;
        }
        let made = match self.runtime.exec(&request.id, &request.process, wiring) {
            Ok(made) => made,
            Err(error) => {
                self.answer(
                    id,
                    &Reply::Failed {
                        message: error.to_string(),
                    },
                    None,
                );
                return;
            }
        };
        let pid = made.pid;
        match self.adopt(Process::exec(&request.id, made, tty)) {
            Ok(process) => {
                let role = request
                    .attach
                    .map(|options| Role::Stream { process, options });
                self.answer(id, &Reply::Started { pid }, role);
            }
            Err(error) => self.answer(
                id,
                &Reply::Failed {
                    message: error.to_string(),
                },
                None,
            ),
        }
    }

    /// Input came from a client, or its end, which is an empty piece.
    fn on_stream_input(&mut self, key: u32, options: AttachOptions, bytes: &[u8]) {
        if !options.stdin {
            return;
        }
        if bytes.is_empty() {
            self.end_input(key);
            return;
        }
        if let Some(process) = self.processes.get_mut(&key)
            && !process.input_ends
            && process.stdin.is_some()
        {
            process.input.extend(bytes);
        }
        self.on_input(key);
    }

    /// A client that sent input has no more: for some processes that is the end of all input. A
    /// terminal has no end of input; programs in it are told by Ctrl-D, which is a byte like others.
    pub(super) fn end_input(&mut self, key: u32) {
        if let Some(process) = self.processes.get_mut(&key)
            && process.stdin_once
            && !process.tty
        {
            process.input_ends = true;
        }
        self.on_input(key);
    }

    /// Writes waiting input and closes standard input when it has come to its end.
    pub(super) fn on_input(&mut self, key: u32) {
        let Some(process) = self.processes.get_mut(&key) else {
            return;
        };
        let open = process.write_input();
        let done = process.input_ends && process.input.is_empty();
        if !open || done {
            self.close_input(key);
        } else if let Some(stdin) = &process.stdin {
            let interest = if process.input.is_empty() {
                Interest::NONE
            } else {
                Interest::WRITE
            };
            let _ = self
                .reactor
                .change(stdin, Token::Input(key).pack(), interest);
        }
        for id in self.streams_of(key) {
            self.update_client(id);
        }
    }

    pub(super) fn close_input(&mut self, key: u32) {
        let Some(process) = self.processes.get_mut(&key) else {
            return;
        };
        process.input.clear();
        if let Some(stdin) = process.stdin.take() {
            let _ = self.reactor.remove(&stdin);
        }
    }
}
