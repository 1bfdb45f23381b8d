//! The keys that leave a container without stopping it.

use std::str::FromStr;

/// A sequence of keys, such as `ctrl-p,ctrl-q`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    /// Ctrl-P, Ctrl-Q.
    fn default() -> Self {
        Self(vec![16, 17])
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown =
            |key: &str| format!("invalid detach keys ({text}): Unknown character: '{key}'");
        text.split(',')
            .map(|key| {
                if let [byte] = key.as_bytes() {
                    return Ok(*byte);
                }
                let name = key.strip_prefix("ctrl-").ok_or_else(|| unknown(key))?;
                match name.as_bytes() {
                    [byte @ (b'a'..=b'z')] => Ok(byte - b'a' + 1),
                    [byte @ (b'@' | b'['..=b'_')] => Ok(byte - b'@'),
                    _ => Err(unknown(key)),
                }
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Looks for the keys in what is typed. Bytes that may be the beginning of the sequence are held
/// back until it is clear that they are not.
#[derive(Debug)]
pub(crate) struct Scanner {
    keys: Vec<u8>,
    matched: usize,
}

impl Scanner {
    /// A scanner for `keys`.
    pub(crate) fn new(keys: &DetachKeys) -> Self {
        Self {
            keys: keys.0.clone(),
            matched: 0,
        }
    }

    /// Appends to `out` what may be passed on of `typed`; true when the keys were typed.
    pub(crate) fn scan(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for &byte in typed {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return true;
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.matched]);
            self.matched = 0;
            if self.keys.first() == Some(&byte) {
                self.matched = 1;
            } else {
                out.push(byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sequences_are_read_as_docker_does() {
        for (text, bytes) in [
            ("ctrl-p,ctrl-q", vec![16, 17]),
            ("a", vec![b'a']),
            ("ctrl-@,x,ctrl-[,ctrl-_", vec![0, b'x', 27, 31]),
        ] {
            assert_eq!(text.parse::<DetachKeys>().unwrap().0, bytes);
        }
        for bad in ["ctrl-", "ctrl-P", "ab", "", "ctrl-a,", "ctrl-1"] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad}");
        }
        assert_eq!(
            "xyz".parse::<DetachKeys>().unwrap_err(),
            "invalid detach keys (xyz): Unknown character: 'xyz'"
        );
    }

    #[test]
    fn a_beginning_is_held_back_and_then_passed_on() {
        let mut scanner = Scanner::new(&DetachKeys::default());
        let mut out = Vec::new();
        assert!(!scanner.scan(&[b'a', 16], &mut out));
        assert_eq!(out, b"a");
        assert!(!scanner.scan(&[16, b'b'], &mut out));
        assert_eq!(out, [b'a', 16, 16, b'b']);
        assert!(!scanner.scan(&[16], &mut out));
        assert!(scanner.scan(&[17, b'z'], &mut out));
        assert_eq!(out.len(), 4);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_added(typed in prop::collection::vec(prop::collection::vec(15u8..18, 0..5), 0..6)) {
            let mut scanner = Scanner::new(&DetachKeys::default());
            let mut out = Vec::new();
            let mut all = Vec::new();
            for part in &typed {
                all.extend_from_slice(part);
                if scanner.scan(part, &mut out) {
                    let end = all.windows(2).position(|w| w == [16, 17]).unwrap();
                    prop_assert_eq!(&out[..], &all[..end]);
                    return Ok(());
                }
            }
            prop_assert!(all.starts_with(&out) && all.len() - out.len() <= 1);
        }
    }
}
