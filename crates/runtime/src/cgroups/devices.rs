//! From the configuration's rules for devices to the kernel's.

use crate::error::{Error, said};
use hull_linux::cgroup::{Access, DeviceKind, DeviceRule};
use hull_spec::runtime::{self, Resources};

/// Refuses rules that could be read in more than one way, in runc's words.
pub(crate) fn check(rules: &[runtime::DeviceRule]) -> Result<(), Error> {
    for (index, rule) in rules.iter().enumerate() {
        if rule.access.is_empty() {
            return Err(said(format!(
                "device access at {index} field cannot be empty"
            )));
        }
        if !matches!(rule.kind.as_str(), "" | "a" | "b" | "c") {
            return Err(said(format!("invalid cgroup device type {:?}", rule.kind)));
        }
        for number in [rule.major, rule.minor].into_iter().flatten() {
            if number != -1 && u32::try_from(number).is_err() {
                return Err(said(format!("invalid cgroup device number {number}")));
            }
        }
    }
    Ok(())
}

/// The configured rules, then what every container may do: make nodes, and use the default devices.
pub(crate) fn rules(resources: Option<&Resources>) -> Vec<DeviceRule> {
    let mut rules = Vec::new();
    for rule in resources.iter().flat_map(|resources| &resources.devices) {
        // As runc, which takes the letters it knows and leaves the others alone.
        let known: String = rule.access.chars().filter(|c| "rwm".contains(*c)).collect();
        let Some(access) = Access::parse(&known) else {
            continue;
        };
        rules.push(DeviceRule {
            allow: rule.allow,
            kind: match rule.kind.as_str() {
                "c" => DeviceKind::Character,
                "b" => DeviceKind::Block,
                _ => DeviceKind::All,
            },
            major: number(rule.major),
            minor: number(rule.minor),
            access,
        });
    }
    let opened_wide = rules
        .iter()
        .rev()
        .find(|rule| rule.is_total())
        .is_some_and(|rule| rule.allow);
    if opened_wide {
        return rules;
    }
    let make = Access {
        read: false,
        write: false,
        mknod: true,
    };
    let allow = |kind, major, minor, access| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        access,
    };
    let mut defaults = vec![
        allow(DeviceKind::Character, None, None, make),
        allow(DeviceKind::Block, None, None, make),
    ];
    for (major, minor) in DEFAULT {
        defaults.push(allow(
            DeviceKind::Character,
            Some(major),
            Some(minor),
            Access::ALL,
        ));
    }
    defaults.push(allow(DeviceKind::Character, Some(136), None, Access::ALL));
    // What the configuration says already (Docker's does) need not be said twice: each rule is a write.
    defaults.retain(|rule| !rules.contains(rule));
    rules.extend(defaults);
    rules
}

/// The default nodes, `ptmx`, and `net/tun`, which programs of private networks make themselves.
const DEFAULT: [(u32, u32); 8] = [
    (1, 3),
    (1, 5),
    (1, 7),
    (1, 8),
    (1, 9),
    (5, 0),
    (5, 2),
    (10, 200),
];

/// -1 and nothing are any number.
fn number(number: Option<i64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(rules: &str) -> Resources {
        serde_json::from_str(&format!(r#"{{"devices":[{rules}]}}"#)).expect("parses")
    }

    #[test]
    fn every_container_may_use_the_null_device() {
        let found = rules(None);
        let is_null = |rule: &&DeviceRule| (rule.major, rule.minor) == (Some(1), Some(3));
        assert!(found.iter().find(is_null).is_some_and(|rule| rule.allow));
        let open = resources(r#"{"allow":true,"access":"rwm"}"#);
        assert_eq!(rules(Some(&open)).len(), 1);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for (rule, text) in [
            (
                r#"{"allow":true}"#,
                "device access at 0 field cannot be empty",
            ),
            (
                r#"{"type":"x","access":"r"}"#,
                "invalid cgroup device type \"x\"",
            ),
            (
                r#"{"major":-2,"access":"r"}"#,
                "invalid cgroup device number -2",
            ),
        ] {
            let error = check(&resources(rule).devices).expect_err(rule);
            assert_eq!(error.to_string(), text);
        }
        check(&resources(r#"{"major":-1,"access":"rwx"}"#).devices).expect("-1 is any");
    }
}
