//! `--security-opt`.

use crate::error::ApiError;
use hull_api::container::HostConfig;
use hull_engine::container::Seccomp;

/// What the options say.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SecurityOptions {
    pub(crate) no_new_privileges: bool,
    pub(crate) writable_cgroups: bool,
    pub(crate) seccomp: Seccomp,
    /// A profile's name; `None` for none at all.
    pub(crate) apparmor: Option<String>,
    /// SELinux's options.
    pub(crate) labels: Vec<String>,
}

/// Reads all options.
///
/// # Errors
/// 500 for unknown ones: dockerd's status for them.
pub(crate) fn options(host: &HostConfig) -> Result<SecurityOptions, ApiError> {
    let mut parsed = SecurityOptions::default();
    for option in host.security_opt.iter().flatten() {
        read(option, &mut parsed)?;
    }
    Ok(parsed)
}

fn read(option: &str, parsed: &mut SecurityOptions) -> Result<(), ApiError> {
    let unknown = |stage: u8| {
        Err(ApiError::internal(format!(
            "invalid --security-opt {stage}: {option:?}"
        )))
    };
    match option {
        "no-new-privileges" => parsed.no_new_privileges = true,
        "writable-cgroups" => parsed.writable_cgroups = true,
        "disable" => parsed.labels.push(option.to_owned()),
        _ => {
            // A colon is the older form.
            let split = option.split_once('=').or_else(|| option.split_once(':'));
            let Some((name, value)) = split else {
                return unknown(1);
            };
            match (name, truth(value)) {
                ("no-new-privileges", Some(on)) => parsed.no_new_privileges = on,
                ("writable-cgroups", Some(on)) => parsed.writable_cgroups = on,
                ("seccomp", _) => parsed.seccomp = seccomp(value),
                ("apparmor", _) => {
                    parsed.apparmor = Some(value.to_owned()).filter(|name| name != "unconfined");
                }
                ("label", _) => parsed.labels.push(value.to_owned()),
                _ => return unknown(2),
            }
        }
    }
    Ok(())
}

fn seccomp(value: &str) -> Seccomp {
    match value {
        "unconfined" => Seccomp::Unconfined,
        "builtin" => Seccomp::Default,
        profile => Seccomp::Profile(profile.to_owned()),
    }
}

/// A truth value as Go reads it.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(option: &str) -> Result<SecurityOptions, ApiError> {
        let host = HostConfig {
            security_opt: Some(vec![option.to_owned()]),
            ..HostConfig::default()
        };
        options(&host)
    }

    #[test]
    fn options_are_read_in_both_forms() {
        for on in [
            "no-new-privileges",
            "no-new-privileges:true",
            "no-new-privileges=1",
        ] {
            assert!(read(on).unwrap().no_new_privileges, "{on}");
        }
        assert!(!read("no-new-privileges=false").unwrap().no_new_privileges);
        assert!(read("writable-cgroups=true").unwrap().writable_cgroups);
        assert_eq!(
            read("seccomp=unconfined").unwrap().seccomp,
            Seccomp::Unconfined
        );
        assert_eq!(
            read("seccomp={\"a\":1}").unwrap().seccomp,
            Seccomp::Profile("{\"a\":1}".to_owned())
        );
        let profile = read("apparmor=x").unwrap().apparmor;
        assert_eq!(profile.as_deref(), Some("x"));
        assert_eq!(read("apparmor:unconfined").unwrap().apparmor, None);
        assert_eq!(read("label=type:t").unwrap().labels, ["type:t"]);
    }

    #[test]
    fn unknown_options_have_dockerds_status_and_text() {
        for (option, text) in [
            ("nope", "invalid --security-opt 1: \"nope\""),
            ("nope=x", "invalid --security-opt 2: \"nope=x\""),
            (
                "no-new-privileges=x",
                "invalid --security-opt 2: \"no-new-privileges=x\"",
            ),
        ] {
            let error = read(option).unwrap_err();
            assert_eq!((error.status.as_u16(), error.message.as_str()), (500, text));
        }
    }
}
