//! Lists that come in pages: tags, and what refers to a manifest.

use crate::document::{Document, MAX_DOCUMENT, text};
use crate::hosts::Capability;
use crate::{Client, Credentials, Error, Kind};
use hull_spec::image::{Descriptor, media_type as mt};
use hull_spec::{Digest, Reference};
use serde::Deserialize;
use std::collections::HashSet;
use url::Url;

/// The most pages that are read of a list.
const MAX_PAGES: usize = 1000;
/// The most entries of a list.
const MAX_ENTRIES: usize = 100_000;

/// A manifest that refers to another by its `subject`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Referrer {
    /// The manifest.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// What kind of artifact it is.
    #[serde(default, rename = "artifactType")]
    pub artifact_type: Option<String>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Referrers {
    #[serde(default)]
    manifests: Vec<Referrer>,
}

/// The tag under which registries without a list of referrers keep it.
pub(crate) fn referrers_tag(subject: &Digest) -> String {
    subject.as_str().replacen(':', "-", 1)
}

impl Client {
    /// The tags of a repository, in the registry's order. What is no tag by the grammar is left out.
    ///
    /// # Errors
    /// [`Error`], with the words that dockerd has for `docker pull --all-tags`.
    pub async fn tags(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Vec<String>, Error> {
        let path = format!("{}/tags/list", reference.path());
        let pages = self.pages(reference, credentials, &path, None).await?;
        let mut tags = Vec::new();
        let mut known = HashSet::new();
        for page in pages {
            let list: Tags = serde_json::from_slice(&page.bytes).map_err(|error| {
                Error::Malformed(format!(
                    "tags of {} are not valid: {error}",
                    reference.familiar_name()
                ))
            })?;
            for tag in list.tags.unwrap_or_default() {
                if reference.with_tag(&tag).is_ok() && known.insert(tag.clone()) {
                    tags.push(tag);
                }
            }
            bounded("tags", tags.len())?;
        }
        Ok(tags)
    }

    /// The manifests whose `subject` is `subject`, of one type or of all.
    ///
    /// # Errors
    /// [`Error`]. A registry that knows no referrers and has no list under the subject's tag has none.
    pub async fn referrers(
        &self,
        reference: &Reference,
        subject: &Digest,
        artifact_type: Option<&str>,
        credentials: &Credentials,
    ) -> Result<Vec<Referrer>, Error> {
        let path = format!("{}/referrers/{subject}", reference.path());
        let query = artifact_type.map(|kind| ("artifactType", kind));
        let pages = match self.pages(reference, credentials, &path, query).await {
            Ok(pages) => pages,
            Err(error) if is_absent(&error) => {
                match self.tagged_referrers(reference, subject, credentials).await {
                    Ok(page) => vec![page],
                    Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for page in pages {
            let list: Referrers = serde_json::from_slice(&page.bytes).map_err(|error| {
                Error::Malformed(format!("referrers of {subject} are not valid: {error}"))
            })?;
            found.extend(list.manifests);
            bounded("referrers", found.len())?;
        }
        // Registries need not filter.
        if let Some(kind) = artifact_type {
            found.retain(|referrer| referrer.artifact_type.as_deref() == Some(kind));
        }
        Ok(found)
    }

    async fn tagged_referrers(
        &self,
        reference: &Reference,
        subject: &Digest,
        credentials: &Credentials,
    ) -> Result<Document, Error> {
        let path = format!("{}/manifests/{}", reference.path(), referrers_tag(subject));
        self.over_places(reference, Capability::Resolve, |endpoint| {
            let mut call = self.call(&endpoint, reference, credentials, &path);
            call.accept = Some(mt::OCI_INDEX);
            async move { self.document(&call, None, MAX_DOCUMENT).await }
        })
        .await
    }

    /// Reads a list to its end, from the first place that has it.
    async fn pages(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        path: &str,
        query: Option<(&str, &str)>,
    ) -> Result<Vec<Document>, Error> {
        self.over_places(reference, Capability::Resolve, |endpoint| {
            let mut call = self.call(&endpoint, reference, credentials, path);
            if let Some((name, value)) = query {
                call.url.query_pairs_mut().append_pair(name, value);
            }
            async move {
                let mut pages: Vec<Document> = Vec::new();
                let mut size = 0;
                loop {
                    let page = self.document(&call, None, MAX_DOCUMENT).await?;
                    let next = page.link.as_deref().and_then(|link| next(&call.url, link));
                    size += page.bytes.len() as u64;
                    pages.push(page);
                    match next {
                        None => return Ok(pages),
                        // The same page again would never end.
                        Some(next) if next == call.url => return Ok(pages),
                        Some(_) if pages.len() == MAX_PAGES || size > 4 * MAX_DOCUMENT => {
                            return Err(Error::TooLarge {
                                what: format!("the list at {}", call.url),
                                limit: 4 * MAX_DOCUMENT,
                            });
                        }
                        Some(next) => {
                            self.refuse_downgrade(&call.url, &next)?;
                            call.url = next;
                        }
                    }
                }
            }
        })
        .await
    }
}

/// Registries without the API answer all sorts of things to a path that they do not know.
fn is_absent(error: &Error) -> bool {
    error.kind() == Kind::NotFound || error.is_status(400) || error.is_status(405)
}

fn bounded(what: &str, count: usize) -> Result<(), Error> {
    if count <= MAX_ENTRIES {
        return Ok(());
    }
    Err(Error::TooLarge {
        what: format!("the list of {what}"),
        limit: MAX_ENTRIES as u64,
    })
}

/// Where a `Link` header (RFC 8288) says the next page is.
fn next(base: &Url, link: &str) -> Option<Url> {
    let url = base.join(next_link(link)?).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

/// The target of the link whose relation is `next`.
#[must_use]
pub fn next_link(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        // Up to the next link; a comma may be within quotes.
        let mut quoted = false;
        let end = after
            .find(|c: char| {
                quoted ^= c == '"';
                c == ',' && !quoted
            })
            .unwrap_or(after.len());
        let (parameters, following) = after.split_at(end);
        let is_next = parameters.split(';').any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else {
                return false;
            };
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .split(' ')
                    .any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = following;
    }
}

/// The `Link` header of an answer.
pub(crate) fn link(headers: &reqwest::header::HeaderMap) -> Option<String> {
    text(headers, "link")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_to_the_next_page_are_found() {
        for (header, target) in [
            (
                "</v2/a/tags/list?last=b&n=2>; rel=\"next\"",
                Some("/v2/a/tags/list?last=b&n=2"),
            ),
            ("<x>;rel=next", Some("x")),
            (
                "<p>; rel=\"prev\", <n>; title=\"a,b\"; rel=\"last next\"",
                Some("n"),
            ),
            ("<x>; rel=\"prev\"", None),
            ("<x", None),
            ("x; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), target, "{header}");
        }
        let base = Url::parse("http://r/v2/a/tags/list").unwrap();
        assert_eq!(
            next(&base, "<?n=1>; rel=next").unwrap().query(),
            Some("n=1")
        );
        assert!(next(&base, "<file:///etc/passwd>; rel=next").is_none());
    }

    proptest! {
        #[test]
        fn any_header_is_read(header in "\\PC{0,80}") {
            if let Some(target) = next_link(&header) {
                prop_assert!(header.contains(target));
            }
        }
    }
}
