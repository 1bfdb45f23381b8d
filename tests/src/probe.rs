//! Who reaches whom, and as whom: servers that answer with the address they see, and clients that ask many of them at once.

use crate::host::within;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an answer that must come may take. Generous: the machines are small and shared.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing may have happened before what must not come is believed not to come.
const QUIET: Duration = Duration::from_millis(300);
/// UDP is asked again after this.
const AGAIN: Duration = Duration::from_millis(150);

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

/// A server in some namespace: whoever asks one of its ports, by TCP or UDP and IPv4 or IPv6, is told the address that the
/// server sees. Dropping it ends it and lets go of the namespace.
#[derive(Debug)]
pub struct Echo {
    thread: Option<std::thread::JoinHandle<()>>,
    stop: Option<OwnedFd>,
}

impl Echo {
    /// Serves `ports` at all addresses of the namespace at `path`.
    ///
    /// # Panics
    /// When a port is taken there.
    #[must_use]
    pub fn start(path: &Path, ports: &[u16]) -> Self {
        let all = |port: &u16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port));
        Self::start_at(path, &ports.iter().map(all).collect::<Vec<_>>())
    }

    /// Serves these addresses of the namespace at `path`: where there are several, an answer over UDP comes from the one
    /// that was asked.
    ///
    /// # Panics
    /// When one is taken there, or not its own.
    #[must_use]
    pub fn start_at(path: &Path, addresses: &[SocketAddr]) -> Self {
        let (listeners, sockets) = within(path, || {
            let tcp = addresses.iter().map(|at| {
                let listener = TcpListener::bind(at).expect("listen");
                listener.set_nonblocking(true).expect("do not block");
                listener
            });
            let udp = addresses.iter().map(|at| {
                let socket = UdpSocket::bind(at).expect("bind");
                socket.set_nonblocking(true).expect("do not block");
                socket
            });
            (tcp.collect::<Vec<_>>(), udp.collect::<Vec<_>>())
        });
        // No program that is started meanwhile may hold the end that is closed.
        let (stopped, stop) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        let thread = std::thread::spawn(move || serve(&listeners, &sockets, &stopped));
        Self {
            thread: Some(thread),
            stop: Some(stop),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listeners: &[TcpListener], sockets: &[UdpSocket], stopped: &OwnedFd) {
    loop {
        let all = listeners.iter().map(AsFd::as_fd);
        let all = all.chain(sockets.iter().map(AsFd::as_fd));
        let mut ready: Vec<PollFd<'_>> = all
            .chain([stopped.as_fd()])
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let _ = poll(&mut ready, None);
        if ready.last().is_some_and(|end| !end.revents().is_empty()) {
            return;
        }
        for listener in listeners {
            while let Ok((mut stream, from)) = listener.accept() {
                let _ = stream.write_all(from.ip().to_canonical().to_string().as_bytes());
            }
        }
        for socket in sockets {
            let mut question = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut question) {
                let _ = socket.send_to(from.ip().to_canonical().to_string().as_bytes(), from);
            }
        }
    }
}

/// What is asked.
pub type Question = (Transport, SocketAddr);

/// Which answers must come, as far as one knows.
#[derive(Debug, Clone, Copy)]
pub enum Expect<'e> {
    /// Nothing is known: everything gets this long.
    Unknown(Duration),
    /// These must come, and get all the time they need; the others get as long as it takes until those have come
    /// and then nothing more happens.
    Exactly(&'e [bool]),
}

/// Asks all questions at once from the namespace at `path`; gives which address each server saw, `None` without answer.
///
/// # Panics
/// When the namespace cannot be entered.
#[must_use]
pub fn ask(path: &Path, questions: &[Question], expect: Expect<'_>) -> Vec<Option<IpAddr>> {
    within(path, || Asking::begin(questions).finish(expect))
}

/// Asks one question whose answer must come.
///
/// # Panics
/// When it does not.
#[must_use]
pub fn ask_one(path: &Path, question: Question) -> IpAddr {
    ask(path, &[question], Expect::Exactly(&[true]))[0]
        .unwrap_or_else(|| panic!("no answer to {question:?}"))
}

enum Open {
    Connecting(OwnedFd),
    Reading(TcpStream),
    Datagram(UdpSocket),
}

impl Open {
    fn poll(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Self::Connecting(socket) => (socket.as_fd(), PollFlags::OUT),
            Self::Reading(stream) => (stream.as_fd(), PollFlags::IN),
            Self::Datagram(socket) => (socket.as_fd(), PollFlags::IN),
        }
    }
}

/// Questions under way.
struct Asking {
    open: BTreeMap<usize, Open>,
    answers: Vec<Option<IpAddr>>,
}

impl Asking {
    fn begin(questions: &[Question]) -> Self {
        let opened = |(index, question): (usize, &Question)| Some((index, open(*question)?));
        Self {
            open: questions.iter().enumerate().filter_map(opened).collect(),
            answers: vec![None; questions.len()],
        }
    }

    fn finish(mut self, expect: Expect<'_>) -> Vec<Option<IpAddr>> {
        let begun = Instant::now();
        let (mut last, mut asked) = (begun, begun);
        while !self.open.is_empty() {
            let over = match expect {
                Expect::Unknown(time) => begun.elapsed() > time,
                Expect::Exactly(wanted) => {
                    let pending = |index: &usize| wanted[*index] && self.answers[*index].is_none();
                    let waiting = self.open.keys().any(pending);
                    last.elapsed() > if waiting { PATIENCE } else { QUIET }
                }
            };
            if over {
                break;
            }
            if self.step() {
                last = Instant::now();
            }
            if asked.elapsed() > AGAIN {
                asked = Instant::now();
                for open in self.open.values() {
                    if let Open::Datagram(socket) = open {
                        let _ = socket.send(b"who am I?");
                    }
                }
            }
        }
        self.answers
    }

    /// Waits for something to happen, but not long; whether an answer came.
    fn step(&mut self) -> bool {
        let keys: Vec<usize> = self.open.keys().copied().collect();
        let mut ready: Vec<PollFd<'_>> = self
            .open
            .values()
            .map(|open| {
                let (fd, flags) = open.poll();
                PollFd::from_borrowed_fd(fd, flags)
            })
            .collect();
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        let _ = poll(&mut ready, Some(&moment));
        let ready: Vec<usize> = keys
            .into_iter()
            .zip(&ready)
            .filter(|(_, polled)| !polled.revents().is_empty())
            .map(|(key, _)| key)
            .collect();
        let mut answered = false;
        for key in ready {
            let open = self.open.remove(&key).expect("it was polled");
            match advance(open) {
                Next::Still(open) => drop(self.open.insert(key, open)),
                Next::Answer(address) => {
                    answered = true;
                    self.answers[key] = Some(address);
                }
                Next::Refused => {}
            }
        }
        answered
    }
}

enum Next {
    Still(Open),
    Answer(IpAddr),
    Refused,
}

fn open((transport, to): Question) -> Option<Open> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    let unspecified = match to {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    match transport {
        Transport::Udp => {
            let socket = UdpSocket::bind(unspecified).ok()?;
            socket.set_nonblocking(true).ok()?;
            // An error that came back earlier shows in the next call; the question is asked again all the same.
            socket.connect(to).ok()?;
            let _ = socket.send(b"who am I?");
            Some(Open::Datagram(socket))
        }
        Transport::Tcp => {
            let family = if to.is_ipv4() {
                AddressFamily::INET
            } else {
                AddressFamily::INET6
            };
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(family, SocketType::STREAM, flags, None).ok()?;
            match connect(&socket, &to) {
                Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Some(Open::Connecting(socket)),
                Err(_) => None,
            }
        }
    }
}

fn advance(open: Open) -> Next {
    let mut text = [0; 64];
    let read = match open {
        Open::Connecting(socket) => {
            let failed = rustix::net::sockopt::socket_error(&socket);
            return match failed {
                Ok(Ok(())) => Next::Still(Open::Reading(TcpStream::from(socket))),
                _ => Next::Refused,
            };
        }
        Open::Reading(mut stream) => match stream.read(&mut text) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Next::Still(Open::Reading(stream));
            }
            Err(_) => return Next::Refused,
        },
        Open::Datagram(socket) => match socket.recv(&mut text) {
            Ok(length) => length,
            // "Port unreachable" may be that of a moment: a port that is just being published.
            Err(_) => return Next::Still(Open::Datagram(socket)),
        },
    };
    let text = String::from_utf8_lossy(&text[..read]);
    text.parse().map_or(Next::Refused, Next::Answer)
}
