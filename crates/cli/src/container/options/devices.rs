//! `--device`, the limits of block devices, `--ulimit`, `--gpus`.

use crate::format::parse_bytes;
use hull_api::container::{DeviceMapping, DeviceRequest, ThrottleDevice, Ulimit, WeightDevice};
use hull_spec::parse_ulimit;
use std::collections::BTreeMap;

pub(super) fn check_weight(text: &str) -> Result<(), String> {
    weight(text).map(drop)
}

/// `path:weight`.
pub(super) fn weight(text: &str) -> Result<WeightDevice, String> {
    let (path, weight) = split_device(text)?;
    let weight: u16 = weight
        .parse()
        .ok()
        .filter(|weight| *weight == 0 || (10..=1000).contains(weight))
        .ok_or_else(|| format!("invalid weight for device: {text}"))?;
    Ok(WeightDevice {
        path: path.to_owned(),
        weight,
    })
}

pub(super) fn check_bps(text: &str) -> Result<(), String> {
    bps(text).map(drop)
}

/// `path:rate` in bytes a second.
pub(super) fn bps(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = split_device(text)?;
    let rate = parse_bytes(rate).map_err(|_| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb")
    })?;
    Ok(ThrottleDevice {
        path: path.to_owned(),
        rate: rate.unsigned_abs(),
    })
}

pub(super) fn check_iops(text: &str) -> Result<(), String> {
    iops(text).map(drop)
}

/// `path:rate` in operations a second.
pub(super) fn iops(text: &str) -> Result<ThrottleDevice, String> {
    let (path, rate) = split_device(text)?;
    let rate = rate.parse().map_err(|_| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer")
    })?;
    Ok(ThrottleDevice {
        path: path.to_owned(),
        rate,
    })
}

fn split_device(text: &str) -> Result<(&str, &str), String> {
    match text.split_once(':') {
        Some(("", _)) | None => Err(format!("bad format: {text}")),
        Some((path, _)) if !path.starts_with("/dev/") => {
            Err(format!("bad format for device path: {text}"))
        }
        Some(pair) => Ok(pair),
    }
}

/// `--device-cgroup-rule`: `c 1:3 rwm`.
pub(super) fn check_rule(text: &str) -> Result<(), String> {
    let invalid = || Err(format!("invalid device cgroup format '{text}'"));
    let mut words = text.split(' ');
    let (Some("a" | "b" | "c"), Some(numbers), Some(modes), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return invalid();
    };
    let number = |text: &str| text == "*" || text.parse::<u32>().is_ok();
    let modes_ok =
        !modes.is_empty() && modes.len() <= 3 && modes.bytes().all(|b| b"rwm".contains(&b));
    match numbers.split_once(':') {
        Some((major, minor)) if number(major) && number(minor) && modes_ok => Ok(()),
        _ => invalid(),
    }
}

/// `--device host[:container[:permissions]]`.
pub(super) fn device(text: &str) -> Result<DeviceMapping, String> {
    let valid_mode = |mode: &str| {
        !mode.is_empty() && mode.len() <= 3 && mode.bytes().all(|b| b"rwm".contains(&b))
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, second] if valid_mode(second) => (*host, *host, *second),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, mode] if valid_mode(mode) => (*host, *inside, *mode),
        [_, _, mode] => return Err(format!("bad mode specified: {mode}")),
        _ => return Err(format!("bad format for path: {text}")),
    };
    if host.is_empty() || inside.is_empty() {
        return Err(format!("bad format for path: {text}"));
    }
    if !inside.starts_with('/') {
        return Err(format!("{inside} is not an absolute path"));
    }
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: permissions.to_owned(),
    })
}

/// Whether `--device` names one of the Container Device Interface: `vendor.com/class=name`.
pub(super) fn is_cdi(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else {
        return false;
    };
    let Some((vendor, class)) = kind.split_once('/') else {
        return false;
    };
    !vendor.is_empty() && !class.is_empty() && !class.contains('/') && !name.is_empty()
}

pub(super) fn check_ulimit(text: &str) -> Result<(), String> {
    ulimit(text).map(drop)
}

/// `name=soft[:hard]`.
pub(super) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, soft, hard) = parse_ulimit(text).map_err(|error| error.to_string())?;
    Ok(Ulimit {
        name: name.to_owned(),
        hard,
        soft,
    })
}

pub(super) fn check_gpus(text: &str) -> Result<(), String> {
    gpus(text).map(drop)
}

/// `--gpus all`, `--gpus 2`, `--gpus device=0,driver=nvidia,capabilities=…`.
pub(super) fn gpus(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest {
        count: 0,
        device_ids: None,
        capabilities: None,
        driver: String::new(),
        options: Some(BTreeMap::new()),
    };
    let mut capabilities: Vec<String> = Vec::new();
    for field in super::mounts::csv(text)? {
        let (name, value) = field.split_once('=').unwrap_or(("count", field.as_str()));
        match name {
            "driver" => value.clone_into(&mut request.driver),
            "count" if value == "all" => request.count = -1,
            "count" => {
                request.count = value.parse().map_err(|_| {
                    format!("invalid count ({value}): value must be either \"all\" or an integer: invalid syntax")
                })?;
            }
            "device" => {
                request.device_ids = Some(value.split(',').map(str::to_owned).collect());
            }
            "capabilities" => capabilities.extend(value.split(',').map(str::to_owned)),
            "options" => {}
            other => return Err(format!("unexpected key '{other}' in '{field}'")),
        }
    }
    if request.count == 0 && request.device_ids.is_none() {
        request.count = 1;
    }
    capabilities.push("gpu".to_owned());
    request.capabilities = Some(vec![capabilities]);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_limits_and_rules() {
        let mapping = device("/dev/a:/dev/b:r").unwrap();
        assert_eq!(
            (
                mapping.path_in_container.as_str(),
                mapping.cgroup_permissions.as_str()
            ),
            ("/dev/b", "r")
        );
        assert_eq!(device("/dev/a:rw").unwrap().path_in_container, "/dev/a");
        assert_eq!(device("/dev/a:b").unwrap_err(), "b is not an absolute path");
        assert!(is_cdi("vendor.com/gpu=all") && !is_cdi("/dev/a:/dev/b"));
        assert_eq!(bps("/dev/sda:1mb").unwrap().rate, 1 << 20);
        assert!(bps("sda:1mb").is_err() && iops("/dev/sda:x").is_err());
        assert_eq!(weight("/dev/sda:500").unwrap().weight, 500);
        assert!(weight("/dev/sda:5").is_err());
        assert!(check_rule("c 1:* rwm").is_ok() && check_rule("x 1:3 r").is_err());
        let limit = ulimit("nofile=1024:2048").unwrap();
        assert_eq!((limit.soft, limit.hard), (1024, 2048));
        assert_eq!(gpus("all").unwrap().count, -1);
    }
}
