//! `hull login`.

use crate::command::{Arity, Command};
use crate::config_file::{ConfigFile, HUB, server_key};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag, value};
use crate::terminal;
use hull_api::image::AuthConfig;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{self, BufRead as _, Read as _};

static FLAGS: &[Flag] = &[
    value("password", "string", "Password or access token").short('p'),
    flag("password-stdin", "Read the password from standard input"),
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

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let server = matches
        .args
        .first()
        .map_or(HUB, |server| server_key(server));
    let auth = credentials(matches, server)?;
    let client = cli.client()?;
    let reply = cli.block_on(client.check_auth(&auth))?;
    let kept = AuthConfig {
        identity_token: reply.identity_token,
        ..auth
    };
    let path = cli.config_dir().join("config.json");
    let mut config = ConfigFile::load(&path)?;
    if config.store(&kept)? {
        crate::say(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning.\n",
            path.display()
        ));
    }
    if !reply.status.is_empty() {
        crate::print(&format!("{}\n", reply.status));
    }
    Ok(())
}

fn credentials(matches: &Matches, server: &str) -> Result<AuthConfig, Failure> {
    let mut username = matches.text("username").to_owned();
    let mut password = matches.text("password").to_owned();
    if matches.bool("password-stdin") {
        if matches.changed("password") {
            return Err(Failure::new(
                "--password and --password-stdin are mutually exclusive",
            ));
        }
        if username.is_empty() {
            return Err(Failure::new(
                "Must provide --username with --password-stdin",
            ));
        }
        io::stdin().lock().read_to_string(&mut password)?;
        password = password.trim_end_matches(['\n', '\r']).to_owned();
    } else if !password.is_empty() {
        crate::say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if (username.is_empty() || password.is_empty()) && !terminal::stdin_is_terminal() {
        return Err(Failure::new(
            "Error: Cannot perform an interactive login from a non TTY device",
        ));
    }
    if username.is_empty() {
        username = ask("Username: ")?;
    }
    if password.is_empty() {
        password = ask_hidden("Password: ")?;
    }
    if username.is_empty() || password.is_empty() {
        return Err(Failure::new("Error: Non-null Username Required"));
    }
    Ok(AuthConfig {
        username,
        password,
        server_address: server.to_owned(),
        ..AuthConfig::default()
    })
}

fn ask(prompt: &str) -> io::Result<String> {
    crate::print(prompt);
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Asks without showing what is typed.
fn ask_hidden(prompt: &str) -> io::Result<String> {
    let saved = tcgetattr(io::stdin())?;
    let mut silent = saved.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Now, &silent)?;
    let answer = ask(prompt);
    tcsetattr(io::stdin(), OptionalActions::Now, &saved)?;
    crate::print("\n");
    answer
}
