//! Whom to trust, and who we are.

use crate::words::cause;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fs::OpenOptions;
use std::io::Read as _;
use std::sync::Arc;

/// The most bytes of a file of certificates.
const MOST_BYTES: u64 = 16 << 20;

/// Files and wishes, as the options have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    /// Certificates of authorities to trust.
    pub(crate) authorities: Option<String>,
    /// The host's authorities as well as these.
    pub(crate) and_the_hosts: bool,
    /// Our certificate and key.
    pub(crate) identity: Option<(String, String)>,
    /// Whoever answers is trusted.
    pub(crate) anybody: bool,
}

/// What a connection needs.
///
/// # Errors
/// A file that cannot be read, in dockerd's words.
pub(crate) fn config(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if trust.anybody {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(authorities(trust)?)
    };
    let config = match &trust.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let wrong = |why: String| format!("Could not load X509 key pair: {why}");
            let chain = certificates(certificate).map_err(wrong)?;
            let key = PrivateKeyDer::from_pem_slice(&read(key).map_err(wrong)?)
                .map_err(|error| wrong(error.to_string()))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| wrong(error.to_string()))?
        }
    };
    Ok(Arc::new(config))
}

fn authorities(trust: &Trust) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if trust.authorities.is_none() || trust.and_the_hosts {
        for certificate in rustls_native_certs::load_native_certs().certs {
            // One that cannot be read vouches for nobody.
            let _ = store.add(certificate);
        }
    }
    if let Some(path) = &trust.authorities {
        let own = certificates(path)
            .map_err(|why| format!("could not read CA certificate {path:?}: {why}"))?;
        for certificate in own {
            store
                .add(certificate)
                .map_err(|error| format!("could not read CA certificate {path:?}: {error}"))?;
        }
    }
    Ok(store)
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// A file's content, with Go's complaint.
pub(crate) fn read(path: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    OpenOptions::new()
        .read(true)
        .open(path)
        .and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
        .map_err(|error| format!("open {path}: {}", cause(&error)))?;
    Ok(bytes)
}

/// Trusts whoever answers, as `…-skip-verify` asks: what is sent can be read by whoever stands between.
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
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
