//! What a sigstore signature of an image says: the "simple signing" document.

use super::json::{self, Invalid, Json};
use hull_spec::Digest;

/// A signed statement: this manifest is what this name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) digest: Digest,
    /// As the signer wrote it; cosign writes no tag.
    pub(super) reference: String,
}

const KIND: &str = "cosign container image signature";

impl Payload {
    /// Reads a payload. It must have been verified before: only then is it somebody's word.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut fields = json::parse(bytes)?.fields()?;
        let mut critical = fields.required("critical")?.fields()?;
        match fields.optional("optional") {
            // cosign writes null; what the object holds is nobody's concern here.
            None | Some(Json::Null | Json::Object(_)) => {}
            Some(_) => return Err(Invalid::new("optional: expected an object")),
        }
        fields.finish()?;
        let kind = critical.text("type")?;
        if kind != KIND {
            return Err(Invalid::new(format!(
                "unrecognized signature type {kind:?}"
            )));
        }
        let mut image = critical.required("image")?.fields()?;
        let digest = image.text("docker-manifest-digest")?;
        image.finish()?;
        let mut identity = critical.required("identity")?.fields()?;
        let reference = identity.text("docker-reference")?;
        identity.finish()?;
        critical.finish()?;
        let digest = digest
            .parse()
            .map_err(|error| Invalid::new(format!("{error}")))?;
        Ok(Self { digest, reference })
    }
}
