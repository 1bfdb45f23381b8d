//! What the view knows and shows. Pure: keys and messages go in, commands come out, nothing is drawn or asked here.

mod containers;
pub(crate) mod grid;
mod history;
pub(crate) mod keys;
mod log;

pub(crate) use containers::{Containers, Mood, Row, Sort};
pub(crate) use grid::{Cell, Grid, GridRow};
pub(crate) use history::{History, Series};
pub(crate) use log::Log;

use crate::message::{Action, Command, Host, Message, Tab};
use crate::theme::Theme;
use hull_api::container::Inspect;

/// What of a container fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Details,
    Log,
}

/// What lies over the screen, and gets the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Overlay {
    Help,
    /// A question before something that cannot be taken back.
    Ask(Action),
    /// The filter is being typed.
    Filter,
}

/// A container that fills the screen.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: String,
    pub(crate) page: Page,
    pub(crate) inspect: Option<Box<Inspect>>,
    pub(crate) log: Log,
    /// The first line of the details that is shown.
    pub(crate) scroll: usize,
    /// The last line that can be the first; told by the view.
    pub(crate) last_scroll: std::cell::Cell<usize>,
    number: u64,
}

/// A sentence for the last line, until the next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) text: String,
    pub(crate) failed: bool,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) theme: Theme,
    pub(crate) tab: Tab,
    pub(crate) containers: Containers,
    images: Grid,
    volumes: Grid,
    networks: Grid,
    disk: Grid,
    pub(crate) open: Option<Open>,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) notice: Option<Notice>,
    pub(crate) host: Host,
    /// Whether the daemon has told of its containers.
    pub(crate) known: bool,
    /// Why the daemon does not answer.
    pub(crate) lost: Option<String>,
    /// How many rows a page has; told by the view.
    pub(crate) page_rows: usize,
    logs_asked: u64,
    /// Now, in seconds since 1970; told from outside.
    pub(crate) now: i64,
}

impl State {
    pub(crate) fn new(theme: Theme) -> Self {
        Self {
            theme,
            tab: Tab::Containers,
            containers: Containers::default(),
            images: Grid::new(grid::IMAGES),
            volumes: Grid::new(grid::VOLUMES),
            networks: Grid::new(grid::NETWORKS),
            disk: Grid::fixed(grid::DISK),
            open: None,
            overlay: None,
            notice: None,
            host: Host::default(),
            known: false,
            lost: None,
            page_rows: 10,
            logs_asked: 0,
            now: 0,
        }
    }

    /// The table of a tab; the containers have another.
    pub(crate) fn grid(&self, tab: Tab) -> Option<&Grid> {
        match tab {
            Tab::Containers => None,
            Tab::Images => Some(&self.images),
            Tab::Volumes => Some(&self.volumes),
            Tab::Networks => Some(&self.networks),
            Tab::Disk => Some(&self.disk),
        }
    }

    fn grid_mut(&mut self, tab: Tab) -> Option<&mut Grid> {
        match tab {
            Tab::Containers => None,
            Tab::Images => Some(&mut self.images),
            Tab::Volumes => Some(&mut self.volumes),
            Tab::Networks => Some(&mut self.networks),
            Tab::Disk => Some(&mut self.disk),
        }
    }

    /// The filter of what is on the screen.
    pub(crate) fn filter(&self) -> &str {
        match (&self.open, self.grid(self.tab)) {
            (Some(open), _) => &open.log.filter,
            (None, Some(grid)) => &grid.filter,
            (None, None) => &self.containers.filter,
        }
    }

    /// Takes in what came from the daemon.
    pub(crate) fn message(&mut self, message: Message) -> Vec<Command> {
        match message {
            Message::Connected(host) => {
                self.host = host;
                self.lost = None;
                return self.fetch();
            }
            Message::Lost(why) => self.lost = Some(why),
            Message::Containers(list) => {
                self.known = true;
                self.containers.replace(list);
                return self.look_again();
            }
            Message::Sample(id, stats) => self.containers.sample(&id, &stats),
            Message::Changed(tab) if tab == self.tab => return self.fetch(),
            Message::Changed(_) => {}
            Message::Rows(tab, rows) => {
                if let Some(grid) = self.grid_mut(tab) {
                    grid.replace(rows);
                }
            }
            Message::Inspected(inspect) => {
                if let Some(open) = self.open.as_mut().filter(|open| open.id == inspect.id) {
                    open.inspect = Some(inspect);
                }
            }
            Message::Log {
                number,
                error,
                bytes,
            } => {
                let theme = self.theme;
                if let Some(open) = self.open_log(number) {
                    open.push(&bytes, error, theme);
                }
            }
            Message::LogEnded { number, why } => {
                if let Some(log) = self.open_log(number) {
                    log.ended = Some(why);
                }
            }
            Message::Done { text, failed } => self.notice = Some(Notice { text, failed }),
        }
        Vec::new()
    }

    fn open_log(&mut self, number: u64) -> Option<&mut Log> {
        let open = self.open.as_mut().filter(|open| open.number == number)?;
        Some(&mut open.log)
    }

    /// What the tab needs that nobody sends by itself.
    fn fetch(&self) -> Vec<Command> {
        match self.tab {
            Tab::Containers => Vec::new(),
            tab => vec![Command::Fetch(tab)],
        }
    }

    /// The list is new: so may be the one that fills the screen.
    fn look_again(&mut self) -> Vec<Command> {
        let Some(open) = &self.open else {
            return Vec::new();
        };
        let id = open.id.clone();
        let Some(row) = self.containers.get(&id) else {
            let text = "the container is gone".to_owned();
            self.notice = Some(Notice {
                text,
                failed: false,
            });
            return self.close();
        };
        let mut commands = vec![Command::Inspect(id.clone())];
        if row.runs() && open.log.ended.is_some() {
            // Started again: its log goes on.
            commands.push(self.follow(id));
        }
        commands
    }

    fn follow(&mut self, id: String) -> Command {
        self.logs_asked += 1;
        let number = self.logs_asked;
        if let Some(open) = &mut self.open {
            let filter = std::mem::take(&mut open.log.filter);
            open.log = Log::default();
            open.log.filter = filter;
            open.number = number;
        }
        Command::Log { id, number }
    }

    fn show(&mut self, id: String, page: Page) -> Vec<Command> {
        if let Some(open) = self.open.as_mut().filter(|open| open.id == id) {
            open.page = page;
            return Vec::new();
        }
        self.open = Some(Open {
            id: id.clone(),
            page,
            inspect: None,
            log: Log::default(),
            scroll: 0,
            last_scroll: std::cell::Cell::new(0),
            number: 0,
        });
        vec![Command::Inspect(id.clone()), self.follow(id)]
    }

    fn close(&mut self) -> Vec<Command> {
        self.open = None;
        vec![Command::NoLog]
    }
}
