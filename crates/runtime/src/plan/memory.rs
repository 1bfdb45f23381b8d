//! The memory policy by name.

use super::numbers;
use crate::error::{Error, Step as _, said};
use hull_spec::runtime::MemoryPolicy;

/// Mode with flags, and the mask of nodes, of set_mempolicy(2).
pub(crate) fn policy(policy: &MemoryPolicy) -> Result<(u32, Vec<u64>), Error> {
    let mut mode = match policy.mode.as_str() {
        "MPOL_DEFAULT" => 0,
        "MPOL_PREFERRED" => 1,
        "MPOL_BIND" => 2,
        "MPOL_INTERLEAVE" => 3,
        "MPOL_LOCAL" => 4,
        "MPOL_PREFERRED_MANY" => 5,
        "MPOL_WEIGHTED_INTERLEAVE" => 6,
        other => return Err(said(format!("invalid memory policy mode {other:?}"))),
    };
    for flag in &policy.flags {
        mode |= match flag.as_str() {
            "MPOL_F_STATIC_NODES" => 1 << 15,
            "MPOL_F_RELATIVE_NODES" => 1 << 14,
            "MPOL_F_NUMA_BALANCING" => 1 << 13,
            other => return Err(said(format!("invalid memory policy flag {other:?}"))),
        };
    }
    let nodes = match policy.nodes.as_str() {
        "" => Vec::new(),
        nodes => numbers::mask(nodes).step(|| format!("invalid memory policy nodes {nodes:?}"))?,
    };
    Ok((mode, nodes))
}
