//! The daemon's life: flags, log, pid file, engine, sockets, signals, end.

use crate::access::{self, Access, Audit, Door, Serves};
use crate::app::{App, Live};
use crate::buildkit::BuildKit;
use crate::config::{DEFAULT_RUNTIME, DOCKERS_RUNTIMES, Flags, Program, Settings, Tls};
use crate::listen::{Address, Listener};
use crate::metrics::Actions;
use crate::notify;
use crate::pidfile::PidFile;
use crate::routes::ROUTES;
use crate::server;
use crate::ui::Page;
use clap::{CommandFactory as _, FromArgMatches as _};
use http::HeaderValue;
use hull_engine::{Changeable, Engine, RuntimeProgram};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

/// The threads that serve requests. Two, because all of them do is copy and wait; whatever blocks
/// runs on threads of its own that come and go.
const WORKERS: usize = 2;
/// Threads for blocking work at most: each start of a container holds one for some milliseconds.
const BLOCKING_THREADS: usize = 128;

/// Runs the daemon with the arguments behind its name until it is told to stop by SIGTERM or SIGINT.
/// Containers stay as they are. SIGHUP makes it read its configuration again.
#[must_use]
pub fn run(program: Program, args: &[OsString]) -> ExitCode {
    let name = std::iter::once(OsString::from(program.name()));
    let command = Flags::command()
        .name(program.name())
        .bin_name(program.name());
    let matches = command.try_get_matches_from(name.chain(args.iter().cloned()));
    let mut flags = match matches.and_then(|matches| Flags::from_arg_matches(&matches)) {
        Ok(flags) => flags,
        Err(error) => return report_usage(&error),
    };
    flags.program = program;
    if flags.version {
        // Nobody is left to tell when standard output is gone.
        let _ = writeln!(std::io::stdout(), "{}", program.version());
        return ExitCode::SUCCESS;
    }
    let validate = flags.validate;
    let outcome = Settings::new(flags.clone())
        .map_err(Into::into)
        .and_then(|settings| {
            if validate {
                say("configuration OK");
                return Ok(());
            }
            let log = start_log(&settings);
            let network = settings.network.notes.iter().copied();
            for note in network.chain(settings.others.notes.iter().map(String::as_str)) {
                tracing::warn!("{note}");
            }
            serve(Start {
                flags,
                settings,
                log,
            })
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// What a daemon was started with.
struct Start {
    /// As typed, for reloads.
    flags: Flags,
    settings: Settings,
    log: LogLevel,
}

/// Changes the level of the log.
type LogLevel = reload::Handle<LevelFilter, Registry>;

/// Help and version go to standard output, mistakes to standard error; clap knows which is which.
fn report_usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal is gone.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn say(text: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// An error and its causes, `outer: cause: cause of the cause`.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn start_log(settings: &Settings) -> LogLevel {
    let (level, handle) = reload::Layer::new(settings.log_level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(level);
    // A second subscriber in one process can only be a test's; the first stays.
    let _ = if settings.log_json {
        registry.with(lines.json()).try_init()
    } else {
        registry.with(lines).try_init()
    };
    handle
}

/// Takes as many descriptors as it may: each container that runs has one, and the soft limit is 1024 only for the sake
/// of programs that use select(2).
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files was not raised");
    }
}

fn serve(start: Start) -> Result<(), Box<dyn Error>> {
    raise_file_limit();
    let passed = hull_engine::passed_descriptors();
    hull_engine::keep_inherited_descriptors()?;
    spare_dockers(&start.settings.data_root)?;
    let _pid_file = PidFile::take(&start.settings.pidfile)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve_until_told(start, passed));
    // Blocking work that is still on its way is safe to be cut off, as if the daemon were killed.
    runtime.shutdown_background();
    outcome
}

/// Refuses a data root that holds what a real dockerd keeps: some names are the same, and what no row
/// of ours owns would be removed.
fn spare_dockers(data_root: &Path) -> Result<(), Box<dyn Error>> {
    let has = |name: &str| data_root.join(name).exists();
    let dockers = ["engine-id", "image/overlay2", "overlay2", "network/files"];
    if has("hull.db") || !dockers.into_iter().any(has) {
        return Ok(());
    }
    let text = format!(
        "the data root {} holds the data of a Docker daemon, which Hull would damage: choose another one with --data-root",
        data_root.display()
    );
    Err(text.into())
}

async fn serve_until_told(
    start: Start,
    passed: Vec<(String, OwnedFd)>,
) -> Result<(), Box<dyn Error>> {
    // From here on a signal means an orderly end.
    let signals = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ];
    let config = engine_config(&start.settings);
    let engine = tokio::task::spawn_blocking(move || Engine::prepare(config)).await??;
    let recovering = Arc::clone(&engine);
    let recovery = tokio::task::spawn_blocking(move || recovering.recover());
    let serving = serve_requests(Arc::clone(&engine), start, passed, signals);
    let failed = async {
        match recovery.await {
            Ok(Ok(())) => std::future::pending().await,
            Ok(Err(error)) => Err(error.into()),
            Err(panic) => Err(panic.into()),
        }
    };
    let outcome: Result<(), Box<dyn Error>> = tokio::select! {
        outcome = serving => outcome,
        outcome = failed => outcome,
    };
    let closed = tokio::task::spawn_blocking(move || engine.close()).await;
    outcome.and(closed.map_err(Into::into))
}

async fn listen(
    settings: &Settings,
    mut passed: Vec<(String, OwnedFd)>,
) -> Result<Vec<(Listener, Address)>, Box<dyn Error>> {
    let tls = settings.tls.as_ref().map(Tls::server_config).transpose()?;
    let mut listeners: Vec<(Listener, Address)> = Vec::new();
    // Sockets that are passed are meant, said or not: with `-H fd://` in the unit, `hosts` in the file would contradict it.
    let is_passed = |address: &Address| matches!(address, Address::Passed(_));
    let unsaid = !passed.is_empty() && !settings.hosts.iter().any(is_passed);
    let implied = unsaid.then(|| Address::Passed(String::new()));
    let said = match &implied {
        Some(_) if !settings.hosts_said => &[],
        _ => settings.hosts.as_slice(),
    };
    for address in implied.iter().chain(said) {
        if is_passed(address) {
            let found = Listener::of_the_service_manager(address, &mut passed, tls.as_ref())?;
            listeners.extend(found.into_iter().map(|found| (found, address.clone())));
        } else {
            if listeners
                .iter()
                .any(|(listener, _)| listener.is_at(address))
            {
                continue;
            }
            let group = settings.group.as_deref();
            let listener = Listener::bind(address, group, tls.as_ref()).await?;
            listeners.push((listener, address.clone()));
        }
        tracing::info!("API listen on {address}");
    }
    Ok(listeners)
}

/// All that is listened on: the API, and the web page and metrics where they are asked for.
async fn doors(
    app: &Arc<App>,
    settings: &Settings,
    passed: Vec<(String, OwnedFd)>,
) -> Result<Vec<(Door, Listener)>, Box<dyn Error>> {
    let api = listen(settings, passed).await?;
    let api = api.into_iter();
    let mut doors: Vec<_> = api
        .map(|(listener, address)| (Door::new(&address, Serves::Api), listener))
        .collect();
    if let Some(address) = &settings.others.metrics {
        let door = Door::new(address, Serves::Metrics);
        doors.push((door, Listener::for_metrics(address).await?));
    }
    if let (Some(page), Some(address)) = (&app.page, settings.others.ui) {
        doors.push((
            Door::new(&address, Serves::Page),
            page.listen(address).await?,
        ));
        let watching = Arc::clone(&page.watch).keep(Arc::clone(&app.engine), app.shutdown.clone());
        tokio::spawn(watching);
    }
    Ok(doors)
}

/// What the settings say to requests.
fn live(settings: &Settings) -> Arc<Live> {
    Arc::new(Live {
        debug: settings.log_level >= LevelFilter::DEBUG,
        containers: settings.containers.clone(),
        others: settings.others.clone(),
    })
}

async fn serve_requests(
    engine: Arc<Engine>,
    start: Start,
    passed: Vec<(String, OwnedFd)>,
    [mut terminate, mut interrupt, mut hangup]: [Signal; 3],
) -> Result<(), Box<dyn Error>> {
    let page = match start.settings.others.ui {
        Some(_) => Some(Page::open(engine.data_root(), &start.settings.exec_root)?),
        None => None,
    };
    let buildkit = BuildKit::default();
    engine.set_build_sources(buildkit.sources(engine.data_root()));
    let app = Arc::new(App {
        engine,
        live: RwLock::new(live(&start.settings)),
        cgroup_v2: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        buildkit,
        actions: Actions::default(),
        page,
        routes: ROUTES,
        access: Access::new(&start.settings.data_root, &start.settings.exec_root),
        audit: Audit::new(start.settings.audit_log.clone()),
        accepting: TaskTracker::new(),
        clients: TaskTracker::new(),
        work: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        server: server_header(),
    });
    let listeners = doors(&app, &start.settings, passed).await?;
    access::open_all(&app).await;
    let serving = server::run(Arc::clone(&app), listeners);
    tokio::pin!(serving);
    notify::tell("READY=1");
    loop {
        let signal = tokio::select! {
            () = &mut serving => return Ok(()),
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hangup.recv() => {
                tracing::info!("Got signal to reload configuration");
                if let Err(error) = reload_settings(&app, &start) {
                    tracing::error!("the configuration stays as it is: {}", chain(error.as_ref()));
                }
                continue;
            }
        };
        if app.shutdown.is_cancelled() {
            tracing::warn!(signal, "stopping at once");
            return Ok(());
        }
        tracing::info!(signal, "stopping; containers go on");
        notify::tell("STOPPING=1");
        app.shutdown.cancel();
    }
}

/// Reads the configuration file again and puts in force what can be without a restart: the level of
/// the log, labels, what containers get by default, runtimes, registries and limits of transfers.
fn reload_settings(app: &App, start: &Start) -> Result<(), Box<dyn Error>> {
    let settings = Settings::new(start.flags.clone())?;
    let config = engine_config(&settings);
    let live = live(&settings);
    let attributes = told(&live, &config);
    app.engine.reload(Changeable::from(&config), attributes)?;
    start.log.reload(settings.log_level)?;
    *app.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    for note in &settings.others.notes {
        tracing::warn!("{note}");
    }
    tracing::info!("Reloaded configuration");
    Ok(())
}

/// What dockerd tells with the event of a reload.
fn told(live: &Live, config: &hull_engine::Config) -> BTreeMap<String, String> {
    let list = |values: &[String]| serde_json::json!(values).to_string();
    let or = |text: &str, usual: &str| match text {
        "" => usual.to_owned(),
        text => text.to_owned(),
    };
    let defaults = &live.containers;
    let own = |name: &&String| {
        name.as_str() != DEFAULT_RUNTIME && !DOCKERS_RUNTIMES.contains(&name.as_str())
    };
    let runtimes: Vec<String> = config.runtimes.keys().filter(own).cloned().collect();
    let usual_namespace = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "private"
    } else {
        "host"
    };
    [
        ("debug", live.debug.to_string()),
        (
            "default-cgroupns-mode",
            or(&defaults.cgroupns_mode, usual_namespace),
        ),
        ("default-ipc-mode", or(&defaults.ipc_mode, "private")),
        ("default-runtime", config.default_runtime.clone()),
        (
            "default-shm-size",
            defaults.shm_size.unwrap_or(64 << 20).to_string(),
        ),
        ("features", "map[]".to_owned()),
        ("insecure-registries", list(&config.insecure_registries)),
        ("labels", list(&live.others.labels)),
        ("live-restore", "true".to_owned()),
        (
            "max-concurrent-downloads",
            config.limits.downloads.to_string(),
        ),
        ("max-concurrent-uploads", config.limits.uploads.to_string()),
        ("max-download-attempts", config.limits.attempts.to_string()),
        ("name", host_name()),
        ("registry-mirrors", list(&config.registry_mirrors)),
        ("runtimes", runtimes.join(" ")),
        ("shutdown-timeout", live.others.shutdown_timeout.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

pub(crate) fn engine_config(settings: &Settings) -> hull_engine::Config {
    let mut runtimes: BTreeMap<String, RuntimeProgram> = settings
        .runtimes
        .iter()
        .map(|(name, runtime)| {
            let program = RuntimeProgram {
                path: runtime.path.clone(),
                args: runtime.args.clone(),
            };
            (name.clone(), program)
        })
        .collect();
    let own = RuntimeProgram {
        path: program("hull-runtime"),
        args: Vec::new(),
    };
    for name in DOCKERS_RUNTIMES.into_iter().chain([DEFAULT_RUNTIME]) {
        runtimes.insert(name.to_owned(), own.clone());
    }
    hull_engine::Config {
        data_root: settings.data_root.clone(),
        exec_root: settings.exec_root.clone(),
        shim: program("hull-shim"),
        logger: program("hull-logger"),
        resolver: program("hull-dns"),
        runtimes,
        default_runtime: settings.default_runtime.clone(),
        insecure_registries: settings.insecure_registries.clone(),
        registry_mirrors: settings.registry_mirrors.clone(),
        disk_budget: settings.disk_budget,
        store_format: settings.store_format,
        drop_compressed_layers: !settings.keep_compressed_layers,
        registry_config_dirs: settings.transfer.config_dirs.clone(),
        proxies: settings.transfer.proxies.clone(),
        limits: settings.transfer.limits,
        push_compression: settings.transfer.compression,
        policy: settings.policy.clone(),
        network: hull_engine::network::NetworkConfig {
            dns_program: program("hull-dns"),
            ..settings.network.config.clone()
        },
        volume_drivers: Some(Arc::new(crate::plugin::Plugins::default())),
        init_path: settings.others.init_path.clone(),
        build_collection: settings.others.build_collection.clone(),
        cdi_directories: settings
            .others
            .cdi_spec_dirs
            .iter()
            .map(Into::into)
            .collect(),
    }
}

/// One of Hull's own programs: beside this one, else where packages put them, else found by PATH.
fn program(name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok();
    let beside = beside
        .as_deref()
        .and_then(Path::parent)
        .map(|directory| directory.join(name));
    let packaged = Path::new("/usr/libexec/hull").join(name);
    beside
        .into_iter()
        .chain([packaged])
        .find(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from(name))
}

/// Docker's clients and many tools look for this product name.
fn server_header() -> HeaderValue {
    HeaderValue::from_static(crate::convert::system::SERVER)
}
