//! From limits to the properties of a unit (systemd.resource-control(5)).

use crate::error::{Error, Step as _, said};
use hull_linux::cgroup::{Cpu, Limits, Refused};
use hull_linux::systemd::{Manager, Property, Type, Value};

/// What the manager is asked for only where it matters.
pub(super) trait Version {
    /// systemd's version.
    fn version(&mut self) -> Result<u32, Error>;
}

impl Version for Manager {
    fn version(&mut self) -> Result<u32, Error> {
        Manager::version(self).step(|| "ask for systemd's version")
    }
}

/// What systemd has properties for. A quota is rounded up to what systemd can hold.
pub(super) fn of(
    limits: &mut Limits,
    v2: bool,
    systemd: &mut impl Version,
) -> Result<Vec<Property>, Error> {
    let mut properties = if v2 {
        unified(limits, systemd)?
    } else {
        legacy(limits)?
    };
    // What systemd has not heard of would make it refuse all; the kernel is given these values anyway.
    for (since, names) in [
        (242, &["CPUQuotaPeriodUSec"][..]),
        (244, &["AllowedCPUs", "AllowedMemoryNodes"]),
    ] {
        let young = |property: &Property| names.contains(&property.name.as_str());
        if properties.iter().any(young) && systemd.version()? < since {
            properties.retain(|property| !young(property));
        }
    }
    Ok(properties)
}

fn legacy(limits: &mut Limits) -> Result<Vec<Property>, Error> {
    if !limits.unified.is_empty() {
        return Err(said(Refused::UnifiedOnV1.to_string()));
    }
    let mut properties = Vec::new();
    let mut add = |name: &str, value| properties.push(Property::new(name, Value::U64(value)));
    if let Some(limit) = limits.memory.limit.filter(|limit| *limit != 0) {
        add("MemoryLimit", limit.cast_unsigned());
    }
    if let Some(shares) = limits.cpu.shares.filter(|shares| *shares != 0) {
        add("CPUShares", shares);
    }
    if let Some(weight) = limits.block.weight.filter(|weight| *weight != 0) {
        add("BlockIOWeight", weight.into());
    }
    properties.extend(quota(&mut limits.cpu));
    properties.extend(tasks(limits.pids));
    properties.extend(cpuset(&limits.cpu)?);
    Ok(properties)
}

fn unified(limits: &mut Limits, systemd: &mut impl Version) -> Result<Vec<Property>, Error> {
    let mut properties = Vec::new();
    let mut add = |name: &str, value| properties.push(Property::new(name, Value::U64(value)));
    if let Some(limit) = limits.memory.limit.filter(|limit| *limit != 0) {
        // -1 is infinity, here as there.
        add("MemoryMax", limit.cast_unsigned());
    }
    if let Some(low) = limits.memory.reservation.filter(|low| *low != 0) {
        add("MemoryLow", low.cast_unsigned());
    }
    let swap = limits.memory.swap_alone();
    if let Some(swap) = swap.map_err(|refused| said(refused.to_string()))? {
        add("MemorySwapMax", swap.cast_unsigned());
    }
    if limits.cpu.idle == Some(1) && systemd.version()? >= 252 {
        add("CPUWeight", 0);
    } else if let Some(weight) = limits.cpu.weight() {
        add("CPUWeight", weight);
    }
    properties.extend(quota(&mut limits.cpu));
    properties.extend(tasks(limits.pids));
    properties.extend(cpuset(&limits.cpu)?);
    for (name, value) in &limits.unified {
        properties.extend(raw(name, value.trim())?);
    }
    Ok(properties)
}

/// systemd counts in whole percents of a processor. The kernel gets what systemd gets.
fn quota(cpu: &mut Cpu) -> Vec<Property> {
    /// A percent of a second, microseconds.
    const PERCENT: i128 = 10_000;
    let mut properties = Vec::new();
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period != 0);
    if let Some(period) = period {
        properties.push(Property::new("CPUQuotaPeriodUSec", Value::U64(period)));
    }
    if quota.is_none() && period.is_none() {
        return properties;
    }
    let mut per_second = u64::MAX;
    if let Some(quota) = quota.filter(|quota| *quota > 0) {
        let period = i128::from(period.unwrap_or(100_000));
        let exact = i128::from(quota) * 1_000_000 / period;
        let rounded = (exact + PERCENT - 1) / PERCENT * PERCENT;
        per_second = u64::try_from(rounded).unwrap_or(u64::MAX);
        if rounded != exact {
            cpu.quota = i64::try_from(rounded * period / 1_000_000).ok();
        }
    }
    let per_second = Value::U64(per_second);
    properties.push(Property::new("CPUQuotaPerSecUSec", per_second));
    properties
}

fn tasks(limit: Option<i64>) -> Option<Property> {
    let limit = limit.filter(|limit| *limit != 0)?;
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    Some(Property::new("TasksMax", Value::U64(limit)))
}

fn cpuset(cpu: &Cpu) -> Result<Vec<Property>, Error> {
    let mut properties = Vec::new();
    for (what, name, list) in [
        ("Cpus", "AllowedCPUs", &cpu.cpus),
        ("Mems", "AllowedMemoryNodes", &cpu.mems),
    ] {
        if let Some(list) = list {
            let bits = bits(list).map_err(|why| {
                said(format!(
                    "resources.CPU.{what}={list:?} conversion error: {why}"
                ))
            })?;
            properties.push(Property::new(name, bits));
        }
    }
    Ok(properties)
}

/// A list such as `0-2,7` as a mask, the lowest byte first.
fn bits(list: &str) -> Result<Value, String> {
    /// More than any machine has.
    const MOST: usize = 1 << 16;
    let number = |text: &str| {
        let number: Result<usize, _> = text.trim().parse();
        let number = number.map_err(|_| format!("invalid number {text:?}"))?;
        if number < MOST {
            Ok(number)
        } else {
            Err(format!("{number} is too large"))
        }
    };
    let mut mask: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|r| !r.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("invalid range: {range}"));
        }
        mask.resize(mask.len().max(last / 8 + 1), 0);
        for bit in first..=last {
            mask[bit / 8] |= 1 << (bit % 8);
        }
    }
    if mask.is_empty() {
        return Err("empty value".to_owned());
    }
    let mask = mask.into_iter().map(Value::Byte).collect();
    Ok(Value::Array(Type::Plain('y'), mask))
}

/// A v2 file that systemd has a property for. What it has none for is written to the group alone.
fn raw(name: &str, value: &str) -> Result<Vec<Property>, Error> {
    if name.contains('/') {
        return Err(said(Refused::UnifiedPath(name.to_owned()).to_string()));
    }
    if name
        .split_once('.')
        .is_none_or(|(first, _)| first.is_empty())
    {
        return Err(said(Refused::UnifiedForm(name.to_owned()).to_string()));
    }
    let wrong = || {
        let text = format!("unified resource {name:?} value conversion error: {value:?}");
        said(text)
    };
    let amount = || match value {
        "max" => Ok(u64::MAX),
        value => value.parse().map_err(|_| wrong()),
    };
    let property = match name {
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "cpu.weight" => "CPUWeight",
        "pids.max" => {
            // systemd has no 0 here.
            let limit = Value::U64(amount()?.max(1));
            return Ok(vec![Property::new("TasksMax", limit)]);
        }
        "cpuset.cpus" | "cpuset.mems" => {
            let property = if name == "cpuset.cpus" {
                "AllowedCPUs"
            } else {
                "AllowedMemoryNodes"
            };
            let bits = bits(value).map_err(|_| wrong())?;
            return Ok(vec![Property::new(property, bits)]);
        }
        "cpu.max" => {
            let mut fields = value.split_whitespace();
            let number = |text: &str| text.parse::<i64>().map_err(|_| wrong());
            let mut cpu = Cpu {
                quota: match fields.next() {
                    Some("max") => None,
                    Some(text) => Some(number(text)?),
                    None => return Err(wrong()),
                },
                ..Cpu::default()
            };
            let period = fields.next().map_or(Ok(100_000), number)?;
            cpu.period = u64::try_from(period).ok();
            return Ok(quota(&mut cpu));
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![Property::new(property, Value::U64(amount()?))])
}

/// What can be set only while the unit is made.
pub(super) fn at_start(
    limits: &Limits,
    systemd: &mut impl Version,
) -> Result<Vec<Property>, Error> {
    let group = limits
        .unified
        .iter()
        .find(|(name, _)| name == "memory.oom.group");
    let policy = match group.map(|(_, value)| value.trim()) {
        Some("0") => "continue",
        Some("1") => "kill",
        _ => return Ok(Vec::new()),
    };
    // Scopes have it since 253.
    if systemd.version()? < 253 {
        return Ok(Vec::new());
    }
    Ok(vec![Property::new("OOMPolicy", Value::text(policy))])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Systemd(u32);

    impl Version for Systemd {
        fn version(&mut self) -> Result<u32, Error> {
            Ok(self.0)
        }
    }

    fn numbers(properties: &[Property]) -> Vec<(&str, u64)> {
        let number = |property: &Property| match property.value {
            Value::U64(number) => number,
            _ => 0,
        };
        let pair = |property| (property, number(property));
        let pairs = properties.iter().map(pair);
        pairs.map(|(p, number)| (p.name.as_str(), number)).collect()
    }

    #[test]
    fn limits_are_properties() {
        let mut limits = Limits::default();
        limits.memory.limit = Some(1000);
        limits.memory.swap = Some(1500);
        limits.memory.reservation = Some(-1);
        limits.cpu.shares = Some(1024);
        limits.cpu.quota = Some(12_345);
        limits.cpu.period = Some(100_000);
        limits.pids = Some(-1);
        limits.unified = vec![
            ("memory.high".to_owned(), "max".to_owned()),
            ("io.cost.model".to_owned(), "8:0 ctrl=auto".to_owned()),
            ("pids.max".to_owned(), "0".to_owned()),
            ("cpu.max".to_owned(), "max 50000\n".to_owned()),
        ];
        let found = of(&mut limits, true, &mut Systemd(252)).expect("properties");
        let expected = [
            ("MemoryMax", 1000),
            ("MemoryLow", u64::MAX),
            ("MemorySwapMax", 500),
            ("CPUWeight", 100),
            ("CPUQuotaPeriodUSec", 100_000),
            ("CPUQuotaPerSecUSec", 130_000),
            ("TasksMax", u64::MAX),
            ("MemoryHigh", u64::MAX),
            ("TasksMax", 1),
            ("CPUQuotaPeriodUSec", 50_000),
            ("CPUQuotaPerSecUSec", u64::MAX),
        ];
        assert_eq!(numbers(&found), expected);
        assert_eq!(limits.cpu.quota, Some(13_000), "what systemd holds");
        limits.unified.clear();
        limits.block.weight = Some(300);
        let found = of(&mut limits, false, &mut Systemd(252)).expect("properties");
        let expected = [
            ("MemoryLimit", 1000),
            ("CPUShares", 1024),
            ("BlockIOWeight", 300),
            ("CPUQuotaPeriodUSec", 100_000),
            ("CPUQuotaPerSecUSec", 130_000),
            ("TasksMax", u64::MAX),
        ];
        assert_eq!(numbers(&found), expected);
    }

    #[test]
    fn what_depends_on_the_version_is_asked_for() {
        let mut limits = Limits::default();
        limits.cpu.idle = Some(1);
        limits.cpu.shares = Some(2);
        limits.unified = vec![("memory.oom.group".to_owned(), "1".to_owned())];
        for (version, weight, policies) in [(251, 1, 0), (252, 0, 0), (253, 0, 1)] {
            let found = of(&mut limits, true, &mut Systemd(version)).expect("properties");
            assert_eq!(numbers(&found), [("CPUWeight", weight)]);
            let found = at_start(&limits, &mut Systemd(version)).expect("properties");
            assert_eq!(found.len(), policies);
        }
    }

    #[test]
    fn lists_are_masks() {
        let mask = |bytes: &[u8]| {
            let bytes = bytes.iter().copied().map(Value::Byte).collect();
            Ok(Value::Array(Type::Plain('y'), bytes))
        };
        assert_eq!(bits("0-2, 9,"), mask(&[7, 2]));
        assert_eq!(bits("15"), mask(&[0, 128]));
        for list in ["", ",", "3-1", "x", "-1", "99999999"] {
            bits(list).expect_err(list);
        }
    }

    #[test]
    fn what_an_old_systemd_does_not_know_is_left_to_the_kernel() {
        let mut limits = Limits {
            cpu: Cpu {
                quota: Some(20_000),
                period: Some(50_000),
                cpus: Some("0-1".to_owned()),
                ..Cpu::default()
            },
            ..Limits::default()
        };
        for (version, expected) in [
            (239, &["CPUQuotaPerSecUSec"][..]),
            (243, &["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec"]),
            (
                244,
                &["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec", "AllowedCPUs"],
            ),
        ] {
            let found = of(&mut limits, false, &mut Systemd(version)).expect("valid");
            let names: Vec<&str> = found
                .iter()
                .map(|property| property.name.as_str())
                .collect();
            assert_eq!(names, expected, "{version}");
        }
    }
}
