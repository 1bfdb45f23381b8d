//! The resolver as containers and the daemon meet it: the real program, in namespaces of the test's own.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod host;

use hull_network::dns::{Entry, Names, Sandbox};
use hull_network::netns;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;
/// Everything here answers in microseconds or after a wait that is part of the test.
const LONG: Duration = Duration::from_secs(60);

/// A host of the test's own, with a resolv.conf of its own.
struct Host {
    names: Names,
    base: host::Host,
}

impl Host {
    /// Moves the calling thread into fresh namespaces; `None` where that is not allowed.
    fn new() -> Option<Self> {
        let base = host::Host::new()?;
        let directory = base.directory();
        let resolv_conf = directory.join("resolv.conf");
        fs_err::write(&resolv_conf, "").unwrap();
        let target = fs_err::canonicalize("/etc/resolv.conf").unwrap();
        rustix::mount::mount_bind(&resolv_conf, &target).unwrap();
        let names = handle(directory);
        Some(Self { names, base })
    }

    /// The servers of the host's resolv.conf from now on.
    fn servers(&self, servers: &[&str]) {
        let text: String = servers
            .iter()
            .map(|server| format!("nameserver {server}\n"))
            .collect();
        fs_err::write(self.base.directory().join("resolv.conf"), text).unwrap();
    }

    /// A new namespace that sees the networks `networks`.
    fn sandbox(&self, id: &str, networks: &[&str]) -> Sandbox {
        Sandbox {
            id: id.to_owned(),
            netns: self.base.namespace(id),
            networks: networks.iter().map(ToString::to_string).collect(),
            forward: true,
            ..Sandbox::default()
        }
    }

    fn added(&self, id: &str, networks: &[&str]) -> Sandbox {
        let sandbox = self.sandbox(id, networks);
        self.names.add_sandbox(&sandbox).unwrap();
        sandbox
    }

    /// The resolver that listens now.
    fn pid(&self) -> i32 {
        let stream =
            std::os::unix::net::UnixStream::connect(self.base.directory().join("dns.sock"));
        let peer = rustix::net::sockopt::socket_peercred(stream.unwrap()).unwrap();
        peer.pid.as_raw_nonzero().get()
    }
}

fn handle(directory: &Path) -> Names {
    Names::new(
        PathBuf::from(env!("CARGO_BIN_EXE_hull-dns")),
        directory.join("dns.sock"),
    )
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.names.sync(&[], &[]);
        self.names.stop();
    }
}

/// Does something inside a namespace, in a thread of its own.
fn inside<T: Send>(sandbox: &Sandbox, work: impl FnOnce() -> T + Send) -> T {
    host::inside(&sandbox.netns, work)
}

fn entry(endpoint: &str, names: &[&str], addresses: &[&str]) -> Entry {
    Entry {
        endpoint: endpoint.to_owned(),
        network_name: "blue".to_owned(),
        names: names.iter().map(ToString::to_string).collect(),
        hostname: String::new(),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
    }
}

fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [id, 0x0100, 1, 0, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

fn number(message: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([message[at], message[at + 1]])
}

/// What an answer says: response code, flags, addresses or raw data of its answers with their TTLs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    code: u8,
    flags: u16,
    answers: Vec<(Vec<u8>, u32)>,
}

impl Said {
    fn read(message: &[u8], asked: &[u8]) -> Self {
        assert_eq!(number(message, 0), number(asked, 0), "the identifier");
        assert_eq!(number(message, 4), 1);
        let end = question_end(asked);
        assert_eq!(
            message[12..end],
            asked[12..end],
            "the question as it was asked"
        );
        let mut at = end;
        let mut answers = Vec::new();
        for _ in 0..number(message, 6) {
            at = match message[at] {
                0xc0.. => at + 2,
                _ => question_end(&message[at - 12..]) - 4 + at - 12,
            };
            let ttl = u32::from_be_bytes(message[at + 4..at + 8].try_into().unwrap());
            let length = usize::from(number(message, at + 8));
            answers.push((message[at + 10..at + 10 + length].to_vec(), ttl));
            at += 10 + length;
        }
        Self {
            code: message[3] & 15,
            flags: number(message, 2) & 0xfff0,
            answers,
        }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let mut found: Vec<IpAddr> = self
            .answers
            .iter()
            .map(|(data, _)| match data.len() {
                4 => <[u8; 4]>::try_from(&data[..]).unwrap().into(),
                _ => <[u8; 16]>::try_from(&data[..]).unwrap().into(),
            })
            .collect();
        found.sort();
        found
    }

    fn texts(&self) -> Vec<String> {
        self.addresses().iter().map(ToString::to_string).collect()
    }
}

fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5
}

/// A client in a namespace.
fn client(sandbox: &Sandbox) -> UdpSocket {
    let socket = inside(sandbox, || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect("127.0.0.11:53").unwrap();
        socket
    });
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

fn exchange(socket: &UdpSocket, message: &[u8]) -> Vec<u8> {
    socket.send(message).unwrap();
    let mut answer = vec![0; 65536];
    let length = socket.recv(&mut answer).expect("an answer");
    answer.truncate(length);
    answer
}

fn ask(sandbox: &Sandbox, name: &str, kind: u16) -> Said {
    let message = query(0x1234, name, kind);
    Said::read(&exchange(&client(sandbox), &message), &message)
}

fn connect(sandbox: &Sandbox) -> TcpStream {
    let stream = inside(sandbox, || TcpStream::connect("127.0.0.11:53").unwrap());
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

fn send_over(stream: &mut TcpStream, message: &[u8]) {
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend(message);
    stream.write_all(&framed).unwrap();
}

fn receive_over(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn ask_over_tcp(sandbox: &Sandbox, name: &str, kind: u16) -> Said {
    let message = query(0x4321, name, kind);
    let mut stream = connect(sandbox);
    send_over(&mut stream, &message);
    Said::read(&receive_over(&mut stream), &message)
}

#[test]
fn names_are_answered_as_by_docker() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    let web = ["web", "svc", "0123456789ab"];
    host.names
        .add_names("net", &entry("a", &web, &["172.18.0.3"]))
        .unwrap();
    // dockerd 28.5's answer, but that it writes the name a second time.
    let answer = exchange(&client(&sandbox), &query(0x1234, "WEB", A));
    let recorded = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x03WEB\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\x02\x58\0\x04\xac\x12\0\x03";
    assert_eq!(answer, recorded);
    for name in ["web.blue", "0123456789AB", "svc.BLUE"] {
        assert_eq!(ask(&sandbox, name, A).texts(), ["172.18.0.3"], "{name}");
        assert_eq!(
            ask_over_tcp(&sandbox, name, A).texts(),
            ["172.18.0.3"],
            "{name}"
        );
    }
    let nothing = Said {
        code: 0,
        flags: 0x8180,
        answers: vec![],
    };
    for kind in [AAAA, TXT, 15, 33, 65] {
        assert_eq!(ask(&sandbox, "web", kind), nothing, "{kind}");
    }
    let name = ask(&sandbox, "3.0.18.172.in-addr.arpa", PTR);
    assert_eq!(name.answers, [(b"\x03web\x04blue\0".to_vec(), 600)]);
    // Nobody can be asked.
    let failure = Said {
        code: 2,
        flags: 0x8100,
        answers: vec![],
    };
    assert_eq!(ask(&sandbox, "nosuch", A), failure);
    let other = host.added("two", &["other"]);
    assert_eq!(ask(&other, "web", A), failure);
    host.names.remove_names("net", "a").unwrap();
    assert_eq!(ask(&sandbox, "web", A), failure);
}

/// A program of the container's can have port 53, as with Docker.
#[test]
fn port_53_stays_free() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    host.names
        .add_names("net", &entry("a", &["web"], &["10.0.0.2"]))
        .unwrap();
    let (udp, tcp) = inside(&sandbox, || {
        let udp = UdpSocket::bind("0.0.0.0:53").unwrap();
        (udp, TcpListener::bind("0.0.0.0:53").unwrap())
    });
    assert_eq!(ask(&sandbox, "web", A).texts(), ["10.0.0.2"]);
    assert_eq!(ask_over_tcp(&sandbox, "web", A).texts(), ["10.0.0.2"]);
    let other = inside(&sandbox, || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect("127.0.0.1:53").unwrap();
        (socket, TcpStream::connect("127.0.0.1:53").unwrap())
    });
    other.0.send(b"x").unwrap();
    udp.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(udp.recv(&mut [0; 9]).unwrap(), 1);
    assert_eq!(tcp.accept().unwrap().1, other.1.local_addr().unwrap());
}

/// An answer of another server's: addresses with one TTL.
fn reply(query: &[u8], code: u8, ttl: u32, addresses: &[[u8; 4]]) -> Vec<u8> {
    let mut bytes = query[..question_end(query)].to_vec();
    bytes[2] |= 0x80;
    bytes[3] = 0x80 | code;
    bytes[6..12].fill(0);
    bytes[6..8].copy_from_slice(&(addresses.len() as u16).to_be_bytes());
    for address in addresses {
        bytes.extend(b"\xc0\x0c\0\x01\0\x01");
        bytes.extend(ttl.to_be_bytes());
        bytes.extend(b"\0\x04");
        bytes.extend(address);
    }
    bytes
}

/// Appends what a zone says about what it does not have.
fn with_soa(mut message: Vec<u8>, minimum: u32) -> Vec<u8> {
    message[8..10].copy_from_slice(&[0, 1]);
    message.extend(b"\0\0\x06\0\x01\0\0\x0e\x10\0\x16\0\0");
    message.extend([0; 16]);
    message.extend(minimum.to_be_bytes());
    message
}

/// Serves at an address of the calling thread's namespace; counts what it is asked.
fn upstream(
    address: &str,
    answer: impl Fn(&[u8], bool) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let answer = Arc::new(answer);
    let udp = UdpSocket::bind((address, 53)).unwrap();
    let tcp = TcpListener::bind((address, 53)).unwrap();
    let (counted, answers) = (Arc::clone(&count), Arc::clone(&answer));
    std::thread::spawn(move || {
        let mut query = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut query) {
            counted.fetch_add(1, Ordering::SeqCst);
            if let Some(message) = answers(&query[..length], false) {
                udp.send_to(&message, from).unwrap();
            }
        }
    });
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            counted.fetch_add(1, Ordering::SeqCst);
            let query = receive_over(&mut stream);
            if let Some(message) = answer(&query, true) {
                send_over(&mut stream, &message);
            }
        }
    });
    count
}

const FAILURE: Said = Said {
    code: 2,
    flags: 0x8100,
    answers: Vec::new(),
};

#[test]
fn other_names_are_asked_of_the_hosts_servers_of_now() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    let first = upstream("127.0.0.53", |query, _| {
        Some(match query[12..].starts_with(b"\x04gone") {
            true => with_soa(reply(query, 3, 0, &[]), 60),
            false if query[12] == 5 => reply(query, 0, 0, &[[1, 1, 1, 1]]),
            false if query[12] == 6 => reply(query, 3, 0, &[]),
            false => reply(query, 0, 300, &[[1, 2, 3, 4]]),
        })
    });
    upstream("127.0.0.54", |query, _| {
        Some(reply(query, 0, 300, &[[4, 3, 2, 1]]))
    });
    assert_eq!(ask(&sandbox, "kept", A), FAILURE);
    host.servers(&["127.0.0.53"]);
    for name in ["kept", "KEPT", "kEpT"] {
        let said = ask(&sandbox, name, A);
        assert_eq!(said.texts(), ["1.2.3.4"]);
        assert!((200..=300).contains(&said.answers[0].1));
        assert_eq!(ask_over_tcp(&sandbox, name, A).texts(), ["1.2.3.4"]);
    }
    for _ in 0..3 {
        assert_eq!(ask(&sandbox, "gone", A).code, 3);
    }
    assert_eq!(first.load(Ordering::SeqCst), 2);
    // A TTL of 0, and what does not exist without a word of how long: each is asked for anew.
    for (name, code) in [("fresh", 0), ("nobody", 3)] {
        let before = first.load(Ordering::SeqCst);
        for _ in 0..2 {
            assert_eq!(ask(&sandbox, name, A).code, code);
        }
        assert_eq!(first.load(Ordering::SeqCst), before + 2);
    }
    host.servers(&["127.0.0.54"]);
    assert_eq!(ask(&sandbox, "kept", A).texts(), ["4.3.2.1"]);
    let mut inward = sandbox.clone();
    inward.forward = false;
    host.names.add_sandbox(&inward).unwrap();
    assert_eq!(ask(&sandbox, "kept", A), FAILURE);
    inward.forward = true;
    inward.ndots = true;
    host.names.add_sandbox(&inward).unwrap();
    assert_eq!(
        ask(&sandbox, "kept", A),
        Said {
            code: 0,
            flags: 0x8180,
            answers: vec![]
        }
    );
    assert_eq!(ask(&sandbox, "kept", TXT).code, 0);
    assert_eq!(ask(&sandbox, "kept.at", A).texts(), ["4.3.2.1"]);
}

#[test]
fn what_does_not_fit_is_fetched_over_tcp() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    upstream("127.0.0.53", |query, tcp| {
        let mut message = reply(
            query,
            0,
            300,
            &vec![[1, 2, 3, 4]; if tcp { 3000 } else { 1 }],
        );
        if !tcp {
            message[2] |= 2;
        }
        Some(message)
    });
    host.servers(&["127.0.0.53"]);
    for _ in 0..2 {
        let said = ask(&sandbox, "long", A);
        assert_eq!(said.flags & 0x0200, 0x0200, "truncated");
        assert_eq!(ask_over_tcp(&sandbox, "long", A).answers.len(), 3000);
    }
    // Our own answers, too.
    let addresses: Vec<String> = (0..200).map(|n| format!("10.0.0.{n}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    host.names
        .add_names("net", &entry("a", &["many"], &addresses))
        .unwrap();
    let message = query(7, "many", A);
    let answer = exchange(&client(&sandbox), &message);
    let said = Said::read(&answer, &message);
    assert!(answer.len() <= 512 && said.flags & 0x0200 != 0 && said.answers.len() > 20);
    assert_eq!(ask_over_tcp(&sandbox, "many", A).answers.len(), 200);
    let mut large = message.clone();
    large[11] = 1;
    large.extend(b"\0\0\x29\x10\0\0\0\0\0\0\0");
    let said = Said::read(&exchange(&client(&sandbox), &large), &message);
    assert!(said.flags & 0x0200 == 0 && said.answers.len() == 200);
}

#[test]
fn servers_that_do_not_help_are_passed_over() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    upstream("127.0.0.61", |query, _| Some(reply(query, 2, 0, &[])));
    upstream("127.0.0.62", |query, _| Some(reply(query, 5, 0, &[])));
    let silent = upstream("127.0.0.63", |_, _| None);
    upstream("127.0.0.64", |query, _| {
        Some(reply(query, 0, 300, &[[6, 4, 6, 4]]))
    });
    // Nobody listens at the first.
    for servers in [
        ["127.0.0.60", "127.0.0.61", "127.0.0.64"],
        ["127.0.0.62", "127.0.0.63", "127.0.0.64"],
    ] {
        host.servers(&servers);
        assert_eq!(ask(&sandbox, "far", A).texts(), ["6.4.6.4"]);
        assert_eq!(ask_over_tcp(&sandbox, "far.away", A).texts(), ["6.4.6.4"]);
    }
    assert!(silent.load(Ordering::SeqCst) > 0);
    host.servers(&["127.0.0.60", "127.0.0.61", "127.0.0.62"]);
    assert_eq!(ask(&sandbox, "far", A), FAILURE);
    assert_eq!(ask_over_tcp(&sandbox, "far", A), FAILURE);
}

#[test]
fn a_slow_server_keeps_nobody_else_waiting_and_is_asked_once() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    host.names
        .add_names("net", &entry("a", &["web"], &["10.0.0.2"]))
        .unwrap();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let asked = upstream("127.0.0.53", move |query, _| {
        released.lock().unwrap().recv().unwrap();
        Some(reply(query, 0, 300, &[[9, 9, 9, 9]]))
    });
    host.servers(&["127.0.0.53"]);
    let waiting: Vec<_> = (0..20).map(|_| client(&sandbox)).collect();
    for (socket, name) in waiting.iter().zip(["slow", "SLOW"].iter().cycle()) {
        socket.send(&query(5, name, A)).unwrap();
    }
    for _ in 0..100 {
        assert_eq!(ask(&sandbox, "web", A).texts(), ["10.0.0.2"]);
    }
    release.send(()).unwrap();
    for (socket, name) in waiting.iter().zip(["slow", "SLOW"].iter().cycle()) {
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        let said = Said::read(&answer[..length], &query(5, name, A));
        assert_eq!(said.texts(), ["9.9.9.9"]);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn what_was_not_asked_is_no_answer() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    let udp = UdpSocket::bind("127.0.0.53:53").unwrap();
    let stranger = UdpSocket::bind("127.0.0.52:53").unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        let (length, from) = udp.recv_from(&mut query).unwrap();
        let query = &query[..length];
        let right = reply(query, 0, 300, &[[1, 1, 1, 1]]);
        let wrong = reply(query, 0, 300, &[[6, 6, 6, 6]]);
        let mut other_id = wrong.clone();
        other_id[0] ^= 1;
        let mut other_name = wrong.clone();
        other_name[13] ^= 1;
        let mut no_answer = wrong.clone();
        no_answer[2] &= 0x7f;
        stranger.send_to(&wrong, from).unwrap();
        for message in [
            &other_id,
            &other_name,
            &no_answer,
            &vec![],
            &wrong[..11].to_vec(),
            &right,
        ] {
            udp.send_to(message, from).unwrap();
        }
    });
    host.servers(&["127.0.0.53"]);
    assert_eq!(ask(&sandbox, "name", A).texts(), ["1.1.1.1"]);
}

#[test]
fn own_servers_are_asked_from_inside_and_for_oneself() {
    let Some(host) = Host::new() else { return };
    upstream("127.0.0.53", |query, _| {
        Some(reply(query, 0, 300, &[[1, 0, 0, 0]]))
    });
    host.servers(&["127.0.0.53"]);
    let mut private = Vec::new();
    for id in ["two", "three"] {
        let mut sandbox = host.sandbox(id, &["net"]);
        sandbox.servers = vec!["127.0.0.53".parse().unwrap()];
        let number = id.len() as u8;
        inside(&sandbox, || {
            upstream("127.0.0.53", move |query, _| {
                Some(reply(query, 0, 300, &[[number; 4]]))
            })
        });
        host.names.add_sandbox(&sandbox).unwrap();
        private.push(sandbox);
    }
    let plain = host.added("one", &["net"]);
    for _ in 0..2 {
        assert_eq!(ask(&private[0], "same", A).texts(), ["3.3.3.3"]);
        assert_eq!(ask_over_tcp(&private[1], "same", A).texts(), ["5.5.5.5"]);
        assert_eq!(ask(&private[1], "same", A).texts(), ["5.5.5.5"]);
        assert_eq!(ask(&plain, "same", A).texts(), ["1.0.0.0"]);
    }
    // And with a handle that knows nothing of what the former one did.
    host.names.sync(&private, &[]).unwrap();
    assert_eq!(ask(&private[0], "same", A).texts(), ["3.3.3.3"]);
    private[0].servers.clear();
    host.names.add_sandbox(&private[0]).unwrap();
    assert_eq!(ask(&private[0], "same", A).texts(), ["1.0.0.0"]);
}

#[test]
fn nonsense_is_refused_as_by_docker() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    let socket = client(&sandbox);
    // As dockerd: an answer is not answered, what cannot be read is refused.
    let failed = |code: u8| vec![0x12, 0x34, 0x81, code, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut notify = query(0x1234, "web", A);
    notify[2] |= 0x10;
    for (message, answer) in [
        (b"\x12\x34\x01\0\0\0\0\0\0\0\0\0".to_vec(), failed(1)),
        (
            b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05abc".to_vec(),
            failed(1),
        ),
        (
            b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01".to_vec(),
            failed(1),
        ),
        (
            query(0x1234, &vec!["x".repeat(63); 5].join("."), A),
            failed(1),
        ),
        (query(0x1234, &"y".repeat(64), A), failed(1)),
    ] {
        assert_eq!(exchange(&socket, &message), answer);
    }
    assert_eq!(exchange(&socket, &notify)[3] & 15, 4);
}

#[test]
fn noise_harms_nobody() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    host.names
        .add_names("net", &entry("a", &["web"], &["10.0.0.2"]))
        .unwrap();
    let pid = host.pid();
    let socket = client(&sandbox);
    let mut state = 1_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    for _ in 0..5000 {
        let mut message = query(1, "web.blue.example", A);
        for _ in 0..random() % 8 {
            let at = random() % message.len();
            message[at] = random() as u8;
        }
        message.truncate(random() % (message.len() + 1));
        if socket.send(&message).is_err() {
            continue; // An empty one.
        }
    }
    let mut streams: Vec<_> = (0..100).map(|_| connect(&sandbox)).collect();
    for stream in &mut streams {
        let length = random() % 64;
        let noise: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        // Those over the limit are closed.
        let _ = stream.write_all(&noise);
    }
    assert_eq!(ask(&sandbox, "web", A).texts(), ["10.0.0.2"]);
    drop(streams);
    // Until it has seen that they are gone.
    let answered = (0..1000).any(|_| {
        let mut stream = connect(&sandbox);
        let message = query(9, "web", A);
        let mut framed = (message.len() as u16).to_be_bytes().to_vec();
        framed.extend(&message);
        stream.write_all(&framed).is_ok() && stream.read(&mut [0; 99]).is_ok_and(|n| n > 12)
    });
    assert!(answered);
    assert_eq!(host.pid(), pid);
}

#[test]
fn ten_thousand_questions_while_everything_changes() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    for index in 0..50 {
        let (name, address) = (format!("n{index}"), format!("10.0.0.{index}"));
        host.names
            .add_names("net", &entry(&name, &[&name], &[&address]))
            .unwrap();
    }
    let asked = AtomicUsize::new(0);
    let changes = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (sandbox, asked) = (&sandbox, &asked);
            scope.spawn(move || {
                let socket = client(sandbox);
                for index in 0..2500 {
                    let index = (index * 7 + thread) % 50;
                    let message = query(index, &format!("n{index}"), A);
                    let said = Said::read(&exchange(&socket, &message), &message);
                    assert_eq!(said.texts(), [format!("10.0.0.{index}")]);
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let (host, sandbox, asked, changes) = (&host, &sandbox, &asked, &changes);
        let changing = scope.spawn(move || {
            let mut round = 0_u32;
            while changes.load(Ordering::SeqCst) {
                round += 1;
                let address = format!("10.1.{}.{}", round / 250 % 250, round % 250);
                host.names
                    .add_names("net", &entry("churn", &["churn"], &[&address]))
                    .unwrap();
                assert_eq!(ask(sandbox, "churn", A).texts(), [address.as_str()]);
                let id = format!("s{round}");
                let comes = host.added(&id, &["net"]);
                assert_eq!(ask(&comes, "churn", A).texts(), [address.as_str()]);
                host.names.remove_names("net", "churn").unwrap();
                assert_eq!(ask(&comes, "churn", A), FAILURE);
                host.names.remove_sandbox(&id).unwrap();
                netns::remove(&comes.netns).unwrap();
            }
            assert!(round > 0);
        });
        while asked.load(Ordering::SeqCst) < 10_000 && !changing.is_finished() {
            std::thread::yield_now();
        }
        changes.store(false, Ordering::SeqCst);
    });
}

/// Asks until there is an answer, as a client's library does.
fn insist(socket: &UdpSocket, message: &[u8]) -> Vec<u8> {
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let begin = Instant::now();
    while begin.elapsed() < LONG {
        let mut answer = vec![0; 512];
        if socket.send(message).is_ok()
            && let Ok(length) = socket.recv(&mut answer)
        {
            answer.truncate(length);
            return answer;
        }
    }
    panic!("no answer");
}

#[test]
fn a_resolver_that_is_killed_is_replaced() {
    let Some(host) = Host::new() else { return };
    let sandboxes = [host.added("one", &["net"]), host.added("two", &["net"])];
    host.names
        .add_names("net", &entry("a", &["web"], &["10.0.0.2"]))
        .unwrap();
    let sockets = sandboxes.each_ref().map(client);
    for round in 0..3 {
        let pid = host.pid();
        hull_linux::reactor::signal_process(pid, 9).unwrap();
        if round == 1 {
            // The handle may notice by itself, or when it has something to say.
            host.names
                .add_names("net", &entry("b", &["new"], &["10.0.0.3"]))
                .unwrap();
            assert_eq!(ask(&sandboxes[0], "new", A).texts(), ["10.0.0.3"]);
        }
        for socket in &sockets {
            let message = query(round, "web", A);
            let said = Said::read(&insist(socket, &message), &message);
            assert_eq!(said.texts(), ["10.0.0.2"]);
        }
        assert_eq!(ask_over_tcp(&sandboxes[1], "web", A).texts(), ["10.0.0.2"]);
        assert_ne!(host.pid(), pid);
    }
}

/// As when the daemon is killed, and started again some changes later.
#[test]
fn answers_go_on_without_a_daemon_and_through_its_restart() {
    let Some(mut host) = Host::new() else { return };
    let (one, two) = (host.added("one", &["net"]), host.added("two", &["net"]));
    let web = entry("a", &["web"], &["10.0.0.2"]);
    host.names.add_names("net", &web).unwrap();
    let pid = host.pid();
    let goes_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let socket = client(&one);
            while goes_on.load(Ordering::SeqCst) {
                let message = query(3, "web", A);
                let said = Said::read(&exchange(&socket, &message), &message);
                assert_eq!(said.texts(), ["10.0.0.2"]);
            }
        });
        for _ in 0..20 {
            host.names = handle(host.base.directory());
            let new = entry("b", &["new"], &["10.0.0.3"]);
            let names = [("net".to_owned(), web.clone()), ("net".to_owned(), new)];
            host.names
                .sync(&[one.clone(), two.clone()], &names)
                .unwrap();
            assert_eq!(ask(&two, "new", A).texts(), ["10.0.0.3"]);
        }
        goes_on.store(false, Ordering::SeqCst);
        asking.join().unwrap();
    });
    assert_eq!(host.pid(), pid);
    // What the new daemon does not know is gone.
    host.names = handle(host.base.directory());
    host.names.sync(std::slice::from_ref(&two), &[]).unwrap();
    assert_eq!(ask(&two, "web", A), FAILURE);
    let refused = inside(&one, || TcpStream::connect("127.0.0.11:53").is_err());
    assert!(refused);
    assert_eq!(host.pid(), pid);
}

#[test]
fn one_of_another_version_leaves_when_its_successor_serves() {
    let Some(host) = Host::new() else { return };
    let path = host.base.directory().join("dns.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        for reply in [r#"{"Version":"0.0.0/0"}"#, r#""Done""#] {
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut request = vec![0; u32::from_le_bytes(length) as usize];
            stream.read_exact(&mut request).unwrap();
            heard.push(String::from_utf8(request).unwrap());
            stream
                .write_all(&(reply.len() as u32).to_le_bytes())
                .unwrap();
            stream.write_all(reply.as_bytes()).unwrap();
        }
        heard
    });
    host.names
        .add_names("net", &entry("a", &["web"], &["10.0.0.2"]))
        .unwrap();
    let sandbox = host.added("one", &["net"]);
    assert_eq!(ask(&sandbox, "web", A).texts(), ["10.0.0.2"]);
    assert_eq!(other.join().unwrap(), [r#""Hello""#, r#""Leave""#]);
}

#[test]
fn it_ends_when_told_and_holds_no_namespace_that_was_removed() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    let pid = rustix::process::Pid::from_raw(host.pid()).unwrap();
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    host.names.stop();
    assert_eq!(ask(&sandbox, "web", A), FAILURE);
    // Sessions, groups and what it could do are its own.
    let status = fs_err::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    assert!(
        status.contains(&format!("NSsid:\t{}", host.pid())),
        "{status}"
    );
    assert!(status.contains("CapEff:\t0000000000201000"), "{status}");
    // Standard streams, its namespace, epoll, its socket and two connections; two of the sandbox's. Those
    // of connections of ours, above, go when it has seen their end.
    let number = host.pid();
    let settles_at = |count: usize| {
        let begin = Instant::now();
        let open = || {
            let open = fs_err::read_dir(format!("/proc/{number}/fd"));
            open.unwrap().count()
        };
        while open() != count {
            assert!(begin.elapsed() < LONG, "{} descriptors", open());
            std::thread::yield_now();
        }
    };
    settles_at(10);
    let second = host.added("two", &["net"]);
    settles_at(12);
    host.names.remove_sandbox("two").unwrap();
    settles_at(10);
    let missing = Sandbox {
        id: "x".into(),
        netns: second.netns.join("no"),
        ..second
    };
    assert!(host.names.add_sandbox(&missing).is_err());
    host.names.remove_sandbox("one").unwrap();
    host.names.stop();
    let mut waits = [rustix::event::PollFd::new(
        &process,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut waits, None).unwrap();
    // And another one begins when there is something to serve again.
    let again = host.added("again", &["net"]);
    assert_eq!(ask(&again, "web", A), FAILURE);
}

/// Two containers ask without end, and nobody answers them.
#[test]
fn nobody_keeps_others_from_asking() {
    let Some(host) = Host::new() else { return };
    let [one, two, three] = ["one", "two", "three"].map(|id| host.added(id, &["net"]));
    host.names
        .add_names("net", &entry("a", &["web"], &["10.0.0.2"]))
        .unwrap();
    upstream("127.0.0.53", |query, _| {
        let is_victims = query[12..].starts_with(b"\x06victim");
        is_victims.then(|| reply(query, 0, 0, &[[3, 3, 3, 3]]))
    });
    host.servers(&["127.0.0.53"]);
    for sandbox in [&one, &two] {
        let (socket, other) = (client(sandbox), client(sandbox));
        for id in 0..700 {
            socket.send(&query(id, &format!("n{id}"), A)).unwrap();
            if id % 50 == 0 {
                // So that all of them are heard.
                let message = query(id, "web", A);
                Said::read(&exchange(&other, &message), &message);
            }
        }
        // The oldest question has made room for others, and its client is told.
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        let said = Said::read(&answer[..length], &query(0, "n0", A));
        assert_eq!(said, FAILURE);
        assert_eq!(ask(sandbox, "victim", A).texts(), ["3.3.3.3"]);
    }
    assert_eq!(ask(&three, "victim", A).texts(), ["3.3.3.3"]);
    // Nor by connections: those that were there first are closed.
    let mut held: Vec<_> = (0..200).map(|_| connect(&one)).collect();
    for sandbox in [&one, &three] {
        assert_eq!(ask_over_tcp(sandbox, "web", A).texts(), ["10.0.0.2"]);
    }
    assert_eq!(held[0].read(&mut [0; 1]).unwrap(), 0);
}

/// Without a descriptor left, whoever connects waits, and nothing else does, the processor included.
#[test]
fn connections_wait_for_descriptors() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    host.names
        .add_names("net", &entry("a", &["web"], &["10.0.0.2"]))
        .unwrap();
    let pid = rustix::process::Pid::from_raw(host.pid()).unwrap();
    let limit = |current| {
        let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let new = rustix::process::Rlimit { current, ..before };
        rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, new).unwrap();
    };
    // Those of the connection that asked for the process are closed by now, or take no new one.
    limit(Some(0));
    let mut stream = connect(&sandbox);
    let message = query(9, "web", A);
    send_over(&mut stream, &message);
    let daemon = std::os::unix::net::UnixStream::connect(host.base.directory().join("dns.sock"));
    let ticks = || {
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let of_both = fields.split_whitespace().skip(11).take(2);
        of_both.map(|n| n.parse::<u64>().unwrap()).sum::<u64>()
    };
    let before = ticks();
    // Nothing comes.
    stream.set_read_timeout(Some(host::IMPATIENCE)).unwrap();
    assert!(stream.read(&mut [0; 1]).is_err());
    let took = (ticks() - before) * 10;
    assert!(took < 100, "{took} ms");
    assert_eq!(ask(&sandbox, "web", A).texts(), ["10.0.0.2"]);
    limit(Some(1024));
    stream.set_read_timeout(Some(LONG)).unwrap();
    let said = Said::read(&receive_over(&mut stream), &message);
    assert_eq!(said.texts(), ["10.0.0.2"]);
    drop(daemon);
}
