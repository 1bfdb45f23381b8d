//! A step's process: its root above its input, and what else it sees.

use super::cache_mount::Cached;
use super::tree::{NewStep, Reading, pieces};
use super::turns::Turn;
use crate::container::step::{Step, StepMount, StepSource};
use crate::container::{Config, Resources, Ulimit};
use crate::{Engine, ErrorKind, names};
use hull_build::graph::{ClientFile, Exec, Mount, MountKind, SecretEnv, SecurityMode};
use hull_build::progress::{Event, Process, Stream};
use hull_build::world::{Job, Surroundings, Tree, WorldError, WorldResult};
use hull_spec::Platform;
use hull_spec::rootfs::RootFs;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What belongs to a step and ends after it.
#[derive(Default)]
struct Held<'e> {
    outputs: Vec<(usize, NewStep<'e>)>,
    /// What was written and is wanted by nobody.
    scratch: Vec<NewStep<'e>>,
    readings: Vec<Reading<'e>>,
    /// Turns at caches, by their ids.
    turns: BTreeMap<String, Turn>,
    caches: Vec<Cached>,
    /// Agents' connections.
    agents: Vec<Box<dyn Send>>,
    /// How many secrets are files.
    secrets: usize,
    /// Where they are.
    place: Place,
}

/// A directory that does not outlive the step, however it ends. It is in one that the step's own end removes, if it has
/// begun.
#[derive(Default)]
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.0);
        if let Some(bundle) = self.0.parent() {
            let _ = fs_err::remove_dir(bundle);
        }
    }
}

impl Engine {
    /// Runs a process; gives the outputs in their order.
    pub(super) fn perform_exec(
        self: &Arc<Self>,
        exec: &Exec,
        inputs: &[Tree],
        platform: Option<&Platform>,
        job: &Job<'_>,
    ) -> WorldResult<Vec<Tree>> {
        let id = names::id();
        let place = self.bundle_dir(&id).join("build");
        let mut held = Held::default();
        held.place.0.clone_from(&place);
        held.turns = self.cache_turns(exec, job.cancel)?;
        let (root, mounts) = self.mounts(exec, inputs, (&place, job), &mut held)?;
        let read_only = exec.root().is_some_and(|mount| mount.readonly);
        let upper = held.root_upper(exec);
        let stubs = super::stubs::Stubs::before(&root, upper, exec)?;
        let step = Step {
            id: id.clone(),
            root,
            config: self.step_config(exec, read_only, job)?,
            args: exec.args.clone(),
            env: environment(exec, job)?,
            cwd: exec.cwd.clone(),
            user: exec.user.clone(),
            hostname: match exec.hostname.as_str() {
                "" => "buildkitsandbox".to_owned(),
                name => name.to_owned(),
            },
            mounts,
        };
        job.watch.tell(Event::Process(Process {
            vertex: job.vertex.clone(),
            container: id,
        }));
        let mut refused = false;
        let ran = self.run_step(step, job.cancel, &mut |number, bytes| {
            refused |= is_refused(bytes);
            let stream = if number == 2 {
                Stream::Stderr
            } else {
                Stream::Stdout
            };
            job.log(stream, bytes);
        });
        job.cancel.check()?;
        let command = exec.args.join(" ");
        let code = match ran {
            Ok(code) => code,
            Err(error) => {
                let refused = is_refused(error.full_message().as_bytes());
                tell_foreign(platform.filter(|_| refused), job);
                return Err(not_run(command, &error, job));
            }
        };
        if !is_success(exec, code) {
            let platform = platform.filter(|_| refused);
            self.step_failed(exec, &mut held, platform, job);
            return Err(WorldError::Exit { command, code });
        }
        stubs.remove();
        held.outputs.sort_by_key(|(number, _)| *number);
        let outputs = std::mem::take(&mut held.outputs).into_iter();
        Ok(outputs.map(|(_, step)| step.keep()).collect())
    }

    /// Says what is missing of a platform that did not start, and keeps what the step has left, if that is wanted.
    fn step_failed<'e>(
        &'e self,
        exec: &Exec,
        held: &mut Held<'e>,
        platform: Option<&Platform>,
        job: &Job<'_>,
    ) {
        tell_foreign(platform, job);
        if job.client.keeps_failed()
            && let Some(step) = held.take_root(exec)
        {
            self.keep_failed(exec, step, job);
        }
    }

    /// The root, and what is mounted besides.
    fn mounts<'e>(
        &'e self,
        exec: &Exec,
        inputs: &[Tree],
        with: (&Path, &Job<'_>),
        held: &mut Held<'e>,
    ) -> WorldResult<(RootFs, Vec<StepMount>)> {
        let mut mounts = Vec::new();
        let mut root = None;
        for mount in &exec.mounts {
            match self.mount(mount, inputs, with, held)? {
                Some(StepSource::Root(fs, part)) if mount.dest == "/" => {
                    if !part.as_os_str().is_empty() {
                        let text = "a root that is a part of a tree";
                        return Err(WorldError::Unsupported(text.to_owned()));
                    }
                    root = Some(fs);
                }
                Some(source) => mounts.push(StepMount {
                    target: mount.dest.clone(),
                    source,
                    read_only: mount.readonly,
                }),
                None => {}
            }
        }
        let root = root.ok_or_else(|| WorldError::other("a step without a root"))?;
        Ok((root, mounts))
    }

    fn step_config(&self, exec: &Exec, read_only: bool, job: &Job<'_>) -> WorldResult<Config> {
        let devices = exec.devices.iter().map(|(name, _)| name.clone());
        let devices: Vec<String> = devices.collect();
        if !devices.is_empty() {
            let text = "devices of steps are not supported yet";
            return Err(WorldError::Unsupported(text.to_owned()));
        }
        let hosts = exec.extra_hosts.iter();
        let surroundings = job.client.surroundings();
        let limits = self.step_limits(resources(&surroundings));
        let limits = limits.map_err(|error| WorldError::Invalid(error.full_message()))?;
        Ok(Config {
            network: Step::network(exec.network, &surroundings.network),
            resources: limits,
            extra_hosts: hosts
                .map(|(name, address)| format!("{name}:{address}"))
                .collect(),
            ulimits: exec
                .ulimits
                .iter()
                .map(|(name, soft, hard)| Ulimit {
                    name: name.clone(),
                    soft: *soft,
                    hard: *hard,
                })
                .collect(),
            cgroup_parent: exec.cgroup_parent.clone(),
            privileged: exec.security == SecurityMode::Insecure,
            read_only,
            ..Config::default()
        })
    }

    /// What is put at a mount's place; `None` for what may be missing and is.
    fn mount<'e>(
        &'e self,
        mount: &Mount,
        inputs: &[Tree],
        (place, job): (&Path, &Job<'_>),
        held: &mut Held<'e>,
    ) -> WorldResult<Option<StepSource>> {
        let tree = mount.input.and_then(|place| inputs.get(place));
        let part = PathBuf::from(mount.selector.trim_start_matches('/'));
        Ok(Some(match &mount.kind {
            MountKind::Bind => return self.bind(mount, (tree, part), job, held).map(Some),
            MountKind::Cache { id, .. } => {
                let seed = tree.map(|tree| (tree, part.as_path()));
                let turn = held.turns.get(id);
                let turn = turn.ok_or_else(|| WorldError::other("a cache without a turn"))?;
                let cached = self.cache_mount((id, turn), seed, job)?;
                let path = cached.path.clone();
                held.caches.push(cached);
                StepSource::Path(path)
            }
            MountKind::Tmpfs { size } => StepSource::Memory(*size),
            MountKind::Secret(file) => {
                let Some(secret) = job.client.secret(&file.id)? else {
                    return missing("secret", file).map(|()| None);
                };
                held.secrets += 1;
                let path = place.join(format!("secret-{}", held.secrets));
                let written = write_secret(place, &path, file, &secret);
                written.map_err(|e| WorldError::caused("could not write a secret", e))?;
                StepSource::Path(path)
            }
            MountKind::Ssh(file) => match agent(place, file, held.agents.len(), job)? {
                Some((path, guard)) => {
                    held.agents.push(guard);
                    StepSource::Path(path)
                }
                None => return missing("ssh agent", file).map(|()| None),
            },
        }))
    }

    fn bind<'e>(
        &'e self,
        mount: &Mount,
        (tree, part): (Option<&Tree>, PathBuf),
        job: &Job<'_>,
        held: &mut Held<'e>,
    ) -> WorldResult<StepSource> {
        let writable = mount.output.is_some() || !mount.readonly;
        match tree {
            Some(Tree::Local(files)) if !writable => {
                // The step keeps the build waiting, and with it the files.
                Ok(StepSource::Directory(files.path().to_owned(), part))
            }
            Some(Tree::Pieces(below)) if !writable && !below.is_empty() => {
                let reading = self.reading(below)?;
                let root = reading.root_fs();
                held.readings.push(reading);
                Ok(StepSource::Root(root, part))
            }
            _ => {
                let below = match tree {
                    Some(local @ Tree::Local(_)) => pieces(&self.local_copy(local, job)?)?.to_vec(),
                    Some(tree) => pieces(tree)?.to_vec(),
                    None => Vec::new(),
                };
                let step = self.new_step(&below)?;
                let root = step.root.clone();
                match mount.output {
                    Some(number) => held.outputs.push((number, step)),
                    None => held.scratch.push(step),
                }
                Ok(StepSource::Root(root, part))
            }
        }
    }
}

impl<'e> Held<'e> {
    /// What was written to the root, if that is an output.
    fn take_root(&mut self, exec: &Exec) -> Option<NewStep<'e>> {
        let number = exec.root()?.output?;
        let place = self.outputs.iter().position(|(of, _)| *of == number)?;
        Some(self.outputs.swap_remove(place).1)
    }

    /// Where what is written to the root ends up.
    fn root_upper(&self, exec: &Exec) -> Option<PathBuf> {
        let root = exec.root()?;
        let mut outputs = self.outputs.iter();
        let of_root = outputs.find(|(number, _)| root.output == Some(*number));
        of_root.map(|(_, step)| step.upper.clone())
    }
}

fn resources(surroundings: &Surroundings) -> Resources {
    Resources {
        memory: surroundings.memory,
        memory_swap: surroundings.memory_swap,
        cpu_shares: surroundings.cpu_shares,
        cpu_period: surroundings.cpu_period,
        cpu_quota: surroundings.cpu_quota,
        cpuset_cpus: surroundings.cpuset_cpus.clone(),
        cpuset_mems: surroundings.cpuset_mems.clone(),
        ..Resources::default()
    }
}

/// Whether output says that a program is not for this machine: the runtime's words, or a shell's.
fn is_refused(output: &[u8]) -> bool {
    const TEXT: &[u8] = b"exec format error";
    output
        .windows(TEXT.len())
        .any(|part| part.eq_ignore_ascii_case(TEXT))
}

/// Says what is missing where a program of another platform did not start.
fn tell_foreign(platform: Option<&Platform>, job: &Job<'_>) {
    let host = Platform::host();
    let foreign = platform.filter(|platform| platform.architecture != host.architecture);
    if let Some(platform) = foreign {
        let text = format!(
            "the step is for {platform}, which this host runs only with an emulator that is registered with binfmt_misc\n"
        );
        job.log(Stream::Stderr, text.as_bytes());
    }
}

/// A process that did not come to run: what the runtime says is told as if the process had.
fn not_run(command: String, error: &crate::Error, job: &Job<'_>) -> WorldError {
    let text = error.full_message();
    if let Some((_, why)) = text.split_once("runc create failed: ") {
        job.log(
            Stream::Stderr,
            format!("runc run failed: {why}\n").as_bytes(),
        );
        return WorldError::Exit { command, code: 1 };
    }
    if text.starts_with("unable to find ") {
        let text = format!("process {command:?} did not complete successfully: {text}");
        return WorldError::Invalid(text);
    }
    match error.kind() {
        ErrorKind::InvalidInput => WorldError::Invalid(text),
        _ => WorldError::other(text),
    }
}

fn is_success(exec: &Exec, code: i32) -> bool {
    match exec.valid_exit_codes.as_slice() {
        [] => code == 0,
        codes => codes.contains(&code),
    }
}

/// The variables, with secrets and proxies.
fn environment(exec: &Exec, job: &Job<'_>) -> WorldResult<Vec<String>> {
    let mut env = exec.env.clone();
    if let Some(proxy) = &exec.proxy {
        for (name, value) in [
            ("HTTP_PROXY", &proxy.http),
            ("HTTPS_PROXY", &proxy.https),
            ("FTP_PROXY", &proxy.ftp),
            ("NO_PROXY", &proxy.no),
            ("ALL_PROXY", &proxy.all),
        ] {
            if !value.is_empty() {
                env.push(format!("{name}={value}"));
                env.push(format!("{}={value}", name.to_lowercase()));
            }
        }
    }
    for SecretEnv { id, name, optional } in &exec.secret_env {
        match job.client.secret(id)? {
            Some(secret) => env.push(format!("{name}={}", String::from_utf8_lossy(&secret))),
            None if *optional => {}
            None => return Err(WorldError::NotFound(format!("secret {id}: not found"))),
        }
    }
    // Of two with one name the last counts.
    let mut seen = BTreeSet::new();
    env.reverse();
    env.retain(|variable| {
        let name = variable.split('=').next().unwrap_or_default();
        seen.insert(name.to_owned())
    });
    env.reverse();
    Ok(env)
}

fn missing(what: &str, file: &ClientFile) -> WorldResult<()> {
    match file.optional {
        true => Ok(()),
        false => Err(WorldError::NotFound(format!(
            "{what} {}: not found",
            file.id
        ))),
    }
}

fn private(place: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(place)
}

fn write_secret(
    place: &Path,
    path: &Path,
    file: &ClientFile,
    secret: &[u8],
) -> std::io::Result<()> {
    private(place)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let made = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    super::find::write_all(&made, secret)?;
    rustix::fs::fchown(
        &made,
        Some(Uid::from_raw(file.uid)),
        Some(Gid::from_raw(file.gid)),
    )?;
    Ok(rustix::fs::fchmod(
        &made,
        Mode::from_raw_mode(file.mode & 0o777),
    )?)
}

type Agent = (PathBuf, Box<dyn Send>);

/// A socket that leads to an agent of the client's.
fn agent(
    place: &Path,
    file: &ClientFile,
    number: usize,
    job: &Job<'_>,
) -> WorldResult<Option<Agent>> {
    let failed = |error| WorldError::caused("could not make an agent's socket", error);
    private(place).map_err(failed)?;
    let path = place.join(format!("ssh-{number}"));
    // A socket's path has 107 bytes at most, ours may have more.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(place, flags, Mode::empty());
    let directory = directory.map_err(|errno| failed(errno.into()))?;
    let short = format!(
        "/proc/self/fd/{}/ssh-{number}",
        std::os::fd::AsRawFd::as_raw_fd(&directory)
    );
    let listener = UnixListener::bind(&short).map_err(failed)?;
    let owned = rustix::fs::chown(
        &path,
        Some(Uid::from_raw(file.uid)),
        Some(Gid::from_raw(file.gid)),
    );
    owned
        .and_then(|()| rustix::fs::chmod(&path, Mode::from_raw_mode(file.mode & 0o777)))
        .map_err(|errno| failed(errno.into()))?;
    match job.client.ssh(&file.id, listener) {
        Err(error) if file.optional && !job.cancel.is_cancelled() => {
            tracing::debug!(%error, "a step goes without an agent");
            Ok(None)
        }
        led => Ok(led?.map(|guard| (path, guard))),
    }
}
