//! Questions about names that are not ours go to other servers.
//!
//! ```text
//!  waiter ─┐                       ┌─ attempt: a socket and an identifier of its own, server 1
//!  waiter ─┼─ Pending: a question ─┤
//!  waiter ─┘                       └─ attempt: server 2, after the first did not answer in time
//! ```
//!
//! Those who ask the same wait for the same answer, which is passed on as it came. A server that is late
//! is still heard while the next one is asked. Nothing blocks.
//!
//! Whoever asks more than its share goes without its own oldest questions, and when there are too many of
//! all, those who have most do: no container can keep others from asking.

use super::cache::Cache;
use super::host::{HostServers, MOST_SERVERS};
use super::packet::{self, HEADER, Query, rcode};
use super::sandbox::{Home, Served};
use super::timers::{Timers, Token};
use super::turns::{Limits, Turns};
use super::upstream::{Event, Identifiers, Upstream};
use hull_linux::reactor::{Interest, Reactor};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a server has before the next one is asked too.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the last one has: what dockerd gives each.
const LAST_PATIENCE: Duration = Duration::from_secs(4);

/// Where a client is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Udp(SocketAddr),
    /// The key of a stream.
    Tcp(u64),
}

/// A client's question.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// The key of its sandbox.
    pub(super) sandbox: u64,
    pub(super) client: Client,
    pub(super) message: &'a [u8],
    pub(super) query: &'a Query,
}

/// A client that waits. One that asks the same again meanwhile gets one answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    /// The key of its sandbox.
    pub(super) sandbox: u64,
    pub(super) client: Client,
    /// Its query's header and question, in its own spelling.
    pub(super) query: Box<[u8]>,
}

/// What a client is told.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) waiter: Waiter,
    /// `None`: no server has answered.
    pub(super) message: Option<Vec<u8>>,
}

/// What became of a question.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was in the cache.
    Answer(Vec<u8>),
    /// The answer comes later.
    Waits,
    /// As an answer comes to the same question of the same client.
    WaitsAlready,
    /// Nobody can be asked.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// The sandbox with servers of its own; `None`: the host's.
    scope: Option<u64>,
    tcp: bool,
    question: Box<[u8]>,
}

#[derive(Debug)]
struct Pending {
    key: Key,
    message: Box<[u8]>,
    question_end: usize,
    /// By their turn: who came first has the smallest.
    waiters: BTreeMap<u64, Waiter>,
    servers: Vec<SocketAddr>,
    attempts: BTreeMap<u64, Attempt>,
    deadline: Instant,
}

#[derive(Debug)]
struct Attempt {
    id: u16,
    upstream: Upstream,
}

/// All questions that are with other servers.
#[derive(Debug)]
pub(super) struct Forwarder {
    host: HostServers,
    cache: Cache,
    pending: HashMap<u64, Pending>,
    by_key: HashMap<Key, u64>,
    /// Attempts by key, and the questions they belong to.
    attempts: HashMap<u64, u64>,
    turns: Turns,
    /// Who had to go without, and was not told yet.
    dropped: Vec<Delivery>,
    last_key: u64,
    identifiers: Identifiers,
    buffer: Box<[u8]>,
}

/// What opening sockets takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) reactor: &'a Reactor,
    pub(super) home: &'a Home,
    pub(super) sandboxes: &'a HashMap<u64, Served>,
}

impl Forwarder {
    pub(super) fn new(resolv_conf: PathBuf, limits: Limits) -> Self {
        Self {
            host: HostServers::new(resolv_conf),
            cache: Cache::default(),
            pending: HashMap::new(),
            by_key: HashMap::new(),
            attempts: HashMap::new(),
            turns: Turns::new(limits),
            dropped: Vec::new(),
            last_key: 0,
            identifiers: Identifiers::default(),
            buffer: vec![0; 1 << 16].into(),
        }
    }

    /// Asks on behalf of a client.
    pub(super) fn ask(
        &mut self,
        around: Surroundings<'_>,
        timers: &mut Timers,
        asked: &Asked<'_>,
    ) -> Outcome {
        let Some(served) = around.sandboxes.get(&asked.sandbox) else {
            return Outcome::Failed;
        };
        let own = &served.sandbox.servers;
        let key = Key {
            scope: (!own.is_empty()).then_some(asked.sandbox),
            tcp: matches!(asked.client, Client::Tcp(_)),
            question: question(asked.message, asked.query.question_end),
        };
        let servers = if own.is_empty() {
            let servers = self.host_servers();
            if let Some(answer) = self.cached(&key, asked) {
                return Outcome::Answer(answer);
            }
            servers
        } else {
            let own = own.iter().take(MOST_SERVERS);
            own.map(|address| (*address, 53).into()).collect()
        };
        let waiter = Waiter {
            sandbox: asked.sandbox,
            client: asked.client,
            query: asked.message[..asked.query.question_end].into(),
        };
        let same = self.by_key.get(&key);
        if let Some(pending) = same.and_then(|id| self.pending.get(id))
            && pending.waiters.values().any(|known| *known == waiter)
        {
            return Outcome::WaitsAlready;
        }
        self.make_room(asked.sandbox);
        // It may have made room with the very same question.
        if let Some(id) = self.by_key.get(&key).copied() {
            self.wait(id, waiter);
            return Outcome::Waits;
        }
        let pending = Pending {
            key,
            message: asked.message.into(),
            question_end: asked.query.question_end,
            waiters: BTreeMap::new(),
            servers,
            attempts: BTreeMap::new(),
            deadline: Instant::now(),
        };
        let Some(id) = self.begin(around, timers, pending) else {
            return Outcome::Failed;
        };
        self.wait(id, waiter);
        Outcome::Waits
    }

    fn wait(&mut self, id: u64, waiter: Waiter) {
        if let Some(pending) = self.pending.get_mut(&id) {
            let turn = self.turns.take(waiter.sandbox, id);
            pending.waiters.insert(turn, waiter);
        }
    }

    /// Lets go of what is too much with one more waiter of `sandbox`.
    fn make_room(&mut self, sandbox: u64) {
        while let Some((of, turn, id)) = self.turns.too_much(sandbox, self.pending.len()) {
            if let Some(waiter) = self.leave(id, turn, of) {
                let message = None;
                self.dropped.push(Delivery { waiter, message });
            }
        }
    }

    /// Somebody waits no longer. A question that nobody waits for is not asked any more.
    fn leave(&mut self, id: u64, turn: u64, sandbox: u64) -> Option<Waiter> {
        self.turns.give_back(sandbox, turn);
        let pending = self.pending.get_mut(&id)?;
        let waiter = pending.waiters.remove(&turn);
        if pending.waiters.is_empty() {
            self.finish(id, None);
        }
        waiter
    }

    /// Those who had to make room since this was asked last.
    pub(super) fn dropped(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.dropped)
    }

    /// Whether a timer of this question is of use.
    pub(super) fn is_pending(&self, id: u64) -> bool {
        self.pending.contains_key(&id)
    }

    /// How many questions are with servers.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    fn host_servers(&mut self) -> Vec<SocketAddr> {
        let (servers, changed) = self.host.current();
        if changed {
            // Other servers may know other answers.
            self.cache.clear();
        }
        servers.to_vec()
    }

    fn cached(&self, key: &Key, asked: &Asked<'_>) -> Option<Vec<u8>> {
        let limit = match key.tcp {
            true => usize::MAX,
            false => asked.query.limit,
        };
        let mut answer = self.cache.get(&key.question, limit, Instant::now())?;
        spell(&mut answer, &asked.message[..asked.query.question_end]);
        Some(answer)
    }

    fn begin(
        &mut self,
        around: Surroundings<'_>,
        timers: &mut Timers,
        mut pending: Pending,
    ) -> Option<u64> {
        // Taken from the end.
        pending.servers.reverse();
        self.last_key += 1;
        let id = self.last_key;
        if !self.attempt(around, timers, id, &mut pending) {
            return None;
        }
        self.by_key.insert(pending.key.clone(), id);
        self.pending.insert(id, pending);
        Some(id)
    }

    /// Asks the next server that can be asked; false: there is none.
    fn attempt(
        &mut self,
        around: Surroundings<'_>,
        timers: &mut Timers,
        id: u64,
        pending: &mut Pending,
    ) -> bool {
        while let Some(server) = pending.servers.pop() {
            let identifier = self.identifiers.next();
            packet::set_id(&mut pending.message, identifier);
            let open = || Upstream::open(server, pending.key.tcp, &pending.message);
            let upstream = match pending.key.scope {
                None => open(),
                Some(scope) => around
                    .sandboxes
                    .get(&scope)
                    .and_then(|served| served.netns.as_ref())
                    .ok_or_else(|| io::ErrorKind::NotFound.into())
                    .and_then(|netns| around.home.inside(netns.as_fd(), open)),
            };
            self.last_key += 1;
            let key = self.last_key;
            let opened = upstream.and_then(|upstream| {
                let interest = match pending.key.tcp {
                    true => Interest::WRITE,
                    false => Interest::READ,
                };
                around
                    .reactor
                    .add(&upstream, Token::Upstream(key).number(), interest)?;
                Ok(upstream)
            });
            let Ok(upstream) = opened else { continue };
            let patience = match pending.servers.is_empty() {
                true => LAST_PATIENCE,
                false => PATIENCE,
            };
            pending.deadline = Instant::now() + patience;
            timers.at(pending.deadline, Token::Upstream(id));
            self.attempts.insert(key, id);
            let attempt = Attempt {
                id: identifier,
                upstream,
            };
            pending.attempts.insert(key, attempt);
            return true;
        }
        false
    }

    /// A server's socket is ready.
    pub(super) fn ready(
        &mut self,
        around: Surroundings<'_>,
        timers: &mut Timers,
        key: u64,
    ) -> Vec<Delivery> {
        let Some(id) = self.attempts.get(&key).copied() else {
            return Vec::new();
        };
        let Some(pending) = self.pending.get_mut(&id) else {
            return Vec::new();
        };
        let Some(attempt) = pending.attempts.get_mut(&key) else {
            return Vec::new();
        };
        let message = match attempt.upstream.go_on(&mut self.buffer) {
            Event::Nothing => return Vec::new(),
            Event::Sent => {
                let token = Token::Upstream(key).number();
                let changed = around
                    .reactor
                    .change(&attempt.upstream, token, Interest::READ);
                return match changed {
                    Ok(()) => Vec::new(),
                    Err(_) => self.fail_over(around, timers, id, key),
                };
            }
            Event::Failed => return self.fail_over(around, timers, id, key),
            Event::Message(message) => message,
        };
        let is_answer =
            packet::answers(message, &pending.message, attempt.id, pending.question_end);
        if !is_answer {
            // Somebody else's, or an old one.
            return Vec::new();
        }
        if let rcode::SERVER_FAILURE | rcode::REFUSED = packet::code(message) {
            return self.fail_over(around, timers, id, key);
        }
        let message = message.to_vec();
        self.finish(id, Some(message))
    }

    /// One server cannot help.
    fn fail_over(
        &mut self,
        around: Surroundings<'_>,
        timers: &mut Timers,
        id: u64,
        key: u64,
    ) -> Vec<Delivery> {
        self.attempts.remove(&key);
        let Some(mut pending) = self.pending.remove(&id) else {
            return Vec::new();
        };
        pending.attempts.remove(&key);
        let goes_on =
            self.attempt(around, timers, id, &mut pending) || !pending.attempts.is_empty();
        self.pending.insert(id, pending);
        if goes_on {
            return Vec::new();
        }
        self.finish(id, None)
    }

    /// A question's time is up, or was when the timer was set.
    pub(super) fn expire(
        &mut self,
        around: Surroundings<'_>,
        timers: &mut Timers,
        id: u64,
        now: Instant,
    ) -> Vec<Delivery> {
        let Some(mut pending) = self.pending.remove(&id) else {
            return Vec::new();
        };
        let goes_on = pending.deadline > now || self.attempt(around, timers, id, &mut pending);
        self.pending.insert(id, pending);
        if goes_on {
            return Vec::new();
        }
        self.finish(id, None)
    }

    /// Everyone who waits is told.
    fn finish(&mut self, id: u64, message: Option<Vec<u8>>) -> Vec<Delivery> {
        let Some(pending) = self.pending.remove(&id) else {
            return Vec::new();
        };
        self.by_key.remove(&pending.key);
        for key in pending.attempts.keys() {
            self.attempts.remove(key);
        }
        for (turn, waiter) in &pending.waiters {
            self.turns.give_back(waiter.sandbox, *turn);
        }
        if let Some(message) = message.as_deref()
            && pending.key.scope.is_none()
        {
            let end = pending.question_end;
            self.cache
                .insert(pending.key.question, message, end, Instant::now());
        }
        let deliver = |waiter: Waiter| {
            let mut message = message.clone();
            if let Some(message) = &mut message {
                spell(message, &waiter.query);
            }
            Delivery { waiter, message }
        };
        pending.waiters.into_values().map(deliver).collect()
    }

    /// A sandbox is gone, and so are its clients.
    pub(super) fn forget(&mut self, sandbox: u64) {
        for (turn, id) in self.turns.of(sandbox) {
            self.leave(id, turn, sandbox);
        }
    }
}

/// What two queries that mean the same have in common.
fn question(message: &[u8], question_end: usize) -> Box<[u8]> {
    let mut question: Box<[u8]> = message[2..].into();
    // Lengths of labels are numbers below those of letters.
    question[HEADER - 2..question_end - 6].make_ascii_lowercase();
    question
}

/// Makes an answer one to this query: its identifier and its spelling of the name.
fn spell(answer: &mut [u8], query: &[u8]) {
    packet::set_id(answer, packet::id(query));
    if let (Some(theirs), Some(ours)) = (answer.get_mut(HEADER..query.len()), query.get(HEADER..))
        && theirs.eq_ignore_ascii_case(ours)
    {
        theirs.copy_from_slice(ours);
    }
}
