use super::*;
use proptest::prelude::*;

fn env() -> Environment {
    [
        ("PWD", "/home"),
        ("SHELL", "bash"),
        ("KOREAN", "한국어"),
        ("NULL", ""),
        ("P", "a/b/c.tar.gz"),
        ("STAR", "a*b"),
    ]
    .into_iter()
    .collect()
}

fn expand(word: &str) -> Result<String, String> {
    let expansion = Shell::new('\\').expand(word, &env());
    expansion.map(|e| e.text).map_err(|e| e.message)
}

#[test]
fn every_form_of_a_variable() {
    for (word, expected) in [
        ("hello", "hello"),
        ("he'll'o", "hello"),
        ("he\"ll\"o", "hello"),
        ("he\\'llo", "he'llo"),
        ("he\\\"llo", "he\"llo"),
        ("he'\"'llo", "he\"llo"),
        ("he\"'\"llo", "he'llo"),
        ("'$PWD'", "$PWD"),
        ("\"$PWD\"", "/home"),
        ("\"\\$PWD\"", "$PWD"),
        ("\"a\\b\"", "a\\b"),
        ("\"a\\\\b\"", "a\\b"),
        ("\\$PWD", "$PWD"),
        ("\\\\$PWD", "\\/home"),
        ("a\\", "a"),
        ("$", "$"),
        ("$ ", "$ "),
        ("$PWD$SHELL", "/homebash"),
        ("${PWD}x", "/homex"),
        ("$PWDx", ""),
        ("$1a", "a"),
        ("$@x$*x$#x$?x$-x$!x$$x", "xxxxxxx"),
        ("$한", ""),
        ("$KOREAN", "한국어"),
        ("${KOREAN:-x}", "한국어"),
        ("${NONE:-x}", "x"),
        ("${NONE-x}", "x"),
        ("${NULL:-x}", "x"),
        ("${NULL-x}", ""),
        ("${PWD:-x}", "/home"),
        ("${NONE:+x}", ""),
        ("${NONE+x}", ""),
        ("${NULL:+x}", ""),
        ("${NULL+x}", "x"),
        ("${PWD:+x}", "x"),
        ("${PWD:?x}", "/home"),
        ("${NULL?x}", ""),
        ("${NONE:-${PWD}}", "/home"),
        ("${NONE:-a${NULL:-${SHELL}}b}", "abashb"),
        ("${NONE:-'a b'}", "a b"),
        ("${NONE:-\\}}", "}"),
        ("${NONE:-}", ""),
        ("${P#a/}", "b/c.tar.gz"),
        ("${P#*/}", "b/c.tar.gz"),
        ("${P##*/}", "c.tar.gz"),
        ("${P%.*}", "a/b/c.tar"),
        ("${P%%.*}", "a/b/c"),
        ("${P%/*}", "a/b"),
        ("${P#?}", "/b/c.tar.gz"),
        ("${P#x}", "a/b/c.tar.gz"),
        ("${STAR#a\\*}", "b"),
        ("${STAR%\\*b}", "a"),
        ("${P/a/X}", "X/b/c.tar.gz"),
        ("${P//a/X}", "X/b/c.tXr.gz"),
        ("${P//\\//-}", "a-b-c.tar.gz"),
        ("${P/?ar/}", "a/b/c..gz"),
        ("${P//./$SHELL}", "a/b/cbashtarbashgz"),
        ("${NONE/a/b}", ""),
        ("a<<b", "a<<b"),
        ("a < b", "a < b"),
    ] {
        assert_eq!(expand(word).as_deref(), Ok(expected), "{word:?}");
    }
}

#[test]
fn mistakes_are_told_in_buildkits_words() {
    for (word, why) in [
        (
            "'a",
            "unexpected end of statement while looking for matching single-quote",
        ),
        (
            "\"a",
            "unexpected end of statement while looking for matching double-quote",
        ),
        ("${", "syntax error: missing '}'"),
        ("${PWD", "unsupported modifier (\u{fffd}) in substitution"),
        ("${PWD:-a", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${{PWD}}", "syntax error: bad substitution"),
        ("${:}", "syntax error: bad substitution"),
        ("${PWD:x}", "unsupported modifier (:x) in substitution"),
        ("${PWD:#x}", "unsupported modifier (:#) in substitution"),
        ("${PWD^^}", "unsupported modifier (^) in substitution"),
        ("${PWD/a}", "syntax error: missing '/' in ${}"),
        ("${PWD/a/b", "syntax error: missing '}'"),
        ("${NONE?}", "NONE: is not allowed to be unset"),
        ("${NONE:?give me}", "NONE: give me"),
        ("${NULL:?}", "NULL: is not allowed to be empty"),
        (
            "${P#\\a}",
            "invalid pattern (\\a) in substitution: invalid escape '\\a'",
        ),
    ] {
        let expected = format!("failed to process {word:?}: {why}");
        assert_eq!(expand(word), Err(expected), "{word:?}");
    }
}

#[test]
fn words_end_at_spaces_that_are_not_quoted() {
    let shell = Shell::new('\\');
    for (text, expected) in [
        ("a b  c", vec!["a", "b", "c"]),
        ("  a\tb ", vec!["a", "b"]),
        ("'a b' c", vec!["a b", "c"]),
        ("a\" b\"c d", vec!["a bc", "d"]),
        ("a\\ b", vec!["a b"]),
        ("$TWO", vec!["x", "y"]),
        ("\"$TWO\"", vec!["x y"]),
        ("a$TWO", vec!["ax", "y"]),
        ("''", vec![]),
        ("<< EOF x", vec!["<< EOF", "x"]),
    ] {
        let env: Environment = [("TWO", "x y")].into_iter().collect();
        assert_eq!(shell.split(text, &env).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn quotes_escapes_and_unset_variables_can_stay() {
    let raw = Shell {
        raw_quotes: true,
        raw_escapes: true,
        keep_unset: true,
        ..Shell::new('\\')
    };
    for word in [
        "a 'b' \"c\"",
        "\\a",
        "$NONE",
        "${NONE}",
        "${NONE:-a}",
        "${NONE:0:3}",
        "${NONE#a}",
        "${NONE/a/b}",
    ] {
        assert_eq!(raw.expand(word, &env()).unwrap().text, word);
    }
    let plain = Shell {
        no_quotes: true,
        ..Shell::new('\\')
    };
    let text = plain.expand("it's \"$PWD\"", &env()).unwrap().text;
    assert_eq!(text, "it's \"/home\"");
    let windows = Shell::new('`');
    assert_eq!(
        windows.expand("C:\\a`$PWD", &env()).unwrap().text,
        "C:\\a$PWD"
    );
}

#[test]
fn what_was_looked_for_is_known() {
    let found = Shell::new('\\')
        .expand("$PWD ${NONE:-$SHELL} $X", &env())
        .unwrap();
    assert_eq!(
        found.matched.into_iter().collect::<Vec<_>>(),
        ["PWD", "SHELL"]
    );
    assert_eq!(
        found.unmatched.into_iter().collect::<Vec<_>>(),
        ["NONE", "X"]
    );
}

#[test]
fn little_does_not_become_much() {
    let mut env = Environment::new();
    env.set("a", "x".repeat(1 << 20));
    let refused = Shell::new('\\').expand(&"$a".repeat(17), &env).unwrap_err();
    assert!(
        refused
            .message
            .ends_with("the result is larger than 16 MiB")
    );
    let deep = "${x:-".repeat(5000);
    let refused = Shell::new('\\').expand(&deep, &env).unwrap_err();
    assert!(
        refused.message.contains("nested more than 64 deep"),
        "{refused}"
    );
    let all = format!("${{a//x/{}}}", "y".repeat(100));
    assert!(Shell::new('\\').expand(&all, &env).is_err());
}

#[test]
fn a_variable_set_again_is_the_last() {
    let mut env: Environment = [("a", "1"), ("b", "2")].into_iter().collect();
    env.set("a", "3");
    assert_eq!(env.to_list(), ["b=2", "a=3"]);
    assert_eq!(env.names(), ["b", "a"]);
    assert_eq!(env.get("a"), Some("3"));
}

proptest! {
    #[test]
    fn text_without_signs_stays_as_it_is(text in "[a-zA-Z0-9_./:= -]{0,40}") {
        prop_assert_eq!(expand(&text).unwrap(), text);
    }

    #[test]
    fn whatever_is_quoted_stays_as_it_is(text in "[^'\u{0}]{0,40}") {
        prop_assert_eq!(expand(&format!("'{text}'")).unwrap(), text);
    }

    #[test]
    fn any_word_is_read_or_refused(text in r#"[a-c${}:/#%?+*'"\\<> -]{0,40}"#) {
        let shell = Shell::new('\\');
        if let Ok(found) = shell.expand(&text, &env()) {
            prop_assert!(found.words.iter().map(String::len).sum::<usize>() <= found.text.len());
        }
    }
}
