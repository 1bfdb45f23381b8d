//! Which files a copy takes, by patterns in `.dockerignore`'s notation.

use super::copy::{All, Keep, Sieve};
use hull_build::graph::CopyFiles;
use hull_build::ignore::Matcher;
use hull_build::world::{WorldError, WorldResult};
use std::path::Path;

/// Patterns of what comes along, and of what does not.
struct Patterns {
    /// `None`: everything.
    include: Option<Matcher>,
    exclude: Matcher,
}

/// Which files a copy takes.
///
/// # Errors
/// For patterns that are none.
pub(super) fn of(copy: &CopyFiles) -> WorldResult<Box<dyn Sieve>> {
    new(&copy.include, &copy.exclude)
}

/// Which files patterns take.
///
/// # Errors
/// For patterns that are none.
pub(super) fn new(include: &[String], exclude: &[String]) -> WorldResult<Box<dyn Sieve>> {
    if include.is_empty() && exclude.is_empty() {
        return Ok(Box::new(All));
    }
    let matcher = |patterns: &[String]| {
        Matcher::new(patterns).map_err(|error| WorldError::Invalid(error.to_string()))
    };
    Ok(Box::new(Patterns {
        include: match include {
            [] => None,
            patterns => Some(matcher(patterns)?),
        },
        exclude: matcher(exclude)?,
    }))
}

impl Sieve for Patterns {
    fn keeps(&self, path: &Path, directory: bool) -> Keep {
        let path = path.to_string_lossy();
        if self.exclude.matches(&path) {
            // An exception may be below.
            let below = directory && !self.exclude.covers(&path);
            return if below { Keep::IfNeeded } else { Keep::No };
        }
        match &self.include {
            None => Keep::Yes,
            Some(include) if include.matches(&path) => Keep::Yes,
            Some(include) if directory && include.may_match_below(&path) => Keep::IfNeeded,
            Some(_) => Keep::No,
        }
    }
}
