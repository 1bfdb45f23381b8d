//! Names of containers.

use crate::error::{Error, said};

/// The most bytes of an id, as in runc.
const MAX_LENGTH: usize = 1024;

/// A container's id: letters, digits and `_ + - .`, so that it can name a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerId(String);

impl ContainerId {
    /// Checks an id.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        if text.is_empty() {
            return Err(said("container id cannot be empty"));
        }
        if text.len() > MAX_LENGTH || text == "." || text == ".." || !text.chars().all(plain) {
            return Err(said("invalid container ID format"));
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_name_another_directory() {
        for bad in ["", ".", "..", "a/b", "../x", "a b", "a\0b", "é"] {
            assert!(ContainerId::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "0123_x-y+z.w", "..."] {
            assert_eq!(ContainerId::parse(good).expect("valid").as_str(), good);
        }
    }
}
