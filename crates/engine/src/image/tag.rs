//! `tag`.

use crate::{Engine, Error, ErrorKind, Reference, Result, blocking};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Refuses a name that could be read as the beginning of a digest; the words are dockerd's.
///
/// # Errors
/// `InvalidInput`.
pub(super) fn refuse_algorithm(name: &Reference) -> Result<()> {
    if name.familiar_name() == "sha256" {
        let text = "refusing to create an ambiguous tag using digest algorithm as name";
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(())
}

impl Engine {
    /// Gives an image another name.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for what is not a name.
    pub async fn image_tag(
        self: &Arc<Self>,
        name: &str,
        repository: &str,
        tag: &str,
    ) -> Result<()> {
        let invalid =
            |e: crate::InvalidReference| Error::new(ErrorKind::InvalidInput, e.to_string());
        let mut reference: Reference = repository.parse().map_err(invalid)?;
        if reference.digest().is_some() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "refusing to create a tag with a digest reference",
            ));
        }
        if !tag.is_empty() {
            let tagged = reference.with_tag(tag);
            reference =
                tagged.map_err(|_| Error::new(ErrorKind::InvalidInput, "invalid tag format"))?;
        }
        refuse_algorithm(&reference)?;
        let reference = reference.with_default_tag();
        let (engine, source, tagged) = (Arc::clone(self), name.to_owned(), reference.clone());
        let tag = move || engine.store.tag_as(&tagged, &source);
        let id = blocking(move || tag().map_err(super::store_error)).await?;
        self.tell_image("tag", id.as_str(), &reference.familiar());
        Ok(())
    }

    /// Tells of something that happened to an image.
    pub(crate) fn tell_image(&self, action: &str, id: &str, name: &str) {
        self.journal.tell(
            "image",
            action,
            id,
            BTreeMap::from([("name".to_owned(), name.to_owned())]),
        );
    }
}
