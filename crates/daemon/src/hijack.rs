//! Hijacked connections: attach and exec take the socket over from HTTP.
//!
//! hyper can hand a connection over only after a reply of 101, but a client that did not ask for an
//! upgrade gets dockerd's older form: status 200 and then raw bytes until the connection ends. So
//! hyper writes no reply at all here. The handler leaves a [`Hijack`] with the connection and fails
//! the request; hyper gives the socket back together with the bytes it has read too far; the reply's
//! head is written by [`Hijack::run`], and what follows is the session's.
//!
//! ```text
//!   client ── request ─────────────► hyper ──► handler: engine.attach(…), leave(Hijack)
//!   client ◄─ 101 UPGRADED | 200 OK ─ Hijack::run
//!   client ◄─ frames or raw bytes ──── copy ◄── shim      (ends the session)
//!   client ── stdin ──────────────►─── copy ──► shim      (its end is passed on alone)
//! ```

use crate::detach::Detector;
use crate::transport::{ClientInput, Socket};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use std::fmt;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

/// The bytes that one direction of a session holds at most: what a pipe holds by default, pipe(7).
const COPY_BUFFER: usize = 64 * 1024;

/// The content type of bare bytes.
pub(crate) const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// The content type of frames; before API 1.42 they too were called raw.
pub(crate) const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";

/// What becomes of the connection once the reply's head is out. Gets the bytes that the client sent
/// behind its request.
pub(crate) type Session = Box<dyn FnOnce(Socket, Bytes) -> BoxFuture<'static, ()> + Send>;

/// A connection to be taken over.
pub(crate) struct Hijack {
    content_type: &'static str,
    /// The protocol the client asked to change to, if it did.
    upgrade: Option<String>,
    /// More lines of the head, each with its line end.
    headers: String,
    /// The whole head, where it is not that of a stream.
    other_head: Option<String>,
    session: Session,
}

impl fmt::Debug for Hijack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hijack")
            .field("content_type", &self.content_type)
            .field("upgrade", &self.upgrade)
            .finish_non_exhaustive()
    }
}

impl Hijack {
    /// A session with a reply of `content_type`, or of [`RAW_STREAM`] to clients that ask for no
    /// upgrade: those know of nothing else.
    pub(crate) fn new(
        upgrade: Option<String>,
        content_type: &'static str,
        session: Session,
    ) -> Self {
        let content_type = if upgrade.is_some() {
            content_type
        } else {
            RAW_STREAM
        };
        Self {
            content_type,
            upgrade,
            headers: String::new(),
            other_head: None,
            session,
        }
    }

    /// A websocket, with the `Sec-WebSocket-Accept` that its client expects, and the subprotocol that was chosen.
    pub(crate) fn websocket(accept: &str, protocol: Option<&str>, session: Session) -> Self {
        let protocol = protocol.map_or_else(String::new, |name| {
            format!("Sec-WebSocket-Protocol: {name}\r\n")
        });
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
        );
        Self::with_head(head, session)
    }

    /// A connection that changes to `protocol`.
    pub(crate) fn switch(protocol: &str, session: Session) -> Self {
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        );
        Self::with_head(head, session)
    }

    fn with_head(head: String, session: Session) -> Self {
        Self {
            content_type: RAW_STREAM,
            upgrade: None,
            headers: String::new(),
            other_head: Some(head),
            session,
        }
    }

    /// The same with the headers of ordinary replies: dockerd sends them for exec, not for attach.
    pub(crate) fn signed(mut self, server: &HeaderValue) -> Self {
        self.headers = format!(
            "Api-Version: {}\r\nDocker-Experimental: false\r\nOstype: linux\r\nServer: {}\r\n",
            hull_api::API_VERSION,
            server.to_str().unwrap_or_default()
        );
        self
    }

    /// The reply's head, as dockerd writes it.
    fn head(&self) -> String {
        let Self {
            content_type,
            headers,
            ..
        } = self;
        if let Some(head) = &self.other_head {
            return head.clone();
        }
        match &self.upgrade {
            Some(protocol) => format!(
                "HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{headers}\r\n"
            ),
            None => format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{headers}\r\n"),
        }
    }

    /// Answers the request and runs the session to its end.
    pub(crate) async fn run(self, mut socket: Socket, read_too_far: Bytes) {
        let head = self.head();
        if let Err(error) = socket.write_all(head.as_bytes()).await {
            tracing::debug!(%error, "the client left before its stream began");
            return;
        }
        if let Err(error) = socket.flush().await {
            tracing::debug!(%error, "the client left before its stream began");
            return;
        }
        (self.session)(socket, read_too_far).await;
    }
}

/// How a client's input is treated.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// The keys that leave the session.
    pub(crate) detach: Option<Detector>,
    /// The session ends with the client's input: a terminal's input has no end that the process could
    /// see, and both sides would wait for ever.
    pub(crate) ends_session: bool,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The process closed its output, and the client has got all of it.
    Process,
    /// The client went away, or cannot be written to any more.
    Client,
    /// The client typed the detach keys.
    Detached,
}

/// Copies between a client and a process until the process's output ends.
///
/// The end of the client's input is passed on by itself: the process may still have much to say.
/// Everything is closed when this returns; a client that waits for the end sees it then.
pub(crate) async fn join(
    client: Socket,
    read_too_far: Bytes,
    process: UnixStream,
    treatment: Input,
) -> Ended {
    match client {
        Socket::Unix(mut client) => {
            let (input, output) = client.split();
            relay(input, output, read_too_far, process, treatment).await
        }
        Socket::Tcp(mut client) => {
            let (input, output) = client.split();
            relay(input, output, read_too_far, process, treatment).await
        }
        Socket::Tls(client) => {
            let (input, output) = tokio::io::split(client);
            relay(input, output, read_too_far, process, treatment).await
        }
    }
}

async fn relay(
    client_in: impl ClientInput,
    mut client_out: impl AsyncWrite + Unpin,
    read_too_far: Bytes,
    process: UnixStream,
    treatment: Input,
) -> Ended {
    let (mut process_out, process_in) = process.into_split();
    let output = async {
        let ended = match copy(&mut process_out, &mut client_out).await {
            Ok(()) => Ended::Process,
            Err(CopyError::Read(error)) => {
                tracing::debug!(%error, "a process's output broke off");
                Ended::Process
            }
            Err(CopyError::Write(error)) => {
                tracing::debug!(%error, "a client left its stream");
                Ended::Client
            }
        };
        // The client waits for this end. That it may be gone already does not matter.
        let _ = client_out.shutdown().await;
        ended
    };
    tokio::pin!(output);
    let input = feed(client_in, read_too_far, process_in, treatment);
    tokio::pin!(input);
    tokio::select! {
        ended = &mut output => ended,
        fed = &mut input => match fed {
            Fed::Detached => Ended::Detached,
            Fed::Gone => Ended::Client,
            Fed::All => output.await,
        },
    }
}

/// What became of a client's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fed {
    /// It ended, or the process takes no more.
    All,
    /// The client is gone altogether.
    Gone,
    /// It ended with the detach keys.
    Detached,
}

type ProcessInput = tokio::net::unix::OwnedWriteHalf;

async fn feed(
    mut client: impl ClientInput,
    read_too_far: Bytes,
    mut process: ProcessInput,
    treatment: Input,
) -> Fed {
    let mut detach = treatment.detach;
    if !read_too_far.is_empty() {
        match pass_on(&read_too_far, &mut process, &mut detach).await {
            Passed::On => {}
            Passed::Refused => return Fed::All,
            Passed::Detached => return Fed::Detached,
        }
    }
    let mut buffer = vec![0; COPY_BUFFER];
    loop {
        let count = match client.read(&mut buffer).await {
            Ok(0) if treatment.ends_session || client.hung_up() => return Fed::Gone,
            Ok(0) => break,
            Ok(count) => count,
            Err(_) => return Fed::Gone,
        };
        match pass_on(&buffer[..count], &mut process, &mut detach).await {
            Passed::On => {}
            Passed::Refused => return Fed::All,
            Passed::Detached => return Fed::Detached,
        }
    }
    // A process that closed its side first needs no end of input any more.
    let _ = process.shutdown().await;
    Fed::All
}

/// What became of a piece of input.
enum Passed {
    On,
    /// The process takes no more input; what it writes still counts.
    Refused,
    /// The piece ended with the detach keys.
    Detached,
}

async fn pass_on(
    bytes: &[u8],
    process: &mut ProcessInput,
    detach: &mut Option<Detector>,
) -> Passed {
    let Some(detector) = detach else {
        return match process.write_all(bytes).await {
            Ok(()) => Passed::On,
            Err(_) => Passed::Refused,
        };
    };
    let (bytes, detached) = detector.feed(bytes);
    let written = process.write_all(&bytes).await;
    match (detached, written) {
        (true, _) => Passed::Detached,
        (false, Ok(())) => Passed::On,
        (false, Err(_)) => Passed::Refused,
    }
}

/// Which side of a copy failed.
#[derive(Debug)]
enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<(), CopyError> {
    let mut buffer = vec![0; COPY_BUFFER];
    loop {
        let count = from.read(&mut buffer).await.map_err(CopyError::Read)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])
            .await
            .map_err(CopyError::Write)?;
        // Encryption may keep something back.
        to.flush().await.map_err(CopyError::Write)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().unwrap()
    }

    #[test]
    fn heads_are_dockerds_to_the_byte() {
        let head = |upgrade: Option<&str>, content_type| {
            let session: Session = Box::new(|_, _| Box::pin(async {}));
            Hijack::new(upgrade.map(str::to_owned), content_type, session).head()
        };
        assert_eq!(
            head(Some("tcp"), MULTIPLEXED_STREAM),
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        );
        assert_eq!(
            head(None, MULTIPLEXED_STREAM),
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn input_and_its_end_reach_the_process_while_output_goes_on() {
        let (client, mut far_client) = pair();
        let (process, mut far_process) = pair();
        let session = tokio::spawn(join(
            Socket::Unix(client),
            Bytes::from_static(b"read too far, "),
            process,
            Input::default(),
        ));
        far_client.write_all(b"typed").await.unwrap();
        far_client.shutdown().await.unwrap();
        let mut input = Vec::new();
        far_process.read_to_end(&mut input).await.unwrap();
        assert_eq!(input, b"read too far, typed");
        far_process.write_all(b"answer").await.unwrap();
        drop(far_process);
        let mut output = Vec::new();
        far_client.read_to_end(&mut output).await.unwrap();
        assert_eq!(output, b"answer");
        assert_eq!(session.await.unwrap(), Ended::Process);
    }

    #[tokio::test]
    async fn the_end_of_the_process_ends_a_client_that_still_types() {
        let (client, mut far_client) = pair();
        let (process, far_process) = pair();
        let session = tokio::spawn(join(
            Socket::Unix(client),
            Bytes::new(),
            process,
            Input::default(),
        ));
        drop(far_process);
        let mut output = Vec::new();
        far_client.read_to_end(&mut output).await.unwrap();
        assert_eq!(session.await.unwrap(), Ended::Process);
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_noticed_though_the_process_is_silent() {
        let (client, far_client) = pair();
        let (process, mut far_process) = pair();
        let session = tokio::spawn(join(
            Socket::Unix(client),
            Bytes::new(),
            process,
            Input::default(),
        ));
        drop(far_client);
        assert_eq!(session.await.unwrap(), Ended::Client);
        let mut input = Vec::new();
        far_process.read_to_end(&mut input).await.unwrap();
    }

    #[tokio::test]
    async fn detach_keys_end_the_session_and_are_not_passed_on() {
        let (client, mut far_client) = pair();
        let (process, mut far_process) = pair();
        let input = Input {
            detach: Some(Detector::parse("").unwrap()),
            ends_session: true,
        };
        let session = tokio::spawn(join(Socket::Unix(client), Bytes::new(), process, input));
        far_client.write_all(b"ls\n\x10\x11").await.unwrap();
        assert_eq!(session.await.unwrap(), Ended::Detached);
        let mut input = Vec::new();
        far_process.read_to_end(&mut input).await.unwrap();
        assert_eq!(input, b"ls\n");
    }

    #[tokio::test]
    async fn a_session_may_end_with_the_input_without_ending_that_of_the_process() {
        let (client, mut far_client) = pair();
        let (process, _far_process) = pair();
        let input = Input {
            detach: None,
            ends_session: true,
        };
        let session = tokio::spawn(join(Socket::Unix(client), Bytes::new(), process, input));
        far_client.shutdown().await.unwrap();
        assert_eq!(session.await.unwrap(), Ended::Client);
        let mut output = Vec::new();
        far_client.read_to_end(&mut output).await.unwrap();
    }

    #[tokio::test]
    async fn much_is_copied_both_ways_at_once() {
        const LEN: usize = 3 << 20;
        let (client, far_client) = pair();
        let (process, mut far_process) = pair();
        let session = tokio::spawn(join(
            Socket::Unix(client),
            Bytes::new(),
            process,
            Input::default(),
        ));
        let echo = tokio::spawn(async move {
            let (mut read, mut write) = far_process.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap()
        });
        let (mut read, mut write) = far_client.into_split();
        let writer = tokio::spawn(async move {
            write.write_all(&vec![7; LEN]).await.unwrap();
            write.shutdown().await.unwrap();
            write
        });
        let mut output = Vec::new();
        read.read_to_end(&mut output).await.unwrap();
        assert_eq!((output.len(), echo.await.unwrap()), (LEN, LEN as u64));
        assert_eq!(session.await.unwrap(), Ended::Process);
        writer.await.unwrap();
    }
}
