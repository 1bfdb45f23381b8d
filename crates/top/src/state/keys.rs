//! What keys do. Small letters look, capitals change something.

use super::{Notice, Overlay, Page, State};
use crate::message::{Action, Command, Key, Tab, Verb};

/// Keys for people: for the help, and in short for the last line.
pub(crate) const HELP: &[(&str, &str)] = &[
    (
        "1-5, Tab",
        "containers, images, volumes, networks, disk use",
    ),
    (
        "up, down, j, k",
        "select; PgUp, PgDn, Home and End go further",
    ),
    ("Enter", "details of a container, Esc goes back"),
    ("l", "log; / shows only lines with a text in them"),
    (
        "s, d",
        "a shell in the container; d brings tools for one without",
    ),
    ("/", "filter by name, image, state or label"),
    ("o, O", "sort by the next column; the other way round"),
    ("a", "also containers that do not run, or not"),
    ("r", "ask the daemon again"),
    ("S", "start or stop"),
    ("R", "restart"),
    ("P", "pause or go on"),
    ("K", "kill (asks first)"),
    ("X, Delete", "remove (asks first)"),
    ("q, Ctrl-C", "quit; Ctrl-Z leaves for a while"),
];

impl State {
    /// Takes in a key.
    pub(crate) fn key(&mut self, key: Key) -> Vec<Command> {
        self.notice = None;
        match key {
            Key::Ctrl('c') => return vec![Command::Quit],
            Key::Ctrl('z') => return vec![Command::Suspend],
            Key::Ctrl('l') => return vec![Command::Redraw],
            _ => {}
        }
        match self.overlay.take() {
            Some(Overlay::Help) => Vec::new(),
            Some(Overlay::Ask(action)) => match key {
                Key::Char('y' | 'Y') => vec![Command::Do(action)],
                _ => Vec::new(),
            },
            Some(Overlay::Filter) => {
                self.type_filter(key);
                Vec::new()
            }
            None => self.plain_key(key),
        }
    }

    fn plain_key(&mut self, key: Key) -> Vec<Command> {
        match key {
            Key::Char('q') => return vec![Command::Quit],
            Key::Char('?' | 'h') => self.overlay = Some(Overlay::Help),
            Key::Char('/') => self.overlay = Some(Overlay::Filter),
            Key::Char(digit @ '1'..='5') => {
                let at = usize::from(digit as u8 - b'1');
                return self.turn_to(Tab::ALL[at]);
            }
            Key::Tab => return self.turn(1),
            Key::BackTab => return self.turn(Tab::ALL.len() - 1),
            Key::Up | Key::Char('k') => self.step(-1),
            Key::Down | Key::Char('j') => self.step(1),
            Key::PageUp => self.step(-self.page_step()),
            Key::PageDown | Key::Char(' ') => self.step(self.page_step()),
            Key::Home | Key::Char('g') => self.step(-END),
            Key::End | Key::Char('G') => self.step(END),
            Key::Escape => return self.back(),
            Key::Char('r') => return vec![Command::Fetch(self.tab)],
            _ => return self.object_key(key),
        }
        Vec::new()
    }

    fn object_key(&mut self, key: Key) -> Vec<Command> {
        if key == Key::Char('X') || key == Key::Delete {
            self.ask(Verb::Remove);
            return Vec::new();
        }
        if self.tab != Tab::Containers {
            if key == Key::Char('o')
                && let Some(grid) = self.grid_mut(self.tab)
            {
                grid.sort_next();
            }
            return Vec::new();
        }
        match key {
            Key::Char('o') => self.sort(),
            Key::Char('O') => {
                self.containers.backwards = !self.containers.backwards;
                self.containers.arrange();
            }
            Key::Char('a') => {
                self.containers.hide_idle = !self.containers.hide_idle;
                self.containers.arrange();
            }
            Key::Enter => return self.open_selected(Page::Details),
            Key::Char('l') => return self.open_selected(Page::Log),
            Key::Char('s') => return self.shell(false),
            Key::Char('d') => return self.shell(true),
            Key::Char('S') => return self.start_or_stop(),
            Key::Char('R') => return self.act(Verb::Restart),
            Key::Char('P') => return self.pause(),
            Key::Char('K') => self.ask(Verb::Kill),
            _ => {}
        }
        Vec::new()
    }

    fn type_filter(&mut self, key: Key) {
        let mut filter = self.filter().to_owned();
        match key {
            Key::Enter => return,
            Key::Escape => filter.clear(),
            Key::Backspace => {
                filter.pop();
            }
            Key::Ctrl('u') => filter.clear(),
            Key::Char(char) if filter.len() < 256 => filter.push(char),
            _ => {}
        }
        if key != Key::Escape {
            self.overlay = Some(Overlay::Filter);
        }
        self.set_filter(filter);
    }

    fn set_filter(&mut self, filter: String) {
        if let Some(open) = &mut self.open {
            open.log.filter = filter;
            open.log.back = 0;
        } else if let Some(grid) = self.grid_mut(self.tab) {
            grid.filter = filter;
            grid.step(0);
        } else {
            self.containers.filter = filter;
            self.containers.arrange();
        }
    }

    fn turn(&mut self, by: usize) -> Vec<Command> {
        let at = Tab::ALL
            .iter()
            .position(|tab| *tab == self.tab)
            .unwrap_or(0);
        self.turn_to(Tab::ALL[(at + by) % Tab::ALL.len()])
    }

    fn turn_to(&mut self, tab: Tab) -> Vec<Command> {
        let mut commands = if self.open.is_some() {
            self.close()
        } else {
            Vec::new()
        };
        self.tab = tab;
        commands.extend(self.fetch());
        commands
    }

    fn page_step(&self) -> isize {
        isize::try_from(self.page_rows.max(1)).unwrap_or(END)
    }

    fn step(&mut self, by: isize) {
        match &mut self.open {
            Some(open) if open.page == Page::Log => open.log.step(by),
            Some(open) => open.scroll = open.scroll.saturating_add_signed(by),
            None => match self.grid_mut(self.tab) {
                Some(grid) => grid.step(by),
                None => self.containers.step(by),
            },
        }
    }

    /// One step back: out of a page, or to all rows.
    fn back(&mut self) -> Vec<Command> {
        if !self.filter().is_empty() {
            self.set_filter(String::new());
            return Vec::new();
        }
        if self.open.is_some() {
            return self.close();
        }
        Vec::new()
    }

    fn sort(&mut self) {
        self.containers.sort = self.containers.sort.next();
        self.containers.backwards = false;
        self.containers.arrange();
    }

    /// The id of the container that keys are about.
    fn subject(&self) -> Option<String> {
        match &self.open {
            Some(open) => Some(open.id.clone()),
            None => self.containers.selected().map(|row| row.summary.id.clone()),
        }
    }

    fn open_selected(&mut self, page: Page) -> Vec<Command> {
        match self.subject() {
            Some(id) => self.show(id, page),
            None => Vec::new(),
        }
    }

    fn shell(&mut self, tools: bool) -> Vec<Command> {
        let Some(id) = self.subject() else {
            return Vec::new();
        };
        let running = self
            .containers
            .get(&id)
            .is_some_and(|row| row.summary.state == "running");
        if !running && !tools {
            let text = "a shell needs a container that runs; S starts it".to_owned();
            self.notice = Some(Notice { text, failed: true });
            return Vec::new();
        }
        vec![Command::Shell { id, tools }]
    }

    fn action(&self, verb: Verb) -> Option<Action> {
        if self.tab == Tab::Containers {
            let row = self.containers.get(&self.subject()?)?;
            return Some(Action {
                verb,
                tab: self.tab,
                id: row.summary.id.clone(),
                name: row.name().to_owned(),
            });
        }
        let row = self.grid(self.tab)?.selected()?;
        let name = match row.cells.first() {
            Some(super::Cell::Text(text)) => text.clone(),
            _ => String::new(),
        };
        Some(Action {
            verb,
            tab: self.tab,
            id: row.id.clone()?,
            name,
        })
    }

    fn act(&mut self, verb: Verb) -> Vec<Command> {
        let Some(action) = self.action(verb) else {
            return Vec::new();
        };
        let text = format!("{} {} …", verb.word(), action.name);
        self.notice = Some(Notice {
            text,
            failed: false,
        });
        vec![Command::Do(action)]
    }

    fn ask(&mut self, verb: Verb) {
        self.overlay = self.action(verb).map(Overlay::Ask);
    }

    fn start_or_stop(&mut self) -> Vec<Command> {
        let runs = self
            .subject()
            .and_then(|id| self.containers.get(&id).map(super::Row::runs));
        match runs {
            Some(true) => self.act(Verb::Stop),
            Some(false) => self.act(Verb::Start),
            None => Vec::new(),
        }
    }

    fn pause(&mut self) -> Vec<Command> {
        let paused = self
            .subject()
            .and_then(|id| self.containers.get(&id).map(super::Row::is_paused));
        match paused {
            Some(true) => self.act(Verb::Unpause),
            Some(false) => self.act(Verb::Pause),
            None => Vec::new(),
        }
    }
}

/// More rows than there are.
const END: isize = isize::MAX / 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::theme::Theme;
    use hull_api::container::Summary;
    use proptest::prelude::*;

    fn state() -> State {
        let mut state = State::new(Theme {
            color: true,
            unicode: true,
        });
        let summary = |name: &str, state: &str| Summary {
            id: format!("id-{name}"),
            names: vec![format!("/{name}")],
            state: state.to_owned(),
            ..Summary::default()
        };
        let list = vec![summary("web", "running"), summary("job", "exited")];
        assert!(state.message(Message::Containers(list)).is_empty());
        state
    }

    fn action(verb: Verb, name: &str) -> Command {
        Command::Do(Action {
            verb,
            tab: Tab::Containers,
            id: format!("id-{name}"),
            name: name.to_owned(),
        })
    }

    #[test]
    fn removal_and_kill_ask_first() {
        let mut state = state();
        for (key, verb) in [(Key::Char('X'), Verb::Remove), (Key::Char('K'), Verb::Kill)] {
            assert!(state.key(key).is_empty());
            assert!(matches!(state.overlay, Some(Overlay::Ask(_))));
            assert!(state.key(Key::Enter).is_empty());
            assert!(state.overlay.is_none());
            let _ = state.key(key);
            assert_eq!(state.key(Key::Char('y')), [action(verb, "web")]);
        }
    }

    #[test]
    fn start_and_stop_are_one_key() {
        let mut state = state();
        assert_eq!(state.key(Key::Char('S')), [action(Verb::Stop, "web")]);
        let _ = state.key(Key::Down);
        assert_eq!(state.key(Key::Char('S')), [action(Verb::Start, "job")]);
        assert!(state.key(Key::Char('s')).is_empty());
        assert!(state.notice.as_ref().unwrap().failed);
    }

    #[test]
    fn a_log_is_followed_while_it_is_looked_at() {
        let mut state = state();
        let opened = state.key(Key::Char('l'));
        let follow = Command::Log {
            id: "id-web".to_owned(),
            number: 1,
        };
        assert_eq!(opened, [Command::Inspect("id-web".to_owned()), follow]);
        let bytes = bytes::Bytes::from_static(b"hello\n");
        for number in [1, 7] {
            let _ = state.message(Message::Log {
                number,
                error: false,
                bytes: bytes.clone(),
            });
        }
        assert_eq!(state.open.as_ref().unwrap().log.shown().len(), 1);
        // From one page to the other nothing is asked again.
        assert!(state.key(Key::Enter).is_empty());
        let _ = state.message(Message::LogEnded {
            number: 1,
            why: "stopped".to_owned(),
        });
        let list = vec![Summary {
            id: "id-web".to_owned(),
            state: "running".to_owned(),
            ..Summary::default()
        }];
        let again = state.message(Message::Containers(list));
        assert!(
            matches!(again[1], Command::Log { number: 2, .. }),
            "{again:?}"
        );
        assert_eq!(state.key(Key::Escape), [Command::NoLog]);
        assert!(state.open.is_none());
    }

    #[test]
    fn a_container_that_goes_is_left() {
        let mut state = state();
        let _ = state.key(Key::Enter);
        assert_eq!(
            state.message(Message::Containers(Vec::new())),
            [Command::NoLog]
        );
        assert!(state.open.is_none() && state.notice.is_some());
    }

    #[test]
    fn a_filter_is_typed_and_taken_back() {
        let mut state = state();
        for key in [
            Key::Char('/'),
            Key::Char('j'),
            Key::Char('q'),
            Key::Backspace,
        ] {
            assert!(state.key(key).is_empty());
        }
        assert_eq!((state.filter(), state.containers.shown().len()), ("j", 1));
        let _ = state.key(Key::Enter);
        assert!(state.overlay.is_none());
        let _ = state.key(Key::Escape);
        assert_eq!((state.filter(), state.containers.shown().len()), ("", 2));
    }

    #[test]
    fn a_tab_asks_for_what_it_shows() {
        let mut state = state();
        assert_eq!(state.key(Key::Tab), [Command::Fetch(Tab::Images)]);
        assert_eq!(state.key(Key::Char('5')), [Command::Fetch(Tab::Disk)]);
        assert!(state.message(Message::Changed(Tab::Images)).is_empty());
        assert!(state.key(Key::Char('X')).is_empty() && state.overlay.is_none());
    }

    fn keys() -> impl Strategy<Value = Key> {
        prop_oneof![
            any::<char>().prop_map(Key::Char),
            "[a-zA-Z0-9/?]".prop_map(|text| Key::Char(text.chars().next().unwrap_or('x'))),
            prop::sample::select(vec![
                Key::Up,
                Key::Down,
                Key::PageUp,
                Key::PageDown,
                Key::Home,
                Key::End,
                Key::Enter,
                Key::Escape,
                Key::Backspace,
                Key::Delete,
                Key::Tab,
                Key::BackTab,
            ]),
        ]
    }

    proptest! {
        #[test]
        fn any_keys_do_something_or_nothing(keys in prop::collection::vec(keys(), 0..60)) {
            let mut state = state();
            for key in keys {
                let _ = state.key(key);
            }
        }
    }
}
