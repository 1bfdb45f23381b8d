//! The part of Go's `text/template` that people use with `--format`: fields, pipes, variables,
//! `range`, `if`, `with`, comparisons, and Docker's functions (`json`, `join`, `lower`, …).
//!
//! ```text
//! text ─ parse ─► nodes ─ eval(data) ─► text
//! ```

mod data;
mod eval;
mod functions;
mod parse;

pub(crate) use data::{Data, Record};

use parse::Node;

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// Why a template cannot be used; the texts are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("template: :{line}: {message}")]
    Parse { line: usize, message: String },
    #[error("template: :{line}:{column}: executing \"\" at <{node}>: {message}")]
    Execute {
        line: usize,
        column: usize,
        node: String,
        message: String,
    },
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            nodes: parse::parse(text)?,
        })
    }

    /// Fills it in.
    pub(crate) fn render(&self, data: &Data) -> Result<String, TemplateError> {
        eval::Evaluator::new(data, false).run(&self.nodes)
    }

    /// Fills it in with the headings of a table: functions leave their argument as it is.
    pub(crate) fn render_header(&self, headings: &Data) -> Result<String, TemplateError> {
        eval::Evaluator::new(headings, true).run(&self.nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> String {
        let data: Data = serde_json::from_str(
            r#"{"Id":"abc","Name":"/web","State":{"Running":true,"Pid":42,"Health":null},
                "Config":{"Labels":{"b.c":"2","a":"1"},"Env":["A=1","B=2"],"Cmd":[]},
                "Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]},"Size":12345678901}"#,
        )
        .unwrap();
        match Template::parse(template).and_then(|template| template.render(&data)) {
            Ok(text) => text,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn templates_give_what_go_gives() {
        for (template, text) in [
            ("{{.Id}}", "abc"),
            ("a{{ .State.Pid }}b", "a42b"),
            ("{{.State.Running}} {{.Size}}", "true 12345678901"),
            (
                "{{json .State}}",
                r#"{"Running":true,"Pid":42,"Health":null}"#,
            ),
            ("{{.Config.Env}}", "[A=1 B=2]"),
            ("{{.Config.Labels}}", "map[a:1 b.c:2]"),
            ("{{index .Config.Labels \"b.c\"}}", "2"),
            ("{{index .Config.Labels \"none\"}}|", "|"),
            ("{{index .Config.Env 1}}", "B=2"),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{join .Config.Env \",\"}}", "A=1,B=2"),
            ("{{range .Config.Env}}{{.}};{{end}}", "A=1;B=2;"),
            (
                "{{range $i, $e := .Config.Env}}{{$i}}={{$e}} {{end}}",
                "0=A=1 1=B=2 ",
            ),
            (
                "{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}",
                "a:1 b.c:2 ",
            ),
            ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
            ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
            (
                "{{if not .State.Running}}a{{else if eq .Id \"abc\"}}b{{else}}c{{end}}",
                "b",
            ),
            ("{{with .State}}{{.Pid}} {{$.Id}}{{end}}", "42 abc"),
            ("{{.Name | upper | printf \"<%s>\"}}", "</WEB>"),
            (
                "{{printf \"%5d|%-5s|%q|%v\" .State.Pid .Id .Id .Config.Env}}",
                "   42|abc  |\"abc\"|[A=1 B=2]",
            ),
            ("{{println \"a\" 1}}", "a 1\n"),
            ("{{len .Config.Env}} {{len .Id}}", "2 3"),
        ] {
            assert_eq!(render(template), text, "{template}");
        }
    }

    #[test]
    fn functions_variables_and_space_as_in_go() {
        for (template, text) in [
            (
                "{{and .State.Running .Id}} {{or .State.Health \"x\"}}",
                "abc x",
            ),
            (
                "{{eq .State.Pid 42}} {{ne .Id \"abc\"}} {{lt 1 2}} {{ge 1 2}}",
                "true false true false",
            ),
            ("a {{- .Id -}} b", "aabcb"),
            ("{{/* nothing */}}x", "x"),
            ("{{$x := .Id}}{{$x}}{{$x = \"y\"}}{{$x}}", "abcy"),
            ("{{`raw \\n`}}{{\"tab\\t\"}}", "raw \\ntab\t"),
            (
                "{{title \"hello world\"}} {{pad \"x\" 1 2}}|",
                "Hello World  x  |",
            ),
            (
                "{{split \"a,b\" \",\"}} {{truncate \"abcdef\" 3}}",
                "[a b] abc",
            ),
            ("{{slice .Id 1 2}}", "b"),
            ("{{.State.Health}}", "<nil>"),
            (
                "{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}",
                "A=1,B=2",
            ),
            (
                "{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}",
                "A=1",
            ),
        ] {
            assert_eq!(render(template), text, "{template}");
        }
    }

    #[test]
    fn errors_are_gos() {
        for (template, error) in [
            ("{{.Foo", "template: :1: unclosed action"),
            ("{{if .Id}}", "template: :1: unexpected EOF"),
            ("{{end}}", "template: :1: unexpected {{end}}"),
            (
                "{{nosuch .Id}}",
                "template: :1: function \"nosuch\" not defined",
            ),
            (
                "x {{.State.Foo}}",
                "template: :1:10: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\"",
            ),
            ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ] {
            assert_eq!(render(template), error, "{template}");
        }
    }
}
