//! What the docker client 28.2 sends for `network` and its flags, and how it refuses them: recorded, and
//! held here against ours.

use super::{connect, create};
use crate::flags::{self, Matches};
use serde_json::{Value, json};

const RECORDED: &str = include_str!("../../tests/recorded/network.jsonl");

/// The first request of a command, or why there is none.
fn ours(verb: &str, args: &[String]) -> Option<Result<Value, String>> {
    let parse = |command: &crate::command::Command| -> Result<Matches, String> {
        flags::parse(command.flags, args, true).map_err(|error| error.to_string())
    };
    Some(match verb {
        "create" => parse(&create::COMMAND)
            .and_then(|matches| create::request(&matches))
            .map(|request| json!(["POST", "networks/create", request])),
        "connect" => parse(&connect::COMMAND).and_then(|matches| {
            let (network, container) = (&matches.args[0], &matches.args[1]);
            let endpoint = connect::endpoint(&matches)?;
            Ok(json!([
                "POST",
                format!("networks/{network}/connect"),
                {"Container": container, "EndpointConfig": endpoint}
            ]))
        }),
        _ => return None,
    })
}

#[test]
fn flags_become_what_dockers_client_sends() {
    let mut wrong = Vec::new();
    for line in RECORDED.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let args: Vec<String> = serde_json::from_value(recorded["args"].clone()).unwrap();
        let stderr = recorded["stderr"].as_str().unwrap();
        if stderr.contains("requires") {
            continue;
        }
        let wanted = match recorded["requests"].get(0) {
            Some(request) => Ok(request.clone()),
            None => Err({
                let first = stderr.split("\n\n").next().unwrap();
                first.strip_suffix('\n').unwrap_or(first).to_owned()
            }),
        };
        match ours(&args[1], &args[2..]) {
            Some(ours) if ours != wanted => {
                wrong.push(format!("{args:?}\n docker {wanted:?}\n   hull {ours:?}"));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
