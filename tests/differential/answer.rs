//! One answer, in the form in which it is kept and compared.

use crate::script::Asked;
use hull_tests::http::{Reply, Request, send};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The headers that are compared, if they are there.
const HEADERS: &[&str] = &[
    "builder-version",
    "cache-control",
    "content-type",
    "location",
    "pragma",
    "swarm",
    "upgrade",
    "x-content-type-options",
    "x-docker-container-path-stat",
];

/// A request and its answers: one for each run of versions in which they are the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) request: String,
    pub(crate) answers: Vec<Answer>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The first minor version and the last with this answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) versions: Option<(u16, u16)>,
    pub(crate) status: u16,
    /// Whether it has the headers that dockerd puts on replies of known paths.
    pub(crate) signed: bool,
    pub(crate) headers: Map<String, Value>,
    /// JSON as it is; `{"documents": […]}` for several, `{"text": […]}` for lines, `{"frames": […]}` for a stream with frames,
    /// `{"entries": […]}` for a tar archive; `null` for nothing.
    pub(crate) body: Value,
}

impl Exchange {
    pub(crate) fn new(line: &str) -> Self {
        Self {
            request: line.to_owned(),
            answers: Vec::new(),
        }
    }

    /// Adds the answer of a version.
    pub(crate) fn add(&mut self, version: Option<u16>, mut answer: Answer) {
        if let (Some(version), Some(last)) = (version, self.answers.last_mut()) {
            answer.versions = last.versions;
            if *last == answer {
                last.versions = last.versions.map(|(first, _)| (first, version));
                return;
            }
        }
        answer.versions = version.map(|version| (version, version));
        self.answers.push(answer);
    }

    /// The answer of a version.
    pub(crate) fn of(&self, version: Option<u16>) -> Option<&Answer> {
        let covers = |answer: &&Answer| match (answer.versions, version) {
            (Some((first, last)), Some(version)) => (first..=last).contains(&version),
            (None, None) => true,
            _ => false,
        };
        self.answers.iter().find(covers)
    }
}

/// A client that gives up on a silent daemon, and may have something to say behind its request.
struct Patient {
    stream: UnixStream,
    input: Option<String>,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.stream.read(buffer)?;
        // The head has come: from now on this is a stream.
        if let Some(input) = self.input.take() {
            self.stream.write_all(input.as_bytes())?;
            self.stream.shutdown(std::net::Shutdown::Write)?;
        }
        Ok(length)
    }
}

impl Write for Patient {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// Asks.
pub(crate) fn ask(socket: &Path, asked: &Asked) -> Answer {
    let stream = UnixStream::connect(socket).expect("the daemon listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    let headers: Vec<(&str, &str)> = asked
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let request = Request {
        method: &asked.method,
        target: &asked.target,
        headers: &headers,
        body: &asked.body,
    };
    match send(
        Patient {
            stream,
            input: asked.input.clone(),
        },
        request,
    ) {
        Ok(reply) => of(&reply),
        Err(error) => Answer {
            versions: None,
            status: 0,
            signed: false,
            headers: Map::new(),
            body: json!({"text": [format!("no answer: {:?}", error.kind())]}),
        },
    }
}

fn of(reply: &Reply) -> Answer {
    let signed = reply.header("api-version") == Some("1.51")
        && reply.header("docker-experimental") == Some("false")
        && reply.header("ostype") == Some("linux")
        && reply
            .header("server")
            .is_some_and(|server| server.contains("(linux)"));
    let mut headers = Map::new();
    for name in HEADERS {
        if let Some(value) = reply.header(name) {
            headers.insert((*name).to_owned(), header(name, value));
        }
    }
    Answer {
        versions: None,
        status: reply.status,
        signed,
        headers,
        body: body(reply),
    }
}

fn header(name: &str, value: &str) -> Value {
    use base64::Engine as _;
    if name == "x-docker-container-path-stat" {
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(value)
            .unwrap_or_default();
        return serde_json::from_slice(&decoded).unwrap_or_else(|_| value.into());
    }
    value.into()
}

fn body(reply: &Reply) -> Value {
    if reply.body.is_empty() {
        return Value::Null;
    }
    let kind = reply.header("content-type").unwrap_or_default();
    if reply.body.get(257..262) == Some(b"ustar") {
        return json!({"entries": entries(&reply.body)});
    }
    if let Some(frames) = frames(&reply.body) {
        return json!({"frames": frames});
    }
    let documents: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(&reply.body)
        .into_iter()
        .collect();
    let documents = documents.map(told);
    match documents {
        Ok(mut documents) if kind.starts_with("application/") && !documents.is_empty() => {
            match documents.len() {
                1 => documents.remove(0),
                _ => json!({"documents": documents}),
            }
        }
        _ => json!({"text": reply.text().lines().collect::<Vec<_>>()}),
    }
}

/// What a build tells, by lines: into how many pieces a text is cut is a matter of time. BuildKit's progress is compared
/// by its clients, in `tests/dockerfiles`.
fn told(documents: Vec<Value>) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut text = String::new();
    let said = |document: &Value| {
        let only = document.as_object().is_some_and(|one| one.len() == 1);
        document["stream"]
            .as_str()
            .filter(|_| only)
            .map(str::to_owned)
    };
    let build = documents.iter().filter_map(said).count() > 1;
    let flush = |text: &mut String, all: &mut Vec<Value>| {
        all.extend(text.lines().map(|line| json!({"stream": line})));
        text.clear();
    };
    for document in documents {
        match said(&document) {
            Some(more) if build => text.push_str(&more),
            _ if document["id"] == "moby.buildkit.trace" => {}
            _ => {
                flush(&mut text, &mut all);
                all.push(document);
            }
        }
    }
    flush(&mut text, &mut all);
    all
}

fn entries(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let Ok(entries) = archive.entries() else {
        return vec!["no archive".to_owned()];
    };
    let line = |entry: tar::Entry<'_, &[u8]>| {
        let header = entry.header();
        format!(
            "{} {:o} {}",
            entry.path().unwrap_or_default().display(),
            header.mode().unwrap_or(0),
            header.size().unwrap_or(0)
        )
    };
    let mut lines: Vec<String> = entries.flatten().map(line).collect();
    // Of a whole system it is enough that it comes.
    lines.truncate(20);
    lines
}

/// Docker's frames: kind, three zeros, length, bytes. `None` when that is not what it is.
fn frames(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut streams: Vec<(u8, Vec<u8>)> = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(8)?;
        let length = u32::from_be_bytes(head[4..].try_into().ok()?);
        if head[0] > 3 || head[1..4] != [0, 0, 0] {
            return None;
        }
        let (data, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        // How many frames a text is cut into is a matter of time.
        match streams.last_mut() {
            Some((kind, text)) if *kind == head[0] => text.extend(data),
            _ => streams.push((head[0], data.to_vec())),
        }
        bytes = rest;
    }
    let text = |(kind, text): (u8, Vec<u8>)| format!("{kind}: {}", String::from_utf8_lossy(&text));
    // Which of two streams comes first is a matter of time, too.
    streams.sort_by_key(|(kind, _)| *kind);
    Some(streams.into_iter().map(text).collect())
}
