//! From the configuration's resources to the kernel's limits.

use hull_linux::cgroup::{
    Block, BlockDevice, BlockWeight, Cpu, HugePages, Limits, Memory, Network, Rdma,
};
use hull_spec::runtime::{self, BlockIo, Resources};

/// The limits. 0 says nothing where it cannot be meant: Docker's way.
pub(crate) fn of(resources: &Resources) -> Limits {
    let memory = resources.memory.clone().unwrap_or_default();
    let network = resources.network.clone().unwrap_or_default();
    Limits {
        memory: Memory {
            limit: memory.limit,
            reservation: memory.reservation,
            swap: memory.swap,
            kernel_tcp: memory.kernel_tcp,
            swappiness: memory.swappiness,
            disable_oom_killer: memory.disable_oom_killer,
            use_hierarchy: memory.use_hierarchy,
            check_before_update: memory.check_before_update == Some(true),
        },
        cpu: resources.cpu.as_ref().map(cpu).unwrap_or_default(),
        pids: resources.pids.map(|pids| pids.limit),
        huge_pages: resources
            .hugepage_limits
            .iter()
            .map(|limit| HugePages {
                size: limit.page_size.clone(),
                limit: limit.limit,
            })
            .collect(),
        block: resources.block_io.as_ref().map(block).unwrap_or_default(),
        network: Network {
            class_id: network.class_id,
            priorities: network
                .priorities
                .into_iter()
                .map(|priority| (priority.name, priority.priority))
                .collect(),
        },
        rdma: resources
            .rdma
            .iter()
            .map(|(device, limit)| {
                let limit = Rdma {
                    handles: limit.hca_handles,
                    objects: limit.hca_objects,
                };
                (device.clone(), limit)
            })
            .collect(),
        unified: resources
            .unified
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

fn cpu(cpu: &runtime::Cpu) -> Cpu {
    let named = |text: &String| (!text.is_empty()).then(|| text.clone());
    Cpu {
        shares: cpu.shares,
        quota: cpu.quota,
        period: cpu.period,
        burst: cpu.burst,
        realtime_runtime: cpu.realtime_runtime,
        realtime_period: cpu.realtime_period,
        idle: cpu.idle,
        cpus: named(&cpu.cpus),
        mems: named(&cpu.mems),
    }
}

fn block(block: &BlockIo) -> Block {
    Block {
        weight: block.weight.filter(|weight| *weight != 0),
        leaf_weight: block.leaf_weight.filter(|weight| *weight != 0),
        weights: block
            .weight_device
            .iter()
            .map(|device| BlockWeight {
                major: device.major,
                minor: device.minor,
                weight: device.weight,
                leaf_weight: device.leaf_weight,
            })
            .collect(),
        read_bps: rates(&block.throttle_read_bps_device),
        write_bps: rates(&block.throttle_write_bps_device),
        read_iops: rates(&block.throttle_read_iops_device),
        write_iops: rates(&block.throttle_write_iops_device),
    }
}

fn rates(devices: &[runtime::ThrottleDevice]) -> Vec<BlockDevice> {
    let rate = |device: &runtime::ThrottleDevice| BlockDevice {
        major: device.major,
        minor: device.minor,
        rate: device.rate,
    };
    devices.iter().map(rate).collect()
}
