//! `COPY` and `ADD`.

use super::Error;
use super::checks;
use super::convert::Conversion;
use super::dispatch::{expand, expand_with, normalized, owner};
use super::draft::Handle;
use super::git::{self, Git};
use super::run::inline_file;
use super::stage::{Id, Step};
use super::title::{Title, name, place, prefixed};
use crate::dockerfile::shell::Shell;
use crate::dockerfile::{Action, Add, InlineFile, Lines, Sources};
use crate::graph::{
    self, Change, CopyFiles, Files, HttpSource, Metadata, Mode, Op, ProgressGroup, Source, Tree,
};
use crate::ignore::clean;
use hull_spec::Digest;
use std::sync::atomic::{AtomicU64, Ordering};

/// An instruction with variables in place.
struct Wanted<'a> {
    sources: Sources,
    /// `ADD`, with what only it has.
    add: Option<Add>,
    parents: bool,
    dest: String,
    mode: Option<Mode>,
    step: &'a Step,
}

/// The copies of an instruction, in order, and what they copy of.
#[derive(Default)]
struct Making {
    inputs: Vec<Handle>,
    copies: Vec<(CopyFiles, Option<usize>)>,
}

impl Making {
    /// A copy of a tree; `None` is the empty one.
    fn push(&mut self, tree: Option<Handle>, copy: CopyFiles) {
        let place = tree.map(
            |tree| match self.inputs.iter().position(|own| *own == tree) {
                Some(place) => place,
                None => {
                    self.inputs.push(tree);
                    self.inputs.len() - 1
                }
            },
        );
        self.copies.push((copy, place));
    }
}

pub(super) fn dispatch(c: &mut Conversion<'_>, id: Id, step: &Step) -> Result<(), Error> {
    let lines = step.instruction.lines;
    let wanted = read(c, id, step)?;
    let source = match (&wanted.add, step.sources.first(), &step.instruction.action) {
        (None, Some(source), Action::Copy(copy)) => {
            let (build, own) = (&c.stages.all[*source], &c.stages.all[id].shown);
            if !build.dispatched {
                return Err(Error::new(format!(
                    "cannot copy from stage {:?}, it needs to be defined before current stage {own:?}",
                    copy.from
                )));
            }
            Some(build.state.tree)
        }
        _ => None,
    };
    let shown = name(c, id, step, &step.instruction.code);
    let mut making = Making::default();
    let mut text = message(&wanted);
    let title = Title {
        text: &shown,
        on_build: step.on_build,
    };
    let title = prefixed(c, id, &title);
    for path in &wanted.sources.paths {
        text = format!("{text} {path}");
        if !remote(c, &wanted, path, &title, &mut making)? {
            if source.is_none() {
                let what = if wanted.add.is_some() { "Add" } else { "Copy" };
                checks::ignored(&c.ignored, what, path, lines, &mut c.linter);
            }
            let tree = match source {
                Some(tree) => tree,
                None => c.context()?,
            };
            making.push(tree, local(&wanted, path));
        }
    }
    for file in &wanted.sources.files {
        text = format!("{text} <<{}", file.name);
        let tree = inline_file(c, id, &file.name, file.content.as_bytes(), 0o644);
        let copy = CopyFiles {
            source: clean(&format!("/{}", file.name)),
            ..plain(&wanted)
        };
        making.push(Some(tree), copy);
    }
    text = format!("{text} {} # buildkit", wanted.sources.dest);
    note_paths(c, id, &wanted);
    lay(c, id, &wanted, making, (title, shown));
    let epoch = c.options.epoch;
    c.stages.all[id].image.note(text, true, epoch)
}

/// Puts variables in place, and checks what the flags say.
fn read<'a>(c: &mut Conversion<'_>, id: Id, step: &'a Step) -> Result<Wanted<'a>, Error> {
    let lines = step.instruction.lines;
    let (mut sources, mut add, parents) = match &step.instruction.action {
        Action::Add(add) => (add.sources.clone(), Some(add.clone()), false),
        Action::Copy(copy) => (copy.sources.clone(), None, copy.parents),
        _ => (Sources::default(), None, false),
    };
    sources.chown = expand(c, id, lines, &sources.chown)?;
    sources.chmod = expand(c, id, lines, &sources.chmod)?;
    if let Some(add) = &mut add {
        add.checksum = expand(c, id, lines, &add.checksum)?;
    }
    for path in &mut sources.paths {
        *path = expand(c, id, lines, path)?;
    }
    sources.dest = expand(c, id, lines, &sources.dest)?;
    for file in &mut sources.files {
        expand_file(c, id, lines, file)?;
    }
    if let Some(Add { checksum, .. }) = &add
        && !checksum.is_empty()
    {
        check_checksum(&sources)?;
    }
    Ok(Wanted {
        dest: destination(&c.stages.all[id].state.dir, &sources.dest),
        mode: mode(&sources.chmod)?,
        sources,
        add,
        parents,
        step,
    })
}

/// In a file only variables are put in place; its quotes are its own.
fn expand_file(
    c: &mut Conversion<'_>,
    id: Id,
    lines: Lines,
    file: &mut InlineFile,
) -> Result<(), Error> {
    if file.expand {
        let shell = Shell {
            no_quotes: true,
            ..Shell::new('\\')
        };
        file.content = expand_with(c, id, lines, (&shell, &file.content))?.text;
    }
    Ok(())
}

fn check_checksum(sources: &Sources) -> Result<(), Error> {
    let [path] = sources.paths.as_slice() else {
        return Err(Error::new(
            "checksum can't be specified for multiple sources",
        ));
    };
    if !is_http(path) && git::parse(path)?.is_none() {
        return Err(Error::new("checksum requires HTTP(S) or Git sources"));
    }
    Ok(())
}

fn is_http(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// Where to, with the slash or dot at its end that says "into".
fn destination(dir: &str, dest: &str) -> String {
    let dest = if matches!(dest, "" | ".") { "./" } else { dest };
    let mut path = normalized(dir, dest);
    if dest.ends_with('/') && !path.ends_with('/') {
        path.push('/');
    } else if dest.ends_with("/.") && !path.ends_with("/.") {
        if path != "/" {
            path.push('/');
        }
        path.push('.');
    }
    path
}

/// Octal, or chmod's words.
fn mode(text: &str) -> Result<Option<Mode>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Error::new(format!(
            "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        ))
    };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let bits = u32::from_str_radix(text, 8).map_err(|_| wrong())?;
        return if bits > 0o7777 {
            Err(wrong())
        } else {
            Ok(Some(Mode::Bits(bits)))
        };
    }
    for clause in text.split(',') {
        let rest = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        let known = |c: char| {
            matches!(
                c,
                '+' | '-' | '=' | 'u' | 'g' | 'o' | 'r' | 'w' | 'x' | 'X' | 's' | 't'
            )
        };
        if !rest.starts_with(['+', '-', '=']) || !rest.chars().all(known) {
            return Err(match text.starts_with(|c: char| c.is_ascii_digit()) {
                true => wrong(),
                false => Error::new("invalid syntax"),
            });
        }
    }
    Ok(Some(Mode::Words(text.to_owned())))
}

/// The beginning of what the history shows.
fn message(wanted: &Wanted<'_>) -> String {
    let mut text = if wanted.add.is_some() { "ADD" } else { "COPY" }.to_owned();
    if wanted.parents {
        text.push_str(" --parents");
    }
    for (flag, value) in [
        ("chown", &wanted.sources.chown),
        ("chmod", &wanted.sources.chmod),
    ] {
        if !value.is_empty() {
            text = format!("{text} --{flag}={value}");
        }
    }
    text
}

/// What all copies of an instruction have.
fn plain(wanted: &Wanted<'_>) -> CopyFiles {
    CopyFiles {
        dest: wanted.dest.clone(),
        mode: wanted.mode.clone(),
        create_dest: true,
        exclude: wanted.sources.exclude.clone(),
        ..CopyFiles::default()
    }
}

/// A copy of files of the context or of a stage.
fn local(wanted: &Wanted<'_>, path: &str) -> CopyFiles {
    let mut include = Vec::new();
    let mut source = path;
    if wanted.parents {
        // What stands before `/./` is not kept.
        let (parent, pattern) = path.split_once("/./").unwrap_or(("/", path));
        source = parent;
        let pattern = normalized("/", pattern);
        let pattern = pattern.trim_start_matches('/');
        // Nothing behind the slash is all of it.
        if !pattern.is_empty() {
            include.push(pattern.to_owned());
        }
    }
    let unpack = wanted.add.as_ref().map(|add| add.unpack.unwrap_or(true));
    CopyFiles {
        source: normalized("/", source),
        follow_symlink: true,
        contents: true,
        wildcard: true,
        empty_wildcard: true,
        unpack: unpack.unwrap_or(false),
        include,
        ..plain(wanted)
    }
}

/// A copy of what is behind a URL; whether the path is one.
fn remote(
    c: &mut Conversion<'_>,
    wanted: &Wanted<'_>,
    path: &str,
    title: &str,
    making: &mut Making,
) -> Result<bool, Error> {
    let git = git::parse(path)?;
    if git.is_none() && !is_http(path) {
        return Ok(false);
    }
    let Some(add) = &wanted.add else {
        let what = if git.is_some() { "git ref" } else { "URL" };
        return Err(Error::new(format!("source can't be a {what} for COPY")));
    };
    let (source, copy) = match git {
        Some(git) => (git_source(add, git)?, "/".to_owned()),
        None => http_source(add, path)?,
    };
    let metadata = Metadata::named(title);
    let tree = c.draft.add(Op::Source(source), Vec::new(), None, metadata);
    let copy = CopyFiles {
        unpack: copy != "/" && add.unpack.unwrap_or(false),
        source: copy,
        ..plain(wanted)
    };
    making.push(Some(tree), copy);
    Ok(true)
}

fn git_source(add: &Add, git: Git) -> Result<Source, Error> {
    let mut source = git.source;
    if let (Some(flag), Some(own)) = (add.keep_git_dir, git.keep_git_dir)
        && flag != own
    {
        return Err(Error::new("inconsistent keep-git-dir configuration"));
    }
    source.keep_git_dir = git.keep_git_dir.or(add.keep_git_dir).unwrap_or(false);
    if source.checksum.is_empty() {
        source.checksum.clone_from(&add.checksum);
    } else if !add.checksum.is_empty() && add.checksum != source.checksum {
        let (flag, own) = (&add.checksum, &source.checksum);
        return Err(Error::new(format!("checksum mismatch {flag:?} != {own:?}")));
    }
    Ok(Source::Git(source))
}

fn http_source(add: &Add, path: &str) -> Result<(Source, String), Error> {
    let last = url::Url::parse(path).ok().and_then(|url| {
        let path = decoded(url.path());
        let last = path.trim_end_matches('/').rsplit('/').next()?.to_owned();
        (!matches!(last.as_str(), "" | "." | "..")).then_some(last)
    });
    let name = last.unwrap_or_else(|| "__unnamed__".to_owned());
    let checksum = match add.checksum.as_str() {
        "" => None,
        text => {
            let digest: Result<Digest, _> = text.parse();
            Some(digest.map_err(|_| Error::new("invalid checksum digest format"))?)
        }
    };
    let source = HttpSource {
        url: path.to_owned(),
        checksum,
        filename: name.clone(),
        ..HttpSource::default()
    };
    Ok((Source::Http(source), format!("/{name}")))
}

/// A URL's path with its `%41` as letters; what is no text stays as it is written.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..2)
            .filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| path.to_owned())
}

/// What of the context, or of another stage, is used.
fn note_paths(c: &mut Conversion<'_>, id: Id, wanted: &Wanted<'_>) {
    let paths = wanted.sources.paths.iter().filter(|path| !is_http(path));
    let paths = paths.map(|path| clean(&format!("/{path}")));
    match wanted.step.sources.first() {
        Some(source) if wanted.add.is_none() => {
            let bottom = c.stages.bottom(*source);
            c.stages.all[bottom].paths.extend(paths);
        }
        _ => c.stages.all[id].context_paths.extend(paths),
    }
}

/// Names of groups in the progress.
static GROUP: AtomicU64 = AtomicU64::new(0);

/// Adds the copies: onto the stage's files, or with `--link` as a layer of their own above them.
fn lay(
    c: &mut Conversion<'_>,
    id: Id,
    wanted: &Wanted<'_>,
    making: Making,
    (title, shown): (String, String),
) {
    let location = Some(place(wanted.step.instruction.lines));
    let platform = c.stages.all[id].platform.clone();
    let below = c.stages.all[id].state.tree;
    let metadata = Metadata {
        name: title.clone(),
        ignore_cache: c.stages.all[id].ignore_cache,
        location,
        ..Metadata::default()
    };
    let link = wanted.sources.link && wanted.sources.chmod.is_empty();
    let base = if link { None } else { below };
    let mut inputs: Vec<Handle> = base.into_iter().collect();
    let first = inputs.len();
    inputs.extend(making.inputs);
    let last = making.copies.len().saturating_sub(1);
    let copies = making.copies.into_iter().enumerate();
    let actions = copies.map(|(number, (mut copy, from))| {
        let onto = match number {
            0 if first == 1 => Tree::Input(0),
            0 => Tree::Empty,
            number => Tree::Action(number - 1),
        };
        let chown = &wanted.sources.chown;
        copy.owner = (!chown.is_empty()).then(|| owner(chown, onto));
        graph::Action {
            base: onto,
            from: from.map_or(Tree::Empty, |place| Tree::Input(first + place)),
            output: (number == last).then_some(0),
            change: Change::Copy(Box::new(copy)),
        }
    });
    let op = Op::File(Files {
        actions: actions.collect(),
    });
    if !link {
        let handle = c.draft.add(op, inputs, platform, metadata);
        c.stages.all[id].state.tree = Some(handle);
        return;
    }
    let layer = (op, inputs);
    above(c, id, layer, metadata, (title, shown, wanted.step.on_build));
}

/// A layer of its own, laid above the stage's files: it does not change when these do.
fn above(
    c: &mut Conversion<'_>,
    id: Id,
    (op, inputs): (Op, Vec<Handle>),
    mut metadata: Metadata,
    (title, shown, on_build): (String, String, bool),
) {
    let platform = c.stages.all[id].platform.clone();
    let below = c.stages.all[id].state.tree;
    let number = GROUP.fetch_add(1, Ordering::Relaxed);
    let group = |weak| ProgressGroup {
        id: format!("link-{number}"),
        name: title.clone(),
        weak,
    };
    metadata.group = Some(group(true));
    let layer = c.draft.add(op, inputs, platform.clone(), metadata.clone());
    c.stages.all[id].count -= 1;
    metadata.group = Some(group(false));
    let title = Title {
        text: &format!("LINK {shown}"),
        on_build,
    };
    metadata.name = prefixed(c, id, &title);
    let inputs: Vec<Handle> = below.into_iter().chain([layer]).collect();
    let merge = Op::Merge {
        inputs: (0..inputs.len()).collect(),
    };
    c.stages.all[id].state.tree = Some(c.draft.add(merge, inputs, platform, metadata));
}
