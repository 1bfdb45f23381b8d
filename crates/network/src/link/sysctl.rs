//! Settings of one device below `/proc/sys/net`.

use super::forwarding::{reads, write};
use crate::Error;
use crate::error::file;
use std::path::PathBuf;

const ROOT: &str = "/proc/sys/net";
/// Stands for the device's name.
const PLACEHOLDER: &str = "IFNAME";
/// More than any kernel has for one device.
const MAX: usize = 256;

/// A checked setting: family, directory, name, and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sysctl {
    family: String,
    directory: String,
    name: String,
    value: String,
}

/// Reads names such as `net.ipv4.conf.IFNAME.log_martians`, with or without `net` before, and `/` or
/// `.` between the parts. Only settings of the endpoint's own device are possible.
pub(super) fn parse(all: &[(String, String)]) -> Result<Vec<Sysctl>, Error> {
    if all.len() > MAX {
        return Err(Error::Invalid(format!(
            "{} settings for one endpoint are too many",
            all.len()
        )));
    }
    all.iter()
        .map(|(key, value)| parse_one(key, value))
        .collect()
}

fn parse_one(key: &str, value: &str) -> Result<Sysctl, Error> {
    let invalid = || {
        Error::Invalid(format!(
            "`{key}` is no setting of an endpoint's device: these are net.FAMILY.conf.{PLACEHOLDER}.NAME"
        ))
    };
    let plain = |part: &&str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    let mut parts: Vec<&str> = key.split(['.', '/']).collect();
    if parts.first() == Some(&"net") {
        parts.remove(0);
    }
    let [family, directory, device, name] = parts.as_slice() else {
        return Err(invalid());
    };
    if *device != PLACEHOLDER
        || ![family, directory, name].into_iter().all(plain)
        || value.contains('\0')
    {
        return Err(invalid());
    }
    Ok(Sysctl {
        family: (*family).to_owned(),
        directory: (*directory).to_owned(),
        name: (*name).to_owned(),
        value: value.to_owned(),
    })
}

/// Writes the settings of the device `ifname`, in the calling thread's network namespace.
pub(super) fn apply(ifname: &str, all: &[Sysctl]) -> Result<(), Error> {
    for setting in all {
        let path: PathBuf = [
            ROOT,
            &setting.family,
            &setting.directory,
            ifname,
            &setting.name,
        ]
        .iter()
        .collect();
        write(&path, &setting.value)?;
    }
    Ok(())
}

/// Whether all IPv6 is switched off in the calling thread's network namespace: addresses are refused then.
pub(super) fn is_ipv6_off() -> Result<bool, Error> {
    let path: PathBuf = [ROOT, "ipv6", "conf", "all", "disable_ipv6"]
        .iter()
        .collect();
    let text = fs_err::read_to_string(&path).map_err(file("read", &path))?;
    Ok(text.trim() != "0")
}

/// While it lives, new devices of a namespace have no IPv6 from the first.
#[derive(Debug)]
pub(super) struct BornWithoutIpv6(PathBuf);

impl BornWithoutIpv6 {
    /// For the calling thread's network namespace, if nobody uses it yet: it has the loopback device only.
    ///
    /// To switch IPv6 off on a device that is there, the kernel wants the lock that all changes of devices take, and
    /// does not wait for it but has the system call begin again and again: where many containers start
    /// at once, that took more of the processors than all the rest. For the default it takes none (Linux 6.9).
    pub(super) fn begin() -> Option<Self> {
        let all: PathBuf = [ROOT, "ipv6", "conf"].iter().collect();
        let unused = fs_err::read_dir(&all).ok()?.take(4).count() == 3;
        let default = all.join("default").join("disable_ipv6");
        (unused && reads(&default, "0") && write(&default, "1").is_ok()).then_some(Self(default))
    }
}

impl Drop for BornWithoutIpv6 {
    fn drop(&mut self) {
        if let Err(error) = write(&self.0, "0") {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the container's own devices will have no IPv6");
        }
    }
}

/// Whether the device has no IPv6 at all, as Docker has it on networks without. A kernel without IPv6
/// needs no word.
pub(super) fn disable_ipv6(ifname: &str, disabled: bool) -> Result<(), Error> {
    let path: PathBuf = [ROOT, "ipv6", "conf", ifname, "disable_ipv6"]
        .iter()
        .collect();
    let value = if disabled { "1" } else { "0" };
    if reads(&path, value) {
        return Ok(());
    }
    match write(&path, value) {
        Err(_) if disabled && !path.exists() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_endpoints_own_device_is_set() {
        let one = |key: &str| parse(&[(key.to_owned(), "1".to_owned())]);
        for good in [
            "net.ipv4.conf.IFNAME.log_martians",
            "net/ipv4/conf/IFNAME/log_martians",
            "ipv6.neigh.IFNAME.anycast_delay",
        ] {
            assert_eq!(one(good).unwrap().len(), 1, "{good}");
        }
        for bad in [
            "",
            "net.ipv4.conf.all.forwarding",
            "net.ipv4.ip_forward",
            "net.ipv4.conf.IFNAME",
            "net.ipv4.conf.IFNAME.a.b",
            "net/ipv4/../IFNAME/x",
            "kernel.net.ipv4.conf.IFNAME.x",
            "net.ipv4.conf.IFNAME.a b",
        ] {
            assert!(one(bad).is_err(), "{bad}");
        }
    }
}
