//! "Did you mean": what stands near to a misspelt word.

/// Nothing that needs more changes is near.
const NEAR: usize = 2;

/// The option that needs the fewest changes, if any is near. Two letters exchanged are one change.
pub(crate) fn near<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // In a short word everything is near everything.
    let most = NEAR.min(word.chars().count().saturating_sub(1) / 2);
    if word.len() > 64 || most == 0 {
        return None;
    }
    options
        .into_iter()
        .map(|option| {
            // Of two that are equally near, the one of the same length was meant.
            let longer = option.len().abs_diff(word.len());
            (strsim::osa_distance(word, option), longer, option)
        })
        .filter(|(distance, _, _)| (1..=most).contains(distance))
        .min()
        .map(|(_, _, option)| option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_if_any_is_near() {
        let words = ["images", "inspect", "image", "ps", "run"];
        assert_eq!(near("imagse", words), Some("images"));
        assert_eq!(near("inspcet", words), Some("inspect"));
        assert_eq!(near("rnu", words), Some("run"));
        assert_eq!(near("pz", words), None);
        assert_eq!(near("nosuch", words), None);
        assert_eq!(near(&"x".repeat(1 << 20), words), None);
    }
}
