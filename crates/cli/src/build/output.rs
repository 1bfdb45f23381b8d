//! `--output`: what becomes of what was built.

use crate::failure::{Failure, Outcome};
use crate::terminal::stdout_is_terminal;
use hull_api::build::Choice;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where what is given back goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// An archive is unpacked there.
    Directory(PathBuf),
    /// An archive of an image is unpacked there, beside other images.
    Layout(PathBuf),
    /// To this file; empty is standard output.
    File(String),
}

/// An output as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    kind: String,
    attributes: BTreeMap<String, String>,
}

impl Output {
    /// One of a kind, without more.
    pub(super) fn of(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            attributes: BTreeMap::new(),
        }
    }

    /// A directory, `-` for an archive to standard output, or `type=…` and fields.
    pub(super) fn read(
        text: &str,
        csv: fn(&str) -> Result<Vec<String>, String>,
    ) -> Result<Self, Failure> {
        let fields = csv(text).map_err(Failure::new)?;
        if let [alone] = fields.as_slice()
            && !alone.starts_with("type=")
        {
            let kind = if alone == "-" { "tar" } else { "local" };
            let mut output = Self::of(kind);
            output.attributes.insert("dest".to_owned(), alone.clone());
            return Ok(output);
        }
        let mut output = Self::of("");
        for field in fields {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| Failure::new(format!("invalid value {field}")))?;
            match key.trim().to_lowercase().as_str() {
                "type" => value.clone_into(&mut output.kind),
                key => {
                    output.attributes.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        match output.kind.is_empty() {
            true => Err(Failure::new("type is required for output")),
            false => Ok(output),
        }
    }

    /// Whether an image goes to a directory, without an archive.
    fn is_directory(&self) -> Result<bool, Failure> {
        match self.attributes.get("tar").map(String::as_str) {
            None | Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(false),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(true),
            Some(other) => Err(Failure::new(format!(
                "non-bool value specified for tar: {other:?}"
            ))),
        }
    }

    /// The exporter, and where what it gives back goes.
    pub(super) fn resolve(mut self) -> Result<(Choice, Option<Sink>), Failure> {
        let destination = self.attributes.remove("dest");
        let destination = destination.filter(|path| !path.is_empty());
        let (kind, sink) = match (self.kind.as_str(), destination) {
            ("local", None) => {
                return Err(Failure::new("dest is required for local exporter"));
            }
            ("local", Some(path)) if path == "-" => {
                return Err(Failure::new("dest cannot be stdout for local exporter"));
            }
            ("local", Some(path)) => ("local", Some(Sink::Directory(path.into()))),
            ("tar", path) => ("tar", Some(file(path)?)),
            ("oci" | "docker", path) if self.is_directory()? => {
                let path = path.filter(|path| path != "-").ok_or_else(|| {
                    let text = format!("dest is required for {} exporter", self.kind);
                    Failure::new(text)
                })?;
                self.attributes.remove("tar");
                ("oci", Some(Sink::Layout(path.into())))
            }
            ("oci", path) => ("oci", Some(file(path)?)),
            ("docker", Some(path)) => ("docker", Some(file(Some(path))?)),
            // There is but one store.
            ("docker", None) => ("moby", None),
            ("registry", _) => {
                self.attributes.insert("push".to_owned(), "true".to_owned());
                ("image", None)
            }
            ("image", _) => ("image", None),
            ("cacheonly", _) => ("cacheonly", None),
            (other, _) => {
                return Err(Failure::new(format!(
                    "exporter {other:?} could not be found"
                )));
            }
        };
        let choice = Choice {
            kind: kind.to_owned(),
            attributes: self.attributes,
        };
        Ok((choice, sink))
    }
}

fn file(path: Option<String>) -> Result<Sink, Failure> {
    match path {
        None if stdout_is_terminal() => Err(Failure::new(
            "dest file is required: the output would go to the terminal",
        )),
        None => Ok(Sink::File(String::new())),
        Some(path) if path == "-" => match stdout_is_terminal() {
            true => Err(Failure::new("refusing to write an archive to the terminal")),
            false => Ok(Sink::File(String::new())),
        },
        Some(path) => {
            crate::transfer::check_output(&path, false).map_err(Failure::new)?;
            Ok(Sink::File(path))
        }
    }
}

/// Unpacks an archive below a directory, which is made. Files of the same name are replaced.
pub(super) fn unpack(archive: &mut dyn Read, directory: &Path) -> Outcome {
    fs_err::create_dir_all(directory)?;
    crate::container::unpack_below(directory, archive).map_err(Failure::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::csv;

    fn resolved(text: &str) -> Result<(Choice, Option<Sink>), Failure> {
        Output::read(text, csv)?.resolve()
    }

    #[test]
    fn outputs_as_typed() {
        let (choice, sink) = resolved("out").unwrap();
        assert_eq!(
            (&*choice.kind, sink),
            ("local", Some(Sink::Directory("out".into())))
        );
        let (choice, sink) = resolved("type=tar,dest=x.tar").unwrap();
        assert_eq!(
            (&*choice.kind, sink),
            ("tar", Some(Sink::File("x.tar".to_owned())))
        );
        let (choice, sink) = resolved("type=docker").unwrap();
        assert_eq!((&*choice.kind, sink), ("moby", None));
        let (choice, _) = resolved("type=registry,name=a").unwrap();
        assert_eq!(choice.kind, "image");
        assert_eq!(choice.attributes["push"], "true");
        assert_eq!(choice.attributes["name"], "a");
        let (choice, sink) = resolved("type=oci,tar=false,dest=d").unwrap();
        assert_eq!(
            (&*choice.kind, sink),
            ("oci", Some(Sink::Layout("d".into())))
        );
        assert!(choice.attributes.is_empty());
        for bad in [
            "type=local",
            "type=nope",
            "type=local,dest=-",
            "type=oci,tar=false",
            "type=oci,tar=perhaps,dest=d",
        ] {
            assert!(resolved(bad).is_err(), "{bad}");
        }
    }
}
