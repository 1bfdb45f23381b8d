//! The sender: what a build gives back, a directory or the bytes of one file.

use super::walk::Walk;
use super::{mode, packet};
use crate::buildkit::session::{Caller, Channel, SessionError};
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::packet::file_send_client::FileSendClient as DirectoryClient;
use bollard_buildkit_proto::moby::filesync::v1::BytesMessage;
use bollard_buildkit_proto::moby::filesync::v1::file_send_client::FileSendClient;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
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
    /// Sends what is below `roots` to the directory that the client has for its exporter `exporter`.
    ///
    /// # Errors
    /// What the client said, and what could not be read.
    pub(crate) fn send_directory(
        &self,
        exporter: usize,
        roots: &[Root],
    ) -> Result<(), SessionError> {
        let channel = self.channel(SEND)?;
        let mut client = DirectoryClient::with_origin(channel, Channel::origin());
        let (sender, outgoing) = mpsc::channel(QUEUE);
        let request = Request::from_parts(
            exporter_metadata(exporter, &BTreeMap::new())?,
            tonic::Extensions::default(),
            ReceiverStream::new(outgoing),
        );
        send(roots, sender, || {
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

/// A tree that is sent.
#[derive(Clone, Debug)]
pub(in crate::buildkit) struct Root {
    /// The directory of the client's that it is in; empty is the one that gets all, and then there is but one tree.
    pub(in crate::buildkit) name: String,
    /// Where it is; `None`: it is empty.
    pub(in crate::buildkit) path: Option<PathBuf>,
}

/// The regular files that were told of and not asked for yet, by their numbers.
type Files = Mutex<HashMap<u32, Place>>;

/// A file: which tree's, and where in it.
type Place = (usize, PathBuf);

/// Sends what is below `roots`, which stand in the order of their names, into `outgoing`, as the answers want it, which
/// `connect` gives once sending has begun.
pub(super) fn send<R: Receiving>(
    roots: &[Root],
    outgoing: mpsc::Sender<Packet>,
    connect: impl FnOnce() -> Result<R, SessionError>,
) -> Result<(), SessionError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &PathBuf| {
        rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| SessionError::local(format!("open {}", path.display()), error))
    };
    let directories = roots
        .iter()
        .map(|root| root.path.as_ref().map(open).transpose());
    let directories: Vec<Option<OwnedFd>> = directories.collect::<Result<_, _>>()?;
    let files = Arc::new(Files::default());
    let (requests, requested) = std::sync::mpsc::channel::<PathAndNumber>();
    std::thread::scope(|scope| {
        let telling = outgoing.clone();
        let walk = scope.spawn({
            let files = Arc::clone(&files);
            move || tell_all(roots, &telling, &files)
        });
        let sending = outgoing.clone();
        let data = scope.spawn(move || send_files(&directories, &sending, &requested));
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

struct PathAndNumber(Place, u32);

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
    directories: &[Option<OwnedFd>],
    outgoing: &mpsc::Sender<Packet>,
    requested: &std::sync::mpsc::Receiver<PathAndNumber>,
) -> Result<(), SessionError> {
    while let Ok(PathAndNumber((root, path), id)) = requested.recv() {
        let Some(Some(directory)) = directories.get(root) else {
            return Err(broke_off());
        };
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

/// Tells of all files, in the order of walks.
fn tell_all(
    roots: &[Root],
    outgoing: &mpsc::Sender<Packet>,
    files: &Files,
) -> Result<(), SessionError> {
    let mut telling = Telling {
        outgoing,
        files,
        number: 0,
    };
    let told = roots
        .iter()
        .enumerate()
        .try_for_each(|(place, root)| telling.tell(place, root));
    match told {
        Ok(()) => {
            telling.put(None);
            Ok(())
        }
        // A receiver that left has said why.
        Err(Stopped::Left) => Ok(()),
        Err(Stopped::Failed(error)) => {
            let text = error.to_string().into_bytes();
            let _ = outgoing.blocking_send(packet(PacketType::PacketErr, 0, text));
            Err(error)
        }
    }
}

/// Why no more is told.
enum Stopped {
    Left,
    Failed(SessionError),
}

struct Telling<'a> {
    outgoing: &'a mpsc::Sender<Packet>,
    files: &'a Files,
    /// Of the next file.
    number: u32,
}

impl Telling<'_> {
    fn tell(&mut self, place: usize, root: &Root) -> Result<(), Stopped> {
        let told = |told: bool| if told { Ok(()) } else { Err(Stopped::Left) };
        if !root.name.is_empty() {
            told(self.put(Some(Stat {
                path: root.name.clone(),
                mode: mode::DIR | 0o755,
                ..Stat::default()
            })))?;
        }
        let Some(path) = &root.path else {
            return Ok(());
        };
        let mut walk = Walk::new(path, &root.name);
        while let Some((path, stat)) = walk.next().map_err(Stopped::Failed)? {
            if stat.mode & mode::TYPE == 0 {
                let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
                files.insert(self.number, (place, path));
            }
            told(self.put(Some(stat)))?;
        }
        Ok(())
    }

    /// `None` is the end.
    fn put(&mut self, stat: Option<Stat>) -> bool {
        self.number += 1;
        let mut packet = packet(PacketType::PacketStat, 0, Vec::new());
        packet.stat = stat;
        self.outgoing.blocking_send(packet).is_ok()
    }
}
