//! `/hull/usage` and `/hull/history`: what the web page's tables and charts show.

use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use crate::ui::watch::{self, Watch};
use std::sync::Arc;

/// Points of a chart at most, whatever is asked for.
const MAX_POINTS: usize = 2880;

fn kept(request: &Request) -> Result<Arc<Watch>, ApiError> {
    let page = request.app.page.as_ref();
    let none = || ApiError::not_found("no history is kept: the daemon serves no page");
    page.map(|page| Arc::clone(&page.watch)).ok_or_else(none)
}

/// `GET /hull/usage`: what all containers and their machine use now.
pub(crate) async fn usage(request: Request) -> Result<Outcome, ApiError> {
    let now = kept(&request)?.now(&request.app.engine).await?;
    reply::ok(now.as_ref())
}

/// `GET /hull/history?container=ID&seconds=N&points=N`: the numbers of the last seconds, of the machine or of a container.
pub(crate) async fn history(request: Request) -> Result<Outcome, ApiError> {
    let watch = kept(&request)?;
    let query = &request.query;
    let number = |name: &str, usual: u64| match query.text(name) {
        "" => Ok(usual),
        text => text
            .parse()
            .map_err(|_| ApiError::bad_request(format!("invalid {name}: {text}"))),
    };
    let since = watch::seconds().saturating_sub(number("seconds", 24 * 3600)?);
    let points = usize::try_from(number("points", 360)?).unwrap_or(MAX_POINTS);
    let container = Some(query.text("container")).filter(|id| !id.is_empty());
    let id = match container {
        Some(name) => Some(request.app.engine.inspect(name, false).await?.id),
        None => None,
    };
    let chart = watch.chart(id, since, points.min(MAX_POINTS)).await;
    reply::ok(&chart.map_err(|error| ApiError::internal(error.to_string()))?)
}
