//! What lies over the screen.

use crate::message::{Action, Tab};
use crate::state::keys::HELP;
use crate::state::{Overlay, State};
use crate::text::{cut, harmless};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr as _;

pub(super) fn draw(state: &State, overlay: &Overlay, area: Rect, buffer: &mut Buffer) {
    match overlay {
        Overlay::Help => {
            let keys = HELP.iter().map(|(key, what)| format!("{key:<15} {what}"));
            let lines: Vec<String> = keys.collect();
            window(state, "Keys", &lines, area, buffer);
        }
        Overlay::Ask(action) => window(state, "Sure?", &question(action), area, buffer),
        // It is typed in the last line.
        Overlay::Filter => {}
    }
}

fn question(action: &Action) -> Vec<String> {
    let what = match action.tab {
        Tab::Containers => "container",
        Tab::Images => "image",
        Tab::Volumes => "volume and what is in it",
        Tab::Networks => "network",
        Tab::Disk => "",
    };
    let verb = action.verb.word();
    vec![
        format!("{verb} {what}"),
        format!("  {}", action.name),
        "y does it, any other key does not".to_owned(),
    ]
}

/// A framed window in the middle, as large as its lines or the screen.
fn window(state: &State, title: &str, lines: &[String], area: Rect, buffer: &mut Buffer) {
    let theme = state.theme;
    let lines: Vec<String> = lines.iter().map(|line| harmless(line, theme)).collect();
    let widest = lines.iter().map(|line| line.width()).max().unwrap_or(0);
    let width = u16::try_from(widest + 4)
        .unwrap_or(u16::MAX)
        .min(area.width);
    let height = u16::try_from(lines.len() + 2)
        .unwrap_or(u16::MAX)
        .min(area.height);
    let left = area.x + (area.width - width) / 2;
    let top = area.y + (area.height - height) / 2;
    let inner = usize::from(width.saturating_sub(4));
    let rule = theme.rule().repeat(usize::from(width));
    for y in 0..height {
        let blank = " ".repeat(width.into());
        // Nothing of what was there shines through.
        buffer.set_stringn(left, top + y, blank, width.into(), Style::reset());
        if let Some(cells) = (y > 0 && y + 1 < height)
            .then(|| lines.get(usize::from(y) - 1))
            .flatten()
        {
            let text = cut(cells, inner, theme);
            buffer.set_stringn(left + 2, top + y, text, inner, theme.plain());
        }
    }
    for y in [top, top + height - 1] {
        buffer.set_stringn(left, y, &rule, width.into(), theme.heading());
    }
    buffer.set_stringn(left + 2, top, format!(" {title} "), inner, theme.heading());
}
