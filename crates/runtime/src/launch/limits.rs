//! Limits that the runtime sets on the new process from outside.

use crate::error::{Error, Step as _};
use crate::plan::limits::number;
use hull_linux::process;
use hull_linux::procfs::Proc;
use hull_spec::runtime::Process;

/// Sets resource limits and the OOM score of a process.
pub(super) fn set(proc: &Proc, pid: i32, process: &Process) -> Result<(), Error> {
    set_resources(pid, process)?;
    set_score(proc, pid, process)
}

/// Sets the resource limits of a process.
pub(super) fn set_resources(pid: i32, process: &Process) -> Result<(), Error> {
    for limit in &process.rlimits {
        let number = number(&limit.kind)?;
        process::set_rlimit(pid, number, limit.soft, limit.hard)
            .step(|| format!("error setting rlimit type {number}"))
            .step(|| "error setting rlimits for ready process")
            .step(|| "error during container init")
            .step(|| "unable to start container process")?;
    }
    Ok(())
}

/// Sets the OOM score of a process.
pub(super) fn set_score(proc: &Proc, pid: i32, process: &Process) -> Result<(), Error> {
    if let Some(score) = process.oom_score_adj {
        proc.write_of(pid, "oom_score_adj", score.to_string().as_bytes())
            .step(|| "failed to update oom_score_adj")
            .step(|| "unable to start container process")?;
    }
    Ok(())
}
