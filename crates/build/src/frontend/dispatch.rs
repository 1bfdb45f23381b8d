//! What each instruction does to files, config and variables.

use super::Error;
use super::convert::{Conversion, shown};
use super::golang::{check_signal, duration, quoted, quoted_char};
use super::stage::{ArgInfo, Id, Once, Step};
use super::title::{Title, name, place, prefixed};
use super::{checks, copy, ports, run};
use crate::dockerfile::shell::{Environment, Expansion, Shell, Variables as _};
use crate::dockerfile::{Action, Argument, CommandLine, Lines, Pair, Rule};
use crate::graph::{Account, Change, Files, MakeDir, Metadata, Op, Owner, Tree};
use crate::ignore::clean;
use hull_spec::image::Healthcheck;
use std::collections::BTreeSet;

/// Does all instructions of a stage.
pub(super) fn stage(c: &mut Conversion<'_>, id: Id) -> Result<(), Error> {
    begin(c, id);
    let lines = c.stages.all[id].stage.lines;
    let dir = c.stages.all[id].image.config.working_dir.clone();
    if !dir.is_empty() {
        set_dir(c, id, &dir);
    }
    let user = c.stages.all[id].image.config.user.clone();
    c.stages.all[id].state.user = user;
    c.host
        .context
        .cancel
        .check()
        .map_err(|why| Error::new(why.to_string()).at(lines))?;
    for step in std::mem::take(&mut c.stages.all[id].steps) {
        let lines = step.instruction.lines;
        instruction(c, id, &step).map_err(|error| error.at(lines))?;
        // `ONBUILD` is asked for by stages that are built on this one.
        c.stages.all[id].steps.push(step);
    }
    Ok(())
}

/// A stage begins as the one it is built on ends.
fn begin(c: &mut Conversion<'_>, id: Id) {
    if let Some(base) = c.stages.all[id].base {
        let below = c.stages.all[base].clone();
        let build = &mut c.stages.all[id];
        build.state = below.state;
        build.platform = below.platform;
        build.image = below.image;
        build.image.config.on_build = None;
        build.workdir_set = below.workdir_set;
        build.args = below.args;
    }
    let platform = c.target_platform.clone();
    let build = &mut c.stages.all[id];
    build.dispatched = true;
    build.platform.get_or_insert(platform);
    build.image.ensure_path();
    let mut env = Environment::new();
    std::mem::swap(&mut env, &mut build.state.env);
    for line in build.image.config.env.iter().flatten() {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        env.set(name, value);
    }
    build.state.env = env;
}

fn instruction(c: &mut Conversion<'_>, id: Id, step: &Step) -> Result<(), Error> {
    let lines = step.instruction.lines;
    match &step.instruction.action {
        Action::Add(_) | Action::Copy(_) => copy::dispatch(c, id, step),
        Action::Arg(arguments) => arg(c, id, arguments, lines),
        Action::Cmd(line) => cmd(c, id, line, step),
        Action::Entrypoint(line) => entrypoint(c, id, line, step),
        Action::Env(pairs) => env(c, id, pairs, step),
        Action::Expose(words) => expose(c, id, words, lines),
        Action::Healthcheck(check) => healthcheck(c, id, check, step),
        Action::Label(pairs) => label(c, id, pairs, step),
        Action::Maintainer(name) => {
            c.stages.all[id].image.author = Some(name.clone());
            note(c, id, format!("MAINTAINER {name}"))
        }
        Action::OnBuild(text) => {
            let config = &mut c.stages.all[id].image.config;
            config.on_build.get_or_insert_default().push(text.clone());
            Ok(())
        }
        Action::Run(_) => run::dispatch(c, id, step),
        Action::Shell(words) => {
            c.stages.all[id].image.config.shell = Some(words.clone());
            note(c, id, format!("SHELL [{}]", words.join(" ")))
        }
        Action::StopSignal(word) => {
            let signal = expand(c, id, lines, word)?;
            check_signal(&signal)?;
            let text = format!("STOPSIGNAL {signal}");
            c.stages.all[id].image.config.stop_signal = Some(signal);
            note(c, id, text)
        }
        Action::User(word) => {
            let user = expand(c, id, lines, word)?;
            let text = format!("USER {user}");
            c.stages.all[id].state.user.clone_from(&user);
            c.stages.all[id].image.config.user = user;
            note(c, id, text)
        }
        Action::Volume(words) => volume(c, id, words, lines),
        Action::Workdir(word) => workdir(c, id, word, step),
    }
}

/// Adds an entry without a layer to the history.
fn note(c: &mut Conversion<'_>, id: Id, text: String) -> Result<(), Error> {
    let epoch = c.options.epoch;
    c.stages.all[id].image.note(text, false, epoch)
}

/// A word with the stage's variables in place.
pub(super) fn expand(
    c: &mut Conversion<'_>,
    id: Id,
    lines: Lines,
    word: &str,
) -> Result<String, Error> {
    let shell = c.shell;
    Ok(expand_with(c, id, lines, (&shell, word))?.text)
}

/// The same, read in another way.
pub(super) fn expand_with(
    c: &mut Conversion<'_>,
    id: Id,
    lines: Lines,
    (shell, word): (&Shell, &str),
) -> Result<Expansion, Error> {
    let build = &c.stages.all[id];
    let found = shell.expand(word, &build.state.env)?;
    if !found.unmatched.is_empty() {
        let declared: BTreeSet<&str> = build.args.iter().map(|arg| arg.name.as_str()).collect();
        let env = &build.state.env;
        checks::undefined(&found.unmatched, &declared, env, lines, &mut c.linter);
    }
    Ok(found)
}

fn expand_pairs(
    c: &mut Conversion<'_>,
    id: Id,
    lines: Lines,
    pairs: &[Pair],
) -> Result<Vec<Pair>, Error> {
    // All see the variables as they were before.
    let pairs = pairs.iter().map(|pair| {
        Ok(Pair {
            name: expand(c, id, lines, &pair.name)?,
            value: expand(c, id, lines, &pair.value)?,
            legacy: pair.legacy,
        })
    });
    pairs.collect()
}

fn warn_legacy(c: &mut Conversion<'_>, pair: &Pair, step: &Step) {
    if pair.legacy {
        let name = &step.instruction.name;
        let message = format!(
            "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
        );
        c.linter
            .warn(Rule::LegacyKeyValueFormat, step.instruction.lines, message);
    }
}

fn env(c: &mut Conversion<'_>, id: Id, pairs: &[Pair], step: &Step) -> Result<(), Error> {
    let lines = step.instruction.lines;
    let mut text = "ENV".to_owned();
    for pair in expand_pairs(c, id, lines, pairs)? {
        warn_legacy(c, &pair, step);
        checks::secret("ENV", &pair.name, lines, &mut c.linter);
        text = format!("{text} {}", pair.text());
        let build = &mut c.stages.all[id];
        build.image.set_env(&pair.name, &pair.value);
        build.state.env.set(pair.name, pair.value);
    }
    note(c, id, text)
}

fn label(c: &mut Conversion<'_>, id: Id, pairs: &[Pair], step: &Step) -> Result<(), Error> {
    let mut text = "LABEL".to_owned();
    for pair in expand_pairs(c, id, step.instruction.lines, pairs)? {
        warn_legacy(c, &pair, step);
        text = format!("{text} {}", pair.text());
        let labels = &mut c.stages.all[id].image.config.labels;
        labels.get_or_insert_default().insert(pair.name, pair.value);
    }
    note(c, id, text)
}

fn arg(c: &mut Conversion<'_>, id: Id, arguments: &[Argument], lines: Lines) -> Result<(), Error> {
    let mut texts = Vec::new();
    for argument in arguments {
        let mut argument = argument.clone();
        checks::secret("ARG", &argument.name, lines, &mut c.linter);
        let given = c.options.build_args.get(&argument.name).cloned();
        let global = c.global.get(&argument.name).map(str::to_owned);
        // One that is inherited is told of where it is declared.
        let mut inherited = false;
        argument.value = match (given, argument.value.take(), global) {
            (Some(value), _, _) => Some(value),
            (None, Some(default), _) => Some(expand(c, id, lines, &default)?),
            (None, None, Some(value)) => {
                inherited = true;
                Some(value)
            }
            (None, None, None) => None,
        };
        let build = &mut c.stages.all[id];
        if let Some(value) = &argument.value
            && !matches!(
                argument.name.as_str(),
                "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE"
            )
        {
            build.state.env.set(argument.name.clone(), value.clone());
        }
        if !inherited {
            let info = ArgInfo {
                value: argument.value.clone().unwrap_or_default(),
                argument: argument.clone(),
                lines,
                ..ArgInfo::default()
            };
            build.outline.args.insert(argument.name.clone(), info);
        }
        build.outline.used.insert(argument.name.clone());
        texts.push(shown(&argument));
        build.args.push(argument);
    }
    note(c, id, format!("ARG {}", texts.join(" ")))
}

/// Tells of an instruction that another one of its kind makes void.
fn once(c: &mut Conversion<'_>, before: Once, step: &Step) -> Once {
    if let Some(lines) = before.0 {
        let message = format!(
            "Multiple {} instructions should not be used in the same stage because only the last one will be used",
            step.instruction.name
        );
        c.linter
            .warn(Rule::MultipleInstructionsDisallowed, lines, message);
    }
    Once(Some(step.instruction.lines))
}

/// The words of a program; of a line for the shell, the shell's and the line.
fn words(c: &mut Conversion<'_>, id: Id, line: &CommandLine, step: &Step) -> Vec<String> {
    if !line.shell {
        return line.words.clone();
    }
    if c.stages.all[id]
        .image
        .config
        .shell
        .as_ref()
        .is_none_or(Vec::is_empty)
    {
        let message = format!(
            "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
            step.instruction.name
        );
        c.linter
            .warn(Rule::JSONArgsRecommended, step.instruction.lines, message);
    }
    with_shell(c, id, &line.words)
}

/// Words in the stage's shell.
pub(super) fn with_shell(c: &Conversion<'_>, id: Id, words: &[String]) -> Vec<String> {
    let image = &c.stages.all[id].image;
    let own = image.config.shell.clone().filter(|shell| !shell.is_empty());
    let mut all = own.unwrap_or_else(|| {
        let windows = image.platform.as_ref().is_some_and(|p| p.os == "windows");
        let shell: &[&str] = if windows {
            &["cmd", "/S", "/C"]
        } else {
            &["/bin/sh", "-c"]
        };
        shell.iter().map(|word| (*word).to_owned()).collect()
    });
    all.push(words.join(" "));
    all
}

fn cmd(c: &mut Conversion<'_>, id: Id, line: &CommandLine, step: &Step) -> Result<(), Error> {
    c.stages.all[id].cmd = once(c, c.stages.all[id].cmd, step);
    let words = words(c, id, line, step);
    let text = format!("CMD {}", quoted(&words));
    let config = &mut c.stages.all[id].image.config;
    config.cmd = Some(words).filter(|words| !words.is_empty());
    config.args_escaped = true;
    note(c, id, text)
}

fn entrypoint(
    c: &mut Conversion<'_>,
    id: Id,
    line: &CommandLine,
    step: &Step,
) -> Result<(), Error> {
    c.stages.all[id].entrypoint = once(c, c.stages.all[id].entrypoint, step);
    let words = words(c, id, line, step);
    let text = format!("ENTRYPOINT {}", quoted(&words));
    let build = &mut c.stages.all[id];
    build.image.config.entrypoint = Some(words).filter(|words| !words.is_empty());
    if build.cmd.0.is_none() {
        build.image.config.cmd = None;
    }
    note(c, id, text)
}

fn healthcheck(
    c: &mut Conversion<'_>,
    id: Id,
    check: &Healthcheck,
    step: &Step,
) -> Result<(), Error> {
    c.stages.all[id].healthcheck = once(c, c.stages.all[id].healthcheck, step);
    let test = quoted(check.test.as_deref().unwrap_or_default());
    // Go's `%q` of the structure: its durations and numbers are shown in it as they are.
    let durations = [
        check.interval,
        check.timeout,
        check.start_period,
        check.start_interval,
    ];
    let durations = durations.map(|time| format!("{:?}", duration(time)));
    let retries = u32::try_from(check.retries).ok().and_then(char::from_u32);
    let retries = retries.map_or_else(|| "'�'".to_owned(), quoted_char);
    let text = format!("HEALTHCHECK &{{{test} {} {retries}}}", durations.join(" "));
    c.stages.all[id].image.config.healthcheck = Some(check.clone());
    note(c, id, text)
}

fn expose(c: &mut Conversion<'_>, id: Id, words: &[String], lines: Lines) -> Result<(), Error> {
    let mut all = Vec::new();
    for word in words {
        let split = c.shell.split(word, &c.stages.all[id].state.env)?;
        for word in split {
            all.extend(ports::ports(&word, lines, &mut c.linter)?);
        }
    }
    let text = format!("EXPOSE [{}]", all.join(" "));
    let exposed = &mut c.stages.all[id].image.config.exposed_ports;
    let exposed = exposed.get_or_insert_default();
    exposed.extend(
        all.into_iter()
            .map(|port| (port, hull_spec::image::Empty {})),
    );
    note(c, id, text)
}

fn volume(c: &mut Conversion<'_>, id: Id, words: &[String], lines: Lines) -> Result<(), Error> {
    let mut paths = Vec::new();
    for word in words {
        let path = expand(c, id, lines, word)?;
        if path.is_empty() {
            return Err(Error::new("VOLUME specified can not be an empty string"));
        }
        paths.push(path);
    }
    let text = format!("VOLUME [{}]", paths.join(" "));
    let volumes = c.stages.all[id]
        .image
        .config
        .volumes
        .get_or_insert_default();
    volumes.extend(
        paths
            .into_iter()
            .map(|path| (path, hull_spec::image::Empty {})),
    );
    note(c, id, text)
}

/// The stage's directory; a relative path is one below.
fn set_dir(c: &mut Conversion<'_>, id: Id, path: &str) {
    let build = &mut c.stages.all[id];
    let dir = normalized(&build.image.config.working_dir, path);
    build.image.config.working_dir.clone_from(&dir);
    build.state.dir = dir;
}

/// A path as it is meant in a directory: absolute and, where it was relative, cleaned.
pub(super) fn normalized(parent: &str, path: &str) -> String {
    let parent = match parent.starts_with('/') {
        true => parent.to_owned(),
        false => clean(&format!("/{parent}")),
    };
    match path {
        "" => parent,
        path if path.starts_with('/') => path.to_owned(),
        path => clean(&format!("{parent}/{path}")),
    }
}

fn workdir(c: &mut Conversion<'_>, id: Id, word: &str, step: &Step) -> Result<(), Error> {
    let lines = step.instruction.lines;
    let path = expand(c, id, lines, word)?;
    if !c.stages.all[id].workdir_set && !path.starts_with('/') {
        let message = format!(
            "Relative workdir {path:?} can have unexpected results if the base image changes"
        );
        c.linter.warn(Rule::WorkdirRelativePath, lines, message);
    }
    c.stages.all[id].workdir_set = true;
    set_dir(c, id, &path);
    let dir = c.stages.all[id].state.dir.clone();
    if dir != "/" {
        let name = name(c, id, step, &step.instruction.code);
        let user = c.stages.all[id].image.config.user.clone();
        let base = c.stages.all[id]
            .state
            .tree
            .map_or(Tree::Empty, |_| Tree::Input(0));
        let make = MakeDir {
            path: dir.clone(),
            mode: 0o755,
            parents: true,
            owner: (!user.is_empty()).then(|| owner(&user, base)),
            timestamp: c.options.epoch.map(|at| at.saturating_mul(1_000_000_000)),
        };
        let op = Op::File(Files {
            actions: vec![crate::graph::Action {
                base,
                from: Tree::Empty,
                output: Some(0),
                change: Change::MakeDir(make),
            }],
        });
        let metadata = Metadata {
            name: prefixed(
                c,
                id,
                &Title {
                    text: &name,
                    on_build: step.on_build,
                },
            ),
            location: Some(place(lines)),
            ..Metadata::default()
        };
        let build = &mut c.stages.all[id];
        let inputs = build.state.tree.into_iter().collect();
        let platform = build.platform.clone();
        build.state.tree = Some(c.draft.add(op, inputs, platform, metadata));
    }
    let epoch = c.options.epoch;
    let image = &mut c.stages.all[id].image;
    image.note(format!("WORKDIR {dir}"), dir != "/", epoch)
}

/// `user[:group]`; names are looked up in `tree`.
pub(super) fn owner(text: &str, tree: Tree) -> Owner {
    let account = |name: &str| match name.parse::<u32>() {
        Ok(id) => Account::Id(id),
        Err(_) if name.is_empty() => Account::Id(0),
        Err(_) => Account::Name {
            name: name.to_owned(),
            tree,
        },
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(account(group))),
        None => (text, None),
    };
    Owner {
        user: Some(account(user)),
        group,
    }
}
