//! Where in a document something is wrong: `process.args`, `mounts[2].options`.

/// What is open at a place: an object with the name that is being given a value, or a list.
enum Open {
    Object { name: String, named: bool },
    List(usize),
}

/// The path to a place, which is what serde_json tells: line from 1, bytes into it. A text that is no JSON
/// gives the path as far as it is.
pub(super) fn path(text: &[u8], line: usize, column: usize) -> String {
    let before: usize = text
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let end = before.saturating_add(column).min(text.len());
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    while at < end {
        match text[at] {
            b'"' => {
                let length = string(&text[at..end]);
                if let Some(Open::Object { name, named: false }) = open.last_mut() {
                    let word = text[at..at + length].trim_ascii_end();
                    let word = word.strip_prefix(b"\"").unwrap_or(word);
                    let word = word.strip_suffix(b"\"").unwrap_or(word);
                    *name = String::from_utf8_lossy(word).into_owned();
                }
                at += length;
                continue;
            }
            b'{' => open.push(Open::Object {
                name: String::new(),
                named: false,
            }),
            b'[' => open.push(Open::List(0)),
            b'}' | b']' => drop(open.pop()),
            b':' => {
                if let Some(Open::Object { named, .. }) = open.last_mut() {
                    *named = true;
                }
            }
            b',' => match open.last_mut() {
                Some(Open::Object { name, named }) => {
                    name.clear();
                    *named = false;
                }
                Some(Open::List(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    words(&open)
}

/// The length of the string that a text begins with, quotes included.
fn string(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn words(open: &[Open]) -> String {
    let mut path = String::new();
    for part in open {
        match part {
            Open::Object { name, named: true } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Open::Object { .. } => {}
            Open::List(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::path;
    use hull_spec::runtime::Spec;

    #[test]
    fn a_wrong_type_has_a_path() {
        for (text, said) in [
            (r#"{"process":{"terminal":"yes"}}"#, "process.terminal"),
            (r#"{"process":{"args":["a\"],:{",2]}}"#, "process.args[1]"),
            (
                "{\n \"mounts\": [{},\n {\"destination\":\"/\", \"options\": [1]}]}",
                "mounts[1].options[0]",
            ),
            (r#"{"linux":{"namespaces":{}}}"#, "linux.namespaces"),
            (r#"{"linux":{"sysctl":{"a.b":1}}}"#, "linux.sysctl.a.b"),
            ("{", ""),
            ("", ""),
            ("]]]", ""),
        ] {
            let error = serde_json::from_str::<Spec>(text).expect_err(text);
            let found = path(text.as_bytes(), error.line(), error.column());
            assert_eq!(found, said, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_and_no_place_is_too_strange(text: Vec<u8>, line in 0..5_usize, column in 0..100_usize) {
            let _ = path(&text, line, column);
        }
    }
}
