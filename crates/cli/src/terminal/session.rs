//! A container's streams on the user's terminal.
//!
//! ```text
//! stdin ──► thread: detach keys ──► socket (closed for writing at the end of input)
//! stdout ◄─┐
//! stderr ◄─┴ thread: frames taken apart ◄── socket
//! the task in between: signals, the terminal's size, who ended first
//! ```

use super::{DetachKeys, RawTerminal, Scanner, Signals, size};
use crate::failure::Failure;
use hull_api::client::{Client, Hijacked, Socket};
use hull_api::stream::{Decoder, StreamKind};
use std::io::{self, Read as _, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Which streams are joined, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    /// Standard input.
    pub(crate) stdin: bool,
    /// Standard output.
    pub(crate) stdout: bool,
    /// Standard error.
    pub(crate) stderr: bool,
    /// The container has a terminal: bytes are bare, keys are watched.
    pub(crate) tty: bool,
    /// The keys that detach.
    pub(crate) detach_keys: DetachKeys,
}

/// Whose size follows the terminal's, and who gets signals.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A container, by id.
    Container(String),
    /// A process in one, by exec id.
    Exec(String),
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The container closed its streams.
    Closed,
    /// The user typed the detach keys.
    Detached,
    /// The output could not be read or written.
    Broken(io::Error),
    /// A signal asked us to end.
    Signal(&'static str),
}

/// A running session.
#[derive(Debug)]
pub(crate) struct Session {
    raw: Option<RawTerminal>,
    ended: mpsc::UnboundedReceiver<Ended>,
    signals: Signals,
    window: Option<Signal>,
    proxy: bool,
}

impl Session {
    /// Joins the streams of `connection` with ours and puts the terminal into raw mode where keys
    /// go to a container with a terminal. `proxy` catches signals for the container.
    pub(crate) fn start(
        connection: Hijacked,
        streams: &Streams,
        proxy: bool,
    ) -> Result<Self, Failure> {
        let raw = if streams.stdin && streams.tty && super::stdin_is_terminal() {
            let raw = RawTerminal::enter().map_err(|error| {
                Failure::new(format!("unable to set IO streams as raw terminal: {error}"))
            })?;
            Some(raw)
        } else {
            None
        };
        let signals = match (proxy, &raw) {
            (true, _) => Signals::forwarded()?,
            (false, Some(_)) => Signals::ending()?,
            (false, None) => Signals::none(),
        };
        let window = if streams.tty && super::stdout_is_terminal() {
            Some(signal(SignalKind::window_change())?)
        } else {
            None
        };
        Ok(Self {
            ended: spawn(connection, streams)?,
            raw,
            signals,
            window,
            proxy,
        })
    }

    /// Waits for the end while signals and sizes are passed on, and gives the terminal back.
    pub(crate) async fn run(&mut self, client: &Arc<Client>, target: &Target) -> Ended {
        let ended = loop {
            tokio::select! {
                ended = self.ended.recv() => break ended.unwrap_or(Ended::Closed),
                name = self.signals.next() => {
                    if !self.proxy {
                        break Ended::Signal(name);
                    }
                    forward(client, target, name);
                }
                () = changed(&mut self.window) => {
                    let client = Arc::clone(client);
                    let target = target.clone();
                    tokio::spawn(async move { resize(&client, &target).await });
                }
            }
        };
        self.restore();
        ended
    }

    /// Gives the terminal back.
    pub(crate) fn restore(&mut self) {
        self.raw = None;
    }
}

async fn changed(window: &mut Option<Signal>) {
    match window {
        Some(window) => {
            window.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn forward(client: &Arc<Client>, target: &Target, name: &'static str) {
    let Target::Container(id) = target else {
        return;
    };
    let (client, id) = (Arc::clone(client), id.clone());
    // The container may have ended already: then there is nobody to signal.
    tokio::spawn(async move { client.kill(&id, name).await });
}

/// Tells the container the size of our terminal; false when it did not take it.
pub(crate) async fn resize(client: &Client, target: &Target) -> bool {
    let (rows, columns) = size();
    if rows == 0 && columns == 0 {
        return true;
    }
    resize_to(client, target, rows, columns).await
}

async fn resize_to(client: &Client, target: &Target, rows: u16, columns: u16) -> bool {
    match target {
        Target::Container(id) => client.resize(id, rows, columns).await,
        Target::Exec(id) => client.exec_resize(id, rows, columns).await,
    }
    .is_ok()
}

impl Target {
    /// Sets the size once the process is there. It is started by somebody else, who does not tell
    /// us when, so a refusal is tried again a few times.
    pub(crate) async fn initial_size(&self, client: &Client) {
        for attempt in 1..=10 {
            if resize(client, self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10 * attempt)).await;
        }
        crate::say("failed to resize tty, using default size");
    }

    /// Sets another size and then the right one: a program that is attached to again draws itself
    /// only when the size changes.
    pub(crate) async fn redraw(&self, client: &Client) {
        let (rows, columns) = size();
        if rows == 0 && columns == 0 {
            return;
        }
        resize_to(client, self, rows + 1, columns + 1).await;
        self.initial_size(client).await;
    }
}

fn spawn(connection: Hijacked, streams: &Streams) -> io::Result<mpsc::UnboundedReceiver<Ended>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let input = connection.socket.try_clone()?;
    if streams.stdout || streams.stderr {
        let sender = sender.clone();
        let streams = streams.clone();
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let ended = match copy_output(connection, &streams) {
                    Ok(()) => Ended::Closed,
                    Err(error) => Ended::Broken(error),
                };
                // The session may have ended otherwise.
                let _ = sender.send(ended);
            })?;
    }
    let streams = streams.clone();
    if !streams.stdin {
        // Nobody will write; the socket's other half stays open for the output.
        let _ = input.shutdown(Shutdown::Write);
        if !streams.stdout && !streams.stderr {
            let _ = sender.send(Ended::Closed);
        }
        return Ok(receiver);
    }
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let detached = copy_input(input, &streams);
            if detached {
                let _ = sender.send(Ended::Detached);
            } else if !streams.stdout && !streams.stderr {
                let _ = sender.send(Ended::Closed);
            }
        })?;
    Ok(receiver)
}

/// Copies until the daemon closes the connection.
fn copy_output(mut connection: Hijacked, streams: &Streams) -> io::Result<()> {
    let mut decoder = Decoder::new();
    let mut stdout = io::stdout().lock();
    let early = std::mem::take(&mut connection.early);
    write_output(&early, streams, &mut decoder, &mut stdout)?;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let count = match connection.socket.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The daemon may end a connection that way after everything was sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        };
        write_output(&buffer[..count], streams, &mut decoder, &mut stdout)?;
    }
}

fn write_output(
    bytes: &[u8],
    streams: &Streams,
    decoder: &mut Decoder,
    stdout: &mut impl Write,
) -> io::Result<()> {
    if streams.tty {
        stdout.write_all(bytes)?;
        return stdout.flush();
    }
    decoder.push(bytes);
    loop {
        match decoder.next_chunk().map_err(io::Error::other)? {
            None => return stdout.flush(),
            Some((StreamKind::Stdout | StreamKind::Stdin, chunk)) if streams.stdout => {
                stdout.write_all(&chunk)?;
            }
            Some((StreamKind::Stderr, chunk)) if streams.stderr => {
                stdout.flush()?;
                io::stderr().write_all(&chunk)?;
            }
            Some((StreamKind::SystemError, chunk)) => {
                return Err(io::Error::other(format!(
                    "error from daemon in stream: {}",
                    String::from_utf8_lossy(&chunk)
                )));
            }
            Some(_) => {}
        }
    }
}

/// Copies until the end of input; true when the detach keys were typed.
fn copy_input(mut socket: Socket, streams: &Streams) -> bool {
    let mut scanner = streams.tty.then(|| Scanner::new(&streams.detach_keys));
    let mut buffer = vec![0; 32 * 1024];
    let mut typed = Vec::new();
    loop {
        let count = match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => break,
        };
        let bytes = match &mut scanner {
            None => &buffer[..count],
            Some(scanner) => {
                typed.clear();
                let detached = scanner.scan(&buffer[..count], &mut typed);
                if detached {
                    return true;
                }
                &typed
            }
        };
        if socket.write_all(bytes).is_err() {
            // The container is gone; the output's end says so.
            return false;
        }
    }
    let _ = socket.shutdown(Shutdown::Write);
    false
}
