//! The process: what it runs, where, with which scheduling and limits.

use crate::error::{Error, said};
use crate::plan::{limits, scheduling};
use hull_linux::capability::Set;
use hull_spec::runtime::{Capabilities, Process, Scheduler};

/// Checks a process.
pub(crate) fn check(process: &Process) -> Result<(), Error> {
    if process.cwd.is_empty() {
        return Err(said("Cwd property must not be empty"));
    }
    if !process.cwd.starts_with('/') {
        return Err(said("Cwd must be an absolute path"));
    }
    let texts = process
        .args
        .iter()
        .chain(&process.env)
        .chain([&process.cwd]);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(said(
            "arguments and environment must not contain zero bytes",
        ));
    }
    super::labels::check(&process.selinux_label, "selinux label")?;
    for limit in &process.rlimits {
        limits::number(&limit.kind)?;
    }
    if let Some(scheduler) = &process.scheduler {
        check_scheduler(scheduler)?;
        scheduling::attributes(scheduler)?;
    }
    if let Some(priority) = &process.io_priority {
        scheduling::io_priority(priority)?;
    }
    if let Some(affinity) = &process.exec_cpu_affinity {
        scheduling::processors("initial", &affinity.initial)?;
        scheduling::processors("final", &affinity.last)?;
    }
    Ok(())
}

/// Values that do not belong to the policy.
fn check_scheduler(scheduler: &Scheduler) -> Result<(), Error> {
    let policy = scheduler.policy.as_str();
    if policy.is_empty() {
        return Err(said("scheduler policy is required"));
    }
    if matches!(policy, "SCHED_OTHER" | "SCHED_BATCH") && !(-20..=19).contains(&scheduler.nice) {
        return Err(said(format!(
            "invalid scheduler.nice: {} when scheduler.policy is {policy}",
            scheduler.nice
        )));
    }
    if scheduler.priority != 0 && !matches!(policy, "SCHED_FIFO" | "SCHED_RR") {
        return Err(said(
            "scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
        ));
    }
    let times = [scheduler.runtime, scheduler.deadline, scheduler.period];
    if policy != "SCHED_DEADLINE" && times != [0, 0, 0] {
        return Err(said(
            "scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
        ));
    }
    Ok(())
}

/// Says which capabilities are left out: those nobody knows, and ambient ones that the kernel raises
/// only for who has them permitted and inheritable.
pub(crate) fn warn_of_capabilities(sets: &Capabilities, texts: &mut Vec<String>) {
    let mut unknown = Vec::new();
    let names = [
        &sets.bounding,
        &sets.effective,
        &sets.inheritable,
        &sets.permitted,
        &sets.ambient,
    ];
    Set::of(names.into_iter().flatten().map(String::as_str), |name| {
        unknown.push(name);
    });
    for name in &sets.ambient {
        let can = sets.permitted.contains(name) && sets.inheritable.contains(name);
        if !can && !unknown.contains(&name.as_str()) {
            texts.push(format!(
                "can't raise ambient capability {name}: operation not permitted"
            ));
        }
    }
    unknown.sort_unstable();
    unknown.dedup();
    if !unknown.is_empty() {
        texts.push(format!(
            "ignoring unknown or unavailable capabilities: [{}]",
            unknown.join(" ")
        ));
    }
}
