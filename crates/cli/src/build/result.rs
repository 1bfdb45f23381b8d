//! What is printed and written when a build is done.

use super::options::{Build, Call};
use crate::failure::{Failure, Outcome};
use crate::flags::Matches;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_api::build::Done;
use serde_json::{Map, Value};

/// The image's id, or of what has none its digest.
pub(super) fn id(done: &Done) -> Option<&str> {
    let of = |name: &str| done.response.get(name).map(String::as_str);
    of("containerimage.config.digest").or_else(|| of("containerimage.digest"))
}

/// Writes the files that were asked for, and prints what was.
///
/// # Errors
/// What could not be written; of a check what it found.
pub(super) fn tell(matches: &Matches, build: &Build, done: &Done) -> Outcome {
    if let Some((call, json)) = build.call {
        return answer(call, json, done);
    }
    let id = id(done);
    let file = matches.text("iidfile");
    if !file.is_empty() {
        let id =
            id.ok_or_else(|| Failure::new("there is no id to be written: no image was made"))?;
        fs_err::write(file, id)?;
    }
    let file = matches.text("metadata-file");
    if !file.is_empty() {
        let text = serde_json::to_vec_pretty(&metadata(done))
            .map_err(|error| Failure::new(format!("could not write {file}: {error}")))?;
        fs_err::write(file, text)?;
    }
    if matches.bool("quiet")
        && let Some(id) = id
    {
        crate::print(&format!("{id}\n"));
    }
    Ok(())
}

/// What exporters said; what of it is JSON in base64 becomes JSON, as buildx has it.
fn metadata(done: &Done) -> Value {
    let value = |text: &str| {
        let decoded = STANDARD.decode(text).ok()?;
        let value: Value = serde_json::from_slice(&decoded).ok()?;
        (value.is_object() || value.is_array()).then_some(value)
    };
    let fields = done.response.iter().map(|(key, text)| {
        let value = value(text).unwrap_or_else(|| Value::String(text.clone()));
        (key.clone(), value)
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

fn answer(call: Call, json: bool, done: &Done) -> Outcome {
    let of = |name: &str| done.answers.get(name).map_or("", String::as_str);
    let failed = !matches!(of("result.statuscode"), "" | "0");
    if json {
        crate::print(&format!("{}\n", of("result.json").trim_end()));
    } else if call == Call::Check {
        crate::print(&checked(of("result.json"), of("result.txt")));
    } else {
        crate::print(of("result.txt"));
    }
    match failed {
        true => Err(Failure::Exit(1)),
        false => Ok(()),
    }
}

/// What a check found, below a line that counts it.
fn checked(json: &str, text: &str) -> String {
    let document: Value = serde_json::from_str(json).unwrap_or_default();
    let count = document["warnings"].as_array().map_or(0, Vec::len);
    match count {
        0 if text.trim().is_empty() => "Check complete, no warnings found.\n".to_owned(),
        0 => format!("{}\n", text.trim_end()),
        1 => format!("Check complete, 1 warning has been found!\n{text}"),
        _ => format!("Check complete, {count} warnings have been found!\n{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_counted() {
        assert_eq!(checked("{}", ""), "Check complete, no warnings found.\n");
        assert_eq!(
            checked(r#"{"warnings":[{},{}]}"#, "\nx\n"),
            "Check complete, 2 warnings have been found!\n\nx\n"
        );
    }

    #[test]
    fn metadata_has_json_as_json() {
        let response = [
            ("image.name", "a"),
            ("containerimage.descriptor", "eyJhIjoxfQ=="),
        ];
        let done = Done {
            response: response
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..Done::default()
        };
        assert_eq!(
            metadata(&done),
            serde_json::json!({"image.name": "a", "containerimage.descriptor": {"a": 1}})
        );
        assert_eq!(id(&done), None);
    }
}
