//! `RUN`.

use super::Error;
use super::convert::Conversion;
use super::dispatch::{self, expand};
use super::draft::Handle;
use super::stage::{Id, Step};
use super::title::{self, Title, place};
use crate::dockerfile::shell::{Environment, Shell, Variables as _};
use crate::dockerfile::{Action, Mount as Wanted, MountType, Network, Run, Sharing, heredoc};
use crate::graph::{
    self, Account, Change, ClientFile, Exec, Files, MakeDir, MakeFile, Metadata, Mount, MountKind,
    NetworkMode, Op, Owner, SecretEnv, SecurityMode, Tree,
};
use crate::ignore::clean;

/// What all environments of a graph together may be: each step has all of its stage's variables.
const MAX_ENVIRONMENTS: usize = 256 << 20;

/// A step in the making.
struct Making {
    exec: Exec,
    inputs: Vec<Handle>,
    ssh: Vec<String>,
}

pub(super) fn dispatch(c: &mut Conversion<'_>, id: Id, step: &Step) -> Result<(), Error> {
    let Action::Run(run) = &step.instruction.action else {
        return Ok(());
    };
    let lines = step.instruction.lines;
    let mounts = run.mounts(&mut |word| expand(c, id, lines, word))?;
    // It may read anything.
    let bottom = c.stages.bottom(id);
    c.stages.all[bottom].paths.insert("/".to_owned());
    let mut making = begin(c, id);
    let (words, summary) = command(c, id, run, &mut making)?;
    let words = match run.command.shell {
        true => dispatch::with_shell(c, id, &words),
        false => words,
    };
    for (place, mount) in mounts.iter().enumerate() {
        let source = step.sources.get(place).copied();
        add_mount(c, id, step, (mount, source), &mut making)?;
    }
    let shown = shown_name(c, id, step, &mounts, &summary);
    let text = history(c, id, &words);
    making.exec.args = words;
    settings(c, run, &mut making.exec);
    if let Some(first) = making.ssh.first()
        && c.stages.all[id].state.env.get("SSH_AUTH_SOCK").is_none()
    {
        making.exec.env.push(format!("SSH_AUTH_SOCK={first}"));
    }
    let name = Title {
        text: &shown,
        on_build: step.on_build,
    };
    let mut metadata = Metadata {
        name: title::prefixed(c, id, &name),
        ignore_cache: c.stages.all[id].ignore_cache,
        location: Some(place(lines)),
        ..Metadata::default()
    };
    let key = "com.docker.dockerfile.v1.command".to_owned();
    metadata
        .description
        .insert(key, step.instruction.code.clone());
    let platform = c.stages.all[id].platform.clone();
    let op = Op::Exec(Box::new(making.exec));
    let handle = c.draft.add(op, making.inputs, platform, metadata);
    let epoch = c.options.epoch;
    let build = &mut c.stages.all[id];
    build.state.tree = Some(handle);
    build
        .image
        .note(format!("RUN {text} # buildkit"), true, epoch)
}

fn begin(c: &mut Conversion<'_>, id: Id) -> Making {
    let state = &c.stages.all[id].state;
    let inputs: Vec<Handle> = state.tree.into_iter().collect();
    let dir = if state.dir.is_empty() {
        "/"
    } else {
        &state.dir
    };
    let root = Mount {
        dest: "/".to_owned(),
        input: (!inputs.is_empty()).then_some(0),
        output: Some(0),
        ..Mount::default()
    };
    Making {
        exec: Exec {
            env: state.env.to_list(),
            cwd: dir.to_owned(),
            user: state.user.clone(),
            mounts: vec![root],
            ..Exec::default()
        },
        inputs,
        ssh: Vec::new(),
    }
}

/// What is as the client wants it for all steps.
fn settings(c: &Conversion<'_>, run: &Run, exec: &mut Exec) {
    let options = c.options;
    exec.proxy = options.proxy();
    exec.extra_hosts.clone_from(&options.extra_hosts);
    exec.hostname.clone_from(&options.hostname);
    exec.ulimits.clone_from(&options.ulimits);
    exec.cgroup_parent.clone_from(&options.cgroup_parent);
    exec.network = match run.network {
        Network::Default => options.network,
        Network::None => NetworkMode::None,
        Network::Host => NetworkMode::Host,
    };
    if run.insecure {
        exec.security = SecurityMode::Insecure;
    }
    let devices = run.devices.iter();
    exec.devices = devices
        .map(|device| (device.name.clone(), !device.required))
        .collect();
    if options.shm_size > 0 {
        exec.mounts.push(Mount {
            dest: "/dev/shm".to_owned(),
            kind: MountKind::Tmpfs {
                size: options.shm_size,
            },
            ..Mount::default()
        });
    }
}

/// The words with heredocs in place, and what of these is shown.
fn command(
    c: &mut Conversion<'_>,
    id: Id,
    run: &Run,
    making: &mut Making,
) -> Result<(Vec<String>, String), Error> {
    c.env_size += making.exec.env.iter().map(String::len).sum::<usize>();
    if c.env_size > MAX_ENVIRONMENTS {
        return Err(Error::new(
            "the variables of all steps together are too large",
        ));
    }
    let words = &run.command.words;
    let Some(first) = run.files.first() else {
        return Ok((words.clone(), String::new()));
    };
    let [line] = words.as_slice() else {
        let message = format!(
            "parsing produced an invalid run command: [{}]",
            words.join(" ")
        );
        return Err(Error::new(message));
    };
    if heredoc(line).ok().flatten().is_none() {
        // The shell reads them itself.
        let files = run.files.iter();
        let rest = files.map(|file| format!("\n{}{}", file.content, file.name));
        let whole = format!("{line}{}", rest.collect::<String>());
        return Ok((vec![whole], String::new()));
    }
    let trimmed = first.content.trim();
    let summary = match trimmed.split_once('\n') {
        Some((line, _)) => format!(" ({}...)", line.trim_end_matches('\r')),
        None => format!(" ({trimmed})"),
    };
    let windows = c.stages.all[id]
        .image
        .platform
        .as_ref()
        .is_some_and(|p| p.os == "windows");
    if windows || !first.content.starts_with("#!") {
        return Ok((vec![first.text.clone()], summary));
    }
    // A program of its own.
    let handle = inline_file(c, id, &first.name, first.text.as_bytes(), 0o755);
    making.exec.mounts.push(Mount {
        dest: "/dev/pipes/".to_owned(),
        input: Some(making.inputs.len()),
        readonly: true,
        ..Mount::default()
    });
    making.inputs.push(handle);
    let path = clean(&format!("/dev/pipes/{}", first.name));
    Ok((vec![path], summary))
}

/// A tree with one file that stands in the Dockerfile.
pub(super) fn inline_file(
    c: &mut Conversion<'_>,
    id: Id,
    name: &str,
    data: &[u8],
    mode: u32,
) -> Handle {
    let file = MakeFile {
        path: clean(&format!("/{name}")),
        mode,
        data: data.to_vec(),
        ..MakeFile::default()
    };
    let op = Op::File(Files {
        actions: vec![graph::Action {
            base: Tree::Empty,
            from: Tree::Empty,
            output: Some(0),
            change: Change::MakeFile(file),
        }],
    });
    let metadata = Metadata::named("[internal] preparing inline document");
    let platform = c.stages.all[id].platform.clone();
    c.draft.add(op, Vec::new(), platform, metadata)
}

/// Values of secrets are not known here; that there are some is shown.
fn shown_name(c: &Conversion<'_>, id: Id, step: &Step, mounts: &[Wanted], summary: &str) -> String {
    let shell = Shell {
        raw_quotes: true,
        keep_unset: true,
        ..c.shell
    };
    let code = format!("{}{summary}", step.instruction.code);
    let env = &c.stages.all[id].state.env;
    let keyword = &step.instruction.name;
    let secrets = mounts
        .iter()
        .filter(|mount| mount.kind == MountType::Secret);
    let names: Vec<&String> = secrets.filter_map(|mount| mount.env.as_ref()).collect();
    if names.is_empty() {
        return title::named(&code, &shell, env, keyword);
    }
    let mut masked: Environment = env.clone();
    for name in names {
        masked.set(name.clone(), "****");
    }
    title::named(&code, &shell, &masked, keyword)
}

/// What the history shows: build arguments, then words.
fn history(c: &Conversion<'_>, id: Id, words: &[String]) -> String {
    let build = &c.stages.all[id];
    let mut args: Vec<(&str, &str)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for arg in &build.args {
        let value = build.state.env.get(&arg.name);
        let value = value.or(arg.value.as_deref()).unwrap_or_default();
        match places.get(arg.name.as_str()) {
            Some(place) => args[*place] = (arg.name.as_str(), value),
            None => {
                places.insert(arg.name.as_str(), args.len());
                args.push((arg.name.as_str(), value));
            }
        }
    }
    let mut parts = Vec::new();
    if !args.is_empty() {
        parts.push(format!("|{}", args.len()));
    }
    parts.extend(args.iter().map(|(name, value)| format!("{name}={value}")));
    parts.extend_from_slice(words);
    parts.join(" ")
}

fn add_mount(
    c: &mut Conversion<'_>,
    id: Id,
    step: &Step,
    (wanted, source): (&Wanted, Option<Id>),
    making: &mut Making,
) -> Result<(), Error> {
    match wanted.kind {
        MountType::Secret => {
            secret(c, id, step, wanted, making);
            return Ok(());
        }
        MountType::Ssh => return ssh(c, id, step, wanted, making),
        _ => {}
    }
    let tree = mounted_tree(c, wanted, source)?;
    let target = target(&wanted.target, &c.stages.all[id].state.dir);
    if target == "/" {
        return Err(Error::new(format!("invalid mount target {target:?}")));
    }
    let path = clean(&format!("/{}", wanted.source));
    let (tree, selector) = match path.as_str() {
        "/" if wanted.mode.is_some() || wanted.uid.is_some() || wanted.gid.is_some() => {
            (Some(owned_cache(c, id, wanted, tree)), "/cache".to_owned())
        }
        "/" => (tree, String::new()),
        _ => (tree, path.clone()),
    };
    making.exec.mounts.push(Mount {
        dest: target,
        input: tree.map(|_| making.inputs.len()),
        selector,
        readonly: wanted.readonly,
        kind: mount_kind(c, wanted),
        ..Mount::default()
    });
    making.inputs.extend(tree);
    match source {
        Some(source) if !wanted.from.is_empty() => {
            let bottom = c.stages.bottom(source);
            c.stages.all[bottom].paths.insert(path);
        }
        _ if wanted.kind == MountType::Bind => {
            c.stages.all[id].context_paths.insert(path);
        }
        _ => {}
    }
    Ok(())
}

/// What a mount shows.
fn mounted_tree(
    c: &mut Conversion<'_>,
    wanted: &Wanted,
    source: Option<Id>,
) -> Result<Option<Handle>, Error> {
    match (wanted.kind, wanted.from.as_str(), source) {
        (MountType::Tmpfs, _, _) | (MountType::Cache, "", _) | (_, _, None) => Ok(None),
        (_, "", _) => c.context(),
        (_, from, Some(source)) => {
            let build = &c.stages.all[source];
            if !build.dispatched {
                return Err(Error::new(format!(
                    "cannot mount from stage {from:?} to {:?}, stage needs to be defined before current command",
                    wanted.target
                )));
            }
            Ok(build.state.tree)
        }
    }
}

fn mount_kind(c: &Conversion<'_>, wanted: &Wanted) -> MountKind {
    match wanted.kind {
        MountType::Cache => {
            let name = match wanted.id.as_str() {
                "" => clean(&wanted.target),
                name => name.to_owned(),
            };
            MountKind::Cache {
                id: format!("{}/{name}", c.options.cache_namespace),
                sharing: match wanted.sharing {
                    None | Some(Sharing::Shared) => graph::Sharing::Shared,
                    Some(Sharing::Private) => graph::Sharing::Private,
                    Some(Sharing::Locked) => graph::Sharing::Locked,
                },
            }
        }
        MountType::Tmpfs => MountKind::Tmpfs { size: wanted.size },
        _ => MountKind::Bind,
    }
}

/// Relative ones are below the stage's directory.
fn target(path: &str, dir: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    clean(&format!("/{dir}/{path}"))
}

/// What a cache begins with where its owner or mode is given.
fn owned_cache(c: &mut Conversion<'_>, id: Id, wanted: &Wanted, tree: Option<Handle>) -> Handle {
    let make = MakeDir {
        path: "/cache".to_owned(),
        mode: wanted.mode.unwrap_or(0o755),
        owner: Some(Owner {
            user: Some(Account::Id(wanted.uid.unwrap_or(0))),
            group: Some(Account::Id(wanted.gid.unwrap_or(0))),
        }),
        ..MakeDir::default()
    };
    let op = Op::File(Files {
        actions: vec![graph::Action {
            base: tree.map_or(Tree::Empty, |_| Tree::Input(0)),
            from: Tree::Empty,
            output: Some(0),
            change: Change::MakeDir(make),
        }],
    });
    let metadata = Metadata::named("[internal] setting cache mount permissions");
    let platform = c.stages.all[id].platform.clone();
    c.draft
        .add(op, tree.into_iter().collect(), platform, metadata)
}

/// The last part of a path.
fn base(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
}

fn secret(c: &mut Conversion<'_>, id: Id, step: &Step, wanted: &Wanted, making: &mut Making) {
    let name = [&wanted.source, &wanted.id]
        .into_iter()
        .find(|name| !name.is_empty());
    let name = name.map_or_else(|| base(&wanted.target).to_owned(), Clone::clone);
    let known = &mut c.stages.all[id].outline.secrets;
    let lines = step.instruction.lines;
    known
        .entry(name.clone())
        .or_insert((wanted.required, lines));
    let dest = match wanted.target.as_str() {
        "" if wanted.env.is_none() => format!("/run/secrets/{}", base(&name)),
        target => target.to_owned(),
    };
    if let Some(variable) = &wanted.env {
        let variable = if variable.is_empty() { &name } else { variable };
        making.exec.secret_env.push(SecretEnv {
            id: name.clone(),
            name: variable.clone(),
            optional: !wanted.required,
        });
    }
    if !dest.is_empty() {
        making.exec.mounts.push(Mount {
            dest: target(&dest, &c.stages.all[id].state.dir),
            kind: MountKind::Secret(client_file(name, wanted, 0o400)),
            ..Mount::default()
        });
    }
}

fn ssh(
    c: &mut Conversion<'_>,
    id: Id,
    step: &Step,
    wanted: &Wanted,
    making: &mut Making,
) -> Result<(), Error> {
    if !wanted.source.is_empty() {
        return Err(Error::new("ssh does not support source"));
    }
    let name = if wanted.id.is_empty() {
        "default"
    } else {
        &wanted.id
    };
    let known = &mut c.stages.all[id].outline.ssh;
    let lines = step.instruction.lines;
    known
        .entry(name.to_owned())
        .or_insert((wanted.required, lines));
    let dest = match wanted.target.as_str() {
        "" => format!("/run/buildkit/ssh_agent.{}", making.ssh.len()),
        path => target(path, &c.stages.all[id].state.dir),
    };
    making.ssh.push(dest.clone());
    making.exec.mounts.push(Mount {
        dest,
        kind: MountKind::Ssh(client_file(name.to_owned(), wanted, 0o600)),
        ..Mount::default()
    });
    Ok(())
}

fn client_file(id: String, wanted: &Wanted, mode: u32) -> ClientFile {
    ClientFile {
        id,
        uid: wanted.uid.unwrap_or(0),
        gid: wanted.gid.unwrap_or(0),
        mode: wanted.mode.unwrap_or(mode),
        optional: !wanted.required,
    }
}
