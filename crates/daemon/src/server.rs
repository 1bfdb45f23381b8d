//! Accepts clients, serves each until it leaves, and stops in order.

use crate::access::{Door, Origin, Serves};
use crate::app::App;
use crate::listen::{Accepted, Listener};
use crate::transport::{Handover, Socket, Transport};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// How long requests may still take once the daemon was told to stop. Streams end at once; what is
/// left is work on containers, which is safe to be cut off at any point.
const GRACE: Duration = Duration::from_secs(10);

/// Serves `listeners` until `app`'s shutdown token is cancelled and the last request has ended.
pub(crate) async fn run(app: Arc<App>, listeners: Vec<(Door, Listener)>) {
    for (door, listener) in listeners {
        let accepting = accept(Arc::clone(&app), listener, Arc::new(door));
        app.accepting.spawn(accepting);
    }
    app.accepting.close();
    app.accepting.wait().await;
    app.clients.close();
    let finished = async {
        app.clients.wait().await;
        app.work.close();
        app.work.wait().await;
    };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
        let left = app.work.len();
        tracing::warn!(left, "stopping although requests are not finished");
    }
}

/// Accepts clients until the daemon stops or the door is closed.
pub(crate) async fn accept(app: Arc<App>, listener: Listener, door: Arc<Door>) {
    loop {
        let socket = tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = door.closed.cancelled() => return,
            socket = listener.accept() => socket,
        };
        match socket {
            Ok(socket) => {
                let (serving, door) = (Arc::clone(&app), Arc::clone(&door));
                app.clients.spawn(async move {
                    let closed = door.closed.clone();
                    until(&closed, serve(serving, socket, door)).await;
                });
            }
            Err(error) if is_about_one_client(&error) => {
                tracing::debug!(%error, "a client left before it was accepted");
            }
            Err(error) => {
                tracing::error!(%error, "could not accept a client");
                // Out of descriptors, most likely: accept(2) would fail again at once, and only
                // clients that leave make room.
                tokio::select! {
                    () = app.shutdown.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                }
            }
        }
    }
}

fn is_about_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NotConnected
    )
}

/// What becomes of a request.
type Answer = Result<http::Response<crate::reply::Held>, crate::app::TakenOver>;

/// Serves one connection: requests one after the other, until the client leaves, one of them takes
/// the connection over, or the daemon stops.
async fn serve(app: Arc<App>, client: Accepted, door: Arc<Door>) {
    let socket = match client.greet().await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, "a client did not agree on keys");
            return;
        }
    };
    let origin = Arc::new(Origin::of(&socket, door));
    let handover = Arc::new(Handover::default());
    let transport = Transport::new(socket, Arc::clone(&handover));
    let service = {
        let app = Arc::clone(&app);
        let handover = Arc::clone(&handover);
        service_fn(move |request: Request<Incoming>| {
            handover.begin();
            answer(
                Arc::clone(&app),
                Arc::clone(&handover),
                Arc::clone(&origin),
                request,
            )
        })
    };
    let mut connection = http1::Builder::new()
        .title_case_headers(true)
        .serve_connection(TokioIo::new(transport), service);
    let stopping = app.shutdown.cancelled();
    tokio::pin!(stopping);
    let mut told = false;
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break ended,
            () = &mut stopping, if !told => {
                told = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let (socket, unread) = parts.io.into_inner().into_parts();
    if let Some(hijack) = handover.take() {
        let read_too_far = match (parts.read_buf, unread) {
            (read, unread) if unread.is_empty() => read,
            (read, unread) => Bytes::from([read, unread].concat()),
        };
        until(&app.shutdown, hijack.run(socket, read_too_far)).await;
        return;
    }
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
    close(socket, &app.shutdown).await;
}

/// Answers a request in the way of the door it came in by.
fn answer(
    app: Arc<App>,
    handover: Arc<Handover>,
    origin: Arc<Origin>,
    request: Request<Incoming>,
) -> BoxFuture<'static, Answer> {
    match origin.door.serves {
        Serves::Api => {
            let routes = app.routes;
            Box::pin(crate::app::answer(app, routes, handover, origin, request))
        }
        Serves::Metrics => Box::pin(crate::metrics::answer(app, handover, request)),
        Serves::Page => Box::pin(crate::ui::answer(app, handover, origin, request)),
    }
}

/// How long a client that still sends may take to notice that it has been answered.
const LINGER: Duration = Duration::from_millis(500);

/// Ends a connection so that its client can read the last reply: closing a socket with unread input makes the kernel tell the
/// other side of an error (connection reset, broken pipe) and forget what it has not read yet. A client that is still sending the
/// body of a request that was refused would never learn why.
async fn close(mut socket: Socket, stop: &CancellationToken) {
    // The client may be gone already.
    let _ = socket.shutdown().await;
    let mut unread = vec![0; 16 * 1024];
    let drain = async { while matches!(socket.read(&mut unread).await, Ok(1..)) {} };
    tokio::select! {
        () = stop.cancelled() => {}
        _ = tokio::time::timeout(LINGER, drain) => {}
    }
}

/// Runs `work` to its end or until `stop`.
async fn until(stop: &CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ApiError;
    use crate::hijack::{self, Hijack, MULTIPLEXED_STREAM};
    use crate::listen::Address;
    use crate::reply::Outcome;
    use crate::router::Route;
    use http::Method;
    use std::path::PathBuf;
    use tokio::net::UnixStream;

    async fn echo(mut request: crate::request::Request) -> Result<Outcome, ApiError> {
        let _options: hull_api::exec::ExecStartRequest = request.json_or_default().await?;
        let upgrade = request.upgrade();
        // Gives the client time to send everything and end its input.
        tokio::task::yield_now().await;
        let (process, mut far) =
            UnixStream::pair().map_err(|error| ApiError::internal(error.to_string()))?;
        tokio::spawn(async move {
            let (mut read, mut write) = far.split();
            tokio::io::copy(&mut read, &mut write).await
        });
        Ok(Outcome::Hijack(Hijack::new(
            upgrade,
            MULTIPLEXED_STREAM,
            Box::new(move |socket, first| {
                Box::pin(async move {
                    hijack::join(socket, first, process, hijack::Input::default()).await;
                })
            }),
        )))
    }

    async fn for_ever(request: crate::request::Request) -> Result<Outcome, ApiError> {
        let pieces = futures_util::stream::pending();
        Ok(crate::reply::stream(request.app.shutdown.clone(), crate::reply::JSON, pieces).into())
    }

    async fn ping(_request: crate::request::Request) -> Result<Outcome, ApiError> {
        crate::reply::ok("pong")
    }

    static ROUTES: &[Route] = &[
        Route {
            method: Method::GET,
            pattern: "/_ping",
            handler: |request| Box::pin(ping(request)),
            name: "",
            lacks: "",
        },
        Route {
            method: Method::GET,
            pattern: "/for-ever",
            handler: |request| Box::pin(for_ever(request)),
            name: "",
            lacks: "",
        },
        Route {
            method: Method::POST,
            pattern: "/exec/{}/start",
            handler: |request| Box::pin(echo(request)),
            name: "",
            lacks: "",
        },
    ];

    struct Server {
        app: Arc<App>,
        path: PathBuf,
        running: tokio::task::JoinHandle<()>,
        _dir: tempfile::TempDir,
    }

    impl Server {
        async fn start() -> Self {
            Self::with(ROUTES).await
        }

        async fn with(routes: &'static [Route]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("h.sock");
            let address = Address::Unix(path.clone());
            let listener = Listener::bind(&address, Some("0"), None).await.unwrap();
            let app = crate::app::for_tests(routes, dir.path());
            let door = Door::new(&address, Serves::Api);
            let running = tokio::spawn(run(Arc::clone(&app), vec![(door, listener)]));
            Self {
                app,
                path,
                running,
                _dir: dir,
            }
        }

        async fn connect(&self) -> UnixStream {
            UnixStream::connect(&self.path).await.unwrap()
        }

        /// Sends `request`, ends the input and returns everything that comes back.
        async fn talk(&self, request: &str) -> String {
            let mut socket = self.connect().await;
            socket.write_all(request.as_bytes()).await.unwrap();
            socket.shutdown().await.unwrap();
            let mut reply = String::new();
            socket.read_to_string(&mut reply).await.unwrap();
            reply
        }

        async fn stop(self) {
            self.app.shutdown.cancel();
            self.running.await.unwrap();
        }
    }

    #[tokio::test]
    async fn replies_carry_dockerds_headers() {
        let server = Server::start().await;
        let reply = server
            .talk("GET /v1.51/_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
            .await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        for header in [
            "Api-Version: 1.51\r\n",
            "Ostype: linux\r\n",
            "Docker-Experimental: false\r\n",
            "Server: Docker/",
        ] {
            assert!(reply.contains(header), "{header}: {reply}");
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn errors_of_the_protocol_are_dockerds() {
        let server = Server::start().await;
        let get = async |path: &str| {
            server
                .talk(&format!(
                    "GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
                ))
                .await
        };
        let reply = get("/nope").await;
        assert!(
            reply.starts_with("HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"),
            "{reply}"
        );
        assert!(
            reply.ends_with("\r\n\r\n{\"message\":\"page not found\"}\n"),
            "{reply}"
        );
        let reply = get("/v1.99/_ping").await;
        assert!(reply.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{reply}");
        assert!(reply.ends_with("{\"message\":\"client version 1.99 is too new. Maximum supported API version is 1.51\"}\n"));
        let reply = get("/v1.12/_ping").await;
        assert!(
            reply.contains("Content-Type: text/plain; charset=utf-8\r\n"),
            "{reply}"
        );
        assert!(reply.ends_with("\r\n\r\nclient version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version\n"));
        let reply = get("//_ping").await;
        assert!(
            reply.contains("301 Moved Permanently") && reply.contains("Location: /_ping\r\n"),
            "{reply}"
        );
        assert!(get("/%zz").await.starts_with("HTTP/1.1 400 "));
        let reply = get("/_ping?filters={\"a\":[\"<b>\"]}").await;
        assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
        server.stop().await;
    }

    #[tokio::test]
    async fn what_is_no_http_is_refused_and_harms_nobody() {
        let server = Server::start().await;
        for garbage in [
            "GARBAGE\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "\0\u{1}\u{2}",
            "GET /_ping HTTP/1.1\r\nA\r\n\r\n",
        ] {
            let reply = server.talk(garbage).await;
            assert!(
                reply.is_empty() || reply.starts_with("HTTP/1.1 400 "),
                "{garbage:?}: {reply}"
            );
        }
        let long = format!("GET /_ping HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
        let mut socket = server.connect().await;
        // The daemon stops reading on its way; that is the point.
        let _ = socket.write_all(long.as_bytes()).await;
        assert!(
            server
                .talk("GET /_ping HTTP/1.1\r\nConnection: close\r\n\r\n")
                .await
                .contains("pong")
        );
        server.stop().await;
    }

    #[tokio::test]
    async fn a_refusal_reaches_a_client_that_is_still_sending() {
        let server = Server::with(crate::routes::ROUTES).await;
        let mut socket = server.connect().await;
        let head = "POST /session HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: 4000000\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut first = [0; 8];
        socket.read_exact(&mut first).await.unwrap();
        // The reply has begun, and the body is only sent now.
        socket.write_all(&vec![b'x'; 1_000_000]).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut reply = String::new();
        socket.read_to_string(&mut reply).await.unwrap();
        assert!(
            first == *b"HTTP/1.1" && reply.starts_with(" 400 "),
            "{reply}"
        );
        server.stop().await;
    }

    #[tokio::test]
    async fn an_upgrade_hands_over_the_bytes_behind_the_request() {
        let server = Server::start().await;
        let reply = server
            .talk("POST /v1.51/exec/a/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n{}hello")
            .await;
        assert_eq!(
            reply,
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello"
        );
        server.stop().await;
    }

    #[tokio::test]
    async fn a_client_that_asks_for_no_upgrade_gets_the_bare_stream() {
        let server = Server::start().await;
        let reply = server
            .talk("POST /exec/a/start HTTP/1.1\r\nHost: d\r\n\r\nhello")
            .await;
        assert_eq!(
            reply,
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nhello"
        );
        server.stop().await;
    }

    #[tokio::test]
    async fn a_stream_may_follow_other_requests_and_come_in_pieces() {
        let server = Server::start().await;
        let mut socket = server.connect().await;
        socket
            .write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
            .await
            .unwrap();
        let mut piece = [0; 4096];
        let count = socket.read(&mut piece).await.unwrap();
        assert!(piece[..count].ends_with(b"\"pong\"\n"));
        for part in [
            "POST /exec/a/start HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\n",
            "Connection: upgrade\r\n\r\n",
        ] {
            socket.write_all(part.as_bytes()).await.unwrap();
        }
        let count = socket.read(&mut piece).await.unwrap();
        assert!(piece[..count].starts_with(b"HTTP/1.1 101 UPGRADED\r\n"));
        socket.write_all(b"later").await.unwrap();
        socket.shutdown().await.unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert!(rest.ends_with(b"later"));
        server.stop().await;
    }

    #[tokio::test]
    async fn stopping_ends_streams_and_idle_connections() {
        let server = Server::start().await;
        let mut idle = server.connect().await;
        idle.write_all(b"GET /_ping HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        let mut piece = [0; 4096];
        assert!(idle.read(&mut piece).await.unwrap() > 0);
        let mut hijacked = server.connect().await;
        hijacked
            .write_all(b"POST /exec/a/start HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        assert!(hijacked.read(&mut piece).await.unwrap() > 0);
        let path = server.path.clone();
        server.stop().await;
        let mut rest = Vec::new();
        idle.read_to_end(&mut rest).await.unwrap();
        hijacked.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty() && !path.exists());
    }

    /// Request line, headers, body; status and body of the reply.
    type Case = (&'static str, &'static str, &'static str, u16, &'static str);

    const JSON: &str = "Content-Type: application/json\r\n";

    /// The answers are those of dockerd 28.5 to the same requests.
    const CASES: &[Case] = &[
        ("GET /containers/json?all=1", "", "", 200, "[]"),
        ("GET /images/json", "", "", 200, "[]"),
        (
            "GET /volumes",
            "",
            "",
            200,
            r#"{"Volumes":[],"Warnings":null}"#,
        ),
        ("GET /plugins", "", "", 200, "[]"),
        (
            "POST /volumes/prune",
            "",
            "",
            200,
            r#"{"VolumesDeleted":[],"SpaceReclaimed":0}"#,
        ),
        (
            "POST /images/prune",
            "",
            "",
            200,
            r#"{"ImagesDeleted":null,"SpaceReclaimed":0}"#,
        ),
        (
            "POST /images/prune?filters=%7B%22until%22%3A%5B%22nope%22%5D%7D",
            "",
            "",
            500,
            r#"{"message":"failed to parse value as time or duration: \"nope\""}"#,
        ),
        (
            "POST /images/prune?filters=%7B%22dangling%22%3A%5B%22maybe%22%5D%7D",
            "",
            "",
            400,
            r#"{"message":"invalid filter 'dangling=[maybe]'"}"#,
        ),
        (
            "POST /networks/prune",
            "",
            "",
            200,
            r#"{"NetworksDeleted":null}"#,
        ),
        (
            "POST /build/prune",
            "",
            "",
            200,
            r#"{"CachesDeleted":null,"SpaceReclaimed":0}"#,
        ),
        (
            "GET /system/df?type=volume&type=build-cache",
            "",
            "",
            200,
            r#"{"LayersSize":0,"Images":null,"Containers":null,"Volumes":[],"BuildCache":[]}"#,
        ),
        (
            "GET /system/df?type=nope",
            "",
            "",
            400,
            r#"{"message":"unknown object type: nope"}"#,
        ),
        (
            "GET /containers/abc/json",
            "",
            "",
            404,
            r#"{"message":"No such container: abc"}"#,
        ),
        (
            "GET /images/a/b/c:d/json",
            "",
            "",
            404,
            r#"{"message":"No such image: a/b/c:d"}"#,
        ),
        (
            "GET /networks/nosuch",
            "",
            "",
            404,
            r#"{"message":"network nosuch not found"}"#,
        ),
        (
            "GET /volumes/nosuch",
            "",
            "",
            404,
            r#"{"message":"get nosuch: no such volume"}"#,
        ),
        (
            "GET /exec/nosuch/json",
            "",
            "",
            404,
            r#"{"message":"No such exec instance: nosuch"}"#,
        ),
        (
            "POST /containers/nosuch/start",
            "",
            "",
            404,
            r#"{"message":"No such container: nosuch"}"#,
        ),
        (
            "POST /containers/nosuch/kill?signal=BAD",
            "",
            "",
            400,
            r#"{"message":"cannot kill container: nosuch: invalid signal: BAD"}"#,
        ),
        (
            "POST /containers/nosuch/wait?condition=bad",
            "",
            "",
            400,
            r#"{"message":"invalid condition: \"bad\""}"#,
        ),
        (
            "POST /containers/nosuch/resize?h=a&w=1",
            "",
            "",
            400,
            r#"{"message":"invalid resize height \"a\": invalid syntax"}"#,
        ),
        (
            "POST /containers/nosuch/rename",
            "",
            "",
            400,
            r#"{"message":"Neither old nor new names may be empty"}"#,
        ),
        (
            "GET /containers/abc/logs",
            "",
            "",
            400,
            r#"{"message":"Bad parameters: you must choose at least one stream"}"#,
        ),
        (
            "GET /containers/json?filters=xx",
            "",
            "",
            400,
            r#"{"message":"invalid filter"}"#,
        ),
        (
            "GET /containers/json?filters={%22nope%22:[%22a%22]}",
            "",
            "",
            400,
            r#"{"message":"invalid filter 'nope'"}"#,
        ),
        (
            "GET /containers/json?limit=abc",
            "",
            "",
            500,
            r#"{"message":"strconv.Atoi: parsing \"abc\": invalid syntax"}"#,
        ),
        (
            "GET /events?since=5&until=4",
            "",
            "",
            400,
            r#"{"message":"`since` time (5) cannot be after `until` time (4)"}"#,
        ),
        (
            "POST /containers/create",
            JSON,
            r#"{"Image":"nosuch:1"}"#,
            404,
            r#"{"message":"No such image: nosuch:1"}"#,
        ),
        (
            "POST /containers/create",
            JSON,
            "{}",
            400,
            r#"{"message":"config cannot be empty in order to create a container"}"#,
        ),
        (
            "POST /containers/create",
            "",
            r#"{"Image":"bb"}"#,
            400,
            r#"{"message":"malformed Content-Type header (): mime: no media type"}"#,
        ),
        (
            "POST /containers/x/exec",
            JSON,
            r#"{"Cmd":[]}"#,
            400,
            r#"{"message":"No exec command specified"}"#,
        ),
    ];

    #[tokio::test]
    async fn an_empty_engine_answers_as_dockerd_does() {
        let server = Server::with(crate::routes::ROUTES).await;
        for (line, headers, body, status, answer) in CASES {
            let length = body.len();
            let reply = server
                .talk(&format!("{line} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"))
                .await;
            assert!(
                reply.starts_with(&format!("HTTP/1.1 {status} ")),
                "{line}: {reply}"
            );
            assert!(
                reply.ends_with(&format!("\r\n\r\n{answer}\n")),
                "{line}: {reply}"
            );
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn attaching_to_nothing_is_told_in_the_streams_own_form() {
        let server = Server::with(crate::routes::ROUTES).await;
        let reply = server
            .talk("POST /containers/nosuch/attach?stream=1 HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
            .await;
        assert!(reply.starts_with("HTTP/1.1 404 "), "{reply}");
        assert!(
            reply.contains("Content-Type: application/vnd.docker.raw-stream\r\n"),
            "{reply}"
        );
        assert!(
            reply.ends_with("\r\n\r\nNo such container: nosuch\r\n"),
            "{reply}"
        );
        server.stop().await;
    }

    #[tokio::test]
    async fn the_work_of_a_client_that_leaves_is_finished() {
        static DONE: tokio::sync::Notify = tokio::sync::Notify::const_new();
        static GO: tokio::sync::Notify = tokio::sync::Notify::const_new();
        static SLOW: &[Route] = &[Route {
            method: Method::GET,
            pattern: "/slow",
            handler: |_request| {
                Box::pin(async {
                    GO.notified().await;
                    DONE.notify_one();
                    crate::reply::done()
                })
            },
            name: "",
            lacks: "",
        }];
        let server = Server::with(SLOW).await;
        let mut socket = server.connect().await;
        socket
            .write_all(b"GET /slow HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        // Only a request that is being worked on can be left.
        while server.app.work.is_empty() {
            tokio::task::yield_now().await;
        }
        drop(socket);
        GO.notify_one();
        DONE.notified().await;
        server.stop().await;
    }

    #[tokio::test]
    async fn stopping_ends_endless_replies() {
        let server = Server::start().await;
        let mut socket = server.connect().await;
        socket
            .write_all(b"GET /for-ever HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        let mut piece = [0; 4096];
        assert!(socket.read(&mut piece).await.unwrap() > 0);
        server.stop().await;
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
    }
}
