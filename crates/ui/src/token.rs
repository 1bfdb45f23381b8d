//! The secret that whoever opens the page has to know.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Bytes of chance in a token.
pub const BYTES: usize = 32;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The secret, 64 hexadecimal digits. It is shown only where it is asked for by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The token that these random bytes are.
    #[must_use]
    pub fn new(random: [u8; BYTES]) -> Self {
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
        let digits = random
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(*byte)]);
        Self(digits.collect())
    }

    /// The token that is kept at `path`, or a new one of `random` bytes, which is kept there from now on for its
    /// owner only: pages that are open stay of use when the daemon is replaced.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn kept(path: &Path, random: [u8; BYTES]) -> io::Result<Self> {
        match fs_err::read_to_string(path) {
            Ok(text) if is_token(text.trim_end()) => return Ok(Self(text.trim_end().to_owned())),
            Ok(_) => fs_err::remove_file(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let token = Self::new(random);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(path).and_then(|mut file| {
            file.write_all(token.0.as_bytes())?;
            file.write_all(b"\n")
        });
        file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(token)
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the token; takes as long for any text of its length.
    #[must_use]
    pub fn is(&self, given: &str) -> bool {
        let differences = self
            .0
            .bytes()
            .zip(given.bytes())
            .fold(0, |found, (own, other)| found | (own ^ other));
        given.len() == self.0.len() && std::hint::black_box(differences) == 0
    }
}

fn is_token(text: &str) -> bool {
    text.len() == 2 * BYTES && text.bytes().all(|byte| DIGITS.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn only_the_token_is_the_token() {
        let token = Token::new([0xa5; BYTES]);
        assert_eq!(token.reveal(), "a5".repeat(BYTES));
        assert!(token.is(&"a5".repeat(BYTES)));
        for other in ["", "a5", &"a5".repeat(BYTES + 1), &"a6".repeat(BYTES)] {
            assert!(!token.is(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn a_token_is_kept_for_its_owner_and_a_broken_one_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ui.token");
        let first = Token::kept(&path, [1; BYTES]).unwrap();
        let mode = fs_err::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Token::kept(&path, [2; BYTES]).unwrap(), first);
        fs_err::write(&path, "short").unwrap();
        assert_eq!(
            Token::kept(&path, [2; BYTES]).unwrap(),
            Token::new([2; BYTES])
        );
    }
}
