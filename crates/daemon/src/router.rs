//! The route table: which method and path is which handler.
//!
//! A `{}` of a pattern is greedy: `/images/{}/json` takes `/images/registry:5000/team/app:1/json`, slashes and all. Of two the
//! second has no slash; what both stand for comes as one text, with what is between them. Routes are tried in the table's order.

use crate::error::ApiError;
use crate::reply::Outcome;
use crate::request::Request;
use futures_util::future::BoxFuture;
use http::Method;
use std::fmt;

/// What answers a request.
pub(crate) type Handler = fn(Request) -> BoxFuture<'static, Result<Outcome, ApiError>>;

/// One line of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) pattern: &'static str,
    pub(crate) handler: Handler,
    /// The handler's path in this crate, for the page of endpoints.
    #[cfg_attr(not(test), expect(dead_code, reason = "a page of the documentation"))]
    pub(crate) name: &'static str,
    /// What of dockerd's endpoint this one lacks, for the page of endpoints.
    #[cfg_attr(not(test), expect(dead_code, reason = "a page of the documentation"))]
    pub(crate) lacks: &'static str,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.pattern)
    }
}

/// The first of `routes` that takes `method` and `path`, and what its `{}` stands for.
pub(crate) fn find<'r, 'p>(
    routes: &'r [Route],
    method: &Method,
    path: &'p str,
) -> Option<(&'r Route, &'p str)> {
    routes
        .iter()
        .filter(|route| route.method == *method)
        .find_map(|route| Some((route, capture(route.pattern, path)?)))
}

fn capture<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, after)) = pattern.split_once("{}") else {
        return (pattern == path).then_some("");
    };
    let rest = path.strip_prefix(before)?;
    if let Some(between) = after.strip_suffix("{}") {
        let (first, second) = rest.rsplit_once(between)?;
        let both = !first.is_empty() && !second.is_empty() && !second.contains('/');
        return both.then_some(rest);
    }
    let name = rest.strip_suffix(after)?;
    (!name.is_empty()).then_some(name)
}

/// The path that a client should have asked for, when `path` has doubled slashes or dot segments:
/// dockerd answers those with a redirect.
pub(crate) fn clean(path: &str) -> Option<String> {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut cleaned = format!("/{}", segments.join("/"));
    // A slash at the end stays: it makes another path.
    if path.ends_with('/') && cleaned != "/" {
        cleaned.push('/');
    }
    (cleaned != path).then_some(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_greedy_and_never_empty() {
        assert_eq!(capture("/version", "/version"), Some(""));
        assert_eq!(capture("/version", "/version/"), None);
        assert_eq!(
            capture("/images/{}/json", "/images/a/b:1/json"),
            Some("a/b:1")
        );
        assert_eq!(
            capture("/images/{}/json", "/images/json/json"),
            Some("json")
        );
        assert_eq!(capture("/images/{}/json", "/images/json"), None);
        assert_eq!(capture("/images/{}/json", "/images//json"), None);
        assert_eq!(
            capture("/images/{}", "/images/a/b@sha256:0"),
            Some("a/b@sha256:0")
        );
        assert_eq!(capture("/containers/{}", "/containers/"), None);
        let two = |path| capture("/containers/{}/checkpoints/{}", path);
        assert_eq!(two("/containers/a/checkpoints/b"), Some("a/checkpoints/b"));
        assert_eq!(two("/containers/a/checkpoints/b/c"), None);
        assert_eq!(two("/containers/a/checkpoints/"), None);
    }

    #[test]
    fn unclean_paths_are_redirected() {
        assert_eq!(clean("/version"), None);
        assert_eq!(clean("/"), None);
        assert_eq!(clean("/containers/abc/"), None);
        assert_eq!(clean("//version").as_deref(), Some("/version"));
        assert_eq!(
            clean("/containers//json").as_deref(),
            Some("/containers/json")
        );
        assert_eq!(clean("/a/../version").as_deref(), Some("/version"));
        assert_eq!(clean("/../..").as_deref(), Some("/"));
    }

    proptest::proptest! {
        #[test]
        fn cleaning_is_final(path in "/[./a]{0,12}") {
            if let Some(cleaned) = clean(&path) {
                proptest::prop_assert_eq!(clean(&cleaned), None);
            }
        }
    }
}
