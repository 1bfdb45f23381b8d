use super::*;
use hull_engine::build::graph::{
    Account, Action, Change, ClientFile, CopyFiles, Differ, Exec, Files, GitSource, HttpSource,
    ImageSource, LocalSource, MakeDir, MakeFile, Mode, Mount, MountKind, NetworkMode,
    OciLayoutSource, Owner, Proxy, Remove, ResolveMode, SecretEnv, SecurityMode, Sharing, Source,
    Symlink, Tree,
};
use proptest::prelude::*;
use std::sync::Arc;
use tonic::Code;

fn text(text: &str) -> String {
    text.to_owned()
}

fn image() -> Source {
    Source::Image(ImageSource {
        reference: text("docker.io/library/busybox:latest"),
        resolve: ResolveMode::PreferLocal,
        layer_limit: 2,
    })
}

fn local() -> Source {
    Source::Local(LocalSource {
        name: text("context"),
        session: text("another"),
        include: vec![text("a\"b")],
        exclude: vec![text("c")],
        follow: vec![text("d")],
        shared_key_hint: text("hint"),
        differ: Differ::None,
        metadata_only: true,
        metadata_except: vec![text("e")],
    })
}

fn sources() -> Vec<Source> {
    let git = |remote: &str, reference: &str, subdir: &str| {
        Source::Git(GitSource {
            remote: text(remote),
            reference: text(reference),
            subdir: text(subdir),
            keep_git_dir: true,
            checksum: text("abc"),
            ssh: text("default"),
            ..GitSource::default()
        })
    };
    let http = HttpSource {
        url: text("https://example.test/file"),
        checksum: Some(Digest::from_sha256(&[1; 32])),
        filename: text("f"),
        mode: Some(0o640),
        uid: 1,
        gid: 2,
        auth_header_secret: text("s"),
    };
    vec![
        image(),
        local(),
        git("https://example.test/a.git", "v1", "sub/dir"),
        git("git@example.test:a.git", "", ""),
        git("ssh://git@example.test/a.git", "", "d"),
        Source::Http(http),
        Source::OciLayout(OciLayoutSource {
            reference: format!("name@{}", Digest::from_sha256(&[2; 32])),
            store: text("store"),
            session: text("s"),
            layer_limit: 1,
        }),
    ]
}

fn mounts() -> Vec<Mount> {
    let file = ClientFile {
        id: text("id"),
        uid: 1,
        gid: 2,
        mode: 0o400,
        optional: true,
    };
    let mount = |dest: &str, kind| Mount {
        dest: text(dest),
        kind,
        ..Mount::default()
    };
    let cache = MountKind::Cache {
        id: text("c"),
        sharing: Sharing::Locked,
    };
    vec![
        Mount {
            input: Some(0),
            output: Some(0),
            ..mount("/", MountKind::Bind)
        },
        Mount {
            input: Some(1),
            selector: text("/part"),
            readonly: true,
            content_cache: Some(false),
            ..mount("/context", MountKind::Bind)
        },
        Mount {
            output: Some(1),
            ..mount("/out", MountKind::Bind)
        },
        mount("/cache", cache),
        mount("/tmp", MountKind::Tmpfs { size: 5 }),
        mount("/secret", MountKind::Secret(file.clone())),
        mount("/ssh", MountKind::Ssh(file)),
    ]
}

fn exec() -> Exec {
    Exec {
        args: vec![text("sh"), text("-c"), text("true")],
        env: vec![text("A=b")],
        cwd: text("/work"),
        user: text("1:2"),
        proxy: Some(Proxy {
            http: text("http://proxy"),
            ..Proxy::default()
        }),
        extra_hosts: vec![(text("h"), [127, 0, 0, 1].into())],
        hostname: text("name"),
        ulimits: vec![(text("nofile"), 1, -1)],
        cgroup_parent: text("/p"),
        remove_stubs_recursively: true,
        valid_exit_codes: vec![0, 3],
        mounts: mounts(),
        network: NetworkMode::None,
        security: SecurityMode::Insecure,
        secret_env: vec![SecretEnv {
            id: text("s"),
            name: text("S"),
            optional: true,
        }],
        devices: vec![(text("v.example/d=1"), true)],
    }
}

fn copy(mode: Mode) -> Change {
    let owner = Owner {
        user: Some(Account::Name {
            name: text("me"),
            tree: Tree::Action(0),
        }),
        group: Some(Account::Id(5)),
    };
    Change::Copy(Box::new(CopyFiles {
        source: text("/a*"),
        dest: text("/b/"),
        owner: Some(owner),
        mode: Some(mode),
        follow_symlink: true,
        contents: true,
        unpack: true,
        create_dest: true,
        wildcard: true,
        empty_wildcard: true,
        timestamp: Some(7),
        include: vec![text("i")],
        exclude: vec![text("e")],
        replace: true,
        required: vec![text("r")],
    }))
}

fn files() -> Files {
    let action = |base, output, change| Action {
        base,
        from: Tree::Empty,
        output,
        change,
    };
    let file = MakeFile {
        path: text("/f"),
        mode: 0o644,
        data: vec![0, 255],
        owner: None,
        timestamp: None,
    };
    let dir = MakeDir {
        path: text("/d"),
        mode: 0o755,
        parents: true,
        owner: None,
        timestamp: Some(0),
    };
    let link = Symlink {
        target: text("f"),
        path: text("/l"),
        ..Symlink::default()
    };
    let remove = Remove {
        path: text("/x*"),
        allow_missing: true,
        wildcard: true,
    };
    let mut actions = vec![
        action(Tree::Input(0), None, Change::MakeFile(file)),
        action(Tree::Action(0), None, Change::MakeDir(dir)),
        action(Tree::Action(1), None, copy(Mode::Bits(0o600))),
        action(Tree::Action(2), None, copy(Mode::Words(text("u+x")))),
        action(Tree::Action(3), Some(1), Change::Symlink(link)),
        action(Tree::Empty, Some(0), Change::Remove(remove)),
    ];
    for place in [2, 3] {
        actions[place].from = Tree::Input(1);
    }
    Files { actions }
}

/// A graph with everything that there is.
fn graph() -> (Graph, Output) {
    let mut graph = Graph::new();
    let mut brought = Vec::new();
    for source in sources() {
        let named = Metadata::named(format!("{source:?}"));
        let platform = "linux/arm64".parse().ok();
        let added = graph.output(Op::Source(source), vec![], platform, named);
        brought.push(added.unwrap());
    }
    let metadata = Metadata {
        name: text("[1/2] RUN true"),
        ignore_cache: true,
        group: Some(ProgressGroup {
            id: text("g"),
            name: text("group"),
            weak: true,
        }),
        location: None,
        description: [(text("k"), text("v"))].into(),
    };
    let run = Op::Exec(Box::new(exec()));
    let run = graph
        .add(run, brought[..2].to_vec(), None, metadata)
        .unwrap();
    let second = Output {
        vertex: run,
        index: 1,
    };
    let changed = vec![second, brought[1]];
    let changed = graph.add(Op::File(files()), changed, None, Metadata::default());
    let changed = Output {
        vertex: changed.unwrap(),
        index: 1,
    };
    let diff = Op::Diff {
        lower: None,
        upper: Some(0),
    };
    let diff = graph.output(diff, vec![changed], None, Metadata::default());
    let mut all = brought;
    all.push(diff.unwrap());
    let merge = Op::Merge {
        inputs: (0..all.len()).collect(),
    };
    let merged = graph.output(merge, all, None, Metadata::default());
    (graph, merged.unwrap())
}

#[test]
fn a_graph_is_read_as_it_was_written() {
    let (graph, output) = graph();
    let definition = write(&graph, output, "mine");
    let again = read(&definition).unwrap();
    assert_eq!(again.graph.vertices(), graph.vertices());
    assert_eq!(again.output, Some(output));
    // Whatever the graph around it, what is written is the same.
    let once_more = write(&again.graph, output, "other");
    assert_eq!(once_more, definition);
}

#[test]
fn a_source_without_a_session_gets_the_builds() {
    let mut graph = Graph::new();
    let source = Source::Local(LocalSource {
        name: text("context"),
        ..LocalSource::default()
    });
    let output = graph.output(Op::Source(source), vec![], None, Metadata::default());
    let read = read(&write(&graph, output.unwrap(), "mine")).unwrap();
    let Op::Source(Source::Local(local)) = &read.graph.vertices()[0].op else {
        panic!("{read:?}");
    };
    assert_eq!(local.session, "mine");
}

#[test]
fn lines_and_files_are_read() {
    let (graph, output) = graph();
    let mut definition = write(&graph, output, "");
    let name = digest_of(&definition.def[0]);
    let range = pb::Range {
        start: Some(pb::Position {
            line: 2,
            character: 0,
        }),
        end: Some(pb::Position {
            line: 3,
            character: 0,
        }),
    };
    let locations = |source_index| pb::Locations {
        locations: vec![pb::Location {
            source_index,
            ranges: vec![range],
        }],
    };
    definition.source = Some(pb::Source {
        locations: [
            (name, locations(0)),
            (digest_of(&definition.def[1]), locations(9)),
        ]
        .into(),
        infos: vec![pb::SourceInfo {
            filename: text("main.go"),
            ..pb::SourceInfo::default()
        }],
    });
    let read = read(&definition).unwrap();
    assert_eq!(read.sources[0].name, "main.go");
    let location = read.graph.vertices()[0].metadata.location.clone();
    assert_eq!(location.unwrap().lines, [(2, 3)]);
    assert_eq!(read.graph.vertices()[1].metadata.location, None);
}

fn of_ops(ops: Vec<pb::Op>) -> pb::Definition {
    let mut definition = pb::Definition::default();
    let mut last = String::new();
    for mut op in ops {
        for input in &mut op.inputs {
            if input.digest.is_empty() {
                input.digest.clone_from(&last);
            }
        }
        let bytes = op.encode_to_vec();
        last = digest_of(&bytes);
        definition.def.push(bytes);
    }
    definition
}

#[test]
fn what_makes_no_sense_is_refused() {
    let source = |identifier: &str| pb::Op {
        op: Some(Kind::Source(pb::SourceOp {
            identifier: text(identifier),
            ..pb::SourceOp::default()
        })),
        ..pb::Op::default()
    };
    let takes = |digest: &str, index| pb::Op {
        inputs: vec![pb::Input {
            digest: text(digest),
            index,
        }],
        ..pb::Op::default()
    };
    let build = pb::Op {
        op: Some(Kind::Build(pb::BuildOp::default())),
        ..pb::Op::default()
    };
    let merge = pb::Op {
        op: Some(Kind::Merge(pb::MergeOp {
            inputs: vec![pb::MergeInput { input: 3 }],
        })),
        ..pb::Op::default()
    };
    let image = "docker-image://docker.io/library/a:1";
    for (ops, why) in [
        (vec![source(image), takes("sha256:00", 0)], "before its use"),
        (vec![source(image), takes("", 1)], "no output 1"),
        (vec![source(image), takes("", -1)], "invalid definition"),
        (vec![source(image)], "what is wanted"),
        (vec![source("ftp://x"), takes("", 0)], "unknown source"),
        (vec![source("x"), takes("", 0)], "unknown source"),
        (vec![pb::Op::default(), takes("", 0)], "of no kind"),
        (vec![merge, takes("", 0)], "operation names input 3"),
        (vec![build, takes("", 0)], "builds as operations"),
    ] {
        let status = read(&of_ops(ops)).unwrap_err();
        let codes = [Code::InvalidArgument, Code::Unimplemented];
        assert!(codes.contains(&status.code()), "{status:?}");
        assert!(status.message().contains(why), "{status:?}");
    }
    assert_eq!(read(&pb::Definition::default()).unwrap().output, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_comes_breaks_nothing(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        place in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let mut definition = pb::Definition { def: noise, ..pb::Definition::default() };
        let _ = read(&definition);
        // One byte of a good one is another.
        let (graph, output) = graph();
        definition = write(&Arc::new(graph), output, "");
        let op = place.index(definition.def.len());
        let byte = place.index(definition.def[op].len());
        definition.def[op][byte] ^= with;
        let _ = read(&definition);
    }
}
