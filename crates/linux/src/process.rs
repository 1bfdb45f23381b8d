//! Processes: clone3 with a closure, exec, descriptors across exec, signals, session keyrings.

mod clone;
mod exec;
mod identity;
mod scheduling;
mod signal;
mod trace;

pub use clone::{Child, CloneError, Clones, fork, spawn};
pub(crate) use exec::own_descriptors;
pub use exec::{
    close_from, close_on_exec_from, duplicate_inherited, execute, execute_descriptor, exit_now,
    is_inherited, is_read_only_self, read_only_executable, sealed_executable,
};
pub use identity::{join_session_keyring, set_domainname, set_identity};
pub use scheduling::{
    SchedulerAttributes, set_affinity, set_io_priority, set_memory_policy, set_personality,
    set_rlimit, set_scheduler,
};
pub use signal::{
    SignalInfo, Signals, block_all, dying_with_parent, reset_all, send_to_pidfd,
    without_blocked_signals,
};
pub use trace::{Stop, Tracee};
