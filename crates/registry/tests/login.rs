//! Signing in and searching, against a registry of the test's own: what dockerd asks and says.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hull_registry::{Client, Config, Credentials, LoginError, SearchError};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// A request: its target, its `Authorization`, its body.
type Seen = (String, Option<String>, String);
type Reply = Response<Full<Bytes>>;

struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(handler: fn(&Seen, SocketAddr) -> Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let service = service_fn(|request: Request<hyper::body::Incoming>| {
                        let log = Arc::clone(&log);
                        async move {
                            let target = request.uri().to_string();
                            let grant = request.headers().get("authorization");
                            let grant = grant.map(|value| value.to_str().unwrap().to_owned());
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let body = String::from_utf8(body.to_vec()).unwrap();
                            let seen = (target, grant, body);
                            let reply = handler(&seen, address);
                            log.lock().unwrap().push(seen);
                            Ok::<_, Infallible>(reply)
                        }
                    });
                    // TLS is tried first, which is no HTTP.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, seen }
    }

    async fn login(&self, credentials: &Credentials) -> Result<Option<String>, LoginError> {
        let client = Client::new(Config::default());
        let token = client.login(&self.address.to_string(), credentials).await?;
        Ok(token.map(|token| token.expose().to_owned()))
    }

    async fn refusal(&self, credentials: &Credentials) -> String {
        self.login(credentials).await.unwrap_err().to_string()
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn reply(status: u16, body: &str) -> Reply {
    let mut reply = Response::new(Full::from(body.to_owned()));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    reply
}

fn challenge(text: &str) -> Reply {
    let mut reply = reply(
        401,
        r#"{"errors":[{"code":"UNAUTHORIZED","message":"who?"}]}"#,
    );
    let headers = reply.headers_mut();
    headers.insert("www-authenticate", text.parse().unwrap());
    reply
}

fn user(name: &str, password: &str) -> Credentials {
    Credentials::Password {
        username: name.to_owned(),
        password: password.into(),
    }
}

/// alice:secret
const ALICE: &str = "Basic YWxpY2U6c2VjcmV0";

fn with_password((target, grant, _): &Seen, _: SocketAddr) -> Reply {
    match (target.as_str(), grant.as_deref()) {
        ("/v2/", Some(ALICE)) => reply(200, "{}"),
        ("/v2/", _) => challenge("Basic realm=\"x\""),
        _ => reply(404, "404 page not found"),
    }
}

fn with_tokens((target, grant, body): &Seen, address: SocketAddr) -> Reply {
    if target.starts_with("/token") {
        return match grant.as_deref() {
            Some(ALICE) => reply(200, r#"{"token":"good","refresh_token":"later"}"#),
            // bob:secret, carl:secret, dan:secret
            Some("Basic Ym9iOnNlY3JldA==") => reply(200, r#"{"access_token":"good"}"#),
            Some("Basic Y2FybDpzZWNyZXQ=") => reply(200, r#"{"token":"bad"}"#),
            Some("Basic ZGFuOnNlY3JldA==") => reply(200, "{}"),
            Some(_) => reply(401, r#"{"details":"incorrect username or password"}"#),
            None if body.contains("refresh_token=later") => {
                reply(200, r#"{"access_token":"good"}"#)
            }
            None if body.contains("refresh_token") => reply(401, ""),
            None => reply(200, r#"{"token":"nobody"}"#),
        };
    }
    match grant.as_deref() {
        Some("Bearer good") => reply(200, "{}"),
        _ => challenge(&format!(
            "Bearer realm=\"http://{address}/token\",service=\"svc\""
        )),
    }
}

#[tokio::test]
async fn a_registry_takes_a_password_or_does_not() {
    let server = Server::start(with_password).await;
    assert_eq!(server.login(&user("alice", "secret")).await.unwrap(), None);
    let url = format!("http://{}/v2/", server.address);
    assert_eq!(
        server.refusal(&user("alice", "wrong")).await,
        format!("login attempt to {url} failed with status: 401 Unauthorized")
    );
    let nobody = format!("Get \"{url}\": no basic auth credentials");
    assert_eq!(server.refusal(&Credentials::Anonymous).await, nobody);
    assert_eq!(server.refusal(&user("alice", "")).await, nobody);
}

#[tokio::test]
async fn a_token_server_gives_a_token_for_later() {
    let server = Server::start(with_tokens).await;
    let token = server.login(&user("alice", "secret")).await.unwrap();
    assert_eq!(token.as_deref(), Some("later"));
    let asked = "/token?account=alice&client_id=docker&offline_token=true&service=svc";
    let seen = server.seen();
    assert_eq!(seen[1].0, asked);
    // The password is for the token server alone.
    assert!(seen.iter().all(|(target, grant, _)| {
        target.starts_with("/token") || grant.as_deref() != Some(ALICE)
    }));
    assert_eq!(server.login(&user("bob", "secret")).await.unwrap(), None);
    let later = Credentials::IdentityToken("later".into());
    assert_eq!(
        server.login(&later).await.unwrap().as_deref(),
        Some("later")
    );
    let form = "client_id=docker&grant_type=refresh_token&refresh_token=later&scope=&service=svc";
    assert!(server.seen().iter().any(|(_, _, body)| body == form));
}

#[tokio::test]
async fn a_token_server_refuses_in_its_own_words() {
    let server = Server::start(with_tokens).await;
    let url = format!("http://{}/v2/", server.address);
    let refused = server.login(&user("eve", "x")).await.unwrap_err();
    assert!(matches!(&refused, LoginError::Refused(text)
        if *text == format!("Get \"{url}\": unauthorized: incorrect username or password")));
    let stale = Credentials::IdentityToken("stale".into());
    let refused = server.login(&stale).await.unwrap_err();
    assert!(matches!(refused, LoginError::Refused(_)), "{refused}");
    assert_eq!(
        server.refusal(&user("dan", "secret")).await,
        format!("Get \"{url}\": authorization server did not include a token in the response")
    );
    for credentials in [user("carl", "secret"), Credentials::Anonymous] {
        assert_eq!(
            server.refusal(&credentials).await,
            format!("login attempt to {url} failed with status: 401 Unauthorized")
        );
    }
}

#[tokio::test]
async fn servers_that_are_none_are_said_so() {
    let client = Client::new(Config::default());
    let alice = user("alice", "secret");
    let error = client.login("127.0.0.1:1", &alice).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused"
    );
    let error = client.login("https://a b/", &alice).await.unwrap_err();
    assert!(matches!(error, LoginError::Address(_)), "{error}");
}

fn index((target, grant, _): &Seen, _: SocketAddr) -> Reply {
    match target.as_str() {
        "/v1/_ping" => reply(404, "no such page"),
        "/v1/search?q=a+b%26c&n=7" if grant.as_deref() == Some(ALICE) => reply(
            200,
            r#"{"num_results":2,"results":[{"name":"a","star_count":3,"is_official":true,"is_automated":true},
                {"name":"b","description":"d\ne"}]}"#,
        ),
        "/v1/search?q=none&n=25" => reply(200, r#"{"results":null}"#),
        "/v1/search?q=bad&n=25" => reply(200, "{bad"),
        _ => reply(404, ""),
    }
}

#[tokio::test]
async fn an_index_is_searched() {
    let server = Server::start(index).await;
    let client = Client::new(Config {
        index: format!("http://{}/", server.address).parse().unwrap(),
        ..Config::default()
    });
    let term = |name: &str| format!("{}/{name}", server.address);
    let alice = user("alice", "secret");
    let found = client.search(&term("a b&c"), 7, &alice).await.unwrap();
    assert_eq!((found[0].name.as_str(), found[0].star_count), ("a", 3));
    assert!(found[0].is_official && !found[1].is_official);
    assert_eq!(found[1].description, "d\ne");
    let nobody = Credentials::Anonymous;
    for name in [
        "none".to_owned(),
        term("none"),
        "docker.io/library/none".to_owned(),
    ] {
        assert_eq!(client.search(&name, 0, &nobody).await.unwrap(), []);
    }
    let text = |error: SearchError| error.to_string();
    let missing = client.search(&term("x"), 0, &nobody).await.unwrap_err();
    assert_eq!(text(missing), "Unexpected status code 404");
    let bad = client.search("bad", 0, &nobody).await.unwrap_err();
    assert!(text(bad).starts_with("error decoding registry search results"));
    let many = client.search("x", 101, &nobody).await.unwrap_err();
    assert_eq!(text(many), "limit 101 is outside the range of [1, 100]");
    let scheme = client.search("http://x/y", 0, &nobody).await.unwrap_err();
    assert!(text(scheme).contains("should not have a scheme"));
    let nowhere = client
        .search("127.0.0.1:1/a", 0, &nobody)
        .await
        .unwrap_err();
    assert!(matches!(&nowhere, SearchError::Term(text) if text.contains("HTTP attempt: ")));
}
