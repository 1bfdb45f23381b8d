//! Texts and numbers for cells. Names, labels and logs come from strangers: nothing in them may steer the
//! terminal.

use crate::theme::Theme;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The most characters of one text that are looked at.
const MAX_CHARS: usize = 8 * 1024;

/// Whether a terminal would do something for it: control characters, and those that change the direction of text.
fn steers(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` as it may be shown: escape sequences are gone, a tab is spaces, what else would steer the terminal is `?`.
pub(crate) fn harmless(text: &str, theme: Theme) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_CHARS));
    let mut chars = text.chars().take(MAX_CHARS).peekable();
    while let Some(char) = chars.next() {
        match char {
            '\t' => out.push_str(&"    "[..4 - out.width() % 4]),
            '\u{1b}' => skip_escape(&mut chars),
            '\r' => {}
            _ if steers(char) => out.push('?'),
            _ if !theme.unicode && !char.is_ascii() => out.push('?'),
            _ => out.push(char),
        }
    }
    out
}

/// Skips what follows an escape character: `[` parameters, final byte (ECMA-48 5.4), or `]` up to its end (xterm's
/// operating system commands), or one character.
fn skip_escape(chars: &mut std::iter::Peekable<impl Iterator<Item = char>>) {
    match chars.next() {
        Some('[') => {
            for char in chars.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&char) {
                    return;
                }
            }
        }
        Some(']') => {
            while let Some(char) = chars.next() {
                if char == '\u{7}' {
                    return;
                }
                if char == '\u{1b}' && chars.peek() == Some(&'\\') {
                    chars.next();
                    return;
                }
            }
        }
        _ => {}
    }
}

/// The first `width` columns of `text`; a mark shows that there was more.
pub(crate) fn cut(text: &str, width: usize, theme: Theme) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    for char in text.chars() {
        let columns = char.width().unwrap_or(0);
        if used + columns >= width {
            break;
        }
        used += columns;
        out.push(char);
    }
    if width > 0 {
        out.push(theme.ellipsis());
    }
    out
}

/// `text` in exactly `width` columns.
pub(crate) fn padded(text: &str, width: usize, right: bool, theme: Theme) -> String {
    let text = cut(text, width, theme);
    let room = " ".repeat(width.saturating_sub(text.width()));
    if right { room + &text } else { text + &room }
}

/// Bytes in at most five columns: `812`, `1.2k`, `34k`, `5.6M` (powers of 1024, as memory is counted).
pub(crate) fn bytes(count: f64) -> String {
    let mut rest = not_negative(count);
    for unit in ["", "k", "M", "G", "T", "P"] {
        if rest < 999.5 || unit == "P" {
            return match unit {
                "" => format!("{rest:.0}"),
                _ if rest < 9.95 => format!("{rest:.1}{unit}"),
                _ => format!("{rest:.0}{unit}"),
            };
        }
        rest /= 1024.0;
    }
    String::new()
}

/// Sums of nothing are -0, which would be shown.
fn not_negative(value: f64) -> f64 {
    if value > 0.0 { value } else { 0.0 }
}

/// Percent in at most five columns.
pub(crate) fn percent(value: f64) -> String {
    let value = not_negative(value);
    if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// Seconds as people say them: `12s`, `3m`, `4h`, `5d`.
pub(crate) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ ..120 => format!("{s}s"),
        s @ ..7_200 => format!("{}m", s / 60),
        s @ ..172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

/// The last `width` of `values` as bars, the newest at the right; `full` is what fills a bar.
pub(crate) fn bars(
    values: impl DoubleEndedIterator<Item = f64>,
    width: usize,
    full: f64,
    theme: Theme,
) -> String {
    let set = theme.bars();
    let levels = [
        set.empty,
        set.one_eighth,
        set.one_quarter,
        set.three_eighths,
        set.half,
        set.five_eighths,
        set.three_quarters,
        set.seven_eighths,
        set.full,
    ];
    let bar = |value: f64| {
        let share = if full > 0.0 { value / full } else { 0.0 };
        let at = (1..levels.len()).rev().find(|eighths| {
            // Something is shown of all that is not nothing.
            let least = f64::from(u8::try_from(*eighths - 1).unwrap_or(u8::MAX)) / 8.0;
            share > least
        });
        levels[at.unwrap_or(0)]
    };
    let newest: Vec<&str> = values.rev().take(width).map(bar).collect();
    let mut out = " ".repeat(width - newest.len());
    out.extend(newest.into_iter().rev());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNICODE: Theme = Theme {
        color: true,
        unicode: true,
    };
    const ASCII: Theme = Theme {
        color: false,
        unicode: false,
    };

    #[test]
    fn logs_do_not_steer_the_terminal() {
        assert_eq!(harmless("\u{1b}[31mred\u{1b}[0m\r", UNICODE), "red");
        assert_eq!(harmless("\u{1b}]0;title\u{7}a\tb", UNICODE), "a   b");
        assert_eq!(harmless("\u{1b}]8;;x\u{1b}\\link", UNICODE), "link");
        assert_eq!(harmless("a\u{202e}b\u{7f}\u{9b}c", UNICODE), "a?b??c");
        assert_eq!(harmless("grün", ASCII), "gr?n");
        assert_eq!(harmless("\u{1b}[", UNICODE), "");
    }

    #[test]
    fn numbers_are_short() {
        for (count, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (812.0, "812"),
            (1_000.0, "1.0k"),
            (34_000.0, "33k"),
            (5_900_000.0, "5.6M"),
            (1_073_741_824.0, "1.0G"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(
            (percent(0.0), percent(12.34), percent(230.0)),
            ("0.0".into(), "12.3".into(), "230".into())
        );
        assert_eq!(
            (age(5), age(179), age(90_000)),
            ("5s".into(), "2m".into(), "25h".into())
        );
    }

    #[test]
    fn bars_grow_from_the_left() {
        assert_eq!(
            bars([0.0, 0.1, 50.0, 100.0].into_iter(), 6, 100.0, UNICODE),
            "   ▁▄█"
        );
        assert_eq!(bars([1.0, 2.0, 3.0].into_iter(), 2, 3.0, ASCII), "*#");
        assert_eq!(bars([1.0].into_iter(), 3, 0.0, ASCII), "   ");
    }

    proptest! {
        #[test]
        fn what_is_shown_has_its_width_and_nothing_that_steers(text in ".*", width in 0usize..40) {
            for theme in [UNICODE, ASCII] {
                let shown = harmless(&text, theme);
                prop_assert!(!shown.chars().any(steers));
                prop_assert!(theme.unicode || shown.is_ascii());
                prop_assert!(cut(&shown, width, theme).width() <= width);
                prop_assert_eq!(padded(&shown, width, true, theme).width(), width);
            }
        }

        #[test]
        fn numbers_fit_their_columns(count in 0.0..1e18f64) {
            prop_assert!(bytes(count).len() <= 5);
            prop_assert!(percent(count.min(99_999.0)).len() <= 5);
        }
    }
}
