//! The graph of a build as provenance tells it: `buildConfig`, the operations as BuildKit writes them in JSON (moby/buildkit
//! `solver/pb/json.go`: what is empty is left out).

use crate::frontend::shown_url;
use crate::graph::{
    Account, Action, Change, ClientFile, CopyFiles, Differ, Exec, Files, GitSource, Graph,
    LocalSource, Mode, Mount, MountKind, NetworkMode, Op, Output, Owner, ResolveMode, SecurityMode,
    Sharing, Source, Tree, Vertex, VertexId,
};
use base64::Engine as _;
use hull_spec::Platform;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Steps, by their numbers.
pub(super) struct Steps {
    /// `llbDefinition` and `digestMapping`.
    pub(super) config: Value,
    /// Where in the build's files each comes from.
    pub(super) locations: Value,
}

/// What `output` of a graph needs, each step after its inputs, and one at the end that only names what is wanted.
pub(super) fn steps(graph: &Graph, output: Option<Output>) -> Steps {
    let outputs: Vec<Output> = output.into_iter().collect();
    let needed = graph.needed(&outputs);
    let numbers = needed.iter().enumerate().map(|(number, id)| (*id, number));
    let numbers: BTreeMap<VertexId, usize> = numbers.collect();
    let input = |of: &Output| {
        let number = numbers.get(&of.vertex).copied().unwrap_or_default();
        format!("step{number}:{}", of.index)
    };
    let mut steps = Vec::with_capacity(needed.len() + 1);
    let mut mapping = Map::new();
    let mut locations = Map::new();
    for (number, id) in needed.iter().enumerate() {
        let vertex = graph.vertex(*id);
        let name = format!("step{number}");
        let mut step = Told::default();
        step.set("id", &name);
        step.value("op", op_of(vertex));
        step.texts("inputs", vertex.inputs.iter().map(input));
        steps.push(step.done());
        mapping.insert(vertex.digest.to_string(), json!(name));
        if let Some(location) = &vertex.metadata.location {
            let ranges = location.lines.iter();
            let ranges: Vec<Value> = ranges
                .map(|(first, last)| json!({"start": {"line": first}, "end": {"line": last}}))
                .collect();
            let mut told = Told::default();
            told.number("sourceIndex", location.source as u64);
            told.value("ranges", json!(ranges));
            locations.insert(name, json!({"locations": [told.done()]}));
        }
    }
    if let Some(output) = &output {
        let id = format!("step{}", steps.len());
        steps.push(json!({"id": id, "op": {"Op": {}}, "inputs": [input(output)]}));
    }
    Steps {
        config: json!({"llbDefinition": steps, "digestMapping": mapping}),
        locations: Value::Object(locations),
    }
}

/// Members of an object; what is empty is left out.
#[derive(Default)]
struct Told(Map<String, Value>);

impl Told {
    fn set(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.0.insert(name.to_owned(), json!(text));
        }
    }

    fn number(&mut self, name: &str, number: impl Into<i128>) {
        let number: i128 = number.into();
        // Counts and identifiers: none has more than 64 bits.
        if number != 0
            && let Ok(number) = i64::try_from(number)
        {
            self.0.insert(name.to_owned(), json!(number));
        }
    }

    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.0.insert(name.to_owned(), json!(true));
        }
    }

    fn texts<T: Into<String>>(&mut self, name: &str, texts: impl IntoIterator<Item = T>) {
        let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
        if !texts.is_empty() {
            self.0.insert(name.to_owned(), json!(texts));
        }
    }

    fn values(&mut self, name: &str, values: impl IntoIterator<Item = Value>) {
        let values: Vec<Value> = values.into_iter().collect();
        if !values.is_empty() {
            self.0.insert(name.to_owned(), json!(values));
        }
    }

    fn value(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

fn op_of(vertex: &Vertex) -> Value {
    let (kind, told) = match &vertex.op {
        Op::Source(source) => ("source", source_of(source)),
        Op::Exec(exec) => ("exec", exec_of(exec)),
        Op::File(files) => ("file", files_of(files, vertex.inputs.len())),
        Op::Merge { inputs } => ("merge", {
            let one = |place: &usize| {
                let mut told = Told::default();
                told.number("input", *place as u64);
                told.done()
            };
            json!({"inputs": inputs.iter().map(one).collect::<Vec<_>>()})
        }),
        Op::Diff { lower, upper } => ("diff", {
            let one = |place: &Option<usize>| {
                let mut told = Told::default();
                told.number("input", place_of(*place));
                told.done()
            };
            json!({"lower": one(lower), "upper": one(upper)})
        }),
    };
    let mut op = Told::default();
    op.value("Op", json!({kind: told}));
    if let Some(platform) = &vertex.platform {
        op.value("platform", platform_of(platform));
    }
    op.done()
}

fn platform_of(platform: &Platform) -> Value {
    let mut told = Told::default();
    told.set("Architecture", &platform.architecture);
    told.set("OS", &platform.os);
    told.set("Variant", platform.variant.as_deref().unwrap_or_default());
    told.set(
        "OSVersion",
        platform.os_version.as_deref().unwrap_or_default(),
    );
    told.done()
}

/// Where an operation has no input, BuildKit has -1.
fn place_of(place: Option<usize>) -> i64 {
    place.map_or(-1, |place| i64::try_from(place).unwrap_or(i64::MAX))
}

/// An identifier with a scheme, and attributes; not which session a client had.
fn source_of(source: &Source) -> Value {
    let mut told = Told::default();
    let identifier = match source {
        Source::Image(image) => {
            told.set(
                "image.resolvemode",
                match image.resolve {
                    ResolveMode::Default => "",
                    ResolveMode::ForcePull => "pull",
                    ResolveMode::PreferLocal => "local",
                },
            );
            format!("docker-image://{}", image.reference)
        }
        Source::Local(local) => local_of(local, &mut told),
        Source::Git(git) => git_of(git, &mut told),
        Source::Http(http) => {
            let sum = http.checksum.as_ref().map(ToString::to_string);
            told.set("http.checksum", &sum.unwrap_or_default());
            told.set("http.filename", &http.filename);
            let mode = http.mode.map(|mode| format!("0{mode:o}"));
            told.set("http.perm", &mode.unwrap_or_default());
            shown_url(&http.url)
        }
        Source::OciLayout(layout) => format!("oci-layout://{}", layout.reference),
    };
    let mut source = Told::default();
    source.set("identifier", &identifier);
    if !told.0.is_empty() {
        source.value("attrs", told.done());
    }
    source.done()
}

fn local_of(local: &LocalSource, told: &mut Told) -> String {
    let list = |texts: &[String]| match texts {
        [] => String::new(),
        texts => json!(texts).to_string(),
    };
    told.set("local.includepattern", &list(&local.include));
    told.set("local.excludepatterns", &list(&local.exclude));
    told.set("local.followpaths", &list(&local.follow));
    told.set("local.sharedkeyhint", &local.shared_key_hint);
    if local.differ == Differ::None {
        told.set("local.differ", "none");
    }
    format!("local://{}", local.name)
}

fn git_of(git: &GitSource, told: &mut Told) -> String {
    let url = shown_url(&git.remote);
    let flag = |value: bool| if value { "true" } else { "" };
    told.set("git.fullurl", &url);
    told.set("git.keepgitdir", flag(git.keep_git_dir));
    told.set("git.checksum", &git.checksum);
    told.set("git.authtokensecret", &git.auth_token_secret);
    told.set("git.authheadersecret", &git.auth_header_secret);
    told.set("git.knownsshhosts", &git.known_ssh_hosts);
    told.set("git.mountsshsock", &git.ssh);
    let place = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let place = place.rsplit_once('@').map_or(place, |(_, rest)| rest);
    let mut fragment = git.reference.clone();
    if !git.subdir.is_empty() {
        fragment.push_str(&format!(":{}", git.subdir));
    }
    match fragment.as_str() {
        "" => format!("git://{place}"),
        fragment => format!("git://{place}#{fragment}"),
    }
}

fn exec_of(exec: &Exec) -> Value {
    let mut meta = Told::default();
    meta.texts("args", &exec.args);
    meta.texts("env", &exec.env);
    meta.set("cwd", &exec.cwd);
    meta.set("user", &exec.user);
    if exec.proxy.is_some() {
        // Proxies may have passwords.
        meta.value("proxy_env", json!({}));
    }
    meta.values(
        "extraHosts",
        exec.extra_hosts
            .iter()
            .map(|(host, address)| json!({"Host": host, "IP": address.to_string()})),
    );
    meta.set("hostname", &exec.hostname);
    meta.values(
        "ulimit",
        exec.ulimits
            .iter()
            .map(|(name, soft, hard)| json!({"Name": name, "Soft": soft, "Hard": hard})),
    );
    meta.set("cgroupParent", &exec.cgroup_parent);
    meta.flag("removeMountStubsRecursive", exec.remove_stubs_recursively);
    meta.values(
        "validExitCodes",
        exec.valid_exit_codes.iter().map(|code| json!(code)),
    );
    let mut told = Told::default();
    told.value("meta", meta.done());
    told.values("mounts", exec.mounts.iter().map(mount_of));
    told.number(
        "network",
        match exec.network {
            NetworkMode::Default => 0,
            NetworkMode::Host => 1,
            NetworkMode::None => 2,
        },
    );
    told.number(
        "security",
        i32::from(exec.security == SecurityMode::Insecure),
    );
    told.values(
        "secretenv",
        exec.secret_env.iter().map(|secret| {
            let mut told = Told::default();
            told.set("ID", &secret.id);
            told.set("name", &secret.name);
            told.flag("optional", secret.optional);
            told.done()
        }),
    );
    told.done()
}

fn mount_of(mount: &Mount) -> Value {
    let mut told = Told::default();
    told.number("input", place_of(mount.input));
    told.set("selector", &mount.selector);
    told.set("dest", &mount.dest);
    told.number("output", place_of(mount.output));
    told.flag("readonly", mount.readonly);
    let file = |file: &ClientFile| {
        let mut told = Told::default();
        told.set("ID", &file.id);
        told.number("uid", file.uid);
        told.number("gid", file.gid);
        told.number("mode", file.mode);
        told.flag("optional", file.optional);
        told.done()
    };
    let kind = match &mount.kind {
        MountKind::Bind => 0,
        MountKind::Secret(secret) => {
            told.value("secretOpt", file(secret));
            1
        }
        MountKind::Ssh(agent) => {
            told.value("SSHOpt", file(agent));
            2
        }
        MountKind::Cache { id, sharing } => {
            let mut cache = Told::default();
            cache.set("ID", id);
            let sharing = match sharing {
                Sharing::Shared => 0,
                Sharing::Private => 1,
                Sharing::Locked => 2,
            };
            cache.number("sharing", sharing);
            told.value("cacheOpt", cache.done());
            3
        }
        MountKind::Tmpfs { size } => {
            let mut memory = Told::default();
            memory.number("size", *size);
            told.value("TmpfsOpt", memory.done());
            4
        }
    };
    told.number("mountType", kind);
    told.done()
}

fn files_of(files: &Files, inputs: usize) -> Value {
    let tree = |tree: Tree| match tree {
        Tree::Empty => -1,
        Tree::Input(place) => place_of(Some(place)),
        Tree::Action(place) => place_of(Some(place.saturating_add(inputs))),
    };
    let one = |action: &Action| {
        json!({
            "input": tree(action.base),
            "secondaryInput": tree(action.from),
            "output": place_of(action.output),
            "Action": change_of(&action.change, &tree),
        })
    };
    json!({"actions": files.actions.iter().map(one).collect::<Vec<_>>()})
}

fn change_of(change: &Change, tree: &impl Fn(Tree) -> i64) -> Value {
    let mut told = Told::default();
    let owned = |told: &mut Told, owner: &Option<Owner>, time: Option<i64>| {
        if let Some(owner) = owner {
            told.value("owner", owner_of(owner, tree));
        }
        told.number("timestamp", time.unwrap_or(-1));
    };
    let kind = match change {
        Change::Copy(copy) => {
            copy_of(copy, &mut told);
            owned(&mut told, &copy.owner, copy.timestamp);
            "copy"
        }
        Change::MakeFile(file) => {
            told.set("path", &file.path);
            told.number("mode", file.mode);
            let data = base64::engine::general_purpose::STANDARD.encode(&file.data);
            told.set("data", &data);
            owned(&mut told, &file.owner, file.timestamp);
            "mkfile"
        }
        Change::MakeDir(dir) => {
            told.set("path", &dir.path);
            told.number("mode", dir.mode);
            told.flag("makeParents", dir.parents);
            owned(&mut told, &dir.owner, dir.timestamp);
            "mkdir"
        }
        Change::Symlink(link) => {
            told.set("oldpath", &link.target);
            told.set("newpath", &link.path);
            owned(&mut told, &link.owner, link.timestamp);
            "symlink"
        }
        Change::Remove(remove) => {
            told.set("path", &remove.path);
            told.flag("allowNotFound", remove.allow_missing);
            told.flag("allowWildcard", remove.wildcard);
            "rm"
        }
    };
    json!({kind: told.done()})
}

fn copy_of(copy: &CopyFiles, told: &mut Told) {
    told.set("src", &copy.source);
    told.set("dest", &copy.dest);
    let (bits, words) = match &copy.mode {
        Some(Mode::Bits(bits)) => (i64::from(*bits), ""),
        Some(Mode::Words(words)) => (-1, words.as_str()),
        None => (-1, ""),
    };
    told.number("mode", bits);
    told.set("modeStr", words);
    told.flag("followSymlink", copy.follow_symlink);
    told.flag("dirCopyContents", copy.contents);
    told.flag("attemptUnpackDockerCompatibility", copy.unpack);
    told.flag("createDestPath", copy.create_dest);
    told.flag("allowWildcard", copy.wildcard);
    told.flag("allowEmptyWildcard", copy.empty_wildcard);
    told.flag("alwaysReplaceExistingDestPaths", copy.replace);
    told.texts("include_patterns", &copy.include);
    told.texts("exclude_patterns", &copy.exclude);
    told.texts("required_paths", &copy.required);
}

fn owner_of(owner: &Owner, tree: &impl Fn(Tree) -> i64) -> Value {
    let account = |account: &Account| match account {
        Account::Id(0) => json!({"User": {}}),
        Account::Id(id) => json!({"User": {"byId": id}}),
        Account::Name { name, tree: of } => {
            let mut told = Told::default();
            told.set("name", name);
            told.number("input", tree(*of));
            json!({"User": {"byName": told.done()}})
        }
    };
    let mut told = Told::default();
    for (name, whose) in [("user", &owner.user), ("group", &owner.group)] {
        if let Some(whose) = whose {
            told.value(name, account(whose));
        }
    }
    told.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{ImageSource, Location, MakeFile, Metadata};

    /// An image, and a file above it that lines 2 and 3 make.
    fn graph() -> (Graph, Output) {
        let mut graph = Graph::new();
        let image = ImageSource {
            reference: "docker.io/library/bb:1".to_owned(),
            resolve: ResolveMode::Default,
            layer_limit: 0,
        };
        let image = Op::Source(Source::Image(image));
        let platform = Some("linux/arm64".parse().unwrap());
        let base = graph.output(image, Vec::new(), platform, Metadata::default());
        let files = Files {
            actions: vec![Action {
                base: Tree::Input(0),
                from: Tree::Empty,
                output: Some(0),
                change: Change::MakeFile(MakeFile {
                    path: "/a".to_owned(),
                    mode: 0o644,
                    data: b"hi".to_vec(),
                    ..MakeFile::default()
                }),
            }],
        };
        let metadata = Metadata {
            location: Some(Location {
                source: 0,
                lines: vec![(2, 3)],
            }),
            ..Metadata::default()
        };
        let base = vec![base.unwrap()];
        let made = graph.output(Op::File(files), base, None, metadata);
        (graph, made.unwrap())
    }

    #[test]
    fn a_graph_is_told_step_by_step() {
        let (graph, made) = graph();
        let told = steps(&graph, Some(made));
        let expected = json!([
            {
                "id": "step0",
                "op": {
                    "Op": {"source": {"identifier": "docker-image://docker.io/library/bb:1"}},
                    "platform": {"Architecture": "arm64", "OS": "linux"},
                },
            },
            {
                "id": "step1",
                "op": {"Op": {"file": {"actions": [{
                    "input": 0, "secondaryInput": -1, "output": 0,
                    "Action": {"mkfile": {"path": "/a", "mode": 420, "data": "aGk=", "timestamp": -1}},
                }]}}},
                "inputs": ["step0:0"],
            },
            {"id": "step2", "op": {"Op": {}}, "inputs": ["step1:0"]},
        ]);
        assert_eq!(told.config["llbDefinition"], expected);
        let digest = graph.vertex(made.vertex).digest.to_string();
        assert_eq!(told.config["digestMapping"][digest], "step1");
        let ranges = json!([{"start": {"line": 2}, "end": {"line": 3}}]);
        assert_eq!(
            told.locations,
            json!({"step1": {"locations": [{"ranges": ranges}]}})
        );
        let nothing = steps(&graph, None);
        assert_eq!(nothing.config["llbDefinition"], json!([]));
    }

    #[test]
    fn a_process_is_told_with_its_mounts() {
        let exec = Exec {
            args: vec!["sh".to_owned()],
            cwd: "/".to_owned(),
            mounts: vec![
                Mount {
                    dest: "/".to_owned(),
                    input: Some(0),
                    output: Some(0),
                    ..Mount::default()
                },
                Mount {
                    dest: "/c".to_owned(),
                    kind: MountKind::Cache {
                        id: "x".to_owned(),
                        sharing: Sharing::Locked,
                    },
                    ..Mount::default()
                },
            ],
            network: NetworkMode::None,
            ..Exec::default()
        };
        assert_eq!(
            exec_of(&exec),
            json!({
                "meta": {"args": ["sh"], "cwd": "/"},
                "mounts": [
                    {"dest": "/"},
                    {"input": -1, "dest": "/c", "output": -1, "mountType": 3, "cacheOpt": {"ID": "x", "sharing": 2}},
                ],
                "network": 2,
            })
        );
    }
}
