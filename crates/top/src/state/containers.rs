//! The list of containers: what is known of each, in which order they are shown, and which one is meant.

use super::history::History;
use hull_api::container::Summary;
use hull_api::container::stats::Stats;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Those that run first, then by name.
    #[default]
    State,
    Name,
    Cpu,
    Memory,
    Network,
    Disk,
}

impl Sort {
    const ALL: [Self; 6] = [
        Self::State,
        Self::Name,
        Self::Cpu,
        Self::Memory,
        Self::Network,
        Self::Disk,
    ];

    /// The next column, from left to right.
    pub(crate) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// How a container is, for a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mood {
    /// Needs somebody.
    Bad,
    /// Will be something else soon, or is held.
    Between,
    Good,
    /// Does not run.
    Idle,
}

/// One container.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) summary: Summary,
    pub(crate) history: History,
}

impl Row {
    /// Its name without the slash.
    pub(crate) fn name(&self) -> &str {
        let first = self.summary.names.first();
        first.map_or(short_id(&self.summary.id), |name| {
            name.trim_start_matches('/')
        })
    }

    pub(crate) fn runs(&self) -> bool {
        matches!(
            self.summary.state.as_str(),
            "running" | "paused" | "restarting"
        )
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.summary.state == "paused"
    }

    /// Its state in a word.
    pub(crate) fn state(&self) -> String {
        let status = self.summary.status.as_str();
        match self.summary.state.as_str() {
            "running" if status.contains("(unhealthy)") => "unhealthy".to_owned(),
            "running" if status.contains("(healthy)") => "healthy".to_owned(),
            "running" if status.contains("(health: starting)") => "starting".to_owned(),
            "exited" => {
                let code = status
                    .strip_prefix("Exited (")
                    .and_then(|rest| rest.split(')').next());
                format!("exit {}", code.unwrap_or("?"))
            }
            state => state.to_owned(),
        }
    }

    pub(crate) fn mood(&self) -> Mood {
        match self.state().as_str() {
            "unhealthy" | "dead" => Mood::Bad,
            "paused" | "restarting" | "starting" | "removing" => Mood::Between,
            "running" | "healthy" => Mood::Good,
            "created" | "exit 0" => Mood::Idle,
            // Somebody or something ended it on purpose.
            "exit 143" | "exit 130" => Mood::Idle,
            _ => Mood::Bad,
        }
    }

    /// `8080->80/tcp`, a port each.
    pub(crate) fn ports(&self) -> Vec<String> {
        let one = |port: &hull_api::container::Port| match port.public_port {
            0 => format!("{}/{}", port.private_port, port.protocol),
            public => format!("{public}->{}/{}", port.private_port, port.protocol),
        };
        let mut ports: Vec<String> = self.summary.ports.iter().map(one).collect();
        ports.sort_unstable();
        // The same for both families of addresses.
        ports.dedup();
        ports
    }

    fn matches(&self, filter: &str) -> bool {
        let filter = filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&filter);
        has(self.name())
            || has(&self.summary.image)
            || has(&self.state())
            || self.summary.id.starts_with(&filter)
            || self
                .summary
                .labels
                .iter()
                .any(|(key, value)| has(&format!("{key}={value}")))
    }
}

fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// All containers.
#[derive(Debug, Default)]
pub(crate) struct Containers {
    rows: BTreeMap<String, Row>,
    /// Ids of the rows that are shown, in their order.
    shown: Vec<String>,
    selected: Option<String>,
    pub(crate) sort: Sort,
    pub(crate) backwards: bool,
    pub(crate) filter: String,
    /// Without those that do not run.
    pub(crate) hide_idle: bool,
}

impl Containers {
    /// Takes over a list of all; what was seen of those that stay is kept.
    pub(crate) fn replace(&mut self, list: Vec<Summary>) {
        let mut before = std::mem::take(&mut self.rows);
        for summary in list {
            let mut history = before
                .remove(&summary.id)
                .map(|row| row.history)
                .unwrap_or_default();
            if summary.state == "exited" || summary.state == "created" {
                history.stopped();
            }
            let row = Row { summary, history };
            self.rows.insert(row.summary.id.clone(), row);
        }
        self.arrange();
    }

    /// Adds a sample.
    pub(crate) fn sample(&mut self, id: &str, stats: &Stats) {
        if let Some(row) = self.rows.get_mut(id) {
            row.history.push(stats);
        }
    }

    /// Sorts and filters again. The selected one stays selected while it is shown; else its neighbour is.
    pub(crate) fn arrange(&mut self) {
        let place = self.place();
        let mut rows: Vec<&Row> = self.rows.values().collect();
        rows.retain(|row| (!self.hide_idle || row.runs()) && row.matches(&self.filter));
        rows.sort_by(|a, b| {
            let names = || {
                a.name()
                    .cmp(b.name())
                    .then_with(|| a.summary.id.cmp(&b.summary.id))
            };
            let order = self.compare(a, b).then_with(names);
            if self.backwards {
                order.reverse()
            } else {
                order
            }
        });
        self.shown = rows.iter().map(|row| row.summary.id.clone()).collect();
        if self.place().is_none() {
            let near = place.unwrap_or(0).min(self.shown.len().saturating_sub(1));
            self.selected = self.shown.get(near).cloned();
        }
    }

    fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let most = |of: fn(&History) -> f64| of(&b.history).total_cmp(&of(&a.history));
        match self.sort {
            Sort::State => b.runs().cmp(&a.runs()),
            Sort::Name => Ordering::Equal,
            Sort::Cpu => most(|history| history.cpu.last()),
            Sort::Memory => most(|history| history.memory.last()),
            Sort::Network => most(History::network),
            Sort::Disk => most(History::disk),
        }
    }

    /// The rows in their order.
    pub(crate) fn shown(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.shown.iter().map(|id| &self.rows[id])
    }

    /// Where the selected row is among those that are shown.
    pub(crate) fn place(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.shown.iter().position(|id| id == selected)
    }

    pub(crate) fn selected(&self) -> Option<&Row> {
        self.rows.get(self.selected.as_ref()?)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Row> {
        self.rows.get(id)
    }

    /// Selects the row `by` further down, no further than the ends.
    pub(crate) fn step(&mut self, by: isize) {
        let last = self.shown.len().saturating_sub(1);
        let place = self
            .place()
            .unwrap_or(0)
            .saturating_add_signed(by)
            .min(last);
        self.selected = self.shown.get(place).cloned();
    }

    /// All, in no particular order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(name: &str, state: &str, status: &str) -> Summary {
        Summary {
            id: format!("id-{name}"),
            names: vec![format!("/{name}")],
            state: state.to_owned(),
            status: status.to_owned(),
            ..Summary::default()
        }
    }

    fn names(containers: &Containers) -> Vec<&str> {
        containers.shown().map(Row::name).collect()
    }

    fn some() -> Containers {
        let mut containers = Containers::default();
        containers.replace(vec![
            summary("b", "exited", "Exited (137) 2 hours ago"),
            summary("c", "running", "Up 3 minutes (unhealthy)"),
            summary("a", "running", "Up 2 hours"),
        ]);
        containers
    }

    #[test]
    fn what_runs_comes_first() {
        let containers = some();
        assert_eq!(names(&containers), ["a", "c", "b"]);
        let states: Vec<String> = containers.shown().map(Row::state).collect();
        assert_eq!(states, ["running", "unhealthy", "exit 137"]);
        let moods: Vec<Mood> = containers.shown().map(Row::mood).collect();
        assert_eq!(moods, [Mood::Good, Mood::Bad, Mood::Bad]);
    }

    #[test]
    fn the_selected_one_stays_selected() {
        let mut containers = some();
        containers.step(1);
        assert_eq!(containers.selected().unwrap().name(), "c");
        containers.sort = Sort::Name;
        containers.arrange();
        assert_eq!(names(&containers), ["a", "b", "c"]);
        assert_eq!(containers.place(), Some(2));
        containers.replace(vec![
            summary("a", "running", ""),
            summary("b", "running", ""),
        ]);
        assert_eq!(containers.selected().unwrap().name(), "b");
        containers.replace(Vec::new());
        assert!(containers.selected().is_none());
        containers.step(1);
        containers.step(-5);
        assert!(containers.selected().is_none());
    }

    #[test]
    fn filters_look_at_names_states_and_labels() {
        let mut containers = some();
        containers.filter = "UNH".to_owned();
        containers.arrange();
        assert_eq!(names(&containers), ["c"]);
        containers.filter.clear();
        containers.hide_idle = true;
        containers.arrange();
        assert_eq!(names(&containers), ["a", "c"]);
    }

    #[test]
    fn a_port_of_both_families_is_one() {
        let mut one = summary("a", "running", "");
        let port = |ip: &str| hull_api::container::Port {
            ip: ip.to_owned(),
            private_port: 80,
            public_port: 8080,
            protocol: "tcp".to_owned(),
        };
        one.ports = vec![port("0.0.0.0"), port("::")];
        let row = Row {
            summary: one,
            history: History::default(),
        };
        assert_eq!(row.ports(), ["8080->80/tcp"]);
    }
}
