//! Volumes: seen only, so far. They come with containers.

use crate::convert::usage::{ANONYMOUS, volume};
use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use hull_api::volume::ListResponse;

/// The filters of `GET /volumes`.
const FILTERS: &[&str] = &["dangling", "driver", "label", "name"];

/// `GET /volumes`.
pub(crate) async fn list(request: Request) -> Result<Outcome, ApiError> {
    let filters = request.query.filters()?;
    filters.only(FILTERS)?;
    if !filters.values("dangling").is_empty() {
        return Err(crate::convert::unsupported("the filter dangling"));
    }
    let one_of = |name: &str, matches: &dyn Fn(&str) -> bool| {
        let values = filters.values(name);
        values.is_empty() || values.iter().any(|value| matches(value))
    };
    let volumes = request.app.engine.volumes().await?;
    let volumes = volumes.into_iter().filter(|volume| {
        one_of("name", &|value| volume.name.contains(value))
            && one_of("driver", &|value| value == "local")
            && one_of("label", &|value| volume.anonymous && value == ANONYMOUS)
    });
    reply::ok(&ListResponse {
        volumes: volumes.map(volume).collect(),
        warnings: None,
    })
}

/// `GET /volumes/{name}`.
pub(crate) async fn inspect(request: Request) -> Result<Outcome, ApiError> {
    let found = request.app.engine.volume_inspect(&request.name).await?;
    reply::ok(&volume(found))
}
