//! Clients that send what is no request, send it slowly or not to its end, or only hold their connection: they are told so or let
//! go, others notice nothing, and the daemon's memory stays bounded.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use hull_tests::daemon::Daemon;
use hull_tests::host::Host;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn connect(daemon: &Daemon<'_>) -> UnixStream {
    let stream = UnixStream::connect(daemon.socket()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

/// Sends `bytes`, ends the input, and gives the first line of what comes back.
fn talk(daemon: &Daemon<'_>, bytes: &[u8]) -> String {
    let mut stream = connect(daemon);
    // A daemon that has heard enough hangs up before the end.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Anonymous memory of a process, in kB: `RssAnon` of proc(5).
fn memory(pid: u32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn what_is_no_request_is_refused() {
    let host = Host::start();
    let daemon = Daemon::start(&host, &[]);
    let post = |headers: &str, body: &str| {
        format!(
            "POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{headers}\r\n{body}"
        )
    };
    let json = "Content-Type: application/json\r\n";
    let long = "a".repeat(1 << 20);
    for (what, bytes, statuses) in [
        (
            "no HTTP",
            "\0\x01\x02\x03\r\n\r\n".to_owned(),
            &["", "400"][..],
        ),
        (
            "another protocol",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
            &["", "400"],
        ),
        (
            "TLS",
            "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03".to_owned(),
            &["", "400"],
        ),
        (
            "another version",
            "GET /_ping HTTP/9.9\r\n\r\n".to_owned(),
            &["", "400", "505"],
        ),
        (
            "no target",
            "GET  HTTP/1.1\r\n\r\n".to_owned(),
            &["", "400"],
        ),
        (
            "a long target",
            format!("GET /{long} HTTP/1.1\r\n\r\n"),
            &["", "400", "414", "431"],
        ),
        (
            "a long header",
            format!("GET /_ping HTTP/1.1\r\nX: {long}\r\n\r\n"),
            &["", "400", "431"],
        ),
        (
            "many headers",
            format!("GET /_ping HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(5000)),
            &["", "400", "431"],
        ),
        (
            "a negative length",
            post(&format!("{json}Content-Length: -1\r\n"), "{}"),
            &["", "400"],
        ),
        (
            "two lengths",
            post(
                &format!("{json}Content-Length: 2\r\nContent-Length: 9\r\n"),
                "{}",
            ),
            &["", "400"],
        ),
        (
            "a huge length",
            post(
                &format!("{json}Content-Length: 99999999999999999999\r\n"),
                "{}",
            ),
            &["", "400", "413"],
        ),
        (
            "a bad chunk",
            post(
                &format!("{json}Transfer-Encoding: chunked\r\n"),
                "zz\r\n{}\r\n",
            ),
            &["", "400"],
        ),
        (
            "a body cut off",
            post(&format!("{json}Content-Length: 100\r\n"), "{\"Image\":"),
            &["", "400"],
        ),
        (
            "no JSON",
            post(&format!("{json}Content-Length: 3\r\n"), "\0\0\0"),
            &["400"],
        ),
        (
            "no UTF-8",
            post(&format!("{json}Content-Length: 2\r\n"), "\u{e9}"),
            &["400"],
        ),
        (
            "deep JSON",
            post(
                &format!("{json}Content-Length: 100000\r\n"),
                &"[".repeat(100_000),
            ),
            &["400"],
        ),
        (
            "a path that climbs",
            "GET /../../etc/passwd HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            &["301"],
        ),
        (
            "a path that hides",
            "GET /%2e%2e%2fetc HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            &["301"],
        ),
        (
            "a bad escape",
            "GET /%zz HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            &["400"],
        ),
    ] {
        let line = talk(&daemon, bytes.as_bytes());
        let status = line.split(' ').nth(1).unwrap_or_default();
        assert!(statuses.contains(&status), "{what}: {line:?}");
        assert_eq!(daemon.get("/_ping").status, 200, "{what}");
    }
}

#[test]
fn bodies_without_end_are_bounded() {
    let host = Host::start();
    let daemon = Daemon::start(&host, &[]);
    let before = memory(daemon.pid());
    let mut stream = connect(&daemon);
    let head = "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let piece = [b' '; 1 << 20];
    let chunk = format!("{:x}\r\n", piece.len());
    // It ends when the daemon has waited long enough for the reply to be read.
    while stream.write_all(chunk.as_bytes()).is_ok()
        && stream.write_all(&piece).is_ok()
        && stream.write_all(b"\r\n").is_ok()
    {}
    // Whether the refusal is still read depends on who is faster; that it comes to an end does not.
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    assert!(
        reply.is_empty() || reply.starts_with("HTTP/1.1 413 "),
        "{reply}"
    );
    let grown = memory(daemon.pid()).saturating_sub(before);
    assert!(grown < 128 << 10, "{grown} kB more");
    assert_eq!(daemon.get("/_ping").status, 200);
}

#[test]
fn a_thousand_idle_connections_hinder_nobody() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let raised = setrlimit(Resource::Nofile, limit).is_ok();
    if !hull_tests::can_run(
        "a limit of 4096 open files",
        raised && limit.maximum.is_none_or(|max| max > 4096),
    ) {
        return;
    }
    let host = Host::start();
    let daemon = Daemon::start(&host, &[]);
    let before = memory(daemon.pid());
    let idle: Vec<UnixStream> = (0..1000).map(|_| connect(&daemon)).collect();
    // As many have said half of what they want, and as many have been answered once.
    let mut halves: Vec<UnixStream> = (0..1000).map(|_| connect(&daemon)).collect();
    for stream in &mut halves {
        stream
            .write_all(b"GET /containers/json HTTP/1.1\r\nHost")
            .unwrap();
    }
    let mut asked: Vec<UnixStream> = (0..1000).map(|_| connect(&daemon)).collect();
    for stream in &mut asked {
        stream
            .write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
            .unwrap();
        let mut reply = [0; 4096];
        let length = stream.read(&mut reply).unwrap();
        assert!(reply[..length].starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(daemon.get("/containers/json").status, 200);
    let grown = memory(daemon.pid()).saturating_sub(before);
    assert!(grown < 3000 * 32, "{grown} kB for 3,000 connections");
    // Slow clients are served when they have said all.
    for stream in &mut halves[..10] {
        for byte in b": d\r\nConnection: close\r\n\r\n" {
            stream.write_all(&[*byte]).unwrap();
        }
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    }
    drop((idle, halves, asked));
    assert_eq!(daemon.get("/_ping").status, 200);
}
