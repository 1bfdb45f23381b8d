//! Driver `syslog`: messages of RFC 3164 and 5424, over UDP, TCP, TLS and Unix sockets.

use crate::connect::Connection;
use crate::entry::Entry;
use crate::options::Host;
use crate::receiver::{Failure, Receiver};
use crate::settings::{About, Settings};
use crate::tls::{self, Trust};
use crate::url::Url;
use crate::words::cause;
use jiff::Zoned;
use jiff::tz::TimeZone;
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const OPTIONS: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];

/// Facilities by number (RFC 5424, section 6.2.1); those without a name here are written as numbers.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

const DAEMON: u8 = 3;
const ERROR: u8 = 3;
const INFORMATIONAL: u8 = 6;

/// What a datagram is that is longer than its socket takes.
const TOO_LONG: i32 = rustix::io::Errno::MSGSIZE.raw_os_error();

/// Where this host's syslog usually listens.
const USUAL_SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    /// This host's.
    Usual,
    Unix(PathBuf),
    Unixgram(PathBuf),
    Udp(Host),
    Tcp(Host),
    Tls(Host),
}

/// How messages look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// RFC 3164 without a host, as programs tell this host's syslog.
    Unix,
    Rfc3164,
    Rfc5424,
    /// With microseconds.
    Rfc5424Micro,
}

/// What dockerd checks when a container is created.
pub(crate) fn check(options: &BTreeMap<String, String>) -> Result<(), String> {
    address(options)?;
    facility(options)?;
    format(options).map(drop)
}

fn option<'o>(options: &'o BTreeMap<String, String>, name: &str) -> &'o str {
    options.get(name).map_or("", String::as_str)
}

fn address(options: &BTreeMap<String, String>) -> Result<Address, String> {
    let text = option(options, "syslog-address");
    if text.is_empty() {
        return Ok(Address::Usual);
    }
    let url = Url::parse(text)?;
    let path = || {
        let there = std::fs::metadata(&url.path);
        there.map_err(|error| format!("stat {}: {}", url.path, cause(&error)))?;
        Ok::<_, String>(PathBuf::from(&url.path))
    };
    let host = || Host::of(&url, "514");
    Ok(match url.scheme.as_str() {
        "unix" => Address::Unix(path()?),
        "unixgram" => Address::Unixgram(path()?),
        "udp" => Address::Udp(host()?),
        "tcp" => Address::Tcp(host()?),
        "tcp+tls" => Address::Tls(host()?),
        other => return Err(format!("unsupported scheme: '{other}'")),
    })
}

fn facility(options: &BTreeMap<String, String>) -> Result<u8, String> {
    let text = option(options, "syslog-facility");
    if text.is_empty() {
        return Ok(DAEMON);
    }
    let named = FACILITIES.iter().position(|name| *name == text);
    let number = named.or_else(|| {
        text.parse()
            .ok()
            .filter(|number| *number < FACILITIES.len())
    });
    number
        .and_then(|number| u8::try_from(number).ok())
        .ok_or_else(|| "invalid syslog facility".to_owned())
}

fn format(options: &BTreeMap<String, String>) -> Result<Format, String> {
    match option(options, "syslog-format") {
        "" => Ok(Format::Unix),
        "rfc3164" => Ok(Format::Rfc3164),
        "rfc5424" => Ok(Format::Rfc5424),
        "rfc5424micro" => Ok(Format::Rfc5424Micro),
        _ => Err("Invalid syslog format".to_owned()),
    }
}

fn trust(options: &BTreeMap<String, String>) -> Trust {
    let file = |name: &str| options.get(name).filter(|path| !path.is_empty()).cloned();
    let (certificate, key) = (file("syslog-tls-cert"), file("syslog-tls-key"));
    Trust {
        authorities: file("syslog-tls-ca-cert"),
        and_the_hosts: true,
        identity: (certificate.is_some() || key.is_some())
            .then(|| (certificate.unwrap_or_default(), key.unwrap_or_default())),
        // Whatever its value is, as in Docker.
        anybody: options.contains_key("syslog-tls-skip-verify"),
    }
}

/// Writes messages.
#[derive(Debug)]
struct Writer {
    format: Format,
    facility: u8,
    host: String,
    tag: String,
    pid: u32,
    zone: TimeZone,
    /// Each message says its length first (RFC 5425).
    counted: bool,
}

impl Writer {
    fn append(&self, entry: &Entry, to: &mut Vec<u8>) {
        let severity = if entry.stderr { ERROR } else { INFORMATIONAL };
        let priority = self.facility << 3 | severity;
        let at = entry.timestamp().to_zoned(self.zone.clone());
        let Self { host, tag, pid, .. } = self;
        let head = match self.format {
            Format::Unix => format!("<{priority}>{} {tag}[{pid}]: ", short(&at)),
            Format::Rfc3164 => format!("<{priority}>{} {host} {tag}[{pid}]: ", short(&at)),
            Format::Rfc5424 => {
                format!(
                    "<{priority}>1 {} {host} {tag} {pid} {tag} - ",
                    full(&at, "")
                )
            }
            Format::Rfc5424Micro => {
                format!(
                    "<{priority}>1 {} {host} {tag} {pid} {tag} - ",
                    full(&at, ".%6f")
                )
            }
        };
        if self.counted {
            let length = head.len() + entry.line.len() + 1;
            to.extend_from_slice(format!("{length} ").as_bytes());
        }
        to.extend_from_slice(head.as_bytes());
        to.extend_from_slice(&entry.line);
        to.push(b'\n');
    }
}

fn short(at: &Zoned) -> impl std::fmt::Display + '_ {
    at.strftime("%b %e %H:%M:%S")
}

fn full(at: &Zoned, fraction: &str) -> String {
    if at.offset().is_zero() {
        return at
            .strftime(&format!("%Y-%m-%dT%H:%M:%S{fraction}Z"))
            .to_string();
    }
    at.strftime(&format!("%Y-%m-%dT%H:%M:%S{fraction}%:z"))
        .to_string()
}

/// The server.
#[derive(Debug)]
pub(crate) struct Syslog {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    writer: Writer,
    connection: Option<Connection>,
}

impl Syslog {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let options = &settings.options;
        let address = address(options)?;
        let format = format(options)?;
        let tls = match address {
            Address::Tls(_) => Some(tls::config(&trust(options))?),
            _ => None,
        };
        Ok(Self {
            writer: Self::writer(&settings.about, format, facility(options)?, tls.is_some()),
            address,
            tls,
            connection: None,
        })
    }

    fn writer(about: &About, format: Format, facility: u8, tls: bool) -> Writer {
        Writer {
            format,
            facility,
            host: about.host.clone(),
            tag: about.tag.clone(),
            pid: std::process::id(),
            zone: TimeZone::system(),
            counted: tls && matches!(format, Format::Rfc5424 | Format::Rfc5424Micro),
        }
    }
}

fn usual() -> Result<Connection, String> {
    let paths = || USUAL_SOCKETS.iter().map(Path::new);
    paths()
        .find_map(|path| Connection::unixgram(path).ok())
        .or_else(|| paths().find_map(|path| Connection::unix(path).ok()))
        .ok_or_else(|| "Unix syslog delivery error".to_owned())
}

impl Receiver for Syslog {
    fn connect(&mut self) -> Result<(), String> {
        self.connection = None;
        self.connection = Some(match (&self.address, &self.tls) {
            (Address::Usual, _) => usual()?,
            (Address::Unix(path), _) => Connection::unix(path)?,
            (Address::Unixgram(path), _) => Connection::unixgram(path)?,
            (Address::Udp(host), _) => Connection::udp(host)?,
            (Address::Tls(host), Some(config)) => Connection::tls(host, None, config)?,
            (Address::Tcp(host) | Address::Tls(host), _) => Connection::tcp(host)?,
        });
        Ok(())
    }

    fn send(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let Some(connection) = self
            .connection
            .as_mut()
            .and_then(|c| c.is_alive().then_some(c))
        else {
            return Err(Failure::gone(0, "the connection has ended"));
        };
        let mut bytes = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            if !entry.line.is_empty() {
                self.writer.append(entry, &mut bytes);
            }
            let last = number + 1 == entries.len();
            if bytes.is_empty() || !(last || connection.is_datagram()) {
                continue;
            }
            match connection.write_all(&bytes) {
                Ok(()) => {}
                // Nobody will ever take it.
                Err(error)
                    if connection.is_datagram() && error.raw_os_error() == Some(TOO_LONG) =>
                {
                    return Err(Failure::refused(number, 1, cause(&error)));
                }
                Err(error) => {
                    let delivered = if connection.is_datagram() { number } else { 0 };
                    return Err(Failure::gone(delivered, cause(&error)));
                }
            }
            bytes.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::line;

    fn written(format: Format, counted: bool, entry: &Entry, zone: TimeZone) -> String {
        let writer = Writer {
            format,
            facility: 3,
            host: "h".to_owned(),
            tag: "t".to_owned(),
            pid: 7,
            zone,
            counted,
        };
        let mut to = Vec::new();
        writer.append(entry, &mut to);
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn messages_are_dockerds() {
        let utc = TimeZone::UTC;
        let shown = |format, stderr| written(format, false, &line(stderr, "hi"), utc.clone());
        assert_eq!(shown(Format::Unix, false), "<30>Nov 22 01:22:18 t[7]: hi\n");
        assert_eq!(
            shown(Format::Rfc3164, true),
            "<27>Nov 22 01:22:18 h t[7]: hi\n"
        );
        assert_eq!(
            shown(Format::Rfc5424, false),
            "<30>1 2026-11-22T01:22:18Z h t 7 t - hi\n"
        );
        let micro = "<30>1 2026-11-22T01:22:18.123456Z h t 7 t - hi\n";
        assert_eq!(shown(Format::Rfc5424Micro, false), micro);
        let east = TimeZone::fixed(jiff::tz::offset(2));
        let local = written(Format::Rfc5424, true, &line(false, "hi"), east);
        assert_eq!(local, "45 <30>1 2026-11-22T03:22:18+02:00 h t 7 t - hi\n");
    }

    #[test]
    fn a_day_of_one_digit_is_padded() {
        let mut entry = line(false, "x");
        entry.time = 1_799_000_000_000_000_000;
        let shown = written(Format::Unix, false, &entry, TimeZone::UTC);
        assert!(shown.starts_with("<30>Jan  3 "), "{shown}");
    }
}
