//! A graph in the making: what of the client's files is wanted is known only at its end.

use crate::graph::{Graph, InvalidVertex, Metadata, Op, Output, VertexId};
use hull_spec::Platform;
use std::collections::HashMap;

/// An output of a vertex of a [`Draft`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    place: usize,
    index: usize,
}

#[derive(Debug)]
struct Drafted {
    op: Op,
    inputs: Vec<Handle>,
    platform: Option<Platform>,
    metadata: Metadata,
}

/// Vertices, each after its inputs.
#[derive(Debug, Default)]
pub(super) struct Draft(Vec<Drafted>);

impl Draft {
    pub(super) fn add(
        &mut self,
        op: Op,
        inputs: Vec<Handle>,
        platform: Option<Platform>,
        metadata: Metadata,
    ) -> Handle {
        let place = self.0.len();
        self.0.push(Drafted {
            op,
            inputs,
            platform,
            metadata,
        });
        Handle { place, index: 0 }
    }

    /// Adds what an output of another graph is made of.
    pub(super) fn import(&mut self, graph: &Graph, output: Output) -> Handle {
        let mut places = HashMap::new();
        for id in graph.needed(&[output]) {
            let vertex = graph.vertex(id);
            let inputs = vertex.inputs.iter().filter_map(|input| {
                let place = *places.get(&input.vertex)?;
                let index = input.index;
                Some(Handle { place, index })
            });
            let metadata = Metadata {
                // It is in files of another request.
                location: None,
                ..vertex.metadata.clone()
            };
            let (op, platform) = (vertex.op.clone(), vertex.platform.clone());
            let handle = self.add(op, inputs.collect(), platform, metadata);
            places.insert(id, handle.place);
        }
        Handle {
            place: places.get(&output.vertex).copied().unwrap_or_default(),
            index: output.index,
        }
    }

    /// What a vertex does, to be changed.
    pub(super) fn op_mut(&mut self, handle: Handle) -> &mut Op {
        &mut self.0[handle.place].op
    }

    /// Adds what `target` needs to a graph.
    pub(super) fn finish(
        self,
        target: Option<Handle>,
        graph: &mut Graph,
    ) -> Result<Option<Output>, InvalidVertex> {
        let mut needed = vec![false; self.0.len()];
        if let Some(target) = target {
            needed[target.place] = true;
        }
        for (place, drafted) in self.0.iter().enumerate().rev() {
            if needed[place] {
                for input in &drafted.inputs {
                    needed[input.place] = true;
                }
            }
        }
        let mut made: Vec<Option<VertexId>> = vec![None; self.0.len()];
        let output = |made: &[Option<VertexId>], handle: &Handle| {
            let index = handle.index;
            made[handle.place].map(|vertex| Output { vertex, index })
        };
        for (place, drafted) in self.0.into_iter().enumerate() {
            if needed[place] {
                let inputs = drafted.inputs.iter();
                let inputs = inputs.filter_map(|input| output(&made, input)).collect();
                let Drafted {
                    op,
                    platform,
                    metadata,
                    ..
                } = drafted;
                made[place] = Some(graph.add(op, inputs, platform, metadata)?);
            }
        }
        Ok(target.and_then(|target| output(&made, &target)))
    }
}
