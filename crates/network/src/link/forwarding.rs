//! Lets the host route between networks.

use crate::Error;
use crate::error::file;
use std::path::Path;

const IPV4: &str = "/proc/sys/net/ipv4/ip_forward";
const IPV6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const IPV6_DEVICES: &str = "/proc/sys/net/ipv6/conf";

/// Lets the host forward IPv4. Written only when needed: the kernel walks all devices on every write.
pub(super) fn enable_ipv4() -> Result<(), Error> {
    match reads(Path::new(IPV4), "1") {
        true => Ok(()),
        false => write(Path::new(IPV4), "1"),
    }
}

/// Lets the host forward IPv6. The kernel stops listening to routers' advertisements on devices of a
/// host that forwards, unless `accept_ra` is 2: a host that has its own address and routes from them
/// would lose both, and so it is 2 first where it was 1.
pub(super) fn enable_ipv6() -> Result<(), Error> {
    if reads(Path::new(IPV6), "1") {
        return Ok(());
    }
    let devices = fs_err::read_dir(IPV6_DEVICES).map_err(file("list", IPV6_DEVICES))?;
    for device in devices.flatten() {
        let name = device.file_name();
        if ["all", "default", "lo"].iter().any(|other| name == *other) {
            continue;
        }
        let accept = device.path().join("accept_ra");
        if reads(&accept, "1") && reads(&device.path().join("forwarding"), "0") {
            match write(&accept, "2") {
                // It has gone meanwhile.
                Err(_) if !accept.exists() => {}
                other => other?,
            }
        }
    }
    write(Path::new(IPV6), "1")
}

pub(super) fn write(path: &Path, value: &str) -> Result<(), Error> {
    fs_err::write(path, value).map_err(file("write", path))
}

pub(super) fn reads(path: &Path, value: &str) -> bool {
    fs_err::read_to_string(path).is_ok_and(|text| text.trim() == value)
}
