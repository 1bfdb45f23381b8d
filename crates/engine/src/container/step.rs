//! A build's step: a process with all that a container has, a root and a network of its own, the default
//! profile, but no row, no name and no log. Its processes live as long as the call that runs it; what they lived in is
//! taken away behind it, and what a killed daemon left is swept as what no container owns.

mod ending;

pub(crate) use ending::Endings;

use super::live::Container;
use super::record::{Effective, Record};
use super::{Config, LogConfig, LogDriver, MountPoint, NetworkMode, Resources, State, bundle};
use crate::{Engine, Error, ErrorKind, Result};
use ending::{Ending, Running};
use hull_build::world::Cancel;
use hull_shim::protocol::AttachOptions;
use hull_shim::{Handle, Launch, Source, SourceKind, files};
use hull_spec::rootfs::RootFs;
use jiff::Timestamp;
use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

/// A process to run.
#[derive(Debug)]
pub(crate) struct Step {
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    /// Its root, which it may write.
    pub(crate) root: RootFs,
    /// What surrounds it: limits, rights, network. Its mounts are `mounts` instead.
    pub(crate) config: Config,
    /// Program and arguments.
    pub(crate) args: Vec<String>,
    /// `KEY=value`
    pub(crate) env: Vec<String>,
    /// Working directory.
    pub(crate) cwd: String,
    /// `user[:group]`
    pub(crate) user: String,
    /// The host's name.
    pub(crate) hostname: String,
    /// What it sees besides.
    pub(crate) mounts: Vec<StepMount>,
}

/// Something a step sees.
#[derive(Debug)]
pub(crate) struct StepMount {
    /// Absolute, in the step.
    pub(crate) target: String,
    /// What it is.
    pub(crate) source: StepSource,
    /// It cannot be written.
    pub(crate) read_only: bool,
}

/// What a step sees somewhere.
#[derive(Debug)]
pub(crate) enum StepSource {
    /// A file or directory of the host.
    Path(PathBuf),
    /// A part of a tree; looked up inside it.
    Root(RootFs, PathBuf),
    /// A part of a directory; looked up inside it.
    Directory(PathBuf, PathBuf),
    /// Memory, so many bytes; 0: no limit.
    Memory(u64),
}

impl Engine {
    /// The limits of a step, without those that this host does not have.
    ///
    /// # Errors
    /// `InvalidInput` for what makes no sense, as for containers.
    pub(crate) fn step_limits(&self, mut wanted: Resources) -> Result<Resources> {
        super::limits::fit(&mut wanted, self.limits(), false)?;
        Ok(wanted)
    }

    /// Runs a step to its end; what it writes goes to `output`, with 1 or 2.
    ///
    /// # Errors
    /// What the runtime says when it cannot be started, `Unavailable` when the end was asked for.
    pub(crate) fn run_step(
        self: &Arc<Self>,
        step: Step,
        cancel: &Cancel,
        output: &mut dyn FnMut(u8, &[u8]),
    ) -> Result<i32> {
        let internal = |text: &str| {
            let text = text.to_owned();
            move |e: io::Error| Error::new(ErrorKind::Internal, text).caused_by(e)
        };
        let (root, mounts) = (step.root.clone(), self.step_points(&step));
        let mut record = self.step_record(step)?;
        record.networks = Some(self.new_places(&record)?);
        fs_err::create_dir_all(self.container_dir(&record.id))
            .map_err(internal("could not create the step's directory"))?;
        let container = Arc::new(Container::new(record));
        let mut running = Running {
            engine: Arc::clone(self),
            container: Arc::clone(&container),
            cleaned: true,
        };
        let wired = self.wire(&container)?;
        let record = container.record();
        let (launch, spec) = self.step_launch(&record, root, mounts, wired.netns.as_deref())?;
        super::start::write_bundle(&launch, &spec)?;
        let spawned = Handle::spawn(&self.config.shim, &launch, wired.sockets);
        let shim = spawned.map_err(|e| super::start::create_failed(&e))?;
        running.cleaned = false;
        let events = shim.events().map_err(io::Error::other);
        let events = events.map_err(internal("could not follow the step"))?;
        let mut ending = Ending::new(running, events);
        let code = follow(&shim, cancel, output, &mut ending);
        ending.behind();
        code.map_err(internal("could not follow the step"))?
            .ok_or_else(|| {
                let text = match cancel.is_cancelled() {
                    true => "the build was cancelled",
                    false => "the step's shim was killed",
                };
                Error::new(ErrorKind::Unavailable, text)
            })
    }

    /// A record that is never written.
    fn step_record(&self, step: Step) -> Result<Record> {
        let config = Config {
            log: LogConfig {
                driver: LogDriver::None,
                ..LogConfig::default()
            },
            ..step.config
        };
        super::resources::rlimits(&config.ulimits)?;
        super::capabilities::of(&config)?;
        Ok(Record {
            name: format!("build-{}", &step.id[..12]),
            created: Timestamp::now(),
            image_id: String::new(),
            image_name: String::new(),
            state: State::Created { failed: None },
            stopped_on_request: false,
            restart_count: 0,
            short_runs: 0,
            out_of_memory: false,
            health: None,
            effective: Effective {
                args: step.args,
                env: step.env,
                working_dir: step.cwd,
                user: step.user,
                hostname: step.hostname,
                runtime: self.settings().default_runtime.clone(),
                ..Effective::default()
            },
            mounts: Vec::new(),
            networks: None,
            publications: Vec::new(),
            link_env: Vec::new(),
            endpoint: None,
            id: step.id,
            config: Arc::new(config),
        })
    }

    /// Mount points, and what the shim puts at places for them.
    fn step_points(&self, step: &Step) -> (Vec<MountPoint>, Vec<Source>) {
        let places = self.bundle_dir(&step.id).join(files::SOURCES);
        let mut sources = Vec::new();
        let mut put = |kind, subpath: &PathBuf| {
            let place = places.join(sources.len().to_string());
            sources.push(Source {
                kind,
                subpath: subpath.clone(),
            });
            place
        };
        let points = step.mounts.iter().map(|mount| {
            let (kind, source, mode) = match &mount.source {
                StepSource::Path(path) => ("bind", path.clone(), String::new()),
                StepSource::Root(root, part) => (
                    "bind",
                    put(SourceKind::Root(root.clone()), part),
                    String::new(),
                ),
                StepSource::Directory(path, part) => (
                    "bind",
                    put(SourceKind::Directory(path.clone()), part),
                    String::new(),
                ),
                // As BuildKit mounts it.
                StepSource::Memory(0) => ("tmpfs", PathBuf::new(), "exec".to_owned()),
                StepSource::Memory(size) => ("tmpfs", PathBuf::new(), format!("exec,size={size}")),
            };
            MountPoint {
                kind: kind.to_owned(),
                source: source.to_string_lossy().into_owned(),
                target: super::clean(&mount.target),
                mode,
                read_only: mount.read_only,
                ..MountPoint::default()
            }
        });
        let points = points.collect();
        (points, sources)
    }

    fn step_launch(
        &self,
        record: &Record,
        root: RootFs,
        (points, sources): (Vec<MountPoint>, Vec<Source>),
        netns: Option<&std::path::Path>,
    ) -> Result<(Launch, hull_spec::runtime::Spec)> {
        let linked = self.linked(record)?;
        let mut files = self.write_files(record, &linked)?;
        // /etc/hostname is the image's, as in BuildKit: a step may write it.
        files.hostname = PathBuf::new();
        let shared = self.shared(record)?;
        let context = bundle::Context {
            root: &root,
            files: &files,
            points: &points,
            netns,
            cgroup_v2: self.cgroups.is_v2(),
            shared: &shared,
            init: None,
        };
        let mut spec = bundle::spec(record, context)?;
        // Only what was asked for: a name that changes with each step would be seen in what it makes.
        let named = |v: &String| v.starts_with("HOSTNAME=");
        if let Some(process) = &mut spec.process
            && !record.effective.env.iter().any(named)
        {
            process.env.retain(|variable| !named(variable));
        }
        let mut launch = self.launch(record, root)?;
        launch.sources = sources;
        // Marks of a container are none of the image's.
        launch.first = false;
        launch.root_first = true;
        Ok((launch, spec))
    }
}

impl Step {
    /// Where its network is.
    pub(crate) fn network(mode: hull_build::graph::NetworkMode, default: &str) -> NetworkMode {
        use hull_build::graph::NetworkMode as Asked;
        match (mode, default) {
            (Asked::Host, _) | (Asked::Default, "host") => NetworkMode::Host,
            (Asked::None, _) | (Asked::Default, "none") => NetworkMode::None,
            (Asked::Default, "" | "default" | "bridge") => NetworkMode::Bridge,
            (Asked::Default, name) => match name.strip_prefix("container:") {
                Some(other) => NetworkMode::Container(other.to_owned()),
                None => NetworkMode::Named(name.to_owned()),
            },
        }
    }
}

/// Starts the process and waits for its end, and until nobody uses its files any more; `None` when nobody can tell how
/// it ended.
fn follow(
    shim: &Handle,
    cancel: &Cancel,
    output: &mut dyn FnMut(u8, &[u8]),
    ending: &mut Ending,
) -> io::Result<Option<i32>> {
    let wanted = AttachOptions {
        stdin: false,
        stdout: true,
        stderr: true,
    };
    let mut stream = shim.attach(wanted).map_err(io::Error::other)?;
    let killed = shim.clone();
    let _kills = cancel.on_cancel(move || {
        // One that has ended needs none.
        let _ = killed.kill(9);
    });
    shim.start().map_err(io::Error::other)?;
    // What came before the start could not be killed.
    if cancel.is_cancelled() {
        let _ = shim.kill(9);
    }
    let read = frames(&mut stream, output);
    let exit = ending.exit()?;
    read?;
    let cancelled = cancel.is_cancelled();
    Ok(exit.filter(|_| !cancelled).map(|record| record.exit_code))
}

/// Takes output out of Docker's frames, to the end of the stream.
fn frames(stream: &mut UnixStream, output: &mut dyn FnMut(u8, &[u8])) -> io::Result<()> {
    let mut header = [0; 8];
    let mut buffer = vec![0; 32 << 10];
    loop {
        match stream.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            other => other?,
        }
        let [number, _, _, _, a, b, c, d] = header;
        let mut left = u32::from_be_bytes([a, b, c, d]) as usize;
        while left > 0 {
            let room = left.min(buffer.len());
            let length = stream.read(&mut buffer[..room])?;
            if length == 0 {
                return Ok(());
            }
            output(number, &buffer[..length]);
            left -= length;
        }
    }
}
