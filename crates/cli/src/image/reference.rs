//! Image names, as far as the command line must understand them: which registry's credentials to
//! send, and how to show a name. The daemon is the judge of what is valid.

use crate::failure::Failure;

/// A name in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    /// Everything before tag and digest.
    pub(crate) repository: &'a str,
    pub(crate) tag: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
}

/// Splits a name.
pub(crate) fn split(text: &str) -> Name<'_> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let (repository, tag) = match rest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (rest, None),
    };
    Name {
        repository,
        tag,
        digest,
    }
}

/// Refuses what is no name, before anything else is done.
pub(crate) fn check(text: &str) -> Result<(), Failure> {
    match text.parse::<hull_spec::Reference>() {
        // Ids are as good where an image is meant; where a name is, the daemon refuses them.
        Ok(_) | Err(hull_spec::InvalidReference::LooksLikeId(_)) => Ok(()),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

/// The registry that a repository is in: `docker.io` unless its first part looks like a host.
pub(crate) fn registry(repository: &str) -> &str {
    match repository.split_once('/') {
        Some((first, _))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.contains(|c: char| c.is_ascii_uppercase()) =>
        {
            first
        }
        _ => "docker.io",
    }
}

/// A repository as people write it, without Docker Hub's own parts.
pub(crate) fn familiar(repository: &str) -> &str {
    let rest = repository
        .strip_prefix("docker.io/")
        .or_else(|| repository.strip_prefix("index.docker.io/"))
        .unwrap_or(repository);
    match rest.strip_prefix("library/") {
        Some(name) if !name.contains('/') => name,
        _ => rest,
    }
}

/// A repository in full: `docker.io/library/debian`.
pub(crate) fn canonical(repository: &str) -> String {
    let familiar = familiar(repository);
    if registry(familiar) != "docker.io" {
        familiar.to_owned()
    } else if familiar.contains('/') {
        format!("docker.io/{familiar}")
    } else {
        format!("docker.io/library/{familiar}")
    }
}

/// A name as people write it, with the tag that is meant when there is none.
pub(crate) fn with_default_tag(text: &str) -> String {
    let name = split(text);
    let repository = familiar(name.repository);
    match (name.tag, name.digest) {
        (Some(tag), Some(digest)) => format!("{repository}:{tag}@{digest}"),
        (Some(tag), None) => format!("{repository}:{tag}"),
        (None, Some(digest)) => format!("{repository}@{digest}"),
        (None, None) => format!("{repository}:latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_parts() {
        let name = split("127.0.0.1:5000/a/b:t@sha256:00");
        assert_eq!(
            (name.repository, name.tag, name.digest),
            ("127.0.0.1:5000/a/b", Some("t"), Some("sha256:00"))
        );
        assert_eq!(split("h:5000/a").tag, None);
        assert_eq!(registry("h:5000/a"), "h:5000");
        assert_eq!(registry("team/app"), "docker.io");
        assert_eq!(registry("localhost/app"), "localhost");
    }

    #[test]
    fn names_as_people_and_registries_write_them() {
        assert_eq!(with_default_tag("debian"), "debian:latest");
        assert_eq!(with_default_tag("docker.io/library/debian:12"), "debian:12");
        assert_eq!(with_default_tag("a@sha256:00"), "a@sha256:00");
        assert_eq!(canonical("debian"), "docker.io/library/debian");
        assert_eq!(canonical("team/app"), "docker.io/team/app");
        assert_eq!(canonical("h:1/a"), "h:1/a");
        assert!(check("h:1/a:Tag").is_ok() && check("sha256:ABC").is_ok());
        assert_eq!(
            check("Bad:x").unwrap_err().message().unwrap(),
            "invalid reference format: repository name (library/Bad) must be lowercase"
        );
    }
}
