//! A connection: to a bus, or to a peer that speaks for itself.

use super::Error;
use super::message::{Kind, Message, START};
use super::value::Value;
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long one answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// The most bytes of one line of the authentication; real ones have some 40.
const MAX_LINE: usize = 512;

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// systemd's own socket: it alone is behind it.
    Private(PathBuf),
    /// A bus.
    Bus(PathBuf),
}

impl Address {
    /// The path of the first address of a list that has one: `unix:path=/run/x,guid=…;…` (D-Bus
    /// specification, "Server Addresses"). Other transports are of no use here.
    #[must_use]
    pub fn bus_at(list: &str) -> Option<Self> {
        let path = |address: &str| {
            let keys = address.strip_prefix("unix:")?;
            let path = keys.split(',').find_map(|key| key.strip_prefix("path="))?;
            unescape(path)
        };
        list.split(';').find_map(path).map(Self::Bus)
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Private(path) | Self::Bus(path) => path,
        }
    }
}

/// `%2f` is a slash.
fn unescape(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(std::ffi::OsString::from_vec(bytes).into())
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    /// The service, on a bus.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
}

impl<'a> Method<'a> {
    /// One of the bus itself.
    #[must_use]
    pub fn of_bus(member: &'a str) -> Self {
        Self {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
        }
    }
}

/// A connection that has said who it is.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Whether somebody is between us and the peer.
    shared: bool,
    /// News that came while an answer was waited for.
    signals: VecDeque<Message>,
}

impl Bus {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Connect`] when nobody listens, [`Error::Refused`] or [`Error::Protocol`] when we are not
    /// welcome.
    pub fn connect(address: &Address) -> Result<Self, Error> {
        let failed = |source| Error::Connect {
            address: address.path().display().to_string(),
            source,
        };
        let stream = UnixStream::connect(address.path()).map_err(failed)?;
        stream
            .set_write_timeout(Some(ANSWER_TIME))
            .map_err(failed)?;
        let mut bus = Self {
            stream,
            serial: 0,
            shared: matches!(address, Address::Bus(_)),
            signals: VecDeque::new(),
        };
        bus.authenticate().map_err(failed)?;
        if bus.shared {
            bus.call(Method::of_bus("Hello"), Vec::new())?;
        }
        Ok(bus)
    }

    /// Whether it is a bus.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// SASL's EXTERNAL without a name: the other side takes the one the kernel tells, which is right also
    /// where we are root of a user namespace.
    fn authenticate(&mut self) -> io::Result<()> {
        self.stream.set_read_timeout(Some(ANSWER_TIME))?;
        self.stream.write_all(b"\0AUTH EXTERNAL\r\n")?;
        let mut answer = self.line()?;
        if answer.starts_with("DATA") {
            self.stream.write_all(b"DATA\r\n")?;
            answer = self.line()?;
        }
        if !answer.starts_with("OK ") {
            let text = format!("authentication was answered by {answer:?}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        self.stream.write_all(b"BEGIN\r\n")
    }

    /// A line, byte by byte: what follows the last one are messages.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            if line.len() > MAX_LINE {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line[..line.len() - 2]).into_owned())
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// [`Error::Refused`] when the answer is an error.
    pub fn call(&mut self, method: Method<'_>, body: Vec<Value>) -> Result<Vec<Value>, Error> {
        self.serial += 1;
        let call = Message {
            path: method.path.to_owned(),
            interface: method.interface.to_owned(),
            member: method.member.to_owned(),
            destination: if self.shared {
                method.destination.to_owned()
            } else {
                String::new()
            },
            body,
            ..Message::new(Kind::Call, self.serial)
        };
        self.stream.write_all(&call.encode()).map_err(Error::Lost)?;
        let deadline = Instant::now() + ANSWER_TIME;
        loop {
            let message = self.receive(deadline, method.member)?;
            match message.kind {
                Kind::Return if message.reply_to == call.serial => return Ok(message.body),
                Kind::Error if message.reply_to == call.serial => {
                    let text = match message.body.into_iter().next() {
                        Some(Value::Text(text)) => text,
                        _ => String::new(),
                    };
                    return Err(Error::Refused {
                        name: message.error,
                        text,
                    });
                }
                Kind::Signal => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    /// The next news.
    ///
    /// # Errors
    /// [`Error::Timeout`] names `what` was waited for.
    pub fn signal(&mut self, deadline: Instant, what: &str) -> Result<Message, Error> {
        if let Some(signal) = self.signals.pop_front() {
            return Ok(signal);
        }
        loop {
            let message = self.receive(deadline, what)?;
            if message.kind == Kind::Signal {
                return Ok(message);
            }
        }
    }

    fn receive(&mut self, deadline: Instant, what: &str) -> Result<Message, Error> {
        let mut start = [0; START];
        self.fill(&mut start, deadline, what)?;
        let mut bytes = vec![0; Message::length(start)?];
        bytes[..START].copy_from_slice(&start);
        self.fill(&mut bytes[START..], deadline, what)?;
        Message::decode(&bytes)
    }

    fn fill(&mut self, mut buffer: &mut [u8], deadline: Instant, what: &str) -> Result<(), Error> {
        while !buffer.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout(what.to_owned()));
            }
            self.stream
                .set_read_timeout(Some(left))
                .map_err(Error::Lost)?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(Error::Lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Error::Timeout(what.to_owned()));
                }
                Err(error) => return Err(Error::Lost(error)),
            }
        }
        Ok(())
    }
}
