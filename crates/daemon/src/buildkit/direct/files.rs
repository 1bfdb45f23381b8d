//! Files of a client's on a connection of Hull's own: its packets in fsutil's words.

use super::super::Duplex;
use super::super::filesync::{Answer, Link, mode};
use super::super::session::SessionError;
use crate::transport::Socket;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use hull_api::build::{FileStat, Packet as Sent, PacketError, Reader};
use rustix::fs::FileType;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How many bytes are read at once.
const PIECE: usize = 256 << 10;
/// How many bytes of answers wait at most.
const ANSWERS: usize = 32 << 10;

/// A client's connection.
pub(super) struct Connection {
    socket: Duplex<Socket>,
    runtime: Handle,
    stop: CancellationToken,
    reader: Reader,
    buffer: Vec<u8>,
    answers: Vec<u8>,
}

impl Connection {
    pub(super) fn new(socket: Duplex<Socket>, runtime: Handle, stop: CancellationToken) -> Self {
        Self {
            socket,
            runtime,
            stop,
            reader: Reader::default(),
            buffer: vec![0; PIECE],
            answers: Vec::new(),
        }
    }

    fn read(&mut self) -> Result<usize, SessionError> {
        let stop = self.stop.clone();
        let (socket, buffer) = (&mut self.socket, &mut self.buffer);
        self.runtime.block_on(async {
            tokio::select! {
                () = stop.cancelled() => Err(SessionError::Cancelled),
                done = socket.read(buffer) => done.map_err(broken_off),
            }
        })
    }

    fn flush(&mut self) -> Result<(), SessionError> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let answers = std::mem::take(&mut self.answers);
        let stop = self.stop.clone();
        let socket = &mut self.socket;
        self.runtime.block_on(async {
            tokio::select! {
                () = stop.cancelled() => Err(SessionError::Cancelled),
                done = socket.write_all(&answers) => done.map_err(broken_off),
            }
        })
    }
}

fn broken_off(error: io::Error) -> SessionError {
    SessionError::local("talk to the client", error)
}

impl Link for Connection {
    fn next(&mut self) -> Result<Option<Packet>, SessionError> {
        loop {
            let next = self.reader.take().map_err(|error| match error {
                PacketError::Broken(text) => SessionError::Protocol(text.to_owned()),
                PacketError::Io(error) => broken_off(error),
            })?;
            if let Some(packet) = next {
                return translated(packet).map(Some);
            }
            self.flush()?;
            match self.read()? {
                0 => return Ok(None),
                count => self.reader.push(&self.buffer[..count]),
            }
        }
    }

    fn answer(&mut self, answer: Answer) -> Result<(), SessionError> {
        let (packet, last) = match answer {
            Answer::Request(number) => (Sent::Wanted(number), false),
            Answer::Done => (Sent::Done, true),
            Answer::Failed(text) => (Sent::Failed(text), true),
        };
        packet.write(&mut self.answers);
        match last || self.answers.len() > ANSWERS {
            true => self.flush(),
            false => Ok(()),
        }
    }
}

fn translated(packet: Sent) -> Result<Packet, SessionError> {
    let (kind, id, stat, data) = match packet {
        Sent::Stat(stat) => (PacketType::PacketStat, 0, Some(go_stat(stat)?), Vec::new()),
        Sent::End => (PacketType::PacketStat, 0, None, Vec::new()),
        Sent::Data(number, bytes) => (PacketType::PacketData, number, None, bytes),
        Sent::Failed(text) => (PacketType::PacketErr, 0, None, text.into_bytes()),
        Sent::Wanted(_) | Sent::Done => {
            let text = "a packet that only receivers send";
            return Err(SessionError::Protocol(text.to_owned()));
        }
    };
    Ok(Packet {
        r#type: kind.into(),
        stat,
        id,
        data,
    })
}

/// A file of a context's: it belongs to root, whoever has it, and has no device.
fn go_stat(stat: FileStat) -> Result<Stat, SessionError> {
    let kind = match FileType::from_raw_mode(stat.mode) {
        FileType::RegularFile => 0,
        FileType::Directory => mode::DIR,
        FileType::Symlink => mode::SYMLINK,
        FileType::Fifo => mode::FIFO,
        other => {
            let text = format!("{:?} is a {other:?}", stat.path);
            return Err(SessionError::Protocol(text));
        }
    };
    let bit = |unix: u32, go: u32| if stat.mode & unix == 0 { 0 } else { go };
    Ok(Stat {
        path: stat.path,
        mode: kind
            | stat.mode & 0o777
            | bit(0o4000, mode::SETUID)
            | bit(0o2000, mode::SETGID)
            | bit(0o1000, mode::STICKY),
        size: stat.size,
        mod_time: stat.modified,
        linkname: stat.link,
        ..Stat::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_go() {
        let stat = |mode| {
            let stat = FileStat {
                path: "a".to_owned(),
                mode,
                ..FileStat::default()
            };
            go_stat(stat).map(|stat| stat.mode)
        };
        assert_eq!(stat(0o104_755).unwrap(), mode::SETUID | 0o755);
        assert_eq!(stat(0o041_777).unwrap(), mode::DIR | mode::STICKY | 0o777);
        assert_eq!(stat(0o120_777).unwrap(), mode::SYMLINK | 0o777);
        assert!(stat(0o060_600).is_err());
    }
}
