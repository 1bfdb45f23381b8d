//! A build's events as dockerd's classic builder tells them: one instruction after the other, what it prints, and the
//! image. The builder does several at the same time: what belongs to a later one waits for its turn.

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use hull_api::progress::{ErrorDetail, Message};
use hull_engine::build::progress::{Event, Log, Status, Stream, VertexState};
use hull_engine::build::world::{Cancel, WorldError};
use hull_engine::build::{BuildError, Built, Story, Told, ToldKind};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Bytes of output that wait for a client that does not read; what comes then is left out. A build may have steps in
/// common with others, which must not wait for its client.
const MAX_UNREAD: usize = 16 << 20;
/// Bytes of output that wait for an instruction's turn; BuildKit has the same limit for all that it keeps.
const MAX_WAITING: usize = 2 << 20;

/// Makes lines of events.
pub(super) struct Teller {
    lines: mpsc::UnboundedSender<Message>,
    /// Bytes that the client has not read.
    unread: Arc<AtomicUsize>,
    quiet: bool,
    /// Whether the image's id is told for programs, too.
    names_id: bool,
    cancel: Cancel,
    tale: Mutex<Tale>,
}

/// How far the story was told.
#[derive(Default)]
struct Tale {
    steps: Vec<Step>,
    /// The steps that wait for a vertex, by its digest.
    waiting: HashMap<String, Vec<usize>>,
    unconsumed: Vec<String>,
    /// Whose turn it is, and whether it was named.
    current: usize,
    named: bool,
    /// Whether the last one that had something to do was known.
    cached: bool,
    /// Whether output is being left out.
    clipped: bool,
    /// What is told only if it fails, and its bytes.
    held: Vec<Message>,
    held_size: usize,
}

/// An instruction.
struct Step {
    told: Told,
    /// What has to be done for it still.
    left: HashSet<String>,
    cached: bool,
    /// The container it runs in, and whether that was told.
    container: Option<String>,
    container_told: bool,
    output: Vec<Message>,
    size: usize,
}

fn said(text: impl Into<String>) -> Message {
    Message {
        stream: text.into(),
        ..Message::default()
    }
}

/// What a line takes while it waits.
fn weight(line: &Message) -> usize {
    line.stream.len() + size_of::<Message>()
}

fn named(number: usize, count: usize, text: &str) -> Message {
    said(format!("Step {number}/{count} : {text}"))
}

impl Step {
    fn new(told: Told) -> Self {
        Self {
            left: told.vertices.iter().map(ToString::to_string).collect(),
            cached: true,
            container: None,
            container_told: false,
            output: Vec::new(),
            size: 0,
            told,
        }
    }

    /// Keeps a line for its turn.
    fn keep(&mut self, line: Message) {
        let before = self.size;
        self.size += line.stream.len();
        if self.size <= MAX_WAITING {
            self.output.push(line);
        } else if before <= MAX_WAITING {
            self.output.push(said("[output clipped]\n"));
        }
    }

    /// What is to be told of it now.
    fn so_far(&mut self, lines: &mut Vec<Message>) {
        if let Some(container) = &self.container
            && !std::mem::replace(&mut self.container_told, true)
        {
            lines.push(said(format!(" ---> Running in {container}\n")));
        }
        lines.append(&mut self.output);
        self.size = 0;
    }

    /// How it ends; `before` says whether what is before it was known.
    fn end(&self, before: bool, lines: &mut Vec<Message>) {
        let idle = self.told.vertices.is_empty();
        let cached = if idle { before } else { self.cached };
        match self.told.kind {
            ToldKind::Before => return,
            ToldKind::From => {
                // What the base image wanted to be done ran in one.
                if let Some(container) = &self.container {
                    let removed = format!(" ---> Removed intermediate container {container}\n");
                    lines.push(said(removed));
                }
            }
            ToldKind::Copy | ToldKind::Container if cached => {
                lines.push(said(" ---> Using cache\n"));
            }
            ToldKind::Copy => {}
            ToldKind::Container => {
                let container = self.container.as_ref().unwrap_or(&self.told.container);
                if !self.container_told {
                    lines.push(said(format!(" ---> Running in {container}\n")));
                }
                let removed = format!(" ---> Removed intermediate container {container}\n");
                lines.push(said(removed));
            }
        }
        lines.push(said(format!(" ---> {}\n", self.told.id)));
    }
}

impl Tale {
    /// Keeps lines for the case that it fails.
    fn hold(&mut self, lines: Vec<Message>) {
        for line in lines {
            let before = self.held_size;
            self.held_size += weight(&line);
            if self.held_size <= MAX_WAITING {
                self.held.push(line);
            } else if before <= MAX_WAITING {
                self.held.push(said("[output clipped]\n"));
            }
        }
    }

    fn begin(&mut self, story: Story) {
        self.steps = story.steps.into_iter().map(Step::new).collect();
        self.unconsumed = story.unconsumed;
        for (place, step) in self.steps.iter().enumerate() {
            for vertex in &step.left {
                let waiting = self.waiting.entry(vertex.clone()).or_default();
                waiting.push(place);
            }
        }
    }

    /// The first of those that wait for a vertex: it is told what that one does.
    fn first(&mut self, vertex: &str) -> Option<&mut Step> {
        let place = *self.waiting.get(vertex)?.first()?;
        self.steps.get_mut(place)
    }

    fn vertex(&mut self, state: &VertexState) {
        if state.completed.is_none() || !state.error.is_empty() {
            return;
        }
        let vertex = state.digest.to_string();
        for place in self.waiting.get(&vertex).into_iter().flatten() {
            if let Some(step) = self.steps.get_mut(*place)
                && step.left.remove(&vertex)
            {
                step.cached &= state.cached;
            }
        }
    }

    fn name(&self, place: usize, lines: &mut Vec<Message>) {
        let Some(step) = self.steps.get(place) else {
            return;
        };
        lines.push(named(place + 1, self.steps.len(), &step.told.text));
        lines.push(said("\n"));
        let triggers = step.told.triggers;
        if triggers > 0 {
            lines.push(said(format!("# Executing {triggers} build trigger")));
            if triggers > 1 {
                lines.push(said("s"));
            }
            lines.push(said("\n"));
        }
    }

    /// Tells what has come to its turn. How the last one ends is told with the image.
    fn go_on(&mut self, lines: &mut Vec<Message>) {
        while self.current < self.steps.len() {
            if !std::mem::replace(&mut self.named, true) {
                self.name(self.current, lines);
            }
            let last = self.current + 1 == self.steps.len();
            let step = &mut self.steps[self.current];
            step.so_far(lines);
            if !step.left.is_empty() || last {
                return;
            }
            step.end(self.cached, lines);
            self.cached = match step.told.kind {
                ToldKind::From => false,
                _ if step.told.vertices.is_empty() => self.cached,
                _ => step.cached,
            };
            self.current += 1;
            self.named = false;
        }
    }

    /// How the last one ends, and what has been made.
    fn end(&mut self, built: &Built, lines: &mut Vec<Message>) {
        self.go_on(lines);
        if let Some(step) = self.steps.last_mut() {
            built.id.short().clone_into(&mut step.told.id);
            step.end(self.cached, lines);
        }
        lines.push(Message {
            aux: Some(serde_json::json!({"ID": built.id})),
            ..Message::default()
        });
        if !self.unconsumed.is_empty() {
            let names = self.unconsumed.join(" ");
            let text = format!("[Warning] One or more build-args [{names}] were not consumed\n");
            lines.push(said(text));
        }
        lines.push(said(format!("Successfully built {}\n", built.id.short())));
        for name in &built.names {
            lines.push(said(format!("Successfully tagged {name}\n")));
        }
    }

    /// What is left to be told of the instruction that failed, which may not have had its turn.
    fn fail(&mut self, error: &BuildError, lines: &mut Vec<Message>) {
        match error {
            BuildError::Plan(_, Some(at)) => {
                lines.push(named(at.number, at.count, &at.text));
                lines.push(said("\n"));
            }
            BuildError::Step(failed) => {
                let waiting = self.waiting.get(&failed.vertex.to_string());
                let Some(place) = waiting.and_then(|places| places.first().copied()) else {
                    return;
                };
                if place != self.current || !self.named {
                    self.name(place, lines);
                }
                self.steps[place].so_far(lines);
            }
            BuildError::Plan(_, None) | BuildError::Export(_) => {}
        }
    }
}

impl Teller {
    /// One that tells, and what it tells.
    pub(super) fn new(
        quiet: bool,
        names_id: bool,
        cancel: Cancel,
    ) -> (Self, BoxStream<'static, Message>) {
        let (lines, told) = mpsc::unbounded_channel();
        let unread = Arc::new(AtomicUsize::new(0));
        let teller = Self {
            lines,
            unread: Arc::clone(&unread),
            quiet,
            names_id,
            cancel,
            tale: Mutex::default(),
        };
        let told = stream::unfold((told, unread), |(mut told, unread)| async move {
            let line: Message = told.recv().await?;
            unread.fetch_sub(weight(&line), Ordering::Relaxed);
            Some((line, (told, unread)))
        });
        (teller, told.boxed())
    }

    fn tale(&self) -> MutexGuard<'_, Tale> {
        self.tale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the tale and tells what that brings, in order.
    fn tell(&self, change: impl FnOnce(&mut Tale, &mut Vec<Message>)) {
        let mut tale = self.tale();
        let mut lines = Vec::new();
        change(&mut tale, &mut lines);
        if self.quiet {
            tale.hold(lines);
            return;
        }
        let gone = lines.into_iter().any(|line| !self.send(line));
        drop(tale);
        if gone {
            self.cancel.cancel();
        }
    }

    /// Whether somebody is there to read it.
    fn send(&self, line: Message) -> bool {
        self.unread.fetch_add(weight(&line), Ordering::Relaxed);
        self.lines.send(line).is_ok()
    }

    /// What is going to be done.
    pub(super) fn begin(&self, story: Story) {
        self.tell(|tale, lines| {
            tale.begin(story);
            tale.go_on(lines);
        });
    }

    /// Something happened.
    pub(super) fn hear(&self, event: &Event) {
        match event {
            Event::Vertex(state) => self.tell(|tale, lines| {
                tale.vertex(state);
                tale.go_on(lines);
            }),
            Event::Process(process) => self.tell(|tale, lines| {
                if let Some(step) = tale.first(&process.vertex.to_string()) {
                    step.container = process.container.get(..12).map(str::to_owned);
                }
                tale.go_on(lines);
            }),
            Event::Log(log) => self.tell(|tale, lines| {
                let full = self.unread.load(Ordering::Relaxed) > MAX_UNREAD;
                if full {
                    if !std::mem::replace(&mut tale.clipped, true) {
                        lines.push(said("[output clipped]\n"));
                    }
                    return;
                }
                tale.clipped = false;
                if let Some(step) = tale.first(&log.vertex.to_string()) {
                    step.keep(output(log));
                }
                tale.go_on(lines);
            }),
            Event::Status(status) => self.status(status),
            // dockerd's classic builder has no opinion of a Dockerfile.
            Event::Warning(_) => {}
        }
    }

    /// How far a download is. What does not fit is not missed.
    fn status(&self, status: &Status) {
        let Some(words) = status.name.strip_suffix(&status.id) else {
            return;
        };
        let bytes = (status.total > 0).then_some((status.current, status.total));
        let progress = hull_engine::image::Progress {
            id: status.id.clone(),
            status: words.trim_end().to_owned(),
            bytes,
        };
        if !self.quiet && self.unread.load(Ordering::Relaxed) <= MAX_UNREAD {
            let _ = self.send(super::super::pull::message(progress));
        }
    }

    /// How it ended. Of a quiet one that failed everything is told now.
    pub(super) fn end(&self, built: Result<Built, BuildError>) {
        let mut tale = self.tale();
        let mut lines = std::mem::take(&mut tale.held);
        match built {
            Ok(built) if self.quiet => lines = vec![said(format!("{}\n", built.id))],
            Ok(built) => tale.end(&built, &mut lines),
            Err(error) => {
                tale.fail(&error, &mut lines);
                lines.push(failure(&error));
            }
        }
        lines.retain(|line| self.names_id || line.aux.is_none());
        // Who does not listen any more misses nothing.
        let _gone = lines.into_iter().any(|line| !self.send(line));
    }
}

fn output(log: &Log) -> Message {
    let text = String::from_utf8_lossy(&log.bytes).into_owned();
    said(match log.stream {
        Stream::Stdout => text,
        // dockerd paints it red.
        Stream::Stderr => format!("\u{1b}[91m{text}\u{1b}[0m"),
    })
}

/// The instruction in the name that frontends give a step: `[stage 2/3] RUN x`.
fn instruction_of(name: &str) -> Option<&str> {
    let (_, text) = name.strip_prefix('[')?.split_once("] ")?;
    Some(text.strip_prefix("ONBUILD ").unwrap_or(text))
}

/// dockerd's words for a build that failed.
fn failure(error: &BuildError) -> Message {
    let (message, code) = match error {
        BuildError::Plan(error, _) | BuildError::Export(error) => (error.full_message(), 0),
        BuildError::Step(failed) => match &*failed.source {
            WorldError::Exit { command, code } => (
                format!("The command '{command}' returned a non-zero code: {code}"),
                i64::from(*code),
            ),
            WorldError::NotFound(text) => (copy_failed(&failed.name, text), 0),
            WorldError::Invalid(text) => (without_command(text), 0),
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

/// BuildKit names the command where dockerd's classic builder does not.
fn without_command(text: &str) -> String {
    let (_, why) = text
        .split_once("did not complete successfully: ")
        .unwrap_or(("", text));
    why.to_owned()
}

/// What is not in the context, in dockerd's words.
fn copy_failed(step: &str, text: &str) -> String {
    let missing = text.strip_suffix(": not found");
    let missing = missing.map(|path| path.trim_matches('"').trim_start_matches('/'));
    let instruction = instruction_of(step).and_then(|text| text.split(' ').next());
    match (instruction, missing) {
        (Some(word @ ("COPY" | "ADD")), Some(path)) if step.contains(" --from=") => {
            format!("{word} failed: stat {path}: file does not exist")
        }
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
    fn instructions_are_known_by_the_names_of_steps() {
        assert_eq!(instruction_of("[2/3] RUN make"), Some("RUN make"));
        assert_eq!(
            instruction_of("[build 2/3] ONBUILD COPY a b"),
            Some("COPY a b")
        );
        assert_eq!(instruction_of("load"), None);
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

    fn told(text: &str, kind: ToldKind, vertex: Option<&str>) -> Told {
        Told {
            text: text.to_owned(),
            kind,
            vertices: vertex.map(digest).into_iter().collect(),
            triggers: 0,
            id: format!("id-{text}"),
            container: format!("c-{text}"),
        }
    }

    fn digest(name: &str) -> hull_engine::Digest {
        hull_engine::build::graph::digest_of(&name)
    }

    fn done(name: &str, cached: bool) -> VertexState {
        let now = jiff::Timestamp::UNIX_EPOCH;
        VertexState {
            digest: digest(name),
            inputs: Vec::new(),
            name: name.to_owned(),
            cached,
            started: Some(now),
            completed: Some(now),
            error: String::new(),
            group: None,
            location: None,
            description: std::collections::BTreeMap::new(),
        }
    }

    fn texts(lines: &mut Vec<Message>) -> String {
        lines.drain(..).map(|line| line.stream).collect()
    }

    #[test]
    fn what_is_done_early_waits_for_its_turn() {
        let mut tale = Tale::default();
        let mut lines = Vec::new();
        tale.begin(Story {
            steps: vec![
                told("FROM x", ToldKind::From, Some("x")),
                told("RUN a", ToldKind::Container, Some("a")),
                told("RUN b", ToldKind::Container, Some("b")),
                told("ENV c", ToldKind::Container, None),
            ],
            unconsumed: vec!["N".to_owned()],
        });
        tale.go_on(&mut lines);
        assert_eq!(texts(&mut lines), "Step 1/4 : FROM x\n");
        tale.first(&digest("b").to_string())
            .unwrap()
            .keep(said("from b\n"));
        tale.vertex(&done("b", true));
        tale.vertex(&done("x", false));
        tale.go_on(&mut lines);
        assert_eq!(texts(&mut lines), " ---> id-FROM x\nStep 2/4 : RUN a\n");
        tale.first(&digest("a").to_string()).unwrap().container = Some("aaa".to_owned());
        tale.go_on(&mut lines);
        assert_eq!(texts(&mut lines), " ---> Running in aaa\n");
        tale.vertex(&done("a", false));
        tale.go_on(&mut lines);
        assert_eq!(
            texts(&mut lines),
            " ---> Removed intermediate container aaa\n ---> id-RUN a\nStep 3/4 : RUN b\nfrom b\n \
             ---> Using cache\n ---> id-RUN b\nStep 4/4 : ENV c\n"
        );
        let id = digest("image");
        let built = Built {
            id: id.clone(),
            names: vec!["n:latest".to_owned()],
        };
        tale.end(&built, &mut lines);
        let short = id.short();
        assert_eq!(
            texts(&mut lines),
            format!(
                " ---> Using cache\n ---> {short}\n[Warning] One or more build-args [N] were not consumed\n\
                 Successfully built {short}\nSuccessfully tagged n:latest\n"
            )
        );
    }

    #[test]
    fn a_quiet_build_tells_all_when_it_fails() {
        let (teller, lines) = Teller::new(true, true, Cancel::new());
        let begin = || {
            teller.begin(Story {
                steps: vec![told("RUN a", ToldKind::Container, Some("a"))],
                unconsumed: Vec::new(),
            });
        };
        begin();
        let why = hull_engine::Error::new(hull_engine::ErrorKind::Internal, "no");
        teller.end(Err(BuildError::Export(why)));
        drop(teller);
        let lines: Vec<Message> = futures_util::FutureExt::now_or_never(lines.collect()).unwrap();
        let said: String = lines.iter().map(|line| line.stream.as_str()).collect();
        assert_eq!(said, "Step 1/1 : RUN a\n");
        assert_eq!(lines.last().unwrap().error, "no");
        let mut tale = Tale::default();
        tale.hold((0..3).map(|_| said_long()).collect());
        assert_eq!(tale.held.last().unwrap().stream, "[output clipped]\n");
    }

    fn said_long() -> Message {
        said("x".repeat(MAX_WAITING - 1000))
    }

    #[test]
    fn output_that_waits_has_a_limit() {
        let mut step = Step::new(told("RUN a", ToldKind::Container, None));
        for _ in 0..3 {
            step.keep(said("x".repeat(MAX_WAITING / 2)));
        }
        step.keep(said("more"));
        let mut lines = Vec::new();
        step.so_far(&mut lines);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2].stream, "[output clipped]\n");
    }
}
