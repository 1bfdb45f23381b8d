//! API versions: `/v1.43/…` in a path, and what depends on them.

use std::fmt;

/// A version of the Engine API. Clients name it in the path; a path without one means the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// The newest version, which is also the default.
    pub(crate) const NEWEST: Self = Self::new(1, 51);
    /// The oldest version that is still answered.
    pub(crate) const OLDEST: Self = Self::new(1, 24);

    /// The version `major.minor`.
    pub(crate) const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Whether this is 1.`minor` or newer.
    pub(crate) fn since(self, minor: u16) -> bool {
        self >= Self::new(1, minor)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why a request's version is refused. The texts are dockerd's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnsupportedVersion {
    /// Newer than [`ApiVersion::NEWEST`].
    #[error(
        "client version {0} is too new. Maximum supported API version is {max}",
        max = ApiVersion::NEWEST
    )]
    TooNew(String),
    /// Older than [`ApiVersion::OLDEST`].
    #[error(
        "client version {0} is too old. Minimum supported API version is {min}, please upgrade your client to a newer version",
        min = ApiVersion::OLDEST
    )]
    TooOld(String),
}

/// Splits `/v1.43/containers/json` into the text `1.43` and `/containers/json`.
///
/// Like dockerd's route pattern, a version is digits and dots; anything else leaves the path alone.
pub(crate) fn split(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix("/v") else {
        return (None, path);
    };
    let Some(end) = rest.find('/') else {
        return (None, path);
    };
    let (text, rest) = rest.split_at(end);
    if text.is_empty()
        || !text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return (None, path);
    }
    (Some(text), rest)
}

/// The version that `text` names.
///
/// # Errors
/// [`UnsupportedVersion`] when it is outside of what is answered.
pub(crate) fn negotiate(text: Option<&str>) -> Result<ApiVersion, UnsupportedVersion> {
    let Some(text) = text else {
        return Ok(ApiVersion::NEWEST);
    };
    // Compared part by part, as dockerd does: 1.51.1 is newer than 1.51, and 1 is 1.0.
    let parts: Vec<u64> = text
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect();
    let newest = [
        u64::from(ApiVersion::NEWEST.major),
        u64::from(ApiVersion::NEWEST.minor),
    ];
    let oldest = [
        u64::from(ApiVersion::OLDEST.major),
        u64::from(ApiVersion::OLDEST.minor),
    ];
    if compare(&parts, &newest).is_gt() {
        return Err(UnsupportedVersion::TooNew(text.to_owned()));
    }
    if compare(&parts, &oldest).is_lt() {
        return Err(UnsupportedVersion::TooOld(text.to_owned()));
    }
    let part = |at: usize| {
        parts
            .get(at)
            .and_then(|part| u16::try_from(*part).ok())
            .unwrap_or(0)
    };
    Ok(ApiVersion::new(part(0), part(1)))
}

fn compare(left: &[u64], right: &[u64]) -> std::cmp::Ordering {
    let parts = left.len().max(right.len());
    let part = |list: &[u64], at: usize| list.get(at).copied().unwrap_or(0);
    (0..parts)
        .map(|at| part(left, at).cmp(&part(right, at)))
        .find(|order| order.is_ne())
        .unwrap_or(std::cmp::Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_split_off_only_when_it_looks_like_one() {
        assert_eq!(split("/v1.43/version"), (Some("1.43"), "/version"));
        assert_eq!(split("/v1/version"), (Some("1"), "/version"));
        assert_eq!(split("/v1.51.1/a/b"), (Some("1.51.1"), "/a/b"));
        for path in [
            "/version",
            "/v1.51",
            "/v1.4a/version",
            "/volumes/x",
            "/v/version",
            "/",
        ] {
            assert_eq!(split(path), (None, path));
        }
    }

    #[test]
    fn versions_outside_of_the_range_are_refused_in_dockerds_words() {
        let text = |version| negotiate(Some(version)).unwrap_err().to_string();
        assert_eq!(
            text("1.99"),
            "client version 1.99 is too new. Maximum supported API version is 1.51"
        );
        assert_eq!(
            text("1.51.1"),
            "client version 1.51.1 is too new. Maximum supported API version is 1.51"
        );
        assert_eq!(
            text("1.12"),
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        assert!(text("1").starts_with("client version 1 is too old."));
        assert!(
            text("99999999999999999999.1").contains("too old"),
            "an overflow is a zero, as in Go"
        );
    }

    #[test]
    fn versions_within_the_range_are_kept() {
        assert_eq!(negotiate(None), Ok(ApiVersion::NEWEST));
        assert_eq!(negotiate(Some("1.24")), Ok(ApiVersion::OLDEST));
        assert_eq!(negotiate(Some("1.43")), Ok(ApiVersion::new(1, 43)));
        assert!(ApiVersion::new(1, 43).since(42));
        assert!(!ApiVersion::new(1, 43).since(44));
    }
}
