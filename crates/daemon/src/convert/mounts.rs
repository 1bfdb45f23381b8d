//! `-v`, `--mount` and `--tmpfs`.

use super::unsupported;
use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::container::{HostConfig, Mount as WireMount};
use hull_engine::container::{
    Bind, IdMap, IdRange, Mount, MountKind, Propagation, ReadOnlyBelow, VolumeMount,
};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Everything a request wants mounted.
///
/// # Errors
/// 400 for what makes no sense.
pub(crate) fn mounts(host: &HostConfig, version: ApiVersion) -> Result<Vec<Mount>, ApiError> {
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(parse_bind(bind, &host.volume_driver)?);
    }
    for mount in &host.mounts {
        mounts.push(convert(mount, version)?);
    }
    if !version.since(44) {
        // Until then what is read-only was so without the mounts below.
        for mount in mounts.iter_mut().filter(|mount| mount.read_only) {
            if let MountKind::Bind(bind) = &mut mount.kind {
                bind.read_only_below = ReadOnlyBelow::No;
            }
        }
    }
    for (target, options) in &host.tmpfs {
        let target = absolute(target).map_err(ApiError::bad_request)?;
        if target == Path::new("/") {
            return Err(ApiError::bad_request(ROOT));
        }
        mounts.push(Mount {
            kind: MountKind::Tmpfs {
                options: options.clone(),
            },
            target,
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

const ROOT: &str = "invalid specification: destination can't be '/'";

/// The paths of anonymous volumes.
///
/// # Errors
/// 400 for the root.
pub(crate) fn anonymous<'p>(
    paths: impl Iterator<Item = &'p String>,
) -> Result<BTreeSet<String>, ApiError> {
    let mut volumes = BTreeSet::new();
    for path in paths {
        let components = Path::new(path).components();
        if !components
            .clone()
            .any(|part| matches!(part, Component::Normal(_)))
        {
            return Err(ApiError::bad_request(format!(
                "invalid volume specification: '{path}': invalid mount config for type \"volume\": {ROOT}"
            )));
        }
        volumes.insert(path.clone());
    }
    Ok(volumes)
}

/// Reads `source:target[:options]`, `volume:target[:options]` or `target`.
fn parse_bind(text: &str, driver: &str) -> Result<Mount, ApiError> {
    let refused = |why: &str| {
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(": {why}")
        };
        // The status is dockerd's, too, as for a wrong mode.
        ApiError::internal(format!("invalid volume specification: '{text}'{why}"))
    };
    let parts: Vec<&str> = text.splitn(4, ':').collect();
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        // Options alone say nothing about a source.
        [_, options] if bind_options(options).is_some() => return Err(refused("")),
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
    let parsed = bind_options(options)
        .ok_or_else(|| ApiError::internal(format!("invalid mode: {options}")))?;
    let target = absolute(target).map_err(|why| invalid(&why))?;
    if target == Path::new("/") {
        return Err(invalid(ROOT));
    }
    let kind = if kind == "bind" {
        MountKind::Bind(Bind {
            source: absolute(source).map_err(|why| invalid(&why))?,
            create_source: true,
            propagation: parsed.propagation,
            id_map: parsed.id_map,
            ..Bind::default()
        })
    } else {
        if parsed.propagation.is_some() {
            return Err(invalid("field BindOptions must not be specified"));
        }
        if parsed.id_map.is_some() {
            return Err(invalid("idmap is for bind mounts"));
        }
        MountKind::Volume(VolumeMount {
            name: source.to_owned(),
            no_copy: parsed.no_copy,
            driver: driver.to_owned(),
            ..VolumeMount::default()
        })
    };
    Ok(Mount {
        kind,
        target,
        read_only: parsed.read_only,
        mode: options.to_owned(),
    })
}

#[derive(Default)]
struct BindOptions {
    read_only: bool,
    no_copy: bool,
    propagation: Option<Propagation>,
    id_map: Option<IdMap>,
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
            "nocopy" => {
                parsed.no_copy = true;
                "copy"
            }
            other => match other.strip_prefix("idmap=") {
                Some(map) => {
                    parsed.id_map = Some(id_map(map).ok()?);
                    "idmap"
                }
                None => {
                    parsed.propagation = Some(propagation(other)?);
                    "propagation"
                }
            },
        };
        if !seen.insert(kind) {
            return None;
        }
    }
    Some(parsed)
}

/// Reads `uids=0-1000-1#1-100000-10;gids=…`: of each range the first id on the disk, the first as it is
/// shown, and how many. podman has the same words.
fn id_map(text: &str) -> Result<IdMap, String> {
    let wrong = || format!("invalid idmap: {text}");
    let mut map = IdMap::default();
    for part in text.split(';') {
        if part == "recursive" {
            map.recursive = true;
            continue;
        }
        let (name, ranges) = part.split_once('=').ok_or_else(wrong)?;
        let ranges: Option<Vec<IdRange>> = ranges.split('#').map(id_range).collect();
        let ranges = ranges.ok_or_else(wrong)?;
        match name {
            "uids" => map.users = ranges,
            "gids" => map.groups = ranges,
            _ => return Err(wrong()),
        }
    }
    // The kernel wants both, and as many ranges as fit into its table.
    let usable = |ranges: &[IdRange]| (1..=340).contains(&ranges.len());
    if usable(&map.users) && usable(&map.groups) {
        Ok(map)
    } else {
        Err(wrong())
    }
}

fn id_range(text: &str) -> Option<IdRange> {
    let numbers: Option<Vec<u32>> = text.split('-').map(|part| part.parse().ok()).collect();
    match numbers?[..] {
        [disk, shown, count] if count > 0 => {
            disk.checked_add(count)?;
            shown.checked_add(count)?;
            Some(IdRange { disk, shown, count })
        }
        _ => None,
    }
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
fn convert(mount: &WireMount, version: ApiVersion) -> Result<Mount, ApiError> {
    let refused = |why: String| {
        ApiError::bad_request(format!(
            "invalid mount config for type {:?}: {why}",
            mount.kind
        ))
    };
    for (given, name, kind) in [
        (mount.bind_options.is_some(), "BindOptions", "bind"),
        (mount.volume_options.is_some(), "VolumeOptions", "volume"),
        (mount.image_options.is_some(), "ImageOptions", "image"),
        (mount.tmpfs_options.is_some(), "TmpfsOptions", "tmpfs"),
        (mount.cluster_options.is_some(), "ClusterOptions", "cluster"),
    ] {
        if given && mount.kind != kind {
            return Err(ApiError::bad_request(format!(
                "{name} must not be specified on mount type {:?}",
                mount.kind
            )));
        }
    }
    if mount.target.is_empty() {
        return Err(refused("field Target must not be empty".to_owned()));
    }
    let target = absolute(&mount.target).map_err(refused)?;
    if target == Path::new("/") {
        return Err(refused(ROOT.to_owned()));
    }
    let kind = match mount.kind.as_str() {
        "bind" => bind(mount, version).map_err(refused)?,
        "tmpfs" if !mount.source.is_empty() => {
            return Err(refused("field Source must not be specified".to_owned()));
        }
        "tmpfs" => MountKind::Tmpfs {
            options: tmpfs_options(mount).map_err(refused)?,
        },
        "volume" => volume(mount).map_err(refused)?,
        "image" if !version.since(48) => {
            return Err(unsupported("mounts of type image before API 1.48"));
        }
        "image" => image(mount).map_err(refused)?,
        _ => return Err(refused("mount type unknown".to_owned())),
    };
    Ok(Mount {
        kind,
        target,
        read_only: mount.read_only,
        mode: String::new(),
    })
}

fn bind(mount: &WireMount, version: ApiVersion) -> Result<MountKind, String> {
    if mount.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    let options = mount.bind_options.clone().unwrap_or_default();
    let propagation = match options.propagation.as_str() {
        "" => None,
        word => Some(propagation(word).ok_or_else(|| format!("invalid propagation mode: {word}"))?),
    };
    // Members that came later are nothing to older versions.
    let create = options.create_mountpoint && version.since(42);
    let below = |asked: bool| asked && version.since(44);
    let (no, always) = (
        below(options.read_only_non_recursive),
        below(options.read_only_force_recursive),
    );
    if no && always {
        return Err(
            "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"
                .to_owned(),
        );
    }
    let id_map = match options.id_map.as_str() {
        "" => None,
        text => Some(id_map(text)?),
    };
    Ok(MountKind::Bind(Bind {
        source: absolute(&mount.source)?,
        create_source: create,
        must_exist: !create,
        propagation,
        non_recursive: options.non_recursive && version.since(40),
        read_only_below: match (no, always) {
            (true, _) => ReadOnlyBelow::No,
            (_, true) => ReadOnlyBelow::Always,
            _ => ReadOnlyBelow::IfPossible,
        },
        id_map,
    }))
}

fn volume(mount: &WireMount) -> Result<MountKind, String> {
    let options = mount.volume_options.clone().unwrap_or_default();
    if !options.subpath.is_empty() && mount.source.is_empty() {
        return Err("must not set Subpath when using anonymous volumes".to_owned());
    }
    let driver = options.driver_config.unwrap_or_default();
    Ok(MountKind::Volume(VolumeMount {
        name: mount.source.clone(),
        no_copy: options.no_copy,
        subpath: subpath(&options.subpath)?,
        driver: driver.name,
        options: (!driver.options.is_empty()).then_some(driver.options),
        labels: (!options.labels.is_empty()).then_some(options.labels),
    }))
}

fn image(mount: &WireMount) -> Result<MountKind, String> {
    if mount.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    let options = mount.image_options.clone().unwrap_or_default();
    Ok(MountKind::Image {
        source: mount.source.clone(),
        subpath: subpath(&options.subpath)?,
    })
}

/// A relative path that does not lead out of where it begins.
fn subpath(path: &str) -> Result<PathBuf, String> {
    let wrong = || Err("subpath must be a relative path within the volume".to_owned());
    let mut depth = 0_usize;
    for component in Path::new(path).components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::CurDir => {}
            _ => return wrong(),
        }
    }
    Ok(PathBuf::from(path))
}

fn tmpfs_options(mount: &WireMount) -> Result<String, String> {
    let mut words = Vec::new();
    if mount.read_only {
        words.push("ro".to_owned());
    }
    let options = mount.tmpfs_options.clone().unwrap_or_default();
    if options.mode != 0 {
        words.push(format!("mode={:o}", options.mode));
    }
    if options.size_bytes != 0 {
        words.push(format!("size={}", options.size_bytes));
    }
    for option in &options.options {
        match option.as_slice() {
            [name] | [name, _] if matches!(name.as_str(), "exec" | "noexec") => {
                words.push(option.join("="));
            }
            [name] | [name, _] => return Err(format!("invalid option: {name}")),
            _ => return Err("invalid option array length".to_owned()),
        }
    }
    Ok(words.join(","))
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        // Without doubled and final slashes, so that two spellings are one target.
        return Ok(Path::new(path).components().collect());
    }
    Err(format!(
        "invalid mount path: '{path}' mount path must be absolute"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Result<(Mount, Bind), String> {
        let mount = parse_bind(text, "").map_err(|error| error.message)?;
        let MountKind::Bind(bind) = mount.kind.clone() else {
            unreachable!()
        };
        Ok((mount, bind))
    }

    fn refusal(text: &str) -> String {
        parse_bind(text, "").unwrap_err().message
    }

    #[test]
    fn binds_are_read_as_typed() {
        let (mount, bound) = bind("/a:/b/").unwrap();
        assert_eq!(
            (bound.source.to_str(), mount.target.to_str()),
            (Some("/a"), Some("/b"))
        );
        assert!(!mount.read_only && mount.mode.is_empty() && bound.create_source);
        let (mount, bound) = bind("/a:/b:ro,rslave,z").unwrap();
        assert_eq!(
            (mount.read_only, mount.mode.as_str()),
            (true, "ro,rslave,z")
        );
        assert_eq!(bound.propagation, Some(Propagation::RSlave));
    }

    #[test]
    fn bad_binds_are_told_in_dockerds_words() {
        assert_eq!(
            refusal("bad"),
            "invalid volume specification: 'bad': invalid mount config for type \"volume\": invalid mount path: 'bad' mount path must be absolute"
        );
        assert_eq!(refusal("/x:ro"), "invalid volume specification: '/x:ro'");
        assert_eq!(refusal("/a:/b:xx"), "invalid mode: xx");
        for bad in [
            "/a:/b:ro,rw",
            "/a:/b:ro,ro",
            "v:/b:nocopy,nocopy",
            "/a:/b:idmap=x",
        ] {
            assert!(refusal(bad).starts_with("invalid mode: "), "{bad}");
        }
        for bad in ["/a:b", "/a:/", "/a:/b:ro:x", ":/b", "", "v:/b:rslave"] {
            assert!(
                refusal(bad).starts_with("invalid volume specification: '"),
                "{bad}"
            );
        }
    }

    #[test]
    fn volumes_have_names_and_drivers() {
        let volume = |text: &str| {
            let mount = parse_bind(text, "nfs").unwrap();
            let MountKind::Volume(volume) = mount.kind else {
                unreachable!()
            };
            (volume, mount.read_only)
        };
        let (data, read_only) = volume("data:/b:ro,nocopy");
        assert!(read_only && data.no_copy);
        assert_eq!((data.name.as_str(), data.driver.as_str()), ("data", "nfs"));
        let (anonymous, _) = volume("/b");
        assert_eq!(anonymous.name, "");
    }

    #[test]
    fn ids_are_mapped_by_ranges() {
        let (_, bound) =
            bind("/a:/b:idmap=uids=0-1000-1#1-100000-10;gids=0-5-1;recursive").unwrap();
        let map = bound.id_map.unwrap();
        let range = |disk, shown, count| IdRange { disk, shown, count };
        assert_eq!(map.users, [range(0, 1000, 1), range(1, 100_000, 10)]);
        assert_eq!((map.groups, map.recursive), (vec![range(0, 5, 1)], true));
        for bad in [
            "",
            "uids=0-1-1",
            "uids=0-1-0;gids=0-0-1",
            "uids=0-4294967295-2;gids=0-0-1",
            "uids=a-b-c;gids=0-0-1",
            "x=0-0-1",
        ] {
            assert!(id_map(bad).is_err(), "{bad}");
        }
    }

    fn told(mount: &str, version: u16) -> Result<MountKind, String> {
        let mount: WireMount = serde_json::from_str(mount).unwrap();
        convert(&mount, ApiVersion::new(1, version))
            .map(|mount| mount.kind)
            .map_err(|error| error.message)
    }

    /// As dockerd 28.5 answers.
    #[test]
    fn mounts_that_make_no_sense() {
        for (mount, error) in [
            (
                r#"{"Type":"volume","Source":"v","Target":"/s","VolumeOptions":{"Subpath":"../b"}}"#,
                "invalid mount config for type \"volume\": subpath must be a relative path within the volume",
            ),
            (
                r#"{"Type":"volume","Target":"/s","VolumeOptions":{"Subpath":"b"}}"#,
                "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes",
            ),
            (
                r#"{"Type":"bind","Source":"/tmp","Target":"/s","VolumeOptions":{}}"#,
                "VolumeOptions must not be specified on mount type \"bind\"",
            ),
            (
                r#"{"Type":"tmpfs","Target":"/s","TmpfsOptions":{"Options":[["foo"]]}}"#,
                "invalid mount config for type \"tmpfs\": invalid option: foo",
            ),
            (
                r#"{"Type":"cluster","Source":"x","Target":"/s"}"#,
                "invalid mount config for type \"cluster\": mount type unknown",
            ),
            (
                r#"{"Type":"image","Target":"/s"}"#,
                "invalid mount config for type \"image\": field Source must not be empty",
            ),
        ] {
            assert_eq!(told(mount, 51).unwrap_err(), error);
        }
    }

    #[test]
    fn what_read_only_means_depends_on_the_version() {
        let below = |options: &str, version| {
            let host: HostConfig = serde_json::from_str(&format!(
                r#"{{"Mounts":[{{"Type":"bind","Source":"/tmp","Target":"/s","ReadOnly":true,"BindOptions":{options}}}]}}"#
            ))
            .unwrap();
            let mounts = mounts(&host, ApiVersion::new(1, version)).unwrap();
            let MountKind::Bind(bind) = mounts[0].kind.clone() else {
                unreachable!()
            };
            bind.read_only_below
        };
        assert_eq!(below("{}", 51), ReadOnlyBelow::IfPossible);
        assert_eq!(below("{}", 43), ReadOnlyBelow::No);
        assert_eq!(
            below(r#"{"ReadOnlyForceRecursive":true}"#, 44),
            ReadOnlyBelow::Always
        );
        assert_eq!(
            below(r#"{"ReadOnlyNonRecursive":true}"#, 44),
            ReadOnlyBelow::No
        );
    }

    #[test]
    fn a_target_is_taken_once() {
        let host = HostConfig {
            binds: Some(vec!["/a:/t".to_owned(), "/b:/t/".to_owned()]),
            ..HostConfig::default()
        };
        assert_eq!(
            mounts(&host, ApiVersion::NEWEST).unwrap_err().message,
            "Duplicate mount point: /t"
        );
    }
}
