//! The request as it is kept with its container, for inspect: what is not as when nobody says anything.

use crate::error::ApiError;
use hull_api::container::CreateRequest;
use serde_json::Value;
use std::sync::LazyLock;

/// A request of which nothing was said. Of its two hundred fields most containers set a dozen; the others
/// would be the larger part of what the daemon has in memory, and writes, for each of them.
static SILENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(CreateRequest::default()).unwrap_or_default());

/// A request as JSON that reads the same again.
pub(super) fn request(request: &CreateRequest) -> Result<Value, ApiError> {
    let mut kept = serde_json::to_value(request)
        .map_err(|error| ApiError::internal(format!("could not keep the request: {error}")))?;
    thin(&mut kept, &SILENT);
    Ok(kept)
}

fn thin(kept: &mut Value, silent: &Value) {
    if let (Value::Object(kept), Value::Object(silent)) = (kept, silent) {
        kept.retain(|name, value| silent.get(name) != Some(value));
        for (name, value) in kept {
            thin(value, silent.get(name).unwrap_or(&Value::Null));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_the_same_again() {
        for text in [
            r#"{"Image":"bb"}"#,
            r#"{"Image":"bb","Cmd":[],"Entrypoint":[""],"Env":null,"Labels":{},"StopTimeout":0,"ExposedPorts":{"80/tcp":{}},
                "HostConfig":{"NetworkMode":"none","Tmpfs":{"/a":""},"PidsLimit":0,"Binds":[],"RestartPolicy":{"Name":"always"},
                "Memory":1048576,"OomKillDisable":false,"LogConfig":{"Type":"","Config":{}},"Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}]},
                "NetworkingConfig":{"EndpointsConfig":{"a":null,"b":{"Aliases":["x"]}}},"NetworkDisabled":true}"#,
        ] {
            let asked = CreateRequest::from_slice(text.as_bytes()).unwrap();
            let kept = request(&asked).unwrap();
            let again = CreateRequest::from_slice(&serde_json::to_vec(&kept).unwrap()).unwrap();
            assert_eq!(again, asked, "{kept}");
        }
    }
}
