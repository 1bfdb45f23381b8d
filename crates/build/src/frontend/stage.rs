//! The stages of a Dockerfile while they become a graph.

use super::draft::Handle;
use super::image::Image;
use crate::dockerfile::shell::Environment;
use crate::dockerfile::{Argument, Instruction, Lines, Stage};
use hull_spec::Platform;
use std::collections::{BTreeMap, BTreeSet};

/// A stage by its place.
pub(super) type Id = usize;

/// What a step begins with.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Its files; `None`: none.
    pub(super) tree: Option<Handle>,
    pub(super) env: Environment,
    pub(super) dir: String,
    pub(super) user: String,
}

/// An instruction of a stage.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) instruction: Instruction,
    /// The stages that `COPY --from`, and each mount of `RUN`, take files of.
    pub(super) sources: Vec<Id>,
    /// Whether the base image asked for it.
    pub(super) on_build: bool,
}

/// Whether an instruction of which one is enough was there already, and where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Once(pub(super) Option<Lines>);

/// A stage, or an image that is named by `--from` alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Build {
    pub(super) stage: Stage,
    /// What is shown of it.
    pub(super) shown: String,
    /// The stage it is built on.
    pub(super) base: Option<Id>,
    /// The stages it takes files of, and where the first time.
    pub(super) deps: BTreeMap<Id, Lines>,
    pub(super) steps: Vec<Step>,
    pub(super) platform: Option<Platform>,
    /// The named context that stands for it.
    pub(super) named: Option<Named>,
    /// No stage, but an image.
    pub(super) implicit: bool,
    pub(super) resolved: bool,
    pub(super) dispatched: bool,
    pub(super) triggers_read: bool,
    pub(super) image: Image,
    pub(super) state: State,
    pub(super) args: Vec<Argument>,
    /// Paths of the build's context that it uses.
    pub(super) context_paths: BTreeSet<String>,
    /// Paths of its own files that others use.
    pub(super) paths: BTreeSet<String>,
    pub(super) ignore_cache: bool,
    pub(super) count: usize,
    pub(super) total: usize,
    pub(super) workdir_set: bool,
    pub(super) cmd: Once,
    pub(super) entrypoint: Once,
    pub(super) healthcheck: Once,
    pub(super) outline: Outline,
}

/// A context with a name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// Name, and platform where it was given with one.
    pub(super) name: String,
    /// What it is: `docker-image://…`, `local:…`, …
    pub(super) input: String,
}

/// What `--call outline` tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    pub(super) args: BTreeMap<String, ArgInfo>,
    pub(super) used: BTreeSet<String>,
    pub(super) secrets: BTreeMap<String, (bool, Lines)>,
    pub(super) ssh: BTreeMap<String, (bool, Lines)>,
}

/// A build argument.
#[derive(Clone, Debug, Default)]
pub(super) struct ArgInfo {
    pub(super) value: String,
    pub(super) argument: Argument,
    pub(super) deps: BTreeSet<String>,
    pub(super) lines: Lines,
}

impl Outline {
    /// Marks what used arguments are made of.
    pub(super) fn mark(&mut self) {
        let mut todo: Vec<String> = self.used.iter().cloned().collect();
        while let Some(name) = todo.pop() {
            let deps = self.args.get(&name).map(|arg| arg.deps.clone());
            for dep in deps.into_iter().flatten() {
                if self.used.insert(dep.clone()) {
                    todo.push(dep);
                }
            }
        }
    }
}

/// All of them, and their names.
#[derive(Debug, Default)]
pub(super) struct Stages {
    pub(super) all: Vec<Build>,
    by_name: BTreeMap<String, Id>,
}

impl Stages {
    /// Adds one, and finds what it is built on.
    pub(super) fn add(&mut self, mut build: Build) -> Id {
        let id = self.all.len();
        if let Some(base) = self.by_name.get(&build.stage.base) {
            build.base = Some(*base);
            build.outline = self.all[*base].outline.clone();
        }
        if !build.stage.name.is_empty() {
            self.by_name.insert(build.stage.name.to_lowercase(), id);
        }
        self.all.push(build);
        id
    }

    pub(super) fn find(&self, name: &str) -> Option<Id> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let shown = self.all.iter().map(|build| build.shown.as_str());
        shown.filter(|name| !name.is_empty())
    }

    /// The stage whose used paths count for this one: what it is built on at the bottom.
    pub(super) fn bottom(&self, id: Id) -> Id {
        let mut bottom = id;
        while let Some(base) = self.all[bottom].base {
            bottom = base;
        }
        bottom
    }

    /// The stages that `target` needs, itself included.
    pub(super) fn reachable(&self, target: Id) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let mut todo = vec![target];
        while let Some(id) = todo.pop() {
            if found.insert(id) {
                todo.extend(self.all[id].base);
                todo.extend(self.all[id].deps.keys());
            }
        }
        found
    }

    /// The places that lead in a circle, and a stage in it.
    pub(super) fn circle(&self) -> Option<(String, Vec<Lines>)> {
        let mut visited = BTreeSet::new();
        for start in 0..self.all.len() {
            // The way down: a stage, and which of its dependencies is next.
            let mut way: Vec<(Id, usize)> = Vec::new();
            if visited.insert(start) {
                way.push((start, 0));
            }
            while let Some((id, next)) = way.last_mut() {
                let Some((dep, _)) = self.all[*id].deps.iter().nth(*next) else {
                    way.pop();
                    continue;
                };
                *next += 1;
                let dep = *dep;
                if way.iter().any(|(id, _)| *id == dep) {
                    let place = |(id, next): &(Id, usize)| {
                        self.all[*id].deps.values().nth(next - 1).copied()
                    };
                    let places = way.iter().filter_map(place).collect();
                    return Some((self.all[start].shown.clone(), places));
                }
                if visited.insert(dep) {
                    way.push((dep, 0));
                }
            }
        }
        None
    }
}
