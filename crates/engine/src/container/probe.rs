//! A command run in a container to learn how it is: health checks.

use super::exec::Exec;
use super::live::Container;
use crate::exec::{ExecConfig, ExecStart};
use crate::{Engine, Result, blocking};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

/// How much of the output is kept, bytes: what dockerd keeps of a health check's.
const OUTPUT_LIMIT: usize = 4096;

/// How a command went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Its exit code; `None`: its time was over and it was killed.
    pub exit_code: Option<i32>,
    /// What it wrote to standard output and error, at most 4096 bytes; `...` follows where there was more.
    pub output: String,
    /// When it was started.
    pub start: Timestamp,
    /// When it had ended.
    pub end: Timestamp,
}

impl Engine {
    /// Runs a command in a running container, as its user and with its environment, and waits for the end of it
    /// and of its output. It is killed when `limit` is over. Events tell of it as of every exec.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the container does not run; what the runtime said when the command cannot
    /// be run.
    pub async fn probe_once(
        self: &Arc<Self>,
        name: &str,
        command: Vec<String>,
        limit: Duration,
    ) -> Result<Probed> {
        let container = self.find(name)?;
        self.probe(&container, command, limit).await
    }

    /// [`Engine::probe_once`] for who has the container.
    pub(crate) async fn probe(
        self: &Arc<Self>,
        container: &Arc<Container>,
        command: Vec<String>,
        limit: Duration,
    ) -> Result<Probed> {
        let start = Timestamp::now();
        let deadline = Instant::now() + limit;
        let exec = self.new_exec(
            Arc::clone(container),
            ExecConfig {
                args: command,
                stdout: true,
                stderr: true,
                ..ExecConfig::default()
            },
        );
        let outcome = self.probe_until(&exec, deadline).await;
        self.execs.forget(&exec.id);
        let (exit_code, output) = outcome?;
        Ok(Probed {
            exit_code,
            output: output.text(),
            start,
            end: Timestamp::now(),
        })
    }

    async fn probe_until(
        self: &Arc<Self>,
        exec: &Arc<Exec>,
        deadline: Instant,
    ) -> Result<(Option<i32>, Output)> {
        /// The news of an end has only to cross a socket. A process that cannot be killed, because it is
        /// frozen or waits for a disk, is not waited for.
        const PATIENCE: Duration = Duration::from_secs(5);
        super::exec::may_exec(&exec.container.record(), &exec.container.id)?;
        let stream = self.run_exec(exec, ExecStart::default()).await?;
        let mut output = Output::default();
        let mut in_time = true;
        if let Some(stream) = stream {
            let mut stream = super::attach::to_tokio(stream)?;
            in_time = timeout_at(deadline, output.read(&mut stream)).await.is_ok();
            if !in_time {
                self.kill_exec(exec).await;
                let end = Instant::now() + PATIENCE;
                // What it wrote last counts; that there may be none does not matter.
                let _ = timeout_at(end, output.read(&mut stream)).await;
            }
        }
        let mut progress = exec.progress.subscribe();
        let ended = progress.wait_for(|now| now.exit_code.is_some());
        let code = match timeout_at(Instant::now() + PATIENCE, ended).await {
            Ok(Ok(now)) => now.exit_code,
            _ => None,
        };
        Ok((code.filter(|_| in_time), output))
    }

    async fn kill_exec(&self, exec: &Arc<Exec>) {
        let Ok(shim) = exec.container.shim() else {
            return; // The container has ended meanwhile, and the exec with it.
        };
        let id = exec.id.clone();
        let killed = blocking(move || {
            shim.kill_exec(&id)
                .map_err(|e| crate::Error::new(crate::ErrorKind::Internal, e.to_string()))
        });
        if let Err(error) = killed.await {
            tracing::warn!(container = %exec.container.id, error = %error.full_message(), "a health check could not be killed");
        }
    }
}

/// The beginning of what a process writes, taken out of Docker's frames.
#[derive(Debug, Default)]
struct Output {
    kept: Vec<u8>,
    cut: bool,
    /// Of a header that has not come whole.
    header: Vec<u8>,
    /// Bytes to come of the frame.
    frame: usize,
}

impl Output {
    async fn read(&mut self, stream: &mut UnixStream) {
        let mut buffer = [0; 4096];
        // An error is the end as well: the shim is gone.
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            self.take(&buffer[..length]);
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.frame == 0 {
                let (head, rest) = bytes.split_at(bytes.len().min(8 - self.header.len()));
                self.header.extend_from_slice(head);
                bytes = rest;
                if let [_, _, _, _, a, b, c, d] = self.header[..] {
                    self.frame = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.header.clear();
                }
                continue;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(self.frame));
            let room = (OUTPUT_LIMIT - self.kept.len()).min(piece.len());
            self.kept.extend_from_slice(&piece[..room]);
            self.cut |= room < piece.len();
            self.frame -= piece.len();
            bytes = rest;
        }
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        format!("{text}{}", if self.cut { "..." } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_in_any_pieces_become_text_that_is_bounded() {
        let mut bytes = b"\x01\0\0\0\0\0\0\x03abc\x02\0\0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(b"\x02\0\0\0\0\0\x20\0");
        bytes.extend_from_slice(&[b'x'; 0x2000]);
        for size in [1, 7, 100, bytes.len()] {
            let mut output = Output::default();
            for piece in bytes.chunks(size) {
                output.take(piece);
            }
            let text = output.text();
            assert!(text.starts_with("abcxxx") && text.ends_with("x..."));
            assert_eq!(text.len(), OUTPUT_LIMIT + 3);
        }
        let mut short = Output::default();
        short.take(b"\x01\0\0\0\0\0\0\x03abc");
        assert_eq!(short.text(), "abc");
    }
}
