//! What every command has at hand: global flags, the configuration file, the client.

use crate::autostart;
use crate::config_file::ConfigFile;
use crate::connection::{Material, Place, variable};
use crate::contexts::{Address, DEFAULT, Store};
use crate::failure::{Failure, Outcome};
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
    value(
        "context",
        "string",
        "Go to the daemon of this context, whatever DOCKER_HOST and `context use` say",
    )
    .short('c'),
    flag("debug", "Say more about what happens").short('D'),
    list("host", "string", "Address of the daemon").short('H'),
    value(
        "log-level",
        "string",
        "How much to log (debug, info, warn, error, fatal)",
    )
    .short('l')
    .default("\"info\""),
    flag("tls", "Speak TLS with whoever answers"),
    value(
        "tlscacert",
        "string",
        "Who may sign the daemon's certificate",
    )
    .default("\"~/.docker/ca.pem\""),
    value("tlscert", "string", "Certificate to show the daemon").default("\"~/.docker/cert.pem\""),
    value("tlskey", "string", "Key of that certificate").default("\"~/.docker/key.pem\""),
    flag(
        "tlsverify",
        "Speak TLS with the daemon that has the right certificate",
    ),
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
            crate::command::flag_failure(&[GLOBAL_FLAGS], &error, &usage, "")
        })?;
        if let [_, second, ..] = globals.list("host") {
            let program = crate::command::program();
            let usage = format!("{program} [OPTIONS] COMMAND [ARG...]");
            let error = flags::FlagError::Invalid {
                value: second.clone(),
                flag: "-H, --host".to_owned(),
                reason: "specify only one -H".to_owned(),
            };
            let tables = &[GLOBAL_FLAGS];
            return Err(crate::command::flag_failure(tables, &error, &usage, ""));
        }
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
        let (mut client, chosen) = self.new_client()?;
        // Only Hull's own daemon is started when it is not there.
        if !chosen && let Endpoint::Unix(socket) = client.endpoint().clone() {
            client = client.on_absence(Box::new(move || autostart::start(&socket)));
        }
        Ok(self.client.get_or_init(|| Arc::new(client)))
    }

    /// A client for a question in passing: no daemon is started for it.
    pub(crate) fn passing_client(&self) -> Result<Client, Failure> {
        self.new_client().map(|(client, _)| client)
    }

    /// A client, and whether the user chose where it goes.
    fn new_client(&self) -> Result<(Client, bool), Failure> {
        let (place, chosen) = self.place()?;
        let version = variable("API_VERSION").map(|v| v.trim_start_matches('v').to_owned());
        let agent = concat!("Hull-Client/", env!("CARGO_PKG_VERSION"), " (linux)");
        let client = Client::new(place.endpoint.clone(), version, agent)
            .with_headers(self.config().headers());
        Ok((place.equip(client)?, chosen))
    }

    /// The name of the context that counts: the flag's, then the variables', then the configuration's.
    pub(crate) fn context_name(&self) -> String {
        let known = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
        let own = |name: &str| {
            let own = !crate::command::is_docker();
            env::var(name).ok().filter(|value| own && !value.is_empty())
        };
        let by_host = |found: Option<String>| found.map(|_| DEFAULT.to_owned());
        let by_flag = || by_host(self.globals.list("host").first().cloned());
        known(self.globals.text("context"))
            .or_else(by_flag)
            .or_else(|| by_host(own("HULL_HOST")))
            .or_else(|| own("HULL_CONTEXT"))
            .or_else(|| by_host(variable("HOST")))
            .or_else(|| variable("CONTEXT"))
            .or_else(|| known(self.config().current_context()))
            .unwrap_or_else(|| DEFAULT.to_owned())
    }

    /// The variable that has an address, if one has and no flag counts more.
    pub(crate) fn host_variable(&self) -> Option<&'static str> {
        if self.globals.changed("context") || self.globals.changed("host") {
            return None;
        }
        let own = !crate::command::is_docker();
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        match () {
            () if own && set("HULL_HOST") => Some("HULL_HOST"),
            () if set("DOCKER_HOST") => Some("DOCKER_HOST"),
            () => None,
        }
    }

    /// The contexts.
    pub(crate) fn contexts(&self) -> Store {
        Store::new(&self.config_dir())
    }

    /// The address of the context `default`.
    pub(crate) fn default_address(&self) -> Address {
        let typed = self.globals.list("host").last().cloned();
        let host = typed.or_else(|| variable("HOST"));
        Address {
            host: host.unwrap_or_else(|| format!("unix://{}", default_socket())),
            skip_tls_verify: false,
        }
    }

    /// The daemon's address, and whether the user chose it.
    pub(crate) fn place(&self) -> Result<(Place, bool), Failure> {
        let flag = self.globals.list("host");
        let context = self.globals.text("context");
        if !matches!(context, "" | DEFAULT) && !flag.is_empty() {
            let text = "conflicting options: cannot specify both --host and --context";
            return Err(Failure::new(text));
        }
        let name = self.context_name();
        if name == DEFAULT {
            // `-c default` is the default, whatever the variables say of contexts; an address of theirs counts.
            let chosen = !flag.is_empty() || variable("HOST").is_some();
            let address = self.default_address();
            let tls = self.tls_asked_for().filter(|_| chosen);
            let place = Place::new(&address.host, tls)?;
            return Ok((place, chosen || crate::command::is_docker()));
        }
        let store = self.contexts();
        let meta = store.get(&name).map_err(|failure| {
            Failure::new(format!(
                "Failed to initialize: unable to resolve docker endpoint: {}",
                failure.message().unwrap_or_default()
            ))
        })?;
        let address = meta.address();
        if address.host.is_empty() {
            return Err(Failure::new(format!(
                "context \"{name}\" has no address of a daemon\nhint: give it one with `{} context update {name} --docker host=…`",
                crate::command::program()
            )));
        }
        let material = store.material(&name, &address);
        Ok((Place::new(&address.host, material)?, true))
    }

    /// What flags and variables say of TLS.
    fn tls_asked_for(&self) -> Option<Material> {
        let globals = &self.globals;
        let verified = match globals.changed("tlsverify") {
            true => globals.bool("tlsverify"),
            false => variable("TLS_VERIFY").is_some(),
        };
        let asked = globals.bool("tls") || variable("TLS").is_some();
        if !verified && !asked {
            return None;
        }
        let folder = variable("CERT_PATH").map_or_else(|| self.config_dir(), PathBuf::from);
        let file = |flag: &str, name: &str| match globals.text(flag) {
            // The usual places count where there is something.
            "" => Some(folder.join(name)).filter(|path| path.exists()),
            path => Some(path.into()),
        };
        Some(Material {
            ca: file("tlscacert", "ca.pem").filter(|_| verified),
            pair: file("tlscert", "cert.pem").zip(file("tlskey", "key.pem")),
            unverified: !verified,
        })
    }

    /// Has the daemon be there, where it is one that we may start.
    pub(crate) fn start_daemon(&self) -> Outcome {
        let client = self.client()?;
        Ok(self.block_on(client.dial()).map(drop)?)
    }

    /// The folder of the client's configuration.
    pub(crate) fn config_dir(&self) -> PathBuf {
        match self.globals.text("config") {
            "" => match variable("CONFIG") {
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

    /// Changes the configuration file, as it is now.
    pub(crate) fn change_config(
        &self,
        change: impl FnOnce(&mut ConfigFile) -> std::io::Result<()>,
    ) -> Outcome {
        let mut config = ConfigFile::load(&self.config_dir().join("config.json"))?;
        Ok(change(&mut config)?)
    }

    /// Gives up what still runs in the background, such as a read of standard input.
    pub(crate) fn shut_down(self) {
        self.runtime.shutdown_background();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(words: &[&str]) -> Result<(Place, bool), Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Cli::new(&words)?.place()
    }

    #[test]
    fn an_unknown_context_is_refused_not_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().to_str().unwrap();
        assert!(place(&["--config", config, "--context", "default", "ps"]).is_ok());
        let message = |words: &[&str]| {
            let failure = place(words).map(drop).unwrap_err();
            failure.message().unwrap_or_default()
        };
        let refused = message(&["--config", config, "--context", "production", "ps"]);
        assert!(
            refused.starts_with("Failed to initialize: unable to resolve docker endpoint: context \"production\": context not found"),
            "{refused}"
        );
        let both = message(&["-c", "production", "-H", "unix:///x", "ps"]);
        assert!(both.contains("conflicting options"), "{both}");
    }

    #[test]
    fn a_context_of_the_configuration_counts() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().to_str().unwrap();
        let cli = |words: &[&str]| {
            let words: Vec<String> = [&["--config", config], words]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect();
            Cli::new(&words).unwrap()
        };
        cli(&["-H", "unix:///x"])
            .change_config(|config| config.use_context("there"))
            .unwrap();
        // Those who test may have a DOCKER_HOST.
        if variable("HOST").is_none() && variable("CONTEXT").is_none() {
            assert_eq!(cli(&[]).context_name(), "there");
        }
        assert_eq!(cli(&["-c", "else"]).context_name(), "else");
        assert_eq!(cli(&["-H", "unix:///x"]).context_name(), "default");
    }
}
