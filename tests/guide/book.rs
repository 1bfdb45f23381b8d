//! What the chapters tell a reader to do.

use std::path::{Path, PathBuf};

/// One page of the book, or the README.
pub(crate) struct Chapter {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// Something that a page tells its reader to do.
pub(crate) enum Step {
    File { name: String, text: String },
    Skipped { line: usize, reason: String },
    Command(Command),
}

/// A command and what the page shows of it.
#[derive(Debug, Default)]
pub(crate) struct Command {
    /// Where it stands, from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
    /// What is shown below it.
    pub(crate) output: Vec<String>,
    pub(crate) code: i32,
    /// What must be on the machine.
    pub(crate) needs: Vec<String>,
    /// What a terminal shows, and what is typed then; without any it runs without a terminal.
    pub(crate) typed: Vec<(String, String)>,
    /// It is asked again until it prints what is shown: people type more slowly than programs begin.
    pub(crate) again: bool,
}

/// What comments say of the block below them.
#[derive(Default)]
struct Remarks {
    file: Option<String>,
    not_run: Option<String>,
    needs: Vec<String>,
    code: i32,
    typed: Vec<(String, String)>,
    again: bool,
}

impl Remarks {
    fn add(&mut self, place: &str, remark: &str) {
        let (word, value) = remark.split_once(": ").unwrap_or((remark, ""));
        let value = value.trim();
        match word {
            "file" => self.file = Some(value.to_owned()),
            "not run" => self.not_run = Some(value.to_owned()),
            "needs" => self.needs.push(value.to_owned()),
            "ends with" => self.code = value.parse().expect("an exit code"),
            "again" => self.again = true,
            "terminal" => {
                let pair: (String, String) =
                    serde_json::from_str(value).unwrap_or_else(|error| panic!("{place}: {error}"));
                self.typed.push(pair);
            }
            _ => panic!("{place}: nobody knows the comment {remark:?}"),
        }
    }
}

/// The README and the chapters, in the order of the summary.
pub(crate) fn chapters(root: &Path) -> Vec<Chapter> {
    pages(root)
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = fs_err::read_to_string(path).expect("a page");
            Chapter {
                steps: read(&name, &text),
                name: name.into_owned(),
            }
        })
        .collect()
}

fn pages(root: &Path) -> Vec<PathBuf> {
    let book = root.join("docs/guide/src");
    let summary = fs_err::read_to_string(book.join("SUMMARY.md")).expect("the summary");
    let chapters = links(&summary).into_iter().map(|link| book.join(link));
    [root.join("README.md")]
        .into_iter()
        .chain(chapters)
        .collect()
}

/// What a page tells its reader to do, in order.
fn read(name: &str, text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut remarks = Remarks::default();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let place = format!("{name}:{}", number + 1);
        let trimmed = line.trim();
        if let Some(remark) = trimmed
            .strip_prefix("<!--")
            .and_then(|rest| rest.strip_suffix("-->"))
        {
            remarks.add(&place, remark.trim());
            continue;
        }
        let Some(language) = trimmed.strip_prefix("```") else {
            continue;
        };
        let block: Vec<(usize, &str)> = lines
            .by_ref()
            .map(|(number, line)| (number + 1, line))
            .take_while(|(_, line)| line.trim() != "```")
            .collect();
        steps.extend(block_steps(
            &place,
            language,
            &block,
            std::mem::take(&mut remarks),
        ));
    }
    steps
}

fn block_steps(
    place: &str,
    language: &str,
    block: &[(usize, &str)],
    remarks: Remarks,
) -> Vec<Step> {
    if let Some(name) = remarks.file {
        let text = block.iter().map(|(_, line)| format!("{line}\n")).collect();
        return vec![Step::File { name, text }];
    }
    if language != "console" {
        let shown = matches!(language, "sh" | "bash" | "shell");
        assert!(
            !shown,
            "{place}: commands stand in `console` blocks, where they are run"
        );
        return Vec::new();
    }
    if let Some(reason) = remarks.not_run {
        assert!(!reason.is_empty(), "{place}: not run, and why?");
        let line = block.first().map_or(0, |(line, _)| *line);
        return vec![Step::Skipped { line, reason }];
    }
    let mut commands = commands(place, block);
    if let Some(last) = commands.last_mut() {
        last.code = remarks.code;
        last.typed = remarks.typed;
    }
    for command in &mut commands {
        command.needs.clone_from(&remarks.needs);
        command.again = remarks.again;
    }
    commands.into_iter().map(Step::Command).collect()
}

fn commands(place: &str, block: &[(usize, &str)]) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut lines = block.iter();
    while let Some((number, line)) = lines.next() {
        let Some(first) = line.strip_prefix("$ ") else {
            let last = commands.last_mut();
            let last = last.unwrap_or_else(|| panic!("{place}: output without a command"));
            last.output.push((*line).to_owned());
            continue;
        };
        let mut text = first.to_owned();
        // Goes on behind a backslash, and to the end of a here-document.
        while text.ends_with('\\') {
            let (_, more) = lines
                .next()
                .unwrap_or_else(|| panic!("{place}: a command ends in `\\`"));
            text = format!("{text}\n{more}");
        }
        if let Some((_, end)) = first.split_once("<<") {
            let end = end.split_whitespace().next().unwrap_or_default();
            let end = end.trim_matches('\'').to_owned();
            for (_, more) in lines.by_ref() {
                text = format!("{text}\n{more}");
                if *more == end {
                    break;
                }
            }
        }
        commands.push(Command {
            line: *number,
            text,
            ..Command::default()
        });
    }
    commands
}

/// Where the links of a page lead, but for those to the web.
fn links(text: &str) -> Vec<String> {
    let mut rest = text;
    let mut links = Vec::new();
    while let Some((_, behind)) = rest.split_once("](") {
        let (link, behind) = behind.split_once(')').unwrap_or((behind, ""));
        rest = behind;
        if !link.starts_with("http") {
            links.push(link.to_owned());
        }
    }
    links
}

/// Links of the pages to files or headings that are not there, and pages that the summary does not have.
pub(crate) fn broken_links(root: &Path) -> Vec<String> {
    let pages = pages(root);
    let mut wrong = Vec::new();
    for page in &pages {
        let text = fs_err::read_to_string(page).expect("a page of the summary");
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().expect("a directory").join(file),
            };
            let there = if heading.is_empty() {
                target.exists()
            } else {
                fs_err::read_to_string(&target).is_ok_and(|text| has_heading(&text, heading))
            };
            if !there {
                wrong.push(format!("{}: {link} leads nowhere", page.display()));
            }
        }
        for line in text.lines() {
            let included = line.trim().strip_prefix("{{#include ");
            let Some(included) = included.and_then(|line| line.strip_suffix("}}")) else {
                continue;
            };
            if !page.parent().expect("a directory").join(included).exists() {
                wrong.push(format!("{}: {included} is not there", page.display()));
            }
        }
    }
    for entry in fs_err::read_dir(root.join("docs/guide/src")).expect("the book") {
        let path = entry.expect("an entry").path();
        let page = path.extension().is_some_and(|kind| kind == "md");
        if page && !path.ends_with("SUMMARY.md") && !pages.contains(&path) {
            wrong.push(format!("{} is not in the summary", path.display()));
        }
    }
    wrong
}

/// Whether a heading gets this name, as mdBook and the forges name them.
fn has_heading(text: &str, name: &str) -> bool {
    let named = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| named(line) == name)
}

/// What this reader reads.
pub(crate) fn tests() {
    let text = "# A\n<!-- ends with: 3 -->\n```console\n$ a \\\n  b\none\n$ cat >f <<'E'\nx\nE\n```\n<!-- file: f -->\n```yaml\nx: 1\n```\n<!-- not run: why -->\n```console\n$ c\n```\n";
    let steps = read("a", text);
    assert!(
        matches!(&steps[0], Step::Command(c) if c.text == "a \\\n  b" && c.output == ["one"] && c.line == 4 && c.code == 0)
    );
    assert!(matches!(&steps[1], Step::Command(c) if c.text == "cat >f <<'E'\nx\nE" && c.code == 3));
    assert!(matches!(&steps[2], Step::File { name, text } if name == "f" && text == "x: 1\n"));
    assert!(matches!(&steps[3], Step::Skipped { reason, .. } if reason == "why"));
    assert!(has_heading(
        "## What differs, and why\n",
        "what-differs-and-why"
    ));
    assert_eq!(
        links("[a](b.md#c) [d](https://e) ![f](g.png)"),
        ["b.md#c", "g.png"]
    );
}
