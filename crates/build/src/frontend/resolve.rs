//! Which images stages begin with.

use super::Error;
use super::checks;
use super::convert::{Conversion, local};
use super::draft::Handle;
use super::image::Image;
use super::options::Options;
use super::stage::{Id, Named};
use super::title::{Title, place, prefixed};
use crate::dockerfile::{hinted, trigger};
use crate::graph::{
    GitSource, HttpSource, ImageSource, LocalSource, Metadata, OciLayoutSource, Op, Source,
};
use crate::world::ResolvedImage;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_spec::{Digest, Platform, Reference};
use std::collections::{BTreeMap, BTreeSet};

/// Images that are so often misspelt that they are worth a hint.
const COMMON: [&str; 7] = [
    "alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora",
];

/// Looks up the images of all stages that are needed, and does so again for what `ONBUILD` brings.
pub(super) fn all(c: &mut Conversion<'_>, target: Id) -> Result<BTreeSet<Id>, Error> {
    loop {
        let reachable = c.stages.reachable(target);
        look_up_together(c, &reachable);
        for id in 0..c.stages.all.len() {
            let build = &c.stages.all[id];
            if build.base.is_none() && !build.dispatched && !build.resolved {
                let needed = c.all_stages || reachable.contains(&id);
                let lines = build.stage.lines;
                one(c, id, needed).map_err(|error| error.at(lines))?;
            }
        }
        let mut more = false;
        for id in &reachable {
            more |= triggers(c, *id)?;
        }
        if !more {
            return Ok(reachable);
        }
    }
}

/// Asks for all images at once; each answer is taken, or the failure told, when its stage's turn comes.
fn look_up_together(c: &Conversion<'_>, reachable: &BTreeSet<Id>) {
    let mut wanted: Vec<(ImageSource, Platform)> = Vec::new();
    for (id, build) in c.stages.all.iter().enumerate() {
        let is_image = build.base.is_none()
            && !build.dispatched
            && !build.resolved
            && build.named.is_none()
            && build.stage.base != "scratch";
        if !is_image || !(c.all_stages || reachable.contains(&id)) {
            continue;
        }
        let platform = build
            .platform
            .as_ref()
            .unwrap_or(&c.target_platform)
            .clone();
        let Ok(source) = image_source(c, &build.stage.base) else {
            continue;
        };
        let named = named(c.options, &source.reference, &platform);
        if matches!(named, Ok(None)) && !wanted.contains(&(source.clone(), platform.clone())) {
            wanted.push((source, platform));
        }
    }
    if wanted.len() < 2 {
        return;
    }
    std::thread::scope(|scope| {
        // More connections than this do not make it faster.
        for several in wanted.chunks(wanted.len().div_ceil(8)) {
            let (host, many) = (c.host, c.options.multi_platform);
            scope.spawn(move || {
                for (source, platform) in several {
                    let _ = host.image(source, platform, &title(source, platform, many));
                }
            });
        }
    });
}

fn title(source: &ImageSource, platform: &Platform, many: bool) -> String {
    let platform = if many {
        format!("{platform} ")
    } else {
        String::new()
    };
    format!(
        "[{platform}internal] load metadata for {}",
        source.reference
    )
}

fn image_source(c: &Conversion<'_>, name: &str) -> Result<ImageSource, Error> {
    let reference: Reference = name
        .parse()
        .map_err(|why| Error::new(format!("failed to parse stage name {name:?}: {why}")))?;
    Ok(ImageSource {
        reference: reference.with_default_tag().to_string(),
        resolve: c.options.resolve,
        layer_limit: 0,
    })
}

/// The files and the config that a stage begins with.
fn one(c: &mut Conversion<'_>, id: Id, needed: bool) -> Result<(), Error> {
    let build = &mut c.stages.all[id];
    build.resolved = needed;
    // What is no stage has no instructions.
    build.dispatched |= build.implicit;
    if build.stage.base == "scratch" && build.named.is_none() {
        build.image = Image::scratch(&c.target_platform);
        build.platform = Some(c.target_platform.clone());
        return Ok(());
    }
    let name = build.stage.base.clone();
    let platform = build
        .platform
        .as_ref()
        .unwrap_or(&c.target_platform)
        .clone();
    let stage_context = build.named.clone();
    let source = image_source(c, &name)?;
    if !needed {
        c.stages.all[id].platform = Some(platform);
        return Ok(());
    }
    if let Some(named) = stage_context {
        let (tree, image) = load(c, id, &named, &platform)?;
        let build = &mut c.stages.all[id];
        build.dispatched = true;
        build.state.tree = tree;
        if let Some(image) = image {
            build.platform = image.platform.clone().or(build.platform.take());
            build.image = image;
        }
        return Ok(());
    }
    if let Some(named) = named(c.options, &source.reference, &platform)? {
        let (tree, image) = load(c, id, &named, &platform)?;
        let build = &mut c.stages.all[id];
        build.image = image.unwrap_or_else(|| Image::scratch(&platform));
        build.state.tree = tree;
        build.platform = Some(platform);
        return Ok(());
    }
    let title = title(&source, &platform, c.options.multi_platform);
    let found = c.host.image(&source, &platform, &title).map_err(|error| {
        let stages = c.stages.names();
        let message = format!("{name}: {error}");
        Error::new(hinted(message, &name, stages.chain(COMMON)))
    })?;
    from_image(c, id, &name, &found, &platform)
}

fn from_image(
    c: &mut Conversion<'_>,
    id: Id,
    name: &str,
    found: &ResolvedImage,
    platform: &Platform,
) -> Result<(), Error> {
    let image = Image::read(&found.config)?;
    c.stages.all[id].platform = Some(platform.clone());
    if !image.empty {
        let code = c.stages.all[id].stage.code.clone();
        let title = Title {
            text: &format!("FROM {}", found.reference),
            on_build: false,
        };
        let lines = c.stages.all[id].stage.lines;
        let mut metadata = Metadata {
            name: prefixed(c, id, &title),
            location: Some(place(lines)),
            ..Metadata::default()
        };
        let key = "com.docker.dockerfile.v1.command".to_owned();
        metadata.description.insert(key, code);
        let op = Op::Source(Source::Image(ImageSource {
            reference: found.reference.clone(),
            resolve: c.options.resolve,
            layer_limit: 0,
        }));
        let handle = c
            .draft
            .add(op, Vec::new(), Some(platform.clone()), metadata);
        c.stages.all[id].state.tree = Some(handle);
        let stage = &c.stages.all[id].stage;
        checks::base_platform(
            stage,
            name,
            platform,
            image.platform.as_ref(),
            &mut c.linter,
        );
    }
    let build = &mut c.stages.all[id];
    build.stage.base.clone_from(&found.reference);
    build.image = image;
    Ok(())
}

/// Adds the instructions that a base wants to have done; whether these need further stages.
fn triggers(c: &mut Conversion<'_>, id: Id) -> Result<bool, Error> {
    let texts = match c.stages.all[id].base {
        None => c.stages.all[id]
            .image
            .config
            .on_build
            .take()
            .unwrap_or_default(),
        Some(_) if c.stages.all[id].triggers_read => Vec::new(),
        Some(base) => {
            let steps = c.stages.all[base].steps.iter();
            let texts = steps.filter_map(|step| match &step.instruction.action {
                crate::dockerfile::Action::OnBuild(text) => Some(text.clone()),
                _ => None,
            });
            texts.collect()
        }
    };
    c.stages.all[id].triggers_read = true;
    let lines = c.stages.all[id].stage.lines;
    let mut steps = Vec::new();
    for text in &texts {
        let instruction = trigger(text, lines).map_err(|error| error.only_at(lines))?;
        let step = c.step(id, instruction, true);
        steps.push(step.map_err(|error| error.only_at(lines))?);
    }
    let more = steps.iter().any(|step| !step.sources.is_empty());
    let build = &mut c.stages.all[id];
    build.total += steps.len();
    build.steps.splice(0..0, steps);
    Ok(more)
}

/// The context that stands for an image or stage.
pub(super) fn named(
    options: &Options,
    name: &str,
    platform: &Platform,
) -> Result<Option<Named>, Error> {
    if options.contexts.is_empty() || matches!(name.to_lowercase().as_str(), "scratch" | "context")
    {
        return Ok(None);
    }
    let reference: Reference = name
        .parse()
        .map_err(|why| Error::new(format!("invalid context name {name}: {why}")))?;
    let familiar = reference.familiar();
    let short = familiar.strip_suffix(":latest").unwrap_or(&familiar);
    let with_platform = format!("{short}::{}", super::normalized(platform));
    let mut names = [with_platform, short.to_owned()].into_iter();
    Ok(names.find_map(|name| {
        let input = options.contexts.get(&name)?.clone();
        Some(Named { name, input })
    }))
}

/// The files and the config of a named context.
fn load(
    c: &mut Conversion<'_>,
    id: Id,
    named: &Named,
    platform: &Platform,
) -> Result<(Option<Handle>, Option<Image>), Error> {
    let Named { name, input } = named;
    let (kind, rest) = input
        .split_once(':')
        .ok_or_else(|| Error::new(format!("invalid context specifier {input} for {name}")))?;
    let bare = rest.strip_prefix("//").unwrap_or(rest);
    match kind {
        "docker-image" if bare == "scratch" => Ok((None, None)),
        "docker-image" => {
            let source = image_source(c, bare)?;
            let title = format!("[context {name}] load metadata for {}", source.reference);
            let found = c.host.image(&source, platform, &title)?;
            let image = Image::read(&found.config)?;
            let shown = format!("[context {name}] {bare}");
            let op = Op::Source(Source::Image(ImageSource {
                reference: found.reference,
                ..source
            }));
            let metadata = Metadata::named(shown);
            let handle = c
                .draft
                .add(op, Vec::new(), Some(platform.clone()), metadata);
            Ok((Some(handle), Some(image)))
        }
        "oci-layout" => layout(c, named, bare, platform),
        "local" => {
            let hint = format!("context:{name}");
            let title = format!("[context {name}] load .dockerignore");
            let source = LocalSource {
                name: rest.to_owned(),
                session: c.options.session(rest),
                exclude: c.host.local_ignore(rest, &hint, &title, c.options)?,
                shared_key_hint: hint,
                ..LocalSource::default()
            };
            let title = format!("[context {name}] load from client");
            let handle = local(&mut c.draft, source, title);
            c.locals.push((handle, id));
            Ok((Some(handle), None))
        }
        "input" => input_of(c, named, rest),
        _ => remote(c, named, kind).map(|handle| (Some(handle), None)),
    }
}

/// An image in a layout of the client's: `store@sha256:…`.
fn layout(
    c: &mut Conversion<'_>,
    named: &Named,
    reference: &str,
    platform: &Platform,
) -> Result<(Option<Handle>, Option<Image>), Error> {
    let name = &named.name;
    let wrong = || {
        Error::new(format!(
            "invalid reference {reference:?} of an OCI layout for {name}: it needs a store and a digest"
        ))
    };
    let (store, digest) = reference.split_once('@').ok_or_else(wrong)?;
    let digest: Digest = digest.parse().map_err(|_| wrong())?;
    // A tag before the digest says nothing more.
    let store = store.rsplit_once(':').map_or(store, |(store, _)| store);
    if store.is_empty() {
        return Err(wrong());
    }
    let source = OciLayoutSource {
        reference: format!("{store}@{digest}"),
        store: store.to_owned(),
        session: c.options.session(store),
        layer_limit: 0,
    };
    let title = format!("[context {name}] load metadata for {name}@{digest}");
    let found = c.host.layout(&source, platform, &title)?;
    let image = Image::read(&found.config)?;
    let metadata = Metadata::named(format!("[context {name}] {name}@{digest}"));
    let op = Op::Source(Source::OciLayout(source));
    let handle = c
        .draft
        .add(op, Vec::new(), Some(platform.clone()), metadata);
    Ok((Some(handle), Some(image)))
}

/// A tree that the client has made, with the config that it says it has.
fn input_of(
    c: &mut Conversion<'_>,
    named: &Named,
    input: &str,
) -> Result<(Option<Handle>, Option<Image>), Error> {
    let name = &named.name;
    let found = c.options.inputs.get(input);
    let found = found.ok_or_else(|| Error::new(format!("invalid input {input} for {name}")))?;
    let handle = found
        .output
        .map(|output| c.draft.import(&found.graph, output));
    let Some(text) = c.options.input_metadata.get(input) else {
        return Ok((handle, None));
    };
    let wrong = |why: &dyn std::fmt::Display| {
        Error::new(format!("failed to parse input metadata for {name}: {why}"))
    };
    let metadata: BTreeMap<String, String> =
        serde_json::from_str(text).map_err(|why| wrong(&why))?;
    let image = match metadata.get("containerimage.config") {
        Some(config) => {
            let config = STANDARD.decode(config).map_err(|why| wrong(&why))?;
            Some(Image::read(&config)?)
        }
        None => None,
    };
    Ok((handle, image))
}

fn remote(c: &mut Conversion<'_>, named: &Named, kind: &str) -> Result<Handle, Error> {
    let Named { name, input } = named;
    let title = format!("[context {name}] {input}");
    let source = match super::git::parse(input)? {
        Some(git) => Source::Git(GitSource {
            keep_git_dir: git.keep_git_dir.unwrap_or(false),
            ..git.source
        }),
        None if matches!(kind, "http" | "https") => Source::Http(HttpSource {
            url: input.clone(),
            ..HttpSource::default()
        }),
        None if kind == "git" => {
            return Err(Error::new(format!("invalid git context {input}")));
        }
        None => {
            let message = format!("unsupported context source {kind} for {name}");
            return Err(Error::new(message));
        }
    };
    let metadata = Metadata::named(title);
    Ok(c.draft.add(Op::Source(source), Vec::new(), None, metadata))
}
