//! `images`, `image inspect`, `history`.

use super::{HistoryStep, ImageDetails};
use crate::container::Snapshot;
use crate::{Engine, Error, ErrorKind, Filters, Result, blocking};
use hull_image::Image;
use hull_spec::rootfs::RootFs;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

const FILTERS: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];

impl Engine {
    /// The images, newest first; `containers` counts who uses them.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that does not exist.
    pub async fn images(
        self: &Arc<Self>,
        _all: bool,
        filters: Filters,
        containers: bool,
    ) -> Result<Vec<ImageDetails>> {
        if let Some(unknown) = filters
            .keys()
            .find(|name| !FILTERS.contains(&name.as_str()))
        {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("invalid filter '{unknown}'"),
            ));
        }
        let engine = Arc::clone(self);
        let images = blocking(move || engine.store.images().map_err(super::store_error)).await?;
        let bounds = self.image_bounds(&filters).await?;
        let mut listed = Vec::new();
        for image in images {
            let created = created(&image);
            let in_bounds = bounds.0.is_none_or(|t| created > Some(t))
                && bounds.1.is_none_or(|t| created < Some(t));
            if !in_bounds || !fits(&image, &filters)? {
                continue;
            }
            let mut details = self.image_details(image);
            if let Some(patterns) = filters.get("reference") {
                details
                    .repo_tags
                    .retain(|tag| patterns.iter().any(|pattern| reference_fits(tag, pattern)));
                details.repo_digests.retain(|digest| {
                    patterns
                        .iter()
                        .any(|pattern| reference_fits(digest, pattern))
                });
            }
            if containers {
                let users = self
                    .containers()
                    .iter()
                    .filter(|c| c.read(|record| record.image_id == details.id))
                    .count();
                details.containers = Some(users as u64);
            }
            listed.push(details);
        }
        listed.sort_by_key(|image| {
            std::cmp::Reverse(
                image
                    .config
                    .created
                    .as_deref()
                    .and_then(|t| t.parse::<Timestamp>().ok()),
            )
        });
        Ok(listed)
    }

    /// One image, by name, id or beginning of an id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn image_inspect(self: &Arc<Self>, name: &str) -> Result<ImageDetails> {
        Ok(self.image_details(self.stored_image(name).await?))
    }

    /// An image's history, newest step first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn image_history(self: &Arc<Self>, name: &str) -> Result<Vec<HistoryStep>> {
        let image = self.stored_image(name).await?;
        let mut sizes = image.layer_sizes.iter().copied();
        let step = |history: &hull_spec::image::History| HistoryStep {
            id: "<missing>".to_owned(),
            created: history
                .created
                .as_deref()
                .and_then(|time| time.parse().ok()),
            created_by: history.created_by.clone().unwrap_or_default(),
            comment: history.comment.clone().unwrap_or_default(),
            size: if history.empty_layer {
                0
            } else {
                sizes.next().unwrap_or(0)
            },
            tags: Vec::new(),
        };
        let mut steps: Vec<HistoryStep> = image.config.history.iter().map(step).collect();
        steps.reverse();
        if let Some(first) = steps.first_mut() {
            first.id = image.id.to_string();
            first.tags = image
                .tags
                .iter()
                .map(hull_spec::Reference::familiar)
                .collect();
        }
        Ok(steps)
    }

    pub(super) async fn stored_image(self: &Arc<Self>, name: &str) -> Result<Image> {
        let (engine, name) = (Arc::clone(self), name.to_owned());
        blocking(move || {
            engine
                .store
                .resolve(&name)
                .and_then(|id| engine.store.image(&id))
                .map_err(super::store_error)
        })
        .await
    }

    async fn image_bounds(
        self: &Arc<Self>,
        filters: &Filters,
    ) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
        let mut times: [Vec<Timestamp>; 2] = [Vec::new(), Vec::new()];
        for (slot, name) in ["since", "before"].iter().enumerate() {
            for value in filters.get(*name).into_iter().flatten() {
                times[slot].extend(created(&self.stored_image(value).await?));
            }
        }
        Ok((
            times[0].iter().max().copied(),
            times[1].iter().min().copied(),
        ))
    }

    fn image_details(&self, image: Image) -> ImageDetails {
        let directories = self.store.layer_directories(&image.layers);
        let layers: Vec<String> = directories
            .unwrap_or_default()
            .iter()
            .rev()
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        let mut data = BTreeMap::new();
        if let Some((top, below)) = layers.split_first() {
            data.insert("UpperDir".to_owned(), top.clone());
            if !below.is_empty() {
                data.insert("LowerDir".to_owned(), below.join(":"));
            }
        }
        ImageDetails {
            id: image.id.to_string(),
            repo_tags: image
                .tags
                .iter()
                .map(hull_spec::Reference::familiar)
                .collect(),
            repo_digests: image
                .repo_digests
                .iter()
                .map(hull_spec::Reference::familiar)
                .collect(),
            config: Arc::new(image.config),
            size: image.size,
            last_tagged: Timestamp::from_nanosecond(image.tagged_at.into())
                .ok()
                .filter(|_| image.tagged_at != 0),
            snapshot: Snapshot {
                driver: "overlay2".to_owned(),
                data,
            },
            containers: None,
        }
    }
}

/// A root file system in the words of Docker's `overlay2`.
pub(crate) fn snapshot_of(root: Option<&RootFs>) -> Snapshot {
    let mut data = BTreeMap::new();
    if let Some(RootFs::Overlay { lower, upper, work }) = root {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        data.insert(
            "LowerDir".to_owned(),
            lower
                .iter()
                .map(|path| text(path))
                .collect::<Vec<_>>()
                .join(":"),
        );
        if let (Some(upper), Some(work)) = (upper, work) {
            data.insert("UpperDir".to_owned(), text(upper));
            data.insert("WorkDir".to_owned(), text(work));
        }
    }
    Snapshot {
        driver: "overlay2".to_owned(),
        data,
    }
}

fn created(image: &Image) -> Option<Timestamp> {
    image.config.created.as_deref()?.parse().ok()
}

fn fits(image: &Image, filters: &Filters) -> Result<bool> {
    let labels = image
        .config
        .config
        .as_ref()
        .and_then(|config| config.labels.as_ref());
    let has = |label: &String| match label.split_once('=') {
        Some((name, value)) => labels
            .and_then(|labels| labels.get(name))
            .is_some_and(|known| known == value),
        None => labels.is_some_and(|labels| labels.contains_key(label)),
    };
    if let Some(values) = filters.get("dangling") {
        let wanted = match values.first().map(String::as_str) {
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            other => {
                let text = format!("invalid filter 'dangling={}'", other.unwrap_or_default());
                return Err(Error::new(ErrorKind::InvalidInput, text));
            }
        };
        if image.tags.is_empty() != wanted {
            return Ok(false);
        }
    }
    if filters.contains_key("until") {
        return Err(Error::new(
            ErrorKind::NotImplemented,
            "the filter `until` is not supported by this version of Hull",
        ));
    }
    let named = filters.get("reference").is_none_or(|patterns| {
        let names = image
            .tags
            .iter()
            .chain(&image.repo_digests)
            .map(hull_spec::Reference::familiar);
        names.into_iter().any(|name| {
            patterns
                .iter()
                .any(|pattern| reference_fits(&name, pattern))
        })
    });
    Ok(named
        && filters
            .get("label")
            .is_none_or(|labels| labels.iter().all(has)))
}

/// Docker's rule: a pattern of path.Match on the name with or without its tag, `*` not over slashes.
fn reference_fits(name: &str, pattern: &str) -> bool {
    let plain = name.split('@').next().unwrap_or(name);
    let plain = plain
        .rsplit_once(':')
        .filter(|(_, tag)| !tag.contains('/'))
        .map_or(plain, |(repository, _)| repository);
    glob(name.as_bytes(), pattern.as_bytes()) || glob(plain.as_bytes(), pattern.as_bytes())
}

fn glob(text: &[u8], pattern: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            let longest = text.iter().take_while(|byte| **byte != b'/').count();
            (0..=longest).any(|taken| glob(&text[taken..], rest))
        }
        (Some((b'?', rest)), Some((byte, tail))) if *byte != b'/' => glob(tail, rest),
        (Some((wanted, rest)), Some((byte, tail))) if wanted == byte => glob(tail, rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_matched_as_by_docker() {
        assert!(
            reference_fits("busybox:latest", "busybox")
                && reference_fits("busybox:latest", "busy*:l?test")
        );
        assert!(reference_fits(
            "127.0.0.1:5000/team/app:v1",
            "127.0.0.1:5000/*/app"
        ));
        assert!(
            !reference_fits("team/app:v1", "*app") && !reference_fits("busybox:latest", "busyboxx")
        );
    }
}
