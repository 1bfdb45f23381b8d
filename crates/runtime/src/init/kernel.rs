//! What is set by name: host name, kernel parameters, scheduling.

use super::Common;
use crate::error::{Error, Step as _};
use crate::plan::{memory, scheduling};
use hull_linux::process;

/// Names and parameters of the new namespaces.
pub(super) fn set(common: &Common<'_>) -> Result<(), Error> {
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
        let file = common.proc.open_parameter(name);
        let file = file.step(|| format!("open sysctl {name} file"))?;
        rustix::io::write(file, value.as_bytes())
            .step(|| format!("failed to write sysctl {name} = {value:?}"))?;
    }
    Ok(())
}

/// Scheduling, I/O priority, execution domain, memory policy.
pub(super) fn schedule(common: &Common<'_>) -> Result<(), Error> {
    let process = common.process;
    if let Some(scheduler) = &process.scheduler {
        process::set_scheduler(scheduling::attributes(scheduler)?)
            .step(|| "error setting scheduler")?;
    }
    if let Some(priority) = &process.io_priority {
        let (class, priority) = scheduling::io_priority(priority)?;
        process::set_io_priority(class, priority).step(|| "failed to set io priority")?;
    }
    let Some(linux) = &common.spec.linux else {
        return Ok(());
    };
    if let Some(personality) = &linux.personality {
        process::set_personality(scheduling::personality(personality)?)
            .step(|| "set personality")?;
    }
    if let Some(policy) = &linux.memory_policy {
        let (mode, nodes) = memory::policy(policy)?;
        process::set_memory_policy(mode, &nodes).step(|| "failed to set memory policy")?;
    }
    Ok(())
}

/// On which processors a process that joins a container runs before it is in the container's control
/// group (`initial`) and after.
pub(super) fn run_on(when: &str, processors: &str) -> Result<(), Error> {
    match scheduling::processors(when, processors)? {
        Some(mask) => {
            process::set_affinity(&mask).step(|| format!("error setting {when} CPU affinity"))
        }
        None => Ok(()),
    }
}
