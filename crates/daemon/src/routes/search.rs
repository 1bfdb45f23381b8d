//! `GET /images/search`.

use super::pull::who;
use crate::error::ApiError;
use crate::query::parse_int;
use crate::reply::{self, Outcome};
use crate::request::Request;
use hull_api::image::SearchResult;
use hull_engine::image::SearchRequest;

/// Searches a registry for repositories.
pub(crate) async fn search(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let filters = query.filters()?.0;
    let limit = match query.text("limit") {
        "" => 0,
        text => parse_int(text).map_err(|why| {
            let text = format!("invalid limit specified: strconv.Atoi: parsing {text:?}: {why}");
            ApiError::bad_request(text)
        })?,
    };
    let limit = u32::try_from(limit).map_err(|_| {
        ApiError::bad_request(format!("limit {limit} is outside the range of [1, 100]"))
    })?;
    let search = SearchRequest {
        term: query.text("term").to_owned(),
        limit,
        filters,
        credentials: who(&request.headers),
    };
    let found = request.app.engine.search(search).await?;
    let results: Vec<_> = found
        .into_iter()
        .map(|found| SearchResult {
            star_count: found.star_count,
            is_official: found.is_official,
            name: found.name,
            is_automated: false,
            description: found.description,
        })
        .collect();
    reply::ok(&results)
}
