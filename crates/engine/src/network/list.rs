//! `network ls` and `network inspect`.

use super::details::{Member, NetworkDetails};
use super::registry::Live;
use crate::container::{Endpoint, name_fits};
use crate::{Engine, Error, ErrorKind, Filters, Result};
use std::collections::BTreeMap;

/// The filters that lists know.
const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

/// Network id → container id → how the network sees it.
type Members = BTreeMap<String, BTreeMap<String, Member>>;

impl Engine {
    /// The networks that fit. Filters: `dangling`, `driver`, `id`, `label`, `name`, `scope`, `type`.
    ///
    /// # Errors
    /// `InvalidInput` for a filter that makes no sense.
    pub async fn networks(&self, filters: Filters) -> Result<Vec<NetworkDetails>> {
        check(&filters)?;
        let mut members = self.members();
        let mut listed = Vec::new();
        for live in self.networks.all() {
            let details = self.network_details(&live, &mut members);
            if fits(&details, &filters) {
                listed.push(details);
            }
        }
        Ok(listed)
    }

    /// One network, by name, id or beginning of an id.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for the beginning of several ids.
    pub async fn network_inspect(&self, name: &str) -> Result<NetworkDetails> {
        let live = self.networks.find(name)?;
        Ok(self.network_details(&live, &mut self.members()))
    }

    fn network_details(&self, live: &Live, members: &mut Members) -> NetworkDetails {
        if let Err(error) = self.networks.settle(live) {
            tracing::warn!(error = %error.full_message(), "the default bridge has no address range");
        }
        let row = live.row();
        let mut details = row.details();
        details.members = members.remove(&row.id).unwrap_or_default();
        details
    }

    /// Who is in which network.
    fn members(&self) -> Members {
        let mut members = Members::new();
        for container in self.containers() {
            container.read(|record| {
                for endpoint in record.places().values().filter(|_| record.is_running()) {
                    let of_network = members.entry(endpoint.network_id.clone()).or_default();
                    of_network.insert(record.id.clone(), member(&record.name, endpoint));
                }
            });
        }
        members
    }
}

fn member(name: &str, endpoint: &Endpoint) -> Member {
    let with_prefix = |address: &str, prefix| match address {
        "" => String::new(),
        address => format!("{address}/{prefix}"),
    };
    Member {
        name: name.to_owned(),
        endpoint_id: endpoint.endpoint_id.clone(),
        mac_address: endpoint.mac_address.clone(),
        ipv4: with_prefix(&endpoint.address, endpoint.prefix_len),
        ipv6: with_prefix(&endpoint.address6, endpoint.prefix_len6),
    }
}

fn check(filters: &Filters) -> Result<()> {
    let invalid = |text: String| Err(Error::new(ErrorKind::InvalidInput, text));
    for (name, values) in filters {
        if !FILTERS.contains(&name.as_str()) {
            return invalid(format!("invalid filter '{name}'"));
        }
        if name == "dangling" && values.len() > 1 {
            return invalid("got more than one value for filter key \"dangling\"".to_owned());
        }
        for value in values {
            let known = match name.as_str() {
                "dangling" => matches!(value.as_str(), "0" | "1" | "true" | "false"),
                "type" => matches!(value.as_str(), "builtin" | "custom"),
                _ => true,
            };
            if known {
                continue;
            }
            if name == "dangling" {
                return invalid("invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")".to_owned());
            }
            // dockerd has no kind for this one.
            let text = format!("invalid filter: 'type'='{value}'");
            return Err(Error::new(ErrorKind::Internal, text));
        }
    }
    Ok(())
}

fn fits(network: &NetworkDetails, filters: &Filters) -> bool {
    let any = |name: &str, test: &dyn Fn(&str) -> bool| {
        let values = filters.get(name).filter(|values| !values.is_empty());
        values.is_none_or(|values| values.iter().any(|value| test(value)))
    };
    let labels = network.labels.as_ref();
    let has = |label: &String| match label.split_once('=') {
        Some((name, value)) => {
            labels
                .and_then(|labels| labels.get(name))
                .map(String::as_str)
                == Some(value)
        }
        None => labels.is_some_and(|labels| labels.contains_key(label)),
    };
    any("name", &|value| name_fits(&network.name, value))
        && any("id", &|value| network.id.starts_with(value))
        && any("driver", &|value| network.driver == value)
        && any("scope", &|value| network.scope == value)
        && any("type", &|value| (value == "builtin") == network.predefined)
        && any("dangling", &|value| {
            let dangling = !network.predefined && network.members.is_empty();
            matches!(value, "1" | "true") == dangling
        })
        && filters
            .get("label")
            .is_none_or(|wanted| wanted.iter().all(has))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Filters {
        Filters::from([(name.to_owned(), vec![value.to_owned()])])
    }

    #[test]
    fn filters_choose_and_are_checked() {
        let network = NetworkDetails {
            id: "ab".repeat(32),
            name: "front".to_owned(),
            driver: "bridge".to_owned(),
            scope: "local".to_owned(),
            labels: Some(BTreeMap::from([("a".to_owned(), "1".to_owned())])),
            ..NetworkDetails::default()
        };
        for (name, value) in [
            ("name", "ron"),
            ("name", "^f"),
            ("id", "abab"),
            ("driver", "bridge"),
            ("scope", "local"),
            ("type", "custom"),
            ("dangling", "true"),
            ("label", "a"),
            ("label", "a=1"),
        ] {
            assert!(fits(&network, &one(name, value)), "{name}={value}");
        }
        for (name, value) in [
            ("name", "x"),
            ("id", "ba"),
            ("type", "builtin"),
            ("dangling", "0"),
            ("label", "a=2"),
        ] {
            assert!(!fits(&network, &one(name, value)), "{name}={value}");
        }
        let text = |name, value| check(&one(name, value)).unwrap_err().message().to_owned();
        assert_eq!(text("foo", "x"), "invalid filter 'foo'");
        assert_eq!(text("type", "x"), "invalid filter: 'type'='x'");
        assert!(text("dangling", "x").starts_with("invalid value for filter 'dangling'"));
    }
}
