//! `volume ls`, and what is known of one.

use super::{DriverError, ForeignVolume, LOCAL, Row, VolumeDetails};
use crate::{Engine, Error, ErrorKind, Filters, Result, blocking};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// The filters that lists know.
const FILTERS: &[&str] = &["dangling", "driver", "label", "name"];

impl Engine {
    /// The volumes that fit, by name, and what went wrong at asking drivers. Filters: `dangling`,
    /// `driver`, `label`, `name`.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that makes no sense.
    pub async fn volumes(
        self: &Arc<Self>,
        filters: Filters,
    ) -> Result<(Vec<VolumeDetails>, Vec<String>)> {
        let dangling = check(&filters)?;
        let engine = Arc::clone(self);
        blocking(move || {
            let (foreign, warnings) = engine.foreign_volumes(&filters);
            let mut listed = Vec::new();
            let mut seen = HashSet::new();
            for (row, users) in engine.volumes.all() {
                let told = foreign.get(&(row.driver.clone(), row.name.clone()));
                if row.driver != LOCAL && told.is_none() {
                    // Its driver does not know it any more, or is not there.
                    continue;
                }
                seen.insert((row.driver.clone(), row.name.clone()));
                if dangling.is_none_or(|wanted| wanted == (users == 0)) {
                    listed.push(engine.details_with(&row, told));
                }
            }
            for (key @ (driver, _), volume) in &foreign {
                if !seen.contains(key) && dangling != Some(false) {
                    listed.push(unknown(driver, volume));
                }
            }
            listed.retain(|volume| fits(volume, &filters));
            listed.sort_by(|one, other| one.name.cmp(&other.name));
            Ok((listed, warnings))
        })
        .await
    }

    /// What the drivers have that are programs of their own, by driver and name.
    fn foreign_volumes(
        &self,
        filters: &Filters,
    ) -> (BTreeMap<(String, String), ForeignVolume>, Vec<String>) {
        let (mut volumes, mut warnings) = (BTreeMap::new(), Vec::new());
        let wanted = filters.get("driver");
        for driver in self.drivers().names() {
            if wanted.is_some_and(|wanted| !wanted.contains(&driver)) {
                continue;
            }
            match self.drivers().list(&driver) {
                Ok(list) => volumes.extend(
                    list.into_iter()
                        .map(|volume| ((driver.clone(), volume.name.clone()), volume)),
                ),
                Err(DriverError::Missing) => {}
                Err(error) => warnings.push(format!("list {driver}: {error}")),
            }
        }
        (volumes, warnings)
    }

    /// A volume that one of the drivers has, and no row.
    pub(super) fn foreign_volume(&self, name: &str) -> Option<VolumeDetails> {
        let drivers = self.drivers().names();
        drivers.iter().find_map(|driver| {
            let found = self.drivers().get(driver, name).ok()?;
            Some(unknown(driver, &found))
        })
    }

    /// One volume, with what its driver says of it.
    pub(super) fn volume_details(&self, row: &Row) -> Result<VolumeDetails> {
        if row.driver == LOCAL {
            return Ok(self.details_with(row, None));
        }
        match self.drivers().get(&row.driver, &row.name) {
            Ok(found) => Ok(self.details_with(row, Some(&found))),
            Err(DriverError::NoVolume) => Err(super::missing(&row.name)),
            Err(error) => Err(super::driver_error("get", &row.name, error)),
        }
    }

    fn details_with(&self, row: &Row, told: Option<&ForeignVolume>) -> VolumeDetails {
        let local = (row.driver == LOCAL).then(|| self.volume_data(&row.name));
        VolumeDetails {
            name: row.name.clone(),
            driver: row.driver.clone(),
            mountpoint: local
                .or_else(|| told.map(|told| told.mountpoint.clone()))
                .unwrap_or_default(),
            created: match told {
                Some(told) => told.created.parse().ok(),
                None => Some(row.created),
            },
            labels: row.labels.clone(),
            options: row.options.clone(),
            scope: row.scope.clone(),
            status: told.map(|told| told.status.clone()).unwrap_or_default(),
        }
    }
}

/// A volume that was made without us.
fn unknown(driver: &str, volume: &ForeignVolume) -> VolumeDetails {
    VolumeDetails {
        name: volume.name.clone(),
        driver: driver.to_owned(),
        mountpoint: volume.mountpoint.clone(),
        created: volume.created.parse().ok(),
        scope: LOCAL.to_owned(),
        status: volume.status.clone(),
        ..VolumeDetails::default()
    }
}

/// Checks filters; gives what `dangling` asks for.
fn check(filters: &Filters) -> Result<Option<bool>> {
    let invalid = |text: String| Err(Error::new(ErrorKind::InvalidInput, text));
    if let Some(name) = filters
        .keys()
        .find(|name| !FILTERS.contains(&name.as_str()))
    {
        return invalid(format!("invalid filter '{name}'"));
    }
    let values = filters.get("dangling").map_or(&[][..], Vec::as_slice);
    let bools: Vec<Option<bool>> = values
        .iter()
        .map(|value| match value.as_str() {
            "1" | "true" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        })
        .collect();
    match bools.as_slice() {
        [] => Ok(None),
        [Some(wanted)] => Ok(Some(*wanted)),
        _ => invalid(format!("invalid filter 'dangling=[{}]'", values.join(" "))),
    }
}

fn fits(volume: &VolumeDetails, filters: &Filters) -> bool {
    let any = |name: &str, test: &dyn Fn(&str) -> bool| {
        let values = filters.get(name).filter(|values| !values.is_empty());
        values.is_none_or(|values| values.iter().any(|value| test(value)))
    };
    let has = |label: &String| {
        let labels = volume.labels.as_ref();
        match label.split_once('=') {
            Some((name, value)) => {
                labels
                    .and_then(|labels| labels.get(name))
                    .map(String::as_str)
                    == Some(value)
            }
            None => labels.is_some_and(|labels| labels.contains_key(label)),
        }
    };
    any("name", &|value| {
        crate::container::name_fits(&volume.name, value)
    }) && any("driver", &|value| volume.driver == value)
        && filters
            .get("label")
            .is_none_or(|labels| labels.iter().all(has))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(name: &str, values: &[&str]) -> Filters {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Filters::from([(name.to_owned(), values)])
    }

    #[test]
    fn filters_are_checked_in_dockerds_words() {
        assert_eq!(check(&filters("dangling", &["1"])).unwrap(), Some(true));
        assert_eq!(
            check(&filters("dangling", &["false"])).unwrap(),
            Some(false)
        );
        assert_eq!(check(&Filters::new()).unwrap(), None);
        let text = |filters| check(&filters).unwrap_err().message().to_owned();
        assert_eq!(
            text(filters("dangling", &["maybe"])),
            "invalid filter 'dangling=[maybe]'"
        );
        assert_eq!(text(filters("foo", &["x"])), "invalid filter 'foo'");
    }

    #[test]
    fn filters_choose() {
        let volume = VolumeDetails {
            name: "data".to_owned(),
            driver: LOCAL.to_owned(),
            labels: Some(BTreeMap::from([("a".to_owned(), "b".to_owned())])),
            ..VolumeDetails::default()
        };
        for (name, values, fit) in [
            ("name", &["at"][..], true),
            ("name", &["x", "^data$"], true),
            ("name", &["x"], false),
            ("label", &["a"], true),
            ("label", &["a=b"], true),
            ("label", &["a=c"], false),
            ("label", &["a", "z"], false),
            ("driver", &["local"], true),
            ("driver", &["nfs"], false),
        ] {
            assert_eq!(
                fits(&volume, &filters(name, values)),
                fit,
                "{name} {values:?}"
            );
        }
    }
}
