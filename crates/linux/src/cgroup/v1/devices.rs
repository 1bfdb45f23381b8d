//! The list of devices of v1 (kernel documentation, `cgroup-v1/devices`).

use super::super::{DeviceKind, DeviceRule, Error, write};
use std::path::Path;

/// The kernel's list starts as "everything is allowed". Denying all and then writing rule by rule is
/// what its documentation describes; the list is never wider than what is asked for.
pub(in super::super) fn set_devices(directory: &Path, rules: &[DeviceRule]) -> Result<(), Error> {
    // What stands before the last total rule has no effect.
    let from = rules.iter().rposition(DeviceRule::is_total).unwrap_or(0);
    let rules = &rules[from..];
    let starts_open = rules
        .first()
        .is_some_and(|rule| rule.is_total() && rule.allow);
    write(
        &directory.join(if starts_open {
            "devices.allow"
        } else {
            "devices.deny"
        }),
        "a",
    )?;
    for rule in rules.iter().filter(|rule| !rule.is_total()) {
        let file = directory.join(if rule.allow {
            "devices.allow"
        } else {
            "devices.deny"
        });
        if rule.kind == DeviceKind::All {
            // `a` in this file means "all devices, all accesses", whatever follows it.
            for kind in [DeviceKind::Character, DeviceKind::Block] {
                write(&file, &DeviceRule { kind, ..*rule }.to_string())?;
            }
        } else {
            write(&file, &rule.to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::Access;
    use super::*;
    use std::fs;

    #[test]
    fn rules_before_a_total_one_are_not_written() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("devices.allow"), "").unwrap();
        fs::write(root.path().join("devices.deny"), "").unwrap();
        let rule = |allow, kind, major, minor| DeviceRule {
            allow,
            kind,
            major,
            minor,
            access: Access::ALL,
        };
        let rules = [
            rule(true, DeviceKind::Block, Some(8), Some(0)),
            rule(false, DeviceKind::All, None, None),
            rule(true, DeviceKind::Character, Some(1), Some(3)),
        ];
        set_devices(root.path(), &rules).unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("devices.deny")).unwrap(),
            "a"
        );
        assert_eq!(
            fs::read_to_string(root.path().join("devices.allow")).unwrap(),
            "c 1:3 rwm"
        );
    }
}
