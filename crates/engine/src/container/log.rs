//! The options of the json-file log driver.

use super::{LogConfig, LogDriver};
use crate::{Error, ErrorKind, Result};
use std::path::Path;

/// Bounded unless asked otherwise: five files of 20 MB.
const MAX_SIZE: u64 = 20_000_000;
const MAX_FILES: u32 = 5;

/// Size of a file in bytes (0: no limit) and number of files.
///
/// # Errors
/// Docker's complaints about options that do not exist or cannot be read.
pub(super) fn options(log: &LogConfig) -> Result<(u64, u32)> {
    let invalid = |text: String| Error::new(ErrorKind::InvalidInput, text);
    let (mut size, mut files) = (MAX_SIZE, MAX_FILES);
    for (name, value) in &log.options {
        match (log.driver, name.as_str()) {
            (LogDriver::JsonFile, "max-size") => {
                size = parse_size(value)
                    .ok_or_else(|| invalid(format!("invalid value for max-size: {value}")))?;
            }
            (LogDriver::JsonFile, "max-file") => {
                files = value
                    .parse()
                    .ok()
                    .filter(|n| *n > 0)
                    .ok_or_else(|| invalid("max-file cannot be less than 1".to_owned()))?;
            }
            (LogDriver::JsonFile, "mode" | "max-buffer-size")
                if name == "max-buffer-size" || value == "blocking" => {}
            (LogDriver::JsonFile, other) => {
                return Err(invalid(format!(
                    "unknown log opt '{other}' for json-file log driver"
                )));
            }
            (LogDriver::None, _) => {}
        }
    }
    Ok((size, files))
}

/// The shim's view; `None` when nothing is kept.
pub(super) fn config(log: &LogConfig, path: &Path) -> Result<Option<hull_shim::LogConfig>> {
    let (max_size, max_files) = options(log)?;
    Ok(match log.driver {
        LogDriver::JsonFile => Some(hull_shim::LogConfig {
            path: path.to_owned(),
            max_size,
            max_files,
        }),
        LogDriver::None => None,
    })
}

/// `10m`, `1.5k`, `100`, `-1` for no limit; powers of 1024, as Docker reads them.
fn parse_size(text: &str) -> Option<u64> {
    if text == "-1" {
        return Some(0);
    }
    let lower = text.trim().to_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match lower[digits.len()..]
        .trim_end_matches('b')
        .trim_end_matches('i')
    {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let log = |pairs: &[(&str, &str)]| LogConfig {
            driver: LogDriver::JsonFile,
            options: pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        };
        assert_eq!(options(&log(&[])).unwrap(), (20_000_000, 5));
        assert_eq!(
            options(&log(&[("max-size", "10m"), ("max-file", "3")])).unwrap(),
            (10 << 20, 3)
        );
        assert_eq!(options(&log(&[("max-size", "-1")])).unwrap().0, 0);
        for bad in [
            ("max-size", "x"),
            ("max-file", "0"),
            ("nonsense", "1"),
            ("mode", "non-blocking"),
        ] {
            assert!(options(&log(&[bad])).is_err(), "{bad:?}");
        }
    }
}
