//! The program and servers of the tests' own: what arrives, what is told when nobody is there, and what is not lost
//! when a server is replaced.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "tests, and what they share"
)]

use hull_logger::{About, Driver, Settings};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// A program with a driver that is ready.
struct Logger {
    child: Child,
    socket: UnixStream,
}

fn settings(driver: Driver, options: &[(&str, &str)]) -> Settings {
    Settings {
        driver,
        options: options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        buffer: None,
        about: About {
            id: "c".repeat(64),
            name: "web".to_owned(),
            host: "host".to_owned(),
            tag: "tag".to_owned(),
            attributes: BTreeMap::from([("a".to_owned(), "1".to_owned())]),
            ..About::default()
        },
        status: None,
        journal: None,
        again: false,
        lost: 0,
    }
}

/// Starts it; why the driver does not start.
fn try_start(settings: &Settings) -> Result<Logger, String> {
    let (mut socket, theirs) = UnixStream::pair().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_hull-logger"))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    let bytes = serde_json::to_vec(settings).unwrap();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    socket.write_all(&[&length, &bytes[..]].concat()).unwrap();
    let mut length = [0; 4];
    socket.read_exact(&mut length).unwrap();
    let mut why = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut why).unwrap();
    let mut logger = Logger { child, socket };
    if why.is_empty() {
        return Ok(logger);
    }
    assert!(!logger.child.wait().unwrap().success());
    Err(String::from_utf8(why).unwrap())
}

fn start(driver: Driver, options: &[(&str, &str)]) -> Logger {
    try_start(&settings(driver, options)).unwrap()
}

impl Logger {
    fn write(&mut self, line: &[u8]) {
        let mut body = b"\x0a\x06stdout\x10\x80\x80\x80\x80\x80\x80\x80\x80\x01\x1a".to_vec();
        let mut length = line.len();
        while length >= 0x80 {
            body.push(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        body.push(length.to_le_bytes()[0]);
        body.extend_from_slice(line);
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        self.socket
            .write_all(&[&length, &body[..], &length].concat())
            .unwrap();
    }

    /// The container has ended, and then the program.
    fn end(mut self) {
        drop(self.socket);
        assert!(self.child.wait().unwrap().success());
    }
}

fn listen(scheme: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("{scheme}://{}", listener.local_addr().unwrap());
    (listener, address)
}

/// Until the other side's kernel has all that was written.
fn wait_until_taken(stream: &TcpStream) {
    let place = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let ours = place(stream.local_addr().unwrap());
    let theirs = place(stream.peer_addr().unwrap());
    // Local address, remote address, state, what is not acknowledged (proc_net_tcp).
    let is_taken = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 4
            && fields[1].ends_with(&ours)
            && fields[2].ends_with(&theirs)
            && fields[4].starts_with("00000000:")
    };
    while !fs_err::read_to_string("/proc/net/tcp")
        .unwrap()
        .lines()
        .any(is_taken)
    {
        std::thread::yield_now();
    }
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    line
}

#[test]
fn syslog_over_tcp_and_a_server_that_is_replaced() {
    let (listener, address) = listen("tcp");
    let options = [
        ("syslog-address", address.as_str()),
        ("syslog-format", "rfc5424"),
    ];
    let mut logger = start(Driver::Syslog, &options);
    let mut server = BufReader::new(listener.accept().unwrap().0);
    logger.write(b"one");
    let first = line(&mut server);
    assert!(
        first.starts_with("<30>1 ") && first.ends_with(" tag - one\n"),
        "{first}"
    );
    drop(server);
    drop(listener);
    // Nobody is there: all of this waits.
    for number in 0..100 {
        logger.write(format!("number {number}").as_bytes());
    }
    let listener = TcpListener::bind(address.strip_prefix("tcp://").unwrap()).unwrap();
    let mut server = BufReader::new(listener.accept().unwrap().0);
    let all: Vec<String> = (0..100).map(|_| line(&mut server)).collect();
    assert!(
        all[0].ends_with("number 0\n") && all[99].ends_with("number 99\n"),
        "{all:?}"
    );
    logger.end();
}

#[test]
fn syslog_in_datagrams() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let unix = UnixDatagram::bind(&path).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut buffer = [0; 1000];
    let mut logger = start(
        Driver::Syslog,
        &[("syslog-address", &format!("unixgram://{}", path.display()))],
    );
    logger.write(b"local");
    let length = unix.recv(&mut buffer).unwrap();
    assert!(buffer[..length].ends_with(b"]: local\n"));
    logger.end();
    let address = format!("udp://{}", udp.local_addr().unwrap());
    let options = [
        ("syslog-address", address.as_str()),
        ("syslog-facility", "local0"),
        ("syslog-format", "rfc3164"),
    ];
    let mut logger = start(Driver::Syslog, &options);
    logger.write(b"far");
    let length = udp.recv(&mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]);
    assert!(
        text.starts_with("<134>") && text.contains(" host tag["),
        "{text}"
    );
    logger.end();
}

/// A server's, whose certificate is in a file.
fn server_config(authority: &std::path::Path) -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs_err::write(authority, made.cert.pem()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    Arc::new(config.unwrap())
}

#[test]
fn syslog_over_tls_trusts_whom_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("ca.pem");
    let config = server_config(&authority);
    let (listener, address) = listen("tcp+tls");
    let (tell, hung_up) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let mut seen = Vec::new();
        let mut kept = Vec::new();
        for (number, stream) in listener.incoming().take(3).enumerate() {
            let mut stream = stream.unwrap();
            let mut session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = BufReader::new(rustls::Stream::new(&mut session, &mut stream));
            let mut text = String::new();
            if number != 1 {
                // Who does not trust us says so and goes.
                let _ = tls.read_to_string(&mut text);
                seen.push(text);
                continue;
            }
            // It ends in order, and its socket stays.
            tls.read_line(&mut text).unwrap();
            seen.push(text);
            session.send_close_notify();
            while session.wants_write() {
                session.write_tls(&mut stream).unwrap();
            }
            wait_until_taken(&stream);
            tell.send(()).unwrap();
            kept.push(stream);
        }
        seen
    });
    let stranger = settings(Driver::Syslog, &[("syslog-address", &address)]);
    let why = try_start(&stranger).err().unwrap();
    assert!(why.starts_with("tls: "), "{why}");
    let options = [
        ("syslog-address", address.as_str()),
        ("syslog-format", "rfc5424micro"),
        ("syslog-tls-ca-cert", authority.to_str().unwrap()),
    ];
    let mut logger = start(Driver::Syslog, &options);
    logger.write(b"secret");
    hung_up.recv().unwrap();
    logger.write(b"to the next one");
    logger.end();
    let seen = server.join().unwrap();
    assert!(seen[2].ends_with("to the next one\n"), "{seen:?}");
    let (length, message) = seen[1].split_once(' ').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), message.len());
    assert!(
        seen[0].is_empty() && message.ends_with("secret\n"),
        "{seen:?}"
    );
}

#[test]
fn gelf_over_tcp_and_udp() {
    let (listener, address) = listen("tcp");
    let mut logger = start(Driver::Gelf, &[("gelf-address", &address)]);
    let mut server = BufReader::new(listener.accept().unwrap().0);
    logger.write(b"hi");
    let mut message = Vec::new();
    server.read_until(0, &mut message).unwrap();
    let message: serde_json::Value =
        serde_json::from_slice(message.strip_suffix(b"\0").unwrap()).unwrap();
    assert_eq!(
        (&message["short_message"], &message["_a"]),
        (&"hi".into(), &"1".into())
    );
    logger.end();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", udp.local_addr().unwrap());
    let mut logger = start(
        Driver::Gelf,
        &[
            ("gelf-address", &address),
            ("gelf-compression-type", "zlib"),
        ],
    );
    logger.write(b"packed");
    let mut buffer = [0; 2000];
    let length = udp.recv(&mut buffer).unwrap();
    let unpacked = flate2::read::ZlibDecoder::new(&buffer[..length]);
    let message: serde_json::Value = serde_json::from_reader(unpacked).unwrap();
    assert_eq!(message["_container_name"], "web");
    logger.end();
}

/// Reads a batch up to the id that is to be acknowledged, which is the last but one of its texts.
fn chunk(server: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    loop {
        let mut byte = [0];
        server.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
        if seen.ends_with(b"\xa4size") {
            server.read_exact(&mut byte).unwrap();
            let id = &seen[seen.len() - 5 - 32..seen.len() - 5];
            return String::from_utf8(id.to_vec()).unwrap();
        }
    }
}

#[test]
fn fluentd_gets_again_what_it_has_not_acknowledged() {
    let (listener, address) = listen("tcp");
    let options = [
        ("fluentd-address", address.as_str()),
        ("fluentd-request-ack", "true"),
    ];
    let mut logger = start(Driver::Fluentd, &options);
    let mut server = listener.accept().unwrap().0;
    logger.write(b"precious");
    let first = chunk(&mut server);
    drop(server);
    let mut server = listener.accept().unwrap().0;
    let second = chunk(&mut server);
    assert_ne!(first, second);
    let answer = [b"\x81\xa3ack\xd9\x20", second.as_bytes()].concat();
    server.write_all(&answer).unwrap();
    logger.end();
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
}

/// Reads a request, answers it, and gives its first line, whether its token was there, and its body.
fn answer(server: &mut BufReader<TcpStream>, status: &str) -> (String, bool, Vec<u8>) {
    let first = line(server);
    let (mut length, mut token) = (0, false);
    loop {
        let header = line(server);
        if header == "\r\n" {
            break;
        }
        let (name, value) = header.split_once(": ").unwrap();
        match name {
            "Content-Length" => length = value.trim().parse().unwrap(),
            "Authorization" => token = value == "Splunk secret\r\n",
            _ => {}
        }
    }
    let mut body = vec![0; length];
    server.read_exact(&mut body).unwrap();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
    server.get_mut().write_all(text.as_bytes()).unwrap();
    (first, token, body)
}

#[test]
fn splunk_is_asked_first_and_gets_again_what_it_could_not_take() {
    let (listener, address) = listen("http");
    let server = std::thread::spawn(move || {
        let mut server = BufReader::new(listener.accept().unwrap().0);
        let asked = answer(&mut server, "200 OK");
        let busy = answer(&mut server, "503 Service Unavailable");
        let mut server = BufReader::new(listener.accept().unwrap().0);
        let again = answer(&mut server, "200 OK");
        let taken = answer(&mut server, "200 OK");
        [asked, busy, again, taken]
    });
    let options = [
        ("splunk-url", address.as_str()),
        ("splunk-token", "secret"),
        ("splunk-gzip", "true"),
    ];
    let mut logger = start(Driver::Splunk, &options);
    logger.write(b"event");
    logger.end();
    let seen = server.join().unwrap();
    assert!(
        seen[0]
            .0
            .starts_with("OPTIONS /services/collector/event/1.0 "),
        "{seen:?}"
    );
    assert_eq!(seen[1].2, seen[3].2);
    let mut text = String::new();
    flate2::read::GzDecoder::new(&seen[3].2[..])
        .read_to_string(&mut text)
        .unwrap();
    assert!(seen[3].1 && text.contains("\"line\":\"event\""), "{text}");
}

#[test]
fn the_journal_gets_long_entries_as_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let journal = UnixDatagram::bind(&path).unwrap();
    let mut settings = settings(Driver::Journald, &[]);
    settings.journal = Some(path);
    let mut logger = try_start(&settings).unwrap();
    logger.write(b"short");
    let mut buffer = vec![0; 4096];
    let length = journal.recv(&mut buffer).unwrap();
    let entry = String::from_utf8_lossy(&buffer[..length]);
    assert!(
        entry.contains("\nPRIORITY=6\n") && entry.ends_with("MESSAGE=short\n"),
        "{entry}"
    );
    // Longer than any datagram.
    let long = vec![b'a'; 900_000];
    logger.write(&long);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let got = recvmsg(&journal, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    // Only where the host has sockets take far more than usual is it a datagram.
    let room = rustix::net::sockopt::socket_send_buffer_size(UnixDatagram::unbound().unwrap());
    if room.unwrap() < long.len() {
        assert_eq!(got.bytes, 0);
        let file = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let mut file = File::from(file.unwrap());
        file.rewind().unwrap();
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        assert!(text.windows(long.len()).any(|part| part == long));
    }
    logger.end();
}

#[test]
fn one_that_takes_anothers_place_delivers_though_its_shim_is_gone() {
    let (listener, address) = listen("tcp");
    let (mut socket, theirs) = UnixStream::pair().unwrap();
    let mut settings = settings(Driver::Syslog, &[("syslog-address", &address)]);
    settings.again = true;
    let bytes = serde_json::to_vec(&settings).unwrap();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    socket.write_all(&[&length, &bytes[..]].concat()).unwrap();
    let entry = b"\0\0\0\x08\x1a\x06orphan\0\0\0\x08";
    socket.write_all(entry).unwrap();
    drop(socket);
    let mut child = Command::new(env!("CARGO_BIN_EXE_hull-logger"))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    let mut server = BufReader::new(listener.accept().unwrap().0);
    assert!(line(&mut server).ends_with("orphan\n"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_cannot_be_delivered_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let status = directory.path().join("status");
    let mut settings = settings(
        Driver::Fluentd,
        &[
            ("fluentd-async", "true"),
            ("fluentd-address", "127.0.0.1:1"),
            ("fluentd-buffer-limit", "10"),
        ],
    );
    settings.status = Some(status.clone());
    let mut logger = try_start(&settings).unwrap();
    for number in 0..1000 {
        logger.write(number.to_string().as_bytes());
    }
    drop(logger.socket);
    logger.child.wait().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&fs_err::read(status).unwrap()).unwrap();
    assert_eq!(
        (&told["sent"], &told["dropped"]),
        (&0.into(), &1000.into()),
        "{told}"
    );
    let why = "dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(told["error"], why);
}

#[test]
fn why_a_driver_does_not_start_is_told_as_dockerd_tells() {
    let refused =
        |driver, options: &[(&str, &str)]| try_start(&settings(driver, options)).err().unwrap();
    let why = "dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(
        refused(Driver::Syslog, &[("syslog-address", "tcp://127.0.0.1:1")]),
        why
    );
    assert_eq!(
        refused(Driver::Fluentd, &[("fluentd-address", "127.0.0.1:1")]),
        why
    );
    assert_eq!(
        refused(Driver::Gelf, &[("gelf-address", "tcp://127.0.0.1:1")]),
        format!("gelf: cannot connect to GELF endpoint: 127.0.0.1:1 {why}")
    );
    let splunk = [("splunk-url", "http://127.0.0.1:1"), ("splunk-token", "s")];
    assert_eq!(
        refused(Driver::Splunk, &splunk),
        format!("Options \"http://127.0.0.1:1/services/collector/event/1.0\": {why}")
    );
    let mut journal = settings(Driver::Journald, &[]);
    journal.journal = Some("/nonexist".into());
    assert_eq!(
        try_start(&journal).err().unwrap(),
        "journald is not enabled on this host"
    );
}
