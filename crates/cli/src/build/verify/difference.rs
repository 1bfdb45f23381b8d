//! What differs first between two images: an instruction, a file of a layer, a field of the config. What differs only
//! in its time comes last: an image that was built without `SOURCE_DATE_EPOCH` has other times each time.

use super::contents::{Contents, Entry, Files};
use serde_json::Value;
use std::fmt::Write as _;

/// Why two images are not the same, in lines.
pub(super) fn explain(image: &Contents, built: &Contents) -> String {
    let mut text = format!("  image: {}\n  built: {}\n", image.id, built.id);
    let found = instruction(image, built)
        .or_else(|| layers(image, built, false))
        .or_else(|| config(image, built));
    let only_times = found.is_none();
    let found = found.or_else(|| layers(image, built, true));
    let found = found.unwrap_or_else(|| times(image, built));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "first difference: {found}");
    if only_times {
        text.push_str("Nothing differs but times.\n");
    }
    let created = image.config["created"].as_str().unwrap_or_default();
    if created.contains('.') {
        text.push_str(
            "The image was built without SOURCE_DATE_EPOCH: its times are those of its build, and no other build has them.\n",
        );
    }
    text
}

fn history(config: &Value) -> &[Value] {
    config["history"].as_array().map_or(&[], Vec::as_slice)
}

fn shown(text: &str) -> String {
    const LONGEST: usize = 300;
    let short: String = text.chars().take(LONGEST).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{more}")
}

/// The first instruction that is another one.
fn instruction(image: &Contents, built: &Contents) -> Option<String> {
    let text = |entry: &Value| entry["created_by"].as_str().unwrap_or_default().to_owned();
    let (own, other) = (history(&image.config), history(&built.config));
    (0..own.len().max(other.len())).find_map(|place| {
        let (own, other) = (own.get(place).map(text), other.get(place).map(text));
        let shown = |text: Option<&String>| text.map_or("none".to_owned(), |text| shown(text));
        (own != other).then(|| {
            format!(
                "instruction {}\n  image: {}\n  built: {}",
                place + 1,
                shown(own.as_ref()),
                shown(other.as_ref())
            )
        })
    })
}

/// The instruction that made a layer.
fn maker(config: &Value, layer: usize) -> String {
    let mut with_layer = history(config)
        .iter()
        .filter(|entry| entry["empty_layer"] != true);
    let found = with_layer.nth(layer);
    shown(found.map_or("", |entry| entry["created_by"].as_str().unwrap_or_default()))
}

/// The first layer that differs, in more than times or also in them.
fn layers(image: &Contents, built: &Contents, also_times: bool) -> Option<String> {
    let count = image.layers.len().max(built.layers.len());
    (0..count).find_map(|place| {
        let (own, other) = (image.layers.get(place), built.layers.get(place));
        if own == other {
            return None;
        }
        let number = place + 1;
        let (Some(own), Some(other)) = (own, other) else {
            let (who, config) = match own {
                Some(_) => ("image", &image.config),
                None => ("built", &built.config),
            };
            let by = maker(config, place);
            return Some(format!("layer {number} of {count}, only in {who}: {by}"));
        };
        let by = maker(&image.config, place);
        let head = format!("layer {number} of {count}, {by}");
        let (Some(own), Some(other)) = (image.files.get(own), built.files.get(other)) else {
            // Each has both, in another order.
            return Some(format!("{head}: layers are in another order"));
        };
        let (first, more) = files(own, other, also_times)?;
        let more = match more {
            0 => String::new(),
            more => format!("\n  {more} more entries of the layer differ"),
        };
        Some(format!("{head}\n  {first}{more}"))
    })
}

/// The first entry that differs, and how many more do.
fn files(own: &Files, other: &Files, also_times: bool) -> Option<(String, usize)> {
    let mut paths: Vec<&Vec<u8>> = own.keys().chain(other.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut found = paths.into_iter().filter_map(|path| {
        let what = match (own.get(path), other.get(path)) {
            (Some(own), Some(other)) => field(own, other, also_times)?,
            (Some(own), None) => format!("only in the image ({})", own.kind),
            (None, Some(other)) => format!("only in what was built ({})", other.kind),
            (None, None) => return None,
        };
        let path = String::from_utf8_lossy(path).escape_debug().to_string();
        Some(format!("/{}: {what}", path.trim_start_matches("./")))
    });
    let first = found.next();
    match first {
        Some(first) => Some((first, found.count())),
        // The same entries, in archives that are not the same bytes.
        None if also_times => Some(("its archive is written in another way".to_owned(), 0)),
        None => None,
    }
}

/// The first field in which two entries differ.
fn field(own: &Entry, other: &Entry, also_times: bool) -> Option<String> {
    let differs = |name: &str, own: String, other: String| {
        (own != other).then(|| format!("{name}: image {own}, built {other}"))
    };
    let mode = |entry: &Entry| format!("{:04o}", entry.mode & 0o7777);
    let pair = |pair: (u64, u64)| format!("{}:{}", pair.0, pair.1);
    let device = |entry: &Entry| pair((entry.device.0.into(), entry.device.1.into()));
    let link = |entry: &Entry| {
        String::from_utf8_lossy(&entry.link)
            .escape_debug()
            .to_string()
    };
    let content = |entry: &Entry| format!("{} bytes, sha256:{}", entry.size, entry.digest);
    differs("kind", own.kind.to_owned(), other.kind.to_owned())
        .or_else(|| differs("target", link(own), link(other)))
        .or_else(|| differs("content", content(own), content(other)))
        .or_else(|| differs("mode", mode(own), mode(other)))
        .or_else(|| differs("owner", pair(own.owner), pair(other.owner)))
        .or_else(|| differs("device", device(own), device(other)))
        .or_else(|| attribute(own, other))
        .or_else(|| {
            let times = differs("time", own.time.clone(), other.time.clone());
            times.filter(|_| also_times)
        })
}

/// The first extended attribute in which two entries differ.
fn attribute(own: &Entry, other: &Entry) -> Option<String> {
    let names = own.attributes.keys().chain(other.attributes.keys());
    let mut names: Vec<&String> = names.collect();
    names.sort_unstable();
    names.into_iter().find_map(|name| {
        let value = |entry: &Entry| match entry.attributes.get(name) {
            Some(value) => format!("\"{}\"", value.escape_ascii()),
            None => "none".to_owned(),
        };
        let (own, other) = (value(own), value(other));
        (own != other).then(|| format!("extended attribute {name}: image {own}, built {other}"))
    })
}

/// The first field of the config that differs, but for times and layers.
fn config(image: &Contents, built: &Contents) -> Option<String> {
    let without = |config: &Value| {
        let mut config = config.clone();
        if let Some(members) = config.as_object_mut() {
            members.remove("created");
            members.remove("rootfs");
        }
        for entry in config["history"].as_array_mut().into_iter().flatten() {
            if let Some(members) = entry.as_object_mut() {
                members.remove("created");
            }
        }
        config
    };
    value("config", &without(&image.config), &without(&built.config))
}

/// The time that differs first.
fn times(image: &Contents, built: &Contents) -> String {
    let found = value("config", &image.config, &built.config);
    found.unwrap_or_else(|| "the config is written in another way".to_owned())
}

/// The first place where two values differ.
fn value(name: &str, own: &Value, other: &Value) -> Option<String> {
    match (own, other) {
        (Value::Object(own), Value::Object(other)) => {
            let mut names: Vec<&String> = own.keys().chain(other.keys()).collect();
            names.sort_unstable();
            names.into_iter().find_map(|key| {
                let of = |members: &serde_json::Map<String, Value>| {
                    members.get(key).cloned().unwrap_or_default()
                };
                value(&format!("{name}.{key}"), &of(own), &of(other))
            })
        }
        (Value::Array(own), Value::Array(other)) if own.len() == other.len() => {
            let mut pairs = own.iter().zip(other).enumerate();
            pairs.find_map(|(at, (own, other))| value(&format!("{name}[{at}]"), own, other))
        }
        (own, other) if own == other => None,
        (own, other) => Some(format!("{name}\n  image: {own}\n  built: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn image(id: &str, layers: &[&str], created: &str) -> Contents {
        let entry = |by: &str| json!({"created": created, "created_by": by});
        Contents {
            id: id.to_owned(),
            config: json!({
                "created": created,
                "config": {"Env": ["A=1", "B=2"]},
                "history": [entry("FROM base"), {"created_by": "ENV", "empty_layer": true}, entry("RUN make")],
            }),
            layers: layers.iter().map(|layer| (*layer).to_owned()).collect(),
            files: BTreeMap::new(),
        }
    }

    fn entry(text: &str, time: &str) -> Entry {
        Entry {
            kind: "file",
            mode: 0o644,
            size: text.len() as u64,
            digest: text.to_owned(),
            time: time.to_owned(),
            ..Entry::default()
        }
    }

    fn with_file(mut image: Contents, layer: &str, path: &str, entry: Entry) -> Contents {
        let files = image.files.entry(layer.to_owned()).or_default();
        files.insert(path.as_bytes().to_vec(), entry);
        image
    }

    #[test]
    fn a_file_is_named_with_its_layer() {
        let own = image("a", &["0", "1"], "2020-01-01T00:00:00Z");
        let other = image("b", &["0", "2"], "2020-01-01T00:00:00Z");
        let own = with_file(own, "1", "bin/x", entry("old", "5"));
        let other = with_file(other, "2", "bin/x", entry("new", "6"));
        let text = explain(&own, &other);
        assert!(
            text.contains("first difference: layer 2 of 2, \"RUN make\"\n  /bin/x: content: image 3 bytes, sha256:old, built 3 bytes, sha256:new\n"),
            "{text}"
        );
        assert!(!text.contains("SOURCE_DATE_EPOCH"), "{text}");
    }

    #[test]
    fn times_come_last() {
        let own = image("a", &["0", "1", "3"], "2020-01-01T00:00:00.5Z");
        let other = image("b", &["0", "2", "4"], "2020-01-01T00:00:00Z");
        let own = with_file(own, "1", "x", entry("same", "5.5"));
        let other = with_file(other, "2", "x", entry("same", "5"));
        let own = with_file(own, "3", "y", entry("same", "5.5"));
        let other = with_file(other, "4", "y", entry("same", "5"));
        let text = explain(&own, &other);
        assert!(text.contains("/x: time: image 5.5, built 5\n"), "{text}");
        assert!(text.contains("Nothing differs but times.\n"), "{text}");
        assert!(text.contains("without SOURCE_DATE_EPOCH"), "{text}");
        let own = with_file(
            own,
            "3",
            "z",
            Entry {
                mode: 0o600,
                ..entry("same", "5")
            },
        );
        let other = with_file(other, "4", "z", entry("same", "5"));
        let text = explain(&own, &other);
        assert!(text.contains("layer 3 of 3"), "{text}");
        assert!(text.contains("/z: mode: image 0600, built 0644"), "{text}");
        let other = with_file(other, "4", "more", entry("same", "5"));
        let text = explain(&own, &other);
        assert!(
            text.contains("/more: only in what was built (file)\n  1 more"),
            "{text}"
        );
    }

    #[test]
    fn instructions_and_fields_of_the_config_are_named() {
        let own = image("a", &["0"], "2020-01-01T00:00:00Z");
        let mut other = image("b", &["0"], "2020-01-01T00:00:00Z");
        other.config["config"]["Env"][1] = "B=3".into();
        let text = explain(&own, &other);
        assert!(
            text.contains("config.config.Env[1]\n  image: \"B=2\"\n  built: \"B=3\""),
            "{text}"
        );
        other.config["history"][1]["created_by"] = "LABEL".into();
        let text = explain(&own, &other);
        assert!(
            text.contains("instruction 2\n  image: \"ENV\"\n  built: \"LABEL\""),
            "{text}"
        );
        let mut later = own.clone();
        later.config["created"] = "2021-01-01T00:00:00Z".into();
        let text = explain(&own, &later);
        assert!(
            text.contains("config.created") && text.contains("but times"),
            "{text}"
        );
        let mut longer = own.clone();
        longer.layers.push("9".to_owned());
        let text = explain(&own, &longer);
        assert!(text.contains("layer 2 of 2, only in built"), "{text}");
    }
}
