//! A build's events as dockerd's classic builder tells them: steps as they begin, what they print, and the image.

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use hull_api::progress::{ErrorDetail, Message};
use hull_engine::build::progress::{Event, Log, Status, Stream, VertexState, Warning};
use hull_engine::build::world::{Cancel, WorldError};
use hull_engine::build::{BuildError, Built};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

/// Lines that may wait for the client.
const WAITING: usize = 256;

/// Makes lines of events.
pub(super) struct Teller {
    lines: mpsc::Sender<Message>,
    quiet: bool,
    /// Whether the client reads: before, nobody may wait for it.
    begun: AtomicBool,
    cancel: Cancel,
    /// Steps whose beginning was told, and those whose end was.
    told: Mutex<[HashSet<String>; 2]>,
}

fn said(text: impl Into<String>) -> Message {
    Message {
        stream: text.into(),
        ..Message::default()
    }
}

impl Teller {
    /// One that tells, and what it tells.
    pub(super) fn new(quiet: bool, cancel: Cancel) -> (Self, BoxStream<'static, Message>) {
        let (lines, told) = mpsc::channel(WAITING);
        let teller = Self {
            lines,
            quiet,
            begun: AtomicBool::new(false),
            cancel,
            told: Mutex::default(),
        };
        let told = stream::unfold(told, |mut told| async move {
            told.recv().await.map(|line| (line, told))
        });
        (teller, told.boxed())
    }

    /// From now on the client reads.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    fn tell(&self, line: Message) {
        if !self.begun.load(Ordering::Acquire) {
            // What does not fit is how far a download was.
            let _ = self.lines.try_send(line);
        } else if self.lines.blocking_send(line).is_err() {
            self.cancel.cancel();
        }
    }

    /// Something happened.
    pub(super) fn hear(&self, event: Event) {
        if self.quiet {
            return;
        }
        match event {
            Event::Vertex(state) => self.step(&state),
            Event::Log(log) => self.log(&log),
            Event::Status(status) => self.status(&status),
            Event::Warning(warning) => self.warning(&warning),
        }
    }

    fn step(&self, state: &VertexState) {
        let Some((number, text)) = step_of(&state.name) else {
            return;
        };
        let key = state.digest.to_string();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = state.started.is_some() && told[0].insert(key.clone());
        let ends = state.completed.is_some() && told[1].insert(key);
        drop(told);
        if begins {
            self.tell(said(format!("Step {number} : {text}")));
            self.tell(said("\n"));
        }
        if ends && state.cached {
            self.tell(said(" ---> Using cache\n"));
        }
    }

    fn log(&self, log: &Log) {
        let text = String::from_utf8_lossy(&log.bytes).into_owned();
        self.tell(said(match log.stream {
            Stream::Stdout => text,
            // dockerd paints it red.
            Stream::Stderr => format!("\u{1b}[91m{text}\u{1b}[0m"),
        }));
    }

    fn status(&self, status: &Status) {
        let words = status.name.strip_suffix(&status.id).unwrap_or(&status.name);
        let bytes = (status.total > 0).then_some((status.current, status.total));
        let progress = hull_engine::image::Progress {
            id: status.id.clone(),
            status: words.trim_end().to_owned(),
            bytes,
        };
        self.tell(super::super::pull::message(progress));
    }

    fn warning(&self, warning: &Warning) {
        self.tell(said(format!("[Warning] {}\n", warning.short)));
    }

    /// How it ended.
    pub(super) fn end(&self, built: Result<Built, BuildError>) {
        let built = match built {
            Ok(built) => built,
            Err(error) => return self.tell(failure(&error)),
        };
        if self.quiet {
            return self.tell(said(format!("{}\n", built.id)));
        }
        self.tell(Message {
            aux: Some(serde_json::json!({"ID": built.id})),
            ..Message::default()
        });
        self.tell(said(format!("Successfully built {}\n", built.id.short())));
        for name in &built.names {
            self.tell(said(format!("Successfully tagged {name}\n")));
        }
    }
}

/// Number and instruction of a step, by the name that frontends give: `[stage 2/3] RUN x`.
fn step_of(name: &str) -> Option<(&str, &str)> {
    let (place, text) = name.strip_prefix('[')?.split_once("] ")?;
    let number = place.rsplit(' ').next()?;
    let (first, last) = number.split_once('/')?;
    let is_number = |text: &str| text.trim().parse::<u32>().is_ok();
    (is_number(first) && is_number(last)).then_some((number, text))
}

/// dockerd's words for a build that failed.
fn failure(error: &BuildError) -> Message {
    let (message, code) = match error {
        BuildError::Export(error) => (error.full_message(), 0),
        BuildError::Step(failed) => match &*failed.source {
            WorldError::Exit { command, code } => (
                format!("The command '{command}' returned a non-zero code: {code}"),
                i64::from(*code),
            ),
            WorldError::NotFound(text) => (copy_failed(&failed.name, text), 0),
            other => (other.full_message(), 0),
        },
    };
    Message {
        error_detail: Some(ErrorDetail {
            code,
            message: message.clone(),
        }),
        error: message,
        ..Message::default()
    }
}

/// What is not in the context, in dockerd's words.
fn copy_failed(step: &str, text: &str) -> String {
    let missing = text.strip_suffix(": not found");
    let missing = missing.map(|path| path.trim_matches('"').trim_start_matches('/'));
    let instruction = step_of(step).and_then(|(_, text)| text.split(' ').next());
    match (instruction, missing) {
        (Some(word @ ("COPY" | "ADD")), Some(path)) => format!(
            "{word} failed: file not found in build context or excluded by .dockerignore: stat {path}: file does not exist"
        ),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_known_by_their_names() {
        assert_eq!(step_of("[2/3] RUN make"), Some(("2/3", "RUN make")));
        assert_eq!(step_of("[build 2/3] COPY a b"), Some(("2/3", "COPY a b")));
        assert_eq!(step_of("[internal] load build definition"), None);
        assert_eq!(step_of("load"), None);
    }

    #[test]
    fn what_is_missing_is_told_as_by_dockerd() {
        assert_eq!(
            copy_failed("[2/2] COPY nope /", "\"/nope\": not found"),
            "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist"
        );
        assert_eq!(
            copy_failed("[2/2] RUN x", "secret a: not found"),
            "secret a: not found"
        );
    }
}
