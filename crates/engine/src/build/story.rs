//! A Dockerfile as dockerd's classic builder tells it: all instructions of the stages that are needed, one after the
//! other, each with what it makes. The builder does them at the same time, and not those that only change a config;
//! which vertices belong to an instruction is known by its lines.

use hull_build::dockerfile::{self, Action, Dockerfile, Instruction, Lines, Linter};
use hull_build::graph::{Graph, Op, Source, VertexId, digest_of};
use hull_build::plan::{Plan, PlanError, SourceFile};
use hull_spec::Digest;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An instruction as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// As it is written, on one line.
    pub text: String,
    /// How it is told.
    pub kind: ToldKind,
    /// What has to be done for it; several instructions may share one.
    pub vertices: Vec<Digest>,
    /// How many instructions the base image brings.
    pub triggers: usize,
    /// 12 digits of what it makes: the image's of `FROM`, else of no image that there is.
    pub id: String,
    /// The same of a container, for those that need none here.
    pub container: String,
}

/// How an instruction is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldKind {
    /// `ARG` before the first stage: makes nothing.
    Before,
    /// `FROM`
    From,
    /// What dockerd does in a container.
    Container,
    /// What dockerd copies.
    Copy,
}

/// A build as it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Its instructions.
    pub steps: Vec<Told>,
    /// The arguments that were given and that no instruction declares.
    pub unconsumed: Vec<String>,
}

/// What the story depends on besides the plan.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) target: &'a str,
    /// Of the request: they become instructions of the last stage.
    pub(super) labels: &'a BTreeMap<&'a str, &'a str>,
    /// Of the request.
    pub(super) arguments: &'a BTreeMap<&'a str, &'a str>,
    /// The first digits of an image's id.
    pub(super) image: &'a dyn Fn(&str) -> Option<String>,
}

/// What has to be done, by the place it comes from.
struct Work<'p> {
    graph: &'p Graph,
    by_lines: HashMap<(u32, u32), Vec<VertexId>>,
}

impl<'p> Work<'p> {
    fn new(plan: &'p Plan) -> Self {
        let targets: Vec<_> = plan
            .images
            .iter()
            .filter_map(|image| image.output)
            .collect();
        let graph = &*plan.graph;
        let mut by_lines: HashMap<_, Vec<VertexId>> = HashMap::new();
        for id in graph.needed(&targets) {
            let location = graph.vertex(id).metadata.location.as_ref();
            for lines in location.into_iter().flat_map(|location| &location.lines) {
                by_lines.entry(*lines).or_default().push(id);
            }
        }
        Self { graph, by_lines }
    }

    fn at(&self, lines: Lines) -> &[VertexId] {
        let found = self.by_lines.get(&(lines.first, lines.last));
        found.map_or(&[], Vec::as_slice)
    }
}

fn read(source: Option<&SourceFile>) -> Option<Dockerfile> {
    let syntax = dockerfile::parse(&source?.text).ok()?;
    Dockerfile::read(&syntax, &mut Linter::default()).ok()
}

/// The story of a plan; empty when its Dockerfile cannot be read again.
pub(super) fn story(plan: &Plan, asked: Asked<'_>) -> Story {
    let Some(file) = read(plan.sources.first()) else {
        return Story::default();
    };
    Story {
        unconsumed: unconsumed(&file, asked.arguments),
        steps: steps(&file, plan, asked),
    }
}

/// Where a plan failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The instruction on one line.
    pub text: String,
    /// Its number, from 1.
    pub number: usize,
    /// Of how many.
    pub count: usize,
}

/// The instruction that a plan failed at, among all up to the target's end.
pub(super) fn stopped(error: &PlanError, target: &str) -> Option<Stopped> {
    let file = read(error.file.as_ref())?;
    let (line, _) = *error.location.as_ref()?.lines.first()?;
    let last = stage(&file, target).unwrap_or(file.stages.len().saturating_sub(1));
    let before = file.global_args.iter().map(|one| (one.lines, &one.code));
    let stages = file.stages.iter().take(last + 1).flat_map(|stage| {
        let others = stage.instructions.iter().map(|one| (one.lines, &one.code));
        std::iter::once((stage.lines, &stage.code)).chain(others)
    });
    let all: Vec<_> = before.chain(stages).collect();
    let is_there = |(lines, _): &(Lines, &String)| (lines.first..=lines.last).contains(&line);
    let place = all.iter().position(is_there)?;
    Some(Stopped {
        text: all[place].1.clone(),
        number: place + 1,
        count: all.len(),
    })
}

/// A stage by its name, else by its number.
pub(super) fn stage(file: &Dockerfile, name: &str) -> Option<usize> {
    let mut stages = file.stages.iter();
    let named = stages.rposition(|stage| stage.name.eq_ignore_ascii_case(name) && !name.is_empty());
    let number = || {
        name.parse()
            .ok()
            .filter(|number| *number < file.stages.len())
    };
    named.or_else(number)
}

fn before(argument: &Instruction) -> Told {
    Told {
        text: argument.code.clone(),
        kind: ToldKind::Before,
        vertices: Vec::new(),
        triggers: 0,
        id: String::new(),
        container: String::new(),
    }
}

fn steps(file: &Dockerfile, plan: &Plan, asked: Asked<'_>) -> Vec<Told> {
    let work = Work::new(plan);
    let mut all: Vec<Told> = file.global_args.iter().map(before).collect();
    let needed = needed(file, &work, asked.target);
    // What the stages have made: what is built on them begins with it.
    let mut ends: HashMap<String, String> = HashMap::new();
    for place in &needed {
        let stage = &file.stages[*place];
        let mut told = from(stage, &work, asked);
        if let Some(end) = ends.get(&stage.base.to_lowercase()) {
            told.id.clone_from(end);
        }
        let mut id = told.id.clone();
        all.push(told);
        for instruction in &stage.instructions {
            let told = step(instruction, &id, &work);
            id.clone_from(&told.id);
            all.push(told);
        }
        ends.insert(stage.name.to_lowercase(), id.clone());
        ends.insert(place.to_string(), id);
    }
    let mut id = all.last().map(|told| told.id.clone()).unwrap_or_default();
    for (name, value) in asked.labels {
        let told = made(
            format!("LABEL {name}={value}"),
            &id,
            &[],
            ToldKind::Container,
        );
        id.clone_from(&told.id);
        all.push(told);
    }
    all
}

/// The stages that have something to do, the target, and what these are built on.
fn needed(file: &Dockerfile, work: &Work<'_>, target: &str) -> BTreeSet<usize> {
    let named = |name: &str, before: usize| {
        let stages = file.stages.iter().take(before);
        stages
            .enumerate()
            .rev()
            .find(|(_, stage)| !name.is_empty() && stage.name.eq_ignore_ascii_case(name))
            .map(|(place, _)| place)
    };
    let last = file.stages.len().saturating_sub(1);
    let target = stage(file, target).unwrap_or(last);
    let mut needed = BTreeSet::new();
    for (place, stage) in file.stages.iter().enumerate().take(target + 1).rev() {
        let lines = stage
            .instructions
            .iter()
            .map(|instruction| instruction.lines);
        let busy = lines.into_iter().any(|lines| !work.at(lines).is_empty());
        if busy || place == target || needed.contains(&place) {
            needed.insert(place);
            needed.extend(named(&stage.base, place));
        }
    }
    needed
}

fn from(stage: &dockerfile::Stage, work: &Work<'_>, asked: Asked<'_>) -> Told {
    let vertices = work.at(stage.lines);
    let image = vertices
        .iter()
        .find_map(|id| match &work.graph.vertex(*id).op {
            Op::Source(Source::Image(image)) => (asked.image)(&image.reference),
            _ => None,
        });
    let triggers = vertices.iter().filter(|id| {
        let name = &work.graph.vertex(**id).metadata.name;
        name.contains("] ONBUILD ")
    });
    Told {
        text: stage.code.clone(),
        kind: ToldKind::From,
        triggers: triggers.count(),
        vertices: digests(work, vertices),
        // Of two stages that begin with the same image one has the vertex.
        id: image
            .or_else(|| (asked.image)(&stage.base))
            .unwrap_or_default(),
        container: String::new(),
    }
}

fn step(instruction: &Instruction, before: &str, work: &Work<'_>) -> Told {
    let kind = match instruction.action {
        Action::Copy(_) | Action::Add(_) => ToldKind::Copy,
        _ => ToldKind::Container,
    };
    let vertices = digests(work, work.at(instruction.lines));
    made(instruction.code.clone(), before, &vertices, kind)
}

fn digests(work: &Work<'_>, vertices: &[VertexId]) -> Vec<Digest> {
    let digests = vertices.iter();
    digests
        .map(|id| work.graph.vertex(*id).digest.clone())
        .collect()
}

fn made(text: String, before: &str, vertices: &[Digest], kind: ToldKind) -> Told {
    let digits = |what: &str| {
        let digest = digest_of(&(what, before, &text, vertices));
        digest.hex()[..12].to_owned()
    };
    Told {
        id: digits("image"),
        container: digits("container"),
        vertices: vertices.to_vec(),
        triggers: 0,
        kind,
        text,
    }
}

/// The arguments of a build that no instruction declares, sorted; those that are always there are never told.
fn unconsumed(file: &Dockerfile, given: &BTreeMap<&str, &str>) -> Vec<String> {
    let stages = file.stages.iter().flat_map(|stage| &stage.instructions);
    let all = file.global_args.iter().chain(stages);
    let declared = all.flat_map(|instruction| match &instruction.action {
        Action::Arg(arguments) => arguments.as_slice(),
        _ => &[],
    });
    let declared: BTreeSet<&str> = declared.map(|argument| argument.name.as_str()).collect();
    let always = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "FTP_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "SOURCE_DATE_EPOCH",
    ];
    let known = |name: &str| {
        let always = always.iter().any(|other| other.eq_ignore_ascii_case(name));
        always || name.starts_with("BUILDKIT_") || declared.contains(name)
    };
    let left = given.keys().filter(|name| !known(name));
    left.map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        Plan {
            sources: vec![SourceFile {
                name: "Dockerfile".to_owned(),
                text: text.as_bytes().to_vec(),
            }],
            ..Plan::default()
        }
    }

    fn told(text: &str, target: &str) -> Vec<String> {
        let asked = Asked {
            target,
            labels: &BTreeMap::from([("b", "2"), ("a", "1")]),
            arguments: &BTreeMap::new(),
            image: &|_| None,
        };
        let told = story(&plan(text), asked).steps;
        told.into_iter().map(|told| told.text).collect()
    }

    #[test]
    fn all_instructions_of_the_stages_that_are_needed_are_told() {
        let text =
            "ARG V=1\nFROM x AS one\nRUN a \\\n  b\nFROM y AS other\nRUN no\nFROM one\nENV a=b\n";
        let expected = [
            "ARG V=1",
            "FROM x AS one",
            "RUN a   b",
            "FROM one",
            "ENV a=b",
            "LABEL a=1",
            "LABEL b=2",
        ];
        assert_eq!(told(text, ""), expected);
        let expected = [
            "ARG V=1",
            "FROM y AS other",
            "RUN no",
            "LABEL a=1",
            "LABEL b=2",
        ];
        assert_eq!(told(text, "OTHER"), expected);
        assert_eq!(told("nonsense", ""), [""; 0]);
    }

    #[test]
    fn arguments_that_nobody_declares_are_named() {
        let file = read(plan("ARG A\nFROM x\nARG B=1 C\n").sources.first()).unwrap();
        let given = ["A", "B", "C", "D", "no_proxy"].map(|name| (name, ""));
        assert_eq!(unconsumed(&file, &BTreeMap::from(given)), ["D"]);
    }

    #[test]
    fn stages_are_known_by_name_and_number() {
        let file = read(plan("FROM x AS One\nFROM y AS two\n").sources.first()).unwrap();
        assert_eq!(stage(&file, "ONE"), Some(0));
        assert_eq!(stage(&file, "1"), Some(1));
        assert_eq!(stage(&file, "2"), None);
        assert_eq!(stage(&file, ""), None);
    }
}
