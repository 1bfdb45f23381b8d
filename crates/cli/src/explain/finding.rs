//! What an explanation is made of.

use serde::Serialize;

/// One reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Finding {
    /// A sentence for people.
    pub(super) what: String,
    /// By what it is known, or which setting decides.
    pub(super) rule: String,
    /// What can be done, most useful first.
    pub(super) fixes: Vec<String>,
}

impl Finding {
    pub(super) fn new(what: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            rule: rule.into(),
            fixes: Vec::new(),
        }
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fixes.push(fix.into());
        self
    }
}

/// Why a container is as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Explanation {
    pub(super) container: String,
    /// Its state in a sentence.
    pub(super) state: String,
    pub(super) findings: Vec<Finding>,
    /// The last lines it wrote, where they may help.
    pub(super) log: Vec<String>,
}

/// The widest line.
const COLUMNS: usize = 80;

impl Explanation {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = format!("{} {}\n", self.container, self.state);
        for finding in &self.findings {
            out.push('\n');
            paragraph(&mut out, "  ", "  ", &finding.what);
            if !finding.rule.is_empty() {
                paragraph(&mut out, "    why  ", "         ", &finding.rule);
            }
            for fix in &finding.fixes {
                paragraph(&mut out, "    do   ", "         ", fix);
            }
        }
        if !self.log.is_empty() {
            out.push_str("\n  Its last lines:\n");
            for line in &self.log {
                out.push_str("    ");
                out.push_str(line);
                out.push('\n');
            }
        }
        out
    }
}

/// Characters of one text, which may be a line of a log.
const MAX_TEXT: usize = 600;

fn paragraph(out: &mut String, first: &str, then: &str, text: &str) {
    let mut line = first.to_owned();
    let mut empty = true;
    // Parts of it are what strangers wrote.
    let plain = |char: char| if char.is_control() { ' ' } else { char };
    let text: String = text.chars().take(MAX_TEXT).map(plain).collect();
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            out.push_str(&line);
            out.push('\n');
            then.clone_into(&mut line);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(&line);
    out.push('\n');
}

/// A line of a log as it may be shown: nothing in it steers the terminal.
pub(super) fn harmless(line: &str) -> String {
    let plain = |char: char| if char == '\t' { ' ' } else { char };
    let text: String = line
        .chars()
        .map(plain)
        .filter(|char| !char.is_control())
        .collect();
    crate::format::ellipsis(&text, COLUMNS - 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_wrapped() {
        let what = "The kernel killed a process of it, since all together they needed more memory than the limit allows.";
        let explanation = Explanation {
            container: "web".to_owned(),
            state: "ended with code 137".to_owned(),
            findings: vec![
                Finding::new(what, "the limit\u{7} is\n64MiB").fix("hull update -m 128m web"),
            ],
            log: vec![harmless("\x1b[31mred\tline\r")],
        };
        assert_eq!(
            explanation.text(),
            "web ended with code 137

  The kernel killed a process of it, since all together they needed more memory
  than the limit allows.
    why  the limit is 64MiB
    do   hull update -m 128m web

  Its last lines:
    [31mred line
"
        );
    }
}
