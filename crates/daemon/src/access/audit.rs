//! The audit log: every request that may change something, a JSON document a line.

use super::origin::{Origin, Peer};
use http::{Method, StatusCode, Uri};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long the file may get before it is put aside.
const MAX_SIZE: u64 = 16 << 20;
/// How many are kept beside the one that is written.
const KEPT: u32 = 4;
/// What is told of a query: it names the object. The rest may be secret.
const NAMED: [&str; 7] = [
    "name",
    "fromImage",
    "repo",
    "tag",
    "t",
    "container",
    "force",
];

/// One request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'r> {
    time: String,
    socket: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    method: &'r str,
    path: &'r str,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    query: serde_json::Map<String, serde_json::Value>,
    status: u16,
    milliseconds: u128,
}

/// Where the lines go.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// `None` when nobody wants it.
    path: Option<PathBuf>,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
}

/// A request, and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered<'r> {
    pub(crate) method: &'r Method,
    pub(crate) uri: &'r Uri,
    pub(crate) status: StatusCode,
    pub(crate) elapsed: Duration,
}

/// Whether a request may change something.
pub(crate) fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

impl Audit {
    /// Into this file, which is opened with the first line.
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            open: Mutex::default(),
        }
    }

    /// Notes a request that has been answered. That this fails stops nobody; the daemon's log says so.
    pub(crate) fn note(&self, origin: &Origin, answered: &Answered<'_>) {
        let Some(path) = &self.path else {
            return;
        };
        let (uid, gid, pid) = match origin.peer {
            Peer::Process { uid, gid, pid } => (Some(uid), Some(gid), Some(pid)),
            Peer::Unknown => (None, None, None),
        };
        let Answered { method, uri, .. } = answered;
        let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let pairs = pairs.filter(|(name, _)| NAMED.contains(&&**name));
        let line = Line {
            time: jiff::Timestamp::now().to_string(),
            socket: &origin.door.address,
            access: origin
                .door
                .grant
                .as_deref()
                .map(|grant| grant.name.as_str()),
            uid,
            gid,
            pid,
            remote: origin.remote.map(|remote| remote.to_string()),
            method: method.as_str(),
            path: uri.path(),
            query: pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
                .collect(),
            status: answered.status.as_u16(),
            milliseconds: answered.elapsed.as_millis(),
        };
        if let Err(error) = self.write(path, &line) {
            tracing::error!(path = %path.display(), %error, "the audit log could not be written");
        }
    }

    fn write(&self, path: &Path, line: &Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = match slot.take() {
            Some(open) => open,
            None => open_log(path)?,
        };
        if open.size >= MAX_SIZE {
            put_aside(path)?;
            open = open_log(path)?;
        }
        let open = slot.insert(open);
        // One write, so that a line is whole or not there.
        open.file.write_all(&text)?;
        open.size += text.len() as u64;
        Ok(())
    }
}

fn open_log(path: &Path) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    let file = options.open(path)?;
    let size = file.metadata()?.len();
    Ok(Open { file, size })
}

/// `audit.log` becomes `audit.log.1`, that `audit.log.2`, and the last goes.
fn put_aside(path: &Path) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..KEPT).rev() {
        match fs_err::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs_err::rename(path, numbered(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn note(audit: &Audit, uri: &str) {
        let origin = Origin {
            peer: Peer::Process {
                uid: 7,
                gid: 8,
                pid: 9,
            },
            ..Origin::default()
        };
        let answered = Answered {
            method: &Method::POST,
            uri: &uri.parse().unwrap(),
            status: StatusCode::CREATED,
            elapsed: Duration::from_millis(3),
        };
        audit.note(&origin, &answered);
    }

    #[test]
    fn a_line_names_who_and_what_but_no_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let audit = Audit::new(Some(path.clone()));
        note(
            &audit,
            "/v1.51/containers/create?name=a%22b&buildargs=secret",
        );
        let text = fs_err::read_to_string(&path).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["uid"], 7);
        assert_eq!(line["path"], "/v1.51/containers/create");
        assert_eq!(line["query"], serde_json::json!({"name": "a\"b"}));
        assert_eq!(line["status"], 201);
        assert!(!text.contains("secret"), "{text}");
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_grows_is_put_aside_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        for round in 0..7 {
            let file = File::create(&path).unwrap();
            file.set_len(MAX_SIZE).unwrap();
            note(&Audit::new(Some(path.clone())), &format!("/{round}"));
        }
        let mut files: Vec<_> = fs_err::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let wanted: Vec<String> = ["", ".1", ".2", ".3", ".4"]
            .map(|end| format!("audit.log{end}"))
            .into();
        assert_eq!(files, wanted);
        assert!(fs_err::read_to_string(&path).unwrap().contains("/6"));
    }

    #[test]
    fn reading_changes_nothing() {
        assert!(!changes(&Method::GET) && !changes(&Method::HEAD));
        assert!(changes(&Method::POST) && changes(&Method::DELETE) && changes(&Method::PUT));
    }
}
