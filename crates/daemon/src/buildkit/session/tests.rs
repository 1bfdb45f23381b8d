use super::*;
use crate::buildkit::grpc;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::filesync::v1 as filesync;
use bollard_buildkit_proto::moby::sshforward::v1 as sshforward;
use filesync::auth_server::{Auth, AuthServer};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::HeaderValue;
use sshforward::ssh_server::{Ssh, SshServer};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// A session with a client that serves this.
pub(in crate::buildkit) async fn connect(
    services: Routes,
    methods: &[&str],
    shared_key: &str,
) -> (Arc<Sessions>, Caller, CancellationToken) {
    let sessions = Arc::new(Sessions::default());
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::spawn(grpc::serve(far, services));
    let introduction = Introduction {
        id: "client".to_owned(),
        shared_key: shared_key.to_owned(),
        methods: methods
            .iter()
            .map(|method| method.to_ascii_lowercase())
            .collect(),
    };
    let serving = Arc::clone(&sessions);
    tokio::spawn(async move { serving.serve(introduction, near).await });
    let session = sessions.get("client", SESSION_WAIT).await.unwrap();
    let cancel = CancellationToken::new();
    let caller = Caller::new(session, Handle::current(), cancel.clone());
    (sessions, caller, cancel)
}

/// Does what blocks.
pub(in crate::buildkit) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

struct Client;

#[tonic::async_trait]
impl Secrets for Client {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let data = match request.into_inner().id.as_str() {
            "token" => b"s3cret".to_vec(),
            "huge" => vec![0; 600 << 10],
            "broken" => return Err(Status::internal("the disk is on fire")),
            "slow" => std::future::pending().await,
            id => return Err(Status::not_found(format!("secret {id} not found"))),
        };
        Ok(Response::new(GetSecretResponse { data }))
    }
}

#[tonic::async_trait]
impl Auth for Client {
    async fn credentials(
        &self,
        request: Request<filesync::CredentialsRequest>,
    ) -> Result<Response<filesync::CredentialsResponse>, Status> {
        let known = request.into_inner().host == "registry.example";
        let text = |text: &str| {
            if known {
                text.to_owned()
            } else {
                String::new()
            }
        };
        Ok(Response::new(filesync::CredentialsResponse {
            username: text("me"),
            secret: text("pass"),
        }))
    }

    async fn fetch_token(
        &self,
        _: Request<filesync::FetchTokenRequest>,
    ) -> Result<Response<filesync::FetchTokenResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_token_authority(
        &self,
        _: Request<filesync::GetTokenAuthorityRequest>,
    ) -> Result<Response<filesync::GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn verify_token_authority(
        &self,
        _: Request<filesync::VerifyTokenAuthorityRequest>,
    ) -> Result<Response<filesync::VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl Ssh for Client {
    async fn check_agent(
        &self,
        request: Request<sshforward::CheckAgentRequest>,
    ) -> Result<Response<sshforward::CheckAgentResponse>, Status> {
        match request.into_inner().id.as_str() {
            "default" => Ok(Response::new(sshforward::CheckAgentResponse {})),
            _ => Err(Status::not_found("unset ssh forward key")),
        }
    }

    type ForwardAgentStream = BoxStream<'static, Result<sshforward::BytesMessage, Status>>;

    /// Answers with what it is sent, in capitals.
    async fn forward_agent(
        &self,
        request: Request<Streaming<sshforward::BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        assert_eq!(
            request.metadata().get("buildkit.ssh.id").unwrap(),
            "default"
        );
        let answers = request.into_inner().map(|message| {
            let data = message?.data.to_ascii_uppercase();
            Ok(sshforward::BytesMessage { data })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

async fn client() -> (Arc<Sessions>, Caller, CancellationToken) {
    let services = Routes::new(SecretsServer::new(Client))
        .add_service(AuthServer::new(Client))
        .add_service(SshServer::new(Client));
    connect(services, services::METHODS, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_come_from_the_client() {
    let (_sessions, caller, cancel) = client().await;
    blocking(move || {
        assert_eq!(caller.secret("token").unwrap().unwrap(), b"s3cret");
        assert_eq!(caller.secret("other").unwrap(), None);
        let broken = caller.secret("broken").unwrap_err();
        assert_eq!(broken.to_string(), "the disk is on fire");
        caller.secret("huge").unwrap_err();
        // The session bears all that.
        assert!(caller.secret("token").unwrap().is_some());
        let waiting = caller.clone();
        let asked = std::thread::spawn(move || waiting.secret("slow"));
        cancel.cancel();
        let cancelled = asked.join().unwrap().unwrap_err();
        assert!(matches!(cancelled, SessionError::Cancelled));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_the_client() {
    let (_sessions, caller, _cancel) = client().await;
    blocking(move || {
        let known = caller.credentials("registry.example").unwrap().unwrap();
        assert_eq!(
            (known.username.as_str(), known.secret.as_str()),
            ("me", "pass")
        );
        assert_eq!(format!("{known:?}"), "Credentials(…)");
        assert_eq!(caller.credentials("other.example").unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_behind_a_socket_until_it_is_let_go() {
    let (_sessions, caller, _cancel) = client().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent");
    blocking(move || {
        let listener = UnixListener::bind(&path).unwrap();
        assert!(
            caller
                .forward_agent("none", listener.try_clone().unwrap())
                .unwrap()
                .is_none()
        );
        let agent = caller.forward_agent("default", listener).unwrap().unwrap();
        let mut connections: Vec<_> = (0..2)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        for connection in &mut connections {
            connection.write_all(b"sign this").unwrap();
            let mut answer = [0; 9];
            connection.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"SIGN THIS");
        }
        connections[0].shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        connections[0].read_to_end(&mut rest).unwrap();
        drop(agent);
        connections[1].read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_does_not_serve_is_not_asked_for() {
    let (_sessions, caller, _cancel) = connect(Routes::default(), &[], "").await;
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("agent")).unwrap();
    blocking(move || {
        assert_eq!(caller.secret("token").unwrap(), None);
        assert_eq!(caller.credentials("registry.example").unwrap(), None);
        assert!(caller.forward_agent("default", listener).unwrap().is_none());
        let missing = caller.channel("/a/B").unwrap_err();
        assert_eq!(
            missing.to_string(),
            "method /a/B not supported by the client"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_there_as_long_as_its_connection() {
    let (sessions, caller, _cancel) = client().await;
    assert!(sessions.has("client"));
    let found = sessions.get("context:client", SESSION_WAIT).await.unwrap();
    assert!(found.serves(services::METHODS[0]));
    assert!(sessions.get("other", Duration::ZERO).await.is_none());
    let (near, far) = tokio::io::duplex(1 << 10);
    let same = Introduction {
        id: "client".to_owned(),
        ..Introduction::default()
    };
    let second = sessions.serve(same, near).await.unwrap_err();
    assert_eq!(second.to_string(), "session client already exists");
    drop(far);
    drop(caller);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_or_speaks_something_else_is_forgotten() {
    let sessions = Arc::new(Sessions::default());
    for garbage in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 4096]] {
        let (near, mut far) = tokio::io::duplex(64 << 10);
        let introduction = Introduction {
            id: "client".to_owned(),
            ..Introduction::default()
        };
        let serving = Arc::clone(&sessions);
        let served = tokio::spawn(async move { serving.serve(introduction, near).await });
        tokio::io::AsyncWriteExt::write_all(&mut far, garbage)
            .await
            .unwrap();
        drop(far);
        let _ = served.await.unwrap();
        assert!(!sessions.has("client"));
    }
}

#[test]
fn an_introduction_is_read_from_headers() {
    let mut headers = HeaderMap::new();
    Introduction::read(&headers).unwrap_err();
    headers.insert(
        "x-docker-expose-session-uuid",
        HeaderValue::from_static("id"),
    );
    headers.insert(
        "x-docker-expose-session-sharedkey",
        HeaderValue::from_static("key"),
    );
    for method in ["/a.B/C", "/d.E/F"] {
        let value = HeaderValue::from_static(method);
        headers.append("x-docker-expose-session-grpc-method", value);
    }
    let introduction = Introduction::read(&headers).unwrap();
    assert_eq!(introduction.id(), "id");
    assert_eq!(introduction.shared_key, "key");
    assert_eq!(introduction.methods.len(), 2);
    let long = HeaderValue::from_str(&"x".repeat(5000)).unwrap();
    headers.insert("x-docker-expose-session-uuid", long);
    Introduction::read(&headers).unwrap_err();
}
