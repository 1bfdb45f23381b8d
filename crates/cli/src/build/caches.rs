//! `--cache-from` and `--cache-to`.

use super::options::fields;
use super::store::{self, Stores};
use crate::failure::{Failure, Outcome};
use hull_api::build::{Choice, Done};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A directory that gets a cache, and the name of the cache there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    directory: PathBuf,
    tag: String,
}

impl Written {
    /// Gives what was exported its name.
    pub(super) fn finish(&self, done: &Done) -> Outcome {
        let Some(manifest) = done.response.get("cache.manifest") else {
            return Ok(());
        };
        let manifest = serde_json::from_str(manifest).map_err(|error| {
            Failure::new(format!(
                "could not read what was said of the cache: {error}"
            ))
        })?;
        store::set_named(&self.directory, &self.tag, manifest)
    }
}

/// The caches where results are looked for. One that is not there is told of, and not used.
pub(super) fn imports(typed: &[String], stores: &mut Stores) -> Result<Vec<Choice>, Failure> {
    let mut found = Vec::new();
    for mut cache in read(typed)? {
        if cache.kind != "local" {
            found.push(cache);
            continue;
        }
        let directory = taken(&cache, "src", "local cache importer requires src")?;
        if !cache.attributes.contains_key("digest") {
            match store::named(directory.as_ref(), tag(&cache)) {
                Ok(Some(digest)) => {
                    let digest = digest.to_string();
                    cache.attributes.insert("digest".to_owned(), digest);
                }
                Ok(None) => {
                    return Err(Failure::new(
                        "local cache importer requires either explicit digest, \"latest\" tag or custom tag on index.json",
                    ));
                }
                Err(why) => {
                    crate::say(&format!(
                        "WARNING: local cache import at {directory} not found due to err: {why}"
                    ));
                    continue;
                }
            }
        }
        stores.insert(format!("local:{directory}"), directory.into());
        found.push(cache);
    }
    Ok(found)
}

/// The caches that are written, and the directory among them.
pub(super) fn exports(
    typed: &[String],
    build_args: &[String],
    stores: &mut Stores,
) -> Result<(Vec<Choice>, Option<Written>), Failure> {
    let mut caches = read(typed)?;
    let inline = |text: &String| {
        let value = text.strip_prefix("BUILDKIT_INLINE_CACHE=");
        value.is_some_and(|value| matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE"))
    };
    if build_args.iter().any(inline) && caches.iter().all(|cache| cache.kind != "inline") {
        caches.push(Choice {
            kind: "inline".to_owned(),
            attributes: BTreeMap::new(),
        });
    }
    let mut written = None;
    for cache in &caches {
        match cache.kind.as_str() {
            "local" => {
                let directory = taken(cache, "dest", "local cache exporter requires dest")?;
                fs_err::create_dir_all(&directory)?;
                let one = Written {
                    directory: directory.clone().into(),
                    tag: tag(cache).to_owned(),
                };
                if written.replace(one).is_some() {
                    let text = "only one cache can be exported to a directory";
                    return Err(Failure::new(text));
                }
                stores.insert(format!("local:{directory}"), directory.into());
            }
            "registry" => {
                let _ = taken(cache, "ref", "registry cache exporter requires ref")?;
            }
            _ => {}
        }
    }
    Ok((caches, written))
}

fn taken(cache: &Choice, name: &str, missing: &str) -> Result<String, Failure> {
    let found = cache.attributes.get(name).filter(|text| !text.is_empty());
    found.cloned().ok_or_else(|| Failure::new(missing))
}

fn tag(cache: &Choice) -> &str {
    cache.attributes.get("tag").map_or("latest", String::as_str)
}

/// A registry's reference alone, or fields.
fn read(typed: &[String]) -> Result<Vec<Choice>, Failure> {
    let mut caches = Vec::new();
    for text in typed.iter().filter(|text| !text.is_empty()) {
        let mut attributes = match text.contains('=') {
            true => fields(text)?,
            false => BTreeMap::from([("ref".to_owned(), text.clone())]),
        };
        let kind = match attributes.remove("type") {
            Some(kind) => kind,
            None if attributes.len() == 1 && attributes.contains_key("ref") => {
                "registry".to_owned()
            }
            None => return Err(Failure::new(format!("type required form> {text:?}"))),
        };
        caches.push(Choice { kind, attributes });
    }
    Ok(caches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn caches_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let digest = "sha256:".to_owned() + &"ab".repeat(32);
        let typed = [
            "h/i".to_owned(),
            format!("type=local,src={path},digest={digest}"),
            "type=local,src=/nowhere/at/all".to_owned(),
        ];
        let mut stores = Stores::default();
        let found = imports(&typed, &mut stores).unwrap();
        assert_eq!(found.len(), 2, "what is not there is left out");
        assert_eq!(
            (&*found[0].kind, &*found[0].attributes["ref"]),
            ("registry", "h/i")
        );
        assert_eq!(found[1].attributes["digest"], digest);
        for bad in [
            "type=local",
            "src=x",
            &format!("type=local,src={path}/none,digest"),
        ] {
            assert!(imports(&owned(&[bad]), &mut stores).is_err(), "{bad}");
        }
    }

    #[test]
    fn exports_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").display().to_string();
        let mut stores = Stores::default();
        let typed = [format!("type=local,dest={path},mode=max"), "h/i".to_owned()];
        let args = owned(&["BUILDKIT_INLINE_CACHE=1"]);
        let (found, written) = exports(&typed, &args, &mut stores).unwrap();
        let kinds: Vec<&str> = found.iter().map(|cache| cache.kind.as_str()).collect();
        assert_eq!(kinds, ["local", "registry", "inline"]);
        assert_eq!(written.unwrap().tag, "latest");
        let twice = [&typed[..1], &typed[..1]].concat();
        assert!(exports(&twice, &[], &mut stores).is_err());
        assert!(exports(&owned(&["type=registry,mode=max"]), &[], &mut stores).is_err());
    }
}
