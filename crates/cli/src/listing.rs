//! What all lists share: `--format`, `--filter`, tables.

use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Kind, Matches, list, value};
use crate::format::{TabWriter, human_size};
use crate::template::{Data, Record, Template};
use crate::terminal;
use std::collections::BTreeMap;
use std::io::{self, BufRead as _};

/// `--format` of lists.
pub(crate) const fn format_flag() -> Flag {
    value(
        "format",
        "string",
        "'table', 'table TEMPLATE', 'json' or a template",
    )
}

/// `--filter`, refused at once where it has no value; `about` has an example.
pub(crate) const fn filter_flag(about: &'static str) -> Flag {
    list("filter", "filter", about).kind(Kind::Checked(check_filter))
}

/// What `--format` says; what the configuration does without it, unless only ids are wanted.
pub(crate) fn chosen_format(matches: &Matches, configured: &str) -> String {
    match (matches.text("format"), matches.bool("quiet")) {
        ("", false) => configured.to_owned(),
        (format, _) => format.to_owned(),
    }
}

/// `raw` as the template that it stands for: a field in each line, as Docker's oldest scripts ask for it, or with `--quiet`
/// the first of them alone.
pub(crate) fn with_raw(format: String, quiet: bool, lines: &str) -> String {
    match (format.as_str(), quiet) {
        ("raw", true) => lines.lines().next().unwrap_or_default().to_owned(),
        ("raw", false) => lines.to_owned(),
        _ => format,
    }
}

/// Labels as lists show them.
pub(crate) fn joined<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let labels: Vec<String> = labels
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    labels.join(",")
}

/// How a list is printed.
#[derive(Debug)]
pub(crate) struct Listing {
    template: Template,
    table: bool,
    headings: &'static [(&'static str, &'static str)],
    /// What errors begin with.
    failed: &'static str,
    /// Cells are cut where the terminal ends.
    fits: bool,
}

impl Listing {
    /// Has nothing be cut, whatever the terminal's width: with `--no-trunc`.
    pub(crate) fn whole(mut self, whole: bool) -> Self {
        self.fits &= !whole;
        self
    }

    /// Has errors of filling in begin with other words.
    pub(crate) fn failing(mut self, failed: &'static str) -> Self {
        self.failed = failed;
        self
    }

    /// From the user's `--format`: nothing or `table` gives `default`, `json` one object per line,
    /// `table …` a table of the user's columns.
    pub(crate) fn new(
        format: &str,
        quiet: bool,
        default: &str,
        headings: &'static [(&'static str, &'static str)],
    ) -> Result<Self, Failure> {
        let chosen = match format {
            // What the user wants to see himself counts more than `--quiet`.
            "" | "table" if quiet => "{{.ID}}",
            "" | "table" => default,
            "json" => "{{json .}}",
            other => other,
        };
        let (text, table) = match chosen.strip_prefix("table") {
            Some(rest) => (rest.trim_matches(' '), true),
            None => (chosen.trim_matches(' '), false),
        };
        // Shells pass these two on as typed.
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let template = Template::parse(&text)
            .map_err(|error| Failure::new(format!("failed to parse template: {error}")))?;
        Ok(Self {
            template,
            table,
            headings,
            failed: "failed to execute template",
            // What the user asks for himself is printed as it is, and so is what another program reads.
            fits: matches!(format, "" | "table") && terminal::stdout_is_terminal(),
        })
    }

    /// Prints the rows.
    pub(crate) fn print(&self, rows: impl Iterator<Item = Data>) -> Outcome {
        let failed = |error| Failure::new(format!("{}: {error}", self.failed));
        let mut lines = Vec::new();
        for row in rows {
            lines.push(self.template.render(&row).map_err(failed)?);
        }
        if !self.table {
            for line in lines {
                crate::print(&format!("{line}\n"));
            }
            return Ok(());
        }
        let headings = self
            .headings
            .iter()
            .map(|(field, heading)| (*field, Data::from(*heading)))
            .collect();
        let headings = Data::Record(Record::new("formatter.SubHeaderContext", headings));
        let mut table = TabWriter::new(10, 3);
        table.push(&self.template.render_header(&headings).map_err(failed)?);
        table.push("\n");
        for line in lines {
            table.push(&line);
            table.push("\n");
        }
        crate::print(&if self.fits {
            table.finish_within(terminal::columns())
        } else {
            table.finish()
        });
        Ok(())
    }
}

/// `--filter name=value`, collected by name.
pub(crate) fn filters(typed: &[String]) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let mut filters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for filter in typed {
        let (name, value) = filter
            .split_once('=')
            .ok_or_else(|| Failure::new("invalid filter '".to_owned() + filter + "'"))?;
        filters
            .entry(name.trim().to_lowercase())
            .or_default()
            .push(value.trim().to_owned());
    }
    Ok(filters)
}

/// The filters of a prune: those typed and those of the configuration that do not contradict them.
pub(crate) fn prune_filters(
    cli: &Cli,
    typed: &[String],
) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let mut all = filters(typed)?;
    let typed = all.clone();
    for (name, values) in filters(cli.config().prune_filters())? {
        let against = match name.as_str() {
            "label" => typed.get("label!"),
            "label!" => typed.get("label"),
            _ => None,
        };
        let contradicted = |value: &String| against.is_some_and(|typed| typed.contains(value));
        let kept = values.into_iter().filter(|value| !contradicted(value));
        all.entry(name).or_default().extend(kept);
    }
    all.retain(|_, values| !values.is_empty());
    Ok(all)
}

fn check_filter(text: &str) -> Result<(), String> {
    if text.contains('=') {
        Ok(())
    } else {
        Err("bad format of filter (expected name=value)".to_owned())
    }
}

/// Asks before something cannot be undone.
pub(crate) fn confirm(warning: &str) -> bool {
    crate::print(&format!(
        "{warning}\nAre you sure you want to continue? [y/N] "
    ));
    let mut answer = String::new();
    // Without an answer the answer is no.
    let _ = io::stdin().lock().read_line(&mut answer);
    answer.trim().eq_ignore_ascii_case("y")
}

/// The last line of every prune.
pub(crate) fn reclaimed(bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
    let space = human_size(bytes as f64, 4);
    crate::print(&format!("Total reclaimed space: {space}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_collected_by_name() {
        let typed = ["status=exited", "Status = created", "label=a=b"].map(str::to_owned);
        let filters = filters(&typed).unwrap();
        assert_eq!(filters["status"], ["exited", "created"]);
        assert_eq!(filters["label"], ["a=b"]);
        assert!(super::filters(&["x".to_owned()]).is_err());
    }
}
