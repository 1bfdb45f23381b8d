//! Blobs by their digests: an image layout of a client's, or a cache that is such.

use crate::world::{WorldError, WorldResult};
use hull_spec::Digest;
use sha2::{Digest as _, Sha256};
use std::io::Read;

/// The longest document, bytes: a manifest, an index, a config.
const MAX_DOCUMENT: u64 = 4 << 20;

/// What has blobs. All calls block.
pub trait Blobs: Send + Sync {
    /// A blob's bytes. Who reads them checks them.
    ///
    /// # Errors
    /// [`WorldError::NotFound`] without it, and what its owner says.
    fn read(&self, digest: &Digest) -> WorldResult<Box<dyn Read + Send>>;

    /// A short blob's bytes, checked.
    ///
    /// # Errors
    /// As [`Blobs::read`], and for one that is too long or not what its digest says.
    fn document(&self, digest: &Digest) -> WorldResult<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self
            .read(digest)?
            .take(MAX_DOCUMENT + 1)
            .read_to_end(&mut bytes);
        read.map_err(|error| WorldError::caused(format!("read {digest}"), error))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            let text = format!("document {digest} is larger than {MAX_DOCUMENT} bytes");
            return Err(WorldError::Invalid(text));
        }
        match Digest::from_sha256(&Sha256::digest(&bytes).into()) == *digest {
            true => Ok(bytes),
            false => Err(WorldError::Invalid(format!(
                "{digest} is not what it is said to be"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Same(Vec<u8>);

    impl Blobs for Same {
        fn read(&self, _: &Digest) -> WorldResult<Box<dyn Read + Send>> {
            Ok(Box::new(std::io::Cursor::new(self.0.clone())))
        }
    }

    #[test]
    fn documents_are_checked() {
        let digest = |bytes: &[u8]| Digest::from_sha256(&Sha256::digest(bytes).into());
        let blobs = Same(b"{}".to_vec());
        assert_eq!(blobs.document(&digest(b"{}")).unwrap(), b"{}");
        assert!(blobs.document(&digest(b"{ }")).is_err());
        let long = vec![b' '; 4 << 20];
        assert!(Same(long.clone()).document(&digest(&long)).is_ok());
        let longer = [long, vec![b' ']].concat();
        let refused = Same(longer.clone()).document(&digest(&longer));
        assert!(refused.unwrap_err().to_string().contains("larger"));
    }
}
