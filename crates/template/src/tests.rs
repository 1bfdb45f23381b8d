//! What Go's own gives for the same templates, as recorded from the real `docker` (tests/command_line) and from Go's documents.

use crate::{Data, Record, Template};
use proptest::prelude::*;

fn data() -> Data {
    serde_json::from_str(
        r#"{"Id":"abc","Name":"/web","State":{"Running":true,"Pid":42,"Health":null},
            "Config":{"Labels":{"b.c":"2","a":"1"},"Env":["A=1","B=2"],"Cmd":[]},
            "Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]},"Size":12345678901}"#,
    )
    .unwrap()
}

fn executing(what: &str) -> String {
    format!("template: :1:{what}")
}

fn render(template: &str) -> String {
    match Template::parse(template).and_then(|template| template.render(&data())) {
        Ok(text) => text,
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn all_give(cases: &[(&str, &str)]) {
    for (template, text) in cases {
        assert_eq!(render(template), *text, "{template}");
    }
}

#[test]
fn templates_give_what_go_gives() {
    all_give(&[
        ("{{.Id}}", "abc"),
        ("a{{ .State.Pid }}b", "a42b"),
        ("{{.State.Running}} {{.Size}}", "true 12345678901"),
        (
            "{{json .State}}",
            r#"{"Running":true,"Pid":42,"Health":null}"#,
        ),
        (
            "{{.Config.Env}} {{.Config.Labels}}",
            "[A=1 B=2] map[a:1 b.c:2]",
        ),
        (
            "{{index .Config.Labels \"b.c\"}}{{index .Config.Labels \"none\"}}|",
            "2|",
        ),
        ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
        (
            "{{join .Config.Env \",\"}} {{index .Config.Env 1}}",
            "A=1,B=2 B=2",
        ),
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
        ("{{range $e := .Config.Env}}{{$e}}{{end}}", "A=1B=2"),
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        (
            "{{if not .State.Running}}a{{else if eq .Id \"abc\"}}b{{else}}c{{end}}",
            "b",
        ),
    ]);
}

#[test]
fn blocks_and_templates_give_what_go_gives() {
    all_give(&[
        (
            "{{with .State.Health}}a{{else with .State}}{{.Pid}}{{end}}",
            "42",
        ),
        ("{{with .State}}{{.Pid}} {{$.Id}}{{end}}", "42 abc"),
        ("{{with $x := .State}}{{$x.Pid}}{{end}}", "42"),
        ("{{.Name | upper | printf \"<%s>\"}}", "</WEB>"),
        ("{{println \"a\" 1}}", "a 1\n"),
        (
            "{{len .Config.Env}} {{len .Id}} {{.Id | len | printf \"%03d\"}}",
            "2 3 003",
        ),
        ("{{range 3}}{{.}}{{end}}", "012"),
        (
            "{{define \"T\"}}<{{.}}>{{end}}{{template \"T\" .Name}}{{block \"B\" .Id}}[{{.}}]{{end}}",
            "</web>[abc]",
        ),
        (
            "{{template \"T\"}}{{define \"T\"}}{{.}}{{end}}",
            "<no value>",
        ),
    ]);
}

#[test]
fn functions_variables_and_space_as_in_go() {
    all_give(&[
        (
            "{{and .State.Running .Id}} {{or .State.Health \"x\"}}",
            "abc x",
        ),
        (
            "{{and false (index .Config.Env 9)}} {{or 1 .Nosuch}}",
            "false 1",
        ),
        (
            "{{eq .State.Pid 42}} {{ne .Id \"abc\"}} {{lt 1 2}} {{ge 1 2}}",
            "true false true false",
        ),
        (
            "{{eq 1 2 1}} {{eq .State.Health nil}} {{lt \"a\" \"b\"}} {{lt 1.5 2.5}}",
            "true true true true",
        ),
        ("a {{- .Id -}} b", "aabcb"),
        ("a {{- \" b \" -}} c{{/* x */}}{{- /* y */ -}} d", "a b cd"),
        ("{{$x := .Id}}{{$x}}{{$x = \"y\"}}{{$x}}", "abcy"),
        (
            "{{$x := 1}}{{if true}}{{$x = 2}}{{$x := 3}}{{end}}{{$x}}",
            "2",
        ),
        (
            "{{`raw \\n`}}{{\"tab\\t\\u00e9\\x41\\101\"}}",
            "raw \\ntab\té\u{41}A",
        ),
        (
            "{{title \"hello world-wide\"}} {{pad \"x\" 1 2}}|",
            "Hello World-Wide  x  |",
        ),
        (
            "{{split \"a,b\" \",\"}} {{truncate \"abcdef\" 3}} {{slice .Id 1 2}}",
            "[a b] abc b",
        ),
    ]);
}

#[test]
fn pieces_loops_and_numbers_as_in_go() {
    all_give(&[
        ("{{slice .Config.Env 1}} {{index \"abc\" 1}}", "[B=2] 98"),
        ("{{.State.Health}}", "<nil>"),
        (
            "{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}",
            "A=1,B=2",
        ),
        (
            "{{range .Config.Env}}{{if eq . \"B=2\"}}{{break}}{{end}}{{.}}{{end}}",
            "A=1",
        ),
        (
            "{{range .Config.Env}}{{if eq . \"A=1\"}}{{continue}}{{end}}{{.}}{{end}}",
            "B=2",
        ),
        (
            "{{html \"<a href=\\\"x\\\">\"}} {{js \"it's <b>\"}} {{urlquery \"a b&c\"}}",
            "&lt;a href=&#34;x&#34;&gt; it\\'s \\u003Cb\\u003E a+b%26c",
        ),
        (
            "{{1.5}} {{1e3}} {{0x10}} {{'a'}} {{-3}} {{1_000}} {{1e21}} {{0.00001}}",
            "1.5 1000 16 97 -3 1000 1e+21 1e-05",
        ),
        ("{{print 1 2 \"a\" \"b\" 3 true nil}}", "1 2ab3 true <nil>"),
    ]);
}

#[test]
fn printf_has_gos_verbs() {
    all_give(&[
        (
            "{{printf \"%5d|%-5s|%q|%v\" .State.Pid .Id .Id .Config.Env}}",
            "   42|abc  |\"abc\"|[A=1 B=2]",
        ),
        (
            "{{printf \"%5d|%-5d|%05d %x %t %T\" 42 42 42 255 true 1}}",
            "   42|42   |00042 ff true int",
        ),
        (
            "{{printf \"%s\" 1}} {{printf \"%d\" \"x\"}} {{printf \"%d\"}} {{printf \"x\" 1}} {{printf \"%!\"}}",
            "%!s(int=1) %!d(string=x) %!d(MISSING) x%!(EXTRA int=1) %!!(MISSING)",
        ),
        (
            "{{printf \"%6.2f|%e|%g|%+d|%#x|%c|%U\" 3.14159 1500.0 0.5 7 255 65 8364}}",
            "  3.14|1.500000e+03|0.5|+7|0xff|A|U+20AC",
        ),
        (
            "{{printf \"%q %x %.2s %*d|\" .Config.Env \"hi\" \"abc\" 4 7}}",
            "[\"A=1\" \"B=2\"] 6869 ab    7|",
        ),
        ("{{printf \"100%%\"}}{{printf \"%\"}}", "100%%!(NOVERB)"),
    ]);
}

#[test]
fn what_cannot_be_read_is_told_as_by_go() {
    all_give(&[
        ("{{.Foo", "template: :1: unclosed action"),
        ("{{", "template: :1: unclosed action"),
        ("{{if .Id}}", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{else}}", "template: :1: unexpected {{else}}"),
        ("{{if}}x{{end}}", "template: :1: missing value for if"),
        ("{{}}", "template: :1: missing value for command"),
        (
            "a\n{{nosuch .Id}}",
            "template: :2: function \"nosuch\" not defined",
        ),
        ("{{$x}}", "template: :1: undefined variable \"$x\""),
        (
            "{{if true}}{{$x := 1}}{{end}}{{$x}}",
            "template: :1: undefined variable \"$x\"",
        ),
        (
            "{{\"unterminated}}",
            "template: :1: unterminated quoted string",
        ),
        (
            "{{1 | 2}}",
            "template: :1: non executable command in pipeline stage 2",
        ),
        ("{{break}}", "template: :1: {{break}} outside {{range}}"),
        ("{{/* x}}", "template: :1: unclosed comment"),
        ("{{(1}}", "template: :1: unclosed left paren"),
        ("{{1)}}", "template: :1: unexpected right paren"),
        ("{{12x}}", "template: :1: bad number syntax: \"12x\""),
        ("{{.Id!}}", "template: :1: bad character U+0021 '!'"),
        (
            "{{template 1}}",
            "template: :1: unexpected \"1\" in template clause",
        ),
        (
            "{{range $a, $b, $c := .}}{{end}}",
            "template: :1: too many declarations in range",
        ),
        (
            "{{with .}}{{else}}{{else}}{{end}}",
            "template: :1: expected end; found {{else}}",
        ),
    ]);
}

#[test]
fn what_cannot_be_filled_in_is_told_as_by_go() {
    for (template, error) in [
        (
            "x {{.State.Foo}}",
            "10: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\"",
        ),
        (
            "{{.Id.Foo}}",
            "5: executing \"\" at <.Id.Foo>: can't evaluate field Foo in type string",
        ),
        (
            "{{index .Config.Env 99}}",
            "2: executing \"\" at <index .Config.Env 99>: error calling index: index out of range: 99",
        ),
        (
            "{{template \"nosuch\"}}",
            "11: executing \"\" at <{{template \"nosuch\"}}>: template \"nosuch\" not defined",
        ),
        (
            "{{.Name \"x\"}}",
            "2: executing \"\" at <.Name>: Name is not a method but has arguments",
        ),
        (
            "{{index .Config.Labels 1}}",
            "2: executing \"\" at <index .Config.Labels 1>: error calling index: value has type int; should be string",
        ),
        (
            "{{len 3}}",
            "2: executing \"\" at <len 3>: error calling len: len of type int",
        ),
        (
            "{{range .Name}}{{.}}{{end}}",
            "8: executing \"\" at <.Name>: range can't iterate over /web",
        ),
    ] {
        assert_eq!(render(template), executing(error), "{template}");
    }
}

#[test]
fn calls_that_cannot_be_are_told_as_by_go() {
    for (template, error) in [
        (
            "{{upper 3}}",
            "8: executing \"\" at <3>: expected string; found 3",
        ),
        (
            "{{upper .State.Pid}}",
            "14: executing \"\" at <.State.Pid>: wrong type for value; expected string; got int",
        ),
        (
            "{{len}}",
            "2: executing \"\" at <len>: wrong number of args for len: want 1 got 0",
        ),
        (
            "{{nil}}",
            "2: executing \"\" at <nil>: nil is not a command",
        ),
        (
            "{{eq 1 \"a\"}}",
            "2: executing \"\" at <eq 1 \"a\">: error calling eq: incompatible types for comparison: int and string",
        ),
    ] {
        assert_eq!(render(template), executing(error), "{template}");
    }
    let endless = "{{define \"T\"}}{{template \"T\"}}{{end}}{{template \"T\"}}";
    assert!(render(endless).contains("exceeded maximum template depth"));
    let deep = "{{if 1}}".repeat(100_000);
    assert!(
        render(&deep).contains("too many blocks"),
        "{}",
        render(&deep)
    );
}

#[test]
fn rows_have_labels_and_headings() {
    let labels = [("a.b-c".to_owned(), "1".to_owned())];
    let labels = labels.iter().map(|(name, value)| (name, value));
    let row = Record::new("*T", vec![("B", "<b>".into()), ("A", "a".into())]).labels(labels);
    let row = Data::Record(row);
    let render = |template: &str| Template::parse(template).unwrap().render(&row);
    assert_eq!(
        render("{{json .}}").unwrap(),
        r#"{"A":"a","B":"\u003cb\u003e"}"#
    );
    assert_eq!(
        render("{{.A}}{{.Label \"a.b-c\"}}{{.Label \"x\"}}").unwrap(),
        "a1"
    );
    assert_eq!(
        render("{{.Nosuch}}").unwrap_err().to_string(),
        "template: :1:2: executing \"\" at <.Nosuch>: can't evaluate field Nosuch in type *T"
    );
    let heading = Template::parse("{{upper .A}}|{{.Label \"a.b-c\"}}|{{.Nosuch}}").unwrap();
    assert_eq!(heading.render_header(&row).unwrap(), "a|b c|<no value>");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\n{}|$.()\"`é]{0,80}") {
        let _ = Template::parse(&text);
        let _ = Template::parse(&text.replace('(', "{{").replace(')', "}}"));
    }

    #[test]
    fn any_pieces_are_filled_in_or_refused(pieces in proptest::collection::vec(
        prop::sample::select(vec![
            "{{", "}}", "{{- ", " -}}", " ", ".", ".Id", ".Config.Env", ".State", "$", "$x", ":=", "=", "|", "(", ")", "if",
            "else", "end", "range", "with", "break", "continue", "define", "template", "block", "\"T\"", "\"%5.1f\"", "index",
            "len", "printf", "slice", "eq", "and", "json", "1", "-2", "1.5", "nil", "true", "text", "\n",
        ]), 0..24,
    )) {
        if let Ok(template) = Template::parse(&pieces.concat()) {
            let _ = template.render(&data());
        }
    }

    #[test]
    fn text_without_actions_is_itself(text in "[^{]{0,80}") {
        prop_assert_eq!(Template::parse(&text).unwrap().render(&data()).unwrap(), text);
    }
}

#[test]
fn what_is_a_struct_to_docker_is_printed_as_one() {
    let members = vec![("HostPort".to_owned(), "80".into())];
    let binding = Data::Struct(members, &[("HostIp", ""), ("HostPort", "")]);
    let data = Data::Object(vec![("B".to_owned(), Data::List(vec![binding]))]);
    let shown = |text: &str| Template::parse(text).unwrap().render(&data).unwrap();
    assert_eq!(shown("{{.B}}"), "[{ 80}]");
    assert_eq!(shown("{{json .B}}"), r#"[{"HostPort":"80"}]"#);
    assert_eq!(shown("{{(index .B 0).HostPort}}"), "80");
    assert_eq!(
        shown(r#"{{range .B}}{{index . "HostPort"}}{{len .}}{{end}}"#),
        "801"
    );
}
