//! Log servers, and the copy that is kept here for `logs`: what Docker calls dual logging.

use super::{COMMON, MAX_FILES, MAX_SIZE, attributes, boolean, buffer, max_files, max_size, place};
use crate::container::record::Record;
use crate::container::{LogConfig, LogDriver};
use crate::{Error, ErrorKind, Result};
use hull_logger::{About, Settings};
use hull_shim::{LogFormat, Receiver};
use std::collections::BTreeMap;
use std::path::Path;

/// In a container's directory: what could not be delivered, and why.
const STATUS: &str = "log-driver.json";

/// The tag of a container whose options name none.
const USUAL_TAG: &str = "{{.ID}}";

/// The options that are the driver's.
pub(super) fn own_options(log: &LogConfig) -> BTreeMap<String, String> {
    let own = |(name, _): &(&String, &String)| !COMMON.contains(&name.as_str());
    let owned = |(name, value): (&String, &String)| (name.clone(), value.clone());
    log.options.iter().filter(own).map(owned).collect()
}

/// Whether a copy is kept.
pub(super) fn is_copied(log: &LogConfig) -> bool {
    let disabled = log.options.get("cache-disabled");
    !disabled.is_some_and(|text| boolean(text).unwrap_or(false))
}

/// The copy's files: five of 20 MB, compressed. What its options cannot mean is as if it were not there, as in Docker.
pub(super) fn copy(record: &Record, directory: &Path) -> Result<Option<hull_shim::LogConfig>> {
    let log = &record.config.log;
    if !is_copied(log) {
        return Ok(None);
    }
    let option = |name: &str| log.options.get(name).map(String::as_str);
    let size = option("cache-max-size").and_then(|text| max_size(text, true).ok());
    let files = option("cache-max-file").and_then(|text| max_files(text, true).ok());
    let compress = option("cache-compress").and_then(|text| boolean(text).ok());
    let (size, files) = (size.unwrap_or(MAX_SIZE), files.unwrap_or(MAX_FILES));
    Ok(Some(hull_shim::LogConfig {
        path: place(directory, record).path,
        format: LogFormat::Local,
        max_size: size,
        max_files: files,
        compress: compress.unwrap_or(true) && files > 1 && size > 0,
        attributes: BTreeMap::new(),
        buffer: buffer(log)?,
    }))
}

/// What the shim must know to start a log server's program; `None` for other drivers.
pub(super) fn receiver(
    record: &Record,
    directory: &Path,
    program: &Path,
) -> Result<Option<Receiver>> {
    let log = &record.config.log;
    let LogDriver::Remote(driver) = log.driver else {
        return Ok(None);
    };
    let buffer = buffer(log)?;
    let settings = Settings {
        driver,
        options: own_options(log),
        buffer,
        about: about(record).map_err(|error| not_started(error.message()))?,
        status: Some(directory.join(STATUS)),
        journal: None,
        again: false,
        lost: 0,
    };
    let settings = serde_json::to_value(&settings).map_err(|error| {
        Error::new(
            ErrorKind::Internal,
            "could not write the log driver's settings",
        )
        .caused_by(error)
    })?;
    Ok(Some(Receiver {
        program: program.to_owned(),
        settings,
        waits: buffer.is_none(),
    }))
}

/// dockerd's words around a driver's.
fn not_started(why: &str) -> Error {
    let prefix = "failed to create task for container: failed to initialize logging driver";
    Error::new(ErrorKind::Internal, format!("{prefix}: {why}"))
}

fn about(record: &Record) -> Result<About> {
    Ok(About {
        id: record.id.clone(),
        name: record.name.clone(),
        image_id: record.image_id.clone(),
        image: record.image_name.clone(),
        command: record.effective.args.join(" "),
        created: record.created.to_string(),
        host: crate::system::host_name(),
        tag: attributes::tag(record, USUAL_TAG)?,
        attributes: attributes::asked(record)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_copy_are_not_the_drivers() {
        let options = [
            ("tag", "x"),
            ("mode", "blocking"),
            ("cache-disabled", "true"),
        ];
        let log = LogConfig {
            driver: LogDriver::Remote(hull_logger::Driver::Gelf),
            options: options
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        assert_eq!(own_options(&log).into_keys().collect::<Vec<_>>(), ["tag"]);
        assert!(!is_copied(&log) && is_copied(&LogConfig::default()));
    }
}
