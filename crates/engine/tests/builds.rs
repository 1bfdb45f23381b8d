//! Builds with the real shim and the real runtime, from an image made here. Needs root; without the programs
//! beside the test it says so and passes.
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::too_many_lines,
    dead_code,
    reason = "a test is a story, and fails by panicking; the host is shared with other tests"
)]

#[path = "builds/fetching.rs"]
mod fetching;
mod host;
#[path = "builds/sources.rs"]
mod sources;

use host::{Host, config, strings};
use hull_engine::build::Attested;
use hull_engine::build::attest::Attestation;
use hull_engine::build::graph::{
    Account, Action, Change, ClientFile, CopyFiles, Exec, Files, Graph, ImageSource, LocalSource,
    MakeDir, MakeFile, Metadata, Mode, Mount, MountKind, NetworkMode, Op, Output, Owner, Remove,
    ResolveMode, SecretEnv, Sharing, Source, Symlink, Tree,
};
use hull_engine::build::progress::{Event, Watch};
use hull_engine::build::solve::{Context, KnownSources, Solution, SolveError};
use hull_engine::build::world::{
    Cancel, Client, Directory, Job, LocalFiles, Login, WorldError, WorldResult,
};
use hull_engine::{Engine, Platform};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A client with a context, a secret and an agent that says hello.
struct Someone(PathBuf);

impl Client for Someone {
    fn local(&self, _: &LocalSource, _: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>> {
        Ok(Arc::new(Directory(self.0.clone())))
    }

    fn secret(&self, id: &str) -> WorldResult<Option<Vec<u8>>> {
        Ok((id == "known").then(|| b"hush".to_vec()))
    }

    fn ssh(&self, _: &str, listener: UnixListener) -> WorldResult<Option<Box<dyn Send>>> {
        let thread = std::thread::spawn(move || {
            if let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.write_all(b"from the agent\n");
            }
        });
        Ok(Some(Box::new(thread)))
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
    fn output(&self) -> String {
        let events = self.0.lock().unwrap();
        let bytes = events.iter().filter_map(|event| match event {
            Event::Log(log) => Some(log.bytes.clone()),
            _ => None,
        });
        String::from_utf8_lossy(&bytes.flatten().collect::<Vec<u8>>()).into_owned()
    }

    /// How many vertices came from the cache, and how many did not.
    fn counts(&self) -> (usize, usize) {
        let events = self.0.lock().unwrap();
        let mut ends: Vec<(String, bool)> = events
            .iter()
            .filter_map(|event| match event {
                Event::Vertex(state) if state.completed.is_some() && !state.inputs.is_empty() => {
                    Some((state.digest.to_string(), state.cached))
                }
                _ => None,
            })
            .collect();
        ends.sort();
        ends.dedup();
        let cached = ends.iter().filter(|(_, cached)| *cached).count();
        (cached, ends.len() - cached)
    }
}

/// A graph under construction, and the client whose context it uses.
struct Build {
    graph: Graph,
    context: PathBuf,
    cancel: Cancel,
}

impl Build {
    fn new(context: &Path) -> Self {
        Self {
            graph: Graph::new(),
            context: context.to_owned(),
            cancel: Cancel::new(),
        }
    }

    fn op(&mut self, op: Op, inputs: Vec<Output>) -> Output {
        self.graph
            .output(op, inputs, None, Metadata::default())
            .unwrap()
    }

    fn image(&mut self) -> Output {
        let source = ImageSource {
            reference: "docker.io/library/test:latest".to_owned(),
            resolve: ResolveMode::Default,
            layer_limit: 0,
        };
        self.op(Op::Source(Source::Image(source)), Vec::new())
    }

    fn files(&mut self) -> Output {
        let source = LocalSource {
            name: "context".to_owned(),
            ..LocalSource::default()
        };
        self.op(Op::Source(Source::Local(source)), Vec::new())
    }

    fn exec(&mut self, on: Output, script: &str, mounts: Vec<Mount>, more: Vec<Output>) -> Output {
        let root = Mount {
            dest: "/".to_owned(),
            input: Some(0),
            output: Some(0),
            ..Mount::default()
        };
        let exec = Exec {
            args: strings(&["/bin/sh", "-c", script]),
            env: strings(&["PATH=/bin"]),
            cwd: "/".to_owned(),
            network: NetworkMode::None,
            mounts: [vec![root], mounts].concat(),
            secret_env: vec![SecretEnv {
                id: "known".to_owned(),
                name: "SECRET".to_owned(),
                optional: false,
            }],
            ..Exec::default()
        };
        self.op(Op::Exec(Box::new(exec)), [vec![on], more].concat())
    }

    fn run(&mut self, on: Output, script: &str) -> Output {
        self.exec(on, script, Vec::new(), Vec::new())
    }

    fn change(&mut self, on: Output, change: Change) -> Output {
        let action = Action {
            base: Tree::Input(0),
            from: Tree::Empty,
            output: Some(0),
            change,
        };
        let op = Op::File(Files {
            actions: vec![action],
        });
        self.op(op, vec![on])
    }

    fn copy(&mut self, on: Output, from: Output, copy: CopyFiles) -> Output {
        let action = Action {
            base: Tree::Input(0),
            from: Tree::Input(1),
            output: Some(0),
            change: Change::Copy(Box::new(copy)),
        };
        let op = Op::File(Files {
            actions: vec![action],
        });
        self.op(op, vec![on, from])
    }

    fn solve(
        self,
        engine: &Arc<Engine>,
        target: Output,
    ) -> (Result<Solution, SolveError>, Arc<Told>) {
        let told = Arc::new(Told::default());
        let context = Context {
            client: Arc::new(Someone(self.context)),
            watch: Arc::<Told>::clone(&told),
            cancel: self.cancel,
            platform: Platform::host(),
            sources: KnownSources::default(),
        };
        let solved = engine
            .solver()
            .solve(&Arc::new(self.graph), &[target], &context);
        (solved.map(|mut all| all.remove(0)), told)
    }
}

fn copy(source: &str, dest: &str) -> CopyFiles {
    CopyFiles {
        source: source.to_owned(),
        dest: dest.to_owned(),
        follow_symlink: true,
        contents: true,
        create_dest: true,
        wildcard: true,
        ..CopyFiles::default()
    }
}

/// Does blocking work with the engine, as the daemon does.
fn with<T: Send + 'static>(host: &Host, work: impl FnOnce(Arc<Engine>) -> T + Send + 'static) -> T {
    host.block_on(async |engine| {
        tokio::task::spawn_blocking(move || work(engine))
            .await
            .unwrap()
    })
}

/// A tree's files as an archive.
fn packed(engine: &Engine, solution: &Solution) -> Vec<u8> {
    let mut bytes = Vec::new();
    let files = engine.loose_files(Some(solution), hull_engine::build::Attested::default());
    engine.export_tar(&files.unwrap(), &mut bytes).unwrap();
    bytes
}

/// What is attested lies beside the files, for root alone, and a file of its name is no subject.
fn says_what_was_built(engine: &Engine, solution: &Solution) {
    let attestation = Attestation {
        predicate_type: "https://example.org/kind".to_owned(),
        predicate: serde_json::Value::Null,
    };
    let cancel = Cancel::new();
    let attested = Attested {
        attestations: &[attestation],
        prefix: "",
        cancel: Some(&cancel),
    };
    let files = engine.loose_files(Some(solution), attested).unwrap();
    let root = files.root().unwrap();
    let root = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o7777;
    let told = root.join("provenance.json");
    assert_eq!((mode(&root), mode(&told)), (0o755, 0o600));
    let told = fs_err::read_to_string(told).unwrap();
    assert!(
        told.contains("\"one\"") && !told.contains("provenance.json"),
        "{told}"
    );
    drop(files);
    cancel.cancel();
    assert!(engine.loose_files(Some(solution), attested).is_err());
}

/// The names of a tree's files, with mode, owner, size or link.
fn list(engine: &Engine, solution: &Solution) -> Vec<String> {
    let bytes = packed(engine, solution);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let header = entry.header();
        let link = entry
            .link_name_bytes()
            .map(|link| String::from_utf8_lossy(&link).into_owned());
        format!(
            "{} {:o} {}:{} {}",
            entry.path().unwrap().display(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            link.unwrap_or_else(|| entry.size().to_string())
        )
    });
    let mut all: Vec<String> = entries.collect();
    all.sort();
    all
}

fn read(engine: &Engine, solution: &Solution, name: &str) -> String {
    let bytes = packed(engine, solution);
    let mut archive = tar::Archive::new(bytes.as_slice());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().to_string_lossy() == name {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            return text;
        }
    }
    panic!("there is no {name}")
}

fn context_dir(host: &Host) -> PathBuf {
    let dir = host.path("context");
    fs_err::create_dir_all(dir.join("d/e")).unwrap();
    fs_err::write(dir.join("a.txt"), "a").unwrap();
    fs_err::write(dir.join("b.txt"), "bb").unwrap();
    fs_err::write(dir.join("d/c"), "ccc").unwrap();
    fs_err::write(dir.join("d/e/f"), "dddd").unwrap();
    std::os::unix::fs::symlink("../../../../../etc/passwd", dir.join("out")).unwrap();
    fs_err::set_permissions(dir.join("b.txt"), std::fs::Permissions::from_mode(0o600)).unwrap();
    dir
}

#[test]
fn steps_run_above_one_another_and_become_an_image() {
    let Some(mut host) = Host::new() else { return };
    let context = context_dir(&host);
    let build = move |engine: &Arc<Engine>| {
        let mut build = Build::new(&context);
        let base = build.image();
        let files = build.files();
        let first = build.run(
            base,
            "echo one > /one; echo own > /provenance.json; rm /home/greeting; echo told; echo $SECRET >&2",
        );
        let copied = build.copy(first, files, copy("/d", "/copied/"));
        let last = build.run(copied, "cat /one /copied/c > /two; echo made >> /one");
        let (solved, told) = build.solve(engine, last);
        (solved.unwrap(), told)
    };
    let again = build.clone();
    let id = with(&host, move |engine| {
        let (solved, told) = build(&engine);
        assert_eq!(told.counts(), (0, 3));
        assert_eq!(told.output(), "told\nhush\n");
        assert_eq!(read(&engine, &solved, "two"), "one\nccc");
        assert_eq!(read(&engine, &solved, "one"), "one\nmade\n");
        let names = list(&engine, &solved).join("\n");
        assert!(
            !names.contains("greeting") && !names.contains("dockerenv"),
            "{names}"
        );
        assert!(
            !names.contains("resolv.conf") && !names.contains("etc/hosts"),
            "{names}"
        );
        says_what_was_built(&engine, &solved);
        let config = br#"{"architecture":"amd64","os":"linux","config":{"Cmd":["cat","/two"],"Env":["PATH=/bin"]},
            "history":[{"created_by":"base"},{"created_by":"RUN 1"},{"created_by":"COPY"},{"created_by":"RUN 2"}]}"#;
        let name = ["built:latest".parse().unwrap()];
        let made = engine
            .export_image(Some(&solved), config, &name, None)
            .unwrap();
        let same = engine
            .export_image(Some(&solved), config, &name, None)
            .unwrap();
        assert_eq!(made.id, same.id, "all of it is known by now");
        made.id.to_string()
    });
    host.block_on(async |engine| {
        let steps = engine.image_history("built", None).await.unwrap();
        assert_eq!((steps.len(), steps[0].id.as_str()), (4, id.as_str()));
        let config = hull_engine::container::Config {
            image: "built".to_owned(),
            auto_remove: true,
            ..config()
        };
        let created = engine.create(None, config).await.unwrap();
        engine.start(&created.id).await.unwrap();
        let condition = hull_engine::container::WaitCondition::Removed;
        if let Ok(waiting) = engine.wait(&created.id, condition).await {
            let _ = waiting.await;
        }
        engine.solver().cache().flush().unwrap();
    });
    // What was built is known after a restart.
    host.stop();
    host.start();
    with(&host, move |engine| {
        let (solved, told) = again(&engine);
        assert_eq!(told.counts(), (3, 0));
        drop(solved);
        let records = engine.solver().cache().records();
        let ids: Vec<String> = records.into_iter().map(|record| record.entry.id).collect();
        let removed = engine.solver().cache().remove(&ids);
        assert_eq!(removed.steps.len(), 3);
        for step in removed.steps {
            engine.solver().world().discard(&step);
        }
    });
}

#[test]
fn copies_are_what_dockerfiles_mean() {
    let Some(host) = Host::new() else { return };
    let context = context_dir(&host);
    with(&host, move |engine| {
        let solve = |make: &dyn Fn(&mut Build, Output, Output) -> Output| {
            let mut build = Build::new(&context);
            let files = build.files();
            let empty = build.op(Op::Merge { inputs: Vec::new() }, Vec::new());
            let target = make(&mut build, empty, files);
            let (solved, _) = build.solve(&engine, target);
            solved
                .map(|solved| list(&engine, &solved))
                .map_err(|error| error.source.to_string())
        };
        let one =
            |wanted: CopyFiles| solve(&|build, on, from| build.copy(on, from, wanted.clone()));
        // A file to a name, into a directory, and as a name with a slash.
        assert_eq!(one(copy("/a.txt", "/x")).unwrap(), ["x 644 0:0 1"]);
        assert_eq!(
            one(copy("/a.txt", "/x/")).unwrap(),
            ["x/ 755 0:0 0", "x/a.txt 644 0:0 1"]
        );
        // What is in a directory, not the directory.
        assert_eq!(
            one(copy("/d", "/x")).unwrap(),
            [
                "x/ 755 0:0 0",
                "x/c 644 0:0 3",
                "x/e/ 755 0:0 0",
                "x/e/f 644 0:0 4"
            ]
        );
        let whole = CopyFiles {
            contents: false,
            ..copy("/d", "/x/")
        };
        assert_eq!(
            one(whole).unwrap(),
            [
                "x/ 755 0:0 0",
                "x/d/ 755 0:0 0",
                "x/d/c 644 0:0 3",
                "x/d/e/ 755 0:0 0",
                "x/d/e/f 644 0:0 4"
            ]
        );
        assert_eq!(
            one(copy("/?.txt", "/")).unwrap(),
            ["a.txt 644 0:0 1", "b.txt 600 0:0 2"]
        );
        // Owners and modes, also of what is made on the way.
        let looks = CopyFiles {
            owner: Some(Owner {
                user: Some(Account::Id(5)),
                group: None,
            }),
            mode: Some(Mode::Words("u=rwX,go=".to_owned())),
            ..copy("/d/e", "/new/x")
        };
        assert_eq!(
            one(looks).unwrap(),
            ["new/ 755 5:5 0", "new/x/ 755 5:5 0", "new/x/f 600 5:5 4"]
        );
        let patterns = CopyFiles {
            exclude: strings(&["**/f", "*.txt", "!b.txt", "out"]),
            ..copy("/", "/")
        };
        assert_eq!(
            one(patterns).unwrap(),
            [
                "b.txt 600 0:0 2",
                "d/ 755 0:0 0",
                "d/c 644 0:0 3",
                "d/e/ 755 0:0 0"
            ]
        );
        // A link is followed inside of the context only: there is no such file.
        assert_eq!(one(copy("/out", "/x")).unwrap_err(), "\"/out\": not found");
        assert_eq!(
            one(copy("/missing", "/x")).unwrap_err(),
            "\"/missing\": not found"
        );
        assert_eq!(
            one(copy("/*.zip", "/x")).unwrap_err(),
            "\"/*.zip\": not found"
        );
        // Links in the destination end inside of it.
        let through = solve(&|build, on, from| {
            let link = Symlink {
                target: "/../../../var".to_owned(),
                path: "/l".to_owned(),
                ..Symlink::default()
            };
            let linked = build.change(on, Change::Symlink(link));
            build.copy(linked, from, copy("/a.txt", "/l/x"))
        });
        assert_eq!(
            through.unwrap(),
            [
                "l 777 0:0 /../../../var",
                "var/ 755 0:0 0",
                "var/x 644 0:0 1"
            ]
        );
        // The other changes.
        let changed = solve(&|build, on, from| {
            let dir = MakeDir {
                path: "/w/o/rk".to_owned(),
                mode: 0o750,
                parents: true,
                ..MakeDir::default()
            };
            let made = build.change(on, Change::MakeDir(dir));
            let file = MakeFile {
                path: "/w/f".to_owned(),
                mode: 0o640,
                data: b"12345".to_vec(),
                ..MakeFile::default()
            };
            let written = build.change(made, Change::MakeFile(file));
            let copied = build.copy(written, from, copy("/", "/w/o"));
            let gone = Remove {
                path: "/w/o/*".to_owned(),
                wildcard: true,
                allow_missing: false,
            };
            build.change(copied, Change::Remove(gone))
        });
        assert_eq!(
            changed.unwrap(),
            ["w/ 750 0:0 0", "w/f 640 0:0 5", "w/o/ 750 0:0 0"]
        );
        // A directory is not replaced by a file, nor a file by a directory.
        let clash = solve(&|build, on, from| {
            let dir = build.copy(on, from, copy("/d", "/x/a.txt"));
            build.copy(dir, from, copy("/a.txt", "/x/"))
        });
        assert!(clash.unwrap_err().contains("cannot replace to directory"));
    });
}

#[test]
fn a_step_sees_mounts_that_are_not_in_its_layer() {
    let Some(host) = Host::new() else { return };
    let context = context_dir(&host);
    with(&host, move |engine| {
        let solve = |script: &str| {
            let mut build = Build::new(&context);
            let base = build.image();
            let files = build.files();
            let stage = build.run(base, "echo staged > /staged");
            let linked = build.run(base, "ln -s run /linked");
            let mount = |dest: &str, kind| Mount {
                dest: dest.to_owned(),
                kind,
                ..Mount::default()
            };
            let file = |id: &str, mode| ClientFile {
                id: id.to_owned(),
                uid: 1000,
                gid: 50,
                mode,
                optional: id == "unknown",
            };
            let bind = |dest: &str, input, selector: &str, readonly| Mount {
                input: Some(input),
                selector: selector.to_owned(),
                readonly,
                ..mount(dest, MountKind::Bind)
            };
            let cache = MountKind::Cache {
                id: "cache".to_owned(),
                sharing: Sharing::Locked,
            };
            let mounts = vec![
                bind("/context", 1, "/d", true),
                bind("/stage", 2, "", true),
                bind("/scratch", 2, "", false),
                mount("/var/cache/it", cache.clone()),
                // One step has one turn at a cache.
                mount("/var/cache/again", cache),
                mount(
                    "/linked/deep/known",
                    MountKind::Secret(file("known", 0o440)),
                ),
                mount("/memory", MountKind::Tmpfs { size: 1 << 20 }),
                mount(
                    "/run/secrets/known",
                    MountKind::Secret(file("known", 0o440)),
                ),
                mount(
                    "/run/secrets/none",
                    MountKind::Secret(file("unknown", 0o400)),
                ),
                mount("/run/agent", MountKind::Ssh(file("default", 0o600))),
            ];
            let target = build.exec(linked, script, mounts, vec![files, stage]);
            let (solved, told) = build.solve(&engine, target);
            (solved, told.output())
        };
        let script = "set -e; cat /context/c /stage/staged /run/secrets/known; echo; \
            ! touch /context/x 2>/dev/null; ! touch /stage/x 2>/dev/null; touch /scratch/x; \
            ls -ln /run/secrets/known | awk '{ print $1, $3, $4 }'; ls /run/secrets; \
            echo x >> /var/cache/it/count; wc -l < /var/cache/again/count; cmp /run/secrets/known /run/deep/known; \
            df /memory | tail -n 1 | awk '{ print $1 }'; ls -l /run/agent | head -c 1; echo; true";
        let (solved, said) = solve(script);
        let expected = "cccstaged\nhush\n-r--r----- 1000 50\nknown\n1\ntmpfs\ns\n";
        assert_eq!(said, expected, "{:?}", solved.map(|_| ()));
        let (solved, said) = solve(&format!("{script}; echo again"));
        assert!(said.contains("\n2\ntmpfs\n"), "a cache stays: {said}");
        let names = list(&engine, &solved.unwrap());
        let seen: Vec<&String> = names
            .iter()
            .filter(|name| {
                let stubs = ["context", "stage", "scratch", "var", "memory", "run"];
                stubs.iter().any(|stub| name.starts_with(stub))
            })
            .collect();
        assert!(seen.is_empty(), "{seen:?}");
    });
}

#[test]
fn steps_that_use_a_new_cache_at_once_have_one() {
    let Some(host) = Host::new() else { return };
    let context = context_dir(&host);
    with(&host, move |engine| {
        let mut build = Build::new(&context);
        let base = build.image();
        let cache = |dest: &str, id: &str, sharing| Mount {
            dest: dest.to_owned(),
            kind: MountKind::Cache {
                id: id.to_owned(),
                sharing,
            },
            ..Mount::default()
        };
        // Each ends when it sees the other.
        let steps = [["1", "2"], ["2", "1"]].map(|[own, other]| {
            let script = format!(
                "touch /c/{own}; i=0; until [ -e /c/{other} ]; do i=$((i+1)); [ $i -lt 30000 ]; sleep 0.01; done"
            );
            let script = format!("set -e; {script}; touch /saw{other}");
            let mounts = vec![cache("/c", "shared", Sharing::Shared)];
            build.exec(base, &script, mounts, Vec::new())
        });
        // Names in another order are no way to wait for one another.
        let more = [["a", "b"], ["b", "a"]].map(|[one, two]| {
            let locked = |dest, id| cache(dest, id, Sharing::Locked);
            let mounts = vec![locked("/one", one), locked("/two", two)];
            build.exec(base, &format!("touch /{one}-{two}"), mounts, Vec::new())
        });
        let mut target = base;
        for from in [steps, more].concat() {
            target = build.copy(target, from, copy("/", "/all/"));
        }
        let (solved, told) = build.solve(&engine, target);
        let names = list(&engine, &solved.expect("all of them end")).join("\n");
        for name in ["saw1", "saw2", "a-b", "b-a"] {
            assert!(names.contains(name), "{names} {}", told.output());
        }
    });
}

#[test]
fn an_image_that_goes_while_it_is_built_upon_is_there_until_the_end() {
    let Some(host) = Host::new() else { return };
    let context = context_dir(&host);
    host.block_on(async |engine| {
        let inside = Arc::clone(&engine);
        let found = tokio::task::spawn_blocking(move || {
            let mut build = Build::new(&context);
            let base = build.image();
            let target = build.run(base, "test -e /bin/busybox && touch /there");
            let told = Arc::new(Told::default());
            let context = Context {
                client: Arc::new(Someone(build.context)),
                watch: Arc::<Told>::clone(&told),
                cancel: build.cancel,
                platform: Platform::host(),
                sources: KnownSources::default(),
            };
            let Op::Source(Source::Image(image)) = &build.graph.vertex(base.vertex).op else {
                unreachable!()
            };
            let job = Job {
                vertex: &build.graph.vertex(base.vertex).digest.clone(),
                client: &*context.client,
                watch: &*context.watch,
                cancel: &context.cancel,
            };
            let solver = inside.solver();
            let found = solver.world().resolve_image(image, &context.platform, &job);
            context.sources.found(&found.unwrap(), &context.platform);
            (build.graph, target, context)
        });
        let (graph, target, context) = found.await.unwrap();
        let force = hull_engine::image::RemoveOptions {
            force: true,
            ..hull_engine::image::RemoveOptions::default()
        };
        engine.image_remove("test", force).await.unwrap();
        let inside = Arc::clone(&engine);
        let solved = tokio::task::spawn_blocking(move || {
            let solved = inside.solver().solve(&Arc::new(graph), &[target], &context);
            solved.map(|all| list(&inside, &all[0]))
        });
        let names = solved.await.unwrap().unwrap().join("\n");
        assert!(names.contains("there"), "{names}");
    });
}

#[test]
fn a_program_of_another_platform_is_told_from_a_broken_one() {
    let Some(host) = Host::new() else { return };
    let inside = context_dir(&host);
    with(&host, move |engine| {
        let mut build = Build::new(&inside);
        let base = build.image();
        let made = build.run(base, "printf '\\177NONE' > /foreign; chmod 755 /foreign");
        let root = Mount {
            dest: "/".to_owned(),
            input: Some(0),
            output: Some(0),
            ..Mount::default()
        };
        let exec = Exec {
            args: strings(&["/foreign"]),
            cwd: "/".to_owned(),
            network: NetworkMode::None,
            mounts: vec![root],
            ..Exec::default()
        };
        let op = Op::Exec(Box::new(exec));
        let foreign = "linux/s390x".parse::<Platform>().ok();
        let target = build
            .graph
            .output(op, vec![made], foreign, Metadata::default());
        let (solved, told) = build.solve(&engine, target.unwrap());
        assert!(solved.is_err());
        let said = told.output();
        assert!(
            said.contains("for linux/s390x") && said.contains("binfmt_misc"),
            "{said}"
        );
    });
}

#[test]
fn a_step_that_fails_or_is_cancelled_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    let context = context_dir(&host);
    let inside = context.clone();
    with(&host, move |engine| {
        let mut build = Build::new(&inside);
        let base = build.image();
        let target = build.run(base, "echo before; exit 7");
        let (solved, told) = build.solve(&engine, target);
        let error = solved.unwrap_err();
        assert!(
            matches!(*error.source, WorldError::Exit { code: 7, .. }),
            "{error}"
        );
        assert_eq!(told.output(), "before\n");
        let mut build = Build::new(&inside);
        let base = build.image();
        let target = build.run(base, "echo running; sleep 1000");
        let cancel = build.cancel.clone();
        let told = Arc::new(Told::default());
        let context = Context {
            client: Arc::new(Someone(inside.clone())),
            watch: Arc::<Told>::clone(&told),
            cancel: cancel.clone(),
            platform: Platform::host(),
            sources: KnownSources::default(),
        };
        let graph = Arc::new(build.graph);
        let solver = engine.solver();
        std::thread::scope(|scope| {
            let solving = scope.spawn(|| solver.solve(&graph, &[target], &context));
            while !told.output().contains("running") {
                std::thread::yield_now();
            }
            cancel.cancel();
            assert!(solving.join().unwrap().is_err());
        });
    });
    host.block_on(async |engine| engine.close());
    // What was written goes in the background.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let left = || {
        let directories = ["run/containers", "data/containers", "data/snapshots"];
        let mut all = directories
            .iter()
            .map(|name| fs_err::read_dir(host.path(name)).unwrap());
        all.any(|mut entries| entries.next().is_some())
    };
    while left() {
        assert!(std::time::Instant::now() < deadline, "something is left");
        std::thread::yield_now();
    }
    host.assert_nothing_left();
}
