//! Networks, and what Hull has none of: plugins.

use crate::convert;
use crate::error::ApiError;
use crate::query::Filters;
use crate::reply::{self, Outcome};
use crate::request::Request;
use hull_engine::network::NetworkDetails;

/// The filters of `GET /networks`.
const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

/// `GET /networks`.
pub(crate) async fn list(request: Request) -> Result<Outcome, ApiError> {
    let filters = request.query.filters()?;
    filters.only(FILTERS)?;
    let networks = request
        .app
        .engine
        .networks(hull_engine::Filters::new())
        .await?;
    // Before API 1.28 the list had the containers too.
    let containers = !request.version.since(28);
    let networks: Vec<_> = networks
        .iter()
        .filter(|network| matches(network, &filters))
        .map(|network| convert::network::inspect(network, containers))
        .collect();
    reply::ok(&networks)
}

fn matches(network: &NetworkDetails, filters: &Filters) -> bool {
    let one_of = |name: &str, matches: &dyn Fn(&str) -> bool| {
        let values = filters.values(name);
        values.is_empty() || values.iter().any(|value| matches(value))
    };
    one_of("name", &|value| network.name.contains(value))
        && one_of("id", &|value| network.id.starts_with(value))
        && one_of("driver", &|value| network.driver == value)
        && one_of("scope", &|value| value == "local")
        && one_of("type", &|value| value == "builtin")
        // The predefined networks have no labels and are never dangling.
        && one_of("label", &|_| false)
        && one_of("dangling", &|value| matches!(value, "0" | "false"))
}

/// `GET /networks/{id}`.
pub(crate) async fn inspect(request: Request) -> Result<Outcome, ApiError> {
    let network = request.app.engine.network_inspect(&request.name).await?;
    reply::ok(&convert::network::inspect(&network, true))
}

/// `GET /plugins`: there are none.
pub(crate) async fn plugins(_request: Request) -> Result<Outcome, ApiError> {
    reply::ok::<[(); 0]>(&[])
}
