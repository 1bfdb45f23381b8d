//! The solver with a world of numbers: a step's files are a name, and what was done is counted.

use super::{Context, KnownSources, SolveError, Solver};
use crate::cache::Cache;
use crate::graph::{
    Action, Change, CopyFiles, Exec, Files, Graph, ImageSource, LocalSource, Metadata, Mount,
    NetworkMode, Op, Output, ResolveMode, SecurityMode, Source, Tree as At, Vertex,
};
use crate::portable::PortableResult;
use crate::progress::{Event, Stream, Watch};
use crate::world::{
    Cancel, Client, Directory, Fetched, Job, LocalFiles, Login, Piece, ResolvedImage, Selection,
    SourceKey, Tree, World, WorldError, WorldResult,
};
use hull_spec::{Digest, Platform};
use std::collections::HashSet;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Barrier, Condvar, Mutex};

/// A world in which a step's name decides what happens.
#[derive(Default)]
struct Fake {
    /// Names of what was done, in order.
    done: Mutex<Vec<String>>,
    steps: Mutex<HashSet<String>>,
    /// What clients' files are at the moment.
    content: Mutex<String>,
    /// Steps named `together…` wait for one another here.
    together: Mutex<Option<Arc<Barrier>>>,
    /// Steps named `wait…` end when this is set.
    open: Mutex<bool>,
    opened: Condvar,
}

impl Fake {
    fn done(&self) -> Vec<String> {
        let mut done = std::mem::take(&mut *self.done.lock().unwrap());
        done.sort();
        done
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

fn name_of(op: &Op) -> String {
    match op {
        Op::Exec(exec) => exec.args.join(" "),
        other => super::key::described(other),
    }
}

impl World for Fake {
    fn resolve_image(
        &self,
        _: &ImageSource,
        _: &Platform,
        _: &Job<'_>,
    ) -> WorldResult<ResolvedImage> {
        Err(WorldError::NotFound("none".to_owned()))
    }

    fn source_key(&self, source: &Source, _: &Platform, _: &Job<'_>) -> WorldResult<SourceKey> {
        match source {
            Source::Image(image) => Ok(SourceKey::known(image.reference.clone())),
            _ => Ok(SourceKey::default()),
        }
    }

    fn fetch(
        &self,
        source: &Source,
        content: Option<&str>,
        _: &Platform,
        _: &Job<'_>,
    ) -> WorldResult<Fetched> {
        let name = super::key::described(&Op::Source(source.clone()));
        let name = match content {
            Some(content) if !name.ends_with(content) => format!("{name} as {content}"),
            _ => name,
        };
        self.done.lock().unwrap().push(format!("fetch {name}"));
        Ok(Fetched {
            tree: Tree::Pieces(vec![Piece::Layer(crate::graph::digest_of(&name))]),
            keep: None,
        })
    }

    fn perform(&self, vertex: &Vertex, inputs: &[Tree], job: &Job<'_>) -> WorldResult<Vec<Tree>> {
        let name = name_of(&vertex.op);
        let mut pieces = match inputs.first() {
            Some(Tree::Pieces(pieces)) => pieces.clone(),
            _ => Vec::new(),
        };
        job.log(Stream::Stdout, name.as_bytes());
        if name.contains("together") {
            let barrier = self.together.lock().unwrap().clone();
            barrier.unwrap().wait();
        }
        if name.starts_with("wait") {
            self.done.lock().unwrap().push(format!("begin {name}"));
            let mut open = self.open.lock().unwrap();
            while !*open && !job.cancel.is_cancelled() {
                let waited = self
                    .opened
                    .wait_timeout(open, std::time::Duration::from_millis(5));
                open = waited.unwrap().0;
            }
            job.cancel.check()?;
        }
        if name.contains("secret") && job.client.secret("known")?.is_none() {
            return Err(WorldError::NotFound("no secret".to_owned()));
        }
        if name.starts_with("panic") {
            panic!("on purpose");
        }
        if name.starts_with("fail") {
            return Err(WorldError::Exit {
                command: name,
                code: 3,
            });
        }
        self.done.lock().unwrap().push(name);
        let mut steps = self.steps.lock().unwrap();
        let step = format!("s{}", steps.len());
        steps.insert(step.clone());
        pieces.push(Piece::Step(step));
        Ok(vec![Tree::Pieces(pieces)])
    }

    fn content(&self, tree: &Tree, selection: &Selection, _: &Job<'_>) -> WorldResult<Digest> {
        let what = match tree {
            Tree::Local(_) => self.content.lock().unwrap().clone(),
            Tree::Pieces(_) => "always the same".to_owned(),
        };
        Ok(crate::graph::digest_of(&(what, selection)))
    }

    fn read_file(&self, _: &Tree, _: &str, _: u64) -> WorldResult<Option<Vec<u8>>> {
        Ok(None)
    }

    fn has(&self, pieces: &[Piece]) -> bool {
        let steps = self.steps.lock().unwrap();
        pieces.iter().all(|piece| match piece {
            Piece::Step(step) => steps.contains(step),
            Piece::Layer(_) => true,
        })
    }

    fn discard(&self, step: &str) {
        self.steps.lock().unwrap().remove(step);
    }

    fn size(&self, _: &str) -> u64 {
        1
    }
}

/// A client that has a secret, or none.
struct Somebody(Option<&'static str>);

impl Client for Somebody {
    fn local(&self, _: &LocalSource, _: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>> {
        Ok(Arc::new(Directory(PathBuf::from("/nowhere"))))
    }

    fn secret(&self, _: &str) -> WorldResult<Option<Vec<u8>>> {
        Ok(self.0.map(|secret| secret.as_bytes().to_vec()))
    }

    fn ssh(&self, _: &str, _: UnixListener) -> WorldResult<Option<Box<dyn Send>>> {
        Ok(None)
    }

    fn credentials(&self, _: &str) -> WorldResult<Option<Login>> {
        Ok(None)
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Watch for Told {
    fn tell(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Told {
    /// How the vertices ended: name, cached, error.
    fn ends(&self) -> Vec<(String, bool, String)> {
        let events = self.0.lock().unwrap();
        let mut ends: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Vertex(state) if state.completed.is_some() => {
                    Some((state.name.clone(), state.cached, state.error.clone()))
                }
                _ => None,
            })
            .collect();
        ends.sort();
        ends
    }

    fn logged(&self, text: &str) -> bool {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .any(|event| matches!(event, Event::Log(log) if log.bytes == text.as_bytes()))
    }
}

struct Subject {
    world: Arc<Fake>,
    solver: Solver,
    _dir: tempfile::TempDir,
}

impl Subject {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = hull_image::Database::open(dir.path().join("db")).unwrap();
        let world = Arc::new(Fake::default());
        let cache = Cache::open(Arc::new(database), "boot").unwrap();
        Self {
            solver: Solver::new(Arc::<Fake>::clone(&world), cache),
            world,
            _dir: dir,
        }
    }

    fn solve(&self, graph: &Arc<Graph>, targets: &[Output]) -> Result<Arc<Told>, SolveError> {
        let (context, told) = context();
        self.solver.solve(graph, targets, &context).map(|_| told)
    }
}

fn context() -> (Context, Arc<Told>) {
    let told = Arc::new(Told::default());
    let context = Context {
        client: Arc::new(Somebody(None)),
        watch: Arc::<Told>::clone(&told),
        cancel: Cancel::new(),
        platform: Platform::host(),
        sources: KnownSources::default(),
    };
    (context, told)
}

fn image(graph: &mut Graph) -> Output {
    let source = ImageSource {
        reference: "docker.io/library/base:latest".to_owned(),
        resolve: ResolveMode::Default,
        layer_limit: 0,
    };
    let op = Op::Source(Source::Image(source));
    graph
        .output(op, Vec::new(), None, Metadata::default())
        .unwrap()
}

fn context_of(graph: &mut Graph) -> Output {
    let source = LocalSource {
        name: "context".to_owned(),
        ..LocalSource::default()
    };
    let op = Op::Source(Source::Local(source));
    graph
        .output(op, Vec::new(), None, Metadata::default())
        .unwrap()
}

fn run_with(graph: &mut Graph, on: Output, command: &str, metadata: Metadata) -> Output {
    let exec = Exec {
        args: vec![command.to_owned()],
        mounts: vec![Mount {
            dest: "/".to_owned(),
            input: Some(0),
            output: Some(0),
            ..Mount::default()
        }],
        ..Exec::default()
    };
    graph
        .output(Op::Exec(Box::new(exec)), vec![on], None, metadata)
        .unwrap()
}

fn run(graph: &mut Graph, on: Output, command: &str) -> Output {
    run_with(graph, on, command, Metadata::default())
}

fn copy(graph: &mut Graph, on: Output, from: Output) -> Output {
    copy_of(graph, on, from, "/a")
}

fn copy_of(graph: &mut Graph, on: Output, from: Output, source: &str) -> Output {
    let copy = CopyFiles {
        source: source.to_owned(),
        dest: "/b".to_owned(),
        ..CopyFiles::default()
    };
    let files = Files {
        actions: vec![Action {
            base: At::Input(0),
            from: At::Input(1),
            output: Some(0),
            change: Change::Copy(Box::new(copy)),
        }],
    };
    graph
        .output(Op::File(files), vec![on, from], None, Metadata::default())
        .unwrap()
}

#[test]
fn only_what_is_needed_is_done_and_only_once() {
    let subject = Subject::new();
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let first = run(&mut graph, base, "first");
    let target = run(&mut graph, first, "second");
    run(&mut graph, base, "unneeded");
    assert_eq!(
        run(&mut graph, first, "second"),
        target,
        "the same is one vertex"
    );
    let graph = Arc::new(graph);
    subject.solve(&graph, &[target]).unwrap();
    let base = "fetch docker-image://docker.io/library/base:latest";
    assert_eq!(subject.world.done(), [base, "first", "second"]);
    let told = subject.solve(&graph, &[target]).unwrap();
    assert!(
        subject.world.done().is_empty(),
        "not even the image is fetched"
    );
    let cached: Vec<bool> = told
        .ends()
        .into_iter()
        .map(|(_, cached, _)| cached)
        .collect();
    assert_eq!(cached, [false, true, true]);
}

#[test]
fn local_files_count_by_content() {
    let subject = Subject::new();
    let build = || {
        let mut graph = Graph::new();
        let base = image(&mut graph);
        let files = context_of(&mut graph);
        let copied = copy(&mut graph, base, files);
        let target = run(&mut graph, copied, "make");
        subject.solve(&Arc::new(graph), &[target]).unwrap();
        subject.world.done().len()
    };
    *subject.world.content.lock().unwrap() = "one".to_owned();
    assert_eq!(build(), 3);
    assert_eq!(build(), 0);
    *subject.world.content.lock().unwrap() = "two".to_owned();
    // The image is known by now, but every build holds it anew.
    assert_eq!(build(), 3);
    *subject.world.content.lock().unwrap() = "one".to_owned();
    assert_eq!(build(), 0);
}

#[test]
fn what_is_copied_from_a_stage_counts_by_content_as_well() {
    let subject = Subject::new();
    let build = |command: &str| {
        let mut graph = Graph::new();
        let base = image(&mut graph);
        let stage = run(&mut graph, base, command);
        let copied = copy(&mut graph, base, stage);
        let target = run(&mut graph, copied, "after");
        subject.solve(&Arc::new(graph), &[target]).unwrap();
        subject.world.done()
    };
    assert_eq!(build("one way").len(), 4);
    let done = build("another way");
    assert!(
        done.contains(&"another way".to_owned()) && done.len() == 2,
        "{done:?}"
    );
    assert!(build("another way").is_empty());
}

#[test]
fn a_step_that_ignores_the_cache_makes_what_follows_anew() {
    let subject = Subject::new();
    let build = |ignore_cache| {
        let mut graph = Graph::new();
        let base = image(&mut graph);
        let metadata = Metadata {
            ignore_cache,
            ..Metadata::default()
        };
        let first = run_with(&mut graph, base, "first", metadata);
        let target = run(&mut graph, first, "second");
        subject.solve(&Arc::new(graph), &[target]).unwrap();
        let mut done = subject.world.done();
        done.retain(|name| !name.starts_with("fetch"));
        done.len()
    };
    assert_eq!((build(false), build(false)), (2, 0));
    assert_eq!((build(true), build(true)), (2, 2));
    assert_eq!(build(false), 0, "and then counts");
}

#[test]
fn independent_steps_are_done_at_the_same_time() {
    let subject = Subject::new();
    *subject.world.together.lock().unwrap() = Some(Arc::new(Barrier::new(3)));
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let targets = [1, 2, 3].map(|number| run(&mut graph, base, &format!("together {number}")));
    // It ends only if all three are at it.
    subject.solve(&Arc::new(graph), &targets).unwrap();
}

#[test]
fn two_builds_share_a_step() {
    let subject = Subject::new();
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let target = run(&mut graph, base, "wait here");
    let graph = Arc::new(graph);
    std::thread::scope(|scope| {
        let builds: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (context, told) = context();
                    subject.solver.solve(&graph, &[target], &context).unwrap();
                    told
                })
            })
            .collect();
        while subject.solver.0.running.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        subject.world.open();
        for build in builds {
            let told = build.join().unwrap();
            let cached = told
                .ends()
                .iter()
                .any(|(name, cached, _)| name == "wait here" && *cached);
            assert!(
                cached || told.logged("wait here"),
                "each hears what it says"
            );
        }
    });
    let done = subject.world.done();
    assert_eq!(
        done.iter().filter(|name| *name == "wait here").count(),
        1,
        "{done:?}"
    );
}

/// A client for whom another build does the same before it is told that nobody has the result.
struct Late {
    solver: Solver,
    graph: Arc<Graph>,
    target: Output,
}

impl Client for Late {
    fn local(&self, source: &LocalSource, job: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>> {
        Somebody(None).local(source, job)
    }

    fn secret(&self, id: &str) -> WorldResult<Option<Vec<u8>>> {
        Somebody(None).secret(id)
    }

    fn ssh(&self, id: &str, listener: UnixListener) -> WorldResult<Option<Box<dyn Send>>> {
        Somebody(None).ssh(id, listener)
    }

    fn credentials(&self, host: &str) -> WorldResult<Option<Login>> {
        Somebody(None).credentials(host)
    }

    fn elsewhere(&self, _: &Digest, _: &Job<'_>) -> Option<PortableResult> {
        let (context, _) = context();
        self.solver
            .solve(&self.graph, &[self.target], &context)
            .unwrap();
        None
    }
}

#[test]
fn a_step_that_another_build_ends_after_the_look_is_not_done_again() {
    let subject = Subject::new();
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let target = run(&mut graph, base, "step");
    let graph = Arc::new(graph);
    let (mut context, told) = context();
    context.client = Arc::new(Late {
        solver: subject.solver.clone(),
        graph: Arc::clone(&graph),
        target,
    });
    subject.solver.solve(&graph, &[target], &context).unwrap();
    let done = subject.world.done();
    assert_eq!(
        done.iter().filter(|name| *name == "step").count(),
        1,
        "{done:?}"
    );
    let ends = told.ends();
    assert!(
        ends.iter()
            .any(|(name, cached, _)| name == "step" && *cached),
        "{ends:?}"
    );
}

#[test]
fn a_step_ends_when_nobody_waits_any_more() {
    let subject = Subject::new();
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let target = run(&mut graph, base, "wait here");
    let graph = Arc::new(graph);
    let solve = |cancel: &Cancel| {
        let (mut context, _) = context();
        context.cancel = cancel.clone();
        subject.solver.solve(&graph, &[target], &context)
    };
    let begun = || {
        subject
            .world
            .done
            .lock()
            .unwrap()
            .contains(&"begin wait here".to_owned())
    };
    let cancels = [Cancel::new(), Cancel::new()];
    std::thread::scope(|scope| {
        let builds = cancels
            .each_ref()
            .map(|cancel| scope.spawn(|| solve(cancel)));
        while !begun() {
            std::thread::yield_now();
        }
        let [first, second] = builds;
        cancels[0].cancel();
        let error = first.join().unwrap().unwrap_err();
        assert!(matches!(*error.source, WorldError::Cancelled), "{error}");
        assert!(!second.is_finished());
        cancels[1].cancel();
        assert!(second.join().unwrap().is_err());
    });
    subject.world.open();
    assert!(solve(&Cancel::new()).is_ok(), "the next one begins anew");
}

#[test]
fn the_first_failure_ends_the_others() {
    let subject = Subject::new();
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let metadata = Metadata::named("[1/2] RUN fail");
    let fails = run_with(&mut graph, base, "fail", metadata);
    let waits = run(&mut graph, base, "wait for ever");
    let (context, told) = context();
    let error = subject
        .solver
        .solve(&Arc::new(graph), &[fails, waits], &context);
    let error = error.unwrap_err();
    assert_eq!(error.name, "[1/2] RUN fail");
    assert_eq!(
        error.to_string(),
        "failed to solve: process \"fail\" did not complete successfully: exit code: 3"
    );
    let failed = told
        .ends()
        .into_iter()
        .find(|(name, ..)| name == "[1/2] RUN fail");
    assert!(failed.is_some_and(|(_, _, error)| error.contains("exit code: 3")));
}

#[test]
fn a_panic_is_a_failure() {
    let subject = Subject::new();
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let target = run(&mut graph, base, "panic");
    let graph = Arc::new(graph);
    assert!(subject.solve(&graph, &[target]).is_err());
    assert!(subject.solver.0.running.lock().unwrap().is_empty());
}

#[test]
fn a_result_whose_files_are_gone_is_made_again() {
    let subject = Subject::new();
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let target = run(&mut graph, base, "first");
    let graph = Arc::new(graph);
    subject.solve(&graph, &[target]).unwrap();
    subject.world.steps.lock().unwrap().clear();
    subject.world.done();
    subject.solve(&graph, &[target]).unwrap();
    assert!(subject.world.done().contains(&"first".to_owned()));
}

#[test]
fn proxies_do_not_change_the_key() {
    let subject = Subject::new();
    let build = |proxy: &str| {
        let mut graph = Graph::new();
        let base = image(&mut graph);
        let exec = Exec {
            args: vec!["get".to_owned()],
            proxy: Some(crate::graph::Proxy {
                http: proxy.to_owned(),
                ..crate::graph::Proxy::default()
            }),
            mounts: vec![Mount {
                dest: "/".to_owned(),
                input: Some(0),
                output: Some(0),
                ..Mount::default()
            }],
            ..Exec::default()
        };
        let op = Op::Exec(Box::new(exec));
        let target = graph
            .output(op, vec![base], None, Metadata::default())
            .unwrap();
        subject.solve(&Arc::new(graph), &[target]).unwrap();
        subject.world.done().len()
    };
    assert_eq!((build("http://a"), build("http://b")), (2, 0));
}

#[test]
fn where_a_hosts_name_leads_does_not_change_the_key() {
    let subject = Subject::new();
    let build = |name: &str, address: [u8; 4]| {
        let mut graph = Graph::new();
        let base = image(&mut graph);
        let Op::Exec(exec) = exec_with(root_mount()) else {
            unreachable!()
        };
        let exec = Exec {
            args: vec!["get".to_owned()],
            extra_hosts: vec![(name.to_owned(), address.into())],
            ..*exec
        };
        let op = Op::Exec(Box::new(exec));
        let target = graph.output(op, vec![base], None, Metadata::default());
        let target = target.unwrap();
        subject.solve(&Arc::new(graph), &[target]).unwrap();
        subject.world.done().len()
    };
    assert_eq!(build("db", [10, 0, 0, 1]), 2);
    assert_eq!(build("db", [10, 0, 0, 2]), 0);
    assert_eq!(
        build("other", [10, 0, 0, 1]),
        2,
        "a name is a part of the step"
    );
}

#[test]
fn a_step_with_a_secret_is_its_own_clients() {
    let subject = Subject::new();
    // It ends only if both are at it.
    *subject.world.together.lock().unwrap() = Some(Arc::new(Barrier::new(2)));
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let Op::Exec(exec) = exec_with(root_mount()) else {
        unreachable!()
    };
    let exec = Exec {
        args: vec!["together secret".to_owned()],
        secret_env: vec![crate::graph::SecretEnv {
            id: "known".to_owned(),
            name: "SECRET".to_owned(),
            optional: false,
        }],
        ..*exec
    };
    let op = Op::Exec(Box::new(exec));
    let target = graph.output(op, vec![base], None, Metadata::default());
    let (graph, target) = (Arc::new(graph), target.unwrap());
    let solve = |secret| {
        let (mut context, _) = context();
        context.client = Arc::new(Somebody(secret));
        subject.solver.solve(&graph, &[target], &context)
    };
    std::thread::scope(|scope| {
        let without = scope.spawn(|| solve(None));
        let with = scope.spawn(|| solve(Some("hush")));
        let error = without.join().unwrap().unwrap_err();
        assert_eq!(error.source.to_string(), "no secret");
        assert!(
            with.join().unwrap().is_ok(),
            "another's lack is not its own"
        );
    });
}

#[test]
fn what_two_builds_make_at_once_is_kept_once() {
    let subject = Subject::new();
    *subject.world.together.lock().unwrap() = Some(Arc::new(Barrier::new(2)));
    let solve = |stage: &str| {
        let mut graph = Graph::new();
        let base = image(&mut graph);
        let from = run(&mut graph, base, stage);
        // The stages differ, what is copied does not.
        let target = copy_of(&mut graph, base, from, "/together");
        let (context, _) = context();
        let solved = subject.solver.solve(&Arc::new(graph), &[target], &context);
        solved.unwrap().remove(0)
    };
    std::thread::scope(|scope| {
        let one = scope.spawn(|| solve("one"));
        let two = scope.spawn(|| solve("two"));
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        assert_eq!(one.id, two.id);
        let steps = |solution: &super::Solution| format!("{:?}", solution.tree);
        assert_eq!(steps(&one), steps(&two));
    });
    let steps = subject.world.steps.lock().unwrap();
    assert_eq!(steps.len(), 3, "two stages and a copy");
    assert!(steps.iter().all(|step| subject.solver.cache().names(step)));
}

#[test]
fn an_image_is_what_it_was_when_it_was_looked_up() {
    let subject = Subject::new();
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let target = run(&mut graph, base, "first");
    let (context, _) = context();
    let found = ResolvedImage {
        reference: "docker.io/library/base:latest".to_owned(),
        digest: None,
        id: crate::graph::digest_of(&"id"),
        config: Vec::new(),
        content: Some("earlier".to_owned()),
        keep: Some(crate::world::Keep::new(Arc::clone(&subject.world))),
    };
    context.sources.found(&found, &context.platform);
    drop(found);
    let users = Arc::strong_count(&subject.world);
    let solved = subject.solver.solve(&Arc::new(graph), &[target], &context);
    let fetched = "fetch docker-image://docker.io/library/base:latest as earlier";
    assert_eq!(subject.world.done(), [fetched, "first"]);
    assert_eq!(Arc::strong_count(&subject.world), users, "it is kept");
    drop((solved, context));
    assert!(Arc::strong_count(&subject.world) < users, "until the end");
}

fn root_mount() -> Mount {
    Mount {
        dest: "/".to_owned(),
        input: Some(0),
        output: Some(0),
        ..Mount::default()
    }
}

fn exec_with(mount: Mount) -> Op {
    Op::Exec(Box::new(Exec {
        mounts: vec![mount],
        ..Exec::default()
    }))
}

fn removal(base: At, output: Option<usize>) -> Op {
    Op::File(Files {
        actions: vec![Action {
            base,
            from: At::Empty,
            output,
            change: Change::Remove(crate::graph::Remove::default()),
        }],
    })
}

#[test]
fn graphs_that_make_no_sense_are_refused() {
    let mut graph = Graph::new();
    let base = image(&mut graph);
    let beyond = Output { index: 1, ..base };
    let root = Mount {
        dest: "/".to_owned(),
        input: Some(0),
        output: Some(0),
        ..Mount::default()
    };
    for (op, inputs) in [
        (exec_with(root.clone()), vec![]),
        (exec_with(root.clone()), vec![beyond]),
        (
            exec_with(Mount {
                output: Some(1),
                ..root.clone()
            }),
            vec![base],
        ),
        (
            exec_with(Mount {
                dest: "x".to_owned(),
                ..root.clone()
            }),
            vec![base],
        ),
        (
            exec_with(Mount {
                dest: "/x".to_owned(),
                ..root
            }),
            vec![base],
        ),
        (removal(At::Action(0), Some(0)), vec![base]),
        (removal(At::Input(1), Some(0)), vec![base]),
        (removal(At::Input(0), None), vec![base]),
        (Op::Merge { inputs: vec![3] }, vec![base]),
        (
            Op::Diff {
                lower: None,
                upper: Some(1),
            },
            vec![base],
        ),
    ] {
        let added = graph.add(op.clone(), inputs, None, Metadata::default());
        assert!(added.is_err(), "{op:?}");
    }
}

#[test]
fn steps_have_what_their_client_allows_only() {
    let subject = Subject::new();
    let wanted = [
        (NetworkMode::Host, SecurityMode::Sandbox, "network.host"),
        (
            NetworkMode::None,
            SecurityMode::Insecure,
            "security.insecure",
        ),
    ];
    for (network, security, name) in wanted {
        let mut graph = Graph::default();
        let base = image(&mut graph);
        let exec = Exec {
            args: vec!["step".to_owned()],
            network,
            security,
            mounts: vec![Mount {
                dest: "/".to_owned(),
                input: Some(0),
                output: Some(0),
                ..Mount::default()
            }],
            ..Exec::default()
        };
        let op = Op::Exec(Box::new(exec));
        let step = graph.output(op, vec![base], None, Metadata::default());
        let graph = Arc::new(graph);
        let refused = subject
            .solve(&graph, &[step.unwrap()])
            .err()
            .expect("it is refused");
        assert_eq!(refused.source.to_string(), format!("{name} is not allowed"));
        // What is not needed asks nobody.
        subject.solve(&graph, &[base]).unwrap();
    }
}
