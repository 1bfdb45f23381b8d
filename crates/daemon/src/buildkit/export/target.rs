//! Exporters, as clients name them.

use bollard_buildkit_proto::moby::buildkit::v1::Exporter;
use hull_engine::Reference;
use hull_engine::image::Compression;
use std::collections::HashMap;
use tonic::Status;

/// An exporter, checked before anything is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::buildkit) enum Target {
    /// The image store, and registries.
    Image(Named),
    /// A directory of the client's; with the exporter's number.
    Directory(usize, Loose),
    /// An archive of the client's, of the files alone; as with a directory.
    Archive(usize, Loose),
    /// An archive of the client's with an image, for `docker load` and for readers of OCI layouts.
    Layout(usize, Named),
    /// An OCI layout in a directory of the client's, which it has as a store of blobs.
    Store(Named),
}

/// How files without an image are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::buildkit) struct Loose {
    /// Whether each platform has a directory of its own, if somebody cares.
    pub(super) split: Option<bool>,
    /// Begins the names of files with what is attested.
    pub(super) prefix: String,
}

/// An image that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::buildkit) struct Named {
    pub(super) names: Vec<Reference>,
    /// The time that all of it gets, seconds since 1970.
    pub(super) epoch: Option<i64>,
    /// Whether registries get it too.
    pub(super) push: bool,
    /// The form that layers have there, if somebody cares.
    pub(super) compression: Option<Compression>,
}

impl Target {
    /// The time that all of an image gets, seconds since 1970.
    pub(super) fn epoch(&self) -> Option<i64> {
        match self {
            Self::Image(named) | Self::Layout(_, named) | Self::Store(named) => named.epoch,
            Self::Directory(..) | Self::Archive(..) => None,
        }
    }

    /// What an exporter stands for; `None` is nothing, only the cache.
    ///
    /// # Errors
    /// For one that there is not, and for attributes that make no sense.
    pub(in crate::buildkit) fn parse(
        place: usize,
        exporter: &Exporter,
    ) -> Result<Option<Self>, Status> {
        let attributes = Attributes(&exporter.attrs);
        match exporter.r#type.as_str() {
            "moby" | "image" => {
                let named = attributes.named()?;
                if named.push && named.names.is_empty() {
                    let text = "tag is needed when pushing to registry";
                    return Err(Status::invalid_argument(text));
                }
                if attributes.flag("push-by-digest")? {
                    let text = "push-by-digest is currently not implemented for docker driver";
                    return Err(Status::unimplemented(text));
                }
                Ok(Some(Self::Image(named)))
            }
            "docker" | "oci" => {
                let named = attributes.named()?;
                let in_directory = attributes.get("tar").is_some() && !attributes.flag("tar")?;
                Ok(Some(match in_directory {
                    true => Self::Store(named),
                    false => Self::Layout(place, named),
                }))
            }
            "local" => Ok(Some(Self::Directory(place, attributes.loose()?))),
            "tar" => Ok(Some(Self::Archive(place, attributes.loose()?))),
            "" | "cacheonly" => Ok(None),
            other => Err(Status::unknown(format!(
                "exporter {other:?} could not be found"
            ))),
        }
    }

    pub(super) const fn title(&self) -> &'static str {
        match self {
            Self::Image(_) => "exporting to image",
            Self::Directory(..) => "exporting to client directory",
            Self::Archive(..) => "exporting to client tarball",
            Self::Layout(..) | Self::Store(_) => "exporting to oci image format",
        }
    }
}

struct Attributes<'a>(&'a HashMap<String, String>);

impl Attributes<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `strconv.ParseBool`; without a value it is set.
    fn flag(&self, name: &str) -> Result<bool, Status> {
        match self.get(name) {
            None | Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some("" | "1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some(other) => Err(Status::invalid_argument(format!(
                "non-bool value specified for {name}: {other:?}"
            ))),
        }
    }

    fn loose(&self) -> Result<Loose, Status> {
        let name = "platform-split";
        let split = self.get(name).map(|_| self.flag(name));
        let prefix = self.get("attestation-prefix").unwrap_or_default();
        if prefix.contains('/') {
            let text = format!("invalid attestation-prefix {prefix:?}: a name has no slash");
            return Err(Status::invalid_argument(text));
        }
        Ok(Loose {
            split: split.transpose()?,
            prefix: prefix.to_owned(),
        })
    }

    fn named(&self) -> Result<Named, Status> {
        let names = self.get("name").unwrap_or_default().split(',');
        let mut known = Vec::new();
        for name in names.filter(|name| !name.is_empty()) {
            let invalid = |error: hull_engine::InvalidReference| {
                Status::invalid_argument(format!("failed to parse {name}: {error}"))
            };
            let name: Reference = name.parse().map_err(invalid)?;
            if name.digest().is_some() {
                let text = "build tag cannot contain a digest";
                return Err(Status::invalid_argument(text));
            }
            let name = name.with_default_tag();
            if !known.contains(&name) {
                known.push(name);
            }
        }
        let epoch = self.get("source-date-epoch");
        let epoch = epoch.filter(|text| !text.is_empty());
        let epoch = epoch.map(str::parse).transpose().map_err(|_| {
            Status::invalid_argument("invalid SOURCE_DATE_EPOCH: no number of seconds")
        })?;
        let compression = match self.get("compression") {
            None | Some("") => None,
            Some(text) => Some(crate::config::parse_compression(text).ok_or_else(|| {
                Status::invalid_argument(format!("unsupported layer compression type {text}"))
            })?),
        };
        Ok(Named {
            names: known,
            epoch,
            push: self.flag("push")?,
            compression,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, attributes: &[(&str, &str)]) -> Result<Option<Target>, Status> {
        let attrs = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let exporter = Exporter {
            r#type: kind.to_owned(),
            attrs,
        };
        Target::parse(3, &exporter)
    }

    #[test]
    fn exporters_are_read() {
        let attributes = [("name", "a,docker.io/library/a:latest,b:1"), ("push", "")];
        let Ok(Some(Target::Image(named))) = parse("moby", &attributes) else {
            panic!("an image");
        };
        let names: Vec<_> = named.names.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            ["docker.io/library/a:latest", "docker.io/library/b:1"]
        );
        assert!(named.push);
        let layout = parse("docker", &[("tar", "true"), ("dest", "x")]);
        assert_eq!(layout.unwrap(), Some(Target::Layout(3, Named::default())));
        assert_eq!(parse("cacheonly", &[]).unwrap(), None);
        let directory = parse("oci", &[("tar", "false")]).unwrap();
        assert_eq!(directory, Some(Target::Store(Named::default())));
        let loose = [("platform-split", "true"), ("attestation-prefix", "a-")];
        let split = Loose {
            split: Some(true),
            prefix: "a-".to_owned(),
        };
        assert_eq!(
            parse("tar", &loose).unwrap(),
            Some(Target::Archive(3, split))
        );
        let whole = parse("local", &[]).unwrap();
        assert_eq!(whole, Some(Target::Directory(3, Loose::default())));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (kind, attribute, text) in [
            ("moby", ("push", "perhaps"), "non-bool value"),
            ("moby", ("push", "1"), "tag is needed"),
            ("image", ("push-by-digest", "1"), "push-by-digest"),
            ("oci", ("tar", "perhaps"), "non-bool value"),
            ("local", ("attestation-prefix", "../x"), "has no slash"),
            ("oci", ("name", "A B"), "failed to parse A B"),
            ("oci", ("name", "a@sha256:x"), "failed to parse"),
            ("moby", ("compression", "lzma"), "compression type lzma"),
            ("moby", ("source-date-epoch", "now"), "SOURCE_DATE_EPOCH"),
            ("nonsense", ("a", "b"), "could not be found"),
        ] {
            let status = parse(kind, &[attribute]).unwrap_err();
            assert!(status.message().contains(text), "{status:?}");
        }
    }
}
