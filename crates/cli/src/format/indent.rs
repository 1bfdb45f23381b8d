//! Re-spacing JSON text without touching its tokens: what the daemon escaped stays escaped, numbers
//! keep their digits and members their order.

/// Indents by four spaces, as `docker inspect` does; empty objects and lists stay on one line.
pub(crate) fn indent(json: &str) -> String {
    indent_by(json, "    ")
}

/// Indents by `step`.
pub(crate) fn indent_by(json: &str, step: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut fresh = false;
    for token in tokens(json) {
        let closes = matches!(token, "}" | "]");
        if closes {
            depth -= 1;
        }
        if fresh != closes {
            // The first element after an opening bracket, or a closing one after elements.
            new_line(depth, step, &mut out);
        }
        fresh = matches!(token, "{" | "[");
        out.push_str(token);
        match token {
            "{" | "[" => depth += 1,
            "," => new_line(depth, step, &mut out),
            ":" => out.push(' '),
            _ => {}
        }
    }
    out
}

/// Removes all space between tokens.
pub(crate) fn compact(json: &str) -> String {
    tokens(json).collect()
}

fn new_line(depth: usize, step: &str, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(step, depth));
}

/// Brackets, commas, colons, strings with their quotes, and bare words.
fn tokens(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json.trim_start();
    std::iter::from_fn(move || {
        let first = rest.bytes().next()?;
        let len = match first {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => string_len(rest),
            _ => rest
                .find(|c: char| c.is_ascii_whitespace() || ",:[]{}\"".contains(c))
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(len);
        rest = after.trim_start();
        Some(token)
    })
}

fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_docker_inspect_prints() {
        let json = r#"[{"A":[],"B":{},"C":[1,"x\"}\u003c"],"D":{"E":null}}]"#;
        let printed = "[\n    {\n        \"A\": [],\n        \"B\": {},\n        \"C\": [\n            1,\n            \"x\\\"}\\u003c\"\n        ],\n        \"D\": {\n            \"E\": null\n        }\n    }\n]";
        assert_eq!(indent(json), printed);
        assert_eq!(compact(printed), json);
        assert_eq!(indent("[]"), "[]");
    }

    proptest! {
        #[test]
        fn indenting_changes_only_space(keys in prop::collection::vec("[ -~]{0,6}", 0..6)) {
            let value = serde_json::json!({"k": keys, "o": {"a": keys, "e": {}}});
            let text = value.to_string();
            prop_assert_eq!(compact(&indent(&text)), text);
        }
    }
}
