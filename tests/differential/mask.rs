//! What differs between any two runs is taken out of answers: ids, times, sizes, where the daemon keeps its files.

use crate::answer::Answer;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Numbers that nobody can foretell.
const NUMBERS: &[&str] = &[
    "Created",
    "time",
    "timeNano",
    "Size",
    "SizeRw",
    "SizeRootFs",
    "VirtualSize",
    "LayersSize",
    "SpaceReclaimed",
    "Pid",
    "NFd",
    "NGoroutines",
    "NEventsListener",
    "MemTotal",
    "NCPU",
    "size",
    "mtime",
    "execDuration",
    // How far a download is depends on when one looks.
    "current",
];
/// Texts that are the host's, not the daemon's.
const HOSTS: &[&str] = &[
    "KernelVersion",
    "OperatingSystem",
    "OSVersion",
    "Architecture",
    "Name#info",
    "Arch",
    "ID#info",
    "mtime",
    "execDuration",
];
/// Members that are the host's, or the process's, whatever is in them.
const WHOLE: &[&str] = &["cmdline", "memstats", "Processes", "Data"];

/// What follows these is the host's.
const HOSTS_REST: &[&str] = &["999, available: ", "range of CPUs is from 0.01 to "];

/// What is known of a run.
#[derive(Debug)]
pub(crate) struct Mask {
    known: BTreeMap<String, String>,
    places: Vec<(String, &'static str)>,
}

impl Mask {
    pub(crate) fn new(data: &str, run: &str) -> Self {
        Self {
            known: BTreeMap::new(),
            places: vec![
                (data.to_owned(), "<data>"),
                (run.to_owned(), "<run>"),
                ("/var/run/docker".to_owned(), "<run>"),
            ],
        }
    }

    /// Keeps the text that `answer` has at `pointer` under a name.
    pub(crate) fn learn(&mut self, name: &str, answer: &Answer, pointer: &str) {
        let value = answer.body.pointer(&format!("/{pointer}"));
        if let Some(text) = value
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
        {
            self.know(name, text);
        }
    }

    /// Keeps a text under a name.
    pub(crate) fn know(&mut self, name: &str, value: &str) {
        self.known.insert(name.to_owned(), value.to_owned());
    }

    /// Puts what is known into a text of the script.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.known {
            text = text.replace(&format!("{{{name}}}"), value);
            let short = value
                .trim_start_matches("sha256:")
                .get(..12)
                .unwrap_or(value);
            text = text.replace(&format!("{{{name}:12}}"), short);
        }
        text
    }

    /// The answer without what cannot be compared.
    pub(crate) fn apply(&self, mut answer: Answer) -> Answer {
        let is_info = answer.body.get("DockerRootDir").is_some();
        answer.body = self.value("", answer.body, is_info);
        let headers = self.value("", Value::Object(answer.headers), false);
        answer.headers = match headers {
            Value::Object(headers) => headers,
            _ => Map::new(),
        };
        answer
    }

    fn value(&self, name: &str, value: Value, info: bool) -> Value {
        let listed = |list: &[&str]| {
            list.contains(&name) || (info && list.contains(&format!("{name}#info").as_str()))
        };
        match value {
            _ if WHOLE.contains(&name) => "<host's>".into(),
            Value::Object(members) => Value::Object(
                members
                    .into_iter()
                    .map(|(name, value)| {
                        let value = self.value(&name, value, info);
                        (self.text(&name), value)
                    })
                    .collect(),
            ),
            Value::Array(items) => {
                let mut items: Vec<Value> = items
                    .into_iter()
                    .map(|item| self.value(name, item, false))
                    .collect();
                // dockerd lists networks, volumes and mounts in the order of a hash table, and tells of an end now
                // before and now after who asked for it.
                for key in ["Name", "Destination", "Action"] {
                    if items.iter().all(|item| item[key].is_string()) {
                        items.sort_by_key(|item| item[key].to_string());
                    }
                }
                Value::Array(items)
            }
            Value::Number(number) if listed(NUMBERS) => match number.as_i64() {
                Some(0 | -1) => number.into(),
                _ => "<number>".into(),
            },
            Value::String(text) if !text.is_empty() && listed(HOSTS) => "<host's>".into(),
            Value::String(text) => self.text(&text).into(),
            other => other,
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.known {
            // Short values would be found where they are not meant.
            if value.len() < 12 {
                continue;
            }
            text = text.replace(value, &format!("<{name}>"));
            let hex = value.trim_start_matches("sha256:");
            if let Some(short) = hex.get(..12).filter(|_| hex.len() == 64) {
                text = text
                    .replace(hex, &format!("<{name}>"))
                    .replace(short, &format!("<{name}:12>"));
            }
        }
        for (place, stands) in &self.places {
            text = text.replace(place, stands);
        }
        for start in HOSTS_REST {
            if let Some(at) = text.find(start) {
                text.truncate(at + start.len());
                text.push_str("<host's>");
            }
        }
        words(&ids(&classic(text)))
    }
}

/// Masks the short ids of dockerd's classic builder, which may be all digits.
fn classic(text: String) -> String {
    const BEFORE: &[&str] = &[
        " ---> ",
        " ---> Running in ",
        " ---> Removed intermediate container ",
        "Successfully built ",
    ];
    let short = |id: &str| {
        id.len() == 12
            && id
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let id = |before: &&str| short(text.strip_prefix(*before).unwrap_or_default().trim_end());
    match BEFORE.iter().find(|before| id(before)) {
        Some(before) => format!("{before}<short id>"),
        None => text,
    }
}

/// Masks ids, wherever they stand: 64 hexadecimal digits.
fn ids(text: &str) -> String {
    let is_hex = |character: char| matches!(character, '0'..='9' | 'a'..='f');
    let mut masked = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_hex) {
        let end = rest[start..]
            .find(|character| !is_hex(character))
            .map_or(rest.len(), |length| start + length);
        masked.push_str(&rest[..start]);
        let run = &rest[start..end];
        let digest = masked.ends_with("sha256:");
        let zero = run.bytes().all(|byte| byte == b'0');
        if run.len() == 64 && !zero {
            masked.truncate(masked.len() - if digest { "sha256:".len() } else { 0 });
            masked.push_str(if digest { "<digest>" } else { "<id>" });
        } else {
            masked.push_str(run);
        }
        rest = &rest[end..];
    }
    masked + rest
}

/// Masks the words of a text, wherever they stand in it.
fn words(text: &str) -> String {
    let is_word =
        |character: char| character.is_ascii_alphanumeric() || ":.-+_".contains(character);
    let mut masked = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(|character| !is_word(character))
            .unwrap_or(rest.len());
        if end > 0 {
            masked.push_str(&word(&rest[..end]));
            rest = &rest[end..];
        } else {
            let first = rest.chars().next().expect("not empty");
            masked.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    ago(&masked)
}

fn word(word: &str) -> String {
    let hex = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let letters = word.bytes().any(|byte| byte.is_ascii_alphabetic());
    if let Some(start) = word.find("ver1.") {
        let version = &word[start..word.len().min(start + 7)];
        return word.replace(version, "{v}");
    }
    match word.len() {
        12 if hex(word) && letters => "<short id>".to_owned(),
        17 if word.bytes().filter(|byte| *byte == b':').count() == 5
            && hex(&word.replace(':', "")) =>
        {
            "<mac>".to_owned()
        }
        20..=35 if is_time(word) && !word.starts_with("0001-01-01T") => "<time>".to_owned(),
        _ => word.to_owned(),
    }
}

fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10] == b'T'
        && bytes[13] == b':'
        && bytes[..4].iter().all(u8::is_ascii_digit)
}

/// `Up 3 seconds (Paused)` and `Exited (1) 2 minutes ago` without the time.
fn ago(text: &str) -> String {
    if let Some(rest) = text.strip_prefix("Up ") {
        let what = rest.find(" (").map_or("", |at| &rest[at..]);
        return format!("Up <time>{what}");
    }
    for start in ["Exited (", "Restarting ("] {
        if let Some(code) = text
            .strip_prefix(start)
            .and_then(|rest| rest.split_once(')'))
            && text.ends_with(" ago")
        {
            return format!("{start}{}) <time> ago", code.0);
        }
    }
    text.to_owned()
}
