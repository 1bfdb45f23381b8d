//! How values are written for people and read from them, as Docker's clients do it.

mod duration;
mod indent;
mod natural;
mod size;
mod table;
mod timestamp;

pub(crate) use duration::human_duration;
pub(crate) use hull_template::quote;
pub(crate) use indent::{compact, indent, indent_by};
pub(crate) use natural::natural_cmp;
pub(crate) use size::{bytes_size, human_size, parse_bytes, parse_cpus};
pub(crate) use table::TabWriter;
pub(crate) use timestamp::{ansic, created_at, log_time, now_seconds, rfc3339, rfc3339_nano};

/// The first characters of `text`; when it is longer, the last one that fits is an ellipsis.
pub(crate) fn ellipsis(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Twelve digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_and_ids_are_cut() {
        assert_eq!(ellipsis("sleep 1000", 20), "sleep 1000");
        assert_eq!(
            ellipsis("sh -c 'exit 1; echo x'", 20),
            "sh -c 'exit 1; echo…"
        );
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("abc"), "abc");
    }
}
