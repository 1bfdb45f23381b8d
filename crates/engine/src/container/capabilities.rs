//! Which capabilities a container's processes have.

use super::Config;
use crate::{Error, ErrorKind, Result};
use hull_linux::capability::NAMES;

/// Those that a container has unless told otherwise: Docker's fourteen.
const DEFAULT: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The capabilities of a container, in the order in which Docker lists them.
///
/// # Errors
/// `InvalidInput` for a name that is none.
pub(super) fn of(config: &Config) -> Result<Vec<String>> {
    if config.privileged {
        return Ok(on_this_host(
            NAMES.iter().map(|name| (*name).to_owned()).collect(),
        ));
    }
    let add = parse("CapAdd", &config.cap_add)?;
    let drop = parse("CapDrop", &config.cap_drop)?;
    let all_dropped = drop.iter().any(|name| name == "ALL");
    let all_added = add.iter().any(|name| name == "ALL");
    let base: &[&str] = match (all_added, all_dropped) {
        (true, _) => &NAMES,
        (false, true) => &[],
        (false, false) => DEFAULT,
    };
    let mut capabilities: Vec<String> = base
        .iter()
        .map(|name| (*name).to_owned())
        .filter(|name| !drop.contains(name))
        .collect();
    for name in add.into_iter().filter(|name| name != "ALL") {
        if !capabilities.contains(&name) {
            capabilities.push(name);
        }
    }
    Ok(if all_added {
        on_this_host(capabilities)
    } else {
        capabilities
    })
}

/// "All" means all that this host can give: in a nested engine that is fewer.
fn on_this_host(names: Vec<String>) -> Vec<String> {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let Some(bounding) = bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()) else {
        return names;
    };
    let number = |name: &String| NAMES.iter().position(|known| known == name);
    names
        .into_iter()
        .filter(|name| number(name).is_some_and(|number| bounding >> number & 1 == 1))
        .collect()
}

fn parse(list: &str, names: &[String]) -> Result<Vec<String>> {
    names
        .iter()
        .map(|name| {
            let upper = name.trim().to_uppercase();
            if upper == "ALL" || upper == "CAP_ALL" {
                return Ok("ALL".to_owned());
            }
            let full = if upper.starts_with("CAP_") {
                upper
            } else {
                format!("CAP_{upper}")
            };
            if NAMES.contains(&full.as_str()) {
                return Ok(full);
            }
            Err(Error::new(
                ErrorKind::InvalidInput,
                format!("invalid {list}: unknown capability: \"{full}\""),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(add: &[&str], drop: &[&str]) -> Vec<String> {
        let strings = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        super::of(&Config {
            cap_add: strings(add),
            cap_drop: strings(drop),
            ..Config::default()
        })
        .unwrap()
    }

    #[test]
    fn adding_and_dropping() {
        assert_eq!(of(&[], &[]).len(), 14);
        assert!(of(&["sys_admin"], &[]).contains(&"CAP_SYS_ADMIN".to_owned()));
        assert!(!of(&[], &["CAP_KILL"]).contains(&"CAP_KILL".to_owned()));
        assert!(of(&[], &["ALL"]).is_empty());
        assert_eq!(of(&["CHOWN"], &["all"]), ["CAP_CHOWN"]);
        assert!(!of(&["ALL"], &["CHOWN"]).contains(&"CAP_CHOWN".to_owned()));
        let wrong = Config {
            cap_add: vec!["NOPE".to_owned()],
            ..Config::default()
        };
        assert_eq!(
            super::of(&wrong).unwrap_err().message(),
            "invalid CapAdd: unknown capability: \"CAP_NOPE\""
        );
    }
}
