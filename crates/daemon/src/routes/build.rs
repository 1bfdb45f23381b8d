//! Building images: the classic endpoint, `POST /build`, and what belongs to it.

mod by_session;
mod tell;

use crate::error::ApiError;
use crate::query::{Query, parse_int};
use crate::reply::{self, JSON, Outcome};
use crate::request::{Request, unmarshalled};
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use hull_api::image::AuthConfig;
use hull_api::json;
use hull_engine::build::world::{Cancel, Surroundings};
use hull_engine::build::{BuildLimits, BuildPrune, BuildRequest, Heard};
use hull_engine::image::Credentials;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use tell::Teller;

/// `POST /build/prune`: removes what builds have left and none needs at the moment.
pub(crate) async fn prune(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let size = |name: &str| {
        let text = query.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let size = parse_int(text).map_err(|why| {
            ApiError::bad_request(format!(
                "{name} is in bytes and expects an integer, got {text}: strconv.Atoi: parsing {text:?}: {why}"
            ))
        })?;
        Ok::<_, ApiError>(Some(u64::try_from(size).unwrap_or(0)))
    };
    // API 1.48 brought the other names.
    let newer = request.version.since(48);
    let kept = size("keep-storage")?;
    let reserved = if newer { size("reserved-space")? } else { None };
    let limits = BuildLimits {
        reserved: reserved.or(kept).unwrap_or(0),
        max_used: if newer {
            size("max-used-space")?.unwrap_or(0)
        } else {
            0
        },
        min_free: if newer {
            size("min-free-space")?.unwrap_or(0)
        } else {
            0
        },
    };
    let prune = BuildPrune {
        filters: query.filters()?.0,
        all: query.flag("all"),
        limits,
        ..BuildPrune::default()
    };
    let pruned = request.app.engine.prune_builds(prune).await;
    let pruned = pruned.map_err(|error| {
        let text = format!("failed to prune build cache: {}", error.message());
        hull_engine::Error::new(error.kind(), text)
    })?;
    let ids: Vec<String> = pruned.records.into_iter().map(|record| record.id).collect();
    let deleted = (!ids.is_empty()).then_some(ids);
    reply::ok(&serde_json::json!({"CachesDeleted": deleted, "SpaceReclaimed": pruned.reclaimed}))
}

/// `POST /build/cancel`: ends the build that was begun with this `buildid`; one that is not (any more) there has ended.
pub(crate) async fn cancel(request: Request) -> Result<Outcome, ApiError> {
    let id = request.query.text("id");
    if id.is_empty() {
        return Err(ApiError::bad_request("build ID not provided"));
    }
    request.app.engine.cancel_build(id);
    request.app.buildkit.cancel(id);
    let mut reply = reply::empty(StatusCode::OK);
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(reply.into())
}

/// Ends a build whose client is gone.
struct Gone(Cancel);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// `POST /build`. What can be refused is refused by the status; all else is told in the stream.
pub(crate) async fn build(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    match query.text("version") {
        "" | "1" => {}
        "2" => return by_session::build(request).await,
        version => {
            let text = format!("invalid version {version:?}");
            return Err(ApiError::bad_request(text));
        }
    }
    if query.text("remote") == by_session::UPLOAD {
        let _ = remote(by_session::UPLOAD)?;
    }
    let attributes = attributes(query)?;
    // What only BuildKit knows is read all the same.
    by_session::cache_from(query)?;
    by_session::exporter(query)?;
    let quiet = query.flag("q");
    let names = query.all("t").into_iter().map(str::to_owned).collect();
    let credentials = credentials(&request.headers);
    let cancel = Cancel::new();
    // API 1.30 brought what is not for people.
    let names_id = request.version.since(30);
    let (teller, lines) = Teller::new(quiet, names_id, cancel.clone());
    let teller = Arc::new(teller);
    let hearing = Arc::clone(&teller);
    let engine = Arc::clone(&request.app.engine);
    let shutdown = request.app.shutdown.clone();
    let asked = BuildRequest {
        context: super::archive::incoming(request.body),
        attributes,
        names,
        credentials,
        surroundings: surroundings(query)?,
        id: query.text("buildid").to_owned(),
        cancel: cancel.clone(),
    };
    let gone = Gone(cancel);
    let heard = Arc::new(Heard(move |event| hearing.hear(&event)));
    let prepared = engine.prepare_build(asked, heard).await?;
    tokio::task::spawn_blocking(move || {
        let built = prepared.run(&|story| teller.begin(story));
        teller.end(built);
    });
    let lines = lines.map(move |line| {
        let _ = &gone;
        super::pull::line(&line)
    });
    Ok(reply::stream(shutdown, JSON, lines).into())
}

/// The query in the words of BuildKit's clients.
fn attributes(query: &Query) -> Result<BTreeMap<String, String>, ApiError> {
    let mut attributes = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            attributes.insert(name.to_owned(), value.to_owned());
        }
    };
    match query.text("remote") {
        // Its files come over the client's session, or by another request.
        "client-session" | by_session::UPLOAD => {}
        place => set("context", remote(place)?),
    }
    if query.flag("squash") {
        return Err(ApiError::bad_request(
            "squash is only supported with experimental mode",
        ));
    }
    let isolation = query.text("isolation");
    if !isolation.is_empty() && !isolation.eq_ignore_ascii_case("default") {
        let text = format!("unsupported isolation: {isolation:?}");
        return Err(ApiError::bad_request(text));
    }
    set("filename", query.text("dockerfile"));
    set("target", query.text("target"));
    set("platform", platform(query.text("platform"))?);
    set("cgroup-parent", query.text("cgroupparent"));
    set("shm-size", shm_size(query.text("shmsize"))?);
    if let mode @ ("host" | "none") = query.text("networkmode") {
        set("force-network-mode", mode);
    }
    set("add-hosts", &hosts(query)?);
    if query.flag("pull") {
        set("image-resolve-mode", "pull");
    }
    let maps = [
        ("buildargs", "build args", "build-arg:"),
        ("labels", "labels", "label:"),
    ];
    for (name, words, prefix) in maps {
        for (key, value) in map(query, name, words)? {
            // An argument without a value is not given.
            if let Some(value) = value {
                attributes.insert(format!("{prefix}{key}"), value);
            }
        }
    }
    if query.flag("nocache") {
        attributes.insert("no-cache".to_owned(), String::new());
    }
    let limits = ulimits(query)?;
    if !limits.is_empty() {
        attributes.insert("ulimit".to_owned(), limits);
    }
    Ok(attributes)
}

/// `name:address` in BuildKit's form.
fn hosts(query: &Query) -> Result<String, ApiError> {
    let hosts = query.all("extrahosts").into_iter();
    let hosts = hosts.map(|host| match host.split_once(':') {
        Some((name, address)) => Ok(format!("{name}={address}")),
        None => Err(ApiError::bad_request(format!(
            "bad format for add-host: {host:?}"
        ))),
    });
    Ok(hosts.collect::<Result<Vec<_>, _>>()?.join(","))
}

/// One platform, or several of BuildKit's.
fn platform(text: &str) -> Result<&str, ApiError> {
    for one in text.split(',').filter(|one| !one.is_empty()) {
        let parsed: Result<hull_engine::Platform, _> = one.parse();
        parsed.map_err(|error| ApiError::bad_request(error.to_string()))?;
    }
    Ok(text)
}

/// Bytes of shared memory.
fn shm_size(text: &str) -> Result<&str, ApiError> {
    match parse_int(text) {
        _ if text.is_empty() => Ok(text),
        Err(why) => Err(ApiError::internal(format!(
            "strconv.ParseInt: parsing {text:?}: {why}"
        ))),
        Ok(size) if size < 0 => Err(ApiError::bad_request("SHM size can not be less than 0")),
        Ok(_) => Ok(text),
    }
}

/// A context that is somewhere else; dockerd's refusal of what is none.
fn remote(text: &str) -> Result<&str, ApiError> {
    let schemes = ["http://", "https://", "git://", "git@", "github.com/"];
    let known = schemes.iter().any(|scheme| text.starts_with(scheme));
    match known || text.is_empty() {
        true => Ok(text),
        false => Err(ApiError::internal(format!(
            "remoteURL ({text}) could not be recognized as URL"
        ))),
    }
}

/// What surrounds the processes of all steps. As in dockerd a number that is none is 0.
fn surroundings(query: &Query) -> Result<Surroundings, ApiError> {
    let number = |name: &str| parse_int(query.text(name)).unwrap_or(0);
    let surroundings = Surroundings {
        network: match query.text("networkmode") {
            "default" | "bridge" => String::new(),
            mode => mode.to_owned(),
        },
        memory: number("memory"),
        memory_swap: number("memswap"),
        cpu_shares: number("cpushares"),
        cpu_period: number("cpuperiod"),
        cpu_quota: number("cpuquota"),
        cpuset_cpus: query.text("cpusetcpus").to_owned(),
        cpuset_mems: query.text("cpusetmems").to_owned(),
    };
    if !query.all("securityopt").is_empty() {
        return Err(ApiError::bad_request(
            "security options are not supported on linux",
        ));
    }
    Ok(surroundings)
}

/// A parameter that is JSON; absent where it is empty or null.
///
/// # Errors
/// 400 in dockerd's words.
fn parameter<T: DeserializeOwned>(
    query: &Query,
    name: &str,
    words: &str,
) -> Result<Option<T>, ApiError> {
    match query.text(name) {
        // Old clients of Docker write null for none.
        "" | "null" => Ok(None),
        text => unmarshalled(text)
            .map(Some)
            .map_err(|why| ApiError::bad_request(format!("{words}: {why}"))),
    }
}

/// A parameter that is an object of texts.
fn map(
    query: &Query,
    name: &str,
    words: &str,
) -> Result<BTreeMap<String, Option<String>>, ApiError> {
    let found = parameter(query, name, &format!("error reading {words}"))?;
    Ok(found.unwrap_or_default())
}

/// `[{"Name":"nofile","Soft":1,"Hard":2}]` as `nofile=1:2`.
fn ulimits(query: &Query) -> Result<String, ApiError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Limit {
        name: String,
        #[serde(default)]
        soft: i64,
        #[serde(default)]
        hard: i64,
    }
    let limits: Option<Vec<Limit>> = parameter(query, "ulimits", "error reading ulimit settings")?;
    let limits = limits.unwrap_or_default();
    let limits = limits.into_iter();
    let texts = limits.map(|limit| format!("{}={}:{}", limit.name, limit.soft, limit.hard));
    Ok(texts.collect::<Vec<_>>().join(","))
}

/// The `X-Registry-Config` header: credentials by registry. One that cannot be read is nobody's, as in dockerd.
fn credentials(headers: &HeaderMap) -> BTreeMap<String, Credentials> {
    let header = headers.get("x-registry-config");
    let bytes = header.and_then(|value| super::pull::decoded(value.to_str().ok()?).ok());
    let found: Option<BTreeMap<String, AuthConfig>> =
        bytes.and_then(|bytes| json::from_slice(&bytes).ok());
    let each = found.into_iter().flatten();
    each.filter_map(|(host, auth)| Some((host, super::pull::credentials(auth).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_becomes_the_words_of_buildkits_clients() {
        let query = Query::parse(
            "dockerfile=d%2FDockerfile&target=x&nocache=1&pull=true&networkmode=host&extrahosts=a:1.2.3.4\
             &extrahosts=b:::1&buildargs=%7B%22A%22%3A%22b%22%2C%22N%22%3Anull%7D&labels=%7B%22l%22%3A%22m%22%7D\
             &ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Soft%22%3A1%2C%22Hard%22%3A2%7D%5D",
        );
        let attributes = attributes(&query).unwrap();
        let expected = [
            ("add-hosts", "a=1.2.3.4,b=::1"),
            ("build-arg:A", "b"),
            ("filename", "d/Dockerfile"),
            ("force-network-mode", "host"),
            ("image-resolve-mode", "pull"),
            ("label:l", "m"),
            ("no-cache", ""),
            ("target", "x"),
            ("ulimit", "nofile=1:2"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(attributes, BTreeMap::from(expected));
    }

    #[test]
    fn what_cannot_be_built_is_refused() {
        for text in ["remote=x", "squash=1", "buildargs=x"] {
            assert!(attributes(&Query::parse(text)).is_err(), "{text}");
        }
        assert!(surroundings(&Query::parse("securityopt=x")).is_err());
    }

    #[test]
    fn what_surrounds_steps_is_read() {
        let query = Query::parse("networkmode=n&memory=5&memswap=-1&cpuquota=x&cpusetcpus=0");
        let expected = Surroundings {
            network: "n".to_owned(),
            memory: 5,
            memory_swap: -1,
            cpuset_cpus: "0".to_owned(),
            ..Surroundings::default()
        };
        assert_eq!(surroundings(&query).unwrap(), expected);
        assert_eq!(
            surroundings(&Query::parse("networkmode=bridge")).unwrap(),
            Surroundings::default()
        );
    }
}
