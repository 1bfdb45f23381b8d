//! Networks as their users and their enemies meet them: who reaches whom and as whom, held against what dockerd does on the
//! same layout; what becomes of them when processes are killed and rules flushed; and many of everything.
//!
//! "Host", "router", "neighbour", "outside" and the containers are all network namespaces; nothing is sent anywhere else.
#![forbid(unsafe_code)]
#![expect(
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: a fault is told as one story, and times are told on the way"
)]

mod faults;
mod loopback;
mod matrix;
mod names;
mod parents;
mod relay;
mod routing;
mod scale;
mod stage;
mod traces;
