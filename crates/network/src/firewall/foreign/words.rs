//! What a survey found, in words.

use super::{ForeignChain, Survey};

impl ForeignChain {
    /// The chain's place, and whose it is.
    pub(in crate::firewall) fn in_words(&self) -> String {
        let owner = self.owner.as_ref();
        let owner = owner.map_or(String::new(), |owner| format!(" ({owner})"));
        format!(
            "table {} {}, chain {}{owner}",
            self.family, self.table, self.chain
        )
    }
}

impl Survey {
    /// What has a say in what is forwarded.
    pub(in crate::firewall) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for chain in &self.chains {
            if chain.hook != "forward" {
                continue;
            }
            let word = match (chain.opened, chain.drops) {
                (true, _) => "lets our bridges through",
                (false, true) => "drops what it does not know",
                (false, false) if chain.rules > 0 => "may drop what is forwarded",
                (false, false) => continue,
            };
            remarks.push(format!("{} {word}", chain.in_words()));
        }
        if self.legacy {
            remarks.push("iptables-legacy has filters, which are not seen here".to_owned());
        }
        remarks
    }
}
