//! An image as `GET /images/…/get` gives it: its configuration, and what its layers hold, in lines that can be compared.

use hull_tests::image::digest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;

/// What is older than this was said by somebody; what is newer is the time of the build. 2023-11-14.
const NEW: u64 = 1_700_000_000;

/// Contents up to this are shown.
const SHOWN: usize = 400;

/// What is compared of an image.
///
/// # Panics
/// When the archive is none.
pub(crate) fn read(archive: &[u8], base: &[String], loose: &[String]) -> Value {
    let mut members: HashMap<String, Vec<u8>> = HashMap::new();
    let mut links: Vec<(String, String)> = Vec::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        if let Some(target) = entry.link_name().unwrap() {
            links.push((name, target.to_string_lossy().into_owned()));
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        members.insert(name, bytes);
    }
    let manifest: Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut config: Value =
        serde_json::from_slice(&members[&text(&manifest[0]["Config"])]).unwrap();
    let names: Vec<String> = manifest[0]["Layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    let layer = |name: &String| {
        // One layer that several images have is a link in older archives.
        let target = links.iter().find(|(link, _)| link == name);
        let name = target.map_or(name, |(_, target)| target);
        let name = name.trim_start_matches("../");
        let bytes = members.get(name).unwrap_or_else(|| panic!("no {name}"));
        let mut plain = Vec::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::GzDecoder::new(bytes.as_slice())
                .read_to_end(&mut plain)
                .unwrap();
        } else {
            plain.clone_from(bytes);
        }
        plain
    };
    let layers: Vec<Vec<String>> = names
        .iter()
        .map(layer)
        .filter(|layer| !base.contains(&digest(layer).to_string()))
        .map(|layer| list(&layer, loose))
        .collect();
    mask(&mut config);
    json!({"config": config, "layers": layers})
}

/// Takes from a configuration what is another in every build.
fn mask(config: &mut Value) {
    let epoch = |value: &Value| value.as_str().is_some_and(|time| time < "2023");
    let object = config.as_object_mut().unwrap();
    if let Some(created) = object.get_mut("created").filter(|time| !epoch(time)) {
        *created = json!("now");
    }
    let count = object["rootfs"]["diff_ids"].as_array().map(Vec::len);
    object.insert("rootfs".to_owned(), json!(count));
    // Go's `omitempty` and its lack differ by version; no program can tell them apart.
    for entry in object["history"].as_array_mut().unwrap() {
        let entry = entry.as_object_mut().unwrap();
        if let Some(created) = entry.get_mut("created").filter(|time| !epoch(time)) {
            *created = json!("now");
        }
    }
}

/// What a layer holds: `type mode owner [size content | → link | device] [xattrs] [time] path`.
fn list(layer: &[u8], loose: &[String]) -> Vec<String> {
    let mut lines = BTreeMap::new();
    let mut archive = tar::Archive::new(layer);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path
            .trim_start_matches("./")
            .trim_end_matches('/')
            .to_owned();
        let mut attributes = Vec::new();
        if let Some(extensions) = entry.pax_extensions().unwrap() {
            for extension in extensions {
                let extension = extension.unwrap();
                if let Some(name) = extension.key().unwrap().strip_prefix("SCHILY.xattr.") {
                    let value = extension.value_bytes().escape_ascii();
                    attributes.push(format!(" {name}={value}"));
                }
            }
        }
        attributes.sort();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let header = entry.header().clone();
        let link = entry.link_name_bytes();
        let link = link.map(|link| String::from_utf8_lossy(&link).into_owned());
        let what = what(&header, &bytes, link.as_deref(), &path, loose);
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        let time = header.mtime().unwrap();
        let time = if time < NEW {
            format!(" @{time}")
        } else {
            String::new()
        };
        let mode = header.mode().unwrap() & 0o7777;
        lines.insert(
            path.clone(),
            format!(
                "/{path} {mode:o} {}:{} {what}{}{time}",
                owner.0,
                owner.1,
                attributes.concat()
            ),
        );
    }
    lines.into_values().collect()
}

/// The type of an entry, and what belongs to it.
fn what(
    header: &tar::Header,
    bytes: &[u8],
    link: Option<&str>,
    path: &str,
    loose: &[String],
) -> String {
    use tar::EntryType;
    let link = link.unwrap_or_default();
    let device = || {
        let number = |number: Option<u32>| number.unwrap_or_default();
        let major = number(header.device_major().unwrap());
        format!("{major}:{}", number(header.device_minor().unwrap()))
    };
    match header.entry_type() {
        EntryType::Directory => "directory".to_owned(),
        EntryType::Symlink => format!("-> {link}"),
        EntryType::Link => format!("== {link}"),
        EntryType::Char => format!("character {}", device()),
        EntryType::Block => format!("block {}", device()),
        EntryType::Fifo => "fifo".to_owned(),
        _ if loose
            .iter()
            .any(|pattern| fits(pattern.as_bytes(), format!("/{path}").as_bytes())) =>
        {
            "file".to_owned()
        }
        _ => match std::str::from_utf8(bytes) {
            Ok(text) if text.len() <= SHOWN => format!("{text:?}"),
            _ => format!("{} {}", bytes.len(), digest(bytes)),
        },
    }
}

/// Whether a path fits a pattern with `*` for anything.
fn fits(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern, path) {
        ([b'*', rest @ ..], _) => {
            fits(rest, path)
                || path
                    .split_first()
                    .is_some_and(|(_, path)| fits(pattern, path))
        }
        ([left, pattern @ ..], [right, path @ ..]) => left == right && fits(pattern, path),
        ([], []) => true,
        _ => false,
    }
}
