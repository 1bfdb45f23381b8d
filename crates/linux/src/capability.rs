//! capabilities(7): names, and the five sets of a thread.

use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
};
use std::io;

/// All capabilities by number, up to kernel 5.9.
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A set of capabilities, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(pub u64);

impl Set {
    /// The set of these names (`CAP_KILL`); names nobody knows are handed to `unknown`.
    pub fn of<'a>(
        names: impl IntoIterator<Item = &'a str>,
        mut unknown: impl FnMut(&'a str),
    ) -> Self {
        let mut bits = 0;
        for name in names {
            match NAMES.iter().position(|known| *known == name) {
                Some(number) => bits |= 1 << number,
                None => unknown(name),
            }
        }
        Self(bits)
    }

    fn kernel(self) -> CapabilitySet {
        CapabilitySet::from_bits_retain(self.0)
    }
}

/// The capabilities the calling thread may have effective now (`permitted`) and ever (`bounding`).
///
/// # Errors
/// Never in practice.
pub fn own() -> io::Result<(Set, Set)> {
    let permitted = rustix::thread::capabilities(None)?.permitted.bits();
    let mut bounding = 0;
    for number in 0..NAMES.len() {
        if capability_is_in_bounding_set(CapabilitySet::from_bits_retain(1 << number))
            .unwrap_or(false)
        {
            bounding |= 1 << number;
        }
    }
    Ok((Set(permitted), Set(bounding)))
}

/// Takes everything but `keep` out of the bounding set. Needs CAP_SETPCAP. prctl(2), `PR_CAPBSET_DROP`.
///
/// # Errors
/// `EPERM`.
pub fn limit_bounding(keep: Set) -> io::Result<()> {
    for number in 0..64_u32 {
        let bit = 1_u64 << number;
        if keep.0 & bit != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(()) => {}
            // The kernel has no capability of this number, nor any after it.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Sets the effective, permitted and inheritable sets. capset(2).
///
/// # Errors
/// `EPERM` for what the thread does not have.
pub fn set(effective: Set, permitted: Set, inheritable: Set) -> io::Result<()> {
    let sets = CapabilitySets {
        effective: effective.kernel(),
        permitted: permitted.kernel(),
        inheritable: inheritable.kernel(),
    };
    Ok(set_capabilities(None, sets)?)
}

/// Sets the ambient set; capabilities that cannot be raised (not permitted or not inheritable) are
/// left out, as every runtime does. prctl(2), `PR_CAP_AMBIENT`, kernel 4.3.
///
/// # Errors
/// When the set cannot be cleared.
pub fn set_ambient(ambient: Set) -> io::Result<()> {
    clear_ambient_capability_set()?;
    for number in (0..64_u32).filter(|number| ambient.0 & (1 << number) != 0) {
        let _ =
            configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_numbers_of_the_kernel() {
        let mut unknown = Vec::new();
        let set = Set::of(
            ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_BPF", "CAP_NONE"],
            |name| unknown.push(name),
        );
        assert_eq!(set.0, 1 | 1 << 21 | 1 << 39);
        assert_eq!(unknown, ["CAP_NONE"]);
    }

    #[test]
    fn what_is_permitted_is_in_the_bounding_set_of_root() {
        let (permitted, bounding) = own().expect("read");
        assert_eq!(permitted.0 & !bounding.0, 0);
    }
}
