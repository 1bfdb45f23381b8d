//! What nobody else is to read, made unreadable: values of environment variables and labels, arguments of programs, and what is
//! called like a secret. Rather too much than too little.

use serde_json::Value;

/// What stands where something was.
pub(super) const MASK: &str = "***";

/// Parts of names whose values are secrets.
const SECRET: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "api-key",
    "api_key",
    "access_key",
    "accesskey",
    "private",
    "auth",
    "cookie",
];

/// Labels that tools set, and that explain what belongs together.
const KNOWN_LABELS: &[&str] = &["com.docker.compose.", "org.opencontainers.image."];

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // mount(8)'s cifs has `pass` for its password; `PGPASS` ends so, too.
    name.ends_with("pass") || SECRET.iter().any(|part| name.contains(part))
}

/// Masks a document of the API or a configuration, as the member `key` of another.
pub(super) fn json(key: &str, value: &mut Value) {
    match (key, &mut *value) {
        ("Env", Value::Array(items)) => items.iter_mut().for_each(variable),
        ("Cmd" | "Args" | "Shell" | "OnBuild", Value::Array(items)) => arguments(items, 0),
        ("Entrypoint" | "Test", Value::Array(items)) => arguments(items, 1),
        // A step's description in the build cache has its whole command line.
        ("Command" | "Description", Value::String(text)) => first_word(text),
        // What a health check printed.
        ("Output", Value::String(text)) => MASK.clone_into(text),
        // The daemon's own.
        ("Labels" | "labels", Value::Array(items)) => items.iter_mut().for_each(variable),
        ("Labels" | "Annotations", Value::Object(members)) => {
            for (name, value) in members {
                if KNOWN_LABELS.iter().any(|known| name.starts_with(known)) {
                    json(name, value);
                } else {
                    *value = MASK.into();
                }
            }
        }
        (_, Value::Object(members)) => {
            for (name, value) in members {
                json(name, value);
            }
        }
        (_, Value::Array(items)) => items.iter_mut().for_each(|item| json(key, item)),
        (_, Value::String(held)) if is_secret(key) && !held.is_empty() => MASK.clone_into(held),
        (_, Value::String(held)) => *held = text(held),
        _ => {}
    }
}

/// `NAME=value`.
fn variable(item: &mut Value) {
    if let Value::String(text) = item
        && let Some((name, _)) = text.split_once('=')
    {
        *text = format!("{name}={MASK}");
    }
}

/// Leaves names of flags, and the first `kept` words.
fn arguments(items: &mut [Value], kept: usize) {
    for item in items.iter_mut().skip(kept) {
        let Value::String(word) = item else { continue };
        *word = match word.split_once('=') {
            Some((flag, _)) if is_flag(flag) => format!("{flag}={MASK}"),
            None if is_flag(word) => continue,
            _ => MASK.to_owned(),
        };
    }
}

/// `--name` or `-n`; with one dash there may be a value behind the letter.
fn is_flag(word: &str) -> bool {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    match word.strip_prefix("--") {
        Some(name) => is_name(name),
        None => word.len() == 2 && word.starts_with('-') && is_name(word),
    }
}

fn first_word(text: &mut String) {
    if let Some((first, _)) = text.split_once(' ') {
        *text = format!("{first} {MASK}");
    }
}

/// Masks a text line by line: who logs in with a URL, `password=…`, `token: …`, `Bearer …`.
pub(super) fn text(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(line).collect();
    lines.join("\n")
}

fn line(line: &str) -> String {
    // Schemes first: to a name's value the scheme would be all there is.
    let line = without_schemes(line);
    let line = without_logins(&line);
    without_values(&line)
}

/// `https://user:password@host` loses what is before the `@`.
fn without_logins(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let up_to = |stops: &str| {
            let end = after.find(|c: char| c.is_whitespace() || stops.contains(c));
            after.split_at(end.unwrap_or(after.len()))
        };
        // A comma and an apostrophe may be of a password (RFC 3986, 3.2.1), or stand behind the whole address.
        let (authority, behind) = up_to("/?#\"`");
        rest = match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.extend([MASK, "@", host]);
                behind
            }
            None => {
                let (host, behind) = up_to("/?#\"'`,");
                out.push_str(host);
                behind
            }
        };
    }
    out.push_str(rest);
    out
}

/// `name=value` loses the value where the name is a secret's; `name: value`, and a value in quotes, all that follows: where
/// quotes within quotes end is told otherwise by each program.
fn without_values(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, from) = rest.split_at(at);
        let (sign, after) = from.split_at(1);
        out.extend([before, sign]);
        let bare = before.trim_end_matches(['"', '\'', ' ', '\\']);
        let name = bare.rsplit(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
        rest = after;
        if !name.into_iter().next().is_some_and(is_secret) {
            continue;
        }
        let quoted = after.starts_with(['"', '\'', '\\']);
        if quoted || (sign == ":" && after.starts_with([' ', '\t'])) {
            out.push_str(MASK);
            return out;
        }
        // A port or a path has something else than a space or a quote behind it.
        if sign == ":" {
            continue;
        }
        out.push_str(MASK);
        let end = after.find(|c: char| c.is_whitespace() || ",&;\"'".contains(c));
        rest = &after[end.unwrap_or(after.len())..];
    }
    out.push_str(rest);
    out
}

/// `Bearer …` and `Basic …` lose the word behind, whatever stands before them.
fn without_schemes(line: &str) -> String {
    let mut hide = false;
    let words = line.split(' ').map(|word| {
        if word.is_empty() {
            return word;
        }
        let shown = if hide { MASK } else { word };
        let scheme = word.to_ascii_lowercase();
        hide = scheme.ends_with("bearer") || scheme.ends_with("basic");
        shown
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_lose_secrets_and_nothing_else() {
        for (from, to) in [
            (
                "pull https://me:pw@host:5000/v2/?a=b",
                "pull https://***@host:5000/v2/?a=b",
            ),
            (
                "https://a@b@c/x and http://d/",
                "https://***@c/x and http://d/",
            ),
            (
                "o=username=u,password=p,vers=3",
                "o=username=u,password=***,vers=3",
            ),
            ("GITHUB_TOKEN='a b' x", "GITHUB_TOKEN=***"),
            ("username=u,pass=p", "username=u,pass=***"),
            (
                "https://u:pa,ss@proxy/ and http://a,http://u:p@b/",
                "https://***@proxy/ and http://a,http://***@b/",
            ),
            ("authorization=Bearer abc", "authorization=*** ***"),
            ("Authorization:Bearer abc", "Authorization:Bearer ***"),
            (r#"said "token=\"abc\"""#, r#"said "token=***"#),
            (r#"body {\"token\":\"abc\"}"#, r#"body {\"token\":***"#),
            (r#"password="a\"b" x"#, "password=***"),
            (
                "GET /token?access_token=abc&scope=x",
                "GET /token?access_token=***&scope=x",
            ),
            ("Authorization: Bearer abc def", "Authorization:***"),
            (r#"{"token": "abc"}"#, r#"{"token":***"#),
            ("sent Basic YWJj to it", "sent Basic *** to it"),
            (
                "listening on 0.0.0.0:80, path=/x",
                "listening on 0.0.0.0:80, path=/x",
            ),
        ] {
            assert_eq!(text(from), to);
        }
    }

    #[test]
    fn documents_lose_values_that_are_nobodys_business() {
        let mut document = json!({
            "Path": "server",
            "Args": ["--verbose", "--password=x", "-p", "-pX", "word"],
            "Config": {
                "Env": ["PATH=/bin", "A"],
                "Cmd": ["s3cret"],
                "Entrypoint": ["/entry", "s3cret"],
                "Labels": {"com.docker.compose.project": "p", "mine": "v"},
                "Healthcheck": {"Test": ["CMD-SHELL", "curl -u a:b"]},
            },
            "HostConfig": {"LogConfig": {"Config": {"splunk-token": "t", "splunk-url": "https://u:p@h"}}},
            "Command": "run with s3cret",
            "BuildCache": [{"Description": "RUN curl -u bob:s3cret"}],
            "labels": ["key=s3cret"],
        });
        json("", &mut document);
        assert_eq!(
            document,
            json!({
                "Path": "server",
                "Args": ["--verbose", "--password=***", "-p", "***", "***"],
                "Config": {
                    "Env": ["PATH=***", "A"],
                    "Cmd": ["***"],
                    "Entrypoint": ["/entry", "***"],
                    "Labels": {"com.docker.compose.project": "p", "mine": "***"},
                    "Healthcheck": {"Test": ["CMD-SHELL", "***"]},
                },
                "HostConfig": {"LogConfig": {"Config": {"splunk-token": "***", "splunk-url": "https://***@h"}}},
                "Command": "run ***",
                "BuildCache": [{"Description": "RUN ***"}],
                "labels": ["key=***"],
            })
        );
    }
}
