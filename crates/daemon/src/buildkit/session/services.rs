//! What a client can be asked for in one call each: secrets, credentials, and connections to its agents.

use super::{Caller, Channel, SessionError};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::GetSecretRequest;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
use bollard_buildkit_proto::moby::filesync::v1::CredentialsRequest;
use bollard_buildkit_proto::moby::filesync::v1::auth_client::AuthClient;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_client::SshClient;
use bollard_buildkit_proto::moby::sshforward::v1::{BytesMessage, CheckAgentRequest};
use std::os::unix::net::UnixListener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Request;
use tonic::metadata::MetadataValue;

/// The longest secret, bytes: BuildKit's limit.
const MAX_SECRET: usize = 500 << 10;
/// How much of a message is no payload.
const MESSAGE_OVERHEAD: usize = 1 << 10;
/// The bytes of an agent's connection that are passed on in one message.
const PIECE: usize = 32 << 10;
/// How many processes may talk to an agent at once.
const MAX_AGENT_CONNECTIONS: usize = 64;

const GET_SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
const CHECK_AGENT: &str = "/moby.sshforward.v1.SSH/CheckAgent";

/// How to log in to a registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Empty: the secret is an identity token.
    pub(crate) username: String,
    pub(crate) secret: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Caller {
    /// A secret's bytes; `None` when the client does not have it.
    ///
    /// # Errors
    /// What the client said, and for a secret that is too long.
    pub(crate) fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, SessionError> {
        let channel = match self.channel(GET_SECRET) {
            Err(SessionError::Unsupported(_)) => return Ok(None),
            channel => channel?,
        };
        let mut client = SecretsClient::with_origin(channel, Channel::origin())
            .max_decoding_message_size(MAX_SECRET + MESSAGE_OVERHEAD);
        let request = GetSecretRequest {
            id: id.to_owned(),
            ..GetSecretRequest::default()
        };
        match self.wait(client.get_secret(request)) {
            Ok(answer) => Ok(Some(answer.into_inner().data)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How to log in to a registry; `None`: the client knows nothing about it.
    ///
    /// # Errors
    /// What the client said.
    pub(crate) fn credentials(&self, host: &str) -> Result<Option<Credentials>, SessionError> {
        let channel = match self.channel(CREDENTIALS) {
            Err(SessionError::Unsupported(_)) => return Ok(None),
            channel => channel?,
        };
        let mut client = AuthClient::with_origin(channel, Channel::origin());
        let request = CredentialsRequest {
            host: host.to_owned(),
        };
        let answer = match self.wait(client.credentials(request)) {
            Ok(answer) => answer.into_inner(),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let known = !answer.username.is_empty() || !answer.secret.is_empty();
        Ok(known.then_some(Credentials {
            username: answer.username,
            secret: answer.secret,
        }))
    }

    /// Passes what connects to `listener` on to the client's agent `id` until the returned value is dropped;
    /// `None` when the client has none.
    ///
    /// # Errors
    /// What the client said.
    pub(crate) fn forward_agent(
        &self,
        id: &str,
        listener: UnixListener,
    ) -> Result<Option<DropGuard>, SessionError> {
        let channel = match self.channel(CHECK_AGENT) {
            Err(SessionError::Unsupported(_)) => return Ok(None),
            channel => channel?,
        };
        let mut client = SshClient::with_origin(channel, Channel::origin());
        let request = CheckAgentRequest { id: id.to_owned() };
        match self.wait(client.check_agent(request)) {
            Err(error) if error.is_not_found() => return Ok(None),
            checked => checked?,
        };
        let value = MetadataValue::try_from(id).map_err(|_| {
            SessionError::Protocol(format!("the id {id:?} of an agent is no header's value"))
        })?;
        let failed = |source| SessionError::local("listen for an agent's connections", source);
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = {
            let _runtime = self.runtime().enter();
            tokio::net::UnixListener::from_std(listener).map_err(failed)?
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        self.beside(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = accept(listener, client, value) => {}
            }
        });
        Ok(Some(stop.drop_guard()))
    }
}

type Agent = SshClient<Channel>;

/// Takes connections, and drops them all when it is dropped.
async fn accept(
    listener: tokio::net::UnixListener,
    agent: Agent,
    id: MetadataValue<tonic::metadata::Ascii>,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let full = connections.len() >= MAX_AGENT_CONNECTIONS;
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if !full => match accepted {
                Ok((connection, _)) => {
                    connections.spawn(forward(connection, agent.clone(), id.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept an agent's connection");
                    return;
                }
            },
        }
    }
}

/// Joins a connection with the client's agent until one of them ends.
async fn forward(
    connection: UnixStream,
    mut agent: Agent,
    id: MetadataValue<tonic::metadata::Ascii>,
) {
    let (sender, outgoing) = mpsc::channel::<BytesMessage>(4);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request.metadata_mut().insert("buildkit.ssh.id", id);
    let (mut read, mut write) = connection.into_split();
    let input = async move {
        let mut buffer = vec![0; PIECE];
        while let Ok(length @ 1..) = read.read(&mut buffer).await {
            let data = buffer[..length].to_vec();
            if sender.send(BytesMessage { data }).await.is_err() {
                return;
            }
        }
    };
    let output = async {
        let mut answers = match agent.forward_agent(request).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => {
                tracing::debug!(%status, "a client did not take a connection to its agent");
                return;
            }
        };
        while let Ok(Some(message)) = answers.message().await {
            if write.write_all(&message.data).await.is_err() {
                return;
            }
        }
    };
    tokio::pin!(output);
    tokio::select! {
        () = &mut output => {}
        // Its end is passed on alone: an answer may still be on its way.
        () = input => output.await,
    }
}

#[cfg(test)]
pub(super) const METHODS: &[&str] = &[GET_SECRET, CREDENTIALS, CHECK_AGENT];
