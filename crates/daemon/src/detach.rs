//! The keys that leave an attached terminal without ending its process: Ctrl-P Ctrl-Q by default.

/// What is not a list of detach keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid detach keys ({0}) provided")]
pub(crate) struct InvalidKeys(String);

/// Ctrl-P, Ctrl-Q.
const DEFAULT: [u8; 2] = [0x10, 0x11];

/// Finds the detach keys in a client's input.
///
/// What may be the beginning of them is held back until the next byte decides. As in dockerd, the
/// byte that breaks a match does not begin another: Ctrl-P Ctrl-P Ctrl-Q all go to the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Detector {
    keys: Vec<u8>,
    matched: usize,
}

impl Detector {
    /// Reads a list such as `ctrl-p,ctrl-q` or `ctrl-@,x`; an empty one means the default.
    ///
    /// # Errors
    /// [`InvalidKeys`] when an element is neither one ASCII character nor `ctrl-` and one of
    /// `a` to `z` and `@[\]^_`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidKeys> {
        let keys = if text.is_empty() {
            DEFAULT.to_vec()
        } else {
            text.split(',')
                .map(key)
                .collect::<Option<_>>()
                .ok_or_else(|| InvalidKeys(text.to_owned()))?
        };
        Ok(Self { keys, matched: 0 })
    }

    /// Takes the next piece of input. Returns the bytes to pass on, and whether the keys were
    /// complete; what follows them is dropped.
    pub(crate) fn feed(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut pass = Vec::with_capacity(self.matched + input.len());
        for &byte in input {
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return (pass, true);
                }
                continue;
            }
            pass.extend_from_slice(&self.keys[..self.matched]);
            self.matched = 0;
            pass.push(byte);
        }
        (pass, false)
    }
}

fn key(text: &str) -> Option<u8> {
    if let [byte] = text.as_bytes() {
        return byte.is_ascii().then_some(*byte);
    }
    match text.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [sign @ b'['..=b'_'] => Some(sign - b'[' + 27),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_in_docker() {
        let keys = |text| Detector::parse(text).map(|detector| detector.keys);
        assert_eq!(keys(""), Ok(vec![0x10, 0x11]));
        assert_eq!(keys("ctrl-a,x,ctrl-z"), Ok(vec![1, b'x', 26]));
        assert_eq!(
            keys("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_"),
            Ok(vec![0, 27, 28, 29, 30, 31])
        );
        for bad in ["ctrl-", "ctrl-A", "ctrl-1", "shift-a", "a,,b", "ä"] {
            let error = keys(bad).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("Invalid detach keys ({bad}) provided")
            );
        }
    }

    #[test]
    fn keys_are_found_across_reads() {
        let mut detector = Detector::parse("").unwrap();
        assert_eq!(detector.feed(b"ls\x10"), (b"ls".to_vec(), false));
        assert_eq!(detector.feed(b"\x11rest"), (b"".to_vec(), true));
    }

    #[test]
    fn what_only_begins_like_the_keys_is_passed_on() {
        let mut detector = Detector::parse("").unwrap();
        assert_eq!(detector.feed(b"\x10"), (b"".to_vec(), false));
        assert_eq!(detector.feed(b"x"), (b"\x10x".to_vec(), false));
        assert_eq!(
            detector.feed(b"\x10\x10\x11"),
            (b"\x10\x10\x11".to_vec(), false)
        );
        assert_eq!(detector.feed(b"\x11"), (b"\x11".to_vec(), false));
    }

    proptest::proptest! {
        #[test]
        fn without_the_keys_nothing_is_lost(pieces: Vec<Vec<u8>>) {
            let mut detector = Detector::parse("ctrl-p,ctrl-q").unwrap();
            let mut all = Vec::new();
            let mut passed = Vec::new();
            for piece in &pieces {
                let piece: Vec<u8> = piece.iter().map(|byte| byte & 0x6f | 0x20).collect();
                all.extend_from_slice(&piece);
                let (pass, detached) = detector.feed(&piece);
                assert!(!detached);
                passed.extend_from_slice(&pass);
            }
            assert_eq!(passed, all);
        }
    }
}
