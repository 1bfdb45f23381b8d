//! The screen, as it is drawn, in texts written by hand.

use super::draw;
use crate::message::{Host, Key, Message, Tab};
use crate::state::State;
use crate::theme::Theme;
use hull_api::container::stats::{NetworkStats, Stats};
use hull_api::container::{Inspect, Port, Summary};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Modifier;

const ASCII: Theme = Theme {
    color: false,
    unicode: false,
};
const UNICODE: Theme = Theme {
    color: true,
    unicode: true,
};

fn summary(name: &str, state: &str, status: &str) -> Summary {
    Summary {
        id: format!("{name}0123456789abcdef"),
        names: vec![format!("/{name}")],
        image: "nginx:1.27".to_owned(),
        command: "nginx -g daemon".to_owned(),
        created: 1_000,
        state: state.to_owned(),
        status: status.to_owned(),
        ports: vec![Port {
            ip: "0.0.0.0".to_owned(),
            private_port: 80,
            public_port: 8080,
            protocol: "tcp".to_owned(),
        }],
        ..Summary::default()
    }
}

/// The sample of second `at`: one processor of two, and more and more of all else.
fn sample(at: u64) -> Stats {
    let mut stats = Stats {
        read: format!("2026-01-01T00:00:{at:02}Z"),
        ..Stats::default()
    };
    let nanoseconds = 1_000_000_000;
    stats.cpu_stats.cpu_usage.total_usage = at * nanoseconds;
    stats.cpu_stats.system_cpu_usage = at * 2 * nanoseconds;
    stats.cpu_stats.online_cpus = 2;
    stats.precpu_stats.cpu_usage.total_usage = (at - 1) * nanoseconds;
    stats.precpu_stats.system_cpu_usage = (at - 1) * 2 * nanoseconds + 1;
    stats.memory_stats.usage = (at * 100) << 20;
    stats.memory_stats.limit = 1 << 30;
    stats.pids_stats.current = 3;
    let device = NetworkStats {
        rx_bytes: at * at * 1_000,
        ..NetworkStats::default()
    };
    stats.networks = [("eth0".to_owned(), device)].into();
    stats
}

fn state(theme: Theme) -> State {
    let mut state = State::new(theme);
    state.now = 1_000 + 7_300;
    let host = Host {
        name: "box".to_owned(),
        processors: 2,
        memory: 8 << 30,
    };
    let list = vec![
        summary("web", "running", "Up 2 hours (unhealthy)"),
        summary("db", "running", "Up 3 days"),
        summary("job", "exited", "Exited (1) 5 minutes ago"),
    ];
    let mut all = vec![Message::Connected(host), Message::Containers(list)];
    for at in 1..=8 {
        all.push(Message::Sample(
            "db0123456789abcdef".to_owned(),
            Box::new(sample(at)),
        ));
    }
    for message in all {
        let _ = state.message(message);
    }
    state
}

fn drawn(state: &mut State, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| draw(state, frame.area(), frame.buffer_mut()))
        .unwrap();
    terminal.backend().buffer().clone()
}

/// The screen's lines without the spaces at their ends.
fn lines(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area().width);
    let rows = buffer.content().chunks(width);
    let line = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(|cell| cell.symbol()).collect::<String>()
    };
    rows.map(|cells| line(cells).trim_end().to_owned())
        .collect()
}

fn screen(state: &mut State, width: u16, height: u16) -> String {
    lines(&drawn(state, width, height)).join("\n")
}

#[test]
fn containers_in_80_columns() {
    let seen = screen(&mut state(UNICODE), 80, 10);
    let wanted = " 1 Containers  2 Images  3 Volumes  4 Networks  5 Disk                       box
 2 of 3 run · 1 unhealthy · CPU 100% of 200% · memory 800M of 8.0G · net 15k/s …
NAME                   STATE▼      CPU%              MEM           NET/s DISK/s
db                     running      100   ████████  800M ▁▂▃▄▄▅▆▇    15k      0
web                    unhealthy    0.0                0               0      0
job                    exit 1         -                -               -      -



? keys q quit Enter details l log s shell / filter o sort S start/stop";
    assert_eq!(seen, wanted, "\n{seen}");
}

#[test]
fn containers_in_40_columns_of_ascii() {
    let seen = screen(&mut state(ASCII), 40, 8);
    let wanted = " 1 Containers  2  3  4  5            box
 2 of 3 run | 1 unhealthy | CPU 100% of~
NAME             STATEv      CPU%   MEM
db               running      100  800M
web              unhealthy    0.0     0
job              exit 1         -     -

? keys q quit Enter details l log";
    assert_eq!(seen, wanted, "\n{seen}");
}

#[test]
fn details_in_80_columns() {
    let mut state = state(UNICODE);
    let _ = state.key(Key::Enter);
    let mut inspect = Inspect {
        id: "db0123456789abcdef".to_owned(),
        restart_count: 2,
        ..Inspect::default()
    };
    inspect.state.oom_killed = true;
    let _ = state.message(Message::Inspected(Box::new(inspect)));
    let bytes = bytes::Bytes::from_static(b"one\n\x1b[31mtwo\x1b[0m\n");
    let _ = state.message(Message::Log {
        number: 1,
        error: false,
        bytes,
    });
    let seen = screen(&mut state, 80, 24);
    let wanted = " 1 Containers  2 Images  3 Volumes  4 Networks  5 Disk                       box
 2 of 3 run · 1 unhealthy · CPU 100% of 200% · memory 800M of 8.0G · net 15k/s …
 db  running  Up 3 days
 CPU 100%  most 100%                     memory 800M of 1.0G  most 800M
                               ████████                                ▁▂▃▄▅▆▇█
 network in 15k/s  out 0/s               disk read 0/s  write 0/s
                                ▂▃▄▅▆▇█
 memory    a process was killed for want of memory
 image     nginx:1.27
 command   nginx -g daemon
 id        db0123456789
 created   2h ago
 ports     8080->80/tcp
 restarts  2
─ log of db ────────────────────────────────────────────────────────────────────
one
two






? keys Esc back l log s shell S start/stop R restart X remove q quit";
    assert_eq!(seen, wanted, "\n{seen}");
}

#[test]
fn help_and_questions_lie_over_the_screen() {
    let mut state = state(ASCII);
    let _ = state.key(Key::Char('?'));
    let seen = screen(&mut state, 80, 24);
    assert!(
        seen.contains("X, Delete       remove (asks first)"),
        "{seen}"
    );
    let _ = state.key(Key::Escape);
    let _ = state.key(Key::Char('X'));
    let seen = screen(&mut state, 80, 24);
    assert!(
        seen.contains("remove container") && seen.contains("  db\n"),
        "{seen}"
    );
}

#[test]
fn the_selected_row_is_marked_without_colors() {
    let buffer = drawn(&mut state(ASCII), 80, 10);
    let reversed = |y: u16| buffer[(1, y)].modifier.contains(Modifier::REVERSED);
    assert!(reversed(3) && !reversed(4));
    let default = |cell: &ratatui::buffer::Cell| {
        cell.fg == ratatui::style::Color::Reset && cell.bg == ratatui::style::Color::Reset
    };
    assert!(buffer.content().iter().all(default));
    assert!(lines(&buffer).iter().all(|line| line.is_ascii()));
}

#[test]
fn a_daemon_that_is_gone_is_told_of() {
    let mut state = state(ASCII);
    let _ = state.message(Message::Lost("no such file".to_owned()));
    let seen = screen(&mut state, 80, 10);
    assert!(
        seen.contains("the daemon does not answer: no such file; trying again"),
        "{seen}"
    );
}

#[test]
fn what_others_named_does_not_steer_the_terminal() {
    let mut state = state(UNICODE);
    let evil = "\x1b[2J\x07\u{202e}x";
    let mut one = summary(evil, "running", evil);
    one.image = evil.to_owned();
    one.labels = [(evil.to_owned(), evil.to_owned())].into();
    let _ = state.message(Message::Containers(vec![one]));
    let _ = state.message(Message::Lost(evil.to_owned()));
    for key in [Key::Char('x'), Key::Enter, Key::Char('X')] {
        let _ = state.key(key);
        let buffer = drawn(&mut state, 200, 40);
        let steers = |symbol: &str| {
            symbol
                .chars()
                .any(|char| char.is_control() || char == '\u{202e}')
        };
        assert!(!buffer.content().iter().any(|cell| steers(cell.symbol())));
    }
}

#[test]
fn many_rows_scroll_with_the_selected_one() {
    let mut state = state(ASCII);
    let many = (0..200).map(|n| summary(&format!("c{n:03}"), "running", "Up"));
    let _ = state.message(Message::Containers(many.collect()));
    let _ = screen(&mut state, 80, 24);
    let _ = state.key(Key::PageDown);
    let _ = state.key(Key::PageDown);
    let seen = screen(&mut state, 80, 24);
    assert!(seen.contains("c040") && !seen.contains("c000"), "{seen}");
    let _ = state.key(Key::End);
    let seen = screen(&mut state, 80, 24);
    assert!(seen.contains("c199"), "{seen}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_size_is_drawn(width in 1u16..170, height in 1u16..50, keys in prop::sample::subsequence(
        vec![Key::Char('5'), Key::Char('2'), Key::Char('1'), Key::Down, Key::Enter, Key::Char('l'), Key::Char('/'), Key::Enter, Key::Char('?'), Key::Char('X')], 0..10)) {
        for theme in [ASCII, UNICODE] {
            let mut state = state(theme);
            let _ = drawn(&mut state, width, height);
            for key in &keys {
                let _ = state.key(*key);
                let _ = drawn(&mut state, width, height);
            }
        }
    }
}

#[test]
fn tables_of_the_other_tabs() {
    let mut state = state(ASCII);
    let _ = state.key(Key::Char('2'));
    let image = hull_api::image::Summary {
        id: "sha256:0123456789abcdef".to_owned(),
        repo_tags: vec!["nginx:1.27".to_owned()],
        size: 70 << 20,
        created: 1_000,
        ..Default::default()
    };
    let rows = crate::state::grid::images(&[image]);
    let _ = state.message(Message::Rows(Tab::Images, rows));
    let seen = screen(&mut state, 60, 8);
    let wanted = " 1 Containers  2 Images  3 Volumes  4 Networks  5 Disk   box
 2 of 3 run | 1 unhealthy | CPU 100% of 200% | memory 800M ~
IMAGEv                         ID             SIZE  CREATED
nginx:1.27                     0123456789ab    70M       2h



? keys q quit / filter o sort X remove r again Tab next";
    assert_eq!(seen, wanted, "\n{seen}");
}
