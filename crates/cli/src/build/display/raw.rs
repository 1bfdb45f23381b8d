//! Events as JSON, in the form of BuildKit's `SolveStatus`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_api::build::{Message, Vertex};
use serde_json::{Map, Value, json};

/// The line of a message; empty where there is none.
pub(super) fn line(message: &Message) -> String {
    let (list, value) = match message {
        Message::Vertex(vertex) => ("vertexes", of_vertex(vertex)),
        Message::Status(status) => (
            "statuses",
            without_empty([
                ("id", json!(status.id)),
                ("vertex", json!(status.vertex)),
                ("name", json!(status.name)),
                ("total", json!(status.total)),
                ("current", json!(status.current)),
                ("timestamp", json!(status.at)),
                ("started", json!(status.started)),
                ("completed", json!(status.completed)),
            ]),
        ),
        Message::Log(log) => (
            "logs",
            without_empty([
                ("vertex", json!(log.vertex)),
                ("stream", json!(log.stream)),
                ("data", json!(STANDARD.encode(&log.data))),
                ("timestamp", json!(log.at)),
            ]),
        ),
        Message::Warning(warning) => (
            "warnings",
            without_empty([
                ("short", json!(STANDARD.encode(&warning.short))),
                ("url", json!(warning.url)),
            ]),
        ),
        _ => return String::new(),
    };
    format!("{}\n", json!({ list: [value] }))
}

fn of_vertex(vertex: &Vertex) -> Value {
    without_empty([
        ("digest", json!(vertex.digest)),
        ("inputs", json!(vertex.inputs)),
        ("name", json!(vertex.name)),
        ("started", json!(vertex.started)),
        ("completed", json!(vertex.completed)),
        ("cached", json!(vertex.cached)),
        ("error", json!(vertex.error)),
    ])
}

fn without_empty<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let kept = fields.into_iter().filter(|(_, value)| match value {
        Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    });
    let fields: Map<String, Value> = kept.map(|(key, value)| (key.to_owned(), value)).collect();
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{said, vertex};
    use super::*;

    #[test]
    fn each_message_is_a_document() {
        assert_eq!(
            line(&vertex("a", |_| {})),
            "{\"vertexes\":[{\"digest\":\"a\",\"name\":\"a\",\"started\":\"1970-01-01T00:00:10Z\"}]}\n"
        );
        let log: Value = serde_json::from_str(&line(&said("a", 11, "x"))).unwrap();
        assert_eq!(log["logs"][0]["data"], "eA==");
        assert_eq!(line(&Message::Begun("x".to_owned())), "");
    }
}
