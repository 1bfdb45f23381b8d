//! From a Dockerfile to a graph, for one platform.
//!
//! ```text
//! FROM lines ─► stages, what each is built on ─► what they take files of (COPY --from, mounts)
//!    ─► those that the target needs: their images are looked up, ONBUILD of these may need more
//!    ─► in order: each instruction changes files, config and variables ─► the target's graph and config
//! ```

use super::Error;
use super::draft::{Draft, Handle};
use super::host::Host;
use super::image::Image;
use super::options::Options;
use super::stage::{ArgInfo, Build, Id, Outline, Stages, Step};
use super::{checks, dispatch, resolve};
use crate::dockerfile::shell::{Environment, Shell, Variables as _};
use crate::dockerfile::{
    self, Action, Argument, Dockerfile, Instruction, Lines, Linter, Stage, Syntax, hinted,
};
use crate::graph::{Graph, LocalSource, Metadata, Op, Output, Source};
use crate::ignore::Matcher;
use hull_spec::Platform;
use std::collections::{BTreeMap, BTreeSet};

/// A conversion under way.
pub(super) struct Conversion<'a> {
    pub(super) options: &'a Options,
    pub(super) host: &'a Host<'a>,
    pub(super) shell: Shell,
    pub(super) linter: Linter,
    pub(super) draft: Draft,
    pub(super) stages: Stages,
    /// `ARG` before the first stage, and predefined ones.
    pub(super) global: Environment,
    pub(super) target_platform: Platform,
    /// Whether nobody named a platform.
    pub(super) implicit: bool,
    /// Whether stages are looked at that nobody needs.
    pub(super) all_stages: bool,
    /// What of the context is left out.
    pub(super) ignore: Vec<String>,
    pub(super) ignored: Matcher,
    context: Option<Handle>,
    /// Local sources of named contexts, and the stage whose used paths are those that are wanted of them.
    pub(super) locals: Vec<(Handle, Id)>,
    /// Bytes of environments so far.
    pub(super) env_size: usize,
}

/// What a target becomes.
pub(super) struct Converted {
    pub(super) output: Option<Output>,
    pub(super) image: Image,
}

/// What is converted.
pub(super) struct Input<'a> {
    pub(super) syntax: &'a Syntax,
    pub(super) options: &'a Options,
    pub(super) host: &'a Host<'a>,
    pub(super) platform: Option<&'a Platform>,
    pub(super) all_stages: bool,
}

impl<'a> Conversion<'a> {
    /// Does all but the graph. The stage that is the target comes back; warnings are in `linter` also when it
    /// fails.
    pub(super) fn run(input: &Input<'a>, linter: &mut Linter) -> Result<(Self, Id), Error> {
        let build_platform = super::host_platform();
        let mut conversion = Self {
            options: input.options,
            host: input.host,
            shell: Shell::new(input.syntax.escape),
            linter: std::mem::take(linter),
            draft: Draft::default(),
            stages: Stages::default(),
            global: Environment::new(),
            target_platform: input.platform.unwrap_or(&build_platform).clone(),
            implicit: input.platform.is_none(),
            all_stages: input.all_stages,
            ignore: Vec::new(),
            ignored: Matcher::default(),
            context: None,
            locals: Vec::new(),
            env_size: 0,
        };
        let done = conversion.stages(input.syntax);
        *linter = conversion.linter.clone();
        Ok((conversion, done?))
    }

    fn stages(&mut self, syntax: &Syntax) -> Result<Id, Error> {
        let file = Dockerfile::read(syntax, &mut self.linter)?;
        let Some(last) = file.stages.last() else {
            return Err(Error::new("dockerfile contains no stages to build"));
        };
        checks::stage_names(&file.stages, &mut self.linter);
        checks::casing(&file.stages, &mut self.linter);
        let target = match self.options.target.as_str() {
            "" => last.name.clone(),
            name => name.to_owned(),
        };
        let predefined = self.predefined(&target);
        self.check_default_bases(&file, &predefined);
        let mut outline = Outline::default();
        let args = &self.options.build_args;
        self.global = global_args(
            &self.shell,
            predefined,
            &file.global_args,
            args,
            &mut outline,
        )?;
        for (place, stage) in file.stages.into_iter().enumerate() {
            self.begin(place, stage, &outline)?;
        }
        let target = self.target()?;
        self.connect()?;
        if self.stages.all.len() == 1 {
            self.stages.all[0].shown.clear();
        }
        let reachable = resolve::all(self, target)?;
        self.ignore = self.host.ignore_patterns(self.options)?;
        self.ignored = Matcher::new(&self.ignore).map_err(|why| Error::new(why.to_string()))?;
        for id in 0..self.stages.all.len() {
            if self.all_stages || (reachable.contains(&id) && !self.stages.all[id].dispatched) {
                dispatch::stage(self, id)?;
            }
        }
        self.linter.verdict()?;
        self.finish_image(target);
        Ok(target)
    }

    fn predefined(&self, target: &str) -> Environment {
        let build = super::host_platform();
        let goal = &self.target_platform;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let target = if target.is_empty() { "default" } else { target };
        let all = [
            ("BUILDPLATFORM", build.to_string()),
            ("BUILDOS", build.os.clone()),
            ("BUILDOSVERSION", text(&build.os_version)),
            ("BUILDARCH", build.architecture.clone()),
            ("BUILDVARIANT", text(&build.variant)),
            ("TARGETPLATFORM", goal.to_string()),
            ("TARGETOS", goal.os.clone()),
            ("TARGETOSVERSION", text(&goal.os_version)),
            ("TARGETARCH", goal.architecture.clone()),
            ("TARGETVARIANT", text(&goal.variant)),
            ("TARGETSTAGE", target.to_owned()),
        ];
        let given = |name| self.options.build_args.get(name).cloned();
        all.into_iter()
            .map(|(name, value)| (name, given(name).unwrap_or(value)))
            .collect()
    }

    /// Bases should be images also where no build argument is given.
    fn check_default_bases(&mut self, file: &Dockerfile, predefined: &Environment) {
        let none = BTreeMap::new();
        let mut outline = Outline::default();
        let args = &file.global_args;
        let Ok(env) = global_args(&self.shell, predefined.clone(), args, &none, &mut outline)
        else {
            return;
        };
        for stage in &file.stages {
            let Ok(found) = self.shell.expand(&stage.base, &env) else {
                return;
            };
            checks::default_base(stage, &found.text, &mut self.linter);
        }
    }

    /// A stage from its `FROM`.
    fn begin(&mut self, place: usize, mut stage: Stage, outline: &Outline) -> Result<(), Error> {
        let lines = stage.lines;
        let found = self.shell.expand(&stage.base, &self.global);
        let found = found.map_err(|error| error.at(lines))?;
        let global = self.global.clone();
        let mut known: BTreeSet<&str> = global.names().into_iter().collect();
        known.extend(outline.args.keys().map(String::as_str));
        checks::undefined_in_from(&known, &found.unmatched, lines, &mut self.linter);
        if found.text.is_empty() {
            let message = format!("base name ({}) should not be blank", stage.base);
            return Err(Error::new(message).at(lines));
        }
        let mut used = found.matched;
        stage.base = found.text;
        let platform = self.stage_platform(&stage, &known, &mut used)?;
        let mut build = Build {
            shown: stage.name.clone(),
            platform,
            outline: outline.clone(),
            ignore_cache: self.options.ignores_cache(&stage.name),
            stage,
            ..Build::default()
        };
        if !build.stage.name.is_empty() {
            let platform = build.platform.as_ref().unwrap_or(&self.target_platform);
            build.named = resolve::named(self.options, &build.stage.name, platform)?;
            if build.named.is_some() {
                let id = self.stages.add(build);
                self.stages.all[id].base = None;
                return Ok(());
            }
        }
        if build.stage.name.is_empty() {
            build.shown = format!("stage-{place}");
        }
        let id = self.stages.add(build);
        let build = &mut self.stages.all[id];
        build.outline.used.extend(used);
        let base = build.base.is_none() && build.stage.base != "scratch";
        let counts = |instruction: &&Instruction| {
            use Action::{Add, Copy, Run, Workdir};
            matches!(instruction.action, Add(_) | Copy(_) | Run(_) | Workdir(_))
        };
        let steps = build.stage.instructions.iter().filter(counts).count();
        build.total = usize::from(base) + steps;
        Ok(())
    }

    fn stage_platform(
        &mut self,
        stage: &Stage,
        known: &BTreeSet<&str>,
        used: &mut BTreeSet<String>,
    ) -> Result<Option<Platform>, Error> {
        if stage.platform.is_empty() {
            return Ok(None);
        }
        let lines = stage.lines;
        let found = self
            .shell
            .expand(&stage.platform, &self.global)
            .map_err(|error| {
                error
                    .within("failed to process arguments for platform ")
                    .at(lines)
            })?;
        checks::undefined_in_from(known, &found.unmatched, lines, &mut self.linter);
        checks::redundant_platform(stage, &found, &self.global, &mut self.linter);
        checks::constant_platform(stage, &found, &mut self.linter);
        let names = self.global.names();
        let hint = |message: String| {
            let unmatched = found.unmatched.iter();
            let near = unmatched.map(|name| hinted(message.clone(), name, names.iter().copied()));
            let near = near.into_iter().find(|text| *text != message);
            Error::new(near.unwrap_or(message)).at(lines)
        };
        if found.text.is_empty() {
            let text = &stage.platform;
            return Err(hint(format!("empty platform value from expression {text}")));
        }
        let platform: Platform = found.text.parse().map_err(|why| {
            hint(format!("{why}"))
                .within(format_args!("failed to parse platform {}", stage.platform))
        })?;
        used.extend(found.matched);
        Ok(Some(platform))
    }

    fn target(&self) -> Result<Id, Error> {
        let name = self.options.target.as_str();
        if name.is_empty() {
            return Ok(self.stages.all.len() - 1);
        }
        self.stages.find(name).ok_or_else(|| {
            let message = format!("target stage {name:?} could not be found");
            Error::new(hinted(message, name, self.stages.names()))
        })
    }

    /// Finds what each stage takes files of.
    fn connect(&mut self) -> Result<(), Error> {
        for id in 0..self.stages.all.len() {
            let instructions = std::mem::take(&mut self.stages.all[id].stage.instructions);
            for instruction in instructions {
                let step = self.step(id, instruction, false)?;
                self.stages.all[id].steps.push(step);
            }
        }
        if let Some((stage, places)) = self.stages.circle() {
            let mut error = Error::new(format!("circular dependency detected on stage: {stage}"));
            error.places = places;
            return Err(error);
        }
        Ok(())
    }

    /// An instruction with what it takes files of.
    pub(super) fn step(
        &mut self,
        id: Id,
        instruction: Instruction,
        on_build: bool,
    ) -> Result<Step, Error> {
        let lines = instruction.lines;
        let sources = match &instruction.action {
            Action::Copy(copy) if !copy.from.is_empty() => {
                vec![self.copy_source(&copy.from, lines)?]
            }
            Action::Run(run) => {
                let mounts = run.mounts.iter();
                let names: Vec<String> = mounts.map(|mount| mount.from.clone()).collect();
                let sources = names.iter().map(|name| match name.as_str() {
                    "" => self.source("scratch", lines),
                    name => self.source(name, lines),
                });
                sources.collect()
            }
            _ => Vec::new(),
        };
        for source in &sources {
            self.stages.all[id].deps.entry(*source).or_insert(lines);
        }
        Ok(Step {
            instruction,
            sources,
            on_build,
        })
    }

    fn copy_source(&mut self, from: &str, lines: Lines) -> Result<Id, Error> {
        let expanded = self.shell.expand(from, &dockerfile::shell::NoVariables)?;
        if expanded.text != from {
            return Err(Error::new(
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
            ));
        }
        match from.parse::<i64>() {
            Ok(number) => usize::try_from(number)
                .ok()
                .filter(|place| *place < self.stages.all.len())
                .ok_or_else(|| Error::new(format!("invalid stage index {number}"))),
            Err(_) => Ok(self.source(from, lines)),
        }
    }

    /// A stage by its name, or a new one for an image.
    fn source(&mut self, name: &str, lines: Lines) -> Id {
        if let Some(id) = self.stages.find(name) {
            return id;
        }
        self.stages.add(Build {
            stage: Stage {
                base: name.to_owned(),
                lines,
                ..Stage::default()
            },
            implicit: true,
            ..Build::default()
        })
    }

    /// The build's context.
    pub(super) fn context(&mut self) -> Result<Option<Handle>, Error> {
        if self.context.is_none() {
            let handle = self.host.context(self.options, &mut self.draft)?;
            self.context = Some(handle);
        }
        Ok(self.context)
    }

    /// Labels, and the platform that was asked for.
    fn finish_image(&mut self, target: Id) {
        let image = &mut self.stages.all[target].image;
        if !self.options.labels.is_empty() {
            let labels = image.config.labels.get_or_insert_default();
            labels.extend(self.options.labels.clone());
        }
        if !self.implicit {
            let wanted = &self.target_platform;
            let same = image
                .platform
                .as_ref()
                .is_some_and(|own| own.os == wanted.os && own.architecture == wanted.architecture);
            let own = image.platform.get_or_insert_with(|| wanted.clone());
            own.os.clone_from(&wanted.os);
            own.architecture.clone_from(&wanted.architecture);
            if wanted.variant.is_some() || !same {
                own.variant.clone_from(&wanted.variant);
            }
            if wanted.os_version.is_some() || !same {
                own.os_version.clone_from(&wanted.os_version);
            }
        }
        if let Some(own) = &mut image.platform {
            *own = super::normalized(own);
        }
    }

    /// Adds the target to a graph.
    pub(super) fn finish(mut self, target: Id, graph: &mut Graph) -> Result<Converted, Error> {
        self.stages.all[target].paths.insert("/".to_owned());
        let mut wanted = BTreeSet::new();
        for build in &self.stages.all {
            wanted.extend(build.context_paths.iter().cloned());
        }
        if let Some(handle) = self.context {
            follow(self.draft.op_mut(handle), &wanted, &self.ignore);
        }
        for (handle, id) in std::mem::take(&mut self.locals) {
            let paths = self.stages.all[self.stages.bottom(id)].paths.clone();
            follow(self.draft.op_mut(handle), &paths, &[]);
        }
        let build = &mut self.stages.all[target];
        let image = std::mem::take(&mut build.image);
        let tree = build.state.tree;
        let output = self.draft.finish(tree, graph);
        let output =
            output.map_err(|why| Error::new(format!("failed to marshal LLB definition: {why}")))?;
        Ok(Converted { output, image })
    }
}

/// Only these paths are wanted of a local source; `/` is all of it.
fn follow(op: &mut Op, paths: &BTreeSet<String>, exclude: &[String]) {
    let Op::Source(Source::Local(local)) = op else {
        return;
    };
    local.exclude.extend_from_slice(exclude);
    if !paths.contains("/") {
        let relative = paths
            .iter()
            .map(|path| path.trim_start_matches('/').to_owned());
        local.follow = relative.collect();
    }
}

/// A source that the client has.
pub(super) fn local(draft: &mut Draft, source: LocalSource, name: String) -> Handle {
    let op = Op::Source(Source::Local(source));
    draft.add(op, Vec::new(), None, Metadata::named(name))
}

/// The variables that `FROM` sees.
fn global_args(
    shell: &Shell,
    mut env: Environment,
    instructions: &[Instruction],
    given: &BTreeMap<String, String>,
    outline: &mut Outline,
) -> Result<Environment, Error> {
    for instruction in instructions {
        let Action::Arg(arguments) = &instruction.action else {
            continue;
        };
        for argument in arguments {
            let mut info = ArgInfo {
                argument: argument.clone(),
                lines: instruction.lines,
                ..ArgInfo::default()
            };
            let value = match (given.get(&argument.name), &argument.value) {
                (Some(value), _) => Some(value.clone()),
                (None, None) => None,
                (None, Some(default)) => {
                    let found = shell.expand(default, &env);
                    let found = found.map_err(|error| error.at(instruction.lines))?;
                    info.deps = found.matched;
                    // `ARG a=${a}x` is made of what the first `a` was made of.
                    if info.deps.remove(&argument.name)
                        && let Some(old) = outline.args.get(&argument.name)
                    {
                        info.deps.extend(old.deps.clone());
                    }
                    Some(found.text)
                }
            };
            if let Some(value) = value {
                info.value.clone_from(&value);
                env.set(argument.name.clone(), value);
            }
            outline.args.insert(argument.name.clone(), info);
        }
    }
    Ok(env)
}

/// What the history shows of a build argument.
pub(super) fn shown(argument: &Argument) -> String {
    match &argument.value {
        Some(value) => format!("{}={value}", argument.name),
        None => argument.name.clone(),
    }
}
