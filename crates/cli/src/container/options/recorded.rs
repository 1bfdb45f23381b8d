//! What the docker client 28.2 sends for flags about networks, and how it refuses them: recorded, and held
//! here against ours.

use super::{FLAGS, RUN_FLAGS, request};
use crate::flags::parse;
use serde_json::{Map, Value, json};

const RECORDED: &str = include_str!("../../../tests/recorded/create-network.jsonl");

/// Members that the recordings leave out have these values.
fn without_defaults(request: &Value) -> Value {
    let host = &request["HostConfig"];
    let networks = request["NetworkingConfig"]["EndpointsConfig"].as_object();
    let endpoint = serde_json::to_value(hull_api::network::EndpointSettings::default()).unwrap();
    let networks: Map<String, Value> = networks
        .into_iter()
        .flatten()
        .map(|(name, said)| {
            let mut said = said.as_object().unwrap().clone();
            said.retain(|member, value| endpoint[member] != *value);
            (name.clone(), Value::Object(said))
        })
        .collect();
    let all = [
        ("Hostname", &request["Hostname"], json!("")),
        ("Domainname", &request["Domainname"], json!("")),
        ("ExposedPorts", &request["ExposedPorts"], Value::Null),
        ("MacAddress", &request["MacAddress"], Value::Null),
        ("NetworkMode", &host["NetworkMode"], json!("default")),
        ("PortBindings", &host["PortBindings"], json!({})),
        ("PublishAllPorts", &host["PublishAllPorts"], json!(false)),
        ("Links", &host["Links"], Value::Null),
        ("Dns", &host["Dns"], json!([])),
        ("DnsOptions", &host["DnsOptions"], json!([])),
        ("DnsSearch", &host["DnsSearch"], json!([])),
        ("ExtraHosts", &host["ExtraHosts"], Value::Null),
        ("EndpointsConfig", &Value::Object(networks), json!({})),
    ];
    all.into_iter()
        .filter(|(_, value, default)| *value != default)
        .map(|(name, value, _)| (name.to_owned(), value.clone()))
        .collect::<Map<_, _>>()
        .into()
}

fn ours(args: &[String]) -> Value {
    let mut words = args.to_vec();
    words.push("busybox".to_owned());
    let matches = match parse(&[FLAGS, RUN_FLAGS], &words, false) {
        Ok(matches) => matches,
        Err(error) => return json!({"args": args, "error": error.to_string()}),
    };
    match request(&matches) {
        Ok(request) => {
            let request = serde_json::to_value(&request).unwrap();
            json!({"args": args, "request": without_defaults(&request)})
        }
        Err(error) => json!({"args": args, "error": error}),
    }
}

#[test]
fn flags_become_what_dockers_client_sends() {
    let mut wrong = Vec::new();
    for line in RECORDED.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let args: Vec<String> = serde_json::from_value(recorded["args"].clone()).unwrap();
        let ours = ours(&args);
        if ours != recorded {
            wrong.push(format!("docker {recorded}\n  hull {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
