//! How devices are known to be ours, and their names.

use crate::Error;
use hull_linux::netlink::{Link, Mac};

/// The alias of our devices is this and the id of their network or endpoint. Names alone prove nothing,
/// since other engines use the same patterns.
const MARK: &str = "hull:";
/// The group in which all our devices are from the moment they are made. A device gets its alias only
/// after that: one in the group without an alias is of a creation that was interrupted.
pub(super) const GROUP: u32 = 0x6875_6c6c;
/// The group of devices that are about to be removed, together.
pub(super) const DOOMED: u32 = 0x6875_6c00;
/// Marks our addresses on devices that are not ours ("h").
pub(super) const GIVEN: u8 = 0x68;
/// The longest name of a device, in bytes: `IFNAMSIZ` without its zero.
const MAX_NAME: usize = 15;
/// How many names are tried before it is said that they are all taken.
const NAMES: u8 = 4;

pub(super) fn alias(id: &str) -> String {
    format!("{MARK}{id}")
}

/// Whose a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    /// The network or endpoint with this id.
    Id(&'a str),
    /// Nobody's: its creation, or its removal, was interrupted.
    Nobody,
    /// Not ours.
    Stranger,
}

pub(super) fn owner(link: &Link) -> Owner<'_> {
    match link.alias.strip_prefix(MARK) {
        _ if link.group == DOOMED => Owner::Nobody,
        Some(id) => Owner::Id(id),
        None if link.group == GROUP && link.alias.is_empty() => Owner::Nobody,
        None => Owner::Stranger,
    }
}

/// A name that the kernel takes and that means the same in paths and in patterns of rules.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "`{name}` cannot be the name of a network device"
    )))
}

/// As [`check_name`], and `%d` at the end for a number of the kernel's choice.
pub(super) fn check_pattern(name: &str) -> Result<(), Error> {
    check_name(name.strip_suffix("%d").unwrap_or(name))
}

fn hash(id: &str, salt: u8) -> u64 {
    // FNV-1a, then one more multiplication so that short ids reach the upper bits too. It must be
    // the same in every version of this program.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.bytes().chain([salt]) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The names of an endpoint's device on the host, `veth` and seven digits each, in the order in which
/// they are tried. They follow from the id, so nobody has to remember which one it was.
pub(super) fn names(id: &str) -> impl Iterator<Item = String> {
    (0..NAMES).map(move |n| format!("veth{:07x}", hash(id, n) >> 36))
}

/// The Ethernet address of a network's bridge: always the same, so that no neighbour's table is stale
/// when the bridge is made again. Unicast, locally administered.
pub(super) fn bridge_mac(network: &str) -> Mac {
    let [a, b, c, d, e, ..] = hash(network, 0xff).to_be_bytes();
    Mac([0x02, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_devices_names_and_differ() {
        let all: HashSet<String> = ["a", "b", ""].into_iter().flat_map(names).collect();
        assert_eq!(all.len(), 12);
        assert!(all.iter().all(|name| name.len() == 11));
    }

    #[test]
    fn strange_names_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "sixteen-letters-",
            "a:1",
            "eth%d",
            "-a",
            "a\"b",
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["eth0", "br-0123456789ab", "eth0.5"] {
            check_name(good).unwrap();
        }
        check_pattern("eth%d").unwrap();
        assert!(check_pattern("%d").is_err());
        assert!(check_pattern("eth%s").is_err());
    }

    #[test]
    fn devices_tell_whose_they_are() {
        let link = |alias: &str, group| Link {
            alias: alias.to_owned(),
            group,
            ..Link::default()
        };
        assert_eq!(owner(&link("hull:ab", GROUP)), Owner::Id("ab"));
        assert_eq!(owner(&link("hull:ab", 0)), Owner::Id("ab"));
        assert_eq!(owner(&link("", GROUP)), Owner::Nobody);
        assert_eq!(owner(&link("hull:ab", DOOMED)), Owner::Nobody);
        assert_eq!(owner(&link("", 0)), Owner::Stranger);
        assert_eq!(owner(&link("my bridge", GROUP)), Owner::Stranger);
    }
}
