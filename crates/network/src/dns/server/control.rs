//! What the daemon asks for.

use super::super::protocol::{self, Decoder, Identity, Reply, Request};
use super::super::{Entry, Sandbox};
use super::Server;
use super::sandbox::{self, Served};
use super::timers::{Token, is_shortage};
use hull_linux::reactor::{Interest, Ready};
use hull_linux::socket;
use std::collections::HashSet;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Instant;

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// A connection of a daemon's.
#[derive(Debug)]
pub(super) struct Control {
    socket: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
}

/// Listens at `path`, in the place of whoever listened there: a resolver that is to be replaced serves
/// those who are connected to it.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = fs_err::File::open(directory)?;
    let own = format!(".{}.{}", name.to_string_lossy(), std::process::id());
    match rustix::fs::unlinkat(&directory, own.as_str(), rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let listener = socket::listen_at(directory.as_fd(), &own)?;
    listener.set_nonblocking(true)?;
    rustix::fs::renameat(&directory, own.as_str(), &directory, name)?;
    Ok(listener)
}

impl Server {
    pub(super) fn accept_control(&mut self) {
        let socket = match self.listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) => {
                if is_shortage(&error) {
                    let listener = self.listener.as_fd();
                    self.timers.pause(&self.reactor, listener, Token::Listener);
                }
                return;
            }
        };
        let key = self.new_key();
        let token = Token::Control(key).number();
        let waited_for = socket
            .set_nonblocking(true)
            .and_then(|()| self.reactor.add(&socket, token, Interest::READ));
        if waited_for.is_ok() {
            let control = Control {
                socket,
                decoder: Decoder::default(),
                unsent: Vec::new(),
            };
            self.controls.insert(key, control);
        }
    }

    pub(super) fn control(&mut self, key: u64, ready: Ready) {
        let Some(mut control) = self.controls.remove(&key) else {
            return;
        };
        let alive = self.serve_control(&mut control, ready).is_ok();
        let interest = Interest {
            readable: control.unsent.is_empty(),
            writable: !control.unsent.is_empty(),
        };
        let token = Token::Control(key).number();
        if alive
            && self
                .reactor
                .change(&control.socket, token, interest)
                .is_ok()
        {
            self.controls.insert(key, control);
        } else if self.controls.is_empty() {
            self.alone_since = Instant::now();
            self.inspected = Instant::now();
        }
    }

    fn serve_control(&mut self, control: &mut Control, ready: Ready) -> io::Result<()> {
        if ready.readable && control.unsent.is_empty() {
            let mut chunk = vec![0; CHUNK];
            match socket::receive(&control.socket, &mut chunk) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((length, descriptor)) => control.decoder.push(&chunk[..length], descriptor),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            while let Some(request) = control.decoder.next()? {
                let reply = self.perform(request, &mut control.decoder);
                protocol::encode(&reply, &mut control.unsent)?;
            }
        }
        while !control.unsent.is_empty() {
            match control.socket.write(&control.unsent) {
                Ok(count) => drop(control.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn perform(&mut self, request: Request, decoder: &mut Decoder) -> Reply {
        match request {
            Request::Hello => return Reply::Version(protocol::VERSION.to_owned()),
            Request::Sync { sandboxes, names } => return self.sync(sandboxes, names),
            Request::Add(sandbox) => {
                let id = sandbox.id.clone();
                let added = decoder
                    .descriptor()
                    .ok_or_else(|| io::Error::other("no namespace came along"))
                    .and_then(|netns| self.add_sandbox(sandbox, netns));
                if let Err(error) = added {
                    return Reply::Failed(format!("serve {id}: {}", in_full(&error)));
                }
            }
            Request::Remove(id) => self.remove_sandbox(&id),
            Request::Name { network, entry } => self.zone.insert(network, entry),
            Request::Forget { network, endpoint } => self.zone.remove(&network, &endpoint),
            Request::Leave => self.leaves = true,
        }
        Reply::Done
    }

    fn sync(&mut self, wanted: Vec<(Identity, Sandbox)>, names: Vec<(String, Entry)>) -> Reply {
        self.zone.replace(names);
        let known: HashSet<&str> = wanted.iter().map(|(_, s)| s.id.as_str()).collect();
        let is_unknown = |id: &&String| !known.contains(id.as_str());
        let gone: Vec<String> = self.keys.keys().filter(is_unknown).cloned().collect();
        for id in gone {
            self.remove_sandbox(&id);
        }
        let mut missing = Vec::new();
        for (identity, sandbox) in wanted {
            let served = self.keys.get(&sandbox.id);
            let served = served.and_then(|key| self.sandboxes.get_mut(key));
            match served {
                Some(served) if served.serves(identity, &sandbox) => served.sandbox = sandbox,
                _ => missing.push(sandbox.id),
            }
        }
        Reply::Missing(missing)
    }

    fn add_sandbox(&mut self, sandbox: Sandbox, netns: OwnedFd) -> io::Result<()> {
        let identity = sandbox::identity(netns.as_fd())?;
        if let Some(served) = self
            .keys
            .get(&sandbox.id)
            .and_then(|key| self.sandboxes.get_mut(key))
            && served.identity == identity
        {
            served.netns = (!sandbox.servers.is_empty()).then_some(netns);
            served.sandbox = sandbox;
            return Ok(());
        }
        let served = Served::open(&self.home, sandbox, netns)?;
        let key = self.new_key();
        let (packets, connections) = (Token::Packets(key), Token::Connections(key));
        self.reactor
            .add(&served.udp, packets.number(), Interest::READ)?;
        self.reactor
            .add(&served.tcp, connections.number(), Interest::READ)?;
        let id = served.sandbox.id.clone();
        self.remove_sandbox(&id);
        self.keys.insert(id, key);
        self.sandboxes.insert(key, served);
        Ok(())
    }

    pub(super) fn remove_sandbox(&mut self, id: &str) {
        let Some(key) = self.keys.remove(id) else {
            return;
        };
        self.sandboxes.remove(&key);
        self.streams.retain(|_, stream| stream.sandbox != key);
        self.forwarder.forget(key);
    }
}

/// An error with its causes: they do not travel otherwise.
fn in_full(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.get_ref().and_then(|inner| inner.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
