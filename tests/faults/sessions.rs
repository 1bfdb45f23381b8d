//! The builder's connections, which change to HTTP/2, with clients that do not keep to it: frames that lie, headers without
//! an end, floods, silence. Only their connection ends; the daemon's memory stays what it is.

use hull_tests::client::Client;
use hull_tests::daemon::{Daemon, wait_until};
use hull_tests::setup::with;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Bytes of a flood, if nobody ends it.
const FLOOD: usize = 1 << 20;
/// The daemon may have so many more afterwards, kB.
const MAX_GROWTH: u64 = 16 << 10;

/// A frame whose head says `length`, whatever `body` has.
fn claims(length: u32, kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(body);
    frame
}

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("test data");
    claims(length, kind, flags, stream, body)
}

/// A header as HPACK has one that is in no table.
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        // Lengths from 127 on take a second byte, which is enough here.
        let length = text.len();
        let mut bytes = match u8::try_from(length) {
            Ok(short) if short < 127 => vec![short],
            _ => vec![127, u8::try_from(length - 127).expect("test data")],
        };
        bytes.extend(text.as_bytes());
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}

/// The headers of a call.
fn call(path: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "d"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    let headers = headers.map(|(name, value)| header(name, value));
    headers.concat()
}

/// A connection that has changed its protocol.
fn change(daemon: &Daemon<'_>, path: &str, headers: &str) -> UnixStream {
    let mut stream = UnixStream::connect(daemon.socket()).expect("test data");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("test data");
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("test data");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).expect("test data");
    let mut reply = Vec::new();
    let mut byte = [0];
    while !reply.ends_with(b"\r\n\r\n") {
        assert_eq!(
            stream.read(&mut byte).expect("test data"),
            1,
            "no answer to {path}"
        );
        reply.push(byte[0]);
    }
    let reply = String::from_utf8(reply).expect("test data");
    assert!(reply.starts_with("HTTP/1.1 101 "), "{reply}");
    stream
}

fn introduction(id: &str) -> String {
    format!(
        "X-Docker-Expose-Session-Uuid: {id}\r\nX-Docker-Expose-Session-Grpc-Method: /moby.filesync.v1.FileSync/DiffCopy\r\n"
    )
}

/// Reads to the end of the connection.
fn until_end(mut stream: &UnixStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }
}

/// Sends until nobody takes it any more, or enough was sent.
fn flood(mut stream: &UnixStream, piece: impl Fn(u32) -> Vec<u8>) {
    let mut sent = 0;
    for number in 0.. {
        let piece = piece(number);
        if sent > FLOOD || stream.write_all(&piece).is_err() {
            return;
        }
        sent += piece.len();
    }
}

/// Resident memory of the daemon, kB.
fn memory(daemon: &Daemon<'_>) -> u64 {
    let status =
        fs_err::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("test data");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.expect("test data").split_whitespace().next();
    number.expect("test data").parse().expect("test data")
}

fn is_well(daemon: &Daemon<'_>) {
    assert_eq!(daemon.get("/_ping").text(), "OK");
}

#[test]
fn frames_that_lie_end_only_their_connection() {
    with(Client::Hull, |s| {
        let settings = frame(SETTINGS, 0, 0, &[]);
        let solve = call("/moby.buildkit.v1.Control/Solve");
        // Each breaks a rule of RFC 9113 that ends the connection.
        let broken: [(&str, Vec<u8>); 9] = [
            (
                "no preface",
                b"GET / HTTP/1.1\r\nHost: d\r\n\r\nxxxxxxxx".to_vec(),
            ),
            ("a preface, then nonsense", [PREFACE, &[0xff; 64]].concat()),
            (
                "a frame that is too large",
                [PREFACE, &settings, &claims(0xff_ffff, DATA, 0, 1, &[0; 64])].concat(),
            ),
            (
                "data of no stream",
                [PREFACE, &settings, &frame(DATA, 0, 0, b"x")].concat(),
            ),
            (
                "headers of an even stream",
                [PREFACE, &settings, &frame(HEADERS, END_HEADERS, 2, &solve)].concat(),
            ),
            (
                "settings of an odd length",
                [PREFACE, &frame(SETTINGS, 0, 0, &[1, 2, 3])].concat(),
            ),
            (
                "a ping of an odd length",
                [PREFACE, &settings, &frame(PING, 0, 0, &[1])].concat(),
            ),
            (
                "headers that go on with something else",
                [
                    PREFACE,
                    &settings,
                    &frame(HEADERS, 0, 1, &solve[..9]),
                    &frame(PING, 0, 0, &[0; 8]),
                ]
                .concat(),
            ),
            (
                "an index that no table has",
                [
                    PREFACE,
                    &settings,
                    &frame(HEADERS, END_HEADERS, 1, &[0xff, 0xff, 0xff, 0x7f]),
                ]
                .concat(),
            ),
        ];
        for (what, bytes) in &broken {
            println!("/grpc: {what}");
            let mut stream = change(&s.daemon, "/grpc", "");
            stream.write_all(bytes).expect("test data");
            until_end(&stream);
            is_well(&s.daemon);
        }
        // The client is the server here: it has no preface, and must not begin a stream.
        let broken: [(&str, Vec<u8>); 5] = [
            ("nonsense", vec![0xff; 64]),
            (
                "another protocol",
                b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(),
            ),
            (
                "a frame that is too large",
                [&settings[..], &claims(0xff_ffff, DATA, 0, 1, &[0; 64])].concat(),
            ),
            (
                "a stream that nobody began",
                [
                    &settings[..],
                    &frame(HEADERS, END_HEADERS, 1, &header(":status", "200")),
                ]
                .concat(),
            ),
            (
                "a ping of an odd length",
                [&settings[..], &frame(PING, 0, 0, &[1])].concat(),
            ),
        ];
        for (what, bytes) in &broken {
            println!("/session: {what}");
            let mut stream = change(&s.daemon, "/session", &introduction("broken"));
            stream.write_all(bytes).expect("test data");
            until_end(&stream);
            // Its name is free again.
            wait_until("the session is forgotten", || {
                let again = plain_session(&s.daemon, "broken");
                (!again.contains("already exists"))
                    .then_some(())
                    .ok_or(again)
            });
        }
        is_well(&s.daemon);
    });
}

/// The answer to a session that does not ask for the other protocol: an error, but which one tells of the name.
fn plain_session(daemon: &Daemon<'_>, id: &str) -> String {
    let mut stream = UnixStream::connect(daemon.socket()).expect("test data");
    let head = format!(
        "POST /session HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: 0\r\n{}\r\n",
        introduction(id)
    );
    stream.write_all(head.as_bytes()).expect("test data");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("test data");
    reply
}

#[test]
fn calls_that_lie_are_answered_with_an_error() {
    with(Client::Hull, |s| {
        let prefix = |compressed: u8, length: u32| {
            let mut bytes = vec![compressed];
            bytes.extend(length.to_be_bytes());
            bytes
        };
        let solve = "/moby.buildkit.v1.Control/Solve";
        let calls: [(&str, &str, Vec<u8>); 8] = [
            (
                "an unknown method",
                "/moby.buildkit.v1.Control/Nosuch",
                prefix(0, 0),
            ),
            ("an unknown service", "/no.such/Thing", prefix(0, 0)),
            ("no name at all", "/", Vec::new()),
            ("a message of 4 GiB", solve, prefix(0, u32::MAX)),
            (
                "a message that is shorter than it says",
                solve,
                [prefix(0, 1000), vec![0; 10]].concat(),
            ),
            (
                "a message that was packed",
                solve,
                [prefix(1, 4), vec![0; 4]].concat(),
            ),
            (
                "a message that is none",
                solve,
                [prefix(0, 8), vec![0xff; 8]].concat(),
            ),
            ("no message", solve, Vec::new()),
        ];
        let mut stream = change(&s.daemon, "/grpc", "");
        stream
            .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())
            .expect("test data");
        for (number, (what, path, body)) in (0..).zip(&calls) {
            println!("{what}");
            let id = 2 * number + 1;
            let headers = frame(HEADERS, END_HEADERS, id, &call(path));
            let body = frame(DATA, END_STREAM, id, body);
            stream
                .write_all(&[headers, body].concat())
                .expect("test data");
            // The same connection goes on: each call is answered, and ended.
            loop {
                let mut head = [0; 9];
                stream.read_exact(&mut head).expect("test data");
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(length).expect("test data")];
                stream.read_exact(&mut payload).expect("test data");
                let of = u32::from_be_bytes(head[5..].try_into().expect("test data"));
                let ends = head[4] & END_STREAM != 0 && matches!(head[3], DATA | HEADERS);
                if of == id && (ends || head[3] == RESET) {
                    break;
                }
            }
        }
        drop(stream);
        is_well(&s.daemon);
    });
}

#[test]
fn floods_cost_the_daemon_nothing() {
    with(Client::Hull, |s| {
        let settings = frame(SETTINGS, 0, 0, &[]);
        let solve = call("/moby.buildkit.v1.Control/Solve");
        is_well(&s.daemon);
        let before = memory(&s.daemon);
        let bounded = |what: &str| {
            let now = memory(&s.daemon);
            assert!(
                now < before + MAX_GROWTH,
                "{what}: {before} kB became {now} kB"
            );
            is_well(&s.daemon);
        };
        // Headers without an end (CVE-2024-27316), streams that are taken back at once (CVE-2023-44487), and what has
        // to be answered by a daemon to which nobody listens (CVE-2019-9512, CVE-2019-9515).
        for (what, first, piece) in [
            (
                "continuations",
                frame(HEADERS, 0, 1, &solve),
                &(|_| {
                    frame(
                        CONTINUATION,
                        0,
                        1,
                        &header("x", &"y".repeat(200)).repeat(60),
                    )
                }) as &dyn Fn(u32) -> Vec<u8>,
            ),
            ("empty continuations", frame(HEADERS, 0, 1, &solve), &|_| {
                frame(CONTINUATION, 0, 1, &[]).repeat(1000)
            }),
            ("resets", Vec::new(), &|number| {
                (0..100)
                    .flat_map(|more| {
                        let id = 2 * (number * 100 + more) + 1;
                        [
                            frame(HEADERS, END_HEADERS, id, &solve),
                            frame(RESET, 0, id, &[0, 0, 0, 8]),
                        ]
                        .concat()
                    })
                    .collect()
            }),
            ("pings", Vec::new(), &|_| {
                frame(PING, 0, 0, &[7; 8]).repeat(1000)
            }),
            ("settings", Vec::new(), &|_| settings.repeat(1000)),
        ] {
            println!("/grpc: {what}");
            let mut stream = change(&s.daemon, "/grpc", "");
            let _ = stream.write_all(&[PREFACE, &settings, &first].concat());
            flood(&stream, piece);
            bounded(what);
            if first.is_empty() && what != "resets" {
                println!("/session: {what}");
                let mut stream = change(&s.daemon, "/session", &introduction(what));
                let _ = stream.write_all(&settings);
                flood(&stream, piece);
                bounded(what);
            }
        }
        // Many that say nothing at all.
        let silent: Vec<UnixStream> = (0..200)
            .map(|number| match number % 2 {
                0 => change(&s.daemon, "/grpc", ""),
                _ => change(
                    &s.daemon,
                    "/session",
                    &introduction(&format!("silent-{number}")),
                ),
            })
            .collect();
        bounded("silence");
        drop(silent);
        bounded("the end");
    });
}

#[test]
fn introductions_that_are_none_are_refused() {
    with(Client::Hull, |s| {
        let ask = |headers: &str| {
            let mut stream = UnixStream::connect(s.daemon.socket()).expect("test data");
            let head = format!(
                "POST /session HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{headers}\r\n"
            );
            // Who refuses need not have read all of it.
            let _ = stream.write_all(head.as_bytes());
            let mut reply = [0; 16];
            stream.read_exact(&mut reply).expect("test data");
            String::from_utf8_lossy(&reply[9..12]).into_owned()
        };
        assert_eq!(ask(""), "400", "no id");
        assert_eq!(ask(&introduction("")), "400", "an empty id");
        assert_eq!(ask(&introduction(&"x".repeat(5000))), "400", "a long id");
        assert_eq!(
            ask(&introduction("\u{e9}")),
            "400",
            "an id that is no ASCII"
        );
        let _held = change(&s.daemon, "/session", &introduction("twice"));
        wait_until("the session began", || {
            let reply = plain_session(&s.daemon, "twice");
            reply.contains("already exists").then_some(()).ok_or(reply)
        });
        assert_eq!(ask(&introduction("twice")), "500", "an id that is taken");
        // More headers than a head may have.
        let many = "X-Docker-Expose-Session-Grpc-Method: /a/b\r\n".repeat(5000);
        let refused = ask(&format!("{}{many}", introduction("many")));
        assert!(refused.starts_with('4'), "{refused}");
        is_well(&s.daemon);
    });
}
