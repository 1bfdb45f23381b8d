//! Requests about containers.

use super::{Body, Client, Error, Hijacked, Payload, Target, read_body};
use crate::container::{
    CreateRequest, CreateResponse, Inspect, Summary, Top, UpdateResponse, WaitResponse,
};
use crate::json;
use http::{Method, Response};
use hyper::body::Incoming;
use std::collections::BTreeMap;

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// The newest so many, whatever their state.
    pub limit: Option<i64>,
    /// Count sizes.
    pub size: bool,
    /// By key.
    pub filters: BTreeMap<String, Vec<String>>,
}

/// Which streams to attach to.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Also what was printed so far.
    pub logs: bool,
    /// The detach keys, for the daemon's record.
    pub detach_keys: String,
}

/// Which log lines.
#[derive(Clone, Debug, Default)]
pub struct LogsOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Go on with what is printed from now on.
    pub follow: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Put the log options' attributes before each line.
    pub details: bool,
    /// `SECONDS[.NANOSECONDS]` since 1970.
    pub since: String,
    /// `SECONDS[.NANOSECONDS]` since 1970.
    pub until: String,
    /// So many lines, or `all`.
    pub tail: String,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCondition {
    /// It does not run.
    NotRunning,
    /// Its next exit.
    NextExit,
    /// It is gone.
    Removed,
}

impl WaitCondition {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NotRunning => "not-running",
            Self::NextExit => "next-exit",
            Self::Removed => "removed",
        }
    }
}

/// A wait that the daemon has acknowledged.
#[derive(Debug)]
pub struct Waiting(Response<Incoming>);

impl Waiting {
    /// The exit.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn exit(self) -> Result<WaitResponse, Error> {
        let body = read_body(self.0).await?;
        if body.is_empty() {
            return Err(Error::UnexpectedEnd);
        }
        Ok(json::from_slice(&body)?)
    }
}

fn container(id: &str, verb: &str) -> Target {
    Target::segments(&["containers", id, verb])
}

impl Client {
    /// The containers.
    ///
    /// # Errors
    /// Those of the request, as everywhere here.
    pub async fn containers(&self, options: &ListOptions) -> Result<Vec<Summary>, Error> {
        let mut target = Target::new("/containers/json")
            .flag("all", options.all)
            .flag("size", options.size);
        if let Some(limit) = options.limit.filter(|limit| *limit > 0) {
            target = target.query("limit", &limit.to_string());
        }
        self.get(&target.filters(&options.filters)).await
    }

    /// Makes a container.
    ///
    /// # Errors
    /// 404 when the image is not there, 409 when the name is taken.
    pub async fn create(
        &self,
        request: &CreateRequest,
        name: &str,
        platform: &str,
    ) -> Result<CreateResponse, Error> {
        let target = Target::new("/containers/create")
            .query_some("name", Some(name))
            .query_some("platform", Some(platform));
        let body = self.post(&target, Payload::json(request)?).await?;
        Ok(json::from_slice(&body)?)
    }

    /// Everything about a container.
    ///
    /// # Errors
    /// 404.
    pub async fn container(&self, id: &str) -> Result<Inspect, Error> {
        self.get(&container(id, "json")).await
    }

    /// Starts it.
    ///
    /// # Errors
    /// What the runtime said.
    pub async fn start(&self, id: &str) -> Result<(), Error> {
        self.act(container(id, "start")).await
    }

    /// `start`, `stop`, `restart`, `kill`, `pause`, `unpause`, `rename`, `resize` with what is in the
    /// target's query.
    ///
    /// # Errors
    /// 404, 409.
    pub async fn act(&self, target: Target) -> Result<(), Error> {
        self.post(&target, Payload::default()).await.map(drop)
    }

    /// Stops or restarts; `timeout` in seconds, negative waits for ever.
    ///
    /// # Errors
    /// 404.
    pub async fn stop(
        &self,
        id: &str,
        verb: &str,
        signal: &str,
        timeout: Option<i64>,
    ) -> Result<(), Error> {
        let timeout = timeout.map(|seconds| seconds.to_string());
        let target = container(id, verb)
            .query_some("signal", Some(signal))
            .query_some("t", timeout.as_deref());
        self.act(target).await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// 404, 409 when it does not run.
    pub async fn kill(&self, id: &str, signal: &str) -> Result<(), Error> {
        self.act(container(id, "kill").query_some("signal", Some(signal)))
            .await
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// 404, 409 when the name is taken.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), Error> {
        self.act(container(id, "rename").query("name", name)).await
    }

    /// Removes it.
    ///
    /// # Errors
    /// 404, 409 when it runs and `force` is not given.
    pub async fn remove(
        &self,
        id: &str,
        force: bool,
        volumes: bool,
        link: bool,
    ) -> Result<(), Error> {
        let target = Target::segments(&["containers", id])
            .flag("force", force)
            .flag("v", volumes)
            .flag("link", link);
        self.send(Method::DELETE, &target, Payload::default())
            .await
            .map(drop)
    }

    /// Asks to be told of the exit. Returns once the daemon has taken note, so that an exit after
    /// that is not missed.
    ///
    /// # Errors
    /// 404.
    pub async fn wait(&self, id: &str, condition: WaitCondition) -> Result<Waiting, Error> {
        let target = container(id, "wait").query("condition", condition.as_str());
        self.send(Method::POST, &target, Payload::default())
            .await
            .map(Waiting)
    }

    /// Tells it the size of the terminal.
    ///
    /// # Errors
    /// When it does not run yet.
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), Error> {
        self.act(
            container(id, "resize")
                .query("h", &rows.to_string())
                .query("w", &columns.to_string()),
        )
        .await
    }

    /// Takes over its streams.
    ///
    /// # Errors
    /// 404, 409 when paused.
    pub async fn attach(&self, id: &str, options: &AttachOptions) -> Result<Hijacked, Error> {
        let target = container(id, "attach")
            .query_some("detachKeys", Some(&options.detach_keys))
            .flag("logs", options.logs)
            .flag("stderr", options.stderr)
            .flag("stdin", options.stdin)
            .flag("stdout", options.stdout)
            .flag("stream", true);
        self.hijack(&target, Payload::default()).await
    }

    /// Its log.
    ///
    /// # Errors
    /// 404.
    pub async fn logs(&self, id: &str, options: &LogsOptions) -> Result<Body, Error> {
        let target = container(id, "logs")
            .flag("details", options.details)
            .flag("follow", options.follow)
            .query_some("since", Some(&options.since))
            .flag("stderr", options.stderr)
            .flag("stdout", options.stdout)
            .query_some("tail", Some(&options.tail))
            .flag("timestamps", options.timestamps)
            .query_some("until", Some(&options.until));
        let response = self.send(Method::GET, &target, Payload::default()).await?;
        Ok(Body::new(response))
    }

    /// Its processes, as `ps` with `arguments` shows them.
    ///
    /// # Errors
    /// 404, 409 when it does not run.
    pub async fn top(&self, id: &str, arguments: &str) -> Result<Top, Error> {
        self.get(&container(id, "top").query_some("ps_args", Some(arguments)))
            .await
    }

    /// Changes limits of a container; `request` has the members of `HostConfig` that change.
    ///
    /// # Errors
    /// 404, 409.
    pub async fn update(
        &self,
        id: &str,
        request: &serde_json::Value,
    ) -> Result<UpdateResponse, Error> {
        let body = self
            .post(&container(id, "update"), Payload::json(request)?)
            .await?;
        Ok(json::from_slice(&body)?)
    }

    /// Removes what does not run.
    ///
    /// # Errors
    /// 409 when another prune is under way.
    pub async fn prune_containers(
        &self,
        filters: &BTreeMap<String, Vec<String>>,
    ) -> Result<crate::container::PruneResponse, Error> {
        let target = Target::new("/containers/prune").filters(filters);
        Ok(json::from_slice(
            &self.post(&target, Payload::default()).await?,
        )?)
    }
}
