//! One container: charts, facts, and its log.

use super::{Pen, first_shown};
use crate::state::{History, Open, Row, Series, State};
use crate::text::{age, bars, bytes, percent};
use hull_api::container::Inspect;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// The column where a fact begins, behind its name.
const INDENT: u16 = 10;

/// Draws a container's page. Returns how many lines of facts have room.
pub(super) fn page(state: &State, open: &Open, area: Rect, buffer: &mut Buffer) -> usize {
    let Some(row) = state.containers.get(&open.id) else {
        return 1;
    };
    let theme = state.theme;
    let mut pen = Pen {
        buffer,
        area,
        state,
    };
    title(&mut pen, row);
    let charts = chart_rows(area.height);
    draw_charts(&mut pen, &row.history, charts);
    let top = 1 + charts * 2;
    let facts = facts(row, open.inspect.as_deref(), state.now);
    // Facts and log share what is left; a short page of facts leaves more to the log.
    let left = area.height.saturating_sub(top);
    let wanted = u16::try_from(facts.len()).unwrap_or(u16::MAX);
    let room = wanted.min(if left > 8 { left - left / 3 } else { left });
    let last = facts.len().saturating_sub(room.into());
    open.last_scroll.set(last);
    let first = open.scroll.min(last);
    for (at, (name, fact)) in facts.iter().skip(first).take(room.into()).enumerate() {
        let y = top + u16::try_from(at).unwrap_or(u16::MAX);
        pen.text(1, y, name, theme.heading());
        pen.foreign(INDENT + 1, y, fact, theme.plain());
    }
    let log = Rect {
        y: area.y + top + room,
        height: left - room,
        ..area
    };
    if log.height >= 2 {
        draw_log(state, open, log, buffer);
    }
    room.into()
}

/// Draws a container's log alone. Returns how many lines have room.
pub(super) fn log_page(state: &State, open: &Open, area: Rect, buffer: &mut Buffer) -> usize {
    draw_log(state, open, area, buffer)
}

fn title(pen: &mut Pen<'_>, row: &Row) {
    let theme = pen.state.theme;
    let x = pen.foreign(1, 0, row.name(), theme.strong());
    let text = format!("  {}  {}", row.state(), row.summary.status);
    pen.foreign(x, 0, &text, theme.dim());
}

/// How many rows each of the two rows of charts has: a title and bars.
fn chart_rows(height: u16) -> u16 {
    match height {
        ..12 => 0,
        12..30 => 2,
        _ => 4,
    }
}

/// One kind of number over time.
struct Chart {
    title: String,
    values: Vec<f64>,
    /// A full bar is this, or the most there was.
    least: f64,
}

fn charts(history: &History) -> [Chart; 4] {
    let limit = if history.memory_limit > 0.0 {
        format!(" of {}", bytes(history.memory_limit))
    } else {
        String::new()
    };
    let pair = |name: &str, one: (&str, &Series), other: (&str, &Series)| {
        let rate = |series: &Series| bytes(series.last());
        format!(
            "{name} {} {}/s  {} {}/s",
            one.0,
            rate(one.1),
            other.0,
            rate(other.1)
        )
    };
    let (cpu, memory) = (&history.cpu, &history.memory);
    let chart = |title: String, values: Vec<f64>, least: f64| Chart {
        title,
        values,
        least,
    };
    [
        chart(
            format!("CPU {}%  most {}%", percent(cpu.last()), percent(cpu.max())),
            cpu.values().collect(),
            100.0,
        ),
        chart(
            format!(
                "memory {}{limit}  most {}",
                bytes(memory.last()),
                bytes(memory.max())
            ),
            memory.values().collect(),
            0.0,
        ),
        chart(
            pair("network", ("in", &history.received), ("out", &history.sent)),
            history.network_values().collect(),
            0.0,
        ),
        chart(
            pair("disk", ("read", &history.read), ("write", &history.written)),
            history.disk_values().collect(),
            0.0,
        ),
    ]
}

/// Two beside each other, two below these.
fn draw_charts(pen: &mut Pen<'_>, history: &History, rows: u16) {
    if rows == 0 {
        return;
    }
    let half = pen.area.width / 2;
    for (at, chart) in (0..).zip(&charts(history)) {
        let x = if at % 2 == 0 { 1 } else { half + 1 };
        let y = 1 + at / 2 * rows;
        draw_chart(pen, (x, y), (half.saturating_sub(2), rows), chart);
    }
}

/// A title, and bars below that fill `rows` - 1 rows.
fn draw_chart(pen: &mut Pen<'_>, (x, y): (u16, u16), (width, rows): (u16, u16), chart: &Chart) {
    let theme = pen.state.theme;
    let title = crate::text::cut(&chart.title, width.into(), theme);
    pen.text(x, y, &title, theme.dim());
    let full = chart.values.iter().copied().fold(chart.least, f64::max);
    let height = rows - 1;
    let share = full / f64::from(height.max(1));
    for line in 0..height {
        // The lowest row shows what is below its share, the next what is above that.
        let below = f64::from(height - 1 - line) * share;
        let values = chart.values.iter();
        let part = values.map(|value| (value - below).clamp(0.0, share));
        let bars = bars(part, width.into(), share, theme);
        pen.text(x, y + 1 + line, &bars, theme.chart());
    }
}

fn draw_log(state: &State, open: &Open, area: Rect, buffer: &mut Buffer) -> usize {
    let theme = state.theme;
    let mut pen = Pen {
        buffer,
        area,
        state,
    };
    let lines = open.log.shown();
    let room = usize::from(area.height.saturating_sub(1));
    let name = state.containers.get(&open.id).map_or("", Row::name);
    let place = match (open.log.back, open.log.ended.as_deref()) {
        (0, None) => String::new(),
        (0, Some(why)) => format!("  {why}"),
        (back, _) => format!("  {back} lines further down"),
    };
    let rule = theme.rule().repeat(area.width.into());
    pen.text(0, 0, &rule, theme.dim());
    pen.foreign(1, 0, &format!(" log of {name}{place} "), theme.heading());
    if lines.is_empty() {
        pen.text(1, 1, "nothing yet", theme.dim());
        return room;
    }
    let end = lines.len().saturating_sub(open.log.back);
    let first = first_shown(end, end, room);
    for (at, line) in lines[first..end].iter().take(room).enumerate() {
        let y = 1 + u16::try_from(at).unwrap_or(u16::MAX);
        let style = if line.error {
            theme.warning()
        } else {
            theme.plain()
        };
        pen.foreign(0, y, &line.text, style);
    }
    room
}

/// What is known of a container, a line each.
fn facts(row: &Row, inspect: Option<&Inspect>, now: i64) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("image", row.summary.image.clone()),
        ("command", row.summary.command.clone()),
        (
            "id",
            row.summary
                .id
                .get(..12)
                .unwrap_or(&row.summary.id)
                .to_owned(),
        ),
        ("created", format!("{} ago", age(now - row.summary.created))),
    ];
    let ports = row.ports();
    if !ports.is_empty() {
        facts.push(("ports", ports.join("  ")));
    }
    for (name, network) in row.summary.network_settings.networks.iter().flatten() {
        let addresses = format!(
            "{name} {} {}",
            network.ip_address, network.global_ipv6_address
        );
        facts.push(("network", addresses.trim_end().to_owned()));
    }
    for mount in &row.summary.mounts {
        let source = if mount.name.is_empty() {
            &mount.source
        } else {
            &mount.name
        };
        let access = if mount.rw { "" } else { "  read-only" };
        facts.push((
            "mount",
            format!("{}  from {source}{access}", mount.destination),
        ));
    }
    if let Some(inspect) = inspect {
        inspected(&mut facts, inspect);
    }
    facts
}

fn inspected(facts: &mut Vec<(&'static str, String)>, inspect: &Inspect) {
    let state = &inspect.state;
    // What went wrong comes first.
    let mut first = Vec::new();
    if !state.error.is_empty() {
        first.push(("error", state.error.clone()));
    }
    if state.oom_killed {
        first.push((
            "memory",
            "a process was killed for want of memory".to_owned(),
        ));
    }
    if let Some(health) = &state.health {
        let last = health.log.iter().flatten().next_back();
        let output = last.map_or("", |result| result.output.trim());
        let text = format!(
            "{}, {} failures in a row: {output}",
            health.status, health.failing_streak
        );
        first.push(("health", text));
    }
    facts.splice(0..0, first);
    if inspect.restart_count > 0 {
        facts.push(("restarts", inspect.restart_count.to_string()));
    }
    if !inspect.config.user.is_empty() {
        facts.push(("user", inspect.config.user.clone()));
    }
    for entry in inspect.config.labels.iter().flatten() {
        facts.push(("label", format!("{}={}", entry.0, entry.1)));
    }
}
