//! Numbers as Prometheus and OpenMetrics read them.

use std::fmt::Write as _;

/// Which of the two forms; they differ in the names of counters' families and in how they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Prometheus' text format 0.0.4, which dockerd writes.
    Plain,
    /// OpenMetrics 1.0.
    Open,
}

impl Form {
    /// What a client says that it reads (`Accept`).
    pub(crate) fn of(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::Open,
            false => Self::Plain,
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A page that is being written.
#[derive(Debug)]
pub(crate) struct Page {
    form: Form,
    text: String,
    family: &'static str,
}

impl Page {
    pub(crate) fn new(form: Form) -> Self {
        Self {
            form,
            text: String::new(),
            family: "",
        }
    }

    /// Begins a family: its samples follow.
    pub(crate) fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        let shown = match (self.form, kind) {
            (Form::Open, "counter") => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        // No help of ours has a backslash or a newline.
        let _ = writeln!(self.text, "# HELP {shown} {help}\n# TYPE {shown} {kind}");
    }

    /// A sample of the family.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, value);
    }

    /// A family with one sample and no labels.
    pub(crate) fn single(&mut self, name: &'static str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// A sample whose name is the family's and `suffix`.
    pub(crate) fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (at, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"", if at == 0 { '{' } else { ',' });
            escape(value, &mut self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    pub(crate) fn finish(mut self) -> String {
        if self.form == Form::Open {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

fn escape(value: &str, into: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            character => into.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_written() {
        let write = |form| {
            let mut page = Page::new(form);
            page.family("a_total", "counter", "What is counted");
            page.sample(&[("x", "q\"\\\n"), ("y", "")], 1.5);
            page.single("b", "gauge", "What there is", 12_000_000_000.0);
            page.finish()
        };
        assert_eq!(
            write(Form::Plain),
            "# HELP a_total What is counted\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n\",y=\"\"} 1.5\n# HELP b What there is\n# TYPE b gauge\nb 12000000000\n"
        );
        assert_eq!(
            write(Form::Open),
            "# HELP a What is counted\n# TYPE a counter\na_total{x=\"q\\\"\\\\\\n\",y=\"\"} 1.5\n# HELP b What there is\n# TYPE b gauge\nb 12000000000\n# EOF\n"
        );
        assert_eq!(
            Form::of("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"),
            Form::Open
        );
        assert_eq!(Form::of("*/*"), Form::Plain);
    }
}
