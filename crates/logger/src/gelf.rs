//! Driver `gelf`: Graylog's format, over UDP (compressed, in chunks where it is long) and TCP (ended by a zero).

use crate::connect::{Connection, alive};
use crate::entry::Entry;
use crate::options::{Host, first_unknown};
use crate::receiver::{Failure, Manners, Receiver};
use crate::settings::{About, Settings};
use crate::url::Url;
use crate::words::{cause, host_and_port};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

const OPTIONS: [&str; 5] = [
    "gelf-address",
    "gelf-compression-level",
    "gelf-compression-type",
    "gelf-tcp-max-reconnect",
    "gelf-tcp-reconnect-delay",
];

/// A datagram's bytes, of which a chunk's head are [`CHUNK_HEAD`].
const CHUNK: usize = 1420;
const CHUNK_HEAD: usize = 12;
/// The most chunks of one message.
const MOST_CHUNKS: usize = 128;

type Map = BTreeMap<String, String>;

/// What dockerd checks when a container is created.
pub(crate) fn check(options: &Map) -> Result<(), String> {
    let (udp, _) = address(options)?;
    for (name, value) in options {
        match name.as_str() {
            "gelf-compression-level" | "gelf-compression-type" if !udp => {
                return Err("compression is only supported on UDP".to_owned());
            }
            "gelf-compression-level" if level(value).is_none() => {
                return Err(unknown_value(name, value));
            }
            "gelf-compression-type" if !matches!(value.as_str(), "gzip" | "zlib" | "none") => {
                return Err(unknown_value(name, value));
            }
            "gelf-tcp-max-reconnect" | "gelf-tcp-reconnect-delay" if udp => {
                return Err(format!("{name:?} is only valid for TCP"));
            }
            "gelf-tcp-max-reconnect" | "gelf-tcp-reconnect-delay"
                if value.parse::<u32>().is_err() =>
            {
                return Err(format!("{name:?} must be a positive integer"));
            }
            _ => {}
        }
    }
    match first_unknown(options, &OPTIONS) {
        Some(name) => Err(format!("unknown log opt {name:?} for gelf log driver")),
        None => Ok(()),
    }
}

fn unknown_value(name: &str, value: &str) -> String {
    format!("unknown value {value:?} for log opt {name:?} for gelf log driver")
}

fn level(text: &str) -> Option<Compression> {
    match text.parse::<i8>().ok()? {
        -1 => Some(Compression::default()),
        level @ 0..=9 => Some(Compression::new(u32::from(level.unsigned_abs()))),
        _ => None,
    }
}

/// Whether it is UDP, and whose.
fn address(options: &Map) -> Result<(bool, Host), String> {
    let text = options.get("gelf-address").map_or("", String::as_str);
    if text.is_empty() {
        return Err("gelf-address is a required parameter".to_owned());
    }
    let url = Url::parse(text)?;
    let udp = match url.scheme.as_str() {
        "udp" => true,
        "tcp" => false,
        _ => return Err("gelf: endpoint needs to be TCP or UDP".to_owned()),
    };
    match host_and_port(&url.host) {
        Ok((_, Some(_))) => Ok((udp, Host::of(&url, "")?)),
        _ => Err("gelf: please provide gelf-address as proto://host:port".to_owned()),
    }
}

/// How datagrams are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Gzip(Compression),
    Zlib(Compression),
    None,
}

impl Packing {
    fn of(options: &Map) -> Self {
        let level = options
            .get("gelf-compression-level")
            .and_then(|text| level(text));
        let level = level.unwrap_or(Compression::fast());
        match options.get("gelf-compression-type").map(String::as_str) {
            Some("none") => Self::None,
            Some("zlib") => Self::Zlib(level),
            _ => Self::Gzip(level),
        }
    }

    fn pack(self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes),
            Self::Gzip(level) => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(&bytes)?;
                encoder.finish()
            }
            Self::Zlib(level) => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(&bytes)?;
                encoder.finish()
            }
        }
    }
}

/// Writes messages.
#[derive(Debug)]
struct Writer {
    host: String,
    /// What all messages say of the container: `,"_a":"b",…}`.
    tail: String,
}

impl Writer {
    fn new(about: &About) -> Self {
        let mut extra = BTreeMap::from(
            [
                ("_container_id", &about.id),
                ("_container_name", &about.name),
                ("_image_id", &about.image_id),
                ("_image_name", &about.image),
                ("_command", &about.command),
                ("_tag", &about.tag),
                ("_created", &about.created),
            ]
            .map(|(name, value)| (name.to_owned(), Value::from(value.as_str()))),
        );
        for (name, value) in &about.attributes {
            let name = match name.starts_with('_') {
                true => name.clone(),
                false => format!("_{name}"),
            };
            extra.insert(name, Value::from(value.as_str()));
        }
        let shown = serde_json::to_string(&extra).unwrap_or_default();
        Self {
            host: about.host.clone(),
            tail: shown.replacen('{', ",", 1),
        }
    }

    fn message(&self, entry: &Entry) -> Vec<u8> {
        let text = String::from_utf8_lossy(&entry.line);
        let milliseconds = entry.time / 1_000_000;
        let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
        let level = if entry.stderr { 3 } else { 6 };
        format!(
            r#"{{"version":"1.1","host":{},"short_message":{},"timestamp":{seconds}.{rest:03},"level":{level}{}"#,
            Value::from(self.host.as_str()),
            Value::from(&*text),
            self.tail,
        )
        .into_bytes()
    }
}

/// The datagrams of a message; `None` when it is too long for any number of them.
fn datagrams(message: Vec<u8>, id: u64) -> Option<Vec<Vec<u8>>> {
    if message.len() <= CHUNK {
        return Some(vec![message]);
    }
    let pieces = message.chunks(CHUNK - CHUNK_HEAD);
    let count = u8::try_from(pieces.len())
        .ok()
        .filter(|count| usize::from(*count) <= MOST_CHUNKS)?;
    let chunk = |(number, piece): (u8, &[u8])| {
        let mut bytes = vec![0x1e, 0x0f];
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&[number, count]);
        bytes.extend_from_slice(piece);
        bytes
    };
    Some((0..count).zip(pieces).map(chunk).collect())
}

/// The server.
#[derive(Debug)]
pub(crate) struct Gelf {
    udp: bool,
    host: Host,
    packing: Packing,
    writer: Writer,
    attempts: u32,
    delay: Duration,
    connection: Option<Connection>,
}

impl Gelf {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        check(&settings.options)?;
        let options = &settings.options;
        let (udp, host) = address(options)?;
        let number = |name: &str| options.get(name).and_then(|text| text.parse::<u32>().ok());
        Ok(Self {
            udp,
            host,
            packing: Packing::of(options),
            writer: Writer::new(&settings.about),
            attempts: number("gelf-tcp-max-reconnect").unwrap_or(3),
            delay: Duration::from_secs(number("gelf-tcp-reconnect-delay").unwrap_or(1).into()),
            connection: None,
        })
    }

    fn datagrams(&self, entry: &Entry) -> Option<Vec<Vec<u8>>> {
        let packed = self.packing.pack(self.writer.message(entry)).ok()?;
        datagrams(packed, rand::random())
    }
}

impl Receiver for Gelf {
    fn connect(&mut self) -> Result<(), String> {
        self.connection = None;
        let connected = match self.udp {
            true => Connection::udp(&self.host),
            false => Connection::tcp(&self.host),
        };
        let wrong = |why| format!("gelf: cannot connect to GELF endpoint: {} {why}", self.host);
        self.connection = Some(connected.map_err(wrong)?);
        Ok(())
    }

    fn send(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let Some(mut connection) = self.connection.take().and_then(alive) else {
            return Err(Failure::gone(0, "the connection has ended"));
        };
        let full = |entry: &&Entry| !entry.line.is_empty();
        if self.udp {
            for (number, entry) in entries.iter().enumerate().filter(|(_, entry)| full(entry)) {
                let Some(datagrams) = self.datagrams(entry) else {
                    self.connection = Some(connection);
                    return Err(Failure::refused(
                        number,
                        1,
                        "a message has more than 128 chunks",
                    ));
                };
                for datagram in datagrams {
                    let sent = connection.write_all(&datagram);
                    sent.map_err(|error| Failure::gone(number, cause(&error)))?;
                }
            }
        } else {
            let mut bytes = Vec::new();
            for entry in entries.iter().filter(full) {
                bytes.extend_from_slice(&self.writer.message(entry));
                bytes.push(0);
            }
            let sent = connection.write_all(&bytes);
            sent.map_err(|error| Failure::gone(0, cause(&error)))?;
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn manners(&self) -> Manners {
        Manners {
            attempts: self.attempts.max(1),
            first_wait: self.delay,
            growth: 1.0,
            longest_wait: self.delay,
            ..Manners::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::line;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn about() -> About {
        About {
            id: "i".to_owned(),
            host: "h".to_owned(),
            attributes: BTreeMap::from([("a".to_owned(), "1".to_owned())]),
            ..About::default()
        }
    }

    #[test]
    fn messages_are_dockerds() {
        let message = Writer::new(&about()).message(&line(true, "hi \"you\""));
        let found: Value = serde_json::from_slice(&message).unwrap();
        let expected = serde_json::json!({
            "version": "1.1", "host": "h", "short_message": "hi \"you\"", "timestamp": 1_795_310_538.123,
            "level": 3, "_container_id": "i", "_container_name": "", "_image_id": "", "_image_name": "",
            "_command": "", "_tag": "", "_created": "", "_a": "1",
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let text = b"text".repeat(9);
        let gzip = Packing::Gzip(Compression::fast())
            .pack(text.clone())
            .unwrap();
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..])
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back, text);
        let zlib = Packing::Zlib(Compression::fast())
            .pack(text.clone())
            .unwrap();
        assert_eq!((zlib[0], zlib.len() < text.len()), (0x78, true));
        assert_eq!(Packing::None.pack(text.clone()).unwrap(), text);
    }

    proptest! {
        #[test]
        fn chunks_put_together_are_the_message(length in 0_usize..400_000) {
            let message: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[0]).collect();
            match datagrams(message.clone(), 7) {
                None => prop_assert!(length > MOST_CHUNKS * (CHUNK - CHUNK_HEAD)),
                Some(one) if one.len() == 1 => prop_assert_eq!(&one[0], &message),
                Some(chunks) => {
                    prop_assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK));
                    let numbers: Vec<usize> = chunks.iter().map(|chunk| usize::from(chunk[10])).collect();
                    prop_assert_eq!(numbers, (0..chunks.len()).collect::<Vec<_>>());
                    let back: Vec<u8> = chunks.iter().flat_map(|chunk| &chunk[CHUNK_HEAD..]).copied().collect();
                    prop_assert_eq!(back, message);
                }
            }
        }
    }
}
