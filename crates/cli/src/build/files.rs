//! Files of a directory on their way to the daemon: what there is, then what it has not.

use super::follow::follow;
use hull_api::build::{FileStat, Files, MAX_DATA, Packet, Reader};
use hull_api::client::{Hijacked, Socket};
use hull_build::ignore::{Above, Matcher};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

/// How many bytes are written at once.
const PIECE: usize = 128 << 10;

/// Answers to a connection until the daemon has all it wants. Blocking.
///
/// # Errors
/// What could not be read or sent, with a text for people.
pub(super) fn send(connection: Hijacked, root: &Path, wanted: &Files) -> Result<(), String> {
    let failed = |error: io::Error| format!("could not send files: {error}");
    let reading = connection.socket.try_clone().map_err(failed)?;
    let mut sender = Sender {
        socket: connection.socket,
        out: Vec::with_capacity(PIECE + MAX_DATA),
    };
    let (requests, asked) = mpsc::channel();
    let early = connection.early;
    // Somebody always reads: the daemon asks while it is told.
    thread::spawn(move || read_requests(reading, &early, &requests));
    let sent = sender.all(root, wanted, &asked);
    if let Err(Failed::Local(why)) = &sent {
        // The daemon may be gone.
        let _ = sender.put(&Packet::Failed(why.clone()));
        let _ = sender.flush();
    }
    let _ = sender.socket.shutdown(Shutdown::Both);
    match sent {
        Ok(()) => Ok(()),
        Err(Failed::Local(why)) => Err(why),
        Err(Failed::Connection(error)) => Err(failed(error)),
        // It tells by itself why.
        Err(Failed::Told) => Ok(()),
    }
}

/// Why files were not sent.
enum Failed {
    Local(String),
    Connection(io::Error),
    Told,
}

fn read_requests(mut socket: Socket, early: &[u8], requests: &mpsc::Sender<Packet>) {
    let mut reader = Reader::default();
    reader.push(early);
    while let Ok(Some(packet)) = reader.read_from(&mut socket) {
        if requests.send(packet).is_err() {
            return;
        }
    }
}

struct Sender {
    socket: Socket,
    out: Vec<u8>,
}

impl Sender {
    fn put(&mut self, packet: &Packet) -> Result<(), Failed> {
        packet.write(&mut self.out);
        match self.out.len() >= PIECE {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), Failed> {
        let written = self.socket.write_all(&self.out);
        self.out.clear();
        written.map_err(Failed::Connection)
    }

    fn all(
        &mut self,
        root: &Path,
        wanted: &Files,
        asked: &mpsc::Receiver<Packet>,
    ) -> Result<(), Failed> {
        let mut walk = Walk::new(root, wanted).map_err(Failed::Local)?;
        let mut put = |stat: FileStat| self.put(&Packet::Stat(stat));
        walk.directory("", &Above::default(), &Above::default(), &mut put)?;
        let paths = walk.paths;
        self.put(&Packet::End)?;
        self.flush()?;
        let mut buffer = vec![0; MAX_DATA];
        loop {
            // What waits goes out before we wait.
            let packet = match asked.try_recv() {
                Ok(packet) => packet,
                Err(_) => {
                    self.flush()?;
                    let ended = || Failed::Connection(io::ErrorKind::UnexpectedEof.into());
                    asked.recv().map_err(|_| ended())?
                }
            };
            match packet {
                Packet::Wanted(number) => {
                    let path = paths.get(number as usize).and_then(Option::as_ref);
                    let path = path
                        .ok_or_else(|| Failed::Local(format!("file {number} was not told of")))?;
                    self.file(number, &root.join(path), &mut buffer)?;
                }
                Packet::Done => return Ok(()),
                Packet::Failed(_) => return Err(Failed::Told),
                _ => {
                    let text = "the daemon broke the protocol".to_owned();
                    return Err(Failed::Local(text));
                }
            }
        }
    }

    fn file(&mut self, number: u32, path: &Path, buffer: &mut [u8]) -> Result<(), Failed> {
        let failed = |what: &str, error: io::Error| {
            Failed::Local(format!("{what} {}: {error}", path.display()))
        };
        let mut options = File::options();
        // What was a file may be a link or a pipe by now.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let mut file = options.open(path).map_err(|e| failed("open", e))?;
        loop {
            match file.read(buffer) {
                Ok(0) => return self.put(&Packet::Data(number, Vec::new())),
                Ok(count) => self.put(&Packet::Data(number, buffer[..count].to_vec()))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read", error)),
            }
        }
    }
}

/// What of a directory is wanted.
struct Walk {
    root: PathBuf,
    /// `None`: everything.
    include: Option<Matcher>,
    exclude: Matcher,
    /// Directories that are told of only with something in them.
    waiting: Vec<FileStat>,
    /// First names of files with several, by device and number.
    names: HashMap<(u64, u64), String>,
    /// Regular files' paths, by their numbers.
    paths: Vec<Option<String>>,
}

type Put<'a> = dyn FnMut(FileStat) -> Result<(), Failed> + 'a;

impl Walk {
    fn new(root: &Path, wanted: &Files) -> Result<Self, String> {
        let matcher =
            |patterns: &[String]| Matcher::new(patterns).map_err(|error| error.to_string());
        let mut include = wanted.include.clone();
        let mut all = include.is_empty();
        if !wanted.follow.is_empty() {
            match follow(root, &wanted.follow) {
                Some(followed) => {
                    include.extend(followed);
                    all = false;
                }
                None => all = true,
            }
        }
        Ok(Self {
            root: root.to_owned(),
            include: match all {
                true => None,
                false => Some(matcher(&include)?),
            },
            exclude: matcher(&wanted.exclude)?,
            waiting: Vec::new(),
            names: HashMap::new(),
            paths: Vec::new(),
        })
    }

    /// Tells of what is in a directory, in the order of its names' bytes.
    fn directory(
        &mut self,
        path: &str,
        included: &Above,
        excluded: &Above,
        put: &mut Put<'_>,
    ) -> Result<(), Failed> {
        let place = self.root.join(path);
        let failed = |what: &str, place: &Path, error: &io::Error| {
            Failed::Local(format!("{what} {}: {error}", place.display()))
        };
        let entries = std::fs::read_dir(&place).map_err(|e| failed("open", &place, &e))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| failed("read", &place, &e))?;
            let name = entry.file_name().into_string().map_err(|name| {
                Failed::Local(format!("{place:?} has a name that is no UTF-8: {name:?}"))
            })?;
            names.push((name, entry));
        }
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (name, entry) in names {
            let path = match path {
                "" => name,
                path => format!("{path}/{name}"),
            };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("lstat", &entry.path(), &error)),
            };
            self.entry(&path, &metadata, (included, excluded), put)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        path: &str,
        metadata: &Metadata,
        (included, excluded): (&Above, &Above),
        put: &mut Put<'_>,
    ) -> Result<(), Failed> {
        let kind = metadata.file_type();
        // They are of use only to their processes.
        if kind.is_socket() {
            return Ok(());
        }
        let (out, below_excluded) = match self.exclude.is_empty() {
            true => (false, Above::default()),
            false => self.exclude.enter(path, excluded),
        };
        let (wanted, below_included) = match &self.include {
            None => (true, Above::default()),
            Some(include) => include.enter(path, included),
        };
        let taken = wanted && !out;
        if !kind.is_dir() {
            return match taken {
                true => self.tell(path, metadata, put),
                false => Ok(()),
            };
        }
        if out && self.exclude.covers(path) {
            return Ok(());
        }
        let may =
            wanted || (self.include.as_ref()).is_some_and(|include| include.may_match_below(path));
        if !may {
            return Ok(());
        }
        let depth = self.waiting.len();
        match taken {
            true => self.tell(path, metadata, put)?,
            false => self.waiting.push(stat(path, metadata)),
        }
        self.directory(path, &below_included, &below_excluded, put)?;
        // Nothing was in it.
        self.waiting.truncate(depth);
        Ok(())
    }

    fn tell(&mut self, path: &str, metadata: &Metadata, put: &mut Put<'_>) -> Result<(), Failed> {
        for directory in std::mem::take(&mut self.waiting) {
            self.paths.push(None);
            put(directory)?;
        }
        let mut stat = stat(path, metadata);
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let target = std::fs::read_link(self.root.join(path));
            let target = target.map_err(|e| Failed::Local(format!("readlink {path}: {e}")))?;
            stat.link = target.to_string_lossy().into_owned();
        } else if kind.is_file() && metadata.nlink() > 1 {
            let key = (metadata.dev(), metadata.ino());
            match self.names.get(&key) {
                Some(first) => {
                    stat.link.clone_from(first);
                    stat.size = 0;
                }
                None => drop(self.names.insert(key, path.to_owned())),
            }
        }
        let has_bytes = kind.is_file() && stat.link.is_empty();
        self.paths.push(has_bytes.then(|| path.to_owned()));
        put(stat)
    }
}

fn stat(path: &str, metadata: &Metadata) -> FileStat {
    FileStat {
        path: path.to_owned(),
        mode: metadata.mode(),
        size: match metadata.is_file() {
            true => i64::try_from(metadata.len()).unwrap_or(i64::MAX),
            false => 0,
        },
        modified: metadata
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(metadata.mtime_nsec()),
        link: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn told(root: &Path, wanted: &Files) -> Vec<FileStat> {
        let mut walk = Walk::new(root, wanted).unwrap();
        let mut all = Vec::new();
        let mut put = |stat: FileStat| {
            all.push(stat);
            Ok(())
        };
        let walked = walk.directory("", &Above::default(), &Above::default(), &mut put);
        assert!(walked.is_ok());
        assert_eq!(walk.paths.len(), all.len());
        all
    }

    fn paths(root: &Path, include: &[&str], exclude: &[&str], follow: &[&str]) -> Vec<String> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let wanted = Files {
            name: "context".to_owned(),
            include: owned(include),
            exclude: owned(exclude),
            follow: owned(follow),
        };
        told(root, &wanted)
            .into_iter()
            .map(|stat| stat.path)
            .collect()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a.txt", "a/b", "a/c/d", "e/f", "e/g/h"] {
            let path = dir.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "x").unwrap();
        }
        dir
    }

    #[test]
    fn patterns_choose_files_and_directories_come_with_what_is_in_them() {
        let dir = tree();
        let root = dir.path();
        let all = [
            "a", "a/b", "a/c", "a/c/d", "a.txt", "e", "e/f", "e/g", "e/g/h",
        ];
        assert_eq!(paths(root, &[], &[], &[]), all);
        assert_eq!(
            paths(root, &[], &["e", "!e/g/h"], &[]),
            ["a", "a/b", "a/c", "a/c/d", "a.txt", "e", "e/g", "e/g/h"]
        );
        assert_eq!(paths(root, &["a/c"], &[], &[]), ["a", "a/c", "a/c/d"]);
        assert_eq!(paths(root, &["e"], &["**/h"], &[]), ["e", "e/f", "e/g"]);
        assert_eq!(paths(root, &[], &["*"], &[]), [""; 0]);
        symlink("e/g", root.join("l")).unwrap();
        assert_eq!(paths(root, &[], &[], &["l"]), ["e", "e/g", "e/g/h", "l"]);
    }

    #[test]
    fn other_names_of_a_file_are_links() {
        let dir = tree();
        let root = dir.path();
        fs_err::hard_link(root.join("a.txt"), root.join("z")).unwrap();
        symlink("nowhere", root.join("s")).unwrap();
        let told = told(root, &Files::default());
        let find = |path: &str| told.iter().find(|stat| stat.path == path).unwrap();
        assert_eq!((&*find("z").link, find("z").size), ("a.txt", 0));
        assert_eq!((&*find("s").link, &*find("a.txt").link), ("nowhere", ""));
        assert_eq!(find("a.txt").size, 1);
        assert_eq!(find("a").mode & 0o170_000, 0o040_000);
    }
}
