//! What reads containers' and servers' packets, as a function of bytes: for the fuzzer, and for the test
//! that runs it briefly with every change. It panics where a property does not hold.

use crate::dns::fuzz as dns;

/// A target: its name, which is that of the directory of its seeds, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 1] = [("dns_message", dns_message)];

/// DNS messages: as a client's question, and as a server's answer.
pub fn dns_message(bytes: &[u8]) {
    dns::question(bytes);
    dns::answer(bytes);
}
