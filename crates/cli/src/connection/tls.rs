//! Daemons behind mutual TLS.
//!
//! The client speaks into one end of a socket pair, a thread copies the other end into TLS. So everything that takes over a
//! connection (`attach`, `exec`, builds) works with a plain socket whatever the daemon listens on.

use crate::failure::{Failure, chain};
use hull_api::client::Dialer;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

/// What a connection is proven with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Material {
    /// Who may sign the daemon's certificate; none: those whom the system trusts.
    pub(crate) ca: Option<PathBuf>,
    /// Our own certificate and its key.
    pub(crate) pair: Option<(PathBuf, PathBuf)>,
    /// Whoever answers is believed.
    pub(crate) unverified: bool,
}

/// Connects with TLS to `authority`.
pub(super) fn dialer(authority: &str, material: &Material) -> Result<Dialer, Failure> {
    let config = configuration(material)?;
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
        .trim_start_matches('[')
        .trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Failure::new(format!("{authority}: {error}")))?;
    let authority = authority.to_owned();
    let connector = TlsConnector::from(Arc::new(config));
    Ok(Box::new(move || {
        let stream = TcpStream::connect(&authority)?;
        // Keystrokes must not wait for more.
        stream.set_nodelay(true)?;
        let (ours, theirs) = UnixStream::pair()?;
        let (said, heard) = mpsc::channel();
        let (connector, name) = (connector.clone(), name.clone());
        std::thread::Builder::new()
            .name("tls".to_owned())
            .spawn(move || {
                let done = copy(&connector, name, stream, theirs, &said);
                // Whoever waits for the handshake hears why there is none.
                let _ = said.send(done);
            })?;
        heard.recv().map_err(io::Error::other)??;
        Ok(ours)
    }))
}

/// Shakes hands, says so, and copies until both sides have ended.
fn copy(
    connector: &TlsConnector,
    name: ServerName<'static>,
    stream: TcpStream,
    local: UnixStream,
    said: &mpsc::Sender<io::Result<()>>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        stream.set_nonblocking(true)?;
        local.set_nonblocking(true)?;
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let mut local = tokio::net::UnixStream::from_std(local)?;
        let mut remote = connector.connect(name, stream).await?;
        let _ = said.send(Ok(()));
        let copied = tokio::io::copy_bidirectional(&mut local, &mut remote).await;
        // A daemon that wants a certificate of ours says so only after the handshake of TLS 1.3.
        if let Err(error) = copied
            && error.kind() == io::ErrorKind::InvalidData
        {
            crate::say(&format!(
                "the daemon refuses the connection: {}",
                chain(&error)
            ));
        }
        local.shutdown().await
    })
}

fn configuration(material: &Material) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(error.to_string()))?;
    let builder = if material.unverified {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(roots(material.ca.as_deref())?)
    };
    let Some((certificate, key)) = &material.pair else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| unreadable(certificate, &error))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!(
        "Could not load X509 key pair: {}: {error}",
        path.display()
    ))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, &error))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let found = match ca {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let (added, _) = roots.add_parsable_certificates(found);
    match (added, ca) {
        (0, Some(path)) => Err(unreadable(path, &"no certificate in it")),
        _ => Ok(roots),
    }
}

/// Believes whoever answers, as `--tls` without `--tlsverify` asks for; signatures are checked all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
