//! One question to a name server, asked from within a namespace.

use crate::host::within;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// The resolver that containers of user-defined networks have.
pub const EMBEDDED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);

/// What a name server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 0: there is such a name; 3: there is none (RFC 1035, section 4.1.1).
    pub code: u8,
    /// In the order of the answer.
    pub addresses: Vec<IpAddr>,
}

/// Asks for the addresses of `name`, of IPv6 or of IPv4; `None` when nobody answers in time.
///
/// # Panics
/// When the namespace cannot be entered.
#[must_use]
pub fn resolve(path: &Path, server: SocketAddr, name: &str, six: bool) -> Option<Answer> {
    within(path, || Asker::new(server).ask(name, six))
}

/// Somebody who asks often, from the namespace of the thread that made it.
#[derive(Debug)]
pub struct Asker(UdpSocket);

impl Asker {
    /// Will ask `server`.
    ///
    /// # Panics
    /// Without a socket.
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.connect(server).expect("an address");
        let patience = Some(Duration::from_secs(5));
        socket.set_read_timeout(patience).expect("a time limit");
        Self(socket)
    }

    /// As [`resolve`].
    #[must_use]
    pub fn ask(&self, name: &str, six: bool) -> Option<Answer> {
        let kind = if six { 28 } else { 1 };
        self.0.send(&question(name, kind)).ok()?;
        let mut reply = [0; 4096];
        let length = self.0.recv(&mut reply).ok()?;
        read(&reply[..length], kind)
    }
}

/// A name server of the world: names that begin with `known` have [`KNOWN`], others do not exist. It lives as long as the
/// test does.
///
/// # Panics
/// When the address is taken.
pub fn serve(path: &Path, at: SocketAddr) {
    let socket = within(path, || UdpSocket::bind(at).expect("bind"));
    std::thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut message) {
            let _ = socket.send_to(&reply(&message[..length]), from);
        }
    });
}

/// The address of the names that [`serve`] knows.
pub const KNOWN: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77));

fn reply(question: &[u8]) -> Vec<u8> {
    let known = question
        .get(13..18)
        .is_some_and(|name| name.eq_ignore_ascii_case(b"known"));
    let end = skip_name(question, 12).map_or(question.len(), |end| end + 4);
    let wants_four = question.get(end - 3) == Some(&1);
    let mut reply = question.get(..end).unwrap_or_default().to_vec();
    reply.resize(end.max(12), 0);
    reply[2..4].copy_from_slice(&[0x81, if known { 0x80 } else { 0x83 }]);
    reply[6..12].fill(0);
    if known && wants_four {
        reply[7] = 1;
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 77]);
    }
    reply
}

fn question(name: &str, kind: u8) -> Vec<u8> {
    let mut message = vec![0x77, 0x77, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("a label is short"));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, kind, 0, 1]);
    message
}

fn read(reply: &[u8], kind: u8) -> Option<Answer> {
    let number =
        |at: usize| Some(usize::from(*reply.get(at)?) << 8 | usize::from(*reply.get(at + 1)?));
    let mut at = 12;
    for _ in 0..number(4)? {
        at = skip_name(reply, at)? + 4;
    }
    let mut addresses = Vec::new();
    for _ in 0..number(6)? {
        at = skip_name(reply, at)?;
        let (record, length) = (number(at)?, number(at + 8)?);
        at += 10;
        let data = reply.get(at..at + length)?;
        at += length;
        if record == usize::from(kind) {
            addresses.push(match length {
                4 => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into(),
                _ => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into(),
            });
        }
    }
    Some(Answer {
        code: reply.get(3)? & 0xf,
        addresses,
    })
}

fn skip_name(reply: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *reply.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}
