//! `hull login`.

use crate::command::{Arity, Command, program};
use crate::config_file::{ConfigFile, HUB, Kept, host_of, server_key, warn_of_environment};
use crate::context::Cli;
use crate::failure::{Failure, Outcome, client_message};
use crate::flags::{Flag, Matches, flag, value};
use crate::terminal;
use hull_api::client;
use hull_api::image::AuthConfig;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead as _, Read as _};

static FLAGS: &[Flag] = &[
    value(
        "password",
        "string",
        "Password or access token; others on this host can see it",
    )
    .short('p'),
    flag(
        "password-stdin",
        "Read the password or access token from standard input",
    ),
    value("username", "string", "User name").short('u'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["login"],
    usage: "[OPTIONS] [SERVER]",
    about: "Keep the credentials for a registry (Docker Hub unless another is named)",
    flags: &[FLAGS],
    arity: Arity::AtMost(1),
    interspersed: true,
    run,
};

/// What was typed.
struct Typed {
    server: String,
    username: String,
    password: String,
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let typed = typed(matches)?;
    warn_of_environment();
    let path = cli.config_dir().join("config.json");
    let mut config = ConfigFile::load(&path)?.with_environment()?;
    let mut known = AuthConfig::default();
    if typed.username.is_empty() && typed.password.is_empty() {
        // A helper that fails has nothing; the user is asked then.
        known = config.credentials(&typed.server).unwrap_or_default();
        known.server_address.clone_from(&typed.server);
        if !known.username.is_empty() && !known.password.is_empty() {
            match with_known(cli, &known) {
                Ok(status) => return finish(&mut config, known, status, &path),
                Err(error) => say_refusal(&error),
            }
        }
    }
    let auth = ask_for(cli, typed, &known.username)?;
    let status = cli.block_on(cli.client()?.check_auth(&auth))?;
    finish(&mut config, auth, status, &path)
}

/// The registry's answer, kept and told.
fn finish(
    config: &mut ConfigFile,
    mut auth: AuthConfig,
    reply: client::AuthReply,
    path: &std::path::Path,
) -> Outcome {
    if !reply.identity_token.is_empty() {
        auth.password.clear();
        auth.identity_token = reply.identity_token;
    }
    let kept = config
        .store(&auth)
        .map_err(|error| Failure::new(format!("Error saving credentials: {error}")))?;
    if kept == Kept::InPlainText {
        crate::say(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            path.display()
        ));
    }
    if !reply.status.is_empty() {
        crate::print(&format!("{}\n", reply.status));
    }
    Ok(())
}

fn with_known(cli: &Cli, known: &AuthConfig) -> Result<client::AuthReply, Failure> {
    let program = program();
    crate::say(&format!(
        "Authenticating with existing credentials... [Username: {}]\n\n Info -> To login with a different account, run '{program} logout' followed by '{program} login'\n\n",
        known.username
    ));
    Ok(cli.block_on(cli.client()?.check_auth(known))?)
}

fn say_refusal(failure: &Failure) {
    match failure {
        Failure::Client(client::Error::Daemon { status, .. }) if *status == 401 => {
            crate::say("Stored credentials invalid or expired");
        }
        Failure::Client(error) => {
            crate::say(&format!(
                "Login did not succeed, error: {}",
                client_message(error)
            ));
        }
        other => crate::say(&other.message().unwrap_or_default()),
    }
}

fn typed(matches: &Matches) -> Result<Typed, Failure> {
    let empty = |name: &str| matches.changed(name) && matches.text(name).is_empty();
    if matches.changed("password") && matches.bool("password-stdin") {
        return Err(Failure::new(
            "conflicting options: cannot specify both --password and --password-stdin",
        ));
    }
    for name in ["username", "password"] {
        if empty(name) {
            return Err(Failure::new(format!("{name} is empty")));
        }
    }
    let mut password = matches.text("password").to_owned();
    if matches.bool("password-stdin") {
        if matches.text("username").is_empty() {
            return Err(Failure::new(
                "the --password-stdin option requires --username to be set",
            ));
        }
        io::stdin().lock().read_to_string(&mut password)?;
        let line = password.strip_suffix('\n').unwrap_or(&password);
        password = line.strip_suffix('\r').unwrap_or(line).to_owned();
        if password.is_empty() {
            return Err(Failure::new(
                "Error: Cannot perform an interactive login from a non TTY device",
            ));
        }
    } else if !password.is_empty() {
        crate::say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let server = match matches.args.first().map(String::as_str) {
        None | Some("") => HUB,
        Some(HUB) => HUB,
        Some(server) => server_key(host_of(server)),
    };
    Ok(Typed {
        server: server.to_owned(),
        username: matches.text("username").trim().to_owned(),
        password,
    })
}

/// Asks for what was not typed.
fn ask_for(cli: &Cli, typed: Typed, known: &str) -> Result<AuthConfig, Failure> {
    let Typed {
        server,
        mut username,
        mut password,
    } = typed;
    if (username.is_empty() || password.is_empty()) && !terminal::stdin_is_terminal() {
        return Err(Failure::new(
            "Error: Cannot perform an interactive login from a non TTY device",
        ));
    }
    if username.is_empty() {
        if server == HUB {
            crate::print(
                "Log in with your Docker ID or email address to push and pull images from Docker Hub.\nA password or a personal access token will do.\n\n",
            );
        }
        username = match known {
            "" => ask("Username: ")?,
            known => ask(&format!("Username ({known}): "))?,
        };
        if username.is_empty() {
            known.clone_into(&mut username);
        }
        if username.is_empty() {
            return Err(Failure::new("Error: Non-null Username Required"));
        }
    }
    if password.is_empty() {
        password = ask_hidden(cli, "Password: ")?;
        if password.is_empty() {
            return Err(Failure::new("Error: Password Required"));
        }
    }
    Ok(AuthConfig {
        username,
        password,
        server_address: server,
        ..AuthConfig::default()
    })
}

fn ask(prompt: &str) -> io::Result<String> {
    crate::print(prompt);
    read_line()
}

fn read_line() -> io::Result<String> {
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Self> {
        let saved = tcgetattr(io::stdin())?;
        let mut silent = saved.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Self(saved))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Asks without showing what is typed. An interrupt ends the command with the terminal as it was.
fn ask_hidden(cli: &Cli, prompt: &str) -> Result<String, Failure> {
    let silence = Silence::begin()?;
    crate::print(prompt);
    let answer = cli.block_on(async {
        tokio::select! {
            answer = tokio::task::spawn_blocking(read_line) => match answer {
                Ok(answer) => answer.map_err(Failure::from),
                Err(error) => Err(Failure::new(error.to_string())),
            },
            _ = tokio::signal::ctrl_c() => Err(Failure::Exit(130)),
        }
    });
    drop(silence);
    crate::print("\n");
    answer
}
