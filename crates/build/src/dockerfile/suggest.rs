//! "Did you mean": what stands near to a misspelt word.

/// Nothing that needs as many changes is near.
const FAR: usize = 3;

/// The option that needs the fewest changes; none when one fits exactly, for then something else is wrong.
pub(crate) fn near<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut found = None;
    let mut least = FAR;
    for option in options {
        if option == word {
            return None;
        }
        let distance = distance(word, option);
        if distance < least {
            (found, least) = (Some(option), distance);
        }
    }
    found
}

/// The message, with what may have been meant.
pub(crate) fn hinted<'a>(
    message: String,
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
) -> String {
    match near(word, options) {
        Some(option) => format!("{message} (did you mean {option}?)"),
        None => message,
    }
}

/// Levenshtein's: how many characters have to be added, removed or exchanged.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // What differs by more in length alone is far, and words from outside may be long.
    if a.len().abs_diff(b.len()) >= FAR {
        return FAR;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_if_any_is_near() {
        assert_eq!(near("platfrom", ["platform", "x"]), Some("platform"));
        assert_eq!(near("chwn", ["chmod", "chown"]), Some("chown"));
        assert_eq!(near("link", ["link", "blink"]), None);
        assert_eq!(near("abc", ["xyz"]), None);
        assert_eq!(near("", ["ab"]), Some("ab"));
        assert_eq!(near("aaaa", [""]), None);
    }
}
