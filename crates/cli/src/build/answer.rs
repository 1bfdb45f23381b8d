//! Answers to what a build asks.

use super::options::{Build, Secret};
use super::output::{Sink, unpack};
use super::store;
use super::{arriving, files};
use crate::context::Cli;
use crate::failure::{Outcome, client_message};
use hull_api::build::{Ask, Login, Wanted};
use hull_api::client::{Client, Hijacked};
use hull_api::image::AuthConfig;
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use tokio::task::JoinSet;

/// Who answers, and which build.
#[derive(Clone)]
pub(super) struct Answerer {
    client: Arc<Client>,
    build: String,
}

impl Answerer {
    pub(super) fn new(client: &Arc<Client>, build: String) -> Self {
        Self {
            client: Arc::clone(client),
            build,
        }
    }

    /// Begins to answer. What is given back is taken by one more of `takes`.
    pub(super) fn answer(&self, cli: &Cli, build: &Build, ask: Ask, takes: &mut Takes) {
        let number = ask.number;
        match ask.wanted {
            Wanted::Files(wanted) => {
                let directory = build.directories.get(&wanted.name).cloned();
                self.spawn(number, async move |me| match directory {
                    None => me.bytes(number, None).await,
                    Some(directory) => {
                        let connection = me.connect(number).await?;
                        in_thread(move || files::send(connection, &directory, &wanted)).await
                    }
                });
            }
            Wanted::Secret(id) => {
                let secret = build.secrets.get(&id).map(read_secret).transpose();
                self.spawn(number, async move |me| me.bytes(number, secret?).await);
            }
            Wanted::Login(host) => {
                // What a helper cannot say is no reason to end: the registry may be public.
                let login = cli.config().credentials(&host).unwrap_or_else(|error| {
                    crate::say(&format!("WARNING: {error}"));
                    AuthConfig::default()
                });
                self.spawn(number, async move |me| {
                    me.bytes(number, encoded(login)?).await
                });
            }
            Wanted::Agent(id) => {
                let there = build.agents.get(&id).map(|_| Vec::new());
                self.spawn(number, async move |me| me.bytes(number, there).await);
            }
            Wanted::AgentConnection(id) => {
                let path = build.agents.get(&id).cloned();
                self.spawn(number, async move |me| {
                    let path = path.ok_or_else(|| format!("there is no agent {id}"))?;
                    let agent = UnixStream::connect(&path)
                        .map_err(|error| format!("connect to {}: {error}", path.display()))?;
                    let connection = me.connect(number).await?;
                    in_thread(move || join(connection, agent).map_err(|error| error.to_string()))
                        .await
                });
            }
            Wanted::Take(place) => {
                let sink = build.sinks.get(&place).cloned();
                takes.spawn(self.clone().take(number, sink));
            }
            Wanted::Blob(blob) => {
                let path = build.stores.path(&blob);
                self.spawn(number, async move |me| match store::open(path)? {
                    None => me.bytes(number, None).await,
                    Some(file) => {
                        let connection = me.connect(number).await?;
                        in_thread(move || store::send(connection, file)).await
                    }
                });
            }
            Wanted::TakeBlob(blob) => {
                let path = build.stores.path(&blob);
                takes.spawn(self.clone().take_blob(number, path));
            }
        }
    }

    fn spawn<F>(&self, number: u64, work: impl FnOnce(Self) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), String>> + Send,
    {
        let me = self.clone();
        tokio::spawn(async move {
            if let Err(why) = work(me.clone()).await {
                // When it is not heard there, it is too late anyway.
                let _ = me.client.build_refuse(&me.build, number, &why).await;
            }
        });
    }

    async fn bytes(&self, number: u64, bytes: Option<Vec<u8>>) -> Result<(), String> {
        let sent = self.client.build_answer(&self.build, number, bytes).await;
        sent.map_err(|error| client_message(&error))
    }

    async fn connect(&self, number: u64) -> Result<Hijacked, String> {
        let connected = self.client.build_connect(&self.build, number).await;
        connected.map_err(|error| client_message(&error))
    }

    /// Takes a blob, if it is not there.
    async fn take_blob(self, number: u64, path: Option<PathBuf>) -> Outcome {
        let Some(path) = path else {
            let refused = "the client has no place for it";
            let sent = self.client.build_refuse(&self.build, number, refused);
            return Ok(sent.await?);
        };
        if path.exists() {
            let sent = self.client.build_answer(&self.build, number, None);
            return Ok(sent.await?);
        }
        let body = self.client.build_take(&self.build, number).await?;
        store::take(body, &path).await
    }

    /// Takes what is given back.
    async fn take(self, number: u64, sink: Option<Sink>) -> Outcome {
        let Some(sink) = sink else {
            let refused = "the client has no place for it";
            let sent = self.client.build_refuse(&self.build, number, refused);
            return Ok(sent.await?);
        };
        let body = self.client.build_take(&self.build, number).await?;
        match sink {
            Sink::File(path) => crate::transfer::received(body, &path).await,
            Sink::Layout(path) => {
                arriving::read(body, move |archive| store::unpack(archive, &path)).await
            }
            Sink::Directory(path) => {
                arriving::read(body, move |archive| unpack(archive, &path)).await
            }
        }
    }
}

/// What is being taken.
pub(super) type Takes = JoinSet<Outcome>;

async fn in_thread(
    work: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Result<(), String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| error.to_string())?
}

fn read_secret(secret: &Secret) -> Result<Vec<u8>, String> {
    match secret {
        Secret::File(path) => {
            fs_err::read(path).map_err(|error| format!("could not read a secret: {error}"))
        }
        Secret::Variable(name) => {
            let value = std::env::var_os(name).unwrap_or_default();
            Ok(std::os::unix::ffi::OsStringExt::into_vec(value))
        }
    }
}

/// Credentials as the daemon wants them; `None`: there are none.
fn encoded(auth: AuthConfig) -> Result<Option<Vec<u8>>, String> {
    let login = if !auth.registry_token.is_empty() {
        Login {
            secret: auth.registry_token,
            registry_token: true,
            ..Login::default()
        }
    } else if !auth.identity_token.is_empty() {
        Login {
            secret: auth.identity_token,
            ..Login::default()
        }
    } else if auth.username.is_empty() {
        return Ok(None);
    } else {
        Login {
            username: auth.username,
            secret: auth.password,
            ..Login::default()
        }
    };
    let bytes = serde_json::to_vec(&login).map_err(|error| error.to_string())?;
    Ok(Some(bytes))
}

/// Joins a connection with an agent's until both have ended.
fn join(connection: Hijacked, agent: UnixStream) -> io::Result<()> {
    let (mut from_agent, mut to_build) = (agent.try_clone()?, connection.socket.try_clone()?);
    let back = thread::spawn(move || {
        let copied = io::copy(&mut from_agent, &mut to_build);
        // It may be closed already.
        let _ = to_build.shutdown(Shutdown::Write);
        copied
    });
    let (mut from_build, mut to_agent) = (connection.socket, agent);
    to_agent.write_all(&connection.early)?;
    let copied = io::copy(&mut from_build, &mut to_agent);
    let _ = to_agent.shutdown(Shutdown::Write);
    // A thread that panicked has nothing more to say.
    let _ = back.join();
    copied.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_all_kinds() {
        let text = |auth: AuthConfig| {
            encoded(auth)
                .unwrap()
                .map(|bytes| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(text(AuthConfig::default()), None);
        let auth = AuthConfig {
            username: "u".to_owned(),
            password: "p".to_owned(),
            ..AuthConfig::default()
        };
        assert_eq!(
            text(auth).unwrap(),
            r#"{"username":"u","secret":"p","registry_token":false}"#
        );
        let auth = AuthConfig {
            identity_token: "t".to_owned(),
            ..AuthConfig::default()
        };
        assert_eq!(
            text(auth).unwrap(),
            r#"{"username":"","secret":"t","registry_token":false}"#
        );
    }
}
