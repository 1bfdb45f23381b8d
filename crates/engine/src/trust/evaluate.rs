//! A policy's answer about one image.

use super::key::Key;
use super::payload::Payload;
use super::policy::{Policy, Scope, identity};
use super::requirement::{Requirement, Sigstore};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_spec::{Digest, Reference};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A signature as it lies beside an image: kept, so that it can be checked again without a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Signature {
    /// The signed bytes, as text: they are JSON.
    pub(crate) payload: String,
    /// The signature in base64.
    pub(crate) signature: String,
}

/// An image as a policy sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// What it was asked for by.
    pub(crate) reference: &'a Reference,
    /// The manifests that pin its content: a platform's own, and the index that leads to it.
    pub(crate) digests: &'a [Digest],
    pub(crate) signatures: &'a [Signature],
}

/// Why an image is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    subject: String,
    rule: &'static str,
    scope: Scope,
    why: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is refused by \"{}\" of {}",
            self.subject, self.rule, self.scope
        )?;
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

impl Policy {
    /// Whether the answer about an image depends on its signatures.
    pub(crate) fn needs_signatures(&self, reference: &Reference) -> bool {
        let (_, requirements) = self.for_reference(reference);
        // Nothing helps an image that another rule refuses.
        let hopeless = requirements
            .iter()
            .any(|r| matches!(r, Requirement::Reject | Requirement::Unsupported { .. }));
        !hopeless
            && requirements
                .iter()
                .any(|r| matches!(r, Requirement::Sigstore(_)))
    }

    /// Whether an image of a registry meets all requirements of its scope.
    pub(crate) fn check(&self, subject: &Subject<'_>) -> Result<(), Refusal> {
        let (scope, requirements) = self.for_reference(subject.reference);
        for requirement in requirements {
            requirement.check(subject).map_err(|why| Refusal {
                subject: identity(subject.reference),
                rule: requirement.kind(),
                scope: scope.clone(),
                why,
            })?;
        }
        Ok(())
    }

    /// Whether something without name and signatures may come by `transport`.
    pub(crate) fn check_transport(&self, transport: &str, what: &str) -> Result<(), Refusal> {
        let (scope, requirements) = self.for_transport(transport);
        for requirement in requirements {
            let why = match requirement {
                Requirement::AcceptAnything => continue,
                Requirement::Reject => None,
                Requirement::Sigstore(_) => Some("archives carry no signatures".to_owned()),
                Requirement::Unsupported { why, .. } => Some((*why).to_owned()),
            };
            return Err(Refusal {
                subject: what.to_owned(),
                rule: requirement.kind(),
                scope,
                why,
            });
        }
        Ok(())
    }
}

impl Requirement {
    fn check(&self, subject: &Subject<'_>) -> Result<(), Option<String>> {
        match self {
            Self::AcceptAnything => Ok(()),
            Self::Reject => Err(None),
            Self::Unsupported { why, .. } => Err(Some((*why).to_owned())),
            Self::Sigstore(sigstore) => sigstore.check(subject).map_err(Some),
        }
    }
}

impl Sigstore {
    fn check(&self, subject: &Subject<'_>) -> Result<(), String> {
        let keys = self.keys.load()?;
        let mut reasons = Vec::new();
        for signature in subject.signatures {
            match self.accepts(&keys, subject, signature) {
                Ok(()) => return Ok(()),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(match reasons.as_slice() {
            [] => "a signature was required, but no signature exists".to_owned(),
            [only] => only.clone(),
            _ => format!(
                "none of the signatures were accepted, reasons: {}",
                reasons.join("; ")
            ),
        })
    }

    /// First the signature, then what it says: nothing unsigned is believed.
    fn accepts(
        &self,
        keys: &[Key],
        subject: &Subject<'_>,
        signature: &Signature,
    ) -> Result<(), String> {
        let bytes = STANDARD
            .decode(&signature.signature)
            .map_err(|error| format!("a signature is not base64: {error}"))?;
        let message = signature.payload.as_bytes();
        if !keys.iter().any(|key| key.verifies(message, &bytes)) {
            return Err("cryptographic signature verification failed".to_owned());
        }
        let payload =
            Payload::parse(message).map_err(|error| format!("a signature's payload: {error}"))?;
        if !subject.digests.contains(&payload.digest) {
            return Err(format!(
                "a signature is for another image, {}",
                payload.digest
            ));
        }
        if !self.identity.admits(subject.reference, &payload.reference) {
            return Err(format!(
                "signature for identity {:?} is not accepted",
                payload.reference
            ));
        }
        Ok(())
    }
}
