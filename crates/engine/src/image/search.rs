//! `search`.

use super::pull::{auth, registry_error};
use super::{Credentials, wrapped};
use crate::{Engine, Error, ErrorKind, Filters, Result};
pub use hull_registry::Found as FoundImage;
use hull_registry::SearchError;

/// What to search for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchRequest {
    /// A word for Docker Hub, or `host/word` for another registry.
    pub term: String,
    /// How many results at most; 0: the usual number.
    pub limit: u32,
    /// `is-official`, `is-automated`, `stars`.
    pub filters: Filters,
    /// Who asks.
    pub credentials: Credentials,
}

/// What a result must be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    official: Option<bool>,
    /// Nothing is built automatically any more, says dockerd too.
    automated: Option<bool>,
    stars: i64,
}

impl Engine {
    /// Searches a registry.
    ///
    /// # Errors
    /// `InvalidInput` for a filter, limit or registry that makes no sense; what the registry says else.
    pub async fn search(&self, request: SearchRequest) -> Result<Vec<FoundImage>> {
        let wanted = Wanted::parse(&request.filters)?;
        let credentials = auth(request.credentials);
        let found = self
            .registry()
            .search(&request.term, request.limit, &credentials)
            .await;
        let found = found.map_err(|error| match &error {
            SearchError::Term(_) => wrapped(ErrorKind::InvalidInput, &error),
            SearchError::Answer(_) => wrapped(ErrorKind::Internal, &error),
            SearchError::Failed(error) => registry_error(error),
        })?;
        Ok(found
            .into_iter()
            .filter(|found| wanted.fits(found))
            .collect())
    }
}

impl Wanted {
    fn parse(filters: &Filters) -> Result<Self> {
        let invalid = |text: String| Error::new(ErrorKind::InvalidInput, text);
        let mut wanted = Self::default();
        for (name, values) in filters {
            match name.as_str() {
                "is-official" => wanted.official = Some(truth(name, values)?),
                "is-automated" => wanted.automated = Some(truth(name, values)?),
                "stars" => {
                    for value in values {
                        let stars: i64 = value.parse().map_err(|_| {
                            invalid(format!(
                                "invalid filter 'stars={value}': strconv.Atoi: parsing {value:?}: invalid syntax"
                            ))
                        })?;
                        wanted.stars = wanted.stars.max(stars);
                    }
                }
                _ => return Err(invalid(format!("invalid filter '{name}'"))),
            }
        }
        Ok(wanted)
    }

    fn fits(&self, found: &FoundImage) -> bool {
        self.official
            .is_none_or(|wanted| wanted == found.is_official)
            && self.automated != Some(true)
            && found.star_count >= self.stars
    }
}

fn truth(name: &str, values: &[String]) -> Result<bool> {
    let has = |words: [&str; 2]| values.iter().any(|value| words.contains(&value.as_str()));
    match (has(["1", "true"]), has(["0", "false"])) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        _ => {
            let text = format!("invalid filter '{name}=[{}]'", values.join(" "));
            Err(Error::new(ErrorKind::InvalidInput, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(filters: &[(&str, &[&str])]) -> Result<Wanted> {
        let filters = filters.iter().map(|(name, values)| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            ((*name).to_owned(), values)
        });
        Wanted::parse(&filters.collect())
    }

    #[test]
    fn filters_are_those_of_dockerd() {
        let found = FoundImage {
            star_count: 3,
            is_official: true,
            ..FoundImage::default()
        };
        let fits = |filters| wanted(filters).unwrap().fits(&found);
        assert!(fits(&[]) && fits(&[("stars", &["3", "1"])]) && !fits(&[("stars", &["1", "4"])]));
        assert!(fits(&[("is-official", &["true"])]) && !fits(&[("is-official", &["0"])]));
        assert!(fits(&[("is-automated", &["false"])]) && !fits(&[("is-automated", &["1"])]));
        for (filters, text) in [
            (
                ("stars", "a"),
                "invalid filter 'stars=a': strconv.Atoi: parsing \"a\": invalid syntax",
            ),
            (
                ("is-official", "maybe"),
                "invalid filter 'is-official=[maybe]'",
            ),
            (("nope", "1"), "invalid filter 'nope'"),
        ] {
            let error = wanted(&[(filters.0, &[filters.1])]).unwrap_err();
            assert_eq!(error.message(), text);
        }
    }
}
