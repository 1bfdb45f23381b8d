//! A data root with one image, and an engine on it.

use hull_engine::container::{Config, NetworkMode};
use hull_engine::{Engine, Reference, RuntimeProgram};
use hull_image::{Layer, Registration, Store};
use hull_spec::Digest;
use hull_spec::image::{Descriptor, media_type};
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BUSYBOX: &str = "/bin/busybox";

pub fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A container without a network.
pub fn config() -> Config {
    Config {
        image: "test".to_owned(),
        network: NetworkMode::None,
        ..Config::default()
    }
}

/// Standard output and standard error, of frames; what is none is output.
pub fn split(mut bytes: &[u8]) -> (String, String) {
    let mut texts = [Vec::new(), Vec::new()];
    while let [stream @ (1 | 2), 0, 0, 0, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        texts[usize::from(*stream) - 1].extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
    }
    texts[0].extend_from_slice(bytes);
    let [out, err] = texts.map(|text| String::from_utf8_lossy(&text).into_owned());
    (out, err)
}

/// All of a log: a line each, those of standard error behind `2:`.
pub async fn text_of(logs: hull_engine::logs::Logs) -> String {
    let pieces = logs.pieces(|line, out| {
        out.extend_from_slice(if line.stderr { b"2:" } else { b"" });
        out.extend_from_slice(line.line);
    });
    let pieces: Vec<_> = futures_util::StreamExt::collect(pieces).await;
    let bytes: Vec<u8> = pieces.into_iter().flat_map(Result::unwrap).collect();
    String::from_utf8(bytes).unwrap()
}

pub struct Host {
    directory: tempfile::TempDir,
    programs: PathBuf,
    running: Option<(tokio::runtime::Runtime, Arc<Engine>)>,
}

impl Host {
    /// `None`, with a printed reason, where these tests cannot run.
    pub fn new() -> Option<Self> {
        let own = std::env::current_exe().unwrap();
        let beside = |directory: &&Path| {
            ["hull-shim", "hull-runtime"]
                .iter()
                .all(|name| directory.join(name).is_file())
        };
        let programs = own.ancestors().find(beside).map(Path::to_owned);
        let skip = |why: &str| {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "skipped: {why}");
            None
        };
        let Some(programs) = programs else {
            return skip("hull-shim and hull-runtime are not built");
        };
        if !rustix::process::geteuid().is_root() {
            return skip("only root can make containers");
        }
        if !Path::new(BUSYBOX).exists() {
            return skip("there is no static busybox");
        }
        // This thread, and all that it starts: another test's default bridge has the same name.
        if hull_linux::namespace::unshare(hull_linux::namespace::flag::NETWORK).is_err() {
            return skip("no network namespace can be made");
        }
        let directory = tempfile::Builder::new()
            .prefix("hull-engine")
            .tempdir()
            .unwrap();
        let mut host = Self {
            directory,
            programs,
            running: None,
        };
        fs_err::create_dir_all(host.path("data")).unwrap();
        host.make_image();
        host.start();
        Some(host)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn config(&self) -> hull_engine::Config {
        let program = RuntimeProgram {
            path: self.programs.join("hull-runtime"),
            args: Vec::new(),
        };
        hull_engine::Config {
            data_root: self.path("data"),
            exec_root: self.path("run"),
            shim: self.programs.join("hull-shim"),
            runtimes: BTreeMap::from([("hull".to_owned(), program)]),
            default_runtime: "hull".to_owned(),
            ..hull_engine::Config::default()
        }
    }

    pub fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let engine = runtime
            .block_on(async { Engine::open(self.config()) })
            .unwrap();
        self.running = Some((runtime, engine));
    }

    /// Ends the engine as SIGKILL would end its daemon: nothing is told to anybody.
    pub fn stop(&mut self) {
        let (runtime, engine) = self.running.take().unwrap();
        runtime.shutdown_timeout(Duration::from_secs(10));
        assert_eq!(Arc::strong_count(&engine), 1);
    }

    pub fn block_on<T>(&self, work: impl AsyncFnOnce(Arc<Engine>) -> T) -> T {
        let (runtime, engine) = self.running.as_ref().unwrap();
        runtime.block_on(work(Arc::clone(engine)))
    }

    /// Kills a container's shim, as the kernel may for want of memory.
    pub fn kill_shim(&self, id: &str) {
        let pid =
            fs_err::read_to_string(self.path("run/containers").join(id).join("shim.pid")).unwrap();
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Waits until shims have written so many ends, without an engine.
    pub fn wait_for_exit_files(&self, count: usize) {
        self.until(|| {
            let names = fs_err::read_dir(self.path("run/containers"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name());
            names
                .filter(|name| name.to_string_lossy().ends_with(".exit.json"))
                .count()
                >= count
        });
    }

    fn until(&self, met: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !met() {
            assert!(Instant::now() < deadline, "it did not come to pass");
            std::thread::yield_now();
        }
    }

    /// No process, mount, control group, snapshot or directory of a container.
    pub fn assert_nothing_left(&self) {
        let names = |path: PathBuf| -> Vec<String> {
            let entries = fs_err::read_dir(path).into_iter().flatten();
            entries
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
                .collect()
        };
        let empty: Vec<String> = Vec::new();
        let root = self.directory.path().to_string_lossy().into_owned();
        self.until(|| !shims_of(&root));
        for directory in [
            "run/containers",
            "run/runtime",
            "run/netns",
            "data/containers",
            "data/snapshots",
        ] {
            let left: Vec<String> = names(self.path(directory))
                .into_iter()
                .filter(|name| !name.ends_with(".exit.json"))
                .collect();
            assert_eq!(left, empty, "{directory}");
        }
        let mounts = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
        // What holds the namespaces' files is a mount of its own, of the engine and not of a container.
        let left: Vec<&str> = mounts
            .lines()
            .filter(|line| line.contains(&root) && !line.contains("/run/netns "))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn make_image(&self) {
        let database = hull_image::Database::open(self.path("data/hull.db")).unwrap();
        let store = Store::open(self.path("data"), Arc::new(database)).unwrap();
        let layer = layer();
        let digest = digest(&layer);
        let descriptor = Descriptor {
            media_type: media_type::OCI_LAYER.to_owned(),
            digest: digest.clone(),
            size: layer.len() as u64,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
        };
        let Layer::Fetch(mut writer) = store.begin_layer(&descriptor, &digest).unwrap() else {
            panic!("a new store has no layers")
        };
        writer.write(&layer).unwrap();
        let _hold = writer.finish().unwrap();
        let config = serde_json::json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
            "config": { "Cmd": ["sh"], "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [digest] },
        });
        let name: Reference = "test:latest".parse().unwrap();
        let registration = Registration {
            index: None,
            manifest: None,
            config: &serde_json::to_vec(&config).unwrap(),
            names: &[name],
            ..Registration::default()
        };
        store.register(&registration).unwrap();
    }
}

fn shims_of(root: &str) -> bool {
    let processes = fs_err::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        let line = fs_err::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("hull-shim") && line.contains(root)
    })
}

impl Drop for Host {
    fn drop(&mut self) {
        let Some((runtime, engine)) = self.running.take() else {
            return;
        };
        let _ =
            rustix::mount::unmount(self.path("run/layers"), rustix::mount::UnmountFlags::DETACH);
        let _ = rustix::mount::unmount(self.path("run/netns"), rustix::mount::UnmountFlags::DETACH);
        if std::thread::panicking() {
            runtime.block_on(async {
                let all = hull_engine::container::ListOptions {
                    all: true,
                    ..Default::default()
                };
                for container in engine.list(all).await.unwrap_or_default() {
                    let _ = engine.remove(&container.id, true, true).await;
                }
            });
        }
    }
}

fn digest(bytes: &[u8]) -> Digest {
    let hash: [u8; 32] = sha2::Sha256::digest(bytes).into();
    Digest::from_sha256(&hash)
}

/// Busybox under the names that the tests use, and users.
fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        if kind == tar::EntryType::Symlink {
            header.set_size(0);
            tar.append_link(&mut header, path, String::from_utf8_lossy(content).as_ref())
                .unwrap();
        } else {
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content).unwrap();
        }
    };
    for directory in ["bin/", "dev/", "etc/", "home/", "proc/", "root/", "sys/"] {
        add(directory, tar::EntryType::Directory, 0o755, b"");
    }
    add("tmp/", tar::EntryType::Directory, 0o1777, b"");
    add(
        "bin/busybox",
        tar::EntryType::Regular,
        0o755,
        &fs_err::read(BUSYBOX).unwrap(),
    );
    add("home/greeting", tar::EntryType::Regular, 0o644, b"hello\n");
    let passwd = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n";
    add("etc/passwd", tar::EntryType::Regular, 0o644, passwd);
    add(
        "etc/group",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:\nuser:x:1000:\nstaff:x:50:\n",
    );
    for name in [
        "sh", "id", "pwd", "hostname", "cat", "touch", "ls", "wc", "grep", "df", "tail", "awk",
        "sleep", "true", "tr", "ip", "head", "echo",
    ] {
        add(
            &format!("bin/{name}"),
            tar::EntryType::Symlink,
            0o777,
            b"busybox",
        );
    }
    tar.into_inner().unwrap()
}
