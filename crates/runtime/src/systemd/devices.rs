//! From device rules to `DevicePolicy=` and `DeviceAllow=`.

use hull_linux::cgroup::{DeviceKind, DeviceRule};
use hull_linux::systemd::{Property, Type, Value};

/// The properties. systemd knows what is allowed only, not what is denied of that, and replaces nothing of
/// our own filter, which is set after and decides: where systemd cannot say it, it allows everything.
pub(super) fn properties(rules: &[DeviceRule]) -> Vec<Property> {
    let from = rules.iter().rposition(DeviceRule::is_total);
    let open = from.is_some_and(|at| rules[at].allow);
    let rest = &rules[from.map_or(0, |at| at + 1)..];
    let strict = !open && rest.iter().all(|rule| rule.allow && entry(rule).is_some());
    let allowed = if strict {
        rest.iter().filter_map(entry).flatten().collect()
    } else {
        Vec::new()
    };
    let pair = Type::Struct(vec![Type::Plain('s'), Type::Plain('s')]);
    let policy = if strict { "strict" } else { "auto" };
    let mut properties = vec![
        // An empty list clears what was there.
        Property::new("DeviceAllow", Value::Array(pair.clone(), Vec::new())),
        Property::new("DevicePolicy", Value::text(policy)),
    ];
    if strict {
        properties.push(Property::new("DeviceAllow", Value::Array(pair, allowed)));
    }
    properties
}

/// One rule as pairs of path and access; `None` for any major number with one minor, which has no path.
fn entry(rule: &DeviceRule) -> Option<Vec<Value>> {
    let kinds: &[&str] = match rule.kind {
        DeviceKind::All => &["block", "char"],
        DeviceKind::Block => &["block"],
        DeviceKind::Character => &["char"],
    };
    let path = |kind: &&str| match (rule.major, rule.minor) {
        (None, None) => Some(format!("{kind}-*")),
        (Some(major), None) => Some(format!("{kind}-{major}")),
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        (None, Some(_)) => None,
    };
    let pair = |kind| {
        let access = Value::Text(rule.access.to_string());
        Some(Value::Struct(vec![Value::Text(path(kind)?), access]))
    };
    kinds.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_linux::cgroup::Access;

    fn rule(allow: bool, major: Option<u32>, minor: Option<u32>) -> DeviceRule {
        DeviceRule {
            allow,
            kind: DeviceKind::Character,
            major,
            minor,
            access: Access::ALL,
        }
    }

    #[test]
    fn what_is_allowed_is_listed() {
        let total = |allow| DeviceRule {
            kind: DeviceKind::All,
            ..rule(allow, None, None)
        };
        let rules = [
            rule(true, Some(9), Some(9)),
            total(false),
            rule(true, Some(1), Some(3)),
            rule(true, Some(136), None),
            rule(true, None, None),
        ];
        let found = properties(&rules);
        let pair = |path: &str| Value::Struct(vec![Value::text(path), Value::text("rwm")]);
        let kind = Type::Struct(vec![Type::Plain('s'), Type::Plain('s')]);
        let expected = vec![pair("/dev/char/1:3"), pair("char-136"), pair("char-*")];
        assert_eq!(found[2].value, Value::Array(kind, expected));
        assert_eq!(found[1].value, Value::text("strict"));
        // What systemd cannot say is left to our own filter.
        for rules in [
            vec![total(true)],
            vec![rule(true, Some(1), None), rule(false, Some(1), Some(3))],
            vec![rule(true, None, Some(3))],
        ] {
            let found = properties(&rules);
            assert_eq!((found.len(), &found[1].value), (2, &Value::text("auto")));
        }
    }
}
