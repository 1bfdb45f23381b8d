//! TLS for `tcp://` addresses: dockerd's flags and keys.

use super::ConfigError;
use super::file::File;
use super::flags::Flags;
use clap::Args;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Flags about TLS.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TlsFlags {
    /// Use TLS for tcp:// addresses; implied by --tlsverify [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) tls: Option<bool>,
    /// Use TLS, and take only clients whose certificate the CA has signed [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) tlsverify: Option<bool>,
    /// Certificate of the CA that signs clients' certificates [default: ~/.docker/ca.pem]
    #[arg(long, value_name = "FILE")]
    pub(super) tlscacert: Option<PathBuf>,
    /// The daemon's certificate [default: ~/.docker/cert.pem]
    #[arg(long, value_name = "FILE")]
    pub(super) tlscert: Option<PathBuf>,
    /// The daemon's key [default: ~/.docker/key.pem]
    #[arg(long, value_name = "FILE")]
    pub(super) tlskey: Option<PathBuf>,
}

/// The same in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TlsFile {
    tls: Option<bool>,
    tlsverify: Option<bool>,
    tlscacert: Option<PathBuf>,
    tlscert: Option<PathBuf>,
    tlskey: Option<PathBuf>,
}

/// The keys of [`TlsFile`].
pub(super) const KNOWN: &[&str] = &["tls", "tlsverify", "tlscacert", "tlscert", "tlskey"];

impl TlsFlags {
    /// The flags that were given, by the keys that the file has for them.
    pub(super) fn given(&self) -> Vec<(&'static str, Option<String>)> {
        let truth = |value: Option<bool>| value.map(|value| value.to_string());
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        vec![
            ("tls", truth(self.tls)),
            ("tlsverify", truth(self.tlsverify)),
            ("tlscacert", path(&self.tlscacert)),
            ("tlscert", path(&self.tlscert)),
            ("tlskey", path(&self.tlskey)),
        ]
    }
}

/// Where certificates and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Whose signature clients' certificates must have; `None`: clients need no certificate.
    ca: Option<PathBuf>,
    certificate: PathBuf,
    key: PathBuf,
}

/// Puts flags and file together.
pub(super) fn merge(flags: &Flags, file: &File) -> Result<Option<Tls>, ConfigError> {
    let (flags, file) = (&flags.tls, &file.tls);
    let verify = flags.tlsverify.or(file.tlsverify).unwrap_or(false);
    if !verify && !flags.tls.or(file.tls).unwrap_or(false) {
        return Ok(None);
    }
    let path = |flag: &Option<PathBuf>, file: &Option<PathBuf>, name: &str| {
        let given = flag.clone().or_else(|| file.clone());
        given.unwrap_or_else(|| usual(name))
    };
    let tls = Tls {
        ca: verify.then(|| path(&flags.tlscacert, &file.tlscacert, "ca.pem")),
        certificate: path(&flags.tlscert, &file.tlscert, "cert.pem"),
        key: path(&flags.tlskey, &file.tlskey, "key.pem"),
    };
    // A daemon that cannot be reached, or by everybody, should not start at all.
    tls.server_config()?;
    Ok(Some(tls))
}

/// Where Docker's tools keep a file of this name.
fn usual(name: &str) -> PathBuf {
    let directory = std::env::var_os("DOCKER_CERT_PATH").map(PathBuf::from);
    let home = || {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
        Path::new(&home).join(".docker")
    };
    directory.unwrap_or_else(home).join(name)
}

impl Tls {
    /// Reads the files, and gives what is needed to take clients.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>, ConfigError> {
        let failed = |error: &dyn std::fmt::Display| {
            ConfigError::Plain(format!(
                "invalid TLS configuration: Could not load X509 key pair (cert: \"{}\", key: \"{}\"): {error}",
                self.certificate.display(),
                self.key.display()
            ))
        };
        let certificates = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| failed(&error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?;
        let builder = match &self.ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let roots = Arc::new(roots(ca)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|error| failed(&error))?)
            }
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| failed(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn roots(path: &Path) -> Result<RootCertStore, ConfigError> {
    let failed = |error: &dyn std::fmt::Display| {
        ConfigError::Plain(format!(
            "invalid TLS configuration: could not read CA certificate {:?}: {error}",
            path.display()
        ))
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err(failed(&"no certificate in it"));
    }
    Ok(roots)
}
