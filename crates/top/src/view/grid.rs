//! The tables of the other tabs.

use super::{Pen, cell, first_shown};
use crate::message::Tab;
use crate::state::grid::Column;
use crate::state::{Cell, State};
use crate::text::{age, bytes};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// The least width of the first column.
const NAME: u16 = 10;

/// The columns that fit, by number, with their widths.
fn columns(all: &[Column], width: u16) -> Vec<(usize, u16)> {
    let mut others: Vec<usize> = (1..all.len()).collect();
    let wanted = |others: &[usize]| -> u16 { others.iter().map(|at| all[*at].width + 1).sum() };
    while wanted(&others) + NAME >= width {
        let Some(spare) = others
            .iter()
            .copied()
            .max_by_key(|at| (all[*at].spare, *at))
        else {
            break;
        };
        others.retain(|at| *at != spare);
    }
    let first = width.saturating_sub(wanted(&others) + 1);
    let others = others.into_iter().map(|at| (at, all[at].width));
    std::iter::once((0, first)).chain(others).collect()
}

fn text(cell: &Cell, now: i64) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Bytes(count) => bytes(*count),
        Cell::Count(count) => count.to_string(),
        Cell::Time(then) => age(now - then),
        Cell::Unknown => String::new(),
    }
}

/// Draws a tab's table. Returns how many rows have room.
pub(super) fn table(state: &State, tab: Tab, area: Rect, buffer: &mut Buffer) -> usize {
    let theme = state.theme;
    let room = usize::from(area.height.saturating_sub(1));
    let Some(grid) = state.grid(tab) else {
        return room;
    };
    let mut pen = Pen {
        buffer,
        area,
        state,
    };
    let columns = columns(grid.columns, area.width);
    let mut x = 0;
    for (at, width) in &columns {
        let column = grid.columns[*at];
        let mut title = column.title.to_owned();
        if grid.sorted_by() == Some(*at) {
            title.push_str(theme.arrow(true));
        }
        x = pen.text(
            x,
            0,
            &cell(&title, *width, column.right, state),
            theme.heading(),
        );
        x = pen.text(x, 0, " ", theme.plain());
    }
    let rows = grid.shown();
    if rows.is_empty() {
        let why = match (grid.known, grid.filter.is_empty()) {
            (false, _) => "asking the daemon …",
            (true, true) => "nothing here",
            (true, false) => "nothing matches the filter; Esc takes it back",
        };
        pen.text(1, 2, why, theme.dim());
        return room;
    }
    let first = first_shown(grid.at, rows.len(), room);
    for (at, row) in rows.iter().enumerate().skip(first).take(room) {
        let y = u16::try_from(at - first + 1).unwrap_or(u16::MAX);
        let style = if at == grid.at {
            theme.selected()
        } else {
            theme.plain()
        };
        let mut x = 0;
        for (column, width) in &columns {
            let text = text(&row.cells[*column], state.now);
            let right = grid.columns[*column].right;
            x = pen.text(x, y, &cell(&text, *width, right, state), style);
            x = pen.text(x, y, " ", style);
        }
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::grid::{DISK, IMAGES, NETWORKS, VOLUMES};

    #[test]
    fn the_first_column_stays_and_all_fits() {
        for all in [IMAGES, VOLUMES, NETWORKS, DISK] {
            for width in 20..200 {
                let columns = columns(all, width);
                assert_eq!(columns[0].0, 0);
                let sum: u16 = columns.iter().map(|(_, wide)| wide + 1).sum();
                assert!(sum <= width, "{width}: {columns:?}");
            }
        }
    }
}
