//! The table of containers.

use super::{Pen, cell, first_shown};
use crate::state::{Containers, History, Mood, Row, Sort, State};
use crate::text::{bars, bytes, percent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// One column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Name,
    State,
    Cpu,
    CpuBars,
    Memory,
    MemoryBars,
    Network,
    NetworkBars,
    Disk,
    DiskBars,
    Processes,
    Ports,
    Image,
}

/// With their widths, and how many columns a screen must have to show them.
const COLUMNS: &[(Column, u16, u16)] = &[
    (Column::Name, 0, 0),
    (Column::State, 10, 40),
    (Column::Cpu, 5, 0),
    (Column::CpuBars, 10, 64),
    (Column::Memory, 5, 32),
    (Column::MemoryBars, 8, 74),
    (Column::Network, 6, 54),
    (Column::NetworkBars, 8, 100),
    (Column::Disk, 6, 60),
    (Column::DiskBars, 8, 110),
    (Column::Processes, 5, 120),
    (Column::Ports, 18, 140),
    (Column::Image, 24, 164),
];

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::State => "STATE",
            Self::Cpu => "CPU%",
            Self::Memory => "MEM",
            Self::Network => "NET/s",
            Self::Disk => "DISK/s",
            Self::Processes => "PROCS",
            Self::Ports => "PORTS",
            Self::Image => "IMAGE",
            Self::CpuBars | Self::MemoryBars | Self::NetworkBars | Self::DiskBars => "",
        }
    }

    fn is_right(self) -> bool {
        matches!(
            self,
            Self::Cpu | Self::Memory | Self::Network | Self::Disk | Self::Processes
        )
    }

    /// Whether rows are sorted by it.
    fn is_sorted(self, sort: Sort) -> bool {
        matches!(
            (self, sort),
            (Self::Name, Sort::Name)
                | (Self::State, Sort::State)
                | (Self::Cpu, Sort::Cpu)
                | (Self::Memory, Sort::Memory)
                | (Self::Network, Sort::Network)
                | (Self::Disk, Sort::Disk)
        )
    }

    fn text(self, row: &Row, width: usize, state: &State) -> String {
        let (theme, history) = (state.theme, &row.history);
        let used = |text: String| if row.runs() { text } else { "-".to_owned() };
        match self {
            Self::Name => row.name().to_owned(),
            Self::State => row.state(),
            Self::Cpu => used(percent(history.cpu.last())),
            Self::Memory => used(bytes(history.memory.last())),
            Self::Network => used(bytes(history.network())),
            Self::Disk => used(bytes(history.disk())),
            Self::Processes => used(history.processes.to_string()),
            Self::Ports => row.ports().join(" "),
            Self::Image => row.summary.image.clone(),
            // A bar that is full is one processor, or the most there was.
            Self::CpuBars => bars(
                history.cpu.values(),
                width,
                history.cpu.max().max(100.0),
                theme,
            ),
            Self::MemoryBars => bars(history.memory.values(), width, most_memory(history), theme),
            Self::NetworkBars => {
                let most = history.network_values().fold(0.0, f64::max);
                bars(history.network_values(), width, most, theme)
            }
            Self::DiskBars => {
                let most = history.disk_values().fold(0.0, f64::max);
                bars(history.disk_values(), width, most, theme)
            }
        }
    }

    fn style(self, row: &Row, state: &State) -> Style {
        let theme = state.theme;
        match self {
            Self::State => match row.mood() {
                Mood::Good => theme.good(),
                Mood::Between => theme.warning(),
                Mood::Bad => theme.bad(),
                Mood::Idle => theme.dim(),
            },
            Self::CpuBars | Self::MemoryBars | Self::NetworkBars | Self::DiskBars => theme.chart(),
            _ if !row.runs() => theme.dim(),
            Self::Memory
                if row.history.memory.last() > 0.9 * row.history.memory_limit
                    && row.history.memory_limit > 0.0 =>
            {
                theme.bad()
            }
            _ => theme.plain(),
        }
    }
}

/// What a full bar of memory is: twice the most there was, but not more than there can be.
fn most_memory(history: &History) -> f64 {
    let most = 2.0 * history.memory.max();
    if history.memory_limit > 0.0 {
        most.min(history.memory_limit)
    } else {
        most
    }
}

/// The columns that fit, with their widths.
fn columns(width: u16) -> Vec<(Column, u16)> {
    let mut columns: Vec<(Column, u16)> = COLUMNS
        .iter()
        .filter(|(_, _, least)| *least <= width)
        .map(|(column, wide, _)| (*column, *wide))
        .collect();
    let others: u16 = columns.iter().map(|(_, wide)| wide + 1).sum();
    // Names get what is left.
    columns[0].1 = width.saturating_sub(others);
    columns
}

/// Draws the table. Returns how many rows have room.
pub(super) fn table(state: &State, area: Rect, buffer: &mut Buffer) -> usize {
    let theme = state.theme;
    let mut pen = Pen {
        buffer,
        area,
        state,
    };
    let columns = columns(area.width);
    let mut x = 0;
    for (column, width) in &columns {
        let mut title = column.title().to_owned();
        if column.is_sorted(state.containers.sort) {
            title.push_str(theme.arrow(!state.containers.backwards));
        }
        x = pen.text(
            x,
            0,
            &cell(&title, *width, column.is_right(), state),
            theme.heading(),
        );
        x = pen.text(x, 0, " ", theme.plain());
    }
    let room = usize::from(area.height.saturating_sub(1));
    if state.containers.shown().len() == 0 {
        pen.text(1, 2, nothing(state), theme.dim());
        return room;
    }
    rows(&mut pen, &state.containers, &columns, room);
    room
}

fn nothing(state: &State) -> &'static str {
    match (state.known, state.containers.all().next().is_some()) {
        (false, _) => "asking the daemon …",
        (true, false) => "no containers",
        (true, true) if state.containers.filter.is_empty() => "none runs; a shows the others",
        (true, true) => "none matches the filter; Esc takes it back",
    }
}

fn rows(pen: &mut Pen<'_>, containers: &Containers, columns: &[(Column, u16)], room: usize) {
    let place = containers.place().unwrap_or(0);
    let first = first_shown(place, containers.shown().len(), room);
    let (state, theme) = (pen.state, pen.state.theme);
    for (at, row) in containers.shown().enumerate().skip(first).take(room) {
        let y = u16::try_from(at - first + 1).unwrap_or(u16::MAX);
        let mut x = 0;
        for (column, width) in columns {
            let text = column.text(row, (*width).into(), state);
            let style = match at == place {
                true => theme.selected(),
                false => column.style(row, state),
            };
            x = pen.text(x, y, &cell(&text, *width, column.is_right(), state), style);
            x = pen.text(
                x,
                y,
                " ",
                if at == place {
                    theme.selected()
                } else {
                    theme.plain()
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_the_screen_and_no_more() {
        for width in 20..300 {
            let columns = columns(width);
            let all: u16 = columns.iter().map(|(_, wide)| wide + 1).sum();
            assert!(all <= width.max(20), "{width}: {columns:?}");
            assert!(columns[0].1 >= 8, "{width}: {columns:?}");
        }
    }
}
