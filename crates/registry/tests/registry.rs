//! The client against a registry that misbehaves on demand.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests"
)]

mod server;

use bytes::Bytes;
use futures_util::StreamExt as _;
use hull_registry::{Blob, Client, Config, Credentials, Error, Kind, Retry};
use hull_spec::image::media_type as mt;
use server::{
    Server, broken, client, config, descriptor, digest, endless, failure, ranged, redirect,
    stalled, text, with,
};
use std::time::Duration;

const MANIFEST: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

fn manifest() -> server::Reply {
    with(text(200, MANIFEST), "content-type", mt::OCI_MANIFEST)
}

fn alice() -> Credentials {
    Credentials::Password {
        username: "alice".into(),
        password: "hunter2".into(),
    }
}

async fn resolve(server: &Server, client: &Client, user: &Credentials) -> Result<String, Error> {
    client
        .resolve(&server.reference("team/app:1"), user)
        .await
        .map(|resolved| resolved.descriptor.digest.to_string())
}

async fn collect(mut blob: Blob) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(bytes) = blob.next().await {
        all.extend_from_slice(&bytes?);
    }
    Ok(all)
}

fn sample() -> Bytes {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test]
async fn a_tag_and_a_digest_are_resolved_over_plain_http_on_loopback() {
    let server = Server::start(|_, _| manifest()).await;
    let client = client();
    let nobody = Credentials::Anonymous;
    let found = client
        .resolve(&server.reference("team/app"), &nobody)
        .await
        .unwrap();
    assert_eq!(found.descriptor.digest, digest(MANIFEST.as_bytes()));
    assert_eq!(found.descriptor.media_type, mt::OCI_MANIFEST);
    assert_eq!(found.descriptor.size, MANIFEST.len() as u64);
    assert_eq!(found.source.as_str(), server.url("/"));
    let by_digest = server
        .reference("team/app")
        .with_digest(&found.descriptor.digest);
    client.resolve(&by_digest, &nobody).await.unwrap();
    let again = client
        .fetch_document(&by_digest, &found.descriptor, &nobody)
        .await
        .unwrap();
    assert_eq!(again, MANIFEST);
    let seen = server.seen();
    assert_eq!(seen[0].path, "/v2/team/app/manifests/latest");
    assert!(seen[0].header("accept").unwrap().contains(mt::DOCKER_LIST));
    assert!(seen[1].path.ends_with(found.descriptor.digest.as_str()));
}

/// A registry with a token server; tokens are `token-<account>`.
async fn guarded() -> Server {
    Server::start(|seen, _| {
        if seen.path == "/token" {
            let account = match (seen.header("authorization"), seen.body.as_str()) {
                (Some("Basic YWxpY2U6aHVudGVyMg=="), _) => "alice",
                (Some(_), _) => return text(401, r#"{"details":"incorrect username or password"}"#),
                (None, body) if body.contains("refresh_token=idtoken") => "identity",
                (None, _) => "nobody",
            };
            return text(200, format!(r#"{{"token":"token-{account}","expires_in":300}}"#));
        }
        match seen.header("authorization") {
            Some("Bearer token-alice" | "Bearer token-identity" | "Bearer given") => manifest(),
            Some(_) => failure(403, "DENIED", "requested access to the resource is denied"),
            None => {
                let host = seen.header("host").unwrap();
                let challenge = format!(
                    "Bearer realm=\"http://{host}/token\",service=\"reg\",scope=\"repository:team/app:pull\""
                );
                with(failure(401, "UNAUTHORIZED", "no"), "www-authenticate", &challenge)
            }
        }
    })
    .await
}

#[tokio::test]
async fn tokens_are_fetched_once_for_each_user() {
    let server = guarded().await;
    let client = client();
    resolve(&server, &client, &alice()).await.unwrap();
    resolve(&server, &client, &alice()).await.unwrap();
    assert_eq!(server.count("/token"), 1);
    let token = server
        .seen()
        .into_iter()
        .find(|seen| seen.path == "/token")
        .unwrap();
    assert_eq!(
        token.query,
        "account=alice&scope=repository%3Ateam%2Fapp%3Apull&service=reg"
    );

    let error = resolve(&server, &client, &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    let name = server.reference("team/app").familiar();
    assert_eq!(
        error.to_string(),
        format!(
            "pull access denied for {name}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
        )
    );
    assert_eq!(server.count("/token"), 2);
}

#[tokio::test]
async fn refresh_tokens_are_posted_and_registry_tokens_sent_as_they_are() {
    let server = guarded().await;
    let client = client();
    resolve(
        &server,
        &client,
        &Credentials::IdentityToken("idtoken".into()),
    )
    .await
    .unwrap();
    let token = server
        .seen()
        .into_iter()
        .find(|seen| seen.path == "/token")
        .unwrap();
    assert_eq!(token.method, "POST");
    assert!(
        token
            .body
            .starts_with("grant_type=refresh_token&service=reg&client_id="),
        "{}",
        token.body
    );
    resolve(
        &server,
        &client,
        &Credentials::RegistryToken("given".into()),
    )
    .await
    .unwrap();
    assert_eq!(server.count("/token"), 1);
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = guarded().await;
    let mallory = Credentials::Password {
        username: "alice".into(),
        password: "guess".into(),
    };
    let error = resolve(&server, &client(), &mallory).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    let text = error.to_string();
    assert!(
        text.ends_with("/v2/team/app/manifests/1\": unauthorized: incorrect username or password"),
        "{text}"
    );
    assert!(!format!("{error:?}{text}").contains("guess"));
    assert_eq!(server.count("/token"), 1);
}

#[tokio::test]
async fn a_token_that_expired_early_is_replaced() {
    let server = Server::start(|seen, before| {
        if seen.path == "/token" {
            return text(200, format!(r#"{{"access_token":"t{before}"}}"#));
        }
        // The first token serves one request.
        let good = match before {
            0 | 1 => "Bearer t0",
            _ => "Bearer t1",
        };
        if seen.header("authorization") == Some(good) {
            return manifest();
        }
        let challenge = format!(
            "Bearer realm=\"http://{}/token\"",
            seen.header("host").unwrap()
        );
        with(text(401, ""), "www-authenticate", &challenge)
    })
    .await;
    let client = client();
    resolve(&server, &client, &Credentials::Anonymous)
        .await
        .unwrap();
    resolve(&server, &client, &Credentials::Anonymous)
        .await
        .unwrap();
    assert_eq!(server.count("/token"), 2);
}

#[tokio::test]
async fn basic_credentials_are_sent_when_asked_for() {
    let server = Server::start(|seen, _| match seen.header("authorization") {
        Some("Basic YWxpY2U6aHVudGVyMg==") => manifest(),
        _ => with(text(401, ""), "www-authenticate", "Basic realm=\"reg\""),
    })
    .await;
    let client = client();
    resolve(&server, &client, &alice()).await.unwrap();
    resolve(&server, &client, &alice()).await.unwrap();
    assert_eq!(server.seen().len(), 3, "the scheme is remembered");
    let error = resolve(&server, &client, &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "Head \"{}\": no basic auth credentials",
            server.url("/v2/team/app/manifests/1")
        )
    );
    let wrong = Credentials::Password {
        username: "alice".into(),
        password: "x".into(),
    };
    let error = resolve(&server, &client, &wrong).await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: authentication required");
}

#[tokio::test]
async fn what_is_not_there_is_told_in_dockers_words() {
    let server = Server::start(|seen, _| match seen.path.contains("/app/") {
        true => failure(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        false => failure(404, "NAME_UNKNOWN", "repository name not known to registry"),
    })
    .await;
    let client = client();
    let error = resolve(&server, &client, &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let name = server.reference("team/app:1").familiar();
    assert_eq!(
        error.to_string(),
        format!("manifest for {name} not found: manifest unknown: manifest unknown")
    );
    let other = server.reference("other");
    let error = client
        .resolve(&other, &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "repository {} not found: name unknown: repository name not known to registry",
            other.familiar_name()
        )
    );
    assert_eq!(server.seen().len(), 2, "a refusal is final");
}

#[tokio::test]
async fn nobody_listening_is_told_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let patient = Client::new(Config {
        retry: Retry {
            base: Duration::from_secs(600),
            ..Retry::default()
        },
        ..Config::default()
    });
    let reference = format!("{address}/app").parse().unwrap();
    let error = patient
        .resolve(&reference, &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Get \"http://{address}/v2/\": dial tcp {address}: connect: connection refused")
    );
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[tokio::test]
async fn transient_answers_are_tried_again() {
    let server = Server::start(|_, before| match before {
        0 => with(text(429, ""), "retry-after", "0"),
        1 => text(500, ""),
        2 => broken(200, Bytes::from_static(b"{"), 100),
        _ => manifest(),
    })
    .await;
    resolve(&server, &client(), &Credentials::Anonymous)
        .await
        .unwrap();
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn patience_ends() {
    let server = Server::start(|seen, _| match seen.path.contains("/app/") {
        true => text(503, ""),
        false => with(
            failure(429, "TOOMANYREQUESTS", "slow down"),
            "retry-after",
            "3600",
        ),
    })
    .await;
    let client = client();
    let error = resolve(&server, &client, &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "received unexpected HTTP status: 503 Service Unavailable"
    );
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(server.seen().len(), 4);
    let limited = server.reference("limited");
    let error = client
        .resolve(&limited, &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "toomanyrequests: slow down");
    assert_eq!(error.kind(), Kind::TooManyRequests);
    assert_eq!(server.seen().len(), 5, "an hour is not waited for");
}

#[tokio::test]
async fn documents_that_lie_are_refused() {
    let server = Server::start(|seen, _| match seen.path.split('/').nth(2).unwrap() {
        "endless" => endless(),
        "large" => broken(200, Bytes::from_static(b"{"), 1 << 30),
        "claims" => with(
            manifest(),
            "docker-content-digest",
            digest(b"other").as_str(),
        ),
        "schema1" => text(200, r#"{"schemaVersion":1,"fsLayers":[],"history":[]}"#),
        "page" => text(200, "<html>login</html>"),
        _ => manifest(),
    })
    .await;
    let client = client();
    let nobody = Credentials::Anonymous;
    for (name, words) in [
        ("endless", "is larger than 4194304 bytes"),
        ("large", "is larger than 4194304 bytes"),
        ("claims", "manifest verification failed for digest sha256:"),
        ("schema1", "schema 1 support has been removed"),
        ("page", "is not valid"),
    ] {
        let error = client
            .resolve(&server.reference(name), &nobody)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidResponse, "{name}");
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert_eq!(
            server.count(&format!("/v2/{name}/manifests/latest")),
            1,
            "{name}"
        );
    }
    let other = server.reference("app").with_digest(&digest(b"other"));
    let error = client.resolve(&other, &nobody).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch(_)), "{error}");
    let mut wrong = descriptor(mt::OCI_MANIFEST, MANIFEST.as_bytes());
    wrong.size += 1;
    let error = client
        .fetch_document(&other, &wrong, &nobody)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::WrongSize { .. }), "{error}");
}

#[tokio::test]
async fn a_broken_blob_goes_on_where_it_broke() {
    let blob = sample();
    let served = blob.clone();
    let server = Server::start(move |_, before| match before {
        0 => broken(200, served.slice(..10_000), served.len()),
        1 => text(503, ""),
        2 => with(
            broken(206, served.slice(10_000..15_000), served.len() - 10_000),
            "content-range",
            &format!("bytes 10000-{}/{}", served.len() - 1, served.len()),
        ),
        // From here on the server has forgotten about ranges.
        _ => text(200, served.clone()),
    })
    .await;
    let wanted = descriptor(mt::OCI_LAYER_GZIP, &blob);
    let stream = client()
        .fetch_blob(
            &server.reference("app"),
            &wanted,
            0,
            &Credentials::Anonymous,
        )
        .await
        .unwrap();
    assert_eq!(collect(stream).await.unwrap(), blob);
    let ranges: Vec<_> = server
        .seen()
        .iter()
        .map(|s| s.header("range").map(str::to_owned))
        .collect();
    let from = |range: &str| Some(range.to_owned());
    assert_eq!(
        ranges,
        [
            None,
            from("bytes=10000-"),
            from("bytes=10000-"),
            from("bytes=15000-")
        ]
    );
}

#[tokio::test]
async fn a_download_of_before_is_continued() {
    let blob = sample();
    let served = blob.clone();
    let server = Server::start(move |seen, _| match seen.path.contains("/deaf/") {
        true => text(200, served.clone()),
        false => ranged(seen, &served),
    })
    .await;
    let (client, nobody) = (client(), Credentials::Anonymous);
    let wanted = descriptor(mt::OCI_LAYER_GZIP, &blob);
    let app = server.reference("app");
    let stream = client
        .fetch_blob(&app, &wanted, 1000, &nobody)
        .await
        .unwrap();
    assert_eq!(stream.offset(), 1000);
    assert_eq!(collect(stream).await.unwrap(), blob.slice(1000..));
    let deaf = server.reference("deaf");
    let stream = client
        .fetch_blob(&deaf, &wanted, 1000, &nobody)
        .await
        .unwrap();
    assert_eq!(stream.offset(), 0);
    assert_eq!(collect(stream).await.unwrap(), blob);
    let stream = client
        .fetch_blob(&app, &wanted, wanted.size, &nobody)
        .await
        .unwrap();
    assert_eq!(
        (stream.offset(), collect(stream).await.unwrap().len()),
        (wanted.size, 0)
    );
}

#[tokio::test]
async fn a_blob_that_never_ends_or_never_comes_fails() {
    let blob = sample();
    let served = blob.clone();
    let server = Server::start(move |seen, _| match seen.path.split('/').nth(2).unwrap() {
        "endless" => endless(),
        "dead" => match seen.header("range") {
            None => broken(200, served.slice(..5000), served.len()),
            Some(_) => text(502, ""),
        },
        "drip" => match seen.header("range") {
            None => broken(200, served.slice(..1), served.len()),
            Some(range) => {
                let from: usize = range[6..range.len() - 1].parse().unwrap();
                with(
                    broken(206, served.slice(from..=from), served.len() - from),
                    "content-range",
                    &format!("bytes {from}-{}/{}", served.len() - 1, served.len()),
                )
            }
        },
        _ => with(text(206, "x"), "content-range", "bytes 7-8/9"),
    })
    .await;
    let (client, nobody) = (client(), Credentials::Anonymous);
    let wanted = descriptor(mt::OCI_LAYER_GZIP, &blob);
    let fetch = async |name: &str, offset| {
        let reference = server.reference(name);
        collect(
            client
                .fetch_blob(&reference, &wanted, offset, &nobody)
                .await?,
        )
        .await
    };
    let error = fetch("endless", 0).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let error = fetch("dead", 0).await.unwrap_err();
    assert_eq!(error.resumable(), Some(5000), "{error}");
    let error = fetch("drip", 0).await.unwrap_err();
    assert_eq!(error.resumable(), Some(65), "{error}");
    let error = fetch("wrong", 5).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidResponse, "{error}");
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let server = Server::start(|_, _| stalled(Bytes::from_static(b"{"))).await;
    let hasty = Client::new(Config {
        stall_timeout: Duration::from_millis(50),
        retry: Retry {
            attempts: 1,
            ..config().retry
        },
        ..config()
    });
    let error = resolve(&server, &hasty, &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn secrets_stay_with_their_host() {
    let blob = sample();
    let served = blob.clone();
    let store = Server::start(move |seen, _| ranged(seen, &served)).await;
    let elsewhere = store.url("/signed?secret=1");
    let server = Server::start(move |seen, _| match seen.header("authorization") {
        Some(_) => redirect(&elsewhere),
        None => with(text(401, ""), "www-authenticate", "Basic realm=x"),
    })
    .await;
    let wanted = descriptor(mt::OCI_LAYER_GZIP, &blob);
    let app = server.reference("app");
    let stream = client()
        .fetch_blob(&app, &wanted, 10, &alice())
        .await
        .unwrap();
    assert_eq!(collect(stream).await.unwrap(), blob.slice(10..));
    let seen = store.seen();
    assert_eq!(seen[0].query, "secret=1");
    assert_eq!(seen[0].header("range"), Some("bytes=10-"));
    assert_eq!(seen[0].header("authorization"), None);
    assert!(server.seen()[1].header("authorization").is_some());
}

#[tokio::test]
async fn another_host_cannot_ask_for_credentials() {
    let thief =
        Server::start(|_, _| with(text(401, ""), "www-authenticate", "Basic realm=x")).await;
    let lure = thief.url("/");
    let server = Server::start(move |_, _| redirect(&lure)).await;
    let error = resolve(&server, &client(), &alice()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert!(
        thief
            .seen()
            .iter()
            .all(|seen| seen.header("authorization").is_none())
    );
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|seen, _| match seen.path.contains("/app/") {
        true => redirect(&seen.path),
        false => text(302, ""),
    })
    .await;
    let error = resolve(&server, &client(), &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with("stopped after 10 redirects"),
        "{error}"
    );
    assert_eq!(server.seen().len(), 11);
    let other = server.reference("nowhere");
    let error = client()
        .resolve(&other, &Credentials::Anonymous)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("without a usable Location"),
        "{error}"
    );
}

#[tokio::test]
async fn mirrors_come_first_and_learn_no_secrets() {
    let empty = Server::start(|_, _| failure(404, "MANIFEST_UNKNOWN", "manifest unknown")).await;
    let mirror = Server::start(|seen, _| match seen.path.contains("library/debian") {
        true => manifest(),
        false => with(text(401, ""), "www-authenticate", "Basic realm=x"),
    })
    .await;
    let hub = Server::start(|seen, _| match seen.header("authorization") {
        Some(_) => manifest(),
        None => with(text(401, ""), "www-authenticate", "Basic realm=x"),
    })
    .await;
    let dead = "http://127.0.0.1:1/".to_owned();
    let client = Client::new(Config {
        mirrors: [dead, empty.url("/"), mirror.url("/")]
            .map(|url| hull_registry::parse_mirror(&url).unwrap())
            .to_vec(),
        hub: hull_registry::parse_mirror(&hub.url("/")).unwrap(),
        ..config()
    });
    let debian = "debian".parse().unwrap();
    let found = client.resolve(&debian, &alice()).await.unwrap();
    assert_eq!(found.source.as_str(), mirror.url("/"));
    assert_eq!(
        (empty.seen().len(), mirror.seen().len(), hub.seen().len()),
        (1, 1, 0)
    );
    let private = "team/private".parse().unwrap();
    let found = client.resolve(&private, &alice()).await.unwrap();
    assert_eq!(found.source.as_str(), hub.url("/"));
    for seen in empty.seen().iter().chain(&mirror.seen()) {
        assert_eq!(seen.header("authorization"), None);
    }
}
