//! Public keys, and signatures made with them.

use super::requirement::KeySource;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use std::io::Read as _;
use std::path::Path;
use webpki::RawPublicKeyEntity;

/// What cosign and skopeo sign with: SHA-256 whatever the curve, and Ed25519.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ED25519,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
];

/// A file of keys longer than this is none.
const MAX_KEY: u64 = 64 << 10;

/// A public key.
#[derive(Debug)]
pub(super) struct Key(SubjectPublicKeyInfoDer<'static>);

impl Key {
    /// Reads one `PUBLIC KEY` in PEM.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(pem);
        let key = match keys.next() {
            Some(Ok(key)) => key,
            Some(Err(error)) => return Err(format!("the key is no PEM: {error}")),
            None => return Err("there is no \"PUBLIC KEY\" in PEM".to_owned()),
        };
        if keys.next().is_some() {
            return Err("there is more than one key in one file".to_owned());
        }
        RawPublicKeyEntity::try_from(&key).map_err(|error| format!("no public key: {error}"))?;
        Ok(Self(key))
    }

    /// Whether `signature` over `message` was made by the owner of this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        RawPublicKeyEntity::try_from(&self.0).is_ok_and(|key| {
            ALGORITHMS
                .iter()
                .any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
        })
    }
}

impl KeySource {
    /// Reads all keys. One that cannot be used is an error: it may be the one that was meant.
    pub(super) fn load(&self) -> Result<Vec<Key>, String> {
        match self {
            Self::Inline(keys) => keys.iter().map(|pem| Key::from_pem(pem)).collect(),
            Self::Files(paths) => paths.iter().map(|path| load_file(path)).collect(),
        }
    }
}

fn load_file(path: &Path) -> Result<Key, String> {
    let failed = |error: &dyn std::fmt::Display| format!("key {}: {error}", path.display());
    let mut pem = Vec::new();
    fs_err::File::open(path)
        .and_then(|file| file.take(MAX_KEY).read_to_end(&mut pem))
        .map_err(|error| format!("cannot read a key: {error}"))?;
    Key::from_pem(&pem).map_err(|error| failed(&error))
}
