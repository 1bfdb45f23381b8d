use super::receive::LocalRequest;
use super::send::{Receiving, send};
use super::store::ContextStore;
use super::*;
use crate::buildkit::session::tests::{blocking, connect};
use crate::buildkit::session::{Caller, SessionError};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::{FileSync, FileSyncServer};
use fs_err as fs;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// A client that sends a directory, or whatever it was told to.
#[derive(Clone, Default)]
pub(in crate::buildkit) struct Client {
    root: PathBuf,
    /// Instead of the directory.
    script: Option<Vec<Packet>>,
    asked: Arc<Mutex<Vec<MetadataMap>>>,
    /// How many files were asked for.
    requests: Arc<Mutex<usize>>,
}

impl Client {
    /// One that sends this directory.
    pub(in crate::buildkit) fn of(root: PathBuf) -> Self {
        Self {
            root,
            ..Self::default()
        }
    }
}

type Answers = BoxStream<'static, Result<Packet, Status>>;

#[tonic::async_trait]
impl FileSync for Client {
    type DiffCopyStream = Answers;
    type TarStreamStream = Answers;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Answers>, Status> {
        let (metadata, _, incoming) = request.into_parts();
        self.asked.lock().unwrap().push(metadata);
        if let Some(script) = self.script.clone() {
            // The answers are not looked at: what is sent is wrong whatever they are.
            tokio::spawn(incoming.for_each(|_| async {}));
            let script = futures_util::stream::iter(script.into_iter().map(Ok));
            return Ok(Response::new(Box::pin(script)));
        }
        let (sender, outgoing) = mpsc::channel(16);
        let root = self.root.clone();
        let received = Received {
            incoming,
            runtime: Handle::current(),
            requests: Arc::clone(&self.requests),
            done: false,
        };
        std::thread::spawn(move || send(&[whole(root)], sender, || Ok(received)));
        Ok(Response::new(Box::pin(
            ReceiverStream::new(outgoing).map(Ok),
        )))
    }

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Answers>, Status> {
        Err(Status::unimplemented(""))
    }
}

struct Received {
    incoming: Streaming<Packet>,
    runtime: Handle,
    requests: Arc<Mutex<usize>>,
    done: bool,
}

impl Receiving for Received {
    fn next(&mut self) -> Result<Option<Packet>, SessionError> {
        if self.done {
            return Ok(None);
        }
        let packet = self.runtime.block_on(self.incoming.message())?;
        match packet.as_ref().map(Packet::r#type) {
            Some(PacketType::PacketFin) => self.done = true,
            Some(PacketType::PacketReq) => *self.requests.lock().unwrap() += 1,
            _ => {}
        }
        Ok(packet)
    }
}

/// A client with a directory, and the daemon's place for it.
struct Pair {
    _dir: tempfile::TempDir,
    client: Client,
    store: Arc<ContextStore>,
    caller: Caller,
}

impl Pair {
    async fn new(script: Option<Vec<Packet>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let client = Client {
            root: dir.path().join("client"),
            script,
            ..Client::default()
        };
        fs::create_dir(&client.root).unwrap();
        let services = Routes::new(FileSyncServer::new(client.clone()));
        let methods = [DIFF_COPY];
        let (_, caller, _) = connect(services, &methods, "this client").await;
        Self {
            store: ContextStore::open(dir.path().join("daemon")).unwrap(),
            _dir: dir,
            client,
            caller,
        }
    }

    async fn receive(&self) -> Result<ReceivedFiles, SessionError> {
        self.receive_as(LocalRequest {
            name: "context".to_owned(),
            ..LocalRequest::default()
        })
        .await
    }

    async fn receive_as(&self, request: LocalRequest) -> Result<ReceivedFiles, SessionError> {
        let (caller, store) = (self.caller.clone(), Arc::clone(&self.store));
        blocking(move || caller.receive(&request, &store, &mut |_| {})).await
    }

    /// Receives, and compares what came with what is there; how many files were asked for.
    async fn receive_all(&self) -> usize {
        *self.client.requests.lock().unwrap() = 0;
        let files = self.receive().await.unwrap();
        assert_eq!(listing(files.path()), listing(&self.client.root));
        *self.client.requests.lock().unwrap()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.client.root.join(path)
    }
}

/// Everything below a directory: kind and mode, time, links to the same file, bytes or target.
fn listing(root: &Path) -> BTreeMap<String, (u32, i64, u64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let (mut bytes, mut links) = (Vec::new(), metadata.nlink());
            if metadata.is_dir() {
                open.push(path.clone());
                links = 0;
            } else if metadata.is_symlink() {
                bytes = fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes();
            } else if metadata.is_file() {
                bytes = fs::read(&path).unwrap();
            }
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let time = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
            all.insert(name, (metadata.mode(), time, links, bytes));
        }
    }
    all
}

fn populate(root: &Path) {
    fs::create_dir_all(root.join("src/deep/er")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("Dockerfile"), "FROM scratch\n").unwrap();
    fs::write(root.join("src/empty"), "").unwrap();
    fs::write(root.join("src/large"), vec![7; 300_000]).unwrap();
    fs::write(root.join("src/deep/er/ü"), "ü").unwrap();
    fs::write(root.join("src.txt"), "beside").unwrap();
    fs::hard_link(root.join("src/large"), root.join("src/same")).unwrap();
    symlink("../../etc/passwd", root.join("src/link")).unwrap();
    symlink("/", root.join("zlink")).unwrap();
    fs::set_permissions(
        root.join("src.txt"),
        std::fs::Permissions::from_mode(0o4751),
    )
    .unwrap();
    fs::set_permissions(root.join("empty"), std::fs::Permissions::from_mode(0o1700)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), rustix::fs::Mode::RWXU).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_as_they_are_and_only_once() {
    let pair = Pair::new(None).await;
    assert_eq!(pair.receive_all().await, 0);
    populate(&pair.client.root);
    assert_eq!(pair.receive_all().await, 5);
    assert_eq!(pair.receive_all().await, 0);
    fs::write(pair.at("src/deep/er/ü"), "changed").unwrap();
    fs::write(pair.at("new"), "new").unwrap();
    assert_eq!(pair.receive_all().await, 2);
    assert_eq!(pair.receive_all().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_may_become_any_other_or_go() {
    let pair = Pair::new(None).await;
    let root = &pair.client.root;
    populate(root);
    pair.receive_all().await;
    // A directory becomes a file, a file a directory, a link a file, a file a link, a fifo goes.
    fs::remove_dir_all(root.join("src/deep")).unwrap();
    fs::write(root.join("src/deep"), "a file now").unwrap();
    fs::remove_file(root.join("src.txt")).unwrap();
    fs::create_dir(root.join("src.txt")).unwrap();
    fs::write(root.join("src.txt/below"), "x").unwrap();
    fs::remove_file(root.join("zlink")).unwrap();
    fs::write(root.join("zlink"), "no link").unwrap();
    fs::remove_file(root.join("Dockerfile")).unwrap();
    symlink("zlink", root.join("Dockerfile")).unwrap();
    fs::remove_file(root.join("fifo")).unwrap();
    pair.receive_all().await;
    // The first name of a file with two goes, and the other's bytes change.
    fs::remove_file(root.join("src/large")).unwrap();
    pair.receive_all().await;
    fs::hard_link(root.join("src/same"), root.join("src/third")).unwrap();
    fs::write(root.join("src/same"), "shorter").unwrap();
    pair.receive_all().await;
    fs::set_permissions(root.join("empty"), std::fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(
        root.join("src/same"),
        std::fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    pair.receive_all().await;
    fs::remove_dir_all(root.join("src")).unwrap();
    pair.receive_all().await;
    assert_eq!(pair.receive_all().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_what_is_on_the_disk() {
    let pair = Pair::new(None).await;
    populate(&pair.client.root);
    let files = pair.receive().await.unwrap();
    let known = files.below(Path::new("")).unwrap();
    assert!(known.len() > 10);
    for entry in &known {
        let on_disk = fs::symlink_metadata(files.path().join(entry.path)).unwrap();
        let owner = (on_disk.uid(), on_disk.gid());
        assert_eq!(entry.mode, on_disk.mode(), "{}", entry.path);
        assert_eq!(entry.owner, owner, "{}", entry.path);
        assert_eq!(entry.device, on_disk.rdev(), "{}", entry.path);
        assert_eq!(entry.digest.is_some(), on_disk.is_file(), "{}", entry.path);
        if on_disk.is_symlink() {
            let link = fs::read_link(files.path().join(entry.path)).unwrap();
            assert_eq!(link, Path::new(entry.link));
        }
    }
    let paths: Vec<&str> = known.iter().map(|entry| entry.path).collect();
    let below = |path: &str| -> Vec<String> {
        let known = files.below(Path::new(path)).unwrap();
        known.iter().map(|entry| entry.path.to_owned()).collect()
    };
    let in_src: Vec<_> = paths
        .iter()
        .filter(|path| path.starts_with("src/"))
        .collect();
    assert_eq!(below("src").iter().collect::<Vec<_>>(), in_src);
    assert!(below("empty").is_empty());
    for none in ["src.txt", "zlink", "zlink/tmp", "nowhere"] {
        assert!(files.below(Path::new(none)).is_none(), "{none}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_those_of_the_bytes() {
    let pair = Pair::new(None).await;
    populate(&pair.client.root);
    for _ in 0..2 {
        let files = pair.receive().await.unwrap();
        let digest = |path: &str| files.digest(Path::new(path));
        let of = |bytes: &[u8]| {
            let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
            <[u8; 32]>::try_from(digest.as_ref()).ok()
        };
        assert_eq!(digest("Dockerfile"), of(b"FROM scratch\n"));
        assert_eq!(digest("src/empty"), of(b""));
        assert_eq!(digest("src/same"), of(&vec![7; 300_000]));
        assert_eq!(digest("src"), None);
        assert_eq!(digest("src/link"), None);
        assert_eq!(digest("nothing"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wanted_is_told_to_the_client() {
    let pair = Pair::new(None).await;
    let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    pair.receive_as(LocalRequest {
        name: "con text".to_owned(),
        include: list(&["a b", "ü*"]),
        exclude: list(&["!x", "**/y"]),
        follow: list(&[" z"]),
        ..LocalRequest::default()
    })
    .await
    .unwrap();
    let asked = pair.client.asked.lock().unwrap();
    let values = |key: &str| {
        let values = asked[0].get_all(key).iter();
        values
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(values("dir-name"), ["con text"]);
    assert_eq!(values("include-patterns"), ["a+b", "%C3%BC*"]);
    assert_eq!(values("include-patterns-encoded"), ["1"]);
    assert_eq!(values("exclude-patterns"), ["!x", "**/y"]);
    assert_eq!(values("exclude-patterns-encoded"), [""; 0]);
    assert_eq!(values("followpaths"), ["+z"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_at_once_do_not_meet() {
    let pair = Pair::new(None).await;
    populate(&pair.client.root);
    let first = pair.receive().await.unwrap();
    fs::remove_dir_all(pair.at("src")).unwrap();
    let second = pair.receive().await.unwrap();
    assert!(first.path().join("src/large").exists());
    assert!(!second.path().join("src").exists());
    let gone = second.path().to_owned();
    drop(second);
    assert!(!gone.exists());
    drop(first);
    assert_eq!(pair.receive_all().await, 0);
}

fn stat(path: &str, mode: u32) -> Packet {
    let stat = Stat {
        path: path.to_owned(),
        mode,
        size: 1,
        ..Stat::default()
    };
    told(stat)
}

fn told(stat: Stat) -> Packet {
    Packet {
        stat: Some(stat),
        ..packet(PacketType::PacketStat, 0, Vec::new())
    }
}

fn end() -> Packet {
    packet(PacketType::PacketStat, 0, Vec::new())
}

fn data(id: u32, bytes: &[u8]) -> Packet {
    packet(PacketType::PacketData, id, bytes.to_vec())
}

fn link(path: &str, mode: u32, target: &str) -> Packet {
    told(Stat {
        path: path.to_owned(),
        mode,
        linkname: target.to_owned(),
        ..Stat::default()
    })
}

/// What a client must not say; `away` is a directory outside.
fn wrong(away: &str) -> Vec<Vec<Packet>> {
    let device = told(Stat {
        path: "whiteout".to_owned(),
        mode: mode::DEVICE | mode::CHAR_DEVICE,
        ..Stat::default()
    });
    let many = (0..100).map(|n| stat(&format!("f{n:03}"), 0o644));
    let opened = (0..100).map(|n| data(n, b"x"));
    vec![
        vec![stat("../escape", 0o644)],
        vec![stat("/escape", 0o644)],
        vec![stat("a/../../escape", 0o644)],
        vec![stat("b", 0o644), stat("a", 0o644)],
        vec![stat("a", 0o644), stat("a", 0o644)],
        vec![stat("file", 0o644), stat("file/below", 0o644)],
        // Through a link that points away.
        vec![
            link("l", mode::SYMLINK | 0o777, away),
            stat("l/escape", 0o644),
            end(),
            data(1, b"x"),
        ],
        vec![link("hard", 0o644, "../../../etc/passwd"), end()],
        vec![link("l", mode::SYMLINK, away), link("m", 0o644, "l"), end()],
        vec![stat("d", mode::DIR), link("e", 0o644, "d"), end()],
        vec![stat("odd", mode::DIR | mode::SYMLINK)],
        vec![stat("odd", mode::IRREGULAR)],
        vec![device, end()],
        vec![stat("a", 0o644), end(), data(7, b"not asked for")],
        vec![
            stat("a", 0o644),
            end(),
            data(0, b"x"),
            data(0, b""),
            data(0, b"again"),
        ],
        vec![stat("a", 0o644), end()],
        vec![stat("a", 0o644), end(), stat("b", 0o644)],
        vec![packet(PacketType::PacketReq, 0, Vec::new())],
        vec![packet(PacketType::PacketErr, 0, b"no".to_vec())],
        vec![
            stat("a", mode::DIR),
            stat("a/b", 0o644),
            end(),
            packet(PacketType::PacketFin, 0, Vec::new()),
        ],
        many.chain([end()]).chain(opened).collect(),
        vec![],
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_clients_are_refused_and_nothing_of_theirs_stays() {
    let outside = tempfile::tempdir().unwrap();
    let away = outside.path().to_str().unwrap();
    for script in wrong(away) {
        let pair = Pair::new(Some(script.clone())).await;
        let error = pair.receive().await.unwrap_err();
        assert!(!error.to_string().is_empty(), "{script:?}");
        assert_eq!(
            fs::read_dir(outside.path()).unwrap().count(),
            0,
            "{script:?}"
        );
        assert_eq!(pair.store.kept().unwrap(), [], "{script:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_that_are_orders_to_the_kernel_do_not_come() {
    let attributes = [
        "user.kept",
        "trusted.overlay.opaque",
        "user.overlay.opaque",
        "security.x",
    ];
    let file = Stat {
        path: "d".to_owned(),
        mode: mode::DIR | 0o755,
        xattrs: attributes
            .map(|name| (name.to_owned(), b"y".to_vec()))
            .into(),
        ..Stat::default()
    };
    let script = vec![
        told(file),
        end(),
        packet(PacketType::PacketFin, 0, Vec::new()),
    ];
    let pair = Pair::new(Some(script)).await;
    let files = match pair.receive().await {
        Ok(files) => files,
        Err(error) if error.to_string().contains("give attributes") => {
            println!("skipped: the file system has no user attributes: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(files.path().join("d"), &mut names[..]).unwrap();
    let names = String::from_utf8(names[..length].to_vec()).unwrap();
    assert!(names.contains("user.kept\0"), "{names}");
    assert!(
        !names.contains("overlay") && !names.contains("security.x"),
        "{names}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_sent_is_sent_again_next_time() {
    // The client says one byte and sends three.
    let script = vec![
        stat("a", 0o644),
        end(),
        data(0, b"abc"),
        data(0, b""),
        packet(PacketType::PacketFin, 0, Vec::new()),
    ];
    let pair = Pair::new(Some(script)).await;
    for _ in 0..2 {
        let files = pair.receive().await.unwrap();
        assert_eq!(fs::read(files.path().join("a")).unwrap(), b"abc");
        assert_eq!(files.digest(Path::new("a")).unwrap()[0], 0xba);
    }
}

/// A client that takes what a build gives.
#[derive(Clone, Default)]
struct Taker {
    /// Paths, kinds and bytes.
    taken: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    asked: Arc<Mutex<Vec<MetadataMap>>>,
    refuses: bool,
}

type DirectoryAnswers = BoxStream<'static, Result<Packet, Status>>;

#[tonic::async_trait]
impl bollard_buildkit_proto::moby::filesync::packet::file_send_server::FileSend for Taker {
    type DiffCopyStream = DirectoryAnswers;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<DirectoryAnswers>, Status> {
        if self.refuses {
            return Err(Status::permission_denied("not here"));
        }
        let (metadata, _, mut incoming) = request.into_parts();
        self.asked.lock().unwrap().push(metadata);
        let taken = Arc::clone(&self.taken);
        let (sender, outgoing) = mpsc::channel(16);
        tokio::spawn(async move {
            let (mut paths, mut missing) = (Vec::new(), 0);
            while let Some(packet) = incoming.message().await.unwrap() {
                match (packet.r#type(), packet.stat) {
                    (PacketType::PacketStat, Some(stat)) => {
                        let wanted = Kind::of(&stat) == Some(Kind::File);
                        if wanted {
                            let id = u32::try_from(paths.len()).unwrap();
                            let request = super::packet(PacketType::PacketReq, id, vec![]);
                            sender.send(Ok(request)).await.unwrap();
                            missing += 1;
                        }
                        let bytes = stat.linkname.into_bytes();
                        taken.lock().unwrap().insert(stat.path.clone(), bytes);
                        paths.push(stat.path);
                    }
                    (PacketType::PacketStat, None) => missing += 1000,
                    (PacketType::PacketData, _) if packet.data.is_empty() => missing -= 1,
                    (PacketType::PacketData, _) => {
                        let path = &paths[packet.id as usize];
                        taken
                            .lock()
                            .unwrap()
                            .get_mut(path)
                            .unwrap()
                            .extend(packet.data);
                    }
                    (PacketType::PacketFin, _) => break,
                    other => panic!("{other:?}"),
                }
                if missing == 1000 {
                    let done = super::packet(PacketType::PacketFin, 0, vec![]);
                    sender.send(Ok(done)).await.unwrap();
                }
            }
            // The sender's end comes before the receiver's.
            assert_eq!(incoming.message().await.unwrap(), None);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

#[tonic::async_trait]
impl bollard_buildkit_proto::moby::filesync::v1::file_send_server::FileSend for Taker {
    type DiffCopyStream = BoxStream<
        'static,
        Result<bollard_buildkit_proto::moby::filesync::v1::BytesMessage, Status>,
    >;

    async fn diff_copy(
        &self,
        request: Request<Streaming<bollard_buildkit_proto::moby::filesync::v1::BytesMessage>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let (metadata, _, mut incoming) = request.into_parts();
        self.asked.lock().unwrap().push(metadata);
        if self.refuses {
            return Err(Status::already_exists("target already exists"));
        }
        let mut bytes = Vec::new();
        while let Some(message) = incoming.message().await? {
            bytes.extend(message.data);
        }
        self.taken.lock().unwrap().insert(String::new(), bytes);
        Ok(Response::new(Box::pin(futures_util::stream::empty())))
    }
}

fn whole(path: PathBuf) -> Root {
    Root {
        name: String::new(),
        path: Some(path),
    }
}

async fn taker(directory: bool, refuses: bool) -> (Taker, Caller) {
    use bollard_buildkit_proto::moby::filesync::packet::file_send_server as packets;
    use bollard_buildkit_proto::moby::filesync::v1::file_send_server as bytes;
    let taker = Taker {
        refuses,
        ..Taker::default()
    };
    let services = match directory {
        true => Routes::new(packets::FileSendServer::new(taker.clone())),
        false => Routes::new(bytes::FileSendServer::new(taker.clone())),
    };
    let (_, caller, _) = connect(services, &[send::SEND], "").await;
    (taker, caller)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_sent_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    populate(dir.path());
    let (taker, caller) = taker(true, false).await;
    let root = dir.path().to_owned();
    blocking(move || caller.send_directory(3, &[whole(root)]))
        .await
        .unwrap();
    let taken = taker.taken.lock().unwrap();
    let paths: Vec<&str> = taken.keys().map(String::as_str).collect();
    assert_eq!(paths.len(), listing(dir.path()).len());
    assert_eq!(taken["src/deep/er/ü"], "ü".as_bytes());
    assert_eq!(taken["src/link"], b"../../etc/passwd");
    assert_eq!(
        (taken["src/large"].len(), &taken["src/same"]),
        (300_000, &b"src/large".to_vec())
    );
    let asked = taker.asked.lock().unwrap();
    assert_eq!(
        asked[0].get("buildkit-attachable-exporter-id").unwrap(),
        "3"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_trees_are_sent_into_directories() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("a"), "text").unwrap();
    fs_err::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    let (taker, caller) = taker(true, false).await;
    let named = |name: &str, path: Option<&Path>| Root {
        name: name.to_owned(),
        path: path.map(Path::to_owned),
    };
    let roots = [
        named("one", Some(dir.path())),
        named("three", None),
        named("two", Some(dir.path())),
    ];
    blocking(move || caller.send_directory(0, &roots))
        .await
        .unwrap();
    let taken = taker.taken.lock().unwrap();
    let paths: Vec<&str> = taken.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        ["one", "one/a", "one/b", "three", "two", "two/a", "two/b"]
    );
    assert_eq!(taken["two/a"], b"text");
    assert_eq!(taken["two/b"], b"two/a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_in_pieces() {
    use std::io::Write as _;
    let (taker, caller) = taker(false, false).await;
    let about = BTreeMap::from([("image.name".to_owned(), "a:b".to_owned())]);
    blocking(move || {
        let mut file = caller.send_file(1, &about).unwrap();
        file.write_all(&vec![9; 3 << 20]).unwrap();
        file.write_all(b"end").unwrap();
        file.finish().unwrap();
    })
    .await;
    let taken = taker.taken.lock().unwrap();
    assert_eq!(taken[""].len(), (3 << 20) + 3);
    let asked = taker.asked.lock().unwrap();
    assert_eq!(asked[0].get("exporter-md-image.name").unwrap(), "a:b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_refuse_what_it_is_sent() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    populate(dir.path());
    let root = dir.path().to_owned();
    let (_, caller) = taker(true, true).await;
    let error = blocking(move || caller.send_directory(0, &[whole(root)]))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "not here");
    let (_, caller) = taker(false, true).await;
    let error = blocking(move || {
        let mut file = caller.send_file(0, &BTreeMap::new()).unwrap();
        // Whether this is taken before the refusal comes is open.
        let _ = file.write_all(b"x");
        file.finish()
    })
    .await;
    assert_eq!(error.unwrap_err().to_string(), "target already exists");
}
