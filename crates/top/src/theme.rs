//! What the terminal can show: colours or none, Unicode or ASCII.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar;
use std::env;

/// How things are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Theme {
    /// Without it only bold, dim and reversed text tell things apart.
    pub(crate) color: bool,
    /// Without it everything is ASCII.
    pub(crate) unicode: bool,
}

/// Bars of eight heights where there is no Unicode.
const ASCII_BARS: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "%",
    three_quarters: "*",
    five_eighths: "+",
    half: "=",
    three_eighths: "-",
    one_quarter: ":",
    one_eighth: ".",
    empty: " ",
};

impl Theme {
    /// What the environment says: `NO_COLOR` (<https://no-color.org>), the locale as POSIX has it, and
    /// terminals that are known to have neither.
    pub(crate) fn of_environment() -> Self {
        let of = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let terminal = of("TERM").unwrap_or_default();
        let locale = of("LC_ALL")
            .or_else(|| of("LC_CTYPE"))
            .or_else(|| of("LANG"));
        Self {
            color: of("NO_COLOR").is_none() && !terminal.starts_with("vt"),
            unicode: is_unicode(locale.as_deref().unwrap_or_default()) && terminal != "linux",
        }
    }

    fn colored(self, color: Color) -> Style {
        if self.color {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    pub(crate) fn plain(self) -> Style {
        Style::new()
    }

    pub(crate) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(crate) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(crate) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(crate) fn heading(self) -> Style {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn good(self) -> Style {
        self.colored(Color::Green)
    }

    pub(crate) fn warning(self) -> Style {
        self.colored(Color::Yellow)
    }

    pub(crate) fn bad(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn chart(self) -> Style {
        self.colored(Color::Blue)
    }

    pub(crate) fn bars(self) -> bar::Set<'static> {
        if self.unicode {
            bar::NINE_LEVELS
        } else {
            ASCII_BARS
        }
    }

    /// The mark of something that was cut off.
    pub(crate) fn ellipsis(self) -> char {
        if self.unicode { '…' } else { '~' }
    }

    pub(crate) fn separator(self) -> &'static str {
        if self.unicode { " · " } else { " | " }
    }

    /// Marks the column that rows are sorted by.
    pub(crate) fn arrow(self, down: bool) -> &'static str {
        match (self.unicode, down) {
            (true, true) => "▼",
            (true, false) => "▲",
            (false, true) => "v",
            (false, false) => "^",
        }
    }

    pub(crate) fn rule(self) -> &'static str {
        if self.unicode { "─" } else { "-" }
    }
}

fn is_unicode(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_whether_there_is_unicode() {
        for (locale, unicode) in [
            ("de_DE.UTF-8", true),
            ("C.utf8", true),
            ("C", false),
            ("", false),
            ("en_US.ISO-8859-1", false),
        ] {
            assert_eq!(is_unicode(locale), unicode, "{locale}");
        }
    }

    #[test]
    fn without_colors_no_style_has_one() {
        let theme = Theme {
            color: false,
            unicode: false,
        };
        for style in [theme.heading(), theme.good(), theme.bad(), theme.chart()] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }
}
