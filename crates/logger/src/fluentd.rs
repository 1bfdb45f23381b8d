//! Driver `fluentd`: the forward protocol, version 1, in `MessagePack`
//! (<https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1>).

use crate::connect::{Connection, TRANSFER_TIME, alive};
use crate::entry::Entry;
use crate::options::Host;
use crate::receiver::{Failure, Manners, Receiver};
use crate::settings::{About, Settings};
use crate::tls::{self, Trust};
use crate::url::Url;
use crate::words::{self, cause};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const OPTIONS: [&str; 9] = [
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
];

/// Entries that may wait where the options say nothing.
const USUAL_ENTRIES: usize = 1 << 20;
/// And bytes: Docker has no such bound.
const MOST_BYTES: u64 = 64 << 20;
/// The most bytes of an acknowledgement.
const LONGEST_ANSWER: u64 = 1024;

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Tcp(Host),
    Tls(Host),
    Unix(PathBuf),
}

/// The driver's options, as meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    address: Address,
    later: bool,
    renew: Option<Duration>,
    most_entries: usize,
    attempts: u32,
    acknowledged: bool,
    retry_wait: Duration,
    precise: bool,
    write_time: Duration,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// dockerd's complaint.
    pub(crate) fn read(options: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |name: &str| options.get(name).map_or("", String::as_str);
        let truth = |name: &str| match text(name) {
            "" => Ok(false),
            text => words::boolean(text),
        };
        let given = text("fluentd-address");
        let address =
            address(given).map_err(|why| format!("invalid fluentd-address ({given}): {why}"))?;
        let most_entries = match text("fluentd-buffer-limit") {
            "" => USUAL_ENTRIES,
            limit => {
                let limit = hull_spec::parse_size(limit, hull_spec::Thousand::Binary);
                let limit = limit
                    .map_err(|_| format!("invalid size: '{}'", text("fluentd-buffer-limit")))?;
                usize::try_from(limit).unwrap_or(0).max(1)
            }
        };
        let retry_wait = match text("fluentd-retry-wait") {
            "" => Duration::from_secs(1),
            wait => words::duration(wait)?.unwrap_or_default(),
        };
        Ok(Self {
            address,
            later: truth("fluentd-async")?,
            renew: renew(text("fluentd-async-reconnect-interval"))?,
            most_entries,
            attempts: attempts(text("fluentd-max-retries"))?,
            acknowledged: truth("fluentd-request-ack")?,
            retry_wait,
            precise: truth("fluentd-sub-second-precision")?,
            write_time: write_time(text("fluentd-write-timeout"))?,
        })
    }
}

fn address(text: &str) -> Result<Address, String> {
    let text = match text {
        _ if text.contains("://") => text.to_owned(),
        _ => format!("tcp://{text}"),
    };
    let url = Url::parse(&text)?;
    match url.scheme.as_str() {
        "unix" if url.path.trim_start_matches('/').is_empty() => {
            return Err("path is empty".to_owned());
        }
        "unix" => return Ok(Address::Unix(url.path.into())),
        "tcp" | "tls" => {}
        other => return Err(format!("unsupported scheme: '{other}'")),
    }
    if !url.path.is_empty() {
        return Err("should not contain a path element".to_owned());
    }
    let or = |given: &str, usual: &str| match given {
        "" => usual.to_owned(),
        _ => given.to_owned(),
    };
    if !url.port().is_empty() {
        words::unsigned(url.port(), 16).map_err(|why| format!("invalid port: {why}"))?;
    }
    let host = Host {
        name: or(url.host_name(), "127.0.0.1"),
        port: or(url.port(), "24224"),
    };
    Ok(match url.scheme.as_str() {
        "tls" => Address::Tls(host),
        _ => Address::Tcp(host),
    })
}

fn renew(text: &str) -> Result<Option<Duration>, String> {
    const NAME: &str = "fluentd-async-reconnect-interval";
    if text.is_empty() {
        return Ok(None);
    }
    let time = words::duration(text).map_err(|why| format!("invalid value for {NAME}: {why}"))?;
    match time {
        Some(time) if time.is_zero() => Ok(None),
        Some(time) if (100..=10_000).contains(&time.as_millis()) => Ok(Some(time)),
        _ => Err(format!(
            "invalid value for {NAME}: value ({text:?}) must be between 100ms and 10s"
        )),
    }
}

fn attempts(text: &str) -> Result<u32, String> {
    const MOST: u64 = i32::MAX as u64;
    if text.is_empty() {
        return Ok(u32::MAX);
    }
    let number = words::unsigned(text, 32)?;
    u32::try_from(number)
        .ok()
        .filter(|_| number <= MOST)
        .ok_or_else(|| "invalid fluentd-max-retries: value out of range".to_owned())
}

fn write_time(text: &str) -> Result<Duration, String> {
    const NAME: &str = "fluentd-write-timeout";
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let wrong = |why: &str| format!("invalid value for {NAME}: value must be a duration{why}");
    words::duration(text)
        .map_err(|why| wrong(&format!(": {why}")))?
        .ok_or_else(|| wrong(" that is non-negative"))
}

/// Writes messages.
#[derive(Debug)]
struct Writer {
    tag: String,
    /// What all records say, in `MessagePack`, and how many fields that are.
    fields: Vec<u8>,
    count: usize,
    precise: bool,
}

impl Writer {
    fn new(about: &About, precise: bool) -> Self {
        let mut all = BTreeMap::from([
            ("container_id".to_owned(), about.id.clone()),
            ("container_name".to_owned(), format!("/{}", about.name)),
        ]);
        all.extend(about.attributes.clone());
        // What an entry says itself cannot be said for all; a label of that name wins in Docker.
        let mut fields = Vec::new();
        for (name, value) in &all {
            text(name.as_bytes(), &mut fields);
            text(value.as_bytes(), &mut fields);
        }
        Self {
            tag: about.tag.clone(),
            fields,
            count: all.len(),
            precise,
        }
    }

    /// `[tag, time, record, {}]`.
    fn message(&self, entry: &Entry, to: &mut Vec<u8>) {
        to.push(0x94);
        text(self.tag.as_bytes(), to);
        self.event(entry, to);
        to.push(0x80);
    }

    /// `[tag, [[time, record], …], {"chunk": id, "size": n}]`, which is acknowledged as a whole.
    fn batch(&self, entries: &[Entry], id: &str) -> Vec<u8> {
        let mut to = vec![0x93];
        text(self.tag.as_bytes(), &mut to);
        header(0x90, 0xdc, entries.len(), &mut to);
        for entry in entries {
            to.push(0x92);
            self.event(entry, &mut to);
        }
        to.push(0x82);
        text(b"chunk", &mut to);
        text(id.as_bytes(), &mut to);
        text(b"size", &mut to);
        number(entries.len() as u64, &mut to);
        to
    }

    /// Time and record.
    fn event(&self, entry: &Entry, to: &mut Vec<u8>) {
        let seconds = entry.time / 1_000_000_000;
        let nanoseconds = u32::try_from(entry.time % 1_000_000_000).unwrap_or(0);
        if self.precise {
            // EventTime: extension type 0 of eight bytes.
            to.extend_from_slice(&[0xd7, 0]);
            to.extend_from_slice(&u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes());
            to.extend_from_slice(&nanoseconds.to_be_bytes());
        } else {
            number(seconds, to);
        }
        let parts = if entry.part.is_some() { 4 } else { 0 };
        header(0x80, 0xde, self.count + 2 + parts, to);
        to.extend_from_slice(&self.fields);
        let mut field = |name: &str, value: &[u8]| {
            text(name.as_bytes(), to);
            text(value, to);
        };
        field("source", entry.source().as_bytes());
        field("log", &entry.line);
        if let Some(part) = &entry.part {
            field("partial_message", b"true");
            field("partial_id", part.id.as_bytes());
            field("partial_ordinal", part.ordinal.to_string().as_bytes());
            field("partial_last", part.last.to_string().as_bytes());
        }
    }
}

/// The head of an array or map: up to 15 in one byte.
fn header(short: u8, long: u8, count: usize, to: &mut Vec<u8>) {
    match u8::try_from(count) {
        Ok(count @ 0..=15) => to.push(short | count),
        _ => {
            to.push(long);
            to.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
}

fn text(bytes: &[u8], to: &mut Vec<u8>) {
    let length = bytes.len();
    if let Ok(length @ 0..=31) = u8::try_from(length) {
        to.push(0xa0 | length);
    } else if let Ok(length) = u8::try_from(length) {
        to.extend_from_slice(&[0xd9, length]);
    } else if let Ok(length) = u16::try_from(length) {
        to.push(0xda);
        to.extend_from_slice(&length.to_be_bytes());
    } else {
        to.push(0xdb);
        to.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
    to.extend_from_slice(bytes);
}

fn number(value: u64, to: &mut Vec<u8>) {
    if let Ok(value @ 0..=0x7f) = u8::try_from(value) {
        to.push(value);
    } else if let Ok(value) = i32::try_from(value) {
        to.push(0xd2);
        to.extend_from_slice(&value.to_be_bytes());
    } else {
        to.push(0xcf);
        to.extend_from_slice(&value.to_be_bytes());
    }
}

/// Reads `{"ack": id}`.
///
/// # Errors
/// What reading gives; `InvalidData` for anything else.
pub(crate) fn acknowledged(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut from = from.take(LONGEST_ANSWER);
    let mut byte = || {
        let mut byte = [0];
        from.read_exact(&mut byte).map(|()| byte[0])
    };
    let mut head = [0; 5];
    for place in &mut head {
        *place = byte()?;
    }
    if head != *b"\x81\xa3ack" {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not an acknowledgement",
        ));
    }
    let length = match byte()? {
        short @ 0xa0..=0xbf => usize::from(short & 0x1f),
        0xd9 | 0xc4 => usize::from(byte()?),
        0xda | 0xc5 => usize::from(u16::from_be_bytes([byte()?, byte()?])),
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not an acknowledgement",
            ));
        }
    };
    (0..length).map(|_| byte()).collect()
}

/// The server.
#[derive(Debug)]
pub(crate) struct Fluentd {
    options: Options,
    tls: Option<Arc<ClientConfig>>,
    writer: Writer,
    connection: Option<(Connection, Instant)>,
}

impl Fluentd {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let options = Options::read(&settings.options)?;
        let tls = match options.address {
            Address::Tls(_) => Some(tls::config(&Trust::default())?),
            _ => None,
        };
        Ok(Self {
            writer: Writer::new(&settings.about, options.precise),
            options,
            tls,
            connection: None,
        })
    }

    fn deliver(&self, connection: &mut Connection, entries: &[Entry]) -> io::Result<()> {
        if !self.options.acknowledged {
            let mut bytes = Vec::new();
            for entry in entries {
                self.writer.message(entry, &mut bytes);
            }
            return connection.write_all(&bytes);
        }
        let id = format!("{:032x}", rand::random::<u128>());
        connection.write_all(&self.writer.batch(entries, &id))?;
        if acknowledged(connection)? == id.as_bytes() {
            return Ok(());
        }
        Err(io::Error::other("something else was acknowledged"))
    }
}

impl Receiver for Fluentd {
    fn connect(&mut self) -> Result<(), String> {
        self.connection = None;
        let connection = match (&self.options.address, &self.tls) {
            (Address::Unix(path), _) => Connection::unix(path)?,
            (Address::Tls(host), Some(config)) => Connection::tls(host, None, config)?,
            (Address::Tcp(host) | Address::Tls(host), _) => Connection::tcp(host)?,
        };
        connection.limit(self.options.write_time, TRANSFER_TIME);
        self.connection = Some((connection, Instant::now()));
        Ok(())
    }

    fn send(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let fresh = |since: &Instant| self.options.renew.is_none_or(|most| since.elapsed() < most);
        let connection = self.connection.take();
        let connection = connection.and_then(|(connection, since)| {
            let connection = alive(connection).filter(|_| fresh(&since));
            Some((connection?, since))
        });
        let Some((mut connection, since)) = connection else {
            return Err(Failure::gone(0, "the connection has ended"));
        };
        let sent = self.deliver(&mut connection, entries);
        sent.map_err(|error| Failure::gone(0, cause(&error)))?;
        self.connection = Some((connection, since));
        Ok(())
    }

    fn manners(&self) -> Manners {
        Manners {
            later: self.options.later,
            never_wait: self.options.later,
            attempts: self.options.attempts,
            first_wait: self.options.retry_wait,
            growth: 1.5,
            longest_wait: Duration::from_secs(60),
            // Docker drops what is left at once.
            last_chance: match self.options.later {
                true => Duration::from_secs(1),
                false => Manners::default().last_chance,
            },
            most_entries: if self.options.later {
                self.options.most_entries
            } else {
                usize::MAX
            },
            most_bytes: if self.options.later {
                MOST_BYTES
            } else {
                Manners::default().most_bytes
            },
            ..Manners::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Part;
    use crate::entry::tests::line;

    fn about() -> About {
        About {
            id: "i".to_owned(),
            name: "n".to_owned(),
            tag: "t".to_owned(),
            ..About::default()
        }
    }

    #[test]
    fn messages_are_dockerds_to_the_byte() {
        let mut to = Vec::new();
        Writer::new(&about(), false).message(&line(false, "hi"), &mut to);
        let time = 1_795_310_538_i32.to_be_bytes();
        let record = b"\x84\xaccontainer_id\xa1i\xaecontainer_name\xa2/n\xa6source\xa6stdout\xa3log\xa2hi\x80";
        let expected = [b"\x94\xa1t\xd2", &time[..], record].concat();
        assert_eq!(to, expected);
    }

    #[test]
    fn parts_and_precise_times_are_told() {
        let mut entry = line(true, "x");
        entry.part = Some(Part {
            id: "p".to_owned(),
            ordinal: 1,
            last: true,
        });
        let mut to = Vec::new();
        Writer::new(&about(), true).message(&entry, &mut to);
        assert_eq!(to[3..5], [0xd7, 0]);
        assert_eq!(to[9..13], 123_456_789_u32.to_be_bytes());
        let shown = String::from_utf8_lossy(&to);
        assert!(shown.contains("partial_last\u{fffd}true"), "{shown}");
    }

    #[test]
    fn long_texts_and_long_batches_say_how_long_they_are() {
        let mut to = Vec::new();
        text(&[b'a'; 40], &mut to);
        assert_eq!(to[..2], [0xd9, 40]);
        to.clear();
        text(&[b'a'; 300], &mut to);
        assert_eq!(to[..3], [0xda, 1, 44]);
        to.clear();
        text(&vec![b'a'; 70_000], &mut to);
        assert_eq!(to[..5], [0xdb, 0, 1, 0x11, 0x70]);
        let many = vec![line(false, "x"); 20];
        let batch = Writer::new(&about(), false).batch(&many, "id");
        assert_eq!(batch[3..6], [0xdc, 0, 20]);
        assert!(batch.ends_with(b"\x82\xa5chunk\xa2id\xa4size\x14"));
    }

    #[test]
    fn acknowledgements_are_read() {
        assert_eq!(acknowledged(&mut &b"\x81\xa3ack\xa2id"[..]).unwrap(), b"id");
        assert_eq!(
            acknowledged(&mut &b"\x81\xa3ack\xd9\x02id"[..]).unwrap(),
            b"id"
        );
        for wrong in [
            &b"\x81\xa3nak\xa2id"[..],
            b"\x81\xa3ack\xa9id",
            b"\x81\xa3ack\x01",
            b"",
        ] {
            assert!(acknowledged(&mut &*wrong).is_err());
        }
        // Lies about its length.
        assert!(
            acknowledged(&mut &[&b"\x81\xa3ack\xda\xff\xff"[..], &[b'a'; 70_000]].concat()[..])
                .is_err()
        );
    }
}
