//! A graph in the making: what of the client's files is wanted is known only at its end.

use crate::graph::{Graph, InvalidVertex, Metadata, Op, Output};
use hull_spec::Platform;

/// A vertex of a [`Draft`]; its first output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle(usize);

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
        let handle = Handle(self.0.len());
        self.0.push(Drafted {
            op,
            inputs,
            platform,
            metadata,
        });
        handle
    }

    /// What a vertex does, to be changed.
    pub(super) fn op_mut(&mut self, handle: Handle) -> &mut Op {
        &mut self.0[handle.0].op
    }

    /// Adds what `target` needs to a graph.
    pub(super) fn finish(
        self,
        target: Option<Handle>,
        graph: &mut Graph,
    ) -> Result<Option<Output>, InvalidVertex> {
        let mut needed = vec![false; self.0.len()];
        if let Some(Handle(place)) = target {
            needed[place] = true;
        }
        for (place, drafted) in self.0.iter().enumerate().rev() {
            if needed[place] {
                for Handle(input) in &drafted.inputs {
                    needed[*input] = true;
                }
            }
        }
        let mut outputs: Vec<Option<Output>> = vec![None; self.0.len()];
        for (place, drafted) in self.0.into_iter().enumerate() {
            if needed[place] {
                let inputs = drafted.inputs.iter().filter_map(|input| outputs[input.0]);
                let inputs = inputs.collect();
                let Drafted {
                    op,
                    platform,
                    metadata,
                    ..
                } = drafted;
                outputs[place] = Some(graph.output(op, inputs, platform, metadata)?);
            }
        }
        Ok(target.and_then(|Handle(place)| outputs[place]))
    }
}
