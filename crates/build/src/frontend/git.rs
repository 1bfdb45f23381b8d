//! Git repositories as people write them in place of paths.

use super::Error;
use crate::dockerfile::boolean;
use crate::graph::GitSource;
use url::Url;

/// A repository, and what its own text says of `.git`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Git {
    pub(super) source: GitSource,
    pub(super) keep_git_dir: Option<bool>,
}

/// Reads `https://host/repo.git#ref:dir`, `git@host:repo`, `ssh://…`, `git://…`, `…​.git?ref=…`; `None` is no
/// repository.
pub(super) fn parse(text: &str) -> Result<Option<Git>, Error> {
    let (main, fragment) = match text.split_once('#') {
        Some((main, fragment)) => (main, fragment),
        None => (text, ""),
    };
    let (remote, query) = match main.split_once('?') {
        Some((remote, query)) => (remote, query),
        None => (main, ""),
    };
    match is_remote(remote) {
        true => read(remote, query, fragment).map(Some),
        false => Ok(None),
    }
}

/// A URL as it may be shown: without its user's password.
pub(crate) fn shown(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if url.password().is_some() => match url.set_password(Some("xxxxx")) {
            Ok(()) => url.to_string(),
            // It has no place for one, then.
            Err(()) => text.to_owned(),
        },
        _ => text.to_owned(),
    }
}

/// As [`parse`], of what is a repository whatever it looks like.
pub(super) fn parse_remote(text: &str) -> Result<Git, Error> {
    let (main, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (remote, query) = main.split_once('?').unwrap_or((main, ""));
    read(remote, query, fragment)
}

fn read(remote: &str, query: &str, fragment: &str) -> Result<Git, Error> {
    let http = remote.starts_with("http://") || remote.starts_with("https://");
    let ssh = !http && !remote.starts_with("git://");
    let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
    let mut git = Git {
        source: GitSource {
            remote: remote.to_owned(),
            reference: reference.to_owned(),
            subdir: subdir.to_owned(),
            auth_token_secret: "GIT_AUTH_TOKEN".to_owned(),
            auth_header_secret: "GIT_AUTH_HEADER".to_owned(),
            ssh: if ssh { "default" } else { "" }.to_owned(),
            ..GitSource::default()
        },
        keep_git_dir: None,
    };
    apply(&mut git, query)?;
    Ok(git)
}

/// `http` and `https` only with `.git` at the end; `user@host:path` is ssh.
fn is_remote(text: &str) -> bool {
    if let Some((scheme, _)) = text.split_once("://") {
        return match scheme {
            "http" | "https" => Url::parse(text).is_ok_and(|url| url.path().ends_with(".git")),
            "git" | "ssh" => Url::parse(text).is_ok_and(|url| url.has_host()),
            _ => false,
        };
    }
    let Some((login, path)) = text.split_once(':') else {
        return false;
    };
    let Some((user, host)) = login.split_once('@') else {
        return false;
    };
    let plain = |text: &str| {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !text.is_empty() && !text.starts_with('-') && text.bytes().all(fine)
    };
    plain(user) && plain(host) && !path.is_empty()
}

fn apply(git: &mut Git, query: &str) -> Result<(), Error> {
    let (mut tag, mut branch) = (None, None);
    let mut seen = Vec::new();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let (key, value) = (key.into_owned(), value.into_owned());
        if seen.contains(&key) {
            return Err(Error::new(format!("query {key:?} has multiple values")));
        }
        let switch = matches!(key.as_str(), "submodules" | "keep-git-dir");
        if value.is_empty() && !switch {
            return Err(Error::new(format!("query {key:?} has no value")));
        }
        let on = || match value.as_str() {
            "" => Ok(true),
            text => {
                boolean(text).ok_or_else(|| Error::new(format!("invalid {key} value: {text:?}")))
            }
        };
        match key.as_str() {
            "ref" => agree("ref", &mut git.source.reference, value)?,
            "subdir" => agree("subdir", &mut git.source.subdir, value)?,
            "tag" => tag = Some(with_prefix("refs/tags/", &value)),
            "branch" => branch = Some(with_prefix("refs/heads/", &value)),
            "checksum" | "commit" => git.source.checksum = value,
            "keep-git-dir" => git.keep_git_dir = Some(on()?),
            "submodules" => git.source.skip_submodules = !on()?,
            _ => return Err(Error::new(format!("unexpected query {key:?}"))),
        }
        seen.push(key);
    }
    if tag.is_some() && branch.is_some() {
        return Err(Error::new("branch conflicts with tag"));
    }
    match tag.or(branch) {
        Some(reference) => agree("ref", &mut git.source.reference, reference),
        None => Ok(()),
    }
}

fn with_prefix(prefix: &str, name: &str) -> String {
    match name.starts_with(prefix) {
        true => name.to_owned(),
        false => format!("{prefix}{name}"),
    }
}

fn agree(what: &str, old: &mut String, new: String) -> Result<(), Error> {
    if !old.is_empty() && *old != new {
        return Err(Error::new(format!("{what} conflicts: {old:?} vs {new:?}")));
    }
    *old = new;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("https://u:p@h/a.git#b"), "https://u:xxxxx@h/a.git#b");
        assert_eq!(shown("git@h:a:b"), "git@h:a:b");
    }

    #[test]
    fn repositories_are_told_from_paths_and_files() {
        let read = |text: &str| {
            let git = parse(text).unwrap()?;
            Some((git.source.remote, git.source.reference, git.source.subdir))
        };
        let some = |remote: &str, reference: &str, subdir: &str| {
            Some((remote.to_owned(), reference.to_owned(), subdir.to_owned()))
        };
        assert_eq!(read("https://h/a.git"), some("https://h/a.git", "", ""));
        assert_eq!(
            read("https://h/a.git#v1:d/e"),
            some("https://h/a.git", "v1", "d/e")
        );
        assert_eq!(read("git@h.x:a/b#x"), some("git@h.x:a/b", "x", ""));
        assert_eq!(read("ssh://git@h/a"), some("ssh://git@h/a", "", ""));
        assert_eq!(
            read("https://h/a.git?tag=1&subdir=s"),
            some("https://h/a.git", "refs/tags/1", "s")
        );
        for none in [
            "a/b",
            "https://h/a.tar",
            "./a.git",
            "a:b",
            "-x@h:a",
            "file:///a.git",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
        let refused = |text| parse(text).unwrap_err().message;
        assert_eq!(refused("https://h/a.git?x=1"), "unexpected query \"x\"");
        assert_eq!(
            refused("https://h/a.git?ref=a#b"),
            "ref conflicts: \"b\" vs \"a\""
        );
        assert_eq!(
            refused("https://h/a.git?tag=a&branch=b"),
            "branch conflicts with tag"
        );
    }
}
