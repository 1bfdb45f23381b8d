//! Single values of flags and keys, read.

use super::ConfigError;
use hull_engine::{Thousand, parse_size};
use tracing::level_filters::LevelFilter;

/// A size in powers of 1000, or of 1024 with an `i`; nothing and 0 are no limit.
pub(super) fn disk_budget(text: &str) -> Result<Option<u64>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let thousand = match text.contains(['i', 'I']) {
        true => Thousand::Binary,
        false => Thousand::Decimal,
    };
    let bytes = parse_size(text, thousand)
        .ok()
        .and_then(|bytes| u64::try_from(bytes).ok())
        .ok_or_else(|| ConfigError::DiskBudget(text.to_owned()))?;
    Ok((bytes > 0).then_some(bytes))
}

pub(super) fn log_level(level: Option<&str>, debug: bool) -> Result<LevelFilter, ConfigError> {
    let level = match level.unwrap_or("info") {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        // Rust's logging knows nothing worse than an error.
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        other => return Err(ConfigError::LogLevel(other.to_owned())),
    };
    Ok(if debug {
        level.max(LevelFilter::DEBUG)
    } else {
        level
    })
}

pub(super) fn log_format(format: Option<&str>) -> Result<bool, ConfigError> {
    match format {
        None | Some("" | "text") => Ok(false),
        Some("json") => Ok(true),
        Some(other) => Err(ConfigError::LogFormat(other.to_owned())),
    }
}

/// A mirror's URL without path, query, fragment and user: anything else would be dropped silently.
pub(super) fn mirror(text: &str) -> Result<String, ConfigError> {
    let refused = |why: &str| ConfigError::Mirror(format!("{why} for {text:?}"));
    if !text.contains("://") {
        let why =
            format!("no scheme specified for {text:?}: must use either 'https://' or 'http://'");
        return Err(ConfigError::Mirror(why));
    }
    let url = url::Url::parse(text)
        .map_err(|error| ConfigError::Mirror(format!("{text:?} is not a valid URI: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        let why = format!(
            "unsupported scheme {:?} in {text:?}: must use either 'https://' or 'http://'",
            url.scheme()
        );
        return Err(ConfigError::Mirror(why));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("unsupported query or fragment"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("username/password not allowed in URI"));
    }
    Ok(url.to_string())
}
