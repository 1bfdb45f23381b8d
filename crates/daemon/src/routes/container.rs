//! Containers.

use crate::access::{self, Grant};
use crate::convert;
use crate::error::ApiError;
use crate::reply::{self, Outcome};
use crate::request::Request;
use http::StatusCode;
use hull_api::container::{
    CreateRequest, CreateResponse, HostConfig, PruneResponse, Top, UpdateResponse,
};
use hull_engine::Engine;
use hull_engine::container::{Details, ListOptions};
use std::sync::Arc;

/// `GET /containers/json`.
pub(crate) async fn list(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    let limit = query.integer("limit")?.unwrap_or(0);
    let options = ListOptions {
        all: query.flag("all"),
        // Nothing below 1 is a limit.
        limit: usize::try_from(limit).ok().filter(|limit| *limit > 0),
        filters: query.filters()?.0,
        sizes: query.flag("size"),
    };
    let containers = match request.grant() {
        Some(grant) => scoped_list(grant, &request.app.engine, options).await?,
        None => request.app.engine.list(options).await?,
    };
    let now = jiff::Timestamp::now();
    let summaries: Vec<_> = containers
        .iter()
        .map(|details| {
            let mut summary = convert::details::summary(details, now);
            if !request.version.since(46) {
                summary.host_config.annotations.clear();
            }
            summary
        })
        .collect();
    reply::ok(&summaries)
}

/// The containers of a scope; those outside do not count for a limit.
async fn scoped_list(
    grant: &Grant,
    engine: &Arc<Engine>,
    mut options: ListOptions,
) -> Result<Vec<Details>, ApiError> {
    for bound in ["before", "since"] {
        for name in options.filters.get(bound).into_iter().flatten() {
            access::container(grant, engine, name).await?;
        }
    }
    let limit = options.limit.take();
    options.all |= limit.is_some();
    let mut containers = engine.list(options).await?;
    containers.retain(|found| grant.has_container(&found.labels, &found.config.image));
    containers.truncate(limit.unwrap_or(usize::MAX));
    Ok(containers)
}

/// `POST /containers/create`.
pub(crate) async fn create(mut request: Request) -> Result<Outcome, ApiError> {
    let mut wanted = request.json_by(CreateRequest::from_slice).await?;
    if let Some(grant) = request.grant() {
        access::limits::container(grant, &request.app.engine, &mut wanted).await?;
    }
    let platform = Some(request.query.text("platform").to_owned());
    let platform = platform.filter(|platform| !platform.is_empty());
    let old_member = request.version.since(44) && !wanted.config.mac_address.is_empty();
    let asked = {
        let live = request.app.live();
        let host = convert::create::Host {
            cgroup_v2: request.app.cgroup_v2,
            settings: &live.containers,
        };
        convert::create::config(wanted, platform, host, request.version)?
    };
    let name = request.query.text("name");
    let name = Some(name).filter(|name| !name.is_empty());
    let created = request.app.engine.create(name, asked.config).await;
    let created = created.map_err(|error| {
        let mut error = ApiError::from(error);
        if error.status == StatusCode::NOT_FOUND && error.message.starts_with("No such container") {
            // Clients take 404 for a missing image, and pull it. dockerd finds such things out at the start.
            error.status = StatusCode::BAD_REQUEST;
        }
        error
    })?;
    let mut warnings = asked.warnings;
    warnings.extend(created.warnings);
    if old_member {
        warnings.push("The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.".to_owned());
    }
    let reply = CreateResponse {
        id: created.id,
        warnings,
    };
    Ok(reply::json(StatusCode::CREATED, &reply)?.into())
}

/// `GET /containers/{id}/json`.
pub(crate) async fn inspect(request: Request) -> Result<Outcome, ApiError> {
    let sizes = request.query.flag("size");
    let details = request.app.engine.inspect(&request.name, sizes).await?;
    let inspect = convert::details::inspect(&details);
    reply::ok(&convert::details::as_of(inspect, request.version))
}

/// `POST /containers/{id}/start`.
pub(crate) async fn start(mut request: Request) -> Result<Outcome, ApiError> {
    // Clients of API 1.21 sent a HostConfig here; an empty object is what some still send.
    if request.has_body() && !request.is_empty_object().await? {
        return Err(ApiError::bad_request(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    let engine = &request.app.engine;
    match super::checkpoint::named(&request) {
        None => engine.start(&request.name).await?,
        // What is restored is trusted as the host is.
        Some(_) if let Some(grant) = request.grant() => {
            return Err(grant.refusal("checkpoints"));
        }
        Some((checkpoint, directory)) => {
            engine
                .start_checkpoint(&request.name, &checkpoint, directory)
                .await?;
        }
    }
    reply::done()
}

/// `POST /containers/{id}/stop`.
pub(crate) async fn stop(request: Request) -> Result<Outcome, ApiError> {
    let (signal, timeout) = (signal(&request), request.query.integer("t")?);
    request
        .app
        .engine
        .stop(&request.name, signal, timeout)
        .await?;
    reply::done()
}

/// `POST /containers/{id}/restart`.
pub(crate) async fn restart(request: Request) -> Result<Outcome, ApiError> {
    let (signal, timeout) = (signal(&request), request.query.integer("t")?);
    request
        .app
        .engine
        .restart(&request.name, signal, timeout)
        .await?;
    reply::done()
}

/// The signal of stop and restart, which API 1.42 brought.
fn signal(request: &Request) -> Option<&str> {
    let signal = request.query.text("signal");
    (request.version.since(42) && !signal.is_empty()).then_some(signal)
}

/// `POST /containers/{id}/kill`.
pub(crate) async fn kill(request: Request) -> Result<Outcome, ApiError> {
    let signal = request.query.text("signal");
    let killed = request.app.engine.kill(&request.name, signal).await;
    killed.map_err(|error| {
        let mut error = ApiError::from(error);
        if signal.parse::<u32>().is_ok_and(|number| number > 64) {
            // No number is too large to be read as a signal there, only to be sent.
            let unknown = format!("invalid signal: {signal}");
            let text = format!("the linux daemon does not support signal {signal}");
            error.message = error.message.replace(&unknown, &text);
        }
        let prefix = format!("cannot kill container: {}: ", request.name);
        if !error.message.starts_with(&prefix) {
            error.message.insert_str(0, &prefix);
        }
        error
    })?;
    reply::done()
}

/// `POST /containers/{id}/pause`.
pub(crate) async fn pause(request: Request) -> Result<Outcome, ApiError> {
    request.app.engine.pause(&request.name).await?;
    reply::done()
}

/// `POST /containers/{id}/unpause`.
pub(crate) async fn unpause(request: Request) -> Result<Outcome, ApiError> {
    let unpaused = request.app.engine.unpause(&request.name).await;
    unpaused.map_err(|error| bare(error, "is not paused"))?;
    reply::done()
}

/// An error to which dockerd gives no kind when its text ends so: it counts as the daemon's failure then.
fn bare(error: hull_engine::Error, end: &str) -> ApiError {
    let mut error = ApiError::from(error);
    if error.message.ends_with(end) {
        error.status = StatusCode::INTERNAL_SERVER_ERROR;
    }
    error
}

/// `POST /containers/{id}/rename`.
pub(crate) async fn rename(request: Request) -> Result<Outcome, ApiError> {
    let to = request.query.text("name");
    if to.is_empty() {
        return Err(ApiError::bad_request(
            "Neither old nor new names may be empty",
        ));
    }
    request.app.engine.rename(&request.name, to).await?;
    reply::done()
}

/// `POST /containers/{id}/update`.
pub(crate) async fn update(mut request: Request) -> Result<Outcome, ApiError> {
    let wanted: HostConfig = request.json_or_default().await?;
    if let Some(grant) = request.grant() {
        access::limits::update(grant, &wanted)?;
    }
    let (change, mut warnings) = convert::update::update(wanted, request.version)?;
    warnings.extend(request.app.engine.update(&request.name, change).await?);
    reply::ok(&UpdateResponse {
        warnings: (!warnings.is_empty()).then_some(warnings),
    })
}

/// `POST /containers/{id}/resize`.
pub(crate) async fn resize(request: Request) -> Result<Outcome, ApiError> {
    let (rows, columns) = terminal_size(&request)?;
    request
        .app
        .engine
        .resize(&request.name, rows, columns)
        .await?;
    Ok(reply::empty(StatusCode::OK).into())
}

/// The parameters `h` and `w`: rows, columns. More than a terminal has are as many as it has.
pub(super) fn terminal_size(request: &Request) -> Result<(u16, u16), ApiError> {
    let side = |name: &str, what: &str| {
        let text = request.query.text(name);
        let number = text.parse::<u32>();
        let number = number.map(|number| u16::try_from(number).unwrap_or(u16::MAX));
        number.map_err(|_| {
            let range = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let why = if range {
                "value out of range"
            } else {
                "invalid syntax"
            };
            ApiError::bad_request(format!("invalid resize {what} {text:?}: {why}"))
        })
    };
    Ok((side("h", "height")?, side("w", "width")?))
}

/// `GET /containers/{id}/top`.
pub(crate) async fn top(request: Request) -> Result<Outcome, ApiError> {
    let arguments = request.query.text("ps_args");
    if let Some(grant) = request.grant()
        && !matches!(arguments, "" | "-ef" | "aux")
    {
        // Those of ps(1) can show any process of the host as one of the container's.
        return Err(grant.refusal(&format!("the options {arguments:?} of ps")));
    }
    let top = request.app.engine.top(&request.name, arguments).await;
    let top = top.map_err(|error| bare(error, "find PID field in ps output"))?;
    reply::ok(&Top {
        processes: top.processes,
        titles: top.titles,
    })
}

/// `DELETE /containers/{id}`.
pub(crate) async fn remove(request: Request) -> Result<Outcome, ApiError> {
    let query = &request.query;
    if query.flag("link") {
        request.app.engine.unlink(&request.name).await?;
        return reply::done();
    }
    let (force, volumes) = (query.flag("force"), query.flag("v"));
    request
        .app
        .engine
        .remove(&request.name, force, volumes)
        .await?;
    reply::done()
}

/// `POST /containers/prune`.
pub(crate) async fn prune(request: Request) -> Result<Outcome, ApiError> {
    let filters = request.query.filters()?.0;
    let (deleted, space_reclaimed) = request.app.engine.prune_containers(filters).await?;
    reply::ok(&PruneResponse {
        containers_deleted: (!deleted.is_empty()).then_some(deleted),
        space_reclaimed,
    })
}
