//! What every command has at hand: global flags, the configuration file, the client.

use crate::autostart;
use crate::config_file::ConfigFile;
use crate::failure::Failure;
use crate::flags::{self, Flag, Matches, flag, list, value};
use hull_api::client::{Client, Endpoint};
use std::cell::OnceCell;
use std::env;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Where the daemon listens unless told otherwise.
const DEFAULT_SOCKET: &str = "/run/hull/hull.sock";
/// Where Docker's does.
const DOCKERS_SOCKET: &str = "/var/run/docker.sock";

/// Where the daemon is looked for when nobody says, and whether that is as good as said: only Hull's
/// own daemon is started when it is not there.
fn default_endpoint() -> (Endpoint, bool) {
    (
        Endpoint::Unix(default_socket().into()),
        crate::command::is_docker(),
    )
}

/// The path of the socket that is used when nobody says.
pub(crate) fn default_socket() -> &'static str {
    if crate::command::is_docker() {
        DOCKERS_SOCKET
    } else {
        DEFAULT_SOCKET
    }
}

/// Flags before the command.
pub(crate) static GLOBAL_FLAGS: &[Flag] = &[
    value("config", "string", "Folder of the client's configuration").default("\"~/.docker\""),
    value("context", "string", "").short('c').hidden(),
    flag("debug", "Say more about what happens").short('D'),
    list("host", "string", "Address of the daemon").short('H'),
    value(
        "log-level",
        "string",
        "How much to log (debug, info, warn, error, fatal)",
    )
    .short('l')
    .default("\"info\""),
    flag("tls", "").hidden(),
    value("tlscacert", "string", "").hidden(),
    value("tlscert", "string", "").hidden(),
    value("tlskey", "string", "").hidden(),
    flag("tlsverify", "").hidden(),
    flag("version", "Print the version and quit").short('v'),
];

fn check_log_level(level: &str) -> Result<(), Failure> {
    match level {
        "" | "debug" | "info" | "warn" | "error" | "fatal" => Ok(()),
        _ => Err(Failure::new(format!(
            "Unable to parse logging level: {level}"
        ))),
    }
}

/// What every command has at hand.
#[derive(Debug)]
pub(crate) struct Cli {
    globals: Matches,
    runtime: Runtime,
    client: OnceCell<Arc<Client>>,
    config: OnceCell<ConfigFile>,
}

impl Cli {
    /// Reads the global flags; what follows them is the command.
    pub(crate) fn new(args: &[String]) -> Result<Self, Failure> {
        let globals = flags::parse(&[GLOBAL_FLAGS], args, false).map_err(|error| {
            let program = crate::command::program();
            let usage = format!("{program} [OPTIONS] COMMAND [ARG...]");
            crate::command::flag_failure(&error, &usage, "")
        })?;
        check_log_level(globals.text("log-level"))?;
        // One thread: the command line waits most of the time, and starts faster alone.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            globals,
            runtime,
            client: OnceCell::new(),
            config: OnceCell::new(),
        })
    }

    /// The global flags, with the command as their arguments.
    pub(crate) fn globals(&self) -> &Matches {
        &self.globals
    }

    /// Runs a command's conversation with the daemon.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The client; nothing is sent yet.
    pub(crate) fn client(&self) -> Result<&Arc<Client>, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let (endpoint, chosen) = self.endpoint()?;
        if self.globals.bool("tls") || self.globals.bool("tlsverify") || tls_by_environment() {
            return Err(Failure::new(
                "TLS to the daemon is not supported; use a unix socket, or tcp:// through a tunnel",
            ));
        }
        let version = env::var("DOCKER_API_VERSION")
            .ok()
            .filter(|version| !version.is_empty())
            .map(|version| version.trim_start_matches('v').to_owned());
        let agent = concat!("Hull-Client/", env!("CARGO_PKG_VERSION"), " (linux)");
        let mut client = Client::new(endpoint.clone(), version, agent);
        if !chosen && let Endpoint::Unix(socket) = endpoint {
            client = client.on_absence(Box::new(move || autostart::start(&socket)));
        }
        Ok(self.client.get_or_init(|| Arc::new(client)))
    }

    /// The daemon's address, and whether the user chose it.
    fn endpoint(&self) -> Result<(Endpoint, bool), Failure> {
        let flag = self.globals.list("host");
        if flag.len() > 1 {
            return Err(Failure::new("specify only one -H"));
        }
        let chosen = flag
            .first()
            .cloned()
            .or_else(|| {
                env::var("HULL_HOST")
                    .ok()
                    .filter(|_| !crate::command::is_docker())
            })
            .or_else(|| env::var("DOCKER_HOST").ok())
            .filter(|host| !host.is_empty());
        let context = self.globals.text("context");
        match context {
            "" | "default" => {}
            _ if !flag.is_empty() => {
                let text = "conflicting options: cannot specify both --host and --context";
                return Err(Failure::new(text));
            }
            context => return Err(no_context(context)),
        }
        match chosen {
            Some(host) => {
                let endpoint = host
                    .parse()
                    .map_err(|error| Failure::new(format!("{error}")))?;
                Ok((endpoint, true))
            }
            // A context that was named counts more than one of the environment.
            None => match env::var("DOCKER_CONTEXT").unwrap_or_default().as_str() {
                _ if context == "default" => Ok(default_endpoint()),
                "" | "default" => Ok(default_endpoint()),
                context => Err(no_context(context)),
            },
        }
    }

    /// The folder of the client's configuration.
    pub(crate) fn config_dir(&self) -> PathBuf {
        match self.globals.text("config") {
            "" => match env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()) {
                Some(dir) => dir.into(),
                None => {
                    PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/".into())).join(".docker")
                }
            },
            dir => dir.into(),
        }
    }

    /// The configuration file; an absent one is empty.
    pub(crate) fn config(&self) -> &ConfigFile {
        self.config.get_or_init(|| {
            let path = self.config_dir().join("config.json");
            let loaded = ConfigFile::load(&path).and_then(ConfigFile::with_environment);
            loaded.unwrap_or_else(|error| {
                crate::say(&format!("WARNING: Error loading config file: {error}"));
                ConfigFile::default()
            })
        })
    }

    /// Gives up what still runs in the background, such as a read of standard input.
    pub(crate) fn shut_down(self) {
        self.runtime.shutdown_background();
    }
}

/// Another context is another daemon: nothing is done on this one instead.
fn no_context(context: &str) -> Failure {
    Failure::new(format!(
        "context \"{context}\": contexts are not supported; name the daemon with -H or HULL_HOST"
    ))
}

fn tls_by_environment() -> bool {
    env::var_os("DOCKER_TLS_VERIFY").is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(words: &[&str]) -> Result<(Endpoint, bool), Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Cli::new(&words)?.endpoint()
    }

    #[test]
    fn another_context_is_refused_not_ignored() {
        assert!(endpoint(&["--context", "default", "ps"]).is_ok());
        let message = |words: &[&str]| {
            let failure = endpoint(words).map(drop).unwrap_err();
            failure.message().unwrap_or_default()
        };
        let refused = message(&["--context", "production", "ps"]);
        assert!(refused.contains("context \"production\""), "{refused}");
        let both = message(&["-c", "production", "-H", "unix:///x", "ps"]);
        assert!(both.contains("conflicting options"), "{both}");
    }
}
