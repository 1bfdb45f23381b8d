//! Driver `journald`: systemd's native protocol, a datagram an entry
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use crate::connect::TRANSFER_TIME;
use crate::entry::{Entry, random_id};
use crate::receiver::{Failure, Receiver};
use crate::settings::{About, Settings};
use crate::words::cause;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// Where systemd's journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The most bytes of a field's name (systemd's `FIELD_LEN_MAX`).
const LONGEST_NAME: usize = 64;

/// Writes entries.
#[derive(Debug)]
struct Writer {
    /// What all entries say of the container.
    fields: Vec<u8>,
    /// How many entries there were.
    ordinal: u64,
}

impl Writer {
    fn new(about: &About) -> Self {
        let mut fields = Vec::new();
        for (name, value) in [
            ("CONTAINER_ID", about.id.get(..12).unwrap_or(&about.id)),
            ("CONTAINER_ID_FULL", &about.id),
            ("CONTAINER_NAME", &about.name),
            ("CONTAINER_TAG", &about.tag),
            ("IMAGE_NAME", &about.image),
            ("SYSLOG_IDENTIFIER", &about.tag),
            ("CONTAINER_LOG_EPOCH", &random_id()),
        ] {
            append(name, value.as_bytes(), &mut fields);
        }
        for (name, value) in &about.attributes {
            let name = field_name(name);
            if !name.is_empty() {
                append(&name, value.as_bytes(), &mut fields);
            }
        }
        Self { fields, ordinal: 0 }
    }

    fn entry(&mut self, entry: &Entry) -> Vec<u8> {
        self.ordinal += 1;
        let mut bytes = self.fields.clone();
        let mut add = |name: &str, value: &str| append(name, value.as_bytes(), &mut bytes);
        add("PRIORITY", if entry.stderr { "3" } else { "6" });
        add("SYSLOG_TIMESTAMP", &entry.timestamp().to_string());
        add("CONTAINER_LOG_ORDINAL", &self.ordinal.to_string());
        if let Some(part) = &entry.part {
            add("CONTAINER_PARTIAL_ID", &part.id);
            add("CONTAINER_PARTIAL_ORDINAL", &part.ordinal.to_string());
            add("CONTAINER_PARTIAL_LAST", &part.last.to_string());
            if !part.last {
                add("CONTAINER_PARTIAL_MESSAGE", "true");
            }
        }
        append("MESSAGE", &entry.line, &mut bytes);
        bytes
    }
}

/// A label's or variable's name as the journal allows it: capitals, digits and `_`, no `_` in front.
fn field_name(name: &str) -> String {
    let fits = |c: char| match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9') => c,
        _ => '_',
    };
    let name: String = name.chars().map(fits).collect();
    name.trim_start_matches('_')
        .chars()
        .take(LONGEST_NAME)
        .collect()
}

fn append(name: &str, value: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        to.push(b'\n');
        to.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        to.push(b'=');
    }
    to.extend_from_slice(value);
    to.push(b'\n');
}

/// The journal.
#[derive(Debug)]
pub(crate) struct Journald {
    path: PathBuf,
    writer: Writer,
    socket: Option<UnixDatagram>,
}

impl Journald {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            path: settings.journal.clone().unwrap_or_else(|| SOCKET.into()),
            writer: Writer::new(&settings.about),
            socket: None,
        }
    }
}

impl Receiver for Journald {
    fn connect(&mut self) -> Result<(), String> {
        let connected = UnixDatagram::unbound().and_then(|socket| {
            socket.connect(&self.path)?;
            socket.set_write_timeout(Some(TRANSFER_TIME))?;
            Ok(socket)
        });
        self.socket = Some(connected.map_err(|_| "journald is not enabled on this host")?);
        Ok(())
    }

    fn send(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let Some(socket) = &self.socket else {
            return Err(Failure::gone(0, "the journal's socket is closed"));
        };
        for (number, entry) in entries.iter().enumerate() {
            let bytes = self.writer.entry(entry);
            let sent = match socket.send(&bytes) {
                Err(error) if is_too_long(&error) => send_file(socket, &self.path, &bytes),
                sent => sent.map(drop),
            };
            match sent {
                Ok(()) => {}
                Err(error) if is_too_long(&error) => {
                    return Err(Failure::refused(number, 1, cause(&error)));
                }
                Err(error) => {
                    self.writer.ordinal -= 1;
                    return Err(Failure::gone(number, cause(&error)));
                }
            }
        }
        Ok(())
    }
}

fn is_too_long(error: &io::Error) -> bool {
    let codes = [Errno::MSGSIZE, Errno::NOBUFS].map(Errno::raw_os_error);
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

/// Sends an entry that is too long for a datagram as a file in memory that nobody can change any more.
fn send_file(socket: &UnixDatagram, path: &PathBuf, bytes: &[u8]) -> io::Result<()> {
    let file = memfd_create("journal", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes)?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [file.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let address = SocketAddrUnix::new(path)?;
    sendmsg_addr(
        socket,
        &address,
        &[IoSlice::new(&[])],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Part;
    use crate::entry::tests::line;
    use std::collections::BTreeMap;

    #[test]
    fn names_are_made_to_fit() {
        assert_eq!(field_name("com.example/a"), "COM_EXAMPLE_A");
        assert_eq!(field_name("_.x"), "X");
        assert_eq!(field_name("ä"), "");
        assert_eq!(field_name(&"a".repeat(99)).len(), LONGEST_NAME);
    }

    #[test]
    fn entries_are_dockerds() {
        let about = About {
            id: "0123456789abcdef".to_owned(),
            tag: "t".to_owned(),
            attributes: BTreeMap::from([("a.b".to_owned(), "1\n2".to_owned())]),
            ..About::default()
        };
        let mut entry = line(true, "a\nb");
        entry.part = Some(Part {
            id: "p".to_owned(),
            ordinal: 2,
            last: false,
        });
        let written = Writer::new(&about).entry(&entry);
        let has = |field: &[u8]| written.windows(field.len()).any(|part| part == field);
        for field in [
            &b"CONTAINER_ID=0123456789ab\n"[..],
            b"CONTAINER_ID_FULL=0123456789abcdef\n",
            b"SYSLOG_IDENTIFIER=t\n",
            b"A_B\n\x03\0\0\0\0\0\0\x001\n2\n",
            b"PRIORITY=3\n",
            b"SYSLOG_TIMESTAMP=2026-11-22T01:22:18.123456789Z\n",
            b"CONTAINER_LOG_ORDINAL=1\n",
            b"CONTAINER_PARTIAL_LAST=false\n",
            b"CONTAINER_PARTIAL_MESSAGE=true\n",
            b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n",
        ] {
            assert!(has(field), "{}", String::from_utf8_lossy(field));
        }
    }
}
