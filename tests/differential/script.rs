//! The form of `requests/*.txt`. A request is a line and what belongs to it, up to an empty line:
//!
//! ```text
//! # what is looked at
//! POST /containers/create?name=web-{v}     the request; `/v*/…` asks in every version, `/v{1.24,1.51}/…` in these,
//! > X-Header: value                        and {v} is then a name's part of its own; a header of the request
//! = web Id                                 from now on {web} stands for what the answer has at /Id
//! GET /events?until={now}                  the time at which it is asked; {server} is a web server (`server.rs`)
//! @tar a/b text                            the body is a tar archive with this file; `\n` ends a line
//! @input text                              sent behind the request, once the connection has become a stream
//! {"Image":"busybox"}                      the body, of any number of lines
//! ```

use crate::mask::Mask;
use hull_tests::image::Layer;

/// API versions: 1.24 to this.
pub(crate) const NEWEST: u16 = 51;
pub(crate) const OLDEST: u16 = 24;

/// A request as it is written down.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) line: String,
    pub(crate) captures: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Vec<String>,
    tar: Vec<(String, String)>,
    input: Option<String>,
}

/// A request as it is sent.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) input: Option<String>,
}

/// Seconds since 1970, for `until`: what was told up to now is told again, and no more.
fn now() -> String {
    let now = std::time::SystemTime::now();
    let since = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

/// Reads a file of requests.
pub(crate) fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut within = false;
    for line in text.lines() {
        if line.trim().is_empty() {
            within = false;
        } else if !within && line.starts_with('#') {
        } else if !within {
            steps.push(Step {
                line: line.to_owned(),
                ..Step::default()
            });
            within = true;
        } else {
            steps.last_mut().unwrap().take(line);
        }
    }
    steps
}

impl Step {
    fn take(&mut self, line: &str) {
        let pair = |text: &str, by: &str| {
            let (left, right) = text.split_once(by).unwrap_or((text, ""));
            (left.to_owned(), right.to_owned())
        };
        if let Some(header) = line.strip_prefix("> ") {
            self.headers.push(pair(header, ": "));
        } else if let Some(capture) = line.strip_prefix("= ") {
            self.captures.push(pair(capture, " "));
        } else if let Some(entry) = line.strip_prefix("@tar ") {
            let (path, text) = pair(entry, " ");
            self.tar.push((path, text.replace("\\n", "\n")));
        } else if let Some(input) = line.strip_prefix("@input ") {
            self.input = Some(input.replace("\\n", "\n"));
        } else {
            self.body.push(line.to_owned());
        }
    }

    /// The minor versions in which it is asked; `None` is a path without one.
    pub(crate) fn versions(&self) -> Vec<Option<u16>> {
        let (_, target) = self.line.split_once(' ').expect("a method and a target");
        if target.starts_with("/v*/") {
            return (OLDEST..=NEWEST).map(Some).collect();
        }
        match target
            .strip_prefix("/v{")
            .and_then(|rest| rest.split_once('}'))
        {
            None => vec![None],
            Some((list, _)) => list
                .split(',')
                .map(|version| {
                    version
                        .strip_prefix("1.")
                        .and_then(|minor| minor.parse().ok())
                })
                .inspect(|minor| assert!(minor.is_some(), "{list}"))
                .collect(),
        }
    }

    /// The request in one version.
    pub(crate) fn of(&self, version: Option<u16>, mask: &Mask) -> Asked {
        let (method, target) = self.line.split_once(' ').expect("a method and a target");
        let target = match (version, target.find("/v*/"), target.find('}')) {
            (Some(minor), Some(_), _) => format!("/v1.{minor}{}", &target[3..]),
            (Some(minor), None, Some(end)) => format!("/v1.{minor}{}", &target[end + 1..]),
            _ => target.to_owned(),
        };
        let fill = |text: &str| {
            let name = format!("ver1.{}", version.unwrap_or(NEWEST));
            mask.fill(&text.replace("{v}", &name).replace("{now}", &now()))
        };
        let mut body = fill(&self.body.join("\n")).into_bytes();
        let mut headers = self.headers.clone();
        let given = |headers: &[(String, String)]| {
            headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        };
        if !self.tar.is_empty() {
            let files = self.tar.iter();
            let layer = files.fold(Layer::new(), |layer, (path, text)| {
                layer.file(path, 0o644, fill(text).as_bytes())
            });
            body = layer.finish();
            headers.push(("Content-Type".to_owned(), "application/x-tar".to_owned()));
        } else if !body.is_empty() && !given(&headers) {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        headers.retain(|(_, value)| !value.is_empty());
        Asked {
            method: method.to_owned(),
            target: fill(&target),
            headers,
            body,
            input: self.input.clone(),
        }
    }
}
