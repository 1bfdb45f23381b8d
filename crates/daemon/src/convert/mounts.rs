//! `-v`, `--mount` and `--tmpfs`.

use super::unsupported;
use crate::error::ApiError;
use hull_api::container::{HostConfig, Mount as WireMount};
use hull_engine::container::{Mount, MountKind, Propagation};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Everything a request wants mounted.
///
/// # Errors
/// 400 for what makes no sense, 501 for kinds of mounts that Hull does not do.
pub(crate) fn mounts(host: &HostConfig) -> Result<Vec<Mount>, ApiError> {
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(parse_bind(bind)?);
    }
    for mount in &host.mounts {
        mounts.push(convert(mount)?);
    }
    for (target, options) in &host.tmpfs {
        mounts.push(Mount {
            kind: MountKind::Tmpfs {
                options: options.clone(),
            },
            target: absolute(target)
                .map_err(|why| ApiError::bad_request(format!("invalid mount target: {why}")))?,
            read_only: false,
            mode: options.clone(),
        });
    }
    let mut targets = BTreeSet::new();
    match mounts.iter().find(|mount| !targets.insert(&mount.target)) {
        Some(twice) => Err(ApiError::bad_request(format!(
            "Duplicate mount point: {}",
            twice.target.display()
        ))),
        None => Ok(mounts),
    }
}

/// Reads `source:target[:options]`, `volume:target[:options]` or `target`.
fn parse_bind(text: &str) -> Result<Mount, ApiError> {
    let refused = |why: &str| {
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(": {why}")
        };
        ApiError::bad_request(format!("invalid volume specification: '{text}'{why}"))
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] if !source.is_empty() => (source, target, ""),
        [source, target, options] if !source.is_empty() => (source, target, options),
        _ => return Err(refused("")),
    };
    let kind = if source.starts_with('/') {
        "bind"
    } else {
        "volume"
    };
    let invalid = |why: &str| refused(&format!("invalid mount config for type \"{kind}\": {why}"));
    let target = absolute(target).map_err(|why| invalid(&format!("invalid mount path: {why}")))?;
    if target == Path::new("/") {
        return Err(invalid("invalid specification: destination can't be '/'"));
    }
    if kind == "volume" {
        return Err(unsupported("volumes"));
    }
    let parsed =
        bind_options(options).ok_or_else(|| refused(&format!("invalid mode: {options}")))?;
    Ok(Mount {
        kind: MountKind::Bind {
            source: absolute(source).map_err(|why| invalid(&why))?,
            create_source: true,
            propagation: parsed.propagation,
            non_recursive: false,
        },
        target,
        read_only: parsed.read_only,
        mode: options.to_owned(),
    })
}

#[derive(Default)]
struct BindOptions {
    read_only: bool,
    propagation: Propagation,
}

/// Reads the options of `-v`; each kind may be given once.
fn bind_options(text: &str) -> Option<BindOptions> {
    let mut parsed = BindOptions::default();
    let mut seen = BTreeSet::new();
    for option in text.split(',').filter(|_| !text.is_empty()) {
        let kind = match option {
            "ro" => {
                parsed.read_only = true;
                "access"
            }
            "rw" => "access",
            // SELinux labels; without SELinux dockerd ignores them as well.
            "z" | "Z" => "label",
            // For macOS; they mean nothing on Linux.
            "consistent" | "cached" | "delegated" => "consistency",
            other => {
                parsed.propagation = propagation(other)?;
                "propagation"
            }
        };
        if !seen.insert(kind) {
            return None;
        }
    }
    Some(parsed)
}

fn propagation(word: &str) -> Option<Propagation> {
    Some(match word {
        "rprivate" => Propagation::RPrivate,
        "private" => Propagation::Private,
        "rshared" => Propagation::RShared,
        "shared" => Propagation::Shared,
        "rslave" => Propagation::RSlave,
        "slave" => Propagation::Slave,
        _ => return None,
    })
}

/// Converts an element of `Mounts`.
fn convert(mount: &WireMount) -> Result<Mount, ApiError> {
    let refused = |why: String| {
        ApiError::bad_request(format!(
            "invalid mount config for type {:?}: {why}",
            mount.kind
        ))
    };
    if mount.target.is_empty() {
        return Err(refused("field Target must not be empty".to_owned()));
    }
    let target =
        absolute(&mount.target).map_err(|why| refused(format!("invalid mount path: {why}")))?;
    if target == Path::new("/") {
        return Err(refused(
            "invalid specification: destination can't be '/'".to_owned(),
        ));
    }
    let kind = match mount.kind.as_str() {
        "bind" => bind(mount).map_err(refused)?,
        "tmpfs" if !mount.source.is_empty() => {
            return Err(refused("field Source must not be specified".to_owned()));
        }
        "tmpfs" => MountKind::Tmpfs {
            options: tmpfs_options(mount),
        },
        "volume" => return Err(unsupported("volumes")),
        "image" | "npipe" | "cluster" => {
            return Err(unsupported(format_args!("mounts of type {}", mount.kind)));
        }
        other => {
            return Err(ApiError::bad_request(format!(
                "mount type unknown: {other:?}"
            )));
        }
    };
    Ok(Mount {
        kind,
        target,
        read_only: mount.read_only,
        mode: String::new(),
    })
}

fn bind(mount: &WireMount) -> Result<MountKind, String> {
    if mount.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    let source = absolute(&mount.source).map_err(|why| format!("invalid mount path: {why}"))?;
    let options = mount.bind_options.clone().unwrap_or_default();
    let propagation = match options.propagation.as_str() {
        "" => Propagation::RPrivate,
        word => propagation(word).ok_or_else(|| format!("invalid propagation mode: {word}"))?,
    };
    Ok(MountKind::Bind {
        source,
        create_source: options.create_mountpoint,
        propagation,
        non_recursive: options.non_recursive,
    })
}

fn tmpfs_options(mount: &WireMount) -> String {
    let Some(options) = &mount.tmpfs_options else {
        return String::new();
    };
    let mut words = Vec::new();
    if options.size_bytes > 0 {
        words.push(format!("size={}", options.size_bytes));
    }
    if options.mode != 0 {
        words.push(format!("mode={:o}", options.mode));
    }
    words.extend(options.options.iter().map(|option| option.join("=")));
    words.join(",")
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        // Without doubled and final slashes, so that two spellings are one target.
        return Ok(Path::new(path).components().collect());
    }
    Err(format!("'{path}' mount path must be absolute"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Result<(Mount, String), String> {
        let mount = parse_bind(text).map_err(|error| error.message)?;
        let MountKind::Bind { source, .. } = &mount.kind else {
            unreachable!()
        };
        let source = source.display().to_string();
        Ok((mount, source))
    }

    #[test]
    fn binds_are_read_as_typed() {
        let (mount, source) = bind("/a:/b/").unwrap();
        assert_eq!((source.as_str(), mount.target.to_str()), ("/a", Some("/b")));
        assert!(!mount.read_only && mount.mode.is_empty());
        let (mount, _) = bind("/a:/b:ro,rslave,z").unwrap();
        assert_eq!(
            (mount.read_only, mount.mode.as_str()),
            (true, "ro,rslave,z")
        );
        assert!(matches!(
            mount.kind,
            MountKind::Bind {
                propagation: Propagation::RSlave,
                ..
            }
        ));
    }

    #[test]
    fn bad_binds_are_told_in_dockerds_words() {
        assert_eq!(
            bind("bad").unwrap_err(),
            "invalid volume specification: 'bad': invalid mount config for type \"volume\": invalid mount path: 'bad' mount path must be absolute"
        );
        for bad in [
            "/a:b",
            "/a:/",
            "/a:/b:xx",
            "/a:/b:ro,rw",
            "/a:/b:ro,ro",
            "/a:/b:ro:x",
            ":/b",
            "",
        ] {
            assert!(
                bind(bad)
                    .unwrap_err()
                    .starts_with("invalid volume specification: '"),
                "{bad}"
            );
        }
    }

    #[test]
    fn volumes_are_refused_plainly() {
        for volume in ["data:/b", "data:/b:ro", "/b"] {
            let error = parse_bind(volume).unwrap_err();
            assert_eq!(error.status, http::StatusCode::NOT_IMPLEMENTED);
            assert!(
                error
                    .message
                    .starts_with("Hull does not support volumes yet"),
                "{volume}"
            );
        }
    }

    #[test]
    fn a_target_is_taken_once() {
        let host = HostConfig {
            binds: Some(vec!["/a:/t".to_owned(), "/b:/t/".to_owned()]),
            ..HostConfig::default()
        };
        assert_eq!(
            mounts(&host).unwrap_err().message,
            "Duplicate mount point: /t"
        );
    }
}
