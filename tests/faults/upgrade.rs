//! Hull is upgraded in place: its programs are replaced and the daemon is restarted while containers log and serve requests.

use hull_tests::client::Client;
use hull_tests::daemon::{Daemon, wait_until};
use hull_tests::host::within;
use hull_tests::http::{Request, send};
use hull_tests::setup::with;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const CONTAINERS: usize = 50;
const PROGRAMS: [&str; 5] = [
    "hull",
    "hull-shim",
    "hull-runtime",
    "hull-dns",
    "hull-logger",
];
/// How long a request may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts into its log, tells its name to whoever asks at 8080, and sends back what it gets at 9000.
const LOAD: &str = "mkdir /www; hostname >/www/name; httpd -p 8080 -h /www; nc -l -p 9000 -e cat & \
    i=0; while [ ! -e /stop ]; do i=$((i+1)); echo $i; sleep 0.5; done; exit 7";

#[test]
fn nothing_is_interrupted_when_the_programs_are_replaced() {
    with(Client::Hull, |s| {
        let programs = s.daemon.path("programs");
        fs_err::create_dir(&programs).unwrap();
        replace_programs(&programs);
        s.daemon.stop();
        s.daemon.set_programs(&programs);
        s.daemon.hold_socket();
        s.daemon.restart();
        let containers = start_containers(&s.daemon);
        let before: Vec<_> = containers
            .iter()
            .map(|container| state(&s.daemon, &container.name))
            .collect();
        let (socket, net) = (s.daemon.socket(), s.host.path());
        let load = Load::default();
        std::thread::scope(|scope| {
            // A failed assertion must end these too, for the scope waits for them.
            let _stop = Stop(&load.stop);
            scope.spawn(|| within(&net, || load.visit(&containers)));
            scope.spawn(|| load.ask(&socket));
            let mut streams: Vec<_> = within(&net, || {
                let ports = containers.iter().map(|container| container.echo);
                ports.map(connect).collect()
            });
            load.goes_on();
            for orderly in [true, false] {
                replace_programs(&programs);
                echo(&mut streams);
                if orderly {
                    assert_eq!(s.daemon.stop(), 0);
                } else {
                    s.daemon.kill();
                }
                // Without a daemon, too.
                echo(&mut streams);
                s.daemon.restart();
                let program = fs_err::metadata(format!("/proc/{}/exe", s.daemon.pid())).unwrap();
                let replaced = fs_err::metadata(programs.join("hull")).unwrap();
                assert_eq!(program.ino(), replaced.ino());
                load.goes_on();
                echo(&mut streams);
            }
        });
        assert_eq!(
            load.lost.into_inner().unwrap(),
            [""; 0],
            "answers of containers"
        );
        let after: Vec<_> = containers
            .iter()
            .map(|container| state(&s.daemon, &container.name))
            .collect();
        assert_eq!(before, after);
        // The new programs have the old shims' containers in hand, and start their own.
        assert_eq!(s.line("exec load-0 echo inside").ok(), "inside");
        assert_eq!(s.line("run --rm busybox echo new").ok(), "new");
        for container in &containers {
            logs_are_whole(&s.daemon, &container.name);
        }
        let _ = s.line("exec load-0 touch /stop").ok();
        assert_eq!(s.line("wait load-0").ok(), "7");
    });
}

struct Container {
    name: String,
    /// Ports of the host.
    web: u16,
    echo: u16,
}

/// What a package manager does: each file is another one, under the same name.
fn replace_programs(directory: &Path) {
    for name in PROGRAMS {
        let new = directory.join(format!("{name}.new"));
        fs_err::copy(hull_tests::binaries().join(name), &new).expect("as the load needs it");
        fs_err::rename(new, directory.join(name)).expect("as the load needs it");
    }
}

fn start_containers(daemon: &Daemon<'_>) -> Vec<Container> {
    let any = serde_json::json!([{"HostIp": "127.0.0.1", "HostPort": ""}]);
    let body = serde_json::json!({
        "Image": "busybox",
        "Tty": true,
        "Cmd": ["sh", "-c", LOAD],
        "ExposedPorts": {"8080/tcp": {}, "9000/tcp": {}},
        "HostConfig": {"PortBindings": {"8080/tcp": any, "9000/tcp": any}},
    });
    let body = body.to_string().into_bytes();
    let start = |number: usize| {
        let name = format!("load-{number}");
        let target = format!("/containers/create?name={name}");
        assert_eq!(daemon.ask("POST", &target, &body).status, 201);
        let reply = daemon.ask("POST", &format!("/containers/{name}/start"), &[]);
        assert_eq!(reply.status, 204, "{reply:?}");
        let found = daemon.get(&format!("/containers/{name}/json")).json();
        let port = |inside: &str| {
            let port = &found["NetworkSettings"]["Ports"][inside][0]["HostPort"];
            port.as_str()
                .expect("as the load needs it")
                .parse()
                .expect("as the load needs it")
        };
        Container {
            web: port("8080/tcp"),
            echo: port("9000/tcp"),
            name,
        }
    };
    let share = |first: usize| -> Vec<Container> {
        let numbers = (first..CONTAINERS).step_by(4);
        numbers.map(start).collect()
    };
    let share = &share;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|first| scope.spawn(move || share(first)))
            .collect();
        let started = threads
            .into_iter()
            .map(|thread| thread.join().expect("as the load needs it"));
        started.flatten().collect()
    })
}

/// What must stay as it is.
fn state(daemon: &Daemon<'_>, name: &str) -> [serde_json::Value; 3] {
    let found = daemon.get(&format!("/containers/{name}/json")).json();
    ["/State/Pid", "/State/StartedAt", "/RestartCount"].map(|pointer| {
        found
            .pointer(pointer)
            .expect("as the load needs it")
            .clone()
    })
}

fn dial(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A connection to a container that is there as soon as its server is.
fn connect(port: u16) -> TcpStream {
    wait_until("the server in the container listens", || {
        let mut stream = dial(port)?;
        stream.write_all(b"a")?;
        // A port that is passed on by a program takes connections before there is a server.
        stream.read_exact(&mut [0])?;
        Ok::<_, std::io::Error>(stream)
    })
}

/// A byte goes through every connection and back.
fn echo(streams: &mut [TcpStream]) {
    for stream in streams {
        stream.write_all(b"b").expect("as the load needs it");
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("as the load needs it");
        assert_eq!(&byte, b"b");
    }
}

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// Rounds that are done: of all containers, and of the API.
    visits: AtomicU64,
    asks: AtomicU64,
    lost: std::sync::Mutex<Vec<String>>,
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Load {
    fn lose(&self, what: String) {
        self.lost.lock().expect("as the load needs it").push(what);
    }

    /// Asks one container after the other for its name, always anew.
    fn visit(&self, containers: &[Container]) {
        let mut first = true;
        while !self.stop.load(Ordering::Relaxed) {
            for container in containers {
                let ask = || send(dial(container.web)?, request("/name"));
                let answer = match first {
                    // Its server may be on its way.
                    true => Ok(wait_until("the server in the container listens", ask)),
                    false => ask(),
                };
                if !answer.as_ref().is_ok_and(|reply| reply.status == 200) {
                    self.lose(format!("{}: {answer:?}", container.name));
                }
            }
            first = false;
            self.visits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks the daemon for its containers.
    fn ask(&self, socket: &Path) {
        while !self.stop.load(Ordering::Relaxed) {
            let answer = UnixStream::connect(socket).and_then(|stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                send(stream, request("/containers/json"))
            });
            // One whom the daemon was answering when it was killed has to ask again.
            let Ok(reply) = answer else { continue };
            let known = reply.json().as_array().map_or(0, Vec::len);
            if (reply.status, known) != (200, CONTAINERS) {
                self.lose(format!("the daemon: {reply:?}"));
            }
            self.asks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everybody has been asked from now on.
    fn goes_on(&self) {
        let now = || [&self.visits, &self.asks].map(|counter| counter.load(Ordering::Relaxed));
        let before = now();
        wait_until("all are asked again", || {
            let done = now()
                .iter()
                .zip(before)
                .all(|(now, before)| *now >= before + 2);
            done.then_some(()).ok_or_else(now)
        });
    }
}

fn request(target: &str) -> Request<'_> {
    Request {
        method: "GET",
        target,
        headers: &[],
        body: b"",
    }
}

/// All numbers are there, also those from while there was no daemon.
fn logs_are_whole(daemon: &Daemon<'_>, name: &str) {
    let reply = daemon.get(&format!("/containers/{name}/logs?stdout=1"));
    let text = reply.text();
    let numbers: Vec<usize> = text
        .lines()
        .map(|line| line.trim().parse().expect("as the load needs it"))
        .collect();
    assert!(!numbers.is_empty(), "{name} has logged nothing");
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "{name}");
}
