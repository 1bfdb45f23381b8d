//! What differs between any two runs is taken out of texts: ids, ages, times, sizes, folders.

use std::path::PathBuf;

pub(crate) struct Mask {
    places: Vec<(String, &'static str)>,
}

impl Mask {
    pub(crate) fn new(places: &[(PathBuf, &'static str)]) -> Self {
        let place = |(path, name): &(PathBuf, &'static str)| (path.display().to_string(), *name);
        Self {
            places: places.iter().map(place).collect(),
        }
    }

    pub(crate) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (old, now) in WORDINGS {
            text = text.replace(old, now);
        }
        for (place, stands) in &self.places {
            text = text.replace(place, stands);
        }
        let lines = text.split('\n').map(|line| {
            let words: Vec<String> = line.split(' ').map(word).collect();
            spaces(&ages(&processors(&words.join(" "))))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// What the recorded docker says in other words than the one of Docker's own packages, because Debian builds it with older
/// libraries; and a misprint.
const WORDINGS: &[(&str, &str)] = &[
    ("\nSRun '", "\nRun '"),
    ("Invalid ip address", "invalid IP address"),
    (
        "invalid IP address x:y: address x:y:: too many colons in address",
        "invalid IP address: x:y",
    ),
    ("Invalid containerPort", "invalid containerPort"),
    ("Invalid hostPort", "invalid hostPort"),
    ("Invalid proto:", "invalid proto:"),
    ("Invalid ranges specified", "invalid ranges specified"),
    (
        "Invalid range specified for the Port",
        "invalid range specified for port",
    ),
    ("No port specified", "no port specified"),
    ("Invalid --security-opt", "invalid --security-opt"),
];

/// How many processors there are, where a limit of them is refused.
fn processors(line: &str) -> String {
    match line.split_once("range of CPUs is from ") {
        Some((before, _)) => format!("{before}range of CPUs is from <some> to <all>"),
        None => line.to_owned(),
    }
}

/// Columns are as wide as what is masked; how they are aligned the unit tests of tables know.
fn spaces(line: &str) -> String {
    let (start, rest) = line.split_at(line.len() - line.trim_start().len());
    let mut out = start.to_owned();
    let mut run = 0;
    for c in rest.trim_end().chars() {
        if c == ' ' {
            run += 1;
            continue;
        }
        out.push_str(["", " ", "  "][run.min(2)]);
        run = 0;
        out.push(c);
    }
    out
}

/// `2 seconds`, `Less than a second`, `About a minute`, all as `<age>`.
fn ages(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((at, unit)) = UNITS
        .iter()
        .filter_map(|unit| Some((rest.find(unit)?, *unit)))
        .min_by_key(|(at, unit)| (*at, std::cmp::Reverse(unit.len())))
    {
        let before = &rest[..at];
        let phrase = ["Less than a", "About a", "About an"]
            .into_iter()
            .find_map(|phrase| before.strip_suffix(phrase));
        let number = before.trim_end_matches(|c: char| c.is_ascii_digit());
        if phrase.is_some() || number.len() < before.len() {
            out.push_str(phrase.unwrap_or(number));
            out.push_str("<age>");
        } else {
            out.push_str(&rest[..at + unit.len()]);
        }
        rest = &rest[at + unit.len()..];
    }
    out + rest
}

const UNITS: &[&str] = &[
    " seconds", " second", " minutes", " minute", " hours", " hour",
];

/// A word with its punctuation.
fn word(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || ":.-+_".contains(c);
    let mut masked = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        if end > 0 {
            masked.push_str(&part(&rest[..end]));
            rest = &rest[end..];
        } else {
            let c = rest.chars().next().unwrap();
            masked.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    masked
}

fn part(text: &str) -> String {
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if let Some(before) = text.strip_suffix(':')
        && before.len() == 64
    {
        return part(before) + ":";
    }
    // Bytes, which no two versions of busybox have as many of.
    if text.len() >= 7 && text.len() <= 11 && text.bytes().all(|b| b.is_ascii_digit()) {
        return "<number>".to_owned();
    }
    let (scheme, id) = text.split_once(':').unwrap_or(("", text));
    if id.len() == 64 && hex(id) && id.bytes().any(|b| b != b'0') {
        return if scheme.is_empty() {
            "<id>"
        } else {
            "<digest>"
        }
        .to_owned();
    }
    // Names of anonymous volumes are cut to a few more.
    if (12..=15).contains(&text.len()) && hex(text) {
        return "<short id>".to_owned();
    }
    if text.len() == 17 && text.matches(':').count() == 5 && hex(&text.replace(':', "")) {
        return "<mac>".to_owned();
    }
    let bytes = text.as_bytes();
    let is_date = bytes.len() >= 10
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[..4].iter().all(u8::is_ascii_digit);
    if is_date && !text.starts_with("0001-") {
        return if text.contains('T') {
            "<time>"
        } else {
            "<date>"
        }
        .to_owned();
    }
    if bytes.len() >= 8 && bytes[2] == b':' && bytes[5] == b':' {
        return "<clock>".to_owned();
    }
    // Sizes depend on how layers are stored.
    for unit in ["kB", "MB", "GB", "KiB", "MiB", "GiB", "B"] {
        if let Some(number) = text.strip_suffix(unit)
            && number.parse::<f64>().is_ok()
        {
            return "<size>".to_owned();
        }
    }
    text.to_owned()
}

#[test]
fn what_differs_is_masked() {
    let mask = Mask::new(&[("/tmp/x".into(), "<home>")]);
    let masked = |text: &str| mask.apply(text);
    assert_eq!(
        masked("0123456789ab   box:1   Up About a minute   2 seconds ago   a"),
        "<short id>  box:1  Up <age>  <age> ago  a"
    );
    assert_eq!(
        masked("Exited (0) Less than a second ago   1.5MB (virtual 3MB) /tmp/x/y"),
        "Exited (0) <age> ago  <size> (virtual <size>) <home>/y"
    );
    assert_eq!(
        masked("{\"A\":\"33 seconds ago\",\"B\":\"Up 1 second\"}"),
        "{\"A\":\"<age> ago\",\"B\":\"Up <age>\"}"
    );
    assert_eq!(
        masked("2026-11-22 11:08:58 +0000 UTC 2026-11-22T11:08:58.1Z"),
        "<date> <clock> +0000 UTC <time>"
    );
}
