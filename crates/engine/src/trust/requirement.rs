//! One requirement of a policy.

use super::identity::Identity;
use super::json::{Fields, Invalid};
use super::policy::only_type;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::PathBuf;

/// What an image must be, for one part of a policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Requirement {
    /// Anything.
    AcceptAnything,
    /// Nothing: such images are refused.
    Reject,
    /// Signed by one of some keys in sigstore's way.
    Sigstore(Sigstore),
    /// A rule that is valid and that Hull cannot check: it is never met.
    Unsupported {
        kind: &'static str,
        why: &'static str,
    },
}

/// `sigstoreSigned` by plain public keys.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sigstore {
    pub(super) keys: KeySource,
    pub(super) identity: Identity,
}

/// Where public keys in PEM are found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum KeySource {
    Files(Vec<PathBuf>),
    Inline(Vec<Vec<u8>>),
}

impl Requirement {
    /// The rule's name in the file.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::AcceptAnything => "insecureAcceptAnything",
            Self::Reject => "reject",
            Self::Sigstore(_) => "sigstoreSigned",
            Self::Unsupported { kind, .. } => kind,
        }
    }

    pub(super) fn parse(mut fields: Fields) -> Result<Self, Invalid> {
        let kind = fields.text("type")?;
        let parsed = match kind.as_str() {
            "insecureAcceptAnything" => only_type(fields).map(|()| Self::AcceptAnything),
            "reject" => only_type(fields).map(|()| Self::Reject),
            "sigstoreSigned" => sigstore(fields),
            "signedBy" => signed_by(fields),
            "signedBaseLayer" => signed_base_layer(fields),
            other => {
                return Err(Invalid::new(format!(
                    "unknown policy requirement type {other:?}"
                )));
            }
        };
        parsed.map_err(|e| e.within(&kind))
    }
}

fn sigstore(mut fields: Fields) -> Result<Requirement, Invalid> {
    let path = fields.optional_text("keyPath")?;
    let paths = fields.optional_texts("keyPaths")?;
    let data = fields.optional_text("keyData")?;
    let datas = fields.optional_texts("keyDatas")?;
    let fulcio = fields.optional("fulcio");
    let pki = fields.optional("pki");
    let given = [
        path.is_some(),
        paths.is_some(),
        data.is_some(),
        datas.is_some(),
        fulcio.is_some(),
        pki.is_some(),
    ];
    if given.into_iter().filter(|given| *given).count() != 1 {
        return Err(Invalid::new(
            "exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki must be given",
        ));
    }
    let mut rekor = false;
    for key in ["rekorPublicKeyPath", "rekorPublicKeyData"] {
        rekor |= fields.optional_text(key)?.is_some();
        rekor |= fields.optional_texts(&format!("{key}s"))?.is_some();
    }
    let identity = match fields.optional("signedIdentity") {
        Some(value) => Identity::parse(value).map_err(|e| e.within("signedIdentity"))?,
        None => Identity::default(),
    };
    fields.finish()?;
    let files = path.map(|path| vec![path]).or(paths);
    let inline = data.map(|data| vec![data]).or(datas);
    let unsupported = |why| Requirement::Unsupported {
        kind: "sigstoreSigned",
        why,
    };
    let keys = match (files, inline) {
        _ if rekor => {
            return Ok(unsupported(
                "this version of Hull cannot check entries of a Rekor log",
            ));
        }
        (Some(files), _) => KeySource::Files(files.into_iter().map(PathBuf::from).collect()),
        (None, Some(texts)) => KeySource::Inline(
            texts
                .iter()
                .map(|text| decode(text))
                .collect::<Result<_, _>>()?,
        ),
        (None, None) => {
            return Ok(unsupported(
                "this version of Hull checks signatures by public keys only, not by certificates (fulcio, pki)",
            ));
        }
    };
    Ok(Requirement::Sigstore(Sigstore { keys, identity }))
}

fn decode(text: &str) -> Result<Vec<u8>, Invalid> {
    STANDARD
        .decode(text)
        .map_err(|error| Invalid::new(format!("a key is not base64: {error}")))
}

const KEY_TYPES: &[&str] = &[
    "GPGKeys",
    "signedByGPGKeys",
    "X509Certificates",
    "signedByX509CAs",
];

fn signed_by(mut fields: Fields) -> Result<Requirement, Invalid> {
    let kind = fields.text("keyType")?;
    if !KEY_TYPES.contains(&kind.as_str()) {
        return Err(Invalid::new(format!("unknown keyType {kind:?}")));
    }
    let path = fields.optional_text("keyPath")?;
    let paths = fields.optional_texts("keyPaths")?;
    let data = fields.optional_text("keyData")?;
    let given = [path.is_some(), paths.is_some(), data.is_some()];
    if given.into_iter().filter(|given| *given).count() != 1 {
        return Err(Invalid::new(
            "exactly one of keyPath, keyPaths and keyData must be given",
        ));
    }
    if let Some(data) = data {
        decode(&data)?;
    }
    if let Some(value) = fields.optional("signedIdentity") {
        Identity::parse(value).map_err(|e| e.within("signedIdentity"))?;
    }
    fields.finish()?;
    Ok(Requirement::Unsupported {
        kind: "signedBy",
        why: "this version of Hull cannot check GPG signatures; use sigstoreSigned with a public key",
    })
}

fn signed_base_layer(mut fields: Fields) -> Result<Requirement, Invalid> {
    Identity::parse(fields.required("baseLayerIdentity")?)
        .map_err(|e| e.within("baseLayerIdentity"))?;
    fields.finish()?;
    Ok(Requirement::Unsupported {
        kind: "signedBaseLayer",
        why: "no program checks signatures of base layers yet",
    })
}
