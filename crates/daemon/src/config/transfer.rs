//! How images come and go: limits, compression, proxies, and where registries' own settings lie.

use super::file::File;
use super::{ConfigError, Flags, absolute, given};
use hull_engine::image::Compression;
use hull_engine::{Proxies, TransferLimits};
use std::path::PathBuf;

/// What is transferred, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) limits: TransferLimits,
    pub(crate) compression: Compression,
    pub(crate) proxies: Proxies,
    pub(crate) config_dirs: Vec<PathBuf>,
}

impl Transfer {
    /// Puts flags and file together.
    pub(super) fn new(flags: &Flags, file: &File) -> Result<Self, ConfigError> {
        let compression = flags.push_compression.as_ref();
        let compression = compression.or(file.push_compression.as_ref());
        let proxies = file.proxies.clone().unwrap_or_default();
        let dirs = given(
            flags.registry_config_dirs.clone(),
            file.registry_config_dirs.clone(),
        );
        let config_dirs: Vec<PathBuf> = match dirs {
            Some(dirs) => dirs.into_iter().map(PathBuf::from).collect(),
            None => flags
                .program
                .certs_dirs()
                .iter()
                .map(PathBuf::from)
                .collect(),
        };
        for directory in &config_dirs {
            absolute("--registry-config-dir", directory)?;
        }
        Ok(Self {
            limits: limits(flags, file)?,
            compression: match compression {
                Some(text) => parse_compression(text)
                    .ok_or_else(|| ConfigError::PushCompression(text.clone()))?,
                None => Compression::default(),
            },
            proxies: Proxies {
                http: flags.http_proxy.clone().or(proxies.http_proxy),
                https: flags.https_proxy.clone().or(proxies.https_proxy),
                none: flags.no_proxy.clone().or(proxies.no_proxy),
            },
            config_dirs,
        })
    }
}

fn limits(flags: &Flags, file: &File) -> Result<TransferLimits, ConfigError> {
    let defaults = TransferLimits::default();
    let number = |what, flag: Option<i64>, file: Option<i64>, default: usize| {
        match flag.or(file) {
            // As with dockerd, 0 asks for the default.
            None | Some(0) => Ok(default),
            Some(number) => {
                usize::try_from(number).map_err(|_| ConfigError::Limit { what, number })
            }
        }
    };
    let attempts = flags.max_download_attempts.or(file.max_download_attempts);
    Ok(TransferLimits {
        downloads: number(
            "concurrent downloads",
            flags.max_concurrent_downloads,
            file.max_concurrent_downloads,
            defaults.downloads,
        )?,
        uploads: number(
            "concurrent uploads",
            flags.max_concurrent_uploads,
            file.max_concurrent_uploads,
            defaults.uploads,
        )?,
        attempts: match attempts {
            None => defaults.attempts,
            Some(number) => u32::try_from(number)
                .ok()
                .filter(|number| *number > 0)
                .ok_or(ConfigError::Limit {
                    what: "download attempts",
                    number,
                })?,
        },
    })
}

/// Reads `gzip`, `gzip:9`, `zstd`, `zstd:3` or `none`.
pub(crate) fn parse_compression(text: &str) -> Option<Compression> {
    let (form, level) = match text.split_once(':') {
        Some((form, level)) => (form, Some(level.parse::<u8>().ok()?)),
        None => (text, None),
    };
    match (form, level) {
        ("gzip", level) => level
            .or(Some(6))
            .filter(|level| *level <= 9)
            .map(Compression::Gzip),
        ("zstd", level) => level
            .or(Some(3))
            .filter(|level| (1..=19).contains(level))
            .map(Compression::Zstd),
        ("none", None) => Some(Compression::None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_have_levels() {
        for (text, compression) in [
            ("gzip", Some(Compression::Gzip(6))),
            ("gzip:1", Some(Compression::Gzip(1))),
            ("zstd", Some(Compression::Zstd(3))),
            ("zstd:19", Some(Compression::Zstd(19))),
            ("none", Some(Compression::None)),
            ("gzip:10", None),
            ("zstd:0", None),
            ("none:1", None),
            ("xz", None),
            ("", None),
        ] {
            assert_eq!(parse_compression(text), compression, "{text}");
        }
    }
}
