//! The key `builder` of the file: dockerd's settings of the build cache.

use super::ConfigError;
use hull_engine::build::{BuildLimits, CollectRule, Collection};
use hull_engine::{Filters, Thousand, parse_size};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// `builder`. Of two names for one thing the second is the older one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Builder {
    gc: Gc,
    /// Has no effect: who reaches the socket may do everything anyway.
    entitlements: Option<serde::de::IgnoredAny>,
    history: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Gc {
    enabled: Option<bool>,
    policy: Option<Vec<Rule>>,
    #[serde(alias = "defaultKeepStorage")]
    default_reserved_space: Option<String>,
    default_max_used_space: Option<String>,
    default_min_free_space: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    all: bool,
    #[serde(deserialize_with = "filters")]
    filter: Filters,
    #[serde(alias = "keepStorage")]
    reserved_space: Option<String>,
    max_used_space: Option<String>,
    min_free_space: Option<String>,
}

/// `["unused-for=24h"]`, or the old form, `{"unused-for":{"24h":true}}`.
fn filters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Filters, D::Error> {
    let mut filters = Filters::new();
    let mut add = |name: &str, value: &str| {
        let values: &mut Vec<String> = filters.entry(name.to_owned()).or_default();
        values.push(value.to_owned());
    };
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => {}
        serde_json::Value::Array(pairs) => {
            for pair in pairs {
                let pair = pair.as_str();
                let pair = pair.ok_or_else(|| D::Error::custom("a filter is a text"))?;
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                add(&name.trim().to_lowercase(), value.trim());
            }
        }
        serde_json::Value::Object(names) => {
            for (name, values) in names {
                let values = values.as_object();
                let values = values.ok_or_else(|| D::Error::custom("a filter has values"))?;
                values.keys().for_each(|value| add(&name, value));
            }
        }
        _ => return Err(D::Error::custom("filters are a list")),
    }
    Ok(filters)
}

/// A size as dockerd reads it here: in powers of 1024; nothing is 0.
fn size(text: Option<&String>, name: &str) -> Result<u64, ConfigError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    let bytes = parse_size(text, Thousand::Binary);
    let bytes = bytes.ok().and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| {
        ConfigError::Plain(format!(
            "could not parse '{text}' as Builder.GC.{name} config: invalid size: '{text}'"
        ))
    })
}

impl Builder {
    /// What is asked for, without effect.
    pub(super) fn has_others(&self) -> bool {
        self.entitlements.is_some() || self.history.is_some()
    }

    /// How the build cache is kept small.
    ///
    /// # Errors
    /// For sizes and filters that are none, in dockerd's words where it has some.
    pub(super) fn collection(&self) -> Result<Collection, ConfigError> {
        let gc = &self.gc;
        let limits = BuildLimits {
            reserved: size(gc.default_reserved_space.as_ref(), "DefaultReservedSpace")?,
            max_used: size(gc.default_max_used_space.as_ref(), "DefaultMaxUsedSpace")?,
            min_free: size(gc.default_min_free_space.as_ref(), "DefaultMinFreeSpace")?,
        };
        let rules = gc
            .policy
            .iter()
            .flatten()
            .map(|rule| rule.read(limits.reserved));
        let rules: Vec<CollectRule> = rules.collect::<Result<_, _>>()?;
        Ok(Collection {
            enabled: gc.enabled.unwrap_or(true),
            rules: gc.policy.is_some().then_some(rules),
            limits,
        })
    }
}

impl Rule {
    fn read(&self, reserved: u64) -> Result<CollectRule, ConfigError> {
        let own = size(self.reserved_space.as_ref(), "Policy")?;
        let rule = CollectRule {
            all: self.all,
            limits: BuildLimits {
                reserved: if own == 0 { reserved } else { own },
                max_used: size(self.max_used_space.as_ref(), "Policy")?,
                min_free: size(self.min_free_space.as_ref(), "Policy")?,
            },
            ..CollectRule::default()
        };
        let rule = rule.with_filters(&self.filter);
        rule.map_err(|error| {
            ConfigError::Plain(format!("could not apply Builder.GC.Policy: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_engine::build::cache::Kind;
    use std::time::Duration;

    fn read(text: &str) -> Result<Collection, ConfigError> {
        hull_api::json::from_slice::<Builder>(text.as_bytes())
            .unwrap()
            .collection()
    }

    #[test]
    fn dockerds_settings_are_read() {
        let plain = read(r#"{"gc":{"defaultKeepStorage":"10GB"}}"#).unwrap();
        assert!(plain.enabled && plain.rules.is_none());
        assert_eq!(plain.limits.reserved, 10 << 30);
        assert!(!read(r#"{"gc":{"enabled":false}}"#).unwrap().enabled);
        let rules = read(
            r#"{"gc":{"policy":[{"keepStorage":"1k","filter":["unused-for=48h"]},
                {"all":true,"maxUsedSpace":"2k","filter":{"type":{"exec.cachemount":true}}}]}}"#,
        );
        let rules = rules.unwrap().rules.unwrap();
        assert_eq!((rules[0].limits.reserved, rules[0].all), (1024, false));
        assert_eq!(rules[0].unused_for.as_secs() / 3600, 48);
        assert_eq!(rules[1].kinds, [Kind::CacheMount]);
        assert_eq!(
            (rules[1].limits.max_used, rules[1].unused_for),
            (2048, Duration::ZERO)
        );
        for wrong in [
            r#"{"gc":{"defaultReservedSpace":"lots"}}"#,
            r#"{"gc":{"policy":[{"filter":["nope=1"]}]}}"#,
            r#"{"gc":{"policy":[{"filter":["type=nope"]}]}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
