//! The engine: one value for everything, shared by all who ask.

use crate::container::{
    AttachOptions, Attached, Created, Details, ListOptions, Top, WaitCondition, WaitResult,
};
use crate::event::{Event, EventOptions};
use crate::exec::{ExecConfig, ExecDetails, ExecStart};
use crate::image::{HistoryStep, ImageDetails, Progress, PullRequest, RemoveOptions, Removed};
use crate::logs::{LogOptions, Logs};
use crate::network::NetworkDetails;
use crate::system::Info;
use crate::{Error, ErrorKind, Filters, Result, container};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::UnixStream;

/// An OCI runtime by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeProgram {
    pub path: PathBuf,
    /// Arguments before its command.
    pub args: Vec<String>,
}

/// What an engine works with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Absolute.
    pub data_root: PathBuf,
    /// Absolute.
    pub exec_root: PathBuf,
    /// The shim's program.
    pub shim: PathBuf,
    /// By name.
    pub runtimes: BTreeMap<String, RuntimeProgram>,
    /// One of `runtimes`.
    pub default_runtime: String,
    /// `host`, `host:port` or a network, whose registries may be used without TLS.
    pub insecure_registries: Vec<String>,
    /// URLs that are asked before Docker Hub.
    pub registry_mirrors: Vec<String>,
}

/// A container engine. Every method that takes a container's name takes an id and the beginning of
/// one too.
#[derive(Debug)]
pub struct Engine {
    _config: Config,
}

fn unfinished<T>() -> Result<T> {
    Err(Error::new(ErrorKind::NotImplemented, "not written yet"))
}

impl Engine {
    /// Opens the data root, which must be no other daemon's, and finds the containers that an
    /// earlier daemon left behind. Blocking; call it within a tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` when another daemon has the data root; `Internal` otherwise.
    pub fn open(config: Config) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { _config: config }))
    }

    /// Makes a container; without a name it gets one.
    pub async fn create(&self, _name: Option<&str>, _config: container::Config) -> Result<Created> {
        unfinished()
    }

    /// Starts a container. `AlreadyInThatState` when it runs.
    pub async fn start(&self, _name: &str) -> Result<()> {
        unfinished()
    }

    /// Stops a container, by force after `timeout` seconds (`None`: its own; negative: never).
    /// `signal`: instead of its own. `AlreadyInThatState` when it does not run.
    pub async fn stop(
        &self,
        _name: &str,
        _signal: Option<&str>,
        _timeout: Option<i64>,
    ) -> Result<()> {
        unfinished()
    }

    /// Stops, as [`Engine::stop`], and starts again.
    pub async fn restart(
        &self,
        _name: &str,
        _signal: Option<&str>,
        _timeout: Option<i64>,
    ) -> Result<()> {
        unfinished()
    }

    /// Sends a signal; empty: SIGKILL.
    pub async fn kill(&self, _name: &str, _signal: &str) -> Result<()> {
        unfinished()
    }

    /// Freezes all processes.
    pub async fn pause(&self, _name: &str) -> Result<()> {
        unfinished()
    }

    /// Lets them go on.
    pub async fn unpause(&self, _name: &str) -> Result<()> {
        unfinished()
    }

    /// Gives another name.
    pub async fn rename(&self, _name: &str, _to: &str) -> Result<()> {
        unfinished()
    }

    /// Removes a container; `force` kills it first, `volumes` takes its anonymous volumes along.
    pub async fn remove(&self, _name: &str, _force: bool, _volumes: bool) -> Result<()> {
        unfinished()
    }

    /// Waits. The outer result is there at once and means that nothing will be missed.
    pub async fn wait(
        &self,
        _name: &str,
        _condition: WaitCondition,
    ) -> Result<BoxFuture<'static, Result<WaitResult>>> {
        unfinished()
    }

    /// Attaches a client, also to a container that is yet to be started.
    pub async fn attach(&self, _name: &str, _options: AttachOptions) -> Result<Attached> {
        unfinished()
    }

    /// Tells of a client that left by the detach keys, for the event.
    pub fn detached(&self, _name: &str) {}

    /// Changes the size of a container's terminal.
    pub async fn resize(&self, _name: &str, _rows: u16, _columns: u16) -> Result<()> {
        unfinished()
    }

    /// Reads a log.
    pub async fn logs(&self, _name: &str, _options: LogOptions) -> Result<Logs> {
        unfinished()
    }

    /// The processes of a container, by ps(1) with these arguments (empty: `-ef`).
    pub async fn top(&self, _name: &str, _ps_args: &str) -> Result<Top> {
        unfinished()
    }

    /// The containers, newest first.
    pub async fn list(&self, _options: ListOptions) -> Result<Vec<Details>> {
        unfinished()
    }

    /// One container.
    pub async fn inspect(&self, _name: &str, _sizes: bool) -> Result<Details> {
        unfinished()
    }

    /// Removes the containers that do not run. Returns their ids and the bytes they held.
    pub async fn prune_containers(&self, _filters: Filters) -> Result<(Vec<String>, u64)> {
        unfinished()
    }

    /// Prepares a process in a running container. Returns its id.
    pub async fn exec_create(&self, _container: &str, _config: ExecConfig) -> Result<String> {
        unfinished()
    }

    /// Starts it. The stream is as [`Attached::stream`]; `None` when detached.
    pub async fn exec_start(&self, _id: &str, _start: ExecStart) -> Result<Option<UnixStream>> {
        unfinished()
    }

    /// Changes the size of its terminal.
    pub async fn exec_resize(&self, _id: &str, _rows: u16, _columns: u16) -> Result<()> {
        unfinished()
    }

    /// One exec.
    pub async fn exec_inspect(&self, _id: &str) -> Result<ExecDetails> {
        unfinished()
    }

    /// Pulls an image. The stream ends with the pull; an error is its last element. Dropping it
    /// cancels the pull, unless another client waits for the same image.
    pub async fn pull(
        &self,
        _request: PullRequest,
    ) -> Result<BoxStream<'static, Result<Progress>>> {
        unfinished()
    }

    /// The images, newest first; `containers` counts who uses them.
    pub async fn images(
        &self,
        _all: bool,
        _filters: Filters,
        _containers: bool,
    ) -> Result<Vec<ImageDetails>> {
        unfinished()
    }

    /// One image, by name, id or beginning of an id.
    pub async fn image_inspect(&self, _name: &str) -> Result<ImageDetails> {
        unfinished()
    }

    /// An image's history, newest step first.
    pub async fn image_history(&self, _name: &str) -> Result<Vec<HistoryStep>> {
        unfinished()
    }

    /// Gives an image another name.
    pub async fn image_tag(&self, _name: &str, _repository: &str, _tag: &str) -> Result<()> {
        unfinished()
    }

    /// Removes a name, and the image with its last one.
    pub async fn image_remove(&self, _name: &str, _options: RemoveOptions) -> Result<Vec<Removed>> {
        unfinished()
    }

    /// Tries credentials at a registry. Returns its token for later, if it gives one.
    pub async fn authenticate(
        &self,
        _registry: &str,
        _credentials: crate::image::Credentials,
    ) -> Result<Option<String>> {
        unfinished()
    }

    /// What happens from now on, and before if asked for.
    pub fn events(&self, _options: EventOptions) -> Result<BoxStream<'static, Event>> {
        unfinished()
    }

    /// The networks.
    pub async fn networks(&self) -> Result<Vec<NetworkDetails>> {
        unfinished()
    }

    /// One network, by name, id or beginning of an id.
    pub async fn network_inspect(&self, _name: &str) -> Result<NetworkDetails> {
        unfinished()
    }

    /// The engine and its host.
    pub async fn info(&self) -> Result<Info> {
        unfinished()
    }
}
