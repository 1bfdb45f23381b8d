//! `update`: other limits and another restart policy, for a container that runs or does not.

use super::record::Record;
use super::{Resources, RestartPolicy, State, limits, resources};
use crate::{Engine, Error, ErrorKind, Result, blocking};
use hull_spec::runtime::{Memory, Pids, Resources as Document};
use std::sync::Arc;

/// What is to change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// New limits; those that are zero, empty or `None` stay.
    pub resources: Resources,
    /// A new restart policy.
    pub restart: Option<RestartPolicy>,
}

impl Engine {
    /// Changes a container's limits, all of them or none, at once when it runs; gives warnings about those
    /// that the host does not have.
    ///
    /// # Errors
    /// `InvalidInput` for limits that make no sense, `Conflict` for those that do not go together with
    /// others that the container has, `Internal` with what the kernel said.
    pub async fn update(self: &Arc<Self>, name: &str, change: Update) -> Result<Vec<String>> {
        let mut change = change;
        let warnings = limits::fit(&mut change.resources, self.limits(), true)?;
        let container = self.find(name)?;
        let _operation = container.operation.lock().await;
        let before = container.record();
        let refused = |error: Error| {
            let text = format!("Cannot update container {}", before.id);
            Error::new(error.kind(), text).caused_by(error.full_message())
        };
        let after = changed(&before, &change).map_err(refused)?;
        let live = live_change(&change.resources).map_err(refused)?;
        let live = live.filter(|_| before.is_running());
        let shim = live.is_some().then(|| container.shim()).transpose()?;
        let (rows, old, new) = (self.rows.clone(), before.clone(), after.clone());
        blocking(move || {
            rows.put(&new)?;
            let (Some(shim), Some(live)) = (shim, live) else {
                return Ok(());
            };
            shim.update(live).map_err(|error| {
                // The kernel has the last word: what it does not take is not kept.
                let _ = rows.put(&old);
                Error::new(ErrorKind::Internal, error.to_string())
            })
        })
        .await
        .map_err(refused)?;
        container.change(|record| record.config = after.config);
        self.tell_container(&container, "update", &[]);
        Ok(warnings)
    }
}

/// The record with the change, if that goes together with what is there.
fn changed(record: &Record, change: &Update) -> Result<Record> {
    if matches!(record.state, State::Removing { .. } | State::Dead { .. }) {
        return conflict("container is marked for removal and cannot be \"update\"");
    }
    let mut config = (*record.config).clone();
    if let Some(restart) = change.restart {
        if config.auto_remove && restart != RestartPolicy::No {
            return conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            );
        }
        config.restart = restart;
    }
    merge(&mut config.resources, &change.resources)?;
    let mut record = record.clone();
    record.config = Arc::new(config);
    Ok(record)
}

fn conflict<T>(text: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Conflict, text))
}

/// What does not go together with the limits there are.
fn check_together(kept: &Resources, change: &Resources) -> Result<()> {
    let nano = change.nano_cpus > 0;
    match () {
        () if nano && kept.cpu_period > 0 => conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        () if nano && kept.cpu_quota > 0 => conflict(
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        () if change.cpu_period > 0 && kept.nano_cpus > 0 => conflict(
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        () if change.cpu_quota > 0 && kept.nano_cpus > 0 => conflict(
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
        // As dockerd has it: also where there is no limit of swap (-1), or none of memory (0).
        () if change.memory > kept.memory_swap && change.memory_swap == 0 && change.memory != 0 => {
            conflict(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            )
        }
        () => Ok(()),
    }
}

/// Puts a change over the limits there are.
fn merge(kept: &mut Resources, change: &Resources) -> Result<()> {
    check_together(kept, change)?;
    for (to, from) in [
        (&mut kept.memory, change.memory),
        (&mut kept.memory_swap, change.memory_swap),
        (&mut kept.memory_reservation, change.memory_reservation),
        (&mut kept.nano_cpus, change.nano_cpus),
        (&mut kept.cpu_shares, change.cpu_shares),
        (&mut kept.cpu_period, change.cpu_period),
        (&mut kept.cpu_quota, change.cpu_quota),
        (&mut kept.cpu_realtime_period, change.cpu_realtime_period),
        (&mut kept.cpu_realtime_runtime, change.cpu_realtime_runtime),
    ] {
        if from != 0 {
            *to = from;
        }
    }
    for (to, from) in [
        (&mut kept.cpuset_cpus, &change.cpuset_cpus),
        (&mut kept.cpuset_mems, &change.cpuset_mems),
    ] {
        if !from.is_empty() {
            to.clone_from(from);
        }
    }
    if change.blkio_weight != 0 {
        kept.blkio_weight = change.blkio_weight;
    }
    if let Some(limit) = change.pids_limit {
        kept.pids_limit = Some(limit.max(0));
    }
    // dockerd keeps such a pair, and then the container cannot be started.
    if kept.memory > 0 && kept.memory_reservation > kept.memory {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    Ok(())
}

/// What the runtime is told; `None` when nothing changes for what runs.
fn live_change(change: &Resources) -> Result<Option<Document>> {
    let some = |value: i64| Some(value).filter(|value| *value != 0);
    let memory = Memory {
        limit: some(change.memory),
        swap: some(change.memory_swap),
        reservation: some(change.memory_reservation),
        ..Memory::default()
    };
    let weight = Resources {
        blkio_weight: change.blkio_weight,
        ..Resources::default()
    };
    let document = Document {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: resources::cpu(change),
        // No limit is -1 to the runtime.
        pids: change.pids_limit.map(|limit| Pids {
            limit: if limit > 0 { limit } else { -1 },
        }),
        block_io: resources::block_io(&weight)?,
        ..Document::default()
    };
    Ok((document != Document::default()).then_some(document))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(kept: Resources, change: Resources) -> std::result::Result<Resources, String> {
        let mut kept = kept;
        merge(&mut kept, &change).map_err(|error| error.message().to_owned())?;
        Ok(kept)
    }

    #[test]
    fn what_is_not_named_stays() {
        let kept = Resources {
            memory: 64 << 20,
            memory_swap: 128 << 20,
            pids_limit: Some(5),
            cpuset_cpus: "0".to_owned(),
            ..Resources::default()
        };
        assert_eq!(
            merged(kept.clone(), Resources::default()).unwrap(),
            kept.clone()
        );
        let change = Resources {
            memory: 128 << 20,
            cpu_shares: 7,
            pids_limit: Some(-1),
            ..Resources::default()
        };
        let after = merged(kept, change.clone()).unwrap();
        assert_eq!(
            (after.memory, after.memory_swap, after.cpu_shares),
            (128 << 20, 128 << 20, 7)
        );
        assert_eq!(
            (after.pids_limit, after.cpuset_cpus.as_str()),
            (Some(0), "0")
        );
        let live = live_change(&change).unwrap().unwrap();
        let memory = live.memory.unwrap();
        assert_eq!((memory.limit, memory.swap), (Some(128 << 20), None));
        assert_eq!(live.pids.unwrap().limit, -1);
        assert_eq!(live_change(&Resources::default()).unwrap(), None);
    }

    #[test]
    fn limits_that_do_not_go_together_are_conflicts() {
        let nano = || Resources {
            nano_cpus: 1,
            ..Resources::default()
        };
        let quota = || Resources {
            cpu_quota: 5000,
            ..Resources::default()
        };
        let text = merged(quota(), nano()).unwrap_err();
        assert!(text.ends_with("Nano CPUs cannot be updated as CPU Quota has already been set"));
        let text = merged(nano(), quota()).unwrap_err();
        assert!(text.ends_with("CPU Quota cannot be updated as NanoCPUs has already been set"));
        let memory = Resources {
            memory: 8 << 20,
            ..Resources::default()
        };
        let text = merged(Resources::default(), memory).unwrap_err();
        assert!(text.starts_with("Memory limit should be smaller than already set memoryswap"));
    }
}
