//! A real registry: Debian's `docker-registry` on a loopback port of its own.

use crate::host::Host;
use crate::http::{Reply, Request, send};
use crate::image::Image;
use hull_spec::Digest;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A user with a password, as htpasswd writes it.
const USERS: &str = "alice:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// A running registry; dropping it ends it.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    address: SocketAddr,
    storage: Option<tempfile::TempDir>,
}

impl Registry {
    /// Whether the program is installed.
    #[must_use]
    pub fn is_available() -> bool {
        crate::can_run("docker-registry", crate::command::exists("docker-registry"))
    }

    /// Starts a registry on loopback of `host`, with storage that goes with it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(host: &Host) -> Self {
        Self::start_at(host, host.within(free_port))
    }

    /// As [`Registry::start`], at an address that is free there.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_at(host: &Host, address: SocketAddr) -> Self {
        let storage = tempfile::tempdir().expect("a directory for the registry");
        let command = host.command("docker-registry");
        let mut registry = Self::launch(command, storage.path(), address, "");
        registry.storage = Some(storage);
        registry
    }

    /// Starts a registry on `address` that keeps what it is given below `storage`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_in(storage: &Path, address: SocketAddr) -> Self {
        Self::launch(Command::new("docker-registry"), storage, address, "")
    }

    /// Starts another registry with the same content that wants a user: `alice`, with the password
    /// `secret`. This one must outlive it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn guarded(&self, host: &Host) -> Self {
        let storage = self
            .storage
            .as_ref()
            .expect("a registry with its own storage");
        let users = storage.path().join("htpasswd");
        fs_err::write(&users, USERS).expect("write the users");
        let guard = format!(
            "auth:\n  htpasswd:\n    realm: tests\n    path: {}\n",
            users.display()
        );
        let address = host.within(free_port);
        let command = host.command("docker-registry");
        Self::launch(command, storage.path(), address, &guard)
    }

    fn launch(mut command: Command, storage: &Path, address: SocketAddr, more: &str) -> Self {
        let config = storage.join(format!("config-{}.yml", address.port()));
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n{more}",
            storage.display()
        );
        fs_err::write(&config, text).expect("write the registry's config");
        let mut process = command
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start docker-registry");
        let mut log = BufReader::new(process.stderr.take().expect("its log is a pipe"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            let length = log.read_line(&mut line).expect("read the registry's log");
            assert_ne!(length, 0, "docker-registry ended before it listened");
        }
        // The pipe must be drained for as long as the registry lives, or it blocks on its own log.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            process,
            address,
            storage: None,
        }
    }

    /// Host and port, as references name it.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks the registry itself: status and body.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn get(&self, host: &Host, target: &str) -> (u16, Vec<u8>) {
        let accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";
        let reply = host.within(|| {
            let stream = TcpStream::connect(self.address).expect("the registry listens");
            let request = Request {
                method: "GET",
                target,
                headers: &[("Accept", accept)],
                body: &[],
            };
            send(stream, request).expect("the registry answers")
        });
        (reply.status, reply.body)
    }

    /// Pushes `image` as `repository:tag`; see [`push`].
    ///
    /// # Panics
    /// When the registry refuses anything.
    pub fn push(&self, host: &Host, name: (&str, &str), image: &Image) -> (String, Digest) {
        host.within(|| push(self.address, name.0, name.1, image))
    }
}

/// Pushes `image` as `repository:tag` and gives its reference and the manifest's digest.
///
/// # Panics
/// When the registry refuses anything.
pub fn push(registry: SocketAddr, repository: &str, tag: &str, image: &Image) -> (String, Digest) {
    for blob in image.blobs() {
        push_blob(registry, repository, blob);
    }
    let digest = push_manifest(
        registry,
        repository,
        tag,
        (image.media_type(), image.manifest()),
    );
    (format!("{registry}/{repository}:{tag}"), digest)
}

/// Pushes one blob.
///
/// # Panics
/// When the registry refuses it.
pub fn push_blob(registry: SocketAddr, repository: &str, blob: &[u8]) {
    let ask = |method, target: &str, headers: &[(&str, &str)], body: &[u8]| {
        let stream = TcpStream::connect(registry).expect("the registry listens");
        send(
            stream,
            Request {
                method,
                target,
                headers,
                body,
            },
        )
        .expect("the registry answers")
    };
    let begun = ask(
        "POST",
        &format!("/v2/{repository}/blobs/uploads/"),
        &[],
        &[],
    );
    assert_eq!(begun.status, 202, "{begun:?}");
    let location = begun.header("location").expect("an upload has a location");
    let target = match location.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/').expect("a location has a path")..],
        None => location,
    };
    let target = format!("{target}&digest={}", crate::image::digest(blob));
    let ended = ask(
        "PUT",
        &target,
        &[("Content-Type", "application/octet-stream")],
        blob,
    );
    assert_eq!(ended.status, 201, "{ended:?}");
}

/// Pushes a manifest or index, given with its media type, under a tag or digest.
///
/// # Panics
/// When the registry refuses it.
pub fn push_manifest(
    registry: SocketAddr,
    repository: &str,
    tag: &str,
    (kind, bytes): (&str, &[u8]),
) -> Digest {
    let stream = TcpStream::connect(registry).expect("the registry listens");
    let target = format!("/v2/{repository}/manifests/{tag}");
    let request = Request {
        method: "PUT",
        target: &target,
        headers: &[("Content-Type", kind)],
        body: bytes,
    };
    let reply: Reply = send(stream, request).expect("the registry answers");
    assert_eq!(reply.status, 201, "{reply:?}");
    crate::image::digest(bytes)
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A loopback address whose port was free a moment ago.
///
/// # Panics
/// When loopback has no free port.
#[must_use]
pub fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
}
