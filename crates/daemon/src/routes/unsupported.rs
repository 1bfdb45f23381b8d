//! Paths of the API that Hull does not answer (yet): told apart from paths that do not exist.

use crate::convert;
use crate::error::ApiError;
use crate::reply::Outcome;
use crate::request::Request;

/// What Docker has and Hull has not.
pub(crate) async fn feature(request: Request) -> Result<Outcome, ApiError> {
    Err(convert::unsupported(format_args!(
        "{} {}",
        request.method, request.path
    )))
}
