//! SIGKILL of the daemon, of shims and of runtimes at random moments of mixed operations from eight clients.
//!
//! Every client has names of its own and remembers what was acknowledged. What it is told later must agree: an
//! acknowledged operation holds, one that was refused changed nothing, and one without an answer happened or did not.
//!
//! `HULL_TEST_SEED` repeats a run (threads differ from run to run all the same), `HULL_TEST_OPERATIONS` says how many
//! operations there are: a million take hours.

use crate::random::Random;
use hull_tests::client::Client as CommandLine;
use hull_tests::daemon::Daemon;
use hull_tests::http::{Reply, Request, send};
use hull_tests::setup::{Setup, with};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const CLIENTS: u64 = 8;
/// Containers of a client.
const SLOTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What all clients see.
struct World {
    socket: PathBuf,
    /// Command lines of shims and runtimes that were killed: they name their container.
    shot: Mutex<Vec<String>>,
    working: AtomicUsize,
}

impl World {
    fn was_shot(&self, id: &str) -> bool {
        let shot = self.shot.lock().unwrap_or_else(PoisonError::into_inner);
        shot.iter().any(|line| line.contains(id))
    }

    /// Asks until somebody listens; `None` when the answer was cut off.
    fn ask(&self, (method, target, body): (&str, &str, &[u8])) -> Option<Reply> {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "nobody listens: {error}"),
            }
            Random(1).wait(5_000);
        };
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("set a timeout");
        let kind = match target.contains("/archive") {
            true => "application/x-tar",
            false => "application/json",
        };
        let request = Request {
            method,
            target,
            headers: &[("Content-Type", kind)],
            body,
        };
        match send(stream, request) {
            // A reply that was cut off has no end, or is no reply.
            Ok(reply) => Some(reply),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("{method} {target}: no answer in {PATIENCE:?}")
            }
            Err(_) => None,
        }
    }

    /// Asks until there is an answer.
    fn learn(&self, target: &str) -> Reply {
        loop {
            if let Some(reply) = self.ask(("GET", target, &[])) {
                let whole =
                    reply.body.is_empty() || serde_json::from_slice::<Value>(&reply.body).is_ok();
                if whole {
                    return reply;
                }
            }
        }
    }
}

/// What a client knows of one of its containers; `None` is what it does not know.
#[derive(Debug, Clone, Default)]
struct Known {
    there: Option<bool>,
    id: String,
    running: Option<bool>,
    /// What was copied into it last.
    mark: Option<u64>,
    renamed: Option<bool>,
    /// Whether it ends by itself.
    short: bool,
    /// Whether somebody has asked for its end, and may not have seen it.
    ending: bool,
}

struct Client<'w> {
    world: &'w World,
    number: u64,
    random: Random,
    containers: Vec<Known>,
    volume: Option<bool>,
    network: Option<bool>,
    /// All containers there ever were.
    ids: Vec<String>,
}

impl<'w> Client<'w> {
    fn new(world: &'w World, number: u64, seed: u64) -> Self {
        let nothing = Known {
            there: Some(false),
            running: Some(false),
            renamed: Some(false),
            mark: Some(0),
            ..Known::default()
        };
        Self {
            world,
            number,
            random: Random(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            containers: vec![nothing; SLOTS],
            volume: Some(false),
            network: Some(false),
            ids: Vec::new(),
        }
    }

    fn name(&self, slot: usize) -> String {
        format!("c{}-{slot}", self.number)
    }

    /// Compares what is known of a container with what is, and learns the rest.
    fn look(&mut self, slot: usize) {
        let mut known = self.containers[slot].clone();
        let name = self.name(slot);
        let mut reply = self.world.learn(&format!("/containers/{name}/json"));
        let mut renamed = false;
        if reply.status == 404 && known.renamed != Some(false) {
            reply = self.world.learn(&format!("/containers/{name}-r/json"));
            renamed = reply.status == 200;
        }
        let there = reply.status == 200;
        assert!(there || reply.status == 404, "{name}: {reply:?}");
        assert!(
            known.there.is_none_or(|known| known == there),
            "{name} is there: {there}, but {known:?}"
        );
        known.there = Some(there);
        if !there {
            (known.renamed, known.running, known.mark) = (Some(false), Some(false), Some(0));
            self.containers[slot] = known;
            return;
        }
        assert!(
            known.renamed.is_none_or(|known| known == renamed),
            "{name}: {known:?} {reply:?}"
        );
        known.renamed = Some(renamed);
        let seen = reply.json();
        known.id = seen["Id"].as_str().expect("an id").to_owned();
        if !self.ids.contains(&known.id) {
            self.ids.push(known.id.clone());
        }
        let running = seen["State"]["Running"] == true;
        if let Some(before) = known.running
            && before != running
        {
            // One that was left alone by everybody neither ends nor begins.
            let excused = before && (known.short || known.ending || self.world.was_shot(&known.id));
            assert!(
                excused,
                "{name} runs: {running}, but {known:?} {}",
                seen["State"],
            );
        }
        known.running = Some(running);
        self.containers[slot] = known;
    }

    /// One operation and what it teaches.
    fn operate(&mut self) {
        let slot = usize::try_from(self.random.below(SLOTS as u64)).unwrap_or_default();
        self.look(slot);
        if self.containers[slot].there == Some(false) {
            return match self.random.below(4) {
                0 => self.volume(),
                1 => self.network(),
                _ => self.create(slot),
            };
        }
        match self.random.below(14) {
            0..3 => self.start(slot),
            3 => self.end(slot, "stop?t=0"),
            4 => self.end(slot, "kill"),
            5 => self.restart(slot),
            6 => self.harmless(slot, "pause", "unpause"),
            7 => self.execute(slot),
            8 => self.rename(slot),
            9 | 10 => self.put(slot),
            11 => self.connect(slot),
            _ => self.remove(slot),
        }
    }

    fn create(&mut self, slot: usize) {
        let name = self.name(slot);
        let short = self.random.below(3) == 0;
        let command: &[&str] = match short {
            true => &["sh", "-c", "echo said; exit 3"],
            false => &["sleep", "100000"],
        };
        let network = *self.random.one_of(&["none", "bridge"]);
        let mut host = json!({"NetworkMode": network, "Init": false});
        if self.volume == Some(true) {
            host["Binds"] = json!([format!("v{}:/v", self.number)]);
        }
        let body = json!({"Image": "busybox", "Cmd": command, "StopSignal": "SIGKILL", "HostConfig": host});
        let target = format!("/containers/create?name={name}");
        let reply = self
            .world
            .ask(("POST", &target, body.to_string().as_bytes()));
        let known = &mut self.containers[slot];
        known.short = short;
        match reply {
            None => {
                *known = Known {
                    short,
                    ..Known::default()
                };
                // It has not been started; nor has anything been copied into it.
                (known.running, known.mark, known.renamed) = (Some(false), Some(0), Some(false));
            }
            Some(reply) if reply.status == 201 => {
                known.there = Some(true);
                known.id = reply.json()["Id"].as_str().expect("an id").to_owned();
            }
            Some(reply) => panic!("{name} could not be created: {}", reply.text()),
        }
    }

    /// Asks for something of a container.
    fn ask(&self, slot: usize, method: &str, what: &str, body: &[u8]) -> Option<Reply> {
        let target = format!("/containers/{}{what}", self.containers[slot].id);
        self.world.ask((method, &target, body))
    }

    /// What went wrong must have a reason: a process that was killed.
    fn excuse(&self, slot: usize, reply: &Reply) {
        let known = &self.containers[slot];
        let text = reply.text();
        // One stays paused, or a member of a network that is gone, when an answer before was cut off.
        let states = [
            "marked for removal",
            "is not running",
            "paused",
            "failed to set up container networking: network",
        ];
        assert!(
            self.world.was_shot(&known.id) || states.iter().any(|state| text.contains(state)),
            "{}: {} {text}",
            self.name(slot),
            reply.status,
        );
    }

    fn start(&mut self, slot: usize) {
        let reply = self.ask(slot, "POST", "/start", &[]);
        let known = &mut self.containers[slot];
        match reply {
            Some(reply) if reply.status == 204 => {
                (known.running, known.ending) = (Some(true), false);
            }
            Some(reply) if reply.status == 304 => {}
            Some(reply) => {
                known.running = None;
                self.excuse(slot, &reply);
            }
            None => known.running = None,
        }
    }

    fn end(&mut self, slot: usize, how: &str) {
        let reply = self.ask(slot, "POST", &format!("/{how}"), &[]);
        self.containers[slot].ending = true;
        self.containers[slot].running = match &reply {
            Some(reply) if matches!(reply.status, 204 | 304) && how != "kill" => Some(false),
            _ => None,
        };
        if let Some(reply) = reply.filter(|reply| !matches!(reply.status, 204 | 304 | 409)) {
            self.excuse(slot, &reply);
        }
    }

    fn restart(&mut self, slot: usize) {
        let reply = self.ask(slot, "POST", "/restart?t=0", &[]);
        let done = reply.as_ref().is_some_and(|reply| reply.status == 204);
        let known = &mut self.containers[slot];
        (known.running, known.ending) = (done.then_some(true), !done);
        if let Some(reply) = reply.filter(|reply| reply.status != 204) {
            self.excuse(slot, &reply);
        }
    }

    /// Two that undo each other.
    fn harmless(&mut self, slot: usize, one: &str, other: &str) {
        for what in [one, other] {
            if let Some(reply) = self.ask(slot, "POST", &format!("/{what}"), &[])
                && !matches!(reply.status, 204 | 304 | 409)
            {
                self.excuse(slot, &reply);
            }
        }
    }

    fn execute(&mut self, slot: usize) {
        let body = json!({"AttachStdout": true, "Cmd": ["cat", "/proc/self/comm"]}).to_string();
        let Some(made) = self.ask(slot, "POST", "/exec", body.as_bytes()) else {
            return;
        };
        if made.status != 201 {
            assert_eq!(made.status, 409, "{made:?}");
            return;
        }
        let made = made.json();
        let target = format!("/exec/{}/start", made["Id"].as_str().expect("an id"));
        let body = json!({"Detach": false, "Tty": true}).to_string();
        if let Some(reply) = self.world.ask(("POST", &target, body.as_bytes()))
            && reply.status >= 400
        {
            // The exec is forgotten with the daemon that made it.
            assert!(
                matches!(reply.status, 404 | 409) || self.world.was_shot(&self.containers[slot].id),
                "{reply:?}"
            );
        }
    }

    fn rename(&mut self, slot: usize) {
        let to = match self.containers[slot].renamed {
            Some(true) => self.name(slot),
            _ => format!("{}-r", self.name(slot)),
        };
        let reply = self.ask(slot, "POST", &format!("/rename?name={to}"), &[]);
        let known = &mut self.containers[slot];
        known.renamed = match reply {
            Some(reply) if reply.status == 204 => known.renamed.map(|renamed| !renamed),
            Some(reply) => panic!("{to}: {reply:?}"),
            None => None,
        };
    }

    fn put(&mut self, slot: usize) {
        let mark = self.random.below(1 << 30);
        let reply = self.ask(slot, "PUT", "/archive?path=/", &archive(mark));
        let known = &mut self.containers[slot];
        match reply {
            Some(reply) if reply.status == 200 => known.mark = Some(mark),
            Some(reply) => {
                known.mark = None;
                self.excuse(slot, &reply);
            }
            None => known.mark = None,
        }
    }

    fn connect(&mut self, slot: usize) {
        if self.network != Some(true) {
            return;
        }
        let id = &self.containers[slot].id;
        let body = json!({"Container": id, "Force": true}).to_string();
        for what in ["connect", "disconnect"] {
            let target = format!("/networks/n{}/{what}", self.number);
            if let Some(reply) = self.world.ask(("POST", &target, body.as_bytes())) {
                // Those of the network none cannot, and one may be connected from an unanswered time before.
                let text = reply.text();
                let fine = reply.status < 500 || text.contains("is not connected to network");
                assert!(fine || self.world.was_shot(id), "{what}: {text}");
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        let reply = self.ask(slot, "DELETE", "?force=1", &[]);
        self.containers[slot].there = match reply {
            Some(reply) if reply.status == 204 => Some(false),
            Some(reply) if matches!(reply.status, 404 | 409) => None,
            Some(reply) => panic!("{}: {reply:?}", self.name(slot)),
            None => None,
        };
        let known = &mut self.containers[slot];
        (known.running, known.mark, known.ending) = (None, None, true);
    }

    fn volume(&mut self) {
        let name = format!("v{}", self.number);
        let reply = self.world.learn(&format!("/volumes/{name}"));
        let there = reply.status == 200;
        assert!(
            self.volume.is_none_or(|known| known == there),
            "{name}: {reply:?}"
        );
        let body = json!({"Name": name, "Labels": {"of": "mixed"}}).to_string();
        let target = format!("/volumes/{name}");
        let (reply, done, after) = match there {
            false => (
                self.world.ask(("POST", "/volumes/create", body.as_bytes())),
                201,
                true,
            ),
            true => (self.world.ask(("DELETE", &target, &[])), 204, false),
        };
        self.volume = match reply {
            Some(reply) if reply.status == done => Some(after),
            // In use.
            Some(reply) if reply.status == 409 && there => Some(true),
            Some(reply) => panic!("{name}: {reply:?}"),
            None => None,
        };
    }

    fn network(&mut self) {
        let name = format!("n{}", self.number);
        let reply = self.world.learn(&format!("/networks/{name}"));
        let there = reply.status == 200;
        assert!(
            self.network.is_none_or(|known| known == there),
            "{name}: {reply:?}"
        );
        let body = json!({"Name": name}).to_string();
        let target = format!("/networks/{name}");
        let (reply, done, after) = match there {
            false => (
                self.world
                    .ask(("POST", "/networks/create", body.as_bytes())),
                201,
                true,
            ),
            true => (self.world.ask(("DELETE", &target, &[])), 204, false),
        };
        self.network = match reply {
            Some(reply) if reply.status == done => Some(after),
            // It has endpoints.
            Some(reply) if reply.status == 403 && there => Some(true),
            Some(reply) => panic!("{name}: {reply:?}"),
            None => None,
        };
    }

    /// All of it once more, with what was copied.
    fn verify(&mut self) {
        for slot in 0..SLOTS {
            self.look(slot);
            let known = &self.containers[slot];
            let Some(mark) = known
                .mark
                .filter(|mark| *mark != 0 && known.there == Some(true))
            else {
                continue;
            };
            let reply = self
                .ask(slot, "GET", "/archive?path=/mark", &[])
                .expect("an answer");
            let found = content(&reply.body);
            assert_eq!(
                found.as_deref(),
                Some(&*mark.to_string()),
                "{}: {known:?}",
                self.name(slot)
            );
        }
        self.volume_is_known();
    }

    fn volume_is_known(&self) {
        for (kind, name, known) in [
            ("volumes", format!("v{}", self.number), self.volume),
            ("networks", format!("n{}", self.number), self.network),
        ] {
            let there = self.world.learn(&format!("/{kind}/{name}")).status == 200;
            assert!(
                known.is_none_or(|known| known == there),
                "{name} is there: {there}"
            );
        }
    }

    /// Removes everything; then every name can be used again.
    fn leave(&mut self) {
        for slot in 0..SLOTS {
            for round in 0..2 {
                for suffix in ["", "-r"] {
                    let target = format!("/containers/{}{suffix}?force=1", self.name(slot));
                    let reply = self.world.ask(("DELETE", &target, &[])).expect("an answer");
                    assert!(matches!(reply.status, 204 | 404), "{reply:?}");
                }
                if round == 0 {
                    self.volume = None;
                    self.create(slot);
                }
            }
        }
        for kind in ["volumes/v", "networks/n"] {
            let target = format!("/{kind}{}", self.number);
            let reply = self.world.ask(("DELETE", &target, &[])).expect("an answer");
            assert!(matches!(reply.status, 204 | 404), "{reply:?}");
        }
    }
}

fn archive(mark: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let text = mark.to_string();
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "mark", text.as_bytes())
        .expect("a tar");
    tar.into_inner().expect("a tar")
}

fn content(archive: &[u8]) -> Option<String> {
    let mut tar = tar::Archive::new(archive);
    let entry = tar.entries().ok()?.next()?.ok()?;
    std::io::read_to_string(entry).ok()
}

/// Ends the present daemon, shim or runtime now and then, until all clients are done.
fn kill_now_and_then(daemon: &mut Daemon<'_>, world: &World, random: &mut Random) -> [u32; 4] {
    let mut kills = [0; 4];
    while world.working.load(Ordering::Acquire) > 0 {
        random.wait(400_000);
        let (kind, program) = match random.below(11) {
            10 => {
                kills[3] += u32::from(stand_still(daemon, random));
                continue;
            }
            0..4 => {
                daemon.kill();
                daemon.restart();
                kills[0] += 1;
                continue;
            }
            4..7 => (1, "hull-shim"),
            _ => (2, "hull-runtime"),
        };
        let victims = daemon.processes_of(program);
        if victims.is_empty() {
            continue;
        }
        let pid = *random.one_of(&victims);
        let Ok(line) = fs_err::read(format!("/proc/{pid}/cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        // It has ended, or become a container's process.
        if !line.contains(program) {
            continue;
        }
        // Before the kill, so that whoever sees its effect finds the reason.
        world
            .shot
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            kills[kind] += 1;
        }
    }
    kills
}

/// Has a shim stand still for a while, in which there may be a new daemon: all that is asked of it takes longer, no more.
fn stand_still(daemon: &mut Daemon<'_>, random: &mut Random) -> bool {
    let shims = daemon.processes_of("hull-shim");
    let Some(shim) = shims
        .first()
        .and_then(|_| Pid::from_raw(*random.one_of(&shims)))
    else {
        return false;
    };
    let stopped = rustix::process::kill_process(shim, Signal::STOP).is_ok();
    if random.below(2) == 0 {
        daemon.kill();
        daemon.restart();
    }
    random.wait(500_000);
    let _ = rustix::process::kill_process(shim, Signal::CONT);
    stopped
}

fn mixed(s: &mut Setup<'_>) {
    let seed = number("HULL_TEST_SEED", u64::from(std::process::id()));
    let operations = number("HULL_TEST_OPERATIONS", 1000);
    #[expect(clippy::print_stderr, reason = "to repeat a run that failed")]
    {
        eprintln!("HULL_TEST_SEED={seed} HULL_TEST_OPERATIONS={operations}");
    }
    let world = World {
        socket: s.daemon.socket(),
        shot: Mutex::default(),
        working: AtomicUsize::new(usize::try_from(CLIENTS).unwrap_or_default()),
    };
    let mut random = Random(seed);
    let (kills, mut clients) = std::thread::scope(|scope| {
        let work = |number| {
            let world = &world;
            scope.spawn(move || {
                let _done = Done(&world.working);
                let mut client = Client::new(world, number, seed);
                for _ in 0..operations / CLIENTS {
                    client.operate();
                }
                client
            })
        };
        let threads: Vec<_> = (0..CLIENTS).map(work).collect();
        let kills = kill_now_and_then(&mut s.daemon, &world, &mut random);
        let clients: Vec<_> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect();
        (kills, clients)
    });
    s.daemon.kill();
    s.daemon.restart();
    clients.iter_mut().for_each(Client::verify);
    clients.iter_mut().for_each(Client::leave);
    crate::crashes::assert_sound(&s.daemon);
    let ids: Vec<_> = clients.iter().flat_map(|client| &client.ids).collect();
    hull_tests::daemon::wait_until("no control group is left", || {
        let left: Vec<_> = ids.iter().flat_map(|id| hull_tests::groups(id)).collect();
        left.is_empty().then_some(()).ok_or(format!("{left:?}"))
    });
    let states = fs_err::read_dir(s.daemon.path("run/runtime"));
    let states: Vec<_> = states
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(states.is_empty(), "{states:?}");
    #[expect(clippy::print_stderr, reason = "what was tried")]
    {
        eprintln!(
            "killed: {} daemons, {} shims, {} runtimes; {} shims stood still",
            kills[0], kills[1], kills[2], kills[3]
        );
    }
}

/// Counts a client as done also when it panics.
struct Done<'w>(&'w AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[test]
fn mixed_operations_survive_kills() {
    with(CommandLine::Hull, mixed);
}
