//! Driver `splunk`: events for an HTTP event collector.

use crate::connect::{Connection, alive};
use crate::entry::Entry;
use crate::http::{self, Answer};
use crate::options::Host;
use crate::receiver::{Failure, Manners, Receiver};
use crate::settings::Settings;
use crate::tls::{self, Trust};
use crate::url::Url;
use crate::words::{boolean, cause};
use flate2::Compression;
use flate2::write::GzEncoder;
use rustls::ClientConfig;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const OPTIONS: [&str; 13] = [
    "splunk-caname",
    "splunk-capath",
    "splunk-format",
    "splunk-gzip",
    "splunk-gzip-level",
    "splunk-index",
    "splunk-index-acknowledgment",
    "splunk-insecureskipverify",
    "splunk-source",
    "splunk-sourcetype",
    "splunk-token",
    "splunk-url",
    "splunk-verify-connection",
];

const PATH: &str = "/services/collector/event/1.0";

/// Entries of one request, and those that may wait, as in Docker.
const BATCH: usize = 1000;
const MOST_ENTRIES: usize = 10 * BATCH;
const MOST_BYTES: u64 = 16 << 20;

type Map = BTreeMap<String, String>;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// An object, the line a text in it.
    Inline,
    /// The same, a line that is JSON as such.
    Json,
    /// A text.
    Raw,
}

#[derive(Serialize)]
struct Message<'a, E> {
    event: E,
    time: String,
    host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sourcetype: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    index: &'a str,
}

#[derive(Serialize)]
struct Event<'a, L> {
    line: L,
    source: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tag: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attrs: &'a Map,
}

/// Writes events.
#[derive(Debug)]
struct Writer {
    form: Form,
    host: String,
    source: String,
    source_type: String,
    index: String,
    tag: String,
    attributes: Map,
    /// What stands before a raw line.
    prefix: String,
}

impl Writer {
    fn new(settings: &Settings) -> Result<Self, String> {
        let options = &settings.options;
        let text = |name: &str| options.get(name).cloned().unwrap_or_default();
        let form = match options.get("splunk-format").map(String::as_str) {
            None | Some("inline") => Form::Inline,
            Some("json") => Form::Json,
            Some("raw") => Form::Raw,
            Some(other) => {
                return Err(format!(
                    "unknown format specified {other}, supported formats are inline, json and raw"
                ));
            }
        };
        // An empty tag is none.
        let tag = match options.get("tag").map(String::as_str) {
            Some("") => String::new(),
            _ => settings.about.tag.clone(),
        };
        let attributes = settings.about.attributes.clone();
        let mut prefix = String::new();
        if !tag.is_empty() {
            prefix += &format!("{tag} ");
        }
        for (name, value) in &attributes {
            prefix += &format!("{name}={value} ");
        }
        Ok(Self {
            form,
            host: settings.about.host.clone(),
            source: text("splunk-source"),
            source_type: text("splunk-sourcetype"),
            index: text("splunk-index"),
            tag,
            attributes,
            prefix,
        })
    }

    fn append(&self, entry: &Entry, to: &mut Vec<u8>) {
        let line = String::from_utf8_lossy(&entry.line);
        match self.form {
            Form::Raw if line.trim().is_empty() => {}
            Form::Raw => self.message(entry, format!("{}{line}", self.prefix), to),
            Form::Json => match serde_json::from_str::<&RawValue>(&line) {
                Ok(value) => self.message(entry, self.event(entry, value), to),
                Err(_) => self.message(entry, self.event(entry, &line), to),
            },
            Form::Inline => self.message(entry, self.event(entry, &line), to),
        }
    }

    fn event<L: Serialize>(&self, entry: &Entry, line: L) -> impl Serialize {
        Event {
            line,
            source: entry.source(),
            tag: &self.tag,
            attrs: &self.attributes,
        }
    }

    fn message(&self, entry: &Entry, event: impl Serialize, to: &mut Vec<u8>) {
        let microseconds = entry.time / 1000;
        let (seconds, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
        let message = Message {
            event,
            time: format!("{seconds}.{rest:06}"),
            host: &self.host,
            source: &self.source,
            sourcetype: &self.source_type,
            index: &self.index,
        };
        // Texts as keys and values: there is nothing that has no form in JSON.
        let _ = serde_json::to_writer(to, &message);
    }
}

/// The collector.
#[derive(Debug)]
pub(crate) struct Splunk {
    /// As it is told.
    url: String,
    host: Host,
    tls: Option<Arc<ClientConfig>>,
    /// What the certificate must say.
    name: Option<String>,
    token: String,
    gzip: Option<Compression>,
    channels: bool,
    verify: bool,
    writer: Writer,
    connection: Option<Connection>,
}

impl Splunk {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let options = &settings.options;
        let url = url(options)?;
        let token = options
            .get("splunk-token")
            .ok_or("splunk: splunk-token is expected")?;
        let truth = |name: &str, usual| options.get(name).map_or(Ok(usual), |text| boolean(text));
        let trust = Trust {
            anybody: truth("splunk-insecureskipverify", false)?,
            authorities: options.get("splunk-capath").cloned(),
            ..Trust::default()
        };
        if let Some(path) = &trust.authorities {
            let _ = tls::read(path)?;
        }
        let gzip = truth("splunk-gzip", false)?;
        let level = level(options.get("splunk-gzip-level"))?;
        let tls = url.scheme == "https";
        Ok(Self {
            host: Host::of(&url, if tls { "443" } else { "80" })?,
            url: format!("{}://{}{PATH}", url.scheme, url.host),
            tls: if tls {
                Some(tls::config(&trust)?)
            } else {
                None
            },
            name: options.get("splunk-caname").cloned(),
            // A line's end in it would be a header of its own.
            token: token.replace(['\r', '\n'], ""),
            gzip: gzip.then_some(level),
            channels: truth("splunk-index-acknowledgment", false)?,
            verify: truth("splunk-verify-connection", true)?,
            writer: Writer::new(settings)?,
            connection: None,
        })
    }

    fn open(&self) -> Result<Connection, String> {
        match &self.tls {
            Some(config) => Connection::tls(&self.host, self.name.as_deref(), config),
            None => Connection::tcp(&self.host),
        }
    }

    fn ask(&mut self, method: &str, headers: &[String], body: &[u8]) -> Result<Answer, String> {
        let kept = self.connection.take().and_then(alive);
        let mut connection = kept.map_or_else(|| self.open(), Ok)?;
        let mut head = vec![
            format!("{method} {PATH} HTTP/1.1"),
            format!("Host: {}", self.host),
            "User-Agent: hull-logger".to_owned(),
        ];
        head.extend_from_slice(headers);
        let answer = http::ask(&mut connection, &head, body).map_err(|error| cause(&error))?;
        if answer.stays {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    fn body(&self, entries: &[Entry]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for entry in entries {
            self.writer.append(entry, &mut bytes);
        }
        match self.gzip {
            None => Ok(bytes),
            Some(_) if bytes.is_empty() => Ok(bytes),
            Some(level) => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(&bytes)?;
                encoder.finish()
            }
        }
    }
}

fn url(options: &Map) -> Result<Url, String> {
    let text = options
        .get("splunk-url")
        .ok_or("splunk: splunk-url is expected")?;
    let url = Url::parse(text)
        .map_err(|_| format!("splunk: failed to parse {text} as url value in splunk-url"))?;
    let fits = matches!(url.scheme.as_str(), "http" | "https")
        && matches!(url.path.as_str(), "" | "/")
        && !url.more;
    fits.then_some(url).ok_or_else(|| {
        "splunk: expected format scheme://dns_name_or_ip:port for splunk-url".to_owned()
    })
}

fn level(text: Option<&String>) -> Result<Compression, String> {
    let Some(text) = text else {
        return Ok(Compression::default());
    };
    let level: i32 = text
        .parse()
        .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))?;
    match level {
        -1 => Ok(Compression::default()),
        0..=9 => Ok(Compression::new(level.unsigned_abs())),
        _ => Err(format!(
            "not supported level '{text}' for splunk-gzip-level (supported values between -1 and 9)"
        )),
    }
}

impl Receiver for Splunk {
    fn connect(&mut self) -> Result<(), String> {
        self.connection = None;
        if !self.verify {
            return Ok(());
        }
        let answer = self.ask("OPTIONS", &[], &[]);
        let answer = answer.map_err(|why| format!("Options {:?}: {why}", self.url))?;
        if answer.status == 200 {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&answer.body);
        Err(format!(
            "splunk: failed to verify connection - {} - {body}",
            answer.shown
        ))
    }

    fn send(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let body = self
            .body(entries)
            .map_err(|error| Failure::gone(0, cause(&error)))?;
        if body.is_empty() {
            return Ok(());
        }
        let mut headers = vec![format!("Authorization: Splunk {}", self.token)];
        if self.gzip.is_some() {
            headers.push("Content-Encoding: gzip".to_owned());
        }
        if self.channels {
            headers.push(format!("X-Splunk-Request-Channel: {}", uuid()));
        }
        let answer = self.ask("POST", &headers, &body);
        let answer =
            answer.map_err(|why| Failure::gone(0, format!("Post {:?}: {why}", self.url)))?;
        let told = || {
            let body = String::from_utf8_lossy(&answer.body);
            format!("splunk: failed to send event - {} - {body}", answer.shown)
        };
        match answer.status {
            200 => Ok(()),
            // What it cannot read now, or is too much for it, will be so the next time.
            400 if !is_of_an_event(&answer.body) => Err(Failure::gone(0, told())),
            400 | 413 if entries.len() == 1 => Err(Failure::refused(0, 1, told())),
            400 | 413 => self.send_halves(entries),
            _ => Err(Failure::gone(0, told())),
        }
    }

    fn manners(&self) -> Manners {
        Manners {
            most_entries: MOST_ENTRIES,
            most_bytes: MOST_BYTES,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            batch: BATCH,
            linger: Duration::from_secs(1),
            ..Manners::default()
        }
    }
}

impl Splunk {
    /// Finds the entries that are not taken among those that are.
    fn send_halves(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        let (first, second) = entries.split_at(entries.len() / 2);
        self.send(first)?;
        self.send(second).map_err(|failure| Failure {
            delivered: first.len() + failure.delivered,
            ..failure
        })
    }
}

/// Whether the collector complains of one of the events, by its codes (Splunk's "HTTP Event Collector error codes"), and
/// not of what all of them have: the token, the index, the channel. That lasts until somebody changes a setting.
fn is_of_an_event(body: &[u8]) -> bool {
    /// No data; their format; an event that is missing or blank; indexed fields.
    const CODES: [i64; 5] = [5, 6, 12, 13, 15];
    let told: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let code = told.and_then(|told| told["code"].as_i64());
    code.is_some_and(|code| CODES.contains(&code))
}

/// A random one, version 4 (RFC 9562).
fn uuid() -> String {
    let bits = rand::random::<u128>() & !(0xf000 << 64) & !(0xc << 60) | 0x4000 << 64 | 0x8 << 60;
    let text = format!("{bits:032x}");
    [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::line;
    use crate::{About, Driver};
    use serde_json::json;

    fn settings(options: &[(&str, &str)]) -> Settings {
        let all = [
            ("splunk-url", "http://127.0.0.1:8088"),
            ("splunk-token", "s"),
        ];
        let owned = all
            .iter()
            .chain(options)
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Settings {
            driver: Driver::Splunk,
            options: owned.collect(),
            buffer: None,
            about: About {
                host: "h".to_owned(),
                tag: "t".to_owned(),
                attributes: Map::from([("a".to_owned(), "1".to_owned())]),
                ..About::default()
            },
            status: None,
            journal: None,
            again: false,
            lost: 0,
        }
    }

    fn written(form: &str, text: &str) -> serde_json::Value {
        let options = [("splunk-format", form), ("splunk-index", "x")];
        let mut to = Vec::new();
        Writer::new(&settings(&options))
            .unwrap()
            .append(&line(true, text), &mut to);
        serde_json::from_slice(&to).unwrap_or_default()
    }

    #[test]
    fn events_are_dockerds() {
        let message =
            |event| json!({"event": event, "time": "1795310538.123456", "host": "h", "index": "x"});
        let event =
            |line| json!({"line": line, "source": "stderr", "tag": "t", "attrs": {"a": "1"}});
        assert_eq!(written("inline", "hi"), message(event(json!("hi"))));
        assert_eq!(
            written("json", "{\"b\":[1]}"),
            message(event(json!({"b": [1]})))
        );
        assert_eq!(written("json", "{no"), message(event(json!("{no"))));
        assert_eq!(written("raw", "hi"), message(json!("t a=1 hi")));
        assert_eq!(written("raw", " \t"), serde_json::Value::Null);
    }

    /// Asked of dockerd 28.5.
    #[test]
    fn what_cannot_be_read_is_refused_in_dockers_words() {
        let refused = |options: &[(&str, &str)]| Splunk::new(&settings(options)).unwrap_err();
        let bool = "strconv.ParseBool: parsing \"x\": invalid syntax";
        for (name, value, text) in [
            (
                "splunk-url",
                "x",
                "splunk: expected format scheme://dns_name_or_ip:port for splunk-url",
            ),
            (
                "splunk-url",
                "http://a/b",
                "splunk: expected format scheme://dns_name_or_ip:port for splunk-url",
            ),
            ("splunk-gzip", "x", bool),
            ("splunk-verify-connection", "x", bool),
            (
                "splunk-gzip-level",
                "11",
                "not supported level '11' for splunk-gzip-level (supported values between -1 and 9)",
            ),
            (
                "splunk-format",
                "x",
                "unknown format specified x, supported formats are inline, json and raw",
            ),
            (
                "splunk-capath",
                "/nonexist",
                "open /nonexist: no such file or directory",
            ),
        ] {
            assert_eq!(refused(&[(name, value)]), text);
        }
        let mut none = settings(&[]);
        none.options.clear();
        assert_eq!(
            Splunk::new(&none).unwrap_err(),
            "splunk: splunk-url is expected"
        );
    }

    #[test]
    fn a_uuid_says_that_it_is_random() {
        let id = uuid();
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert!("89ab".contains(&id[19..20]), "{id}");
    }

    #[test]
    fn only_complaints_of_an_event_are_about_an_event() {
        let of =
            |code: i64| is_of_an_event(format!("{{\"text\":\"x\",\"code\":{code}}}").as_bytes());
        assert!(of(6) && of(12) && of(13));
        assert!(!of(7) && !of(10) && !is_of_an_event(b"Bad Request"));
    }
}
