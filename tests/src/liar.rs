//! A registry that misbehaves on purpose: it serves one image over HTTP and breaks one rule.

use crate::host::Host;
use crate::image::{Image, digest};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Which rule is broken, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None: a registry as it should be.
    Honest,
    /// Every request is answered with this status.
    Status(u16),
    /// The first requests for blobs are answered with this status and `Retry-After: 0`, then it works.
    StatusAtFirst(u16),
    /// The first reply for each layer ends in the middle; ranges are honoured.
    ClosesMidBlob,
    /// Each layer's bytes are others than the digest says, of the same length.
    WrongBlob,
    /// The manifest has no end.
    EndlessManifest,
    /// The manifest's bytes are not what the `Docker-Content-Digest` header says.
    WrongManifestDigest,
    /// Each layer stops after its first half until [`Liar::release`] is called.
    Stalls,
    /// Layers come in small pieces, a pause before each.
    Slow,
}

/// The misbehaving registry. It serves until the test's process ends.
#[derive(Debug)]
pub struct Liar {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    /// Content by the last part of its path.
    content: BTreeMap<String, (String, Vec<u8>)>,
    layers: Vec<String>,
    failed: AtomicUsize,
    released: Mutex<bool>,
    release: Condvar,
    /// How many layer requests have been stopped half-way.
    stalled: (Mutex<usize>, Condvar),
}

impl Liar {
    /// Serves `image` as `liar:latest` on loopback of `host`.
    ///
    /// # Panics
    /// When loopback has no free port.
    #[must_use]
    pub fn start(host: &Host, image: &Image, fault: Fault) -> Self {
        let manifest = (image.media_type().to_owned(), image.manifest().to_vec());
        let mut content = BTreeMap::from([("latest".to_owned(), manifest.clone())]);
        content.insert(digest(image.manifest()).to_string(), manifest);
        let octets = "application/octet-stream".to_owned();
        let names: Vec<String> = image
            .blobs()
            .iter()
            .map(|blob| digest(blob).to_string())
            .collect();
        for (name, blob) in names.iter().zip(image.blobs()) {
            content.insert(name.clone(), (octets.clone(), blob.clone()));
        }
        let layers = names[..names.len() - 1].to_vec();
        let state = Arc::new(State {
            fault,
            content,
            layers,
            failed: AtomicUsize::new(0),
            released: Mutex::new(false),
            release: Condvar::new(),
            stalled: (Mutex::new(0), Condvar::new()),
        });
        let listener =
            host.within(|| TcpListener::bind("127.0.0.1:0").expect("a free loopback port"));
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that goes away in the middle is part of the game.
                std::thread::spawn(move || drop(state.serve(&stream)));
            }
        });
        Self { address, state }
    }

    /// The reference of its image.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}/liar:latest", self.address)
    }

    /// Waits until a layer has stalled.
    ///
    /// # Panics
    /// When another thread panicked.
    pub fn wait_for_stall(&self) {
        let (count, changed) = &self.state.stalled;
        let guard = count.lock().expect("no thread panicked");
        drop(
            changed
                .wait_while(guard, |count| *count == 0)
                .expect("no thread panicked"),
        );
    }

    /// Lets stalled layers go on.
    ///
    /// # Panics
    /// When another thread panicked.
    pub fn release(&self) {
        *self.state.released.lock().expect("no thread panicked") = true;
        self.state.release.notify_all();
    }
}

/// What is asked for.
struct Content<'c> {
    layer: bool,
    kind: &'c str,
    bytes: &'c [u8],
    offset: usize,
}

impl State {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut offset = 0;
            loop {
                let mut header = String::new();
                reader.read_line(&mut header)?;
                let lower = header.to_lowercase();
                if let Some(range) = lower.strip_prefix("range: bytes=") {
                    offset = range
                        .split('-')
                        .next()
                        .and_then(|from| from.parse().ok())
                        .unwrap_or(0);
                }
                if header.trim().is_empty() {
                    break;
                }
            }
            let mut words = line.split(' ');
            let (method, target) = (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            );
            if !self.reply(stream, method, target, offset)? {
                return stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// Answers one request; `false` ends the connection.
    fn reply(
        &self,
        mut to: &TcpStream,
        method: &str,
        target: &str,
        offset: usize,
    ) -> std::io::Result<bool> {
        let name = target.rsplit('/').next().unwrap_or_default();
        let layer = self.layers.iter().any(|layer| layer == name);
        if let Fault::Status(status) = self.fault {
            return self.refuse(to, status);
        }
        let first = || self.failed.fetch_add(1, Ordering::SeqCst) < self.layers.len();
        if let (Fault::StatusAtFirst(status), true) = (self.fault, layer)
            && first()
        {
            return self.refuse(to, status);
        }
        let Some((kind, bytes)) = self.content.get(name) else {
            let ping = target.trim_end_matches('/') == "/v2";
            return self.refuse(to, if ping { 200 } else { 404 });
        };
        if self.fault == Fault::EndlessManifest && name == "latest" && method == "GET" {
            write!(
                to,
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 1073741824\r\n\r\n"
            )?;
            loop {
                to.write_all(&[b' '; 65536])?;
            }
        }
        self.serve_content(
            to,
            method == "HEAD",
            &Content {
                layer,
                kind,
                bytes,
                offset,
            },
        )
    }

    /// Answers with content from an offset on, whole or spoiled.
    fn serve_content(
        &self,
        mut to: &TcpStream,
        head_only: bool,
        content: &Content<'_>,
    ) -> std::io::Result<bool> {
        let Content {
            layer,
            kind,
            bytes,
            offset,
        } = *content;
        let first = || self.failed.fetch_add(1, Ordering::SeqCst) < self.layers.len();
        let mut body = bytes[offset.min(bytes.len())..].to_vec();
        if self.fault == Fault::WrongBlob && layer {
            body.iter_mut().for_each(|byte| *byte ^= 0xff);
        }
        let status = if offset > 0 {
            "206 Partial Content"
        } else {
            "200 OK"
        };
        let claimed = if self.fault == Fault::WrongManifestDigest {
            digest(b"another")
        } else {
            digest(bytes)
        };
        let range = if offset > 0 {
            format!(
                "Content-Range: bytes {offset}-{}/{}\r\n",
                bytes.len() - 1,
                bytes.len()
            )
        } else {
            String::new()
        };
        write!(
            to,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {claimed}\r\n{range}\r\n",
            body.len()
        )?;
        if head_only {
            return Ok(true);
        }
        let half = body.len() / 2;
        match self.fault {
            Fault::ClosesMidBlob if layer && first() => {
                to.write_all(&body[..half])?;
                return Ok(false);
            }
            Fault::Stalls if layer => {
                to.write_all(&body[..half])?;
                *self.stalled.0.lock().expect("no thread panicked") += 1;
                self.stalled.1.notify_all();
                let guard = self.released.lock().expect("no thread panicked");
                drop(
                    self.release
                        .wait_while(guard, |released| !*released)
                        .expect("no thread panicked"),
                );
                to.write_all(&body[half..])?;
            }
            Fault::Slow if layer => write_slowly(to, &body)?,
            _ => to.write_all(&body)?,
        }
        Ok(true)
    }

    #[expect(clippy::unused_self, reason = "reads as the other replies do")]
    fn refuse(&self, mut to: &TcpStream, status: u16) -> std::io::Result<bool> {
        let body = match status {
            200 => "{}",
            401 => r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
            404 => {
                r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#
            }
            429 => {
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#
            }
            _ => r#"{"errors":[{"code":"UNKNOWN","message":"unknown error"}]}"#,
        };
        let challenge = if status == 401 {
            "WWW-Authenticate: Basic realm=\"liar\"\r\n"
        } else {
            ""
        };
        write!(
            to,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nRetry-After: 0\r\n{challenge}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(true)
    }
}

/// Writes pieces, a pause before each.
fn write_slowly(mut to: &TcpStream, body: &[u8]) -> std::io::Result<()> {
    for piece in body.chunks(32768) {
        let pause = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        let _ = rustix::event::poll(&mut [], Some(&pause));
        to.write_all(piece)?;
    }
    Ok(())
}
