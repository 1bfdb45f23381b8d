//! `--volume`, `--mount`, `--tmpfs`.

use crate::format::parse_bytes;
use hull_api::container::{
    BindOptions, DriverConfig, Empty, ImageOptions, Mount, TmpfsOptions, VolumeOptions,
};
use std::collections::BTreeMap;
use std::path::Path;

/// What `--volume` says: binds of something, and anonymous volumes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Volumes {
    pub(super) binds: Vec<String>,
    pub(super) anonymous: BTreeMap<String, Empty>,
}

/// Reads all `--volume`.
pub(super) fn volumes(texts: &[String]) -> Result<Volumes, String> {
    let mut volumes = Volumes::default();
    for text in texts {
        if text.is_empty() {
            return Err("invalid empty volume spec".to_owned());
        }
        let parts: Vec<&str> = text.split(':').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(format!(
                "invalid spec: {text}: empty section between colons"
            ));
        }
        match parts.as_slice() {
            [target] => {
                volumes.anonymous.insert((*target).to_owned(), Empty {});
            }
            [source, rest @ ..] if rest.len() <= 2 => {
                let bind = format!("{}:{}", absolute(source), rest.join(":"));
                if !volumes.binds.contains(&bind) {
                    volumes.binds.push(bind);
                }
            }
            _ => return Err(format!("invalid spec: {text}: too many colons")),
        }
    }
    Ok(volumes)
}

/// Sources that begin with a dot are meant from here; the daemon may be elsewhere.
fn absolute(source: &str) -> String {
    if !source.starts_with('.') {
        return source.to_owned();
    }
    match std::path::absolute(Path::new(source)) {
        Ok(path) => clean(&path),
        Err(_) => source.to_owned(),
    }
}

/// Takes `..` out of a path by its words.
fn clean(path: &Path) -> String {
    let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
    for component in path.components() {
        match component {
            std::path::Component::Normal(part) => parts.push(part),
            std::path::Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    let mut text = String::new();
    for part in parts {
        text.push('/');
        text.push_str(&part.to_string_lossy());
    }
    if text.is_empty() {
        "/".to_owned()
    } else {
        text
    }
}

pub(super) fn check_mount(text: &str) -> Result<(), String> {
    mount(text).map(drop)
}

/// Reads one `--mount`.
pub(super) fn mount(text: &str) -> Result<Mount, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut mount = Mount {
        kind: "volume".to_owned(),
        ..Mount::default()
    };
    for field in csv(text)? {
        let (name, value) = match field.split_once('=') {
            Some((name, value)) => (name.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        set(&mut mount, &name, value, &field)?;
    }
    check(&mount)?;
    Ok(mount)
}

fn set(mount: &mut Mount, name: &str, value: Option<&str>, field: &str) -> Result<(), String> {
    let flag = || match value {
        None => Ok(true),
        Some("1" | "t" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => Err(format!("invalid value for {name}: {value}")),
    };
    match name {
        "readonly" | "ro" => {
            mount.read_only = flag()?;
            return Ok(());
        }
        "volume-nocopy" => {
            mount.volume_options.get_or_insert_default().no_copy = flag()?;
            return Ok(());
        }
        "bind-nonrecursive" => {
            mount.bind_options.get_or_insert_default().non_recursive = flag()?;
            return Ok(());
        }
        _ => {}
    }
    let value = value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
    match name {
        "type" => mount.kind = value.to_lowercase(),
        "source" | "src" => {
            mount.source = if value == "." || value.starts_with("./") || value.starts_with("../") {
                absolute(value)
            } else {
                value.to_owned()
            };
        }
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "consistency" => mount.consistency = value.to_lowercase(),
        "bind-propagation" => {
            mount.bind_options.get_or_insert_default().propagation = value.to_lowercase();
        }
        // Hull's own.
        "bind-idmap" => {
            value.clone_into(&mut mount.bind_options.get_or_insert_default().id_map);
        }
        "bind-recursive" => recursive(mount.bind_options.get_or_insert_default(), value)?,
        "image-subpath" => {
            mount.image_options = Some(ImageOptions {
                subpath: value.to_owned(),
            });
        }
        _ => return set_of_kind(mount, name, value, field),
    }
    Ok(())
}

fn recursive(options: &mut BindOptions, value: &str) -> Result<(), String> {
    match value {
        "enabled" => {}
        "disabled" => options.non_recursive = true,
        "writable" => options.read_only_non_recursive = true,
        "readonly" => options.read_only_force_recursive = true,
        _ => {
            return Err(format!(
                "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
            ));
        }
    }
    Ok(())
}

/// Options of volumes and tmpfs.
fn set_of_kind(mount: &mut Mount, name: &str, value: &str, field: &str) -> Result<(), String> {
    let pair = || {
        let (name, value) = value.split_once('=').unwrap_or((value, ""));
        (name.to_owned(), value.to_owned())
    };
    match name {
        "volume-subpath" => volume(mount).subpath = value.to_owned(),
        "volume-label" => volume(mount).labels.extend([pair()]),
        "volume-driver" => driver(mount).name = value.to_owned(),
        "volume-opt" => driver(mount).options.extend([pair()]),
        "tmpfs-size" => {
            let size =
                parse_bytes(value).map_err(|_| format!("invalid value for {name}: {value}"))?;
            tmpfs(mount).size_bytes = size;
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8)
                .map_err(|_| format!("invalid value for {name}: {value}"))?;
            tmpfs(mount).mode = mode;
        }
        _ => return Err(format!("unexpected key '{name}' in '{field}'")),
    }
    Ok(())
}

fn volume(mount: &mut Mount) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_default()
}

fn driver(mount: &mut Mount) -> &mut DriverConfig {
    volume(mount).driver_config.get_or_insert_default()
}

fn tmpfs(mount: &mut Mount) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}

fn check(mount: &Mount) -> Result<(), String> {
    if mount.kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    for (present, kind) in [
        (mount.volume_options.is_some(), "volume"),
        (mount.bind_options.is_some(), "bind"),
        (mount.tmpfs_options.is_some(), "tmpfs"),
        (mount.image_options.is_some(), "image"),
    ] {
        if present && mount.kind != kind {
            return Err(format!(
                "cannot mix '{kind}-*' options with mount type '{}'",
                mount.kind
            ));
        }
    }
    Ok(())
}

/// One line of comma-separated fields; a field in double quotes may contain commas, and a doubled
/// quote is one.
pub(crate) fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(field) = fields.last_mut() else {
            break;
        };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            '"' => return Err("parse error: bare \" in non-quoted field".to_owned()),
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    if quoted {
        return Err("parse error: extraneous or missing \" in quoted-field".to_owned());
    }
    Ok(fields)
}

/// `--tmpfs path[:options]`, by path.
pub(super) fn tmpfs_map(texts: &[String]) -> BTreeMap<String, String> {
    texts
        .iter()
        .map(|text| {
            let (path, options) = text.split_once(':').unwrap_or((text, ""));
            (path.to_owned(), options.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_binds_or_anonymous() {
        let texts = ["/a:/b:ro", "/data", "name:/c", "/a:/b:ro"].map(str::to_owned);
        let volumes = volumes(&texts).unwrap();
        assert_eq!(volumes.binds, ["/a:/b:ro", "name:/c"]);
        assert!(volumes.anonymous.contains_key("/data"));
        let here = std::env::current_dir().unwrap();
        let relative = super::volumes(&["./x/../y:/b".to_owned()]).unwrap();
        assert_eq!(relative.binds, [format!("{}/y:/b", here.display())]);
        assert_eq!(
            super::volumes(&[":/b".to_owned()]).unwrap_err(),
            "invalid spec: :/b: empty section between colons"
        );
        assert!(super::volumes(&["a:b:c:d".to_owned()]).is_err());
    }

    #[test]
    fn mounts_in_all_their_forms() {
        let bind = mount("type=bind,source=/a,target=/b,readonly,bind-propagation=rslave").unwrap();
        assert!(bind.read_only);
        assert_eq!(bind.bind_options.unwrap().propagation, "rslave");
        let tmpfs = mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap();
        let options = tmpfs.tmpfs_options.unwrap();
        assert_eq!((options.size_bytes, options.mode), (1 << 20, 0o1770));
        let volume = mount("src=v,dst=/v,\"volume-opt=o=a,b\",volume-opt=type=nfs").unwrap();
        assert_eq!(volume.kind, "volume");
        let options = volume
            .volume_options
            .unwrap()
            .driver_config
            .unwrap()
            .options;
        assert_eq!(options["o"], "a,b");
        for (text, error) in [
            ("x", "invalid field 'x' must be a key=value pair"),
            ("type=bind,source=/a", "target is required"),
            ("a=b,target=/x", "unexpected key 'a' in 'a=b'"),
            (
                "type=bind,target=/x,tmpfs-size=1",
                "cannot mix 'tmpfs-*' options with mount type 'bind'",
            ),
            ("", "EOF"),
        ] {
            assert_eq!(mount(text).unwrap_err(), error);
        }
    }
}
