//! Failures as clients of BuildKit read them: a text, and the lines of the Dockerfile that it is about.

use super::progress::ranges;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::google::protobuf::Any;
use bollard_buildkit_proto::google::rpc;
use hull_api::build::Source;
use hull_engine::build::graph::Location;
use hull_engine::build::plan::{PlanError, SourceFile};
use hull_engine::build::solve::SolveError;
use hull_engine::build::world::WorldError;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// What the lines are told as.
const SOURCE: &str = "github.com/moby/buildkit/errdefs.Source+json";

/// A frontend's failure.
pub(super) fn of_plan(error: &PlanError) -> Status {
    let source = error.location.as_ref().zip(error.file.as_ref());
    let cancelled = matches!(error.source, Some(WorldError::Cancelled));
    status(code(cancelled), error.text.clone(), source)
}

/// A step's failure.
pub(super) fn of_solve(error: &SolveError, sources: &[SourceFile]) -> Status {
    let location = error.location.as_ref();
    let file = location.and_then(|location| sources.get(location.source));
    let cancelled = matches!(*error.source, WorldError::Cancelled);
    let text = error.source.full_message();
    status(code(cancelled), text, location.zip(file))
}

fn code(cancelled: bool) -> Code {
    if cancelled {
        Code::Cancelled
    } else {
        Code::Unknown
    }
}

fn status(code: Code, text: String, source: Option<(&Location, &SourceFile)>) -> Status {
    let Some((location, file)) = source else {
        return Status::new(code, text);
    };
    let range = |range: &bollard_buildkit_proto::pb::Range| {
        let line = |position: Option<bollard_buildkit_proto::pb::Position>| json!({"line": position.unwrap_or_default().line});
        json!({"start": line(range.start), "end": line(range.end)})
    };
    let value = json!({
        "info": {
            "filename": file.name,
            "data": STANDARD.encode(&file.text),
            "language": "Dockerfile",
        },
        "ranges": ranges(location).iter().map(range).collect::<Vec<Value>>(),
    });
    let details = vec![Any {
        type_url: SOURCE.to_owned(),
        value: value.to_string().into_bytes(),
    }];
    passed_on(rpc::Status {
        code: i32::from(code),
        message: text,
        details,
    })
}

/// The lines of a Dockerfile that a failure is about.
pub(super) fn source(status: &Status) -> Option<Source> {
    let details = rpc::Status::decode(status.details()).ok()?.details;
    let about = details.iter().find(|detail| detail.type_url == SOURCE)?;
    let value: Value = serde_json::from_slice(&about.value).ok()?;
    let text = STANDARD.decode(value["info"]["data"].as_str()?).ok()?;
    let line = |end: &Value| u32::try_from(end["line"].as_u64()?).ok();
    let ranges = value["ranges"].as_array()?.iter();
    Some(Source {
        file: value["info"]["filename"].as_str()?.to_owned(),
        text: String::from_utf8_lossy(&text).into_owned(),
        lines: ranges
            .filter_map(|range| Some((line(&range["start"])?, line(&range["end"])?)))
            .collect(),
    })
}

/// A failure that is known in gRPC's words already.
pub(super) fn passed_on(status: rpc::Status) -> Status {
    let code = match Code::from(status.code) {
        // A failure is none without a code.
        Code::Ok => Code::Unknown,
        code => code,
    };
    let details = status.encode_to_vec().into();
    Status::with_details(code, status.message, details)
}

/// An engine's failure.
pub(super) fn of_engine(error: &hull_engine::Error) -> Status {
    Status::unknown(error.full_message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_its_lines() {
        let error = PlanError {
            text: "dockerfile parse error on line 2".to_owned(),
            location: Some(Location {
                source: 0,
                lines: vec![(2, 2)],
            }),
            file: Some(SourceFile {
                name: "Dockerfile".to_owned(),
                text: b"FROM a\nRUNN b\n".to_vec(),
            }),
            source: None,
        };
        let status = of_plan(&error);
        assert_eq!(status.message(), error.text);
        let details = rpc::Status::decode(status.details()).unwrap();
        assert_eq!(details.details[0].type_url, SOURCE);
        let value: Value = serde_json::from_slice(&details.details[0].value).unwrap();
        assert_eq!(value["info"]["filename"], "Dockerfile");
        assert_eq!(value["ranges"][0]["start"]["line"], 2);
        assert_eq!(passed_on(details).details(), status.details());
        let source = source(&status).unwrap();
        assert_eq!((&*source.file, source.lines), ("Dockerfile", vec![(2, 2)]));
        assert_eq!(source.text, "FROM a\nRUNN b\n");
    }
}
