//! Lines of a Dockerfile: comments, continuations, names and what follows them.

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// In capitals.
    pub(super) name: String,
    /// What follows, as written.
    pub(super) rest: String,
}

impl Line {
    pub(super) fn new(name: &str, rest: &str) -> Self {
        Self {
            name: name.to_owned(),
            rest: rest.to_owned(),
        }
    }

    /// What follows, if it is a JSON list of strings.
    pub(super) fn list(&self) -> Option<Vec<String>> {
        let rest = self.rest.trim();
        rest.starts_with('[')
            .then(|| serde_json::from_str(rest).ok())
            .flatten()
    }

    /// What follows, at its blanks.
    pub(super) fn words(&self) -> Vec<String> {
        self.rest.split_whitespace().map(str::to_owned).collect()
    }

    /// The `--name=value` in front, and what is left.
    pub(super) fn flags(&self) -> (Vec<(String, String)>, Self) {
        let mut flags = Vec::new();
        let mut rest = self.rest.trim_start();
        while let Some(flag) = rest.strip_prefix("--") {
            let end = flag.find(char::is_whitespace).unwrap_or(flag.len());
            let (name, value) = flag[..end].split_once('=').unwrap_or((&flag[..end], ""));
            flags.push((name.to_owned(), value.to_owned()));
            rest = flag[end..].trim_start();
        }
        (flags, Self::new(&self.name, rest))
    }
}

/// All instructions of a text. A backslash at a line's end joins it with the next.
pub(super) fn parse(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        let line = line.trim_end();
        if line.trim_start().starts_with('#') || (line.trim().is_empty() && !current.is_empty()) {
            continue;
        }
        if let Some(begun) = line.strip_suffix('\\') {
            current.push_str(begun);
            continue;
        }
        current.push_str(line);
        lines.extend(instruction(&std::mem::take(&mut current)));
    }
    lines.extend(instruction(&current));
    lines
}

fn instruction(line: &str) -> Option<Line> {
    let line = line.trim_start();
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    (!name.is_empty()).then(|| Line::new(&name.to_uppercase(), rest.trim_start()))
}
