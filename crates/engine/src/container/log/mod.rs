//! Log drivers and their options.

mod attributes;
mod remote;

use super::record::Record;
use super::{LogConfig, LogDriver};
use crate::logs::{Format, Place};
use crate::{Error, ErrorKind, Result};
use hull_shim::LogFormat;
use std::path::Path;

/// Bounded unless asked otherwise: five files of 20 MB.
const MAX_SIZE: u64 = 20_000_000;
const MAX_FILES: u32 = 5;
/// Bytes that may wait with `mode=non-blocking`.
const MAX_BUFFER: u64 = 1_000_000;

/// A driver's options, as meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    /// Bytes of a file; 0: no limit.
    size: u64,
    files: u32,
    compress: bool,
    /// Bytes that may wait; `None`: the container waits.
    buffer: Option<u64>,
}

/// Options that every driver has; those of the copy are not checked by dockerd either.
const COMMON: [&str; 6] = [
    "mode",
    "max-buffer-size",
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
];

/// Checks a driver's options.
///
/// # Errors
/// Docker's complaints about options that do not exist or cannot be read.
pub fn check(log: &LogConfig) -> Result<()> {
    if log.driver == LogDriver::None {
        return Ok(());
    }
    buffer(log)?;
    if let Some(text) = log
        .options
        .get("cache-disabled")
        .filter(|text| !text.is_empty())
    {
        let wrong = |_| invalid(format!("invalid value for option cache-disabled: {text}"));
        boolean(text).map_err(wrong)?;
    }
    if let LogDriver::Remote(driver) = log.driver {
        return hull_logger::options::check(driver, &remote::own_options(log)).map_err(invalid);
    }
    known(log)?;
    options(log)?;
    attributes::check(&log.options)
}

/// The shim's view: the files that a container's output is kept in; `None` when it is not.
///
/// # Errors
/// As [`check`].
pub(super) fn config(record: &Record, directory: &Path) -> Result<Option<hull_shim::LogConfig>> {
    let log = &record.config.log;
    let format = match log.driver {
        LogDriver::None => return Ok(None),
        LogDriver::JsonFile => LogFormat::Json,
        LogDriver::Local => LogFormat::Local,
        LogDriver::Remote(_) => return remote::copy(record, directory),
    };
    let options = options(log)?;
    Ok(Some(hull_shim::LogConfig {
        path: place(directory, record).path,
        format,
        max_size: options.size,
        max_files: options.files,
        compress: options.compress,
        attributes: match format {
            LogFormat::Json => attributes::of(record)?,
            LogFormat::Local => std::collections::BTreeMap::new(),
        },
        buffer: options.buffer,
    }))
}

/// The shim's view: the log server that gets a container's output, through `program`.
///
/// # Errors
/// As [`check`], and what dockerd says when a driver cannot be started.
pub(super) fn receiver(
    record: &Record,
    directory: &Path,
    program: &Path,
) -> Result<Option<hull_shim::Receiver>> {
    remote::receiver(record, directory, program)
}

/// Whether a log can be read here.
pub(crate) fn is_readable(log: &LogConfig) -> bool {
    match log.driver {
        LogDriver::None => false,
        LogDriver::JsonFile | LogDriver::Local => true,
        LogDriver::Remote(_) => remote::is_copied(log),
    }
}

/// Where a container's log is, `directory` being the container's: where dockerd has it.
pub(crate) fn place(directory: &Path, record: &Record) -> Place {
    match record.config.log.driver {
        LogDriver::Local => Place {
            path: directory.join("local-logs/container.log"),
            format: Format::Local,
        },
        LogDriver::Remote(_) => Place {
            path: directory.join("container-cached.log"),
            format: Format::Local,
        },
        LogDriver::JsonFile | LogDriver::None => Place {
            path: directory.join(format!("{}-json.log", record.id)),
            format: Format::Json,
        },
    }
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

fn known(log: &LogConfig) -> Result<()> {
    let names: &[&str] = match log.driver {
        LogDriver::JsonFile => &[
            "max-file",
            "max-size",
            "compress",
            "labels",
            "labels-regex",
            "env",
            "env-regex",
            "tag",
        ],
        _ => &["max-file", "max-size", "compress"],
    };
    let unknown =
        |name: &&String| !names.contains(&name.as_str()) && !COMMON.contains(&name.as_str());
    match (log.options.keys().find(unknown), log.driver) {
        (None, _) => Ok(()),
        (Some(name), LogDriver::JsonFile) => Err(invalid(format!(
            "unknown log opt '{name}' for json-file log driver"
        ))),
        (Some(name), driver) => Err(invalid(format!(
            "unknown log opt '{name}' for log driver {}",
            driver.as_str()
        ))),
    }
}

fn options(log: &LogConfig) -> Result<Options> {
    let local = log.driver == LogDriver::Local;
    let option = |name: &str| log.options.get(name);
    let size = option("max-size").map(|text| max_size(text, local));
    let files = option("max-file").map(|text| max_files(text, local));
    let compress = option("compress").map(|text| boolean(text));
    let options = Options {
        size: size.transpose()?.unwrap_or(MAX_SIZE),
        files: files.transpose()?.unwrap_or(MAX_FILES),
        compress: compress.transpose()?.unwrap_or(local),
        buffer: buffer(log)?,
    };
    if options.compress && options.files < 2 && local {
        return Err(invalid(
            "compression cannot be enabled when max file count is 1",
        ));
    }
    if options.compress && (options.files < 2 || options.size == 0) {
        return Err(invalid(
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ));
    }
    Ok(options)
}

fn max_size(text: &str, local: bool) -> Result<u64> {
    // Docker's files have no limit unless one is given: it has no word for none. Ours have one.
    if text == "-1" {
        return Ok(0);
    }
    match parse_size(text) {
        Some(0) if !local => Err(invalid("max-size must be a positive number")),
        Some(size) => Ok(size),
        None if local => Err(invalid(format!(
            "invalid value for max-size: {text}: invalid size: '{text}'"
        ))),
        None => Err(invalid(format!("invalid size: '{text}'"))),
    }
}

fn max_files(text: &str, local: bool) -> Result<u32> {
    let number: i64 = text.parse().map_err(|_| {
        let why = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
        invalid(if local {
            format!("invalid value for max-file: {text}: {why}")
        } else {
            why
        })
    })?;
    u32::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| invalid("max-file cannot be less than 1"))
}

fn boolean(text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(invalid(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        ))),
    }
}

fn buffer(log: &LogConfig) -> Result<Option<u64>> {
    let blocking = match log.options.get("mode").map(String::as_str) {
        None | Some("" | "blocking") => true,
        Some("non-blocking") => false,
        Some(other) => {
            let text = format!("logger: logging mode not supported: {other}");
            return Err(invalid(text));
        }
    };
    match log.options.get("max-buffer-size") {
        Some(_) if blocking => Err(invalid(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        )),
        Some(text) => parse_size(text).map(Some).ok_or_else(|| {
            invalid(format!(
                "error parsing option max-buffer-size: invalid size: '{text}'"
            ))
        }),
        None => Ok((!blocking).then_some(MAX_BUFFER)),
    }
}

/// `10m`, `1.5k`, `100`; powers of 1000, as Docker reads them for logs.
fn parse_size(text: &str) -> Option<u64> {
    let size = hull_spec::parse_size(text, hull_spec::Thousand::Decimal).ok()?;
    u64::try_from(size).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(driver: LogDriver, pairs: &[(&str, &str)]) -> LogConfig {
        LogConfig {
            driver,
            options: pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn options_are_read() {
        let json = |pairs: &[(&str, &str)]| options(&log(LogDriver::JsonFile, pairs)).unwrap();
        let usual = Options {
            size: 20_000_000,
            files: 5,
            compress: false,
            buffer: None,
        };
        assert_eq!(json(&[]), usual);
        let asked = [
            ("max-size", "1.5k"),
            ("max-file", "3"),
            ("compress", "true"),
            ("mode", "non-blocking"),
            ("max-buffer-size", "4m"),
        ];
        let expected = Options {
            size: 1500,
            files: 3,
            compress: true,
            buffer: Some(4_000_000),
        };
        assert_eq!(json(&asked), expected);
        assert_eq!(json(&[("max-size", "-1")]).size, 0);
        let local = options(&log(LogDriver::Local, &[("max-size", "0")]));
        assert!(local.is_err(), "nothing to compress");
        assert!(options(&log(LogDriver::Local, &[])).unwrap().compress);
    }

    const REFUSED: &[(LogDriver, &str, &str, &str)] = &[
        (
            LogDriver::JsonFile,
            "nonsense",
            "1",
            "unknown log opt 'nonsense' for json-file log driver",
        ),
        (
            LogDriver::Local,
            "tag",
            "1",
            "unknown log opt 'tag' for log driver local",
        ),
        (LogDriver::JsonFile, "max-size", "x", "invalid size: 'x'"),
        (
            LogDriver::JsonFile,
            "max-size",
            "0",
            "max-size must be a positive number",
        ),
        (
            LogDriver::Local,
            "max-size",
            "x",
            "invalid value for max-size: x: invalid size: 'x'",
        ),
        (
            LogDriver::JsonFile,
            "max-file",
            "0",
            "max-file cannot be less than 1",
        ),
        (
            LogDriver::JsonFile,
            "max-file",
            "x",
            "strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            LogDriver::Local,
            "max-file",
            "1",
            "compression cannot be enabled when max file count is 1",
        ),
        (
            LogDriver::JsonFile,
            "compress",
            "x",
            "strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            LogDriver::JsonFile,
            "mode",
            "foo",
            "logger: logging mode not supported: foo",
        ),
        (
            LogDriver::Local,
            "max-buffer-size",
            "1m",
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            LogDriver::Local,
            "cache-disabled",
            "x",
            "invalid value for option cache-disabled: x",
        ),
        (
            LogDriver::Remote(hull_logger::Driver::Journald),
            "cache-foo",
            "x",
            "unknown log opt 'cache-foo' for journald log driver",
        ),
        (
            LogDriver::JsonFile,
            "tag",
            "{{",
            "template: log-tag:1: unclosed action",
        ),
    ];

    /// The texts are dockerd's, which tells of values only when the container is started.
    #[test]
    fn what_cannot_be_read_is_refused_in_dockers_words() {
        for (driver, name, value, text) in REFUSED.iter().copied() {
            let refused = check(&log(driver, &[(name, value)])).unwrap_err();
            assert_eq!(refused.message(), text);
        }
        let ring = [("mode", "non-blocking"), ("max-buffer-size", "x")];
        let refused = check(&log(LogDriver::Local, &ring)).unwrap_err();
        assert_eq!(
            refused.message(),
            "error parsing option max-buffer-size: invalid size: 'x'"
        );
        assert!(check(&log(LogDriver::JsonFile, &[("cache-max-size", "x")])).is_ok());
        assert!(check(&log(LogDriver::JsonFile, &[("labels-regex", "[")])).is_err());
        assert!(check(&log(LogDriver::None, &[("x", "y")])).is_ok());
    }
}
