//! Whether limits make sense, and what this host can keep of them. The texts are dockerd's.

use super::Resources;
use crate::system::Limits;
use crate::{Error, ErrorKind, Result};

/// The least memory a container can start with, by dockerd's experience.
const MIN_MEMORY: i64 = 6 << 20;

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

/// The limits of a container, or the change of such.
pub(super) struct Fitting<'a> {
    resources: &'a mut Resources,
    host: Limits,
    warnings: Vec<String>,
}

/// Takes out of `resources` what the host cannot limit, with a warning for each; an update may name a limit
/// of swap alone.
///
/// # Errors
/// `InvalidInput` for what makes no sense.
pub(super) fn fit(resources: &mut Resources, host: Limits, update: bool) -> Result<Vec<String>> {
    let mut fitting = Fitting {
        resources,
        host,
        warnings: Vec::new(),
    };
    fitting.memory(update)?;
    fitting.memory_details()?;
    fitting.processes();
    fitting.cpu()?;
    fitting.real_time()?;
    fitting.cpuset()?;
    fitting.block_io()?;
    Ok(fitting.warnings)
}

impl Fitting<'_> {
    fn warn(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }

    fn memory(&mut self, update: bool) -> Result<()> {
        let limit = self.resources.memory;
        if limit != 0 && limit < MIN_MEMORY {
            return Err(invalid("Minimum memory limit allowed is 6MB"));
        }
        if limit > 0 && !self.host.memory {
            self.warn("Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.");
            (self.resources.memory, self.resources.memory_swap) = (0, -1);
        }
        if self.resources.memory > 0 && self.resources.memory_swap != -1 && !self.host.swap {
            self.warn("Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.");
            self.resources.memory_swap = -1;
        }
        let Resources {
            memory,
            memory_swap: swap,
            ..
        } = *self.resources;
        if memory > 0 && swap > 0 && swap < memory {
            return Err(invalid(
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ));
        }
        if memory == 0 && swap > 0 && !update {
            return Err(invalid(
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ));
        }
        Ok(())
    }

    fn memory_details(&mut self) -> Result<()> {
        if self.resources.memory_swappiness.is_some() && !self.host.swappiness {
            self.warn("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.");
            self.resources.memory_swappiness = None;
        }
        if let Some(value) = self.resources.memory_swappiness
            && !(0..=100).contains(&value)
        {
            return Err(invalid(format!(
                "Invalid value: {value}, valid memory swappiness range is 0-100"
            )));
        }
        if self.resources.memory_reservation > 0 && !self.host.memory_reservation {
            self.warn("Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.");
            self.resources.memory_reservation = 0;
        }
        let Resources {
            memory,
            memory_reservation: reservation,
            ..
        } = *self.resources;
        if reservation > 0 && reservation < MIN_MEMORY {
            return Err(invalid("Minimum memory reservation allowed is 6MB"));
        }
        if reservation < 0 {
            // dockerd takes it and limits nothing.
            return Err(invalid(format!(
                "invalid memory reservation ({reservation}): value must be positive"
            )));
        }
        if memory > 0 && reservation > memory {
            return Err(invalid(
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            ));
        }
        if self.resources.kernel_memory_tcp != 0 && !self.host.kernel_memory_tcp {
            self.warn("Your kernel does not support kernel memory TCP limit capabilities or the cgroup is not mounted. Limitation discarded.");
            self.resources.kernel_memory_tcp = 0;
        }
        self.oom_killer();
        Ok(())
    }

    fn oom_killer(&mut self) {
        if self.resources.oom_kill_disable && !self.host.oom_kill_disable {
            self.warn("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
            self.resources.oom_kill_disable = false;
        }
        if self.resources.oom_kill_disable && self.resources.memory == 0 {
            self.warn("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.");
        }
    }

    fn processes(&mut self) {
        if self.resources.pids_limit.is_some_and(|limit| limit > 0) && !self.host.pids {
            self.warn("Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.");
            self.resources.pids_limit = None;
        }
    }

    fn cpu(&mut self) -> Result<()> {
        let Resources {
            nano_cpus,
            cpu_period: period,
            cpu_quota: quota,
            cpu_shares: shares,
            ..
        } = *self.resources;
        if nano_cpus > 0 && period > 0 {
            return Err(invalid(
                "Conflicting options: Nano CPUs and CPU Period cannot both be set",
            ));
        }
        if nano_cpus > 0 && quota > 0 {
            return Err(invalid(
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
            ));
        }
        if nano_cpus > 0 && !self.host.cpu_quota {
            return Err(invalid(
                "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
            ));
        }
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most = i64::try_from(cpus)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000_000_000);
        if !(0..=most).contains(&nano_cpus) {
            return Err(invalid(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            )));
        }
        if shares < 0 {
            return Err(invalid(format!(
                "invalid CPU shares ({shares}): value must be a positive integer"
            )));
        }
        if shares > 0 && !self.host.cpu_shares {
            self.warn("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.");
            self.resources.cpu_shares = 0;
        }
        if (period != 0 || quota != 0) && !self.host.cpu_quota {
            self.warn(
                "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
            );
            (self.resources.cpu_period, self.resources.cpu_quota) = (0, 0);
        }
        if self.resources.cpu_period != 0 && !(1_000..=1_000_000).contains(&period) {
            return Err(invalid(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ));
        }
        if self.resources.cpu_quota > 0 && quota < 1_000 {
            return Err(invalid(
                "CPU cfs quota can not be less than 1ms (i.e. 1000)",
            ));
        }
        Ok(())
    }

    fn real_time(&self) -> Result<()> {
        let Resources {
            cpu_realtime_period: period,
            cpu_realtime_runtime: runtime,
            ..
        } = *self.resources;
        if (period != 0 || runtime != 0) && !self.host.cpu_realtime {
            return Err(invalid(
                "Your kernel does not support CPU real-time scheduler",
            ));
        }
        if period != 0 && runtime != 0 && runtime > period {
            return Err(invalid(
                "cpu real-time runtime cannot be higher than cpu real-time period",
            ));
        }
        Ok(())
    }

    fn cpuset(&mut self) -> Result<()> {
        let asked =
            !self.resources.cpuset_cpus.is_empty() || !self.resources.cpuset_mems.is_empty();
        if asked && !self.host.cpuset {
            self.warn("Your kernel does not support cpuset or the cgroup is not mounted. CPUset discarded.");
            self.resources.cpuset_cpus.clear();
            self.resources.cpuset_mems.clear();
        }
        let Resources {
            cpuset_cpus: cpus,
            cpuset_mems: mems,
            ..
        } = &*self.resources;
        let online = "/sys/devices/system/cpu/online";
        available(cpus, ("cpuset cpus", "CPUs"), online)?;
        let nodes = "/sys/devices/system/node/online";
        available(mems, ("cpuset mems", "memory nodes"), nodes)
    }

    fn block_io(&mut self) -> Result<()> {
        if self.resources.blkio_weight > 0 && !self.host.blkio_weight {
            self.warn("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.");
            self.resources.blkio_weight = 0;
        }
        let weight = self.resources.blkio_weight;
        if weight > 0 && !(10..=1000).contains(&weight) {
            return Err(invalid("Range of blkio weight is from 10 to 1000"));
        }
        if !self.resources.weight_devices.is_empty() && !self.host.blkio_weight_device {
            self.warn("Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.");
            self.resources.weight_devices.clear();
        }
        let rates = self.host.blkio_rates;
        let resources = &mut *self.resources;
        for (list, text) in [
            (
                &mut resources.read_bps,
                "BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.",
            ),
            (
                &mut resources.write_bps,
                "BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.",
            ),
            (
                &mut resources.read_iops,
                "IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.",
            ),
            (
                &mut resources.write_iops,
                "IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.",
            ),
        ] {
            if !list.is_empty() && !rates {
                list.clear();
                self.warnings
                    .push(format!("Your kernel does not support {text}"));
            }
        }
        Ok(())
    }
}

/// Whether the host has all of a list such as `0-2,4`.
fn available(wanted: &str, (field, what): (&str, &str), online: &str) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let online = fs_err::read_to_string(online).unwrap_or_default();
    let online = online.trim();
    let there = ranges(online).unwrap_or_default();
    let asked = ranges(wanted).ok_or_else(|| {
        invalid(format!(
            "Invalid value {wanted} for {field}: invalid format: {wanted}"
        ))
    })?;
    let within = |(from, to): &(u32, u32)| {
        let mut known = there.iter();
        known.any(|(first, last)| first <= from && to <= last)
    };
    // Where the host does not say what it has, the kernel decides.
    if there.is_empty() || asked.iter().all(within) {
        return Ok(());
    }
    Err(invalid(format!(
        "Requested {what} are not available - requested {wanted}, available: {online}"
    )))
}

/// `0-2,4` as first and last numbers.
fn ranges(list: &str) -> Option<Vec<(u32, u32)>> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some((first, last))
    };
    list.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{DeviceWeight, Throttle};

    type Change = fn(&mut Resources);

    fn everything() -> Limits {
        Limits {
            memory: true,
            swap: true,
            cpu_shares: true,
            cpu_quota: true,
            cpuset: true,
            pids: true,
            oom_kill_disable: true,
            memory_reservation: true,
            swappiness: true,
            kernel_memory_tcp: true,
            cpu_realtime: true,
            blkio_weight: true,
            blkio_weight_device: true,
            blkio_rates: true,
        }
    }

    fn check(
        change: Change,
        host: Limits,
    ) -> std::result::Result<(Resources, Vec<String>), String> {
        let mut resources = Resources::default();
        change(&mut resources);
        let warnings = fit(&mut resources, host, false);
        let warnings = warnings.map_err(|error| error.message().to_owned())?;
        Ok((resources, warnings))
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases: data, not logic")]
    fn limits_that_make_no_sense_are_told_in_dockerds_words() {
        let cases: [(Change, &str); 20] = [
            (|r| r.memory = 100, "Minimum memory limit allowed is 6MB"),
            (|r| r.memory = -1, "Minimum memory limit allowed is 6MB"),
            (
                |r| r.memory_swap = 1 << 30,
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (
                |r| (r.memory, r.memory_swap) = (8 << 20, 7 << 20),
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                |r| r.memory_swappiness = Some(101),
                "Invalid value: 101, valid memory swappiness range is 0-100",
            ),
            (
                |r| r.memory_reservation = 100,
                "Minimum memory reservation allowed is 6MB",
            ),
            (
                |r| r.memory_reservation = -5,
                "invalid memory reservation (-5): value must be positive",
            ),
            (
                |r| (r.memory, r.memory_reservation) = (8 << 20, 9 << 20),
                "Minimum memory limit can not be less than memory reservation limit, see usage",
            ),
            (
                |r| (r.nano_cpus, r.cpu_period) = (1, 1),
                "Conflicting options: Nano CPUs and CPU Period cannot both be set",
            ),
            (
                |r| (r.nano_cpus, r.cpu_quota) = (1, 1),
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
            ),
            (|r| r.nano_cpus = i64::MAX, "range of CPUs is from 0.01 to "),
            (|r| r.nano_cpus = -1, "range of CPUs is from 0.01 to "),
            (
                |r| r.cpu_shares = -1,
                "invalid CPU shares (-1): value must be a positive integer",
            ),
            (
                |r| r.cpu_period = 1,
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ),
            (
                |r| r.cpu_quota = 1,
                "CPU cfs quota can not be less than 1ms (i.e. 1000)",
            ),
            (
                |r| (r.cpu_realtime_period, r.cpu_realtime_runtime) = (1, 2),
                "cpu real-time runtime cannot be higher than cpu real-time period",
            ),
            (
                |r| r.cpuset_cpus = "x".to_owned(),
                "Invalid value x for cpuset cpus: invalid format: x",
            ),
            (
                |r| r.cpuset_cpus = "2-1".to_owned(),
                "Invalid value 2-1 for cpuset cpus",
            ),
            (
                |r| r.cpuset_cpus = "0-100000".to_owned(),
                "Requested CPUs are not available - requested 0-100000, available: 0",
            ),
            (
                |r| r.blkio_weight = 1,
                "Range of blkio weight is from 10 to 1000",
            ),
        ];
        for (change, text) in cases {
            let message = check(change, everything()).unwrap_err();
            assert!(message.starts_with(text), "{message}");
        }
        for fine in [
            (|r| (r.memory, r.memory_swap) = (64 << 20, -1)) as Change,
            |r| r.cpuset_cpus = "0".to_owned(),
            |r| r.cpu_quota = -1,
            |r| r.pids_limit = Some(-5),
        ] {
            assert!(check(fine, everything()).unwrap().1.is_empty());
        }
    }

    #[test]
    fn what_a_host_cannot_limit_is_left_out_with_a_warning() {
        let cases: [(Change, &str); 10] = [
            (
                |r| r.memory = 64 << 20,
                "Your kernel does not support memory limit",
            ),
            (
                |r| r.memory_swappiness = Some(5),
                "Your kernel does not support memory swappiness",
            ),
            (
                |r| r.memory_reservation = 64 << 20,
                "Your kernel does not support memory soft limit",
            ),
            (
                |r| r.kernel_memory_tcp = 64 << 20,
                "Your kernel does not support kernel memory TCP",
            ),
            (
                |r| r.oom_kill_disable = true,
                "Your kernel does not support OomKillDisable",
            ),
            (
                |r| r.pids_limit = Some(5),
                "Your kernel does not support PIDs limit",
            ),
            (
                |r| r.cpu_shares = 5,
                "Your kernel does not support CPU shares",
            ),
            (
                |r| r.cpu_quota = 5000,
                "Your kernel does not support CPU CFS scheduler",
            ),
            (
                |r| r.cpuset_cpus = "0".to_owned(),
                "Your kernel does not support cpuset",
            ),
            (
                |r| r.blkio_weight = 5,
                "Your kernel does not support Block I/O weight or",
            ),
        ];
        for (change, text) in cases {
            let (left, warnings) = check(change, Limits::default()).unwrap();
            assert!(warnings[0].starts_with(text), "{warnings:?}");
            assert!(left == Resources::default() || left.memory_swap == -1);
        }
        let devices: Change = |r| {
            let device: std::path::PathBuf = "/dev/loop0".into();
            r.weight_devices.push(DeviceWeight {
                device: device.clone(),
                weight: 500,
            });
            r.read_iops.push(Throttle { device, rate: 1 });
        };
        let (left, warnings) = check(devices, Limits::default()).unwrap();
        assert_eq!((left, warnings.len()), (Resources::default(), 2));
        let (left, warnings) = check(devices, everything()).unwrap();
        assert_eq!((left.read_iops.len(), warnings.len()), (1, 0));
    }
}
