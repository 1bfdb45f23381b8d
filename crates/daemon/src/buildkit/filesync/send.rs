//! The sender: what a build gives back, a directory or the bytes of one file.

use super::{mode, packet};
use crate::buildkit::session::{Caller, Channel, SessionError};
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::packet::file_send_client::FileSendClient as DirectoryClient;
use bollard_buildkit_proto::moby::filesync::v1::BytesMessage;
use bollard_buildkit_proto::moby::filesync::v1::file_send_client::FileSendClient;
use fs_err as fs;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{AsciiMetadataKey, MetadataMap, MetadataValue};
use tonic::{Request, Status, Streaming};

pub(in crate::buildkit) const SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";

/// The bytes of a file that are sent in one message.
const PIECE: usize = 64 << 10;
/// The messages that wait to be sent.
const QUEUE: usize = 16;

impl Caller {
    /// Sends what is below `root` to the directory that the client has for its exporter `exporter`.
    ///
    /// # Errors
    /// What the client said, and what could not be read.
    pub(crate) fn send_directory(&self, exporter: usize, root: &Path) -> Result<(), SessionError> {
        let channel = self.channel(SEND)?;
        let mut client = DirectoryClient::with_origin(channel, Channel::origin());
        let (sender, outgoing) = mpsc::channel(QUEUE);
        let request = Request::from_parts(
            exporter_metadata(exporter, &BTreeMap::new())?,
            tonic::Extensions::default(),
            ReceiverStream::new(outgoing),
        );
        send(root, sender, || {
            let answers = self.wait(client.diff_copy(request))?.into_inner();
            Ok(Answers {
                caller: self,
                answers,
            })
        })
    }

    /// A file of the client's, for its exporter `exporter`, to be written to. `about` is told to the client.
    ///
    /// # Errors
    /// When the client takes none.
    pub(crate) fn send_file(
        &self,
        exporter: usize,
        about: &BTreeMap<String, String>,
    ) -> Result<FileWriter, SessionError> {
        let channel = self.channel(SEND)?;
        let mut client = FileSendClient::with_origin(channel, Channel::origin());
        let (sender, outgoing) = mpsc::channel(QUEUE);
        let request = Request::from_parts(
            exporter_metadata(exporter, about)?,
            tonic::Extensions::default(),
            ReceiverStream::new(outgoing),
        );
        let done = self.runtime().spawn(async move {
            let mut answers = client.diff_copy(request).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok(())
        });
        Ok(FileWriter {
            caller: self.clone(),
            sender,
            done,
        })
    }
}

fn exporter_metadata(
    exporter: usize,
    about: &BTreeMap<String, String>,
) -> Result<MetadataMap, SessionError> {
    let mut map = MetadataMap::new();
    map.insert("buildkit-attachable-exporter-id", exporter.into());
    for (name, value) in about {
        let invalid = || SessionError::Protocol(format!("{name:?} is no header"));
        let key = format!("exporter-md-{name}").to_ascii_lowercase();
        let key = AsciiMetadataKey::from_bytes(key.as_bytes()).map_err(|_| invalid())?;
        let value = MetadataValue::try_from(value).map_err(|_| invalid())?;
        map.insert(key, value);
    }
    Ok(map)
}

/// A file of a client's. Is whole only once [`FileWriter::finish`] returned.
#[derive(Debug)]
pub(crate) struct FileWriter {
    caller: Caller,
    sender: mpsc::Sender<BytesMessage>,
    done: JoinHandle<Result<(), Status>>,
}

impl FileWriter {
    /// Waits until the client has all.
    ///
    /// # Errors
    /// What the client said.
    pub(crate) fn finish(self) -> Result<(), SessionError> {
        drop(self.sender);
        let ended = self.caller.wait(async {
            let ended = self.done.await;
            Ok::<_, SessionError>(ended)
        })?;
        match ended {
            Ok(ended) => Ok(ended?),
            Err(error) => Err(SessionError::local("send a file", io::Error::other(error))),
        }
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(1 << 20);
        let data = bytes[..length].to_vec();
        let sent = self.caller.wait(async {
            let sent = self.sender.send(BytesMessage { data }).await;
            sent.map_err(|_| SessionError::Protocol("the client takes no more".to_owned()))
        });
        sent.map_err(io::Error::other)?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a receiver answers.
pub(super) trait Receiving {
    /// The next packet; `None` at the end.
    fn next(&mut self) -> Result<Option<Packet>, SessionError>;
}

struct Answers<'a> {
    caller: &'a Caller,
    answers: Streaming<Packet>,
}

impl Receiving for Answers<'_> {
    fn next(&mut self) -> Result<Option<Packet>, SessionError> {
        self.caller.wait(self.answers.message())
    }
}

/// The regular files that were told of and not asked for yet, by their numbers.
type Files = Mutex<HashMap<u32, PathBuf>>;

/// Sends what is below `root` into `outgoing`, as the answers want it, which `connect` gives once sending has
/// begun.
pub(super) fn send<R: Receiving>(
    root: &Path,
    outgoing: mpsc::Sender<Packet>,
    connect: impl FnOnce() -> Result<R, SessionError>,
) -> Result<(), SessionError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, root, flags, Mode::empty())
        .map_err(|error| SessionError::local(format!("open {}", root.display()), error))?;
    let files = Arc::new(Files::default());
    let (requests, requested) = std::sync::mpsc::channel::<PathAndNumber>();
    std::thread::scope(|scope| {
        let telling = outgoing.clone();
        let walk = scope.spawn({
            let files = Arc::clone(&files);
            move || tell(root, &telling, &files)
        });
        let sending = outgoing.clone();
        let data = scope.spawn(move || send_files(&directory, &sending, &requested));
        let answered = connect().and_then(|mut answers| {
            // Its end ends the others too: what they send goes nowhere then.
            let answered = answer(&mut answers, &files, &requests);
            if answered.is_ok() {
                let _ = outgoing.blocking_send(packet(PacketType::PacketFin, 0, Vec::new()));
            }
            drop(outgoing);
            drop(requests);
            // What stands after the FIN is the receiver's result.
            answered.and_then(|()| match answers.next()? {
                None => Ok(()),
                Some(_) => Err(SessionError::Protocol("a packet after the end".to_owned())),
            })
        });
        let told = walk.join().unwrap_or_else(|_| Err(broke_off()));
        let sent = data.join().unwrap_or_else(|_| Err(broke_off()));
        // The first cause: a walk that fails makes the receiver fail.
        told.and(sent).and(answered)
    })
}

fn broke_off() -> SessionError {
    SessionError::local("send files", io::Error::other("a thread broke off"))
}

struct PathAndNumber(PathBuf, u32);

/// Passes requests on until the receiver has all it wants.
fn answer(
    answers: &mut impl Receiving,
    files: &Files,
    requests: &std::sync::mpsc::Sender<PathAndNumber>,
) -> Result<(), SessionError> {
    while let Some(answer) = answers.next()? {
        match answer.r#type() {
            PacketType::PacketReq => {
                let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
                let path = files.remove(&answer.id).ok_or_else(|| {
                    SessionError::Protocol(format!("invalid file id {}", answer.id))
                })?;
                // Only after a failure, which is told elsewhere.
                let _ = requests.send(PathAndNumber(path, answer.id));
            }
            PacketType::PacketFin => return Ok(()),
            PacketType::PacketErr => {
                let text = String::from_utf8_lossy(&answer.data).into_owned();
                let text = format!("error from receiver: {text}");
                return Err(SessionError::Refused(Status::unknown(text)));
            }
            PacketType::PacketStat | PacketType::PacketData => {
                let text = "a packet that only senders send";
                return Err(SessionError::Protocol(text.to_owned()));
            }
        }
    }
    let text = "the stream ended too early";
    Err(SessionError::Protocol(text.to_owned()))
}

/// Sends the bytes of files until nobody asks any more.
fn send_files(
    directory: &OwnedFd,
    outgoing: &mpsc::Sender<Packet>,
    requested: &std::sync::mpsc::Receiver<PathAndNumber>,
) -> Result<(), SessionError> {
    while let Ok(PathAndNumber(path, id)) = requested.recv() {
        let failed = |error| SessionError::local(format!("read {}", path.display()), error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let mut file = rustix::fs::openat2(directory, &path, flags, Mode::empty(), resolve)
            .map(File::from)
            .map_err(|error| failed(io::Error::from(error)))?;
        loop {
            let mut data = vec![0; PIECE];
            let length = file.read(&mut data).map_err(failed)?;
            data.truncate(length);
            let piece = packet(PacketType::PacketData, id, data);
            if outgoing.blocking_send(piece).is_err() {
                return Ok(());
            }
            if length == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Tells of all files, in the order of a walk.
fn tell(root: &Path, outgoing: &mpsc::Sender<Packet>, files: &Files) -> Result<(), SessionError> {
    let mut walk = Walk::new(root);
    let mut number = 0;
    loop {
        let stat = match walk.next() {
            Ok(stat) => stat,
            Err(error) => {
                let text = error.to_string().into_bytes();
                let _ = outgoing.blocking_send(packet(PacketType::PacketErr, 0, text));
                return Err(error);
            }
        };
        let ended = stat.is_none();
        if let Some(stat) = stat.as_ref().filter(|stat| stat.mode & mode::TYPE == 0) {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            files.insert(number, PathBuf::from(&stat.path));
        }
        number += 1;
        let mut packet = packet(PacketType::PacketStat, 0, Vec::new());
        packet.stat = stat;
        // A receiver that left has said why.
        if outgoing.blocking_send(packet).is_err() || ended {
            return Ok(());
        }
    }
}

/// A walk through a directory, what is in one right after it.
struct Walk<'a> {
    root: &'a Path,
    /// Names that are still to come, of each directory on the way, the last one first.
    open: Vec<(PathBuf, Vec<OsString>)>,
    started: bool,
    /// First names of files that have several.
    linked: HashMap<(u64, u64), String>,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Path) -> Self {
        Self {
            root,
            open: Vec::new(),
            started: false,
            linked: HashMap::new(),
        }
    }

    fn enter(&mut self, directory: PathBuf) -> Result<(), SessionError> {
        let path = self.root.join(&directory);
        let names = fs::read_dir(&path).and_then(|entries| {
            let names = entries.map(|entry| Ok(entry?.file_name()));
            names.collect::<io::Result<Vec<_>>>()
        });
        let mut names = names
            .map_err(|error| SessionError::local(format!("read {}", path.display()), error))?;
        names.sort_unstable_by(|one, other| other.as_bytes().cmp(one.as_bytes()));
        self.open.push((directory, names));
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Stat>, SessionError> {
        if !self.started {
            self.started = true;
            self.enter(PathBuf::new())?;
        }
        while let Some((directory, names)) = self.open.last_mut() {
            let Some(name) = names.pop() else {
                self.open.pop();
                continue;
            };
            let path = directory.join(name);
            let stat = self.stat(&path)?;
            if stat.mode & mode::DIR != 0 {
                self.enter(path)?;
            }
            return Ok(Some(stat));
        }
        Ok(None)
    }

    fn stat(&mut self, path: &Path) -> Result<Stat, SessionError> {
        let whole = self.root.join(path);
        let failed = |error| SessionError::local(format!("read {}", whole.display()), error);
        let name = path
            .to_str()
            .ok_or_else(|| SessionError::Protocol(format!("{} is no text", path.display())))?;
        let metadata = fs::symlink_metadata(&whole).map_err(failed)?;
        let kind = metadata.file_type();
        let target = match kind.is_symlink() {
            true => Some(fs::read_link(&whole).map_err(failed)?),
            false => None,
        };
        let mut stat = described(name, &metadata, target.as_deref());
        if !kind.is_dir() && metadata.nlink() > 1 {
            let first = self.linked.entry((metadata.dev(), metadata.ino()));
            let first = first.or_insert_with(|| name.to_owned());
            if first != name && kind.is_file() {
                stat.linkname.clone_from(first);
                stat.size = 0;
            }
        }
        Ok(stat)
    }
}

/// A file as clients are told of it.
pub(in crate::buildkit) fn described(
    name: &str,
    metadata: &Metadata,
    target: Option<&Path>,
) -> Stat {
    let kind = metadata.file_type();
    let mut stat = Stat {
        path: name.to_owned(),
        mode: go_mode(metadata),
        uid: metadata.uid(),
        gid: metadata.gid(),
        mod_time: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
        ..Stat::default()
    };
    if kind.is_char_device() || kind.is_block_device() {
        stat.devmajor = rustix::fs::major(metadata.rdev()).into();
        stat.devminor = rustix::fs::minor(metadata.rdev()).into();
    }
    if let Some(target) = target {
        stat.linkname = target.to_string_lossy().into_owned();
    }
    if kind.is_file() {
        stat.size = i64::try_from(metadata.len()).unwrap_or(i64::MAX);
    }
    stat
}

/// A mode as Go's `fs.FileMode` has it; a socket is told of as an empty file.
fn go_mode(metadata: &Metadata) -> u32 {
    let kind = metadata.file_type();
    let unix = metadata.mode();
    let bit = |bit: u32, go: u32| if unix & bit == 0 { 0 } else { go };
    let kind = if kind.is_dir() {
        mode::DIR
    } else if kind.is_symlink() {
        mode::SYMLINK
    } else if kind.is_fifo() {
        mode::FIFO
    } else if kind.is_char_device() {
        mode::DEVICE | mode::CHAR_DEVICE
    } else if kind.is_block_device() {
        mode::DEVICE
    } else {
        0
    };
    kind | unix & 0o777
        | bit(0o4000, mode::SETUID)
        | bit(0o2000, mode::SETGID)
        | bit(0o1000, mode::STICKY)
}
