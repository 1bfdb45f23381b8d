//! `--security-opt`.

use super::unsupported;
use crate::error::ApiError;
use hull_api::container::HostConfig;
use hull_engine::container::Seccomp;

/// What the options say.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SecurityOptions {
    pub(crate) no_new_privileges: bool,
    pub(crate) seccomp: Seccomp,
}

/// Reads all options.
///
/// # Errors
/// 400 for unknown ones, 501 for security modules that Hull does not drive.
pub(crate) fn options(host: &HostConfig) -> Result<SecurityOptions, ApiError> {
    let mut parsed = SecurityOptions::default();
    for option in host.security_opt.iter().flatten() {
        // A colon is the older form.
        let (name, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true" | "1") => parsed.no_new_privileges = true,
            ("no-new-privileges", "false" | "0") => parsed.no_new_privileges = false,
            ("seccomp", "unconfined") => parsed.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => parsed.seccomp = Seccomp::Default,
            ("seccomp", profile) if profile.trim_start().starts_with('{') => {
                parsed.seccomp = Seccomp::Profile(profile.to_owned());
            }
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("apparmor" | "label", _) => {
                return Err(unsupported(format_args!("--security-opt {option}")));
            }
            _ => {
                return Err(ApiError::bad_request(format!(
                    "invalid --security-opt 1: {option:?}"
                )));
            }
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(option: &str) -> Result<SecurityOptions, ApiError> {
        options(&HostConfig {
            security_opt: Some(vec![option.to_owned()]),
            ..HostConfig::default()
        })
    }

    #[test]
    fn options_are_read_in_both_forms() {
        for on in [
            "no-new-privileges",
            "no-new-privileges:true",
            "no-new-privileges=true",
        ] {
            assert!(read(on).unwrap().no_new_privileges, "{on}");
        }
        assert!(!read("no-new-privileges=false").unwrap().no_new_privileges);
        assert_eq!(
            read("seccomp=unconfined").unwrap().seccomp,
            Seccomp::Unconfined
        );
        assert_eq!(
            read("seccomp={\"a\":1}").unwrap().seccomp,
            Seccomp::Profile("{\"a\":1}".to_owned())
        );
        assert!(read("apparmor=x").is_err() && read("nope").is_err());
    }
}
