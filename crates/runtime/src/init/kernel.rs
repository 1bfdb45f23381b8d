//! What is set by name: host name, kernel parameters, scheduling.

use super::{Common, First};
use crate::error::{Error, Step as _, said};
use hull_linux::process::{self, SchedulerAttributes};
use hull_spec::runtime::{Process, Scheduler};

/// Names and parameters of the new namespaces.
pub(super) fn set(common: &Common<'_>, _first: &First<'_>) -> Result<(), Error> {
    let spec = common.spec;
    if !spec.hostname.is_empty() {
        rustix::system::sethostname(spec.hostname.as_bytes()).step(|| "sethostname")?;
    }
    if !spec.domainname.is_empty() {
        process::set_domainname(spec.domainname.as_bytes()).step(|| "setdomainname")?;
    }
    let Some(linux) = &spec.linux else {
        return Ok(());
    };
    for (name, value) in &linux.sysctl {
        common
            .proc
            .set_parameter(name, value)
            .step(|| format!("open sysctl {name} file"))?;
    }
    if let Some(personality) = &linux.personality {
        let persona = match personality.domain.as_str() {
            "LINUX" => 0,
            "LINUX32" => 8,
            other => return Err(said(format!("unknown personality domain {other}"))),
        };
        process::set_personality(persona).step(|| "set personality")?;
    }
    Ok(())
}

/// Scheduling policy and I/O priority.
pub(super) fn schedule(process: &Process) -> Result<(), Error> {
    if let Some(scheduler) = &process.scheduler {
        process::set_scheduler(attributes(scheduler)?).step(|| "set the scheduling policy")?;
    }
    if let Some(priority) = &process.io_priority {
        let class = match priority.class.as_str() {
            "IOPRIO_CLASS_RT" => 1,
            "IOPRIO_CLASS_BE" => 2,
            "IOPRIO_CLASS_IDLE" => 3,
            other => return Err(said(format!("invalid ioPriority.Class: {other}"))),
        };
        if !(0..8).contains(&priority.priority) {
            return Err(said(format!(
                "invalid ioPriority.Priority: {}",
                priority.priority
            )));
        }
        process::set_io_priority(class, priority.priority).step(|| "set the I/O priority")?;
    }
    Ok(())
}

fn attributes(scheduler: &Scheduler) -> Result<SchedulerAttributes, Error> {
    let policy = match scheduler.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => return Err(said(format!("invalid scheduler policy: {other}"))),
    };
    let mut flags = 0;
    for flag in &scheduler.flags {
        flags |= match flag.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            other => return Err(said(format!("invalid scheduler flag: {other}"))),
        };
    }
    Ok(SchedulerAttributes {
        policy,
        flags,
        nice: scheduler.nice,
        priority: u32::try_from(scheduler.priority).step(|| "scheduler priority")?,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        ..SchedulerAttributes::default()
    })
}
