//! Draws the state. Every size of screen is drawn; what has no room is left out.
//!
//! ```text
//! 1 Containers  2 Images  3 Volumes  …           host
//! 4 of 6 run   CPU 112% of 400%   memory 1.2G of 7.7G
//!
//! a table, or what is known of one container
//!
//! keys, or a sentence, or what is being typed
//! ```

mod containers;
mod details;
mod grid;
mod overlay;

use crate::message::Tab;
use crate::state::{Overlay, Page, State};
use crate::text::{bytes, cut, harmless, padded, percent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr as _;

/// Fewer columns or rows than this show nothing of use.
const LEAST: (u16, u16) = (20, 6);

/// Draws everything.
pub(crate) fn draw(state: &mut State, area: Rect, buffer: &mut Buffer) {
    let mut pen = Pen {
        buffer,
        area,
        state,
    };
    if area.width < LEAST.0 || area.height < LEAST.1 {
        pen.text(0, 0, "too small", Style::new());
        return;
    }
    tabs(&mut pen);
    summary(&mut pen);
    let body = Rect {
        y: area.y + 2,
        height: area.height - 3,
        ..area
    };
    let rows = match (&state.open, state.tab) {
        (Some(open), _) if open.page == Page::Log => details::log_page(state, open, body, buffer),
        (Some(open), _) => details::page(state, open, body, buffer),
        (None, Tab::Containers) => containers::table(state, body, buffer),
        (None, tab) => grid::table(state, tab, body, buffer),
    };
    footer(&mut Pen {
        buffer,
        area,
        state,
    });
    if let Some(overlay) = &state.overlay {
        overlay::draw(state, overlay, area, buffer);
    }
    state.page_rows = rows;
    if let Some(open) = &mut state.open {
        open.scroll = open.scroll.min(open.last_scroll.get());
    }
}

/// Writes into a part of the screen.
struct Pen<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    state: &'a State,
}

impl Pen<'_> {
    /// Writes one line from column `x` of row `y`, as far as there is room. Returns the column behind it.
    fn text(&mut self, x: u16, y: u16, text: &str, style: Style) -> u16 {
        if y >= self.area.height || x >= self.area.width {
            return x;
        }
        let room = usize::from(self.area.width - x);
        let (left, top) = (self.area.x + x, self.area.y + y);
        let (end, _) = self.buffer.set_stringn(left, top, text, room, style);
        end - self.area.x
    }

    /// Writes what comes from outside, cut off visibly.
    fn foreign(&mut self, x: u16, y: u16, text: &str, style: Style) -> u16 {
        let room = usize::from(self.area.width.saturating_sub(x));
        let theme = self.state.theme;
        self.text(x, y, &cut(&harmless(text, theme), room, theme), style)
    }

    fn right(&mut self, y: u16, text: &str, style: Style) {
        let width = u16::try_from(text.width()).unwrap_or(u16::MAX);
        if let Some(x) = self.area.width.checked_sub(width) {
            self.text(x, y, text, style);
        }
    }
}

fn tabs(pen: &mut Pen<'_>) {
    let theme = pen.state.theme;
    let wide = pen.area.width >= 60;
    let mut x = 0;
    for (at, tab) in Tab::ALL.iter().enumerate() {
        let active = *tab == pen.state.tab;
        let title = if wide || active { tab.title() } else { "" };
        let label = format!(
            " {}{}{} ",
            at + 1,
            if title.is_empty() { "" } else { " " },
            title
        );
        let style = if active {
            theme.selected()
        } else {
            theme.plain()
        };
        x = pen.text(x, 0, &label, style);
    }
    let host = harmless(&pen.state.host.name, theme);
    let room = usize::from(pen.area.width.saturating_sub(x + 1));
    pen.right(0, &cut(&host, room, theme), theme.dim());
}

#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
fn summary(pen: &mut Pen<'_>) {
    let (state, theme) = (pen.state, pen.state.theme);
    if let Some(why) = &state.lost {
        pen.foreign(
            1,
            1,
            &format!("the daemon does not answer: {why}; trying again"),
            theme.bad(),
        );
        return;
    }
    let rows = || state.containers.all();
    let running = rows().filter(|row| row.runs()).count();
    let cpu: f64 = rows().map(|row| row.history.cpu.last()).sum();
    let memory: f64 = rows().map(|row| row.history.memory.last()).sum();
    let mut parts = vec![format!("{running} of {} run", rows().count())];
    let bad = rows()
        .filter(|row| row.mood() == crate::state::Mood::Bad && row.runs())
        .count();
    if bad > 0 {
        parts.push(format!("{bad} unhealthy"));
    }
    if state.host.processors > 0 {
        parts.push(format!(
            "CPU {}% of {}%",
            percent(cpu),
            state.host.processors * 100
        ));
        parts.push(format!(
            "memory {} of {}",
            bytes(memory),
            bytes(state.host.memory as f64)
        ));
    }
    let network: f64 = rows().map(|row| row.history.network()).sum();
    let disk: f64 = rows().map(|row| row.history.disk()).sum();
    parts.push(format!("net {}/s", bytes(network)));
    parts.push(format!("disk {}/s", bytes(disk)));
    let text = parts.join(theme.separator());
    let style = if bad > 0 {
        theme.warning()
    } else {
        theme.dim()
    };
    pen.foreign(1, 1, &text, style);
}

fn footer(pen: &mut Pen<'_>) {
    let (state, theme) = (pen.state, pen.state.theme);
    let last = pen.area.height - 1;
    if let Some(Overlay::Filter) = state.overlay {
        let x = pen.text(0, last, "/", theme.strong());
        let x = pen.foreign(x, last, state.filter(), theme.plain());
        pen.text(x, last, " ", theme.selected());
        return;
    }
    if let Some(notice) = &state.notice {
        let style = if notice.failed {
            theme.bad()
        } else {
            theme.good()
        };
        pen.foreign(0, last, &notice.text, style);
        return;
    }
    let mut x = 0;
    if !state.filter().is_empty() {
        x = pen.foreign(0, last, &format!("/{} ", state.filter()), theme.warning());
    }
    for (key, what) in hints(state) {
        let room = key.len() + what.len() + 2;
        if usize::from(x) + room > usize::from(pen.area.width) {
            return;
        }
        x = pen.text(x, last, key, theme.heading());
        x = pen.text(x, last, &format!(" {what} "), theme.dim());
    }
}

/// The keys of use now, those that everybody needs first.
fn hints(state: &State) -> &'static [(&'static str, &'static str)] {
    match (&state.open, state.tab) {
        (Some(open), _) if open.page == Page::Log => &[
            ("?", "keys"),
            ("Esc", "back"),
            ("/", "search"),
            ("PgUp", "older"),
            ("End", "follow"),
            ("Enter", "details"),
            ("q", "quit"),
        ],
        (Some(_), _) => &[
            ("?", "keys"),
            ("Esc", "back"),
            ("l", "log"),
            ("s", "shell"),
            ("S", "start/stop"),
            ("R", "restart"),
            ("X", "remove"),
            ("q", "quit"),
        ],
        (None, Tab::Containers) => &[
            ("?", "keys"),
            ("q", "quit"),
            ("Enter", "details"),
            ("l", "log"),
            ("s", "shell"),
            ("/", "filter"),
            ("o", "sort"),
            ("S", "start/stop"),
            ("R", "restart"),
            ("X", "remove"),
        ],
        (None, Tab::Disk) => &[
            ("?", "keys"),
            ("q", "quit"),
            ("r", "count again"),
            ("Tab", "next"),
        ],
        (None, _) => &[
            ("?", "keys"),
            ("q", "quit"),
            ("/", "filter"),
            ("o", "sort"),
            ("X", "remove"),
            ("r", "again"),
            ("Tab", "next"),
        ],
    }
}

/// A cell of a table: `text` in `width` columns.
fn cell(text: &str, width: u16, right: bool, state: &State) -> String {
    let text = harmless(text, state.theme);
    padded(&text, width.into(), right, state.theme)
}

/// The first of `count` rows that is shown, so that row `at` is among `room`.
fn first_shown(at: usize, count: usize, room: usize) -> usize {
    // In the middle, but no room is left empty at the end.
    at.saturating_sub(room / 2).min(count.saturating_sub(room))
}

#[cfg(test)]
mod tests;
