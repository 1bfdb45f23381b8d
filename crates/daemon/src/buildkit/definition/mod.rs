//! Definitions: graphs as clients send them and are given them, BuildKit's LLB (`solver/pb/ops.proto`).
//!
//! ```text
//! def       Op bytes, each after its inputs, which it names by the digest of their bytes; the last has one
//!           input and does nothing: it says what is wanted
//! metadata  digest of an Op → name, whether the cache counts, group
//! source    digest of an Op → lines of files
//! ```

mod exec;
mod files;
mod source;

use bollard_buildkit_proto::pb;
use hull_engine::build::graph::{
    Graph, InvalidVertex, Location, MAX_VERTICES, Metadata, Op, Output, ProgressGroup, VertexId,
};
use hull_engine::build::plan::SourceFile;
use hull_engine::{Digest, Platform};
use pb::op::Op as Kind;
use prost::Message as _;
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, HashMap};
use tonic::Status;

/// What the progress shows of a vertex.
const NAME: &str = "llb.customname";

fn invalid(why: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("invalid definition: {why}"))
}

/// A definition, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Read {
    pub(super) graph: Graph,
    /// What is wanted; `None`: an empty tree.
    pub(super) output: Option<Output>,
    /// The files that locations are in.
    pub(super) sources: Vec<SourceFile>,
}

/// Reads what a client sent.
///
/// # Errors
/// `InvalidArgument` for what makes no sense, `Unimplemented` for an operation that there is not here.
pub(super) fn read(definition: &pb::Definition) -> Result<Read, Status> {
    if definition.def.len() > MAX_VERTICES {
        return Err(invalid(InvalidVertex::TooLarge));
    }
    let mut reader = Reader {
        definition,
        read: Read::default(),
        known: HashMap::new(),
    };
    let Some((last, before)) = definition.def.split_last() else {
        return Ok(reader.read);
    };
    for bytes in before {
        reader.vertex(bytes)?;
    }
    let last = pb::Op::decode(last.as_slice()).map_err(invalid)?;
    let [wanted] = last.inputs.as_slice() else {
        return Err(invalid("the last operation has to name what is wanted"));
    };
    reader.read.output = Some(reader.input(wanted)?);
    let files = definition.source.iter().flat_map(|source| &source.infos);
    reader.read.sources = files
        .map(|info| SourceFile {
            name: info.filename.clone(),
            text: info.data.clone(),
        })
        .collect();
    Ok(reader.read)
}

struct Reader<'a> {
    definition: &'a pb::Definition,
    read: Read,
    /// By the digest of their bytes.
    known: HashMap<String, VertexId>,
}

impl Reader<'_> {
    fn input(&self, input: &pb::Input) -> Result<Output, Status> {
        let vertex = self.known.get(&input.digest);
        let vertex = vertex
            .ok_or_else(|| invalid(format!("no operation {} before its use", input.digest)))?;
        let index = usize::try_from(input.index).map_err(invalid)?;
        let outputs = self.read.graph.vertex(*vertex).op.outputs();
        if index >= outputs {
            return Err(invalid(InvalidVertex::Output(0, index)));
        }
        Ok(Output {
            vertex: *vertex,
            index,
        })
    }

    fn vertex(&mut self, bytes: &[u8]) -> Result<(), Status> {
        let name = digest_of(bytes);
        let op = pb::Op::decode(bytes).map_err(invalid)?;
        let inputs = op.inputs.iter().map(|input| self.input(input));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let kind = op.op.ok_or_else(|| invalid("an operation of no kind"))?;
        let read = match kind {
            Kind::Source(source) => Op::Source(source::read(&source)?),
            Kind::Exec(exec) => Op::Exec(Box::new(exec::read(exec)?)),
            Kind::File(file) => Op::File(files::read(file, inputs.len())?),
            Kind::Merge(merge) => Op::Merge {
                inputs: merge
                    .inputs
                    .iter()
                    .map(|input| usize::try_from(input.input).map_err(invalid))
                    .collect::<Result<_, _>>()?,
            },
            Kind::Diff(diff) => Op::Diff {
                lower: diff.lower.and_then(|lower| place(lower.input)),
                upper: diff.upper.and_then(|upper| place(upper.input)),
            },
            Kind::Build(_) => {
                let text = "Hull does not support builds as operations of a definition";
                return Err(Status::unimplemented(text));
            }
        };
        let metadata = self.metadata(&name);
        let platform = op.platform.map(platform);
        let added = self.read.graph.add(read, inputs, platform, metadata);
        self.known.insert(name, added.map_err(invalid)?);
        Ok(())
    }

    fn metadata(&self, name: &str) -> Metadata {
        let mut metadata = Metadata::default();
        if let Some(told) = self.definition.metadata.get(name) {
            metadata.ignore_cache = told.ignore_cache;
            metadata.description.clone_from(&told.description);
            metadata.name = metadata.description.remove(NAME).unwrap_or_default();
            metadata.group = told.progress_group.as_ref().map(|group| ProgressGroup {
                id: group.id.clone(),
                name: group.name.clone(),
                weak: group.weak,
            });
        }
        let locations = self.definition.source.as_ref();
        let location = locations.and_then(|source| source.locations.get(name));
        metadata.location = location.and_then(|all| self.location(all.locations.first()?));
        metadata
    }

    fn location(&self, location: &pb::Location) -> Option<Location> {
        let line = |position: &Option<pb::Position>| {
            let line = position.as_ref().map_or(0, |position| position.line);
            u32::try_from(line).unwrap_or(0)
        };
        let source = usize::try_from(location.source_index).ok()?;
        let files = self
            .definition
            .source
            .as_ref()
            .map_or(0, |all| all.infos.len());
        (source < files).then(|| Location {
            source,
            lines: location
                .ranges
                .iter()
                .map(|range| (line(&range.start), line(&range.end)))
                .collect(),
        })
    }
}

/// Writes what `output` of a graph needs. Sources of clients that name no session get `session`.
pub(super) fn write(graph: &Graph, output: Output, session: &str) -> pb::Definition {
    let mut definition = pb::Definition::default();
    let mut names: HashMap<VertexId, String> = HashMap::new();
    let input = |names: &HashMap<VertexId, String>, input: &Output| pb::Input {
        digest: names.get(&input.vertex).cloned().unwrap_or_default(),
        index: number(input.index),
    };
    for id in graph.needed(&[output]) {
        let vertex = graph.vertex(id);
        let op = pb::Op {
            inputs: vertex.inputs.iter().map(|of| input(&names, of)).collect(),
            platform: vertex.platform.clone().map(written_platform),
            constraints: None,
            op: Some(kind(&vertex.op, vertex.inputs.len(), session)),
        };
        let bytes = op.encode_to_vec();
        let name = digest_of(&bytes);
        let told = written_metadata(&vertex.metadata);
        definition.metadata.insert(name.clone(), told);
        definition.def.push(bytes);
        names.insert(id, name);
    }
    let last = pb::Op {
        inputs: vec![input(&names, &output)],
        ..pb::Op::default()
    };
    definition.def.push(last.encode_to_vec());
    definition
}

fn kind(op: &Op, inputs: usize, session: &str) -> Kind {
    match op {
        Op::Source(source) => Kind::Source(source::write(source, session)),
        Op::Exec(exec) => Kind::Exec(exec::write(exec)),
        Op::File(files) => Kind::File(files::write(files, inputs)),
        Op::Merge { inputs } => Kind::Merge(pb::MergeOp {
            inputs: inputs
                .iter()
                .map(|place| pb::MergeInput {
                    input: number(*place),
                })
                .collect(),
        }),
        Op::Diff { lower, upper } => Kind::Diff(pb::DiffOp {
            lower: Some(pb::LowerDiffInput {
                input: optional(*lower),
            }),
            upper: Some(pb::UpperDiffInput {
                input: optional(*upper),
            }),
        }),
    }
}

fn written_metadata(metadata: &Metadata) -> pb::OpMetadata {
    let mut description: BTreeMap<_, _> = metadata.description.clone();
    if !metadata.name.is_empty() {
        description.insert(NAME.to_owned(), metadata.name.clone());
    }
    pb::OpMetadata {
        ignore_cache: metadata.ignore_cache,
        description,
        progress_group: metadata.group.as_ref().map(|group| pb::ProgressGroup {
            id: group.id.clone(),
            name: group.name.clone(),
            weak: group.weak,
        }),
        ..pb::OpMetadata::default()
    }
}

fn digest_of(bytes: &[u8]) -> String {
    let sum = digest(&SHA256, bytes);
    let mut array = [0; 32];
    array.copy_from_slice(sum.as_ref());
    Digest::from_sha256(&array).to_string()
}

/// A place among inputs; what is below zero is none.
fn place(number: i64) -> Option<usize> {
    usize::try_from(number).ok()
}

fn number(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}

fn optional(place: Option<usize>) -> i64 {
    place.map_or(-1, number)
}

/// A platform of a client's.
pub(super) fn platform(platform: pb::Platform) -> Platform {
    let some = |text: String| (!text.is_empty()).then_some(text);
    Platform {
        architecture: platform.architecture,
        os: platform.os,
        os_version: some(platform.os_version),
        variant: some(platform.variant),
    }
}

fn written_platform(platform: Platform) -> pb::Platform {
    pb::Platform {
        architecture: platform.architecture,
        os: platform.os,
        os_version: platform.os_version.unwrap_or_default(),
        variant: platform.variant.unwrap_or_default(),
        os_features: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
