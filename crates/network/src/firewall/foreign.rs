//! Other software's rules in the kernel's packet filter.

use serde::{Deserialize, Serialize};

/// What others have put into the packet filter where our packets pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// Base chains on the hooks input and forward, of tables that are not ours.
    pub chains: Vec<ForeignChain>,
    /// iptables-legacy has rules, which no table shows and nobody here can change.
    pub legacy: bool,
}

/// A base chain of a table that is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignChain {
    /// `ip`, `ip6` or `inet`.
    pub family: String,
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub chain: String,
    /// `input` or `forward`.
    pub hook: String,
    /// Lower ones come first.
    pub priority: i32,
    /// Whether packets on which no rule decides are dropped.
    pub drops: bool,
    /// How many rules the chain has itself.
    pub rules: usize,
    /// Which software it is of, as far as the names tell: `ufw`, `firewalld`, `docker`, `iptables`.
    pub owner: Option<String>,
}
