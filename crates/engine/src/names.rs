//! Ids and names.

use crate::{Error, ErrorKind, Result};
use rand::RngExt;

/// 64 random hexadecimal digits.
pub(crate) fn id() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Docker refuses ids whose short form is a number: as a host name it would be one, too.
    if id[..12].bytes().all(|b| b.is_ascii_digit()) {
        self::id()
    } else {
        id
    }
}

/// A random UUID, version 4 (RFC 9562).
pub(crate) fn uuid() -> String {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Checks a container's name and takes the slash away that Docker's clients may put before it.
pub(crate) fn checked(name: &str) -> Result<String> {
    let plain = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = plain.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = bytes.len() > 0
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if first && rest {
        return Ok(plain.to_owned());
    }
    let text =
        format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
    Err(Error::new(ErrorKind::InvalidInput, text))
}

/// A name made up, such as `calm_harbour`; with a number from the tenth attempt on.
pub(crate) fn made_up(attempt: u32) -> String {
    let mut random = rand::rng();
    let adjective = ADJECTIVES[random.random_range(0..ADJECTIVES.len())];
    let noun = NOUNS[random.random_range(0..NOUNS.len())];
    if attempt < 10 {
        format!("{adjective}_{noun}")
    } else {
        format!("{adjective}_{noun}{}", random.random_range(0..10_000_u32))
    }
}

const ADJECTIVES: &[&str] = &[
    "able", "agile", "amber", "ample", "blithe", "bold", "brave", "bright", "brisk", "calm",
    "candid", "clear", "clever", "crisp", "deft", "eager", "early", "fair", "fleet", "fond",
    "frank", "fresh", "gentle", "glad", "golden", "grand", "hardy", "honest", "jolly", "keen",
    "kind", "lively", "loyal", "lucid", "mellow", "merry", "mild", "modest", "neat", "nimble",
    "noble", "patient", "placid", "plucky", "proud", "quick", "quiet", "ready", "robust", "serene",
    "sharp", "silver", "smart", "snug", "sober", "spry", "stable", "staunch", "steady", "stout",
    "sturdy", "sunny", "swift", "tidy", "trusty", "upbeat", "vivid", "warm", "wise", "witty",
    "zesty",
];

const NOUNS: &[&str] = &[
    "anchor", "ballast", "barge", "beacon", "berth", "binnacle", "boom", "bosun", "bow", "bridge",
    "brig", "bulkhead", "buoy", "cable", "capstan", "cargo", "clipper", "coaster", "compass",
    "convoy", "cutter", "davit", "deck", "dinghy", "dock", "dory", "ferry", "fleet", "frigate",
    "galley", "gangway", "halyard", "harbour", "hatch", "hawser", "helm", "jetty", "jib", "keel",
    "ketch", "lagoon", "lantern", "lighter", "mainsail", "mast", "mizzen", "mooring", "oar",
    "packet", "pier", "pilot", "porthole", "prow", "quay", "rigging", "rudder", "schooner",
    "sextant", "skiff", "sloop", "spar", "stern", "tender", "tide", "tiller", "topsail", "trawler",
    "tug", "wharf", "windlass", "yawl",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["web", "/web", "a1", "A.b_c-d"] {
            assert_eq!(checked(good).unwrap(), good.trim_start_matches('/'));
        }
        for bad in ["", "a", "-a", "_a", "a b", "a/b", "//a", "ä1"] {
            assert_eq!(
                checked(bad).unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{bad}"
            );
        }
        assert!(checked(&made_up(0)).is_ok() && checked(&made_up(10)).is_ok());
    }

    #[test]
    fn ids_are_64_digits() {
        assert!(id().len() == 64 && id() != id());
        assert_eq!(uuid().len(), 36);
    }
}
