//! What is said over a shim's socket.
//!
//! A message is a length, 4 bytes big-endian, and as many bytes of JSON. A client sends one
//! [`Request`] and gets one [`Reply`]; then it may send the next, or the connection has become
//! something else:
//!
//! | request | after the reply |
//! |---|---|
//! | `Attach`, `Exec` with a stream | a stream: input as it is, output in Docker's frames, or as it is with a terminal |
//! | `Events` | [`Event`]s from the shim until its end |
//!
//! A stream's frames have a header of 8 bytes: 1 or 2 for standard output or error, three zeros, and
//! the length, big-endian. The client ends the input by shutting down its half; the shim ends the
//! stream when the process has ended and all its output was sent.

use hull_spec::runtime::{Process, Resources};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// The most bytes of one message. An exec's environment is the largest thing in it; the kernel
/// allows 2 MiB for arguments and environment together (execve(2), a quarter of an 8 MiB stack).
pub const MAX_MESSAGE: usize = 8 << 20;

/// From the daemon to the shim.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Runs the created container's process.
    Start,
    /// Sends a signal to the first process.
    Kill(i32),
    /// Kills an exec's process and all of its process group. That it has ended already is no error.
    KillExec(String),
    /// Stops all processes.
    Pause,
    /// Lets them go on.
    Resume,
    /// Changes a terminal's size.
    Resize {
        /// Of which exec; of the first process without one.
        exec: Option<String>,
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Saves the processes as files in this directory, which is there; they end, unless they are to go on.
    Checkpoint {
        /// The directory.
        images: std::path::PathBuf,
        /// Whether they go on.
        leave_running: bool,
    },
    /// Asks how things are.
    Snapshot,
    /// Becomes a stream of the first process.
    Attach(AttachOptions),
    /// Runs another process.
    Exec(Box<ExecRequest>),
    /// Becomes a list of events.
    Events,
    /// Says where published ports lead from now on that the shim passes on; those that are not named lead
    /// nowhere. Connections that there are stay.
    Retarget(Vec<crate::Relay>),
    /// Changes the limits; what is not named stays.
    Update(Box<Resources>),
}

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachOptions {
    /// Sends input.
    pub stdin: bool,
    /// Receives standard output.
    pub stdout: bool,
    /// Receives standard error.
    pub stderr: bool,
}

/// Another process in the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Its id: 64 hexadecimal digits, as Docker makes them.
    pub id: String,
    /// The process; `terminal` decides about a terminal.
    pub process: Process,
    /// Which streams this connection becomes; `None` for a detached process.
    pub attach: Option<AttachOptions>,
    /// The terminal's first size, rows and columns.
    pub console_size: Option<(u16, u16)>,
}

/// From the shim to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The container is created; its first process waits.
    Created {
        /// The first process, as the host sees it.
        pid: i32,
    },
    /// Done.
    Done,
    /// The exec's process runs.
    Started {
        /// As the host sees it.
        pid: i32,
    },
    /// How things are.
    Snapshot(Snapshot),
    /// It did not work.
    Failed {
        /// Why, in the runtime's own words where it is the runtime that failed.
        message: String,
    },
}

/// How things are with a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The first process.
    pub pid: i32,
    /// Whether it was started.
    pub started: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Execs that run: id and process.
    pub execs: Vec<(String, i32)>,
    /// The kernel has killed something in it for want of memory.
    #[serde(default)]
    pub out_of_memory: bool,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The first process ended; the exit file is written.
    Exited(crate::ExitRecord),
    /// The kernel has killed something in the container for want of memory.
    OutOfMemory,
    /// The root is unmounted, and nobody uses its files any more; told of a container with
    /// [`crate::Launch::root_first`].
    Unmounted,
    /// The container is deleted, its root unmounted, the socket gone.
    Cleaned,
    /// An exec's process ended.
    ExecExited {
        /// The exec.
        id: String,
        /// Its exit code, 128 + signal when a signal ended it.
        exit_code: i32,
    },
}

/// Writes one message.
///
/// # Errors
/// What writing gives, and `InvalidInput` for a message over [`MAX_MESSAGE`].
pub fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&encode(message)?)
}

/// The bytes of one message.
///
/// # Errors
/// `InvalidInput` for a message over [`MAX_MESSAGE`].
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    match u32::try_from(length) {
        Ok(short) if length <= MAX_MESSAGE => {
            bytes[..4].copy_from_slice(&short.to_be_bytes());
            Ok(bytes)
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the message is too large",
        )),
    }
}

/// Reads one message.
///
/// # Errors
/// What reading gives, and `InvalidData` for what is not a message.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the message is too large",
        ));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Takes messages out of bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Decoder(Vec<u8>);

impl Decoder {
    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Takes the next whole message, if there is one.
    ///
    /// # Errors
    /// `InvalidData` for what is not a message: the connection is then of no more use.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator has one type of item and does not fail"
    )]
    pub fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(length) = self.0.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_MESSAGE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the message is too large",
            ));
        }
        if self.0.len() < 4 + length {
            return Ok(None);
        }
        let message = serde_json::from_slice(&self.0[4..4 + length])?;
        self.0.drain(..4 + length);
        Ok(Some(message))
    }

    /// What has come after the last message.
    #[must_use]
    pub fn into_rest(self) -> Vec<u8> {
        self.0
    }
}

/// The header of one frame of Docker's multiplexed stream.
#[must_use]
pub fn frame_header(stream: u8, length: usize) -> [u8; 8] {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [stream, 0, 0, 0, length[0], length[1], length[2], length[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_sent_is_received() {
        let event = Event::ExecExited {
            id: "a".to_owned(),
            exit_code: 3,
        };
        let mut bytes = Vec::new();
        send(&mut bytes, &event).unwrap();
        send(&mut bytes, &Event::Cleaned).unwrap();
        assert_eq!(receive::<Event>(&mut bytes.as_slice()).unwrap(), event);
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for byte in &bytes {
            decoder.push(&[*byte]);
            seen.extend(decoder.next::<Event>().unwrap());
        }
        assert_eq!(seen, [event, Event::Cleaned]);
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            let _ = decoder.next::<Request>();
            let _ = receive::<Request>(&mut bytes.as_slice());
        }
    }
}
