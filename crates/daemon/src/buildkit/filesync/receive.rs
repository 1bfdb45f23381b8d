//! The receiver: what is asked of the client, and what becomes of its answers.

use super::index::Entry;
use super::order::{Order, compare, is_above};
use super::received::{ReceivedFiles, find};
use super::store::{ContextStore, Lease};
use super::tree::{self, Tree};
use super::{Kind, packet};
use crate::buildkit::session::SessionError;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use prost::Message as _;
use ring::digest::{Context, SHA256};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write as _;
use std::iter::Peekable;
use std::path::PathBuf;
use std::sync::Arc;
use std::vec;

/// No source has more files.
const MAX_FILES: usize = 2_000_000;
/// No list of files has more bytes: it is kept in memory while they come.
const MAX_LIST: usize = 512 << 20;
/// The longest that a link leads to, bytes (symlink(7)).
const MAX_LINK: usize = 4095;
/// As many bytes of extended attributes a file has, as on most file systems (xattr(7)).
const MAX_ATTRIBUTES: usize = 64 << 10;
/// How many files a client may send at once; BuildKit's sends four.
const MAX_OPEN: usize = 64;

/// Which files are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalRequest {
    /// As the client calls their directory.
    pub(crate) name: String,
    /// Only these, in `.dockerignore`'s notation; none is all.
    pub(crate) include: Vec<String>,
    /// Without these.
    pub(crate) exclude: Vec<String>,
    /// Of these, links are followed.
    pub(crate) follow: Vec<String>,
    /// Keeps what is wanted for one purpose apart from what is for others.
    pub(crate) shared_key_hint: String,
    /// Whether all are sent, changed or not.
    pub(crate) afresh: bool,
}

/// The way of packets to a client and back.
pub(in crate::buildkit) trait Link {
    /// The next one; `None` when there are no more.
    fn next(&mut self) -> Result<Option<Packet>, SessionError>;

    /// Tells the client. It is only sure to hear it when the next packet is waited for.
    fn answer(&mut self, answer: Answer) -> Result<(), SessionError>;
}

/// Brings files over a link. What came for `key` is kept for the next time.
///
/// # Errors
/// What the client said, what the file system said, and for a client that breaks the protocol.
pub(in crate::buildkit) fn receive(
    (link, key): (&mut dyn Link, Option<&str>),
    request: &LocalRequest,
    store: &Arc<ContextStore>,
    progress: &mut dyn FnMut(u64),
) -> Result<ReceivedFiles, SessionError> {
    let failed = |error| SessionError::local("keep a client's files", error);
    let lease = store.lease(key).map_err(failed)?;
    if request.afresh {
        lease.change().map_err(failed)?;
    }
    let old = lease.begin().map_err(failed)?;
    let mut receiver = Receiver {
        link,
        writer: Writer::new(&lease, old)?,
        received: 0,
    };
    if let Err(error) = receiver.run(progress) {
        // The client may be gone.
        let _ = receiver.link.answer(Answer::Failed(error.to_string()));
        return Err(error);
    }
    let Writer {
        entries, changed, ..
    } = receiver.writer;
    if changed {
        lease.finish(&entries).map_err(failed)?;
    }
    Ok(ReceivedFiles {
        path: lease.tree(),
        entries,
        _lease: lease,
    })
}

/// What the client is told. Many wait in a queue while it still tells of files: they are small.
#[derive(Debug)]
pub(in crate::buildkit) enum Answer {
    /// The bytes of a file are wanted.
    Request(u32),
    /// All has come.
    Done,
    /// It is over.
    Failed(String),
}

impl Answer {
    pub(super) fn packet(self) -> Packet {
        match self {
            Self::Request(id) => packet(PacketType::PacketReq, id, Vec::new()),
            Self::Done => packet(PacketType::PacketFin, 0, Vec::new()),
            Self::Failed(text) => packet(PacketType::PacketErr, 0, text.into_bytes()),
        }
    }
}

struct Receiver<'a> {
    link: &'a mut dyn Link,
    writer: Writer,
    received: u64,
}

impl Receiver<'_> {
    fn run(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), SessionError> {
        let mut listed = false;
        loop {
            let Some(packet) = self.next(progress)? else {
                return Err(broken("the stream ended too early"));
            };
            match packet.r#type() {
                PacketType::PacketStat if listed => return Err(broken("a file after the last")),
                PacketType::PacketStat => match packet.stat {
                    Some(stat) => {
                        if let Some(id) = self.writer.file(stat)? {
                            self.link.answer(Answer::Request(id))?;
                        }
                    }
                    None => {
                        self.writer.no_more_files()?;
                        listed = true;
                    }
                },
                PacketType::PacketData => self.writer.data(packet.id, &packet.data)?,
                PacketType::PacketErr => return Err(sender(&packet.data)),
                PacketType::PacketReq | PacketType::PacketFin => {
                    return Err(broken("a packet that only receivers send"));
                }
            }
            if listed && self.writer.is_complete() {
                self.writer.finish()?;
                self.link.answer(Answer::Done)?;
                return self.wait_for_end(progress);
            }
        }
    }

    fn next(&mut self, progress: &mut dyn FnMut(u64)) -> Result<Option<Packet>, SessionError> {
        let packet = self.link.next()?;
        if let Some(packet) = &packet {
            self.received += packet.encoded_len() as u64;
            progress(self.received);
        }
        Ok(packet)
    }

    fn wait_for_end(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), SessionError> {
        let mut packets = 0;
        while let Some(packet) = self.next(progress)? {
            match packet.r#type() {
                PacketType::PacketErr => return Err(sender(&packet.data)),
                PacketType::PacketFin if packets == 0 => packets += 1,
                _ => return Err(broken("a packet after the end")),
            }
        }
        Ok(())
    }
}

pub(super) fn broken(text: &str) -> SessionError {
    SessionError::Protocol(text.to_owned())
}

fn sender(text: &[u8]) -> SessionError {
    let text = String::from_utf8_lossy(text);
    SessionError::Refused(tonic::Status::unknown(format!("error from sender: {text}")))
}

/// A file whose bytes come.
struct Incoming {
    file: File,
    digest: Context,
    size: u64,
}

/// Makes the files, beside what was there.
struct Writer {
    tree: Tree,
    index: PathBuf,
    order: Order,
    old: Peekable<vec::IntoIter<Entry>>,
    entries: Vec<Entry>,
    /// Whether the index is gone: something is not as it was.
    changed: bool,
    /// Files that were asked for and have not all of their bytes, by their numbers.
    wanted: HashSet<u32>,
    open: HashMap<u32, Incoming>,
    /// Names of files whose bytes may not have come yet, by their places in the entries.
    links: Vec<usize>,
    /// Directories whose time is to be set, by their places in the entries.
    /// Bytes of the list so far.
    listed: usize,
    touched: HashSet<usize>,
    /// Files with new bytes: their other names are to be made anew.
    replaced: HashSet<String>,
}

impl Writer {
    fn new(lease: &Lease, old: Vec<Entry>) -> Result<Self, SessionError> {
        Ok(Self {
            tree: Tree::open(lease.tree())?,
            index: lease.index(),
            order: Order::default(),
            // Without an index nothing is known; it has to be written.
            changed: !lease.index().exists(),
            old: old.into_iter().peekable(),
            entries: Vec::new(),
            wanted: HashSet::new(),
            open: HashMap::new(),
            links: Vec::new(),
            listed: 0,
            touched: HashSet::new(),
            replaced: HashSet::new(),
        })
    }

    /// Refuses what nobody's files are like.
    fn bound(&mut self, stat: &Stat) -> Result<(), SessionError> {
        let attributes = stat.xattrs.iter();
        let attributes: usize = attributes
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if stat.linkname.len() > MAX_LINK || attributes > MAX_ATTRIBUTES {
            let text = format!("{:?}: its link or its attributes are too long", stat.path);
            return Err(SessionError::Limit(text));
        }
        self.listed += stat.path.len() + stat.linkname.len() + attributes + size_of::<Stat>();
        if self.listed > MAX_LIST {
            let text = format!("a source's list of files has more than {MAX_LIST} bytes");
            return Err(SessionError::Limit(text));
        }
        Ok(())
    }

    /// Takes what the client says of the next file; its number if its bytes are wanted.
    fn file(&mut self, stat: Stat) -> Result<Option<u32>, SessionError> {
        let kind = Kind::of(&stat).ok_or_else(|| {
            SessionError::Protocol(format!("{:?} has no kind: {:o}", stat.path, stat.mode))
        })?;
        if self.order.count() >= MAX_FILES {
            let text = format!("a source has more than {MAX_FILES} files");
            return Err(SessionError::Limit(text));
        }
        self.bound(&stat)?;
        self.order.next(&stat, kind)?;
        self.remove_before(&stat.path)?;
        if kind == Kind::HardLink {
            self.check_link(&stat)?;
        }
        let old = self.old.next_if(|old| old.stat.path == stat.path);
        let place = self.entries.len();
        let relinked = kind == Kind::HardLink && self.replaced.contains(&stat.linkname);
        let same = match &old {
            Some(old) => old.is(&stat) && !relinked,
            None => false,
        };
        if let Some(mut old) = old {
            if same {
                if kind == Kind::Directory && old.stat.mod_time != stat.mod_time {
                    self.change()?;
                    self.touched.insert(place);
                    old.stat.mod_time = stat.mod_time;
                }
                self.entries.push(old);
                return Ok(None);
            }
            self.replace(&old, &stat, kind)?;
        } else {
            self.change()?;
            self.touch_directory_of(&stat.path);
            self.tree_make(&stat, kind)?;
        }
        Ok(self.expect(stat, kind, place))
    }

    /// Notes a file that is new or another.
    fn expect(&mut self, stat: Stat, kind: Kind, place: usize) -> Option<u32> {
        match kind {
            Kind::Directory => {
                self.touched.insert(place);
            }
            Kind::HardLink => self.links.push(place),
            Kind::File => {
                self.replaced.insert(stat.path.clone());
            }
            _ => {}
        }
        self.entries.push(Entry {
            stat,
            ..Entry::default()
        });
        if kind != Kind::File {
            return None;
        }
        // The limit of files is far below.
        let id = u32::try_from(place).ok()?;
        self.wanted.insert(id);
        Some(id)
    }

    fn tree_make(&mut self, stat: &Stat, kind: Kind) -> Result<(), SessionError> {
        match kind {
            // When all bytes have come.
            Kind::HardLink => Ok(()),
            kind => self.tree.make(stat, kind),
        }
    }

    fn replace(&mut self, old: &Entry, stat: &Stat, kind: Kind) -> Result<(), SessionError> {
        self.change()?;
        let was = Kind::of(&old.stat).unwrap_or(Kind::File);
        if was == Kind::Directory && kind == Kind::Directory && old.stat.xattrs == stat.xattrs {
            return self.tree.describe(stat, kind);
        }
        self.tree.remove(&old.stat.path, was)?;
        if was == Kind::Directory {
            // What is in it is gone with it, and comes anew.
            let directory = old.stat.path.clone();
            while let Some(below) = self.old.next_if(|old| is_above(&directory, &old.stat.path)) {
                drop(below);
            }
        }
        self.touch_directory_of(&stat.path);
        self.tree_make(stat, kind)
    }

    /// Removes what was before `path` and did not come again.
    fn remove_before(&mut self, path: &str) -> Result<(), SessionError> {
        while let Some(old) = self
            .old
            .next_if(|old| path.is_empty() || compare(&old.stat.path, path) == Ordering::Less)
        {
            self.change()?;
            let kind = Kind::of(&old.stat).unwrap_or(Kind::File);
            self.touch_directory_of(&old.stat.path);
            self.tree.remove(&old.stat.path, kind)?;
            if kind == Kind::Directory {
                let gone = old.stat.path;
                while let Some(below) = self.old.next_if(|old| is_above(&gone, &old.stat.path)) {
                    drop(below);
                }
            }
        }
        Ok(())
    }

    fn touch_directory_of(&mut self, path: &str) {
        self.touched.extend(self.order.directory_of(path));
    }

    /// A link's other name must be that of a file with bytes of its own that came before.
    fn check_link(&self, stat: &Stat) -> Result<(), SessionError> {
        let target = find(&self.entries, &stat.linkname);
        match target.and_then(|target| Kind::of(&target.stat)) {
            Some(Kind::File) => Ok(()),
            _ => Err(SessionError::Protocol(format!(
                "invalid link {:?} to unknown path: {:?}",
                stat.path, stat.linkname
            ))),
        }
    }

    /// From now on the index is wrong.
    fn change(&mut self) -> Result<(), SessionError> {
        if !self.changed {
            fs_err::remove_file(&self.index)
                .map_err(|error| SessionError::local("change a client's files", error))?;
            self.changed = true;
        }
        Ok(())
    }

    /// Takes bytes of a file that was asked for.
    fn data(&mut self, id: u32, bytes: &[u8]) -> Result<(), SessionError> {
        let unasked = || SessionError::Protocol(format!("invalid file request {id}"));
        let place = usize::try_from(id).map_err(|_| unasked())?;
        if !self.wanted.contains(&id) {
            return Err(unasked());
        }
        let opened = self.open.len();
        let stat = &self.entries[place].stat;
        let incoming = match self.open.entry(id) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(_) if opened >= MAX_OPEN => {
                return Err(SessionError::Limit("too many files at once".to_owned()));
            }
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Incoming {
                file: self.tree.create(stat)?,
                digest: Context::new(&SHA256),
                size: 0,
            }),
        };
        if !bytes.is_empty() {
            incoming.digest.update(bytes);
            incoming.size += bytes.len() as u64;
            return incoming
                .file
                .write_all(bytes)
                .map_err(|error| SessionError::local(format!("write {:?}", stat.path), error));
        }
        tree::complete(&incoming.file, stat)?;
        self.wanted.remove(&id);
        if let Some(incoming) = self.open.remove(&id) {
            let entry = &mut self.entries[place];
            entry.sha256 = incoming.digest.finish().as_ref().to_vec();
            entry.size = incoming.size;
            if i64::try_from(incoming.size) != Ok(entry.stat.size) {
                // It changed while it was sent: what the client says next time is compared with nothing.
                entry.stat.size = -1;
            }
        }
        Ok(())
    }

    fn no_more_files(&mut self) -> Result<(), SessionError> {
        self.remove_before("")
    }

    fn is_complete(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Makes what had to wait for the bytes, and sets the times of directories, the deepest first.
    fn finish(&mut self) -> Result<(), SessionError> {
        for place in &self.links {
            let stat = &self.entries[*place].stat;
            self.tree.make(stat, Kind::HardLink)?;
        }
        let mut touched: Vec<usize> = self.touched.iter().copied().collect();
        touched.sort_unstable_by(|one, other| other.cmp(one));
        for place in touched {
            self.tree.touch(&self.entries[place].stat)?;
        }
        Ok(())
    }
}
