//! What all containers and their machine use, at one look.

use super::{Sample, of};
use crate::{Engine, Result, blocking};
use std::path::Path;
use std::sync::Arc;

/// What the machine has used since it began, and how much of it is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLoad {
    /// Time of all processors that was worked, nanoseconds (proc_stat(5)).
    pub cpu: u64,
    /// Memory that is not available, bytes (proc_meminfo(5)).
    pub memory: u64,
    /// Time in which a task waited for processors, memory and block devices, microseconds (kernel documentation,
    /// `accounting/psi`; Linux 4.20, and off in some kernels: `None`).
    pub pressure: [Option<u64>; 3],
    /// Bytes that came and went by devices other than `lo` (proc_net_dev(5)).
    pub network: (u64, u64),
    /// Bytes read from and written to disks (kernel documentation, `admin-guide/iostats`).
    pub disks: (u64, u64),
    /// Bytes in use, and all there are, of the file system that the data root is on.
    pub space: (u64, u64),
}

/// One look at everything.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// The machine.
    pub host: HostLoad,
    /// Containers that run: id, name, and what they use.
    pub containers: Vec<(String, String, Arc<Sample>)>,
}

impl Engine {
    /// Looks at all containers that run, and at their machine.
    ///
    /// # Errors
    /// When the daemon ends meanwhile.
    pub async fn load_of_all(self: &Arc<Self>) -> Result<Load> {
        let engine = Arc::clone(self);
        blocking(move || {
            // One look for all: who compares two of these compares looks that are seconds apart.
            let processors = super::sample::processors_now();
            let containers = engine.containers().into_iter().filter_map(|container| {
                let sample = Arc::new(engine.look(&container, Some(processors))?);
                let stats = of(&container, None);
                Some((stats.id, stats.name, sample))
            });
            let containers = containers.collect();
            let host = host(&engine.config.data_root);
            Ok(Load { host, containers })
        })
        .await
    }
}

fn read(path: &str) -> String {
    fs_err::read_to_string(path).unwrap_or_default()
}

fn host(data_root: &Path) -> HostLoad {
    let pressure =
        ["cpu", "memory", "io"].map(|what| pressure(&read(&format!("/proc/pressure/{what}"))));
    let space = rustix::fs::statvfs(data_root).map_or((0, 0), |found| {
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        (
            bytes(found.f_blocks.saturating_sub(found.f_bfree)),
            bytes(found.f_blocks),
        )
    });
    HostLoad {
        cpu: worked(&read("/proc/stat")),
        memory: memory(&read("/proc/meminfo")),
        pressure,
        network: network(&read("/proc/net/dev")),
        disks: disks(&read("/proc/diskstats"), |name| {
            Path::new("/sys/block").join(name).join("device").exists()
        }),
        space,
    }
}

/// All but idle and waiting for devices.
fn worked(text: &str) -> u64 {
    const TICK: u64 = 10_000_000; // USER_HZ is 100 in every ABI Linux has.
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
    let counters = line.unwrap_or_default().split_ascii_whitespace().take(8);
    let busy = counters.enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    let ticks: u64 = busy.filter_map(|(_, text)| text.parse::<u64>().ok()).sum();
    ticks.saturating_mul(TICK)
}

fn memory(text: &str) -> u64 {
    let of = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let number = value.map(|value| value.trim().trim_end_matches(" kB").parse::<u64>());
        number
            .and_then(std::result::Result::ok)
            .unwrap_or(0)
            .saturating_mul(1024)
    };
    of("MemTotal:").saturating_sub(of("MemAvailable:"))
}

/// The sum of `some`.
fn pressure(text: &str) -> Option<u64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.rsplit_once("total=")?.1.trim().parse().ok()
}

fn network(text: &str) -> (u64, u64) {
    let devices = super::sample::devices(text);
    let others = devices.iter().filter(|(name, _)| name.as_str() != "lo");
    others.fold((0, 0), |(came, went), (_, traffic)| {
        (came + traffic.rx_bytes, went + traffic.tx_bytes)
    })
}

/// Of whole disks only: partitions, and what is made of other disks, would count twice.
fn disks(text: &str, is_disk: impl Fn(&str) -> bool) -> (u64, u64) {
    const SECTOR: u64 = 512; // Whatever the disk's own is.
    let (mut came, mut went) = (0, 0);
    for line in text.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, _, name, _, _, read, _, _, _, written, ..] = fields[..] else {
            continue;
        };
        if is_disk(name) {
            came += read.parse().unwrap_or(0) * SECTOR;
            went += written.parse().unwrap_or(0) * SECTOR;
        }
    }
    (came, went)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(
            worked("cpu  1 2 3 400 500 6 7 8 9 10\ncpu0 1\n"),
            270_000_000
        );
        assert_eq!(
            memory("MemTotal:  10 kB\nMemFree: 1 kB\nMemAvailable:    4 kB\n"),
            6 * 1024
        );
        let text = "some avg10=95.85 avg60=61.79 avg300=21.19 total=34803286020\nfull avg10=0.00 total=0\n";
        assert_eq!((pressure(text), pressure("")), (Some(34_803_286_020), None));
        let text = "face |x\n lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n a: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n b: 1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(network(text), (11, 22));
        let text = " 8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n 8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n";
        assert_eq!(disks(text, |name| name == "sda"), (3 * 512, 7 * 512));
        assert_eq!(
            worked("") + memory("") + network("").0 + disks("", |_| true).0,
            0
        );
    }
}
