//! The daemon's life: flags, log, pid file, engine, sockets, signals, end.

use crate::app::App;
use crate::config::{DEFAULT_RUNTIME, Flags, Settings};
use crate::listen::Listener;
use crate::pidfile::PidFile;
use crate::routes::ROUTES;
use crate::server;
use clap::Parser;
use http::HeaderValue;
use hull_engine::{Engine, RuntimeProgram};
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::level_filters::LevelFilter;

/// The threads that serve requests. Two, because all of them do is copy and wait; whatever blocks
/// runs on threads of its own that come and go.
const WORKERS: usize = 2;
/// Threads for blocking work at most: each start of a container holds one for some milliseconds.
const BLOCKING_THREADS: usize = 128;

/// Runs `hull daemon` with the arguments behind these two words, until it is told to stop by
/// SIGTERM or SIGINT. Containers stay as they are.
#[must_use]
pub fn run(args: &[OsString]) -> ExitCode {
    let program = std::iter::once(OsString::from("hull daemon"));
    let flags = match Flags::try_parse_from(program.chain(args.iter().cloned())) {
        Ok(flags) => flags,
        Err(error) => return report_usage(&error),
    };
    let validate = flags.validate;
    let outcome = Settings::new(flags)
        .map_err(Into::into)
        .and_then(|settings| {
            if validate {
                say("configuration OK");
                return Ok(());
            }
            start_log(&settings);
            for note in &settings.network.notes {
                tracing::warn!("{note}");
            }
            serve(settings)
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

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

fn start_log(settings: &Settings) {
    let log = tracing_subscriber::fmt()
        .with_max_level(settings.log_level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    // A second subscriber in one process can only be a test's; the first stays.
    let _ = if settings.log_json {
        log.json().try_init()
    } else {
        log.try_init()
    };
}

fn serve(settings: Settings) -> Result<(), Box<dyn Error>> {
    hull_engine::keep_inherited_descriptors()?;
    let _pid_file = PidFile::take(&settings.pidfile)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve_until_told(settings));
    // Blocking work that is still on its way is safe to be cut off, as if the daemon were killed.
    runtime.shutdown_background();
    outcome
}

async fn serve_until_told(settings: Settings) -> Result<(), Box<dyn Error>> {
    // From here on a signal means an orderly end.
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    let config = engine_config(&settings);
    let engine = tokio::task::spawn_blocking(move || Engine::prepare(config)).await??;
    let recovering = Arc::clone(&engine);
    let recovery = tokio::task::spawn_blocking(move || recovering.recover());
    let serving = serve_requests(
        Arc::clone(&engine),
        &settings,
        [terminate, interrupt, hangup],
    );
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

async fn serve_requests(
    engine: Arc<Engine>,
    settings: &Settings,
    [mut terminate, mut interrupt, mut hangup]: [Signal; 3],
) -> Result<(), Box<dyn Error>> {
    let app = Arc::new(App {
        engine,
        debug: settings.log_level >= LevelFilter::DEBUG,
        cgroup_v2: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        routes: ROUTES,
        work: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        server: server_header(),
    });
    let mut listeners = Vec::new();
    for address in &settings.hosts {
        listeners.push(Listener::bind(address, settings.group.as_deref()).await?);
        tracing::info!("API listen on {address}");
    }
    let serving = server::run(Arc::clone(&app), listeners);
    tokio::pin!(serving);
    loop {
        let signal = tokio::select! {
            () = &mut serving => return Ok(()),
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: the configuration is read at the start only");
                continue;
            }
        };
        if app.shutdown.is_cancelled() {
            tracing::warn!(signal, "stopping at once");
            return Ok(());
        }
        tracing::info!(signal, "stopping; containers go on");
        app.shutdown.cancel();
    }
}

fn engine_config(settings: &Settings) -> hull_engine::Config {
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
    runtimes.insert(DEFAULT_RUNTIME.to_owned(), own);
    hull_engine::Config {
        data_root: settings.data_root.clone(),
        exec_root: settings.exec_root.clone(),
        shim: program("hull-shim"),
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
