//! Modes in chmod's words.

use hull_build::world::{WorldError, WorldResult};

/// Applies chmod's words (POSIX, chmod, "symbolic_mode") to a mode.
///
/// # Errors
/// For words that are none.
pub(super) fn chmod(words: &str, mode: u32, directory: bool) -> WorldResult<u32> {
    let invalid = || WorldError::Invalid(format!("invalid mode: {words}"));
    let mut mode = mode;
    for clause in words.split(',') {
        let actions = clause.find(['+', '-', '=']).ok_or_else(invalid)?;
        let (who, mut actions) = clause.split_at(actions);
        let mut mask = if who.is_empty() { 0o7777 } else { 0 };
        for letter in who.chars() {
            mask |= match letter {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                'a' => 0o7777,
                _ => return Err(invalid()),
            };
        }
        while let Some(operation) = actions.chars().next() {
            let rest = &actions[1..];
            let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
            let bits = permissions(&rest[..end], directory || mode & 0o111 != 0);
            let bits = bits.ok_or_else(invalid)? & mask;
            match operation {
                '+' => mode |= bits,
                '-' => mode &= !bits,
                _ => mode = (mode & !(mask & 0o777)) | bits,
            }
            actions = &rest[end..];
        }
    }
    Ok(mode)
}

fn permissions(letters: &str, executable: bool) -> Option<u32> {
    let mut bits = 0;
    for letter in letters.chars() {
        bits |= match letter {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            'X' if executable => 0o111,
            'X' => 0,
            's' => 0o6000,
            't' => 0o1000,
            _ => return None,
        };
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_changed_as_chmod_does() {
        for (words, before, after) in [
            ("u+x", 0o644, 0o744),
            ("a+x,go-r", 0o644, 0o711),
            ("u=rw,g=r,o=", 0o777, 0o640),
            ("+X", 0o644, 0o644),
            ("+X", 0o744, 0o755),
            ("u+s", 0o755, 0o4755),
            ("+t", 0o777, 0o1777),
            ("g=u", 0o700, 0),
        ] {
            let changed = chmod(words, before, false);
            assert_eq!(changed.unwrap_or(0), after, "{words}");
        }
        assert!(chmod("x", 0, false).is_err() && chmod("u+q", 0, false).is_err());
    }
}
