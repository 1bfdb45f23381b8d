//! What reads clients' requests, as functions of bytes: for the fuzzer, and for the test that runs it briefly with every change.
//! They panic where a property does not hold.

use crate::target::FirstLine;
use crate::version::ApiVersion;
use crate::{convert, detach, query, request, router, routes, version};
use http::{HeaderMap, HeaderValue, Method};
use hull_api::container::CreateRequest;
use hull_api::image::AuthConfig;
use hull_api::{exec, json, network, swarm};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// A target: its name, which is that of the directory of its seeds, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 4] = [
    ("request_line", request_line),
    ("request_query", request_query),
    ("request_body", request_body),
    ("create_container", create_container),
];

/// The first line of a request: whole, in pieces, and the path in it.
pub fn request_line(bytes: &[u8]) {
    let mut line = FirstLine::new();
    let mut through = Vec::new();
    for piece in bytes.chunks(7).chain([&b""[..]]) {
        if matches!(line, FirstLine::Done) {
            through.extend_from_slice(piece);
            continue;
        }
        line.feed(piece);
        while let Some(bytes) = line.take(5) {
            through.extend_from_slice(&bytes);
        }
    }
    assert!(through.len() >= bytes.len(), "bytes were lost");
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let path = format!("/{text}");
    if let Some(cleaned) = router::clean(&path) {
        assert_eq!(router::clean(&cleaned), None);
    }
    let (asked, rest) = version::split(&path);
    let _ = version::negotiate(asked).map_err(|error| error.to_string());
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let _ = router::find(routes::ROUTES, &method, rest);
    }
}

/// A query, and the texts in its values.
pub fn request_query(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let query = query::Query::parse(&text);
    let _ = (query.filters(), query.integer("a"), query.strict_flag("a"));
    let value = query.text("a");
    let _ = (convert::time::parse(value), routes::platform(value));
    let _ = (detach::Detector::parse(value), convert::create::port(value));
    if let Ok(header) = HeaderValue::from_bytes(value.as_bytes()) {
        let _ = routes::who(&HeaderMap::from_iter([(
            http::HeaderName::from_static("x-registry-auth"),
            header,
        )]));
    }
}

/// A body, as that of every request that has one. What is read reads the same when it is written.
pub fn request_body(bytes: &[u8]) {
    read::<network::CreateRequest>(bytes);
    read::<network::ConnectRequest>(bytes);
    read::<network::DisconnectRequest>(bytes);
    read::<exec::ExecCreateRequest>(bytes);
    read::<exec::ExecStartRequest>(bytes);
    read::<AuthConfig>(bytes);
    read::<swarm::InitRequest>(bytes);
    read::<swarm::JoinRequest>(bytes);
    if let Ok(asked) = json::from_slice::<network::CreateRequest>(bytes) {
        let _ = convert::network::request(asked, ApiVersion::NEWEST);
    }
    if let Ok(asked) = json::from_slice::<network::ConnectRequest>(bytes) {
        let place = asked.endpoint_config.unwrap_or_default();
        let _ = convert::network::place(place, ApiVersion::OLDEST);
    }
}

fn read<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    match json::from_slice::<T>(bytes) {
        Err(error) => assert!(!request::misread(error, bytes).message.is_empty()),
        Ok(read) => {
            let written = serde_json::to_vec(&read).unwrap_or_default();
            let again = json::from_slice::<T>(&written);
            assert_eq!(again.ok().as_ref(), Some(&read));
        }
    }
}

/// The body of `POST /containers/create`, through to what the engine is asked for, in old and new versions and on hosts of both
/// kinds of control groups.
pub fn create_container(bytes: &[u8]) {
    let asked = match CreateRequest::from_slice(bytes) {
        Ok(asked) => asked,
        Err(error) => {
            assert!(!request::misread(error, bytes).message.is_empty());
            return;
        }
    };
    let settings = crate::config::ContainerDefaults::default();
    let versions = [
        ApiVersion::OLDEST,
        ApiVersion::new(1, 43),
        ApiVersion::NEWEST,
    ];
    for (version, cgroup_v2) in versions.into_iter().zip([false, true, true]) {
        let host = convert::create::Host {
            cgroup_v2,
            settings: &settings,
        };
        if let Err(error) = convert::create::config(asked.clone(), None, host, version) {
            assert!(error.status.is_client_error() || error.status.as_u16() >= 500);
            assert!(!error.message.is_empty());
        }
    }
}
