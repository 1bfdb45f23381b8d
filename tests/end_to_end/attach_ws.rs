//! `attach` over a websocket, spoken byte by byte.

use hull_tests::setup::{Setup, with_each_client};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

/// A websocket's client, as much of RFC 6455 as this takes.
struct Web(BufReader<UnixStream>);

impl Web {
    fn open(s: &Setup<'_>, target: &str) -> Self {
        let mut socket = UnixStream::connect(s.daemon.socket()).expect("connect");
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://x\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).expect("ask");
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).expect("a head") > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        Self(reader)
    }

    fn send(&mut self, text: &str) {
        let mut frame = vec![
            0x81,
            0x80 | u8::try_from(text.len()).expect("short"),
            0,
            0,
            0,
            0,
        ];
        frame.extend_from_slice(text.as_bytes());
        self.0.get_mut().write_all(&frame).expect("send");
    }

    /// The kinds of the messages until the end, and what is in them.
    fn rest(mut self) -> (Vec<u8>, String) {
        let (mut kinds, mut text) = (Vec::new(), String::new());
        loop {
            let mut head = [0; 2];
            if self.0.read_exact(&mut head).is_err() {
                return (kinds, text);
            }
            let mut length = u64::from(head[1]);
            if length == 126 {
                let mut long = [0; 2];
                self.0.read_exact(&mut long).expect("a length");
                length = u16::from_be_bytes(long).into();
            }
            let mut payload = vec![0; usize::try_from(length).expect("a length")];
            self.0.read_exact(&mut payload).expect("a message");
            match head[0] & 15 {
                8 => return (kinds, text),
                kind => kinds.push(kind),
            }
            text += &String::from_utf8(payload).expect("text");
        }
    }
}

#[test]
fn a_browser_can_attach() {
    with_each_client(|s| {
        let script = "echo before; read x; echo \"got $x\"; echo err >&2; exit 0";
        let run = [
            "run", "-d", "-i", "--name", "ww", "busybox", "sh", "-c", script,
        ];
        let _ = s.run(&run).ok();
        let target = "/v1.51/containers/ww/attach/ws?stream=1&logs=1&stdin=1&stdout=1&stderr=1";
        let mut web = Web::open(s, target);
        web.send("typed\n");
        let (kinds, text) = web.rest();
        assert!(kinds.iter().all(|kind| *kind == 2), "binary: {kinds:?}");
        // The log is replayed before what comes; what is in both may come twice.
        assert!(text.contains("before\n"), "{text}");
        assert!(
            text.contains("got typed\n") && text.contains("err\n"),
            "{text}"
        );
        let _ = s.line("wait ww").ok();
        // Clients before API 1.28 get text, those before 1.42 all streams.
        let (kinds, text) = Web::open(s, "/v1.27/containers/ww/attach/ws?logs=1").rest();
        assert!(kinds.iter().all(|kind| *kind == 1), "text: {kinds:?}");
        assert!(text.contains("err\n"), "{text}");

        assert_eq!(
            s.daemon.get("/containers/none/attach/ws?logs=1").status,
            404
        );
        let plain = s.daemon.get("/v1.51/containers/ww/attach/ws?logs=1");
        assert_eq!(plain.status, 400, "{plain:?}");
    });
}
