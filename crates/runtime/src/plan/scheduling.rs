//! Scheduling by name: policies, priorities, processors, personality.

use super::numbers;
use crate::error::{Error, Step as _, said};
use hull_linux::process::SchedulerAttributes;
use hull_spec::runtime::{IoPriority, Personality, Scheduler};

/// What sched_setattr(2) is told.
pub(crate) fn attributes(scheduler: &Scheduler) -> Result<SchedulerAttributes, Error> {
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

/// Class and priority of ioprio_set(2).
pub(crate) fn io_priority(priority: &IoPriority) -> Result<(i32, i32), Error> {
    if !(0..8).contains(&priority.priority) {
        return Err(said(format!(
            "invalid ioPriority.Priority: {}",
            priority.priority
        )));
    }
    let class = match priority.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => return Err(said(format!("invalid ioPriority.Class: {other:?}"))),
    };
    Ok((class, priority.priority))
}

/// The mask of sched_setaffinity(2); `None` for an empty list.
pub(crate) fn processors(when: &str, list: &str) -> Result<Option<Vec<u64>>, Error> {
    if list.is_empty() {
        return Ok(None);
    }
    let mask = numbers::mask(list).step(|| format!("invalid {when} CPU affinity {list:?}"))?;
    Ok(Some(mask))
}

/// The execution domain of personality(2).
pub(crate) fn personality(personality: &Personality) -> Result<u64, Error> {
    match personality.domain.as_str() {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        other => Err(said(format!("invalid personality domain {other}"))),
    }
}
