//! What the kernel is told by name: personality, memory policy, devices, propagation.

use crate::error::{Error, said};
use crate::plan::{memory, scheduling};
use hull_spec::runtime::Linux;

/// Checks the names.
pub(super) fn check(linux: &Linux) -> Result<(), Error> {
    let propagation = linux.rootfs_propagation.as_str();
    if !propagation.is_empty() && hull_linux::mount::propagation(propagation).is_err() {
        return Err(said(format!(
            "rootfsPropagation={propagation} is not supported"
        )));
    }
    if let Some(profile) = &linux.seccomp {
        crate::seccomp::check(profile)?;
    }
    if let Some(rdt) = &linux.intel_rdt {
        crate::rdt::check(rdt)?;
    }
    if let Some(personality) = &linux.personality {
        scheduling::personality(personality)?;
    }
    if let Some(policy) = &linux.memory_policy {
        memory::policy(policy)?;
    }
    for device in &linux.devices {
        if !matches!(device.kind.as_str(), "c" | "u" | "b" | "p") {
            return Err(said(format!("invalid device type {:?}", device.kind)));
        }
        if !device.path.starts_with('/') {
            return Err(said(format!(
                "device path {:?} is not absolute",
                device.path
            )));
        }
    }
    for (name, device) in &linux.net_devices {
        for name in [name, &device.name] {
            let kept = std::ptr::eq(name, &raw const device.name) && name.is_empty();
            if !kept && !is_interface(name) {
                return Err(said(format!("invalid network device name {name:?}")));
            }
        }
    }
    Ok(())
}

/// What the kernel takes as a network device's name (`dev_valid_name`).
fn is_interface(name: &str) -> bool {
    const MOST: usize = 15; // IFNAMSIZ with its zero
    !name.is_empty()
        && name.len() <= MOST
        && name != "."
        && name != ".."
        && !name.contains(|letter: char| {
            letter == '/' || letter == ':' || letter.is_ascii_whitespace() || letter == '\0'
        })
}
