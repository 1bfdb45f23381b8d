//! `hosts.toml` and `certs.d`, against servers that really require what is set there.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests"
)]

mod server;

use hull_registry::{Client, Config, Credentials, Error, Kind, Proxies};
use hull_spec::Reference;
use hull_spec::image::media_type as mt;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use server::{Reply, Seen, Server, broken, config, failure, text, with};
use std::path::Path;
use std::sync::Arc;

const MANIFEST: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

fn manifest(_: &Seen, _: usize) -> Reply {
    with(text(200, MANIFEST), "content-type", mt::OCI_MANIFEST)
}

fn client(directory: &Path) -> Client {
    Client::new(Config {
        host_dirs: vec![directory.to_owned()],
        ..config()
    })
}

async fn resolve(client: &Client, reference: &Reference) -> Result<String, Error> {
    let nobody = Credentials::Anonymous;
    let resolved = client.resolve(reference, &nobody).await?;
    Ok(resolved.source.to_string())
}

fn put(directory: &Path, host: &str, name: &str, text: &str) {
    let directory = directory.join(host);
    fs_err::create_dir_all(&directory).unwrap();
    fs_err::write(directory.join(name), text).unwrap();
}

/// An authority, and certificates of it.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, for a server on loopback or for a client.
    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// TLS of a server, which may require certificates of `clients`.
    fn server(&self, clients: Option<&Self>) -> Arc<rustls::ServerConfig> {
        hull_registry::install_crypto_provider();
        let (certificate, key) = self.issue();
        let builder = rustls::ServerConfig::builder();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let chain = vec![certificate.der().clone()];
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

#[tokio::test]
async fn a_private_authority_is_believed_for_its_host_alone() {
    let (good, bad) = (Authority::new(), Authority::new());
    let server = Server::secured(good.server(None), manifest).await;
    let reference = server.reference("team/app:1");
    let host = server.address.to_string();
    let directory = tempfile::tempdir().unwrap();
    // Loopback may be spoken to without any verification, as with Docker …
    resolve(&client(directory.path()), &reference)
        .await
        .unwrap();
    // … but who names an authority wants it asked.
    put(directory.path(), &host, "ca.crt", &bad.pem());
    let error = resolve(&client(directory.path()), &reference)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("x509: certificate signed by unknown authority"),
        "{error}"
    );
    let renewing = client(directory.path());
    assert!(resolve(&renewing, &reference).await.is_err());
    put(directory.path(), &host, "ca.crt", &good.pem());
    resolve(&renewing, &reference).await.unwrap();
    put(directory.path(), &host, "ca.crt", "nonsense");
    put(directory.path(), &host, "hosts.toml", "skip_verify = true");
    resolve(&client(directory.path()), &reference)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_required() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = Server::secured(authority.server(Some(&clients)), manifest).await;
    let reference = server.reference("team/app:1");
    let host = server.address.to_string();
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), &host, "ca.crt", &authority.pem());
    assert!(
        resolve(&client(directory.path()), &reference)
            .await
            .is_err()
    );
    let (certificate, key) = clients.issue();
    put(directory.path(), &host, "client.cert", &certificate.pem());
    put(directory.path(), &host, "client.key", &key.serialize_pem());
    resolve(&client(directory.path()), &reference)
        .await
        .unwrap();
    // The same by hosts.toml, with paths relative to it.
    put(
        directory.path(),
        &host,
        "hosts.toml",
        "ca = \"ca.crt\"\nclient = [[\"client.cert\", \"client.key\"]]\n",
    );
    resolve(&client(directory.path()), &reference)
        .await
        .unwrap();
    put(directory.path(), &host, "hosts.toml", "ca = \"ca.crt\"\n");
    assert!(
        resolve(&client(directory.path()), &reference)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn mirrors_of_any_registry_are_asked_in_order_and_told_whom_they_stand_for() {
    let absent = Server::start(|_, _| failure(404, "MANIFEST_UNKNOWN", "manifest unknown")).await;
    let mirror = Server::start(manifest).await;
    let registry = Server::start(manifest).await;
    let directory = tempfile::tempdir().unwrap();
    let hosts = format!(
        "[host.\"{}\"]\ncapabilities = [\"pull\"]\n[host.\"{}\"]\n[host.\"{}\"]\noverride_path = true\n[host.\"{}\".header]\nx-key = \"secret\"\n",
        registry.url("/never"),
        absent.url(""),
        mirror.url("/own/path"),
        mirror.url("/own/path"),
    );
    let host = registry.address.to_string();
    put(directory.path(), &host, "hosts.toml", &hosts);
    let alice = Credentials::Password {
        username: "alice".into(),
        password: "hunter2".into(),
    };
    let reference = registry.reference("team/app:1");
    let found = client(directory.path())
        .resolve(&reference, &alice)
        .await
        .unwrap();
    assert!(
        found.source.as_str().starts_with(&mirror.url("/own/path")),
        "{}",
        found.source
    );
    let seen = mirror.seen();
    let asked = seen.last().unwrap();
    assert_eq!(asked.path, "/own/path/team/app/manifests/1");
    assert_eq!(asked.query, format!("ns={}", host.replace(':', "%3A")));
    assert_eq!(asked.header("x-key"), Some("secret"));
    assert_eq!(absent.count("/v2/team/app/manifests/1"), 1);
    assert_eq!(
        registry.seen().len(),
        0,
        "a mirror for blobs alone is not asked for tags"
    );
    // Pushes go past mirrors that are not said to take them.
    let pusher = client(directory.path())
        .pusher(&reference, &alice)
        .await
        .unwrap();
    pusher.has_blob(&server::digest(b"x")).await.unwrap();
    assert_eq!(registry.seen().len(), 1);
}

#[tokio::test]
async fn a_default_serves_registries_without_settings_of_their_own() {
    let mirror = Server::start(manifest).await;
    let directory = tempfile::tempdir().unwrap();
    let hosts = format!("[host.\"{}\"]\n", mirror.url(""));
    put(directory.path(), "_default", "hosts.toml", &hosts);
    let reference: Reference = "registry.invalid/team/app:1".parse().unwrap();
    let source = resolve(&client(directory.path()), &reference)
        .await
        .unwrap();
    assert!(source.starts_with(&mirror.url("")), "{source}");
    put(
        directory.path(),
        "registry.invalid",
        "hosts.toml",
        "= nonsense",
    );
    let error = resolve(&client(directory.path()), &reference)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidRequest);
    assert!(error.to_string().contains("registry.invalid"), "{error}");
}

#[tokio::test]
async fn proxies_are_asked_but_for_this_machine() {
    let proxy = Server::start(manifest).await;
    let through = |none: &str| {
        Client::new(Config {
            insecure: vec![
                "reg.invalid:80".parse().unwrap(),
                "direct.invalid:80".parse().unwrap(),
            ],
            proxies: Proxies {
                http: Some(proxy.address.to_string()),
                https: Some("http://127.0.0.1:1".to_owned()),
                none: Some(none.to_owned()),
            },
            ..config()
        })
    };
    let reference: Reference = "reg.invalid:80/team/app:1".parse().unwrap();
    resolve(&through("direct.invalid"), &reference)
        .await
        .unwrap();
    let seen = proxy.seen();
    assert_eq!(seen.last().unwrap().header("host"), Some("reg.invalid"));
    let reference: Reference = "direct.invalid:80/team/app:1".parse().unwrap();
    assert!(
        resolve(&through("direct.invalid"), &reference)
            .await
            .is_err()
    );
    let near = Server::start(manifest).await;
    resolve(&through(""), &near.reference("team/app:1"))
        .await
        .unwrap();
    let broken = Client::new(Config {
        proxies: Proxies {
            http: Some("http://user:hidden@[".to_owned()),
            ..Proxies::default()
        },
        ..config()
    });
    let error = resolve(&broken, &"reg.invalid/a:1".parse().unwrap())
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn a_password_that_was_told_over_tls_is_not_told_again_without() {
    let server = Server::secured(Authority::new().server(None), |seen, _| {
        if seen.path == "/token" {
            return broken(200, "{".into(), 100);
        }
        let host = seen.header("host").unwrap();
        let challenge = format!("Bearer realm=\"https://{host}/token\"");
        with(text(401, ""), "www-authenticate", &challenge)
    })
    .await;
    let alice = Credentials::Password {
        username: "alice".into(),
        password: "hunter2".into(),
    };
    // Loopback may be spoken to over plain HTTP, where TLS is not answered.
    let address = server.address.to_string();
    let error = Client::new(config())
        .login(&address, &alice)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("https://{address}/token")), "{text}");
    assert_eq!(server.count("/token"), 1);
}

#[tokio::test]
async fn signing_in_uses_what_is_set_for_the_registry() {
    let authority = Authority::new();
    let server = Server::secured(authority.server(None), |seen, _| {
        match (seen.header("x-key"), seen.header("authorization")) {
            (Some("secret"), Some(_)) => text(200, "{}"),
            _ => with(text(401, ""), "www-authenticate", "Basic realm=\"x\""),
        }
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let hosts = format!(
        "server = \"https://{}\"\nca = \"ca.crt\"\n[header]\nx-key = \"secret\"\n",
        server.address
    );
    // By a name that only the settings lead from.
    put(
        directory.path(),
        "registry.invalid",
        "ca.crt",
        &authority.pem(),
    );
    put(directory.path(), "registry.invalid", "hosts.toml", &hosts);
    let alice = Credentials::Password {
        username: "alice".into(),
        password: "hunter2".into(),
    };
    let token = client(directory.path())
        .login("registry.invalid", &alice)
        .await
        .unwrap();
    assert!(token.is_none());
}
