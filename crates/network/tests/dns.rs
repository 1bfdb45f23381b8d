//! The resolver as containers and the daemon meet it: the real program, in namespaces of the test's own.

#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

use hull_linux::namespace::{self, flag};
use hull_linux::netlink::Socket;
use hull_network::dns::{Entry, Names, Sandbox};
use hull_network::netns;
use rustix::mount::MountPropagationFlags;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;
/// Everything here answers in microseconds or after a wait that is part of the test.
const LONG: Duration = Duration::from_secs(60);

/// A host of the test's own, with a resolv.conf of its own.
struct Host {
    directory: tempfile::TempDir,
    names: Names,
}

impl Host {
    /// Moves the calling thread into fresh namespaces; `None` where that is not allowed.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        namespace::unshare(flag::NETWORK | flag::MOUNT).unwrap();
        rustix::mount::mount_change(
            "/",
            MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
        )
        .unwrap();
        Socket::open().unwrap().set_up("lo").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let resolv_conf = directory.path().join("resolv.conf");
        fs_err::write(&resolv_conf, "").unwrap();
        let target = fs_err::canonicalize("/etc/resolv.conf").unwrap();
        rustix::mount::mount_bind(&resolv_conf, &target).unwrap();
        let names = handle(directory.path());
        Some(Self { directory, names })
    }

    /// A new namespace that sees the networks `networks`.
    fn sandbox(&self, id: &str, networks: &[&str]) -> Sandbox {
        let path = self.directory.path().join("netns").join(id);
        netns::create(&path).unwrap();
        Sandbox {
            id: id.to_owned(),
            netns: path,
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
            std::os::unix::net::UnixStream::connect(self.directory.path().join("dns.sock"));
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
        let namespaces = self.directory.path().join("netns");
        for entry in fs_err::read_dir(&namespaces)
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = netns::remove(&entry.path());
        }
        let _ = netns::release(&namespaces);
    }
}

/// Does something inside a namespace, in a thread of its own.
fn inside<T: Send>(sandbox: &Sandbox, work: impl FnOnce() -> T + Send) -> T {
    let file = fs_err::File::open(&sandbox.netns).unwrap();
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                namespace::join(file.as_fd(), flag::NETWORK).unwrap();
                work()
            })
            .join()
            .unwrap()
    })
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

/// As `resolve` of the tool that the benchmark uses.
#[test]
#[ignore = "measures"]
fn how_long_a_name_takes() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.added("one", &["net"]);
    host.names
        .add_names("net", &entry("a", &["web"], &["172.18.0.3"]))
        .unwrap();
    let socket = client(&sandbox);
    let mut took: Vec<Duration> = (0..20_000)
        .map(|id| {
            let message = query(id, "web", A);
            let mut answer = [0; 1500];
            let begin = Instant::now();
            socket.send(&message).unwrap();
            socket.recv(&mut answer).unwrap();
            begin.elapsed()
        })
        .collect();
    took.sort();
    eprintln!("median {:?}, 99th of 100 {:?}", took[10_000], took[19_800]);
    let begin = Instant::now();
    for index in 0..100 {
        host.added(&format!("s{index}"), &["net"]);
    }
    eprintln!("1,000 namespaces made and added in {:?}", begin.elapsed());
    let one = host.sandbox("last", &["net"]);
    let again = host.sandbox("again", &["net"]);
    let begin = Instant::now();
    host.names.add_sandbox(&one).unwrap();
    eprintln!("one added in {:?}", begin.elapsed());
    let begin = Instant::now();
    host.names.add_sandbox(&again).unwrap();
    eprintln!("one more in {:?}", begin.elapsed());
    let status = fs_err::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    eprintln!(
        "{}",
        status
            .lines()
            .filter(|l| l.starts_with("Vm") || l.starts_with("Rss"))
            .collect::<Vec<_>>()
            .join("\n")
    );
}
