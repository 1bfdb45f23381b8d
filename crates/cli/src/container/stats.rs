//! `hull stats`.

use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::{Failure, Outcome};
use crate::flags::{Flag, Matches, flag};
use crate::format::{bytes_size, human_size};
use crate::listing::{Listing, chosen_format, format_flag};
use crate::template::{Data, Record};
use crate::terminal::Signals;
use hull_api::client::Client;
use hull_api::container::stats::Stats;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

static FLAGS: &[Flag] = &[
    flag("all", "Show all containers (default shows just running)").short('a'),
    format_flag(),
    flag(
        "no-stream",
        "Disable streaming stats and only pull the first result",
    ),
    flag("no-trunc", "Do not truncate output"),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container stats", "stats"],
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Display a live stream of container(s) resource usage statistics",
    flags: &[FLAGS],
    arity: Arity::AtLeast(0),
    interspersed: true,
    run,
};

const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";
const HEADINGS: &[(&str, &str)] = &[
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];
/// How often the screen is drawn, as in Docker.
const INTERVAL: Duration = Duration::from_millis(500);

/// What is known of each container, by what the user calls it. `None`: nothing yet, or nothing any more.
type Seen = Arc<Mutex<BTreeMap<String, Option<Stats>>>>;

fn lock(seen: &Seen) -> MutexGuard<'_, BTreeMap<String, Option<Stats>>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = chosen_format(matches, cli.config().stats_format());
    let listing = Listing::new(&format, false, TABLE, HEADINGS)?.whole(matches.bool("no-trunc"));
    let (all, names) = (matches.bool("all"), matches.args.clone());
    let truncate = !matches.bool("no-trunc");
    let client = Arc::clone(cli.client()?);
    cli.block_on(async {
        if matches.bool("no-stream") {
            let names = chosen(&client, &names, all).await?;
            return once(&client, names, &listing, truncate).await;
        }
        follow(&client, names, all, &listing, truncate).await
    })
}

/// What the user named, or all that run.
async fn chosen(client: &Client, names: &[String], all: bool) -> Result<Vec<String>, Failure> {
    if !names.is_empty() {
        return Ok(names.to_vec());
    }
    let options = hull_api::client::ListOptions {
        all,
        ..Default::default()
    };
    let found = client.containers(&options).await?;
    Ok(found.into_iter().map(|container| container.id).collect())
}

async fn once(
    client: &Arc<Client>,
    names: Vec<String>,
    listing: &Listing,
    truncate: bool,
) -> Outcome {
    let mut asked = JoinSet::new();
    for (at, name) in names.iter().cloned().enumerate() {
        let client = Arc::clone(client);
        asked.spawn(async move { (at, client.stats_once(&name).await) });
    }
    let mut found: BTreeMap<usize, Stats> = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        let (at, stats) = answer.map_err(|error| Failure::new(error.to_string()))?;
        found.insert(at, stats?);
    }
    let rows = found
        .iter()
        .map(|(at, stats)| row(&names[*at], Some(stats), truncate));
    listing.print(rows)
}

/// Draws the screen again and again until the user has seen enough.
async fn follow(
    client: &Arc<Client>,
    names: Vec<String>,
    all: bool,
    listing: &Listing,
    truncate: bool,
) -> Outcome {
    let seen = Seen::default();
    let mut watched = JoinSet::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut signals = Signals::ending()?;
    let named = !names.is_empty();
    loop {
        // Containers come and go; those that the user named stay.
        let present = chosen(client, &names, all).await?;
        if !named {
            lock(&seen).retain(|name, _| present.contains(name));
        }
        for name in present {
            if lock(&seen).contains_key(&name) {
                continue;
            }
            lock(&seen).insert(name.clone(), None);
            let mut samples = client.stats(&name).await?;
            let seen = Arc::clone(&seen);
            watched.spawn(async move {
                while let Ok(Some(stats)) = samples.next().await {
                    match lock(&seen).get_mut(&name) {
                        Some(known) => *known = Some(stats),
                        None => return,
                    }
                }
                if let Some(known) = lock(&seen).get_mut(&name) {
                    *known = None;
                }
            });
        }
        tokio::select! {
            _ = ticks.tick() => {}
            name = signals.next() => return Err(Failure::Exit(Signals::exit_code(name))),
        }
        // Home, the rows, and nothing of what was there before.
        crate::print("\u{1b}[H\u{1b}[J");
        let rows: Vec<Data> = lock(&seen)
            .iter()
            .map(|(name, stats)| row(name, stats.as_ref(), truncate))
            .collect();
        listing.print(rows.into_iter())?;
        if named && watched.is_empty() {
            return Ok(());
        }
        while watched.try_join_next().is_some() {}
    }
}

fn row(name: &str, stats: Option<&Stats>, truncate: bool) -> Data {
    let fields = match stats {
        None => Shown {
            id: "--".to_owned(),
            name: "--".to_owned(),
            cpu: "--".to_owned(),
            memory: "-- / --".to_owned(),
            share: "--".to_owned(),
            network: "--".to_owned(),
            block: "--".to_owned(),
            pids: "--".to_owned(),
        },
        Some(stats) => Shown::of(stats, truncate),
    };
    let texts = [
        ("Container", name),
        ("ID", &fields.id),
        ("Name", &fields.name),
        ("CPUPerc", &fields.cpu),
        ("MemUsage", &fields.memory),
        ("MemPerc", &fields.share),
        ("NetIO", &fields.network),
        ("BlockIO", &fields.block),
        ("PIDs", &fields.pids),
    ];
    let texts = texts.map(|(field, text)| (field, Data::from(text)));
    Data::Record(Record::new("container.statsContext", texts.to_vec()))
}

/// A row's texts.
struct Shown {
    id: String,
    name: String,
    cpu: String,
    memory: String,
    share: String,
    network: String,
    block: String,
    pids: String,
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
impl Shown {
    fn of(stats: &Stats, truncate: bool) -> Self {
        let used = stats.memory_used() as f64;
        let limit = stats.memory_stats.limit as f64;
        let share = if limit == 0.0 {
            0.0
        } else {
            used / limit * 100.0
        };
        let (received, sent) = stats.network_bytes();
        let (read, written) = stats.disk_bytes();
        let pair = |one: u64, other: u64| {
            format!(
                "{} / {}",
                human_size(one as f64, 3),
                human_size(other as f64, 3)
            )
        };
        let id = match truncate {
            true => stats.id.chars().take(12).collect(),
            false => stats.id.clone(),
        };
        Self {
            id,
            name: stats.name.trim_start_matches('/').to_owned(),
            cpu: format!("{:.2}%", stats.cpu_percent()),
            memory: format!("{} / {}", bytes_size(used), bytes_size(limit)),
            share: format!("{share:.2}%"),
            network: pair(received, sent),
            block: pair(read, written),
            pids: stats.pids_stats.current.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_worked_out_as_docker_does() {
        let mut stats = Stats::default();
        stats.cpu_stats.cpu_usage.total_usage = 1_500;
        stats.cpu_stats.system_cpu_usage = 14_000;
        stats.cpu_stats.online_cpus = 2;
        stats.precpu_stats.cpu_usage.total_usage = 500;
        stats.precpu_stats.system_cpu_usage = 10_000;
        stats.memory_stats.usage = 3 << 20;
        stats.memory_stats.limit = 4 << 20;
        stats.memory_stats.stats = [("total_inactive_file".to_owned(), 1 << 20)].into();
        stats.name = "/x".to_owned();
        let shown = Shown::of(&stats, true);
        assert_eq!(shown.cpu, "50.00%");
        assert_eq!(
            (shown.memory.as_str(), shown.share.as_str()),
            ("2MiB / 4MiB", "50.00%")
        );
        assert_eq!(
            (shown.network.as_str(), shown.name.as_str()),
            ("0B / 0B", "x")
        );
    }
}
