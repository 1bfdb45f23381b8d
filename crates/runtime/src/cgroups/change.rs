//! New limits for a container that has some: what is written now, and what is kept.

use super::limits;
use crate::error::{Error, Step as _};
use hull_linux::cgroup::Limits;
use hull_spec::runtime::{BlockIo, Cpu, Memory, Resources, ThrottleDevice, WeightDevice};
use serde_json::Value;

/// A change of limits.
#[derive(Debug)]
pub(crate) struct Change {
    /// What is to be written: what was asked for, and what that cannot be written without.
    pub(crate) limits: Limits,
    /// The new configuration.
    pub(crate) config: Vec<u8>,
}

impl Change {
    /// From the text of the present configuration and what is wanted.
    pub(crate) fn of(config: &[u8], wanted: Resources) -> Result<Self, Error> {
        // As a tree: what we do not know stays.
        let mut config: Value = serde_json::from_slice(config).step(|| "read the configuration")?;
        let old = config["linux"]["resources"].clone();
        let old: Option<Resources> =
            serde_json::from_value(old).step(|| "read the configuration")?;
        let mut kept = old.unwrap_or_default();
        let wanted = updatable(wanted);
        merge(&mut kept, &wanted);
        let limits = limits::of(&completed(wanted, &kept));
        config["linux"]["resources"] =
            serde_json::to_value(&kept).step(|| "encode the configuration")?;
        let config = serde_json::to_vec(&config).step(|| "encode the configuration")?;
        Ok(Self { limits, config })
    }
}

/// What can be changed in a container that runs; the rest is not looked at, as by runc.
fn updatable(wanted: Resources) -> Resources {
    let memory = wanted.memory.unwrap_or_default();
    let mut memory = Memory {
        limit: memory.limit,
        reservation: memory.reservation,
        swap: memory.swap,
        check_before_update: memory.check_before_update,
        ..Memory::default()
    };
    if memory.limit == Some(-1) && memory.swap.is_none() {
        // Not what was there: no limit of memory takes that of swap away.
        memory.swap = Some(0);
    }
    Resources {
        memory: Some(memory),
        cpu: wanted.cpu,
        pids: wanted.pids,
        block_io: wanted.block_io,
        unified: wanted.unified,
        ..Resources::default()
    }
}

fn set<T: Clone>(kept: &mut Option<T>, wanted: &Option<T>) {
    if wanted.is_some() {
        kept.clone_from(wanted);
    }
}

fn merge(kept: &mut Resources, wanted: &Resources) {
    if let Some(memory) = &wanted.memory {
        let kept = kept.memory.get_or_insert_default();
        set(&mut kept.limit, &memory.limit);
        set(&mut kept.reservation, &memory.reservation);
        set(&mut kept.swap, &memory.swap);
        set(&mut kept.check_before_update, &memory.check_before_update);
    }
    if let Some(cpu) = &wanted.cpu {
        merge_cpu(kept.cpu.get_or_insert_default(), cpu);
    }
    set(&mut kept.pids, &wanted.pids);
    if let Some(block) = &wanted.block_io {
        merge_block(kept.block_io.get_or_insert_default(), block);
    }
    let unified = wanted.unified.iter();
    kept.unified
        .extend(unified.map(|(name, value)| (name.clone(), value.clone())));
}

fn merge_cpu(kept: &mut Cpu, wanted: &Cpu) {
    set(&mut kept.shares, &wanted.shares);
    // 0 says nothing of these two.
    set(&mut kept.quota, &wanted.quota.filter(|quota| *quota != 0));
    set(
        &mut kept.period,
        &wanted.period.filter(|period| *period != 0),
    );
    set(&mut kept.burst, &wanted.burst);
    set(&mut kept.realtime_runtime, &wanted.realtime_runtime);
    set(&mut kept.realtime_period, &wanted.realtime_period);
    set(&mut kept.idle, &wanted.idle);
    for (kept, wanted) in [
        (&mut kept.cpus, &wanted.cpus),
        (&mut kept.mems, &wanted.mems),
    ] {
        if !wanted.is_empty() {
            kept.clone_from(wanted);
        }
    }
}

fn merge_block(kept: &mut BlockIo, wanted: &BlockIo) {
    set(&mut kept.weight, &wanted.weight);
    set(&mut kept.leaf_weight, &wanted.leaf_weight);
    for device in &wanted.weight_device {
        let same =
            |kept: &&mut WeightDevice| (kept.major, kept.minor) == (device.major, device.minor);
        match kept.weight_device.iter_mut().rfind(same) {
            Some(kept) => {
                set(&mut kept.weight, &device.weight);
                set(&mut kept.leaf_weight, &device.leaf_weight);
            }
            None => kept.weight_device.push(*device),
        }
    }
    for (kept, wanted) in [
        (
            &mut kept.throttle_read_bps_device,
            &wanted.throttle_read_bps_device,
        ),
        (
            &mut kept.throttle_write_bps_device,
            &wanted.throttle_write_bps_device,
        ),
        (
            &mut kept.throttle_read_iops_device,
            &wanted.throttle_read_iops_device,
        ),
        (
            &mut kept.throttle_write_iops_device,
            &wanted.throttle_write_iops_device,
        ),
    ] {
        merge_rates(kept, wanted);
    }
}

fn merge_rates(kept: &mut Vec<ThrottleDevice>, wanted: &[ThrottleDevice]) {
    for device in wanted {
        let same =
            |kept: &&mut ThrottleDevice| (kept.major, kept.minor) == (device.major, device.minor);
        match kept.iter_mut().rfind(same) {
            Some(kept) => kept.rate = device.rate,
            None => kept.push(*device),
        }
    }
}

/// Some limits are two numbers in the configuration and one for the kernel (v2), or are checked against
/// each other: memory with swap, quota with period.
fn completed(mut wanted: Resources, kept: &Resources) -> Resources {
    if let (Some(wanted), Some(kept)) = (&mut wanted.memory, &kept.memory)
        && (wanted.limit.is_some() || wanted.swap.is_some())
    {
        wanted.limit = kept.limit;
        wanted.swap = kept.swap;
    }
    if let (Some(wanted), Some(kept)) = (&mut wanted.cpu, &kept.cpu) {
        let some = |quota: Option<i64>, period: Option<u64>| {
            quota.is_some_and(|quota| quota != 0) || period.is_some_and(|period| period != 0)
        };
        if some(wanted.quota, wanted.period) {
            wanted.quota = kept.quota;
            wanted.period = kept.period;
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(config: &Value, wanted: Value) -> (Limits, Value) {
        let wanted = serde_json::from_value(wanted).expect("parses");
        let change = Change::of(config.to_string().as_bytes(), wanted).expect("changes");
        let config = serde_json::from_slice(&change.config).expect("parses");
        (change.limits, config)
    }

    #[test]
    fn what_is_not_named_stays_and_is_not_written() {
        let config = json!({"x": 1, "linux": {"y": 2, "resources": {
            "memory": {"limit": 100, "swap": 200, "swappiness": 3},
            "cpu": {"quota": 5000, "period": 10000, "cpus": "0"},
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]},
            "pids": {"limit": 9}}}});
        let (limits, kept) = change(
            &config,
            json!({"memory": {"limit": 150}, "cpu": {"period": 20000}, "blockIO":
                {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 2}]}}),
        );
        assert_eq!(
            (limits.memory.limit, limits.memory.swap),
            (Some(150), Some(200))
        );
        assert_eq!(
            (limits.cpu.quota, limits.cpu.period),
            (Some(5000), Some(20000))
        );
        assert_eq!((limits.pids, limits.memory.swappiness), (None, None));
        assert_eq!((limits.cpu.cpus, limits.block.read_bps.len()), (None, 1));
        let mut expected = config.clone();
        expected["linux"]["resources"]["memory"]["limit"] = json!(150);
        expected["linux"]["resources"]["cpu"]["period"] = json!(20000);
        expected["linux"]["resources"]["blockIO"]["throttleReadBpsDevice"][0]["rate"] = json!(2);
        assert_eq!(kept, expected);
        let (limits, _) = change(&config, json!({"memory": {"limit": -1}}));
        assert_eq!(
            (limits.memory.limit, limits.memory.swap),
            (Some(-1), Some(0))
        );
        let (limits, _) = change(&config, json!({"pids": {"limit": -1}}));
        let pids = Limits {
            pids: Some(-1),
            ..Limits::default()
        };
        assert_eq!(limits, pids);
    }

    #[test]
    fn a_configuration_without_limits_gets_its_first() {
        let (limits, kept) = change(&json!({}), json!({"cpu": {"shares": 3}}));
        assert_eq!(limits.cpu.shares, Some(3));
        assert_eq!(kept["linux"]["resources"]["cpu"], json!({"shares": 3}));
    }
}
