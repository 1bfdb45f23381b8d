//! What is asked for instead of a build: `--call outline`, `--call targets`, `--check`.

use super::convert::{Conversion, Input};
use super::host::Host;
use super::options::Options;
use super::stage::{ArgInfo, Id, Outline, Stages};
use super::{Error, read, wanted_checks};
use crate::dockerfile::{Dockerfile, Lines, Linter, excerpt};
use crate::plan::{Plan, SourceFile};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

const VERSION: &str = "1.0.0";

/// The answer to a call.
pub(super) fn answer(
    call: &str,
    options: &Options,
    host: &Host<'_>,
    file: &SourceFile,
) -> Result<Plan, Error> {
    let (document, text, status) = match call {
        "frontend.outline" => outline(options, host, file)?,
        "frontend.targets" => targets(file)?,
        "frontend.lint" => lint(options, host, file)?,
        "frontend.subrequests.describe" => describe(),
        other => {
            return Err(Error::new(format!("unsupported request {other}")));
        }
    };
    let json = serde_json::to_vec_pretty(&document).unwrap_or_default();
    let mut answers = BTreeMap::from([
        ("result.json".to_owned(), json),
        ("result.txt".to_owned(), text.into_bytes()),
        ("version".to_owned(), VERSION.as_bytes().to_vec()),
    ]);
    if let Some(status) = status {
        answers.insert(
            "result.statuscode".to_owned(),
            status.to_string().into_bytes(),
        );
    }
    Ok(Plan {
        answers,
        sources: vec![file.clone()],
        ..Plan::default()
    })
}

type Answer = (Value, String, Option<u8>);

/// A place as BuildKit's messages have it: one range a line.
fn location(lines: Lines) -> Value {
    let position = |line: u32| json!({ "line": line });
    let range = |line| json!({ "start": position(line), "end": position(line) });
    let ranges: Vec<Value> = (lines.first..=lines.last).map(range).collect();
    json!({ "ranges": ranges })
}

/// Without what is empty, as Go leaves it out.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let kept = fields.into_iter().filter(|(_, value)| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    });
    Value::Object(
        kept.map(|(key, value)| (key.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}

fn outline(options: &Options, host: &Host<'_>, file: &SourceFile) -> Result<Answer, Error> {
    let syntax = read(file)?;
    let mut linter = Linter::new(wanted_checks(options, &file.text)?);
    let input = Input {
        syntax: &syntax,
        options,
        host,
        platform: options.platforms.first(),
        all_stages: false,
    };
    let (conversion, target) = Conversion::run(&input, &mut linter)?;
    let stage = &conversion.stages.all[target].stage;
    let found = gather(&conversion.stages, target);
    let mut args: Vec<&ArgInfo> = found.args.values().collect();
    args.sort_by_key(|arg| arg.lines.first);
    let (secrets, ssh) = (by_line(&found.secrets), by_line(&found.ssh));
    let arg = |arg: &&ArgInfo| {
        object([
            ("name", json!(arg.argument.name)),
            ("description", json!(arg.argument.comment)),
            ("value", json!(arg.value)),
            ("location", location(arg.lines)),
        ])
    };
    let document = object([
        ("name", json!(stage.name)),
        ("description", json!(stage.comment)),
        ("args", json!(args.iter().map(arg).collect::<Vec<_>>())),
        ("secrets", json!(required_list(&secrets))),
        ("ssh", json!(required_list(&ssh))),
        ("sources", json!([BASE64.encode(&file.text)])),
    ]);
    let mut rows = vec![vec!["BUILD ARG", "VALUE", "DESCRIPTION"]];
    rows.extend(
        args.iter()
            .map(|arg| vec![&*arg.argument.name, &arg.value, &arg.argument.comment]),
    );
    let mut text = head(&stage.name, &stage.comment);
    let parts = [
        rows,
        required_rows("SECRET", &secrets),
        required_rows("SSH", &ssh),
    ];
    for rows in parts.iter().filter(|rows| rows.len() > 1) {
        table(&mut text, 3, rows);
        text.push('\n');
    }
    Ok((document, text, None))
}

/// The stage's name, and what the comment says of it.
fn head(name: &str, comment: &str) -> String {
    let mut text = String::new();
    if name.is_empty() && comment.is_empty() {
        return text;
    }
    let name = if name.is_empty() { "(default)" } else { name };
    let mut rows = vec![vec!["TARGET:", name]];
    if !comment.is_empty() {
        rows.push(vec!["DESCRIPTION:", comment]);
    }
    table(&mut text, 1, &rows);
    text.push('\n');
    text
}

/// A secret or agent: name, whether it must be there, and where it is first used.
type Needed = (String, bool, Lines);

fn by_line(all: &BTreeMap<String, (bool, Lines)>) -> Vec<Needed> {
    let all = all
        .iter()
        .map(|(name, (must, at))| (name.clone(), *must, *at));
    let mut all: Vec<Needed> = all.collect();
    all.sort_by_key(|(_, _, lines)| lines.first);
    all
}

fn required_list(all: &[Needed]) -> Vec<Value> {
    let one = |(name, must, lines): &Needed| {
        let name = ("name", json!(name));
        object([
            name,
            ("required", json!(must)),
            ("location", location(*lines)),
        ])
    };
    all.iter().map(one).collect()
}

fn required_rows<'a>(title: &'a str, all: &'a [Needed]) -> Vec<Vec<&'a str>> {
    let mut rows = vec![vec![title, "REQUIRED"]];
    let required = |must: bool| if must { "true" } else { "" };
    rows.extend(
        all.iter()
            .map(|(name, must, _)| vec![name.as_str(), required(*must)]),
    );
    rows
}

/// What the target and all that it needs declare and use.
fn gather(stages: &Stages, target: Id) -> Outline {
    let mut found = Outline::default();
    for id in stages.reachable(target) {
        let mut outline = stages.all[id].outline.clone();
        outline.mark();
        for name in &outline.used {
            if let Some(arg) = outline.args.get(name) {
                found
                    .args
                    .entry(name.clone())
                    .or_insert_with(|| arg.clone());
            }
        }
        found.secrets.extend(outline.secrets);
        found.ssh.extend(outline.ssh);
    }
    found
}

/// Columns with spaces between them, as Go's `tabwriter` sets them.
fn table(text: &mut String, gap: usize, rows: &[Vec<&str>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0) + gap
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            match column + 1 == row.len() {
                true => text.push_str(cell),
                false => {
                    let width = widths[column];
                    let _ = write!(text, "{cell:width$}");
                }
            }
        }
        text.push('\n');
    }
}

fn targets(file: &SourceFile) -> Result<Answer, Error> {
    let read = Dockerfile::read(&read(file)?, &mut Linter::default())?;
    let last = read.stages.len().saturating_sub(1);
    let mut rows = vec![vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()]];
    let mut list = Vec::new();
    for (place, stage) in read.stages.iter().enumerate() {
        let default = place == last;
        list.push(object([
            ("name", json!(stage.name)),
            ("default", json!(default)),
            ("description", json!(stage.comment)),
            ("base", json!(stage.base)),
            ("platform", json!(stage.platform)),
            ("location", location(stage.lines)),
        ]));
        let name = match (stage.name.as_str(), default) {
            ("", true) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        rows.push(vec![name, stage.comment.clone()]);
    }
    let document = json!({ "targets": list, "sources": [BASE64.encode(&file.text)] });
    let mut text = String::new();
    let rows: Vec<Vec<&str>> = rows
        .iter()
        .map(|row| row.iter().map(String::as_str).collect())
        .collect();
    table(&mut text, 1, &rows);
    Ok((document, text, None))
}

fn lint(options: &Options, host: &Host<'_>, file: &SourceFile) -> Result<Answer, Error> {
    let mut linter = Linter::new(wanted_checks(options, &file.text)?);
    let done = read(file).and_then(|syntax| {
        let input = Input {
            syntax: &syntax,
            options,
            host,
            platform: options.platforms.first(),
            // Without a target all stages are looked at.
            all_stages: options.target.is_empty(),
        };
        Conversion::run(&input, &mut linter).map(drop)
    });
    let warning = |warning: &crate::dockerfile::Warning| {
        object([
            ("ruleName", json!(warning.rule.name())),
            ("description", json!(warning.rule.description())),
            ("url", json!(warning.rule.url())),
            ("detail", json!(warning.message)),
            ("location", location(warning.lines)),
        ])
    };
    let found = &linter.warnings;
    let list: Vec<Value> = found.iter().map(warning).collect();
    let warnings = if list.is_empty() {
        Value::Null
    } else {
        json!(list)
    };
    let source = json!({
        "filename": file.name,
        "language": "Dockerfile",
        "data": BASE64.encode(&file.text),
    });
    let mut document = json!({ "warnings": warnings, "sources": [source] });
    if let Err(error) = &done {
        let places: BTreeSet<u32> = error
            .places
            .iter()
            .flat_map(|lines| lines.first..=lines.last)
            .collect();
        let range = |line: &u32| json!({ "start": { "line": line }, "end": { "line": line } });
        let ranges: Vec<Value> = places.iter().map(range).collect();
        document["buildError"] = json!({
            "message": error.message,
            "location": if ranges.is_empty() { json!({}) } else { json!({ "ranges": ranges }) },
        });
    }
    let failed = !found.is_empty() || done.is_err();
    Ok((document, lint_text(file, &linter), Some(u8::from(failed))))
}

fn lint_text(file: &SourceFile, linter: &Linter) -> String {
    let mut found: Vec<_> = linter.warnings.iter().collect();
    found.sort_by_key(|warning| warning.lines.first);
    let source = String::from_utf8_lossy(&file.text);
    let mut text = String::new();
    for warning in found {
        let _ = write!(text, "\nWARNING: {}", warning.rule.name());
        let url = warning.rule.url();
        if !url.is_empty() {
            let _ = write!(text, " - {url}");
        }
        let _ = writeln!(text, "\n{}\n", warning.message);
        text.pop();
        text.push_str(&excerpt(&file.name, &source, warning.lines).unwrap_or_default());
    }
    text
}

/// The calls there are.
fn describe() -> Answer {
    const CALLS: [(&str, &str); 3] = [
        (
            "frontend.outline",
            "List all parameters current build target supports",
        ),
        (
            "frontend.targets",
            "List all targets current build supports",
        ),
        (
            "frontend.subrequests.describe",
            "List available subrequest types",
        ),
    ];
    let one = |(name, description): &(&str, &str)| {
        json!({
            "name": name,
            "version": VERSION,
            "type": "rpc",
            "description": description,
            "opts": Value::Null,
            "inputs": Value::Null,
            "metadata": [{ "Name": "result.json" }, { "Name": "result.txt" }],
            "refs": Value::Null,
        })
    };
    let list: Vec<Value> = CALLS.iter().map(one).collect();
    let mut text = String::new();
    let rows: Vec<Vec<&str>> = std::iter::once(vec!["NAME", "VERSION", "DESCRIPTION"])
        .chain(
            CALLS
                .iter()
                .map(|(name, about)| vec![*name, VERSION, *about]),
        )
        .collect();
    table(&mut text, 1, &rows);
    (json!(list), text, None)
}
