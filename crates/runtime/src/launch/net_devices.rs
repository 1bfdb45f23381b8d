//! Network devices of the host that move into the container's network namespace (runtime-spec 1.3,
//! "Network Devices").

use crate::error::{Error, Step as _};
use hull_linux::netlink::{Transferred, transfer};
use hull_spec::runtime::Linux;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};

/// Devices that have moved. They go back when the container does not come to be: virtual ones would end
/// with its namespace.
#[derive(Debug, Default)]
pub(super) struct Moved {
    namespace: Option<OwnedFd>,
    devices: Vec<Transferred>,
}

impl Moved {
    /// Moves all devices of the configuration to the namespace of a process.
    pub(super) fn to(pid: i32, linux: &Linux) -> Result<Self, Error> {
        let mut moved = Self::default();
        if linux.net_devices.is_empty() {
            return Ok(moved);
        }
        let path = format!("/proc/{pid}/ns/net");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace =
            rustix::fs::open(path, flags, Mode::empty()).step(|| "open the network namespace")?;
        for (name, device) in &linux.net_devices {
            let new_name = if device.name.is_empty() {
                name
            } else {
                &device.name
            };
            match transfer(name, new_name, namespace.as_fd()) {
                Ok(device) => moved.devices.push(device),
                Err(error) => {
                    moved.namespace = Some(namespace);
                    moved.back();
                    return Err(error)
                        .step(|| format!("error setting up network device {name}"))
                        .step(|| "unable to start container process");
                }
            }
        }
        moved.namespace = Some(namespace);
        Ok(moved)
    }

    /// Brings them back, the last one first. What cannot come back is lost with the namespace, and the
    /// failure that led here is what is told.
    pub(super) fn back(&self) {
        if let Some(namespace) = &self.namespace {
            for device in self.devices.iter().rev() {
                let _ = device.back(namespace.as_fd());
            }
        }
    }
}
