//! Networks.

use crate::access;
use crate::convert;
use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use http::StatusCode;
use hull_api::network::{
    ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest, Explanation, PruneResponse,
};
use hull_engine::container::Port;

/// The filters of `GET /networks`.
const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

/// `GET /networks`.
pub(crate) async fn list(request: Request) -> Result<Outcome, ApiError> {
    let filters = request.query.filters()?;
    filters.only(FILTERS)?;
    let mut networks = request.app.engine.networks(filters.0).await?;
    if let Some(grant) = request.grant() {
        networks.retain(|found| access::sees_network(grant, found));
    }
    // Before API 1.28 the list had the containers too.
    let containers = !request.version.since(28);
    let networks: Vec<_> = networks
        .iter()
        .map(|network| convert::network::inspect(network, containers))
        .collect();
    reply::ok(&networks)
}

/// `GET /networks/{id}`.
pub(crate) async fn inspect(request: Request) -> Result<Outcome, ApiError> {
    request.query.strict_flag("verbose")?;
    let network = request.app.engine.network_inspect(&request.name).await?;
    let scope = request.query.text("scope");
    if !scope.is_empty() && scope != network.scope {
        return Err(ApiError::not_found(format!(
            "network {} not found",
            request.name
        )));
    }
    reply::ok(&convert::network::inspect(&network, true))
}

/// `POST /networks/create`.
pub(crate) async fn create(mut request: Request) -> Result<Outcome, ApiError> {
    let mut asked: CreateRequest = request.json_or_default().await?;
    if let Some(grant) = request.grant() {
        access::limits::network(grant, &mut asked)?;
    }
    let asked = convert::network::request(asked, request.version);
    let created = request.app.engine.network_create(asked).await?;
    let reply = CreateResponse {
        id: created.id,
        warning: created.warning,
    };
    Ok(reply::json(StatusCode::CREATED, &reply)?.into())
}

/// `DELETE /networks/{id}`.
pub(crate) async fn remove(request: Request) -> Result<Outcome, ApiError> {
    request.app.engine.network_remove(&request.name).await?;
    reply::done()
}

/// `POST /networks/{id}/connect`.
pub(crate) async fn connect(mut request: Request) -> Result<Outcome, ApiError> {
    let mut asked: ConnectRequest = request.json_or_default().await?;
    named(&asked.container)?;
    if let Some(grant) = request.grant() {
        asked.container = access::container(grant, &request.app.engine, &asked.container).await?;
        if let Some(settings) = &asked.endpoint_config {
            access::limits::endpoint(grant, settings)?;
        }
    }
    let place = asked.endpoint_config.unwrap_or_default();
    let place = convert::network::place(place, request.version)?;
    let engine = &request.app.engine;
    engine
        .network_connect(&request.name, &asked.container, place)
        .await?;
    Ok(reply::empty(StatusCode::OK).into())
}

/// `POST /networks/{id}/disconnect`.
pub(crate) async fn disconnect(mut request: Request) -> Result<Outcome, ApiError> {
    let mut asked: DisconnectRequest = request.json_or_default().await?;
    named(&asked.container)?;
    if let Some(grant) = request.grant() {
        asked.container = access::container(grant, &request.app.engine, &asked.container).await?;
    }
    let engine = &request.app.engine;
    engine
        .network_disconnect(&request.name, &asked.container, asked.force)
        .await?;
    Ok(reply::empty(StatusCode::OK).into())
}

fn named(container: &str) -> Result<(), ApiError> {
    if container.is_empty() {
        return Err(ApiError::bad_request("invalid name or ID supplied: \"\""));
    }
    Ok(())
}

/// `POST /networks/prune`.
pub(crate) async fn prune(request: Request) -> Result<Outcome, ApiError> {
    let filters = request.query.filters()?;
    filters.only(&["label", "label!", "until"])?;
    let gone = request.app.engine.network_prune(filters.0).await?;
    reply::ok(&PruneResponse {
        networks_deleted: (!gone.is_empty()).then_some(gone),
    })
}

/// `GET /hull/networks/explain`: Hull's own.
pub(crate) async fn explain(request: Request) -> Result<Outcome, ApiError> {
    let container = request.query.text("container");
    named(container)?;
    let asked = request.query.text("port");
    let port: Option<Port> = match asked {
        "" => None,
        text => Some(convert::create::port(text)?),
    };
    let engine = &request.app.engine;
    let ports = engine.network_explain(container, port).await?;
    reply::ok(&Explanation {
        container: container.to_owned(),
        ports: ports
            .into_iter()
            .map(convert::network::explanation)
            .collect(),
    })
}
