//! How fast a pull or push goes, and what it waits for: the line below the bars.

use crate::format::human_size;
use hull_api::progress::Message;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Speeds are those of the last moments.
const WINDOW: Duration = Duration::from_secs(3);
/// A connection that brings nothing for so long stands still.
const STILL: Duration = Duration::from_secs(2);
/// A transfer that took less needs no account of its time.
const SHORT: Duration = Duration::from_secs(3);
/// When somebody waits for the disk during so much of the time, that is what is slow.
const BUSY: f64 = 0.4;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Network,
    Unpacking,
    Disk,
}

impl Cause {
    const ALL: [Self; 3] = [Self::Network, Self::Unpacking, Self::Disk];

    fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Unpacking => "unpacking",
            Self::Disk => "disk",
        }
    }
}

/// What a layer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Moving,
    Unpacking,
    Done,
}

#[derive(Debug)]
struct Layer {
    phase: Phase,
    moved: i64,
    unpacked: i64,
    total: i64,
}

/// A transfer's layers and how they have come along.
#[derive(Debug)]
pub(super) struct Pace {
    layers: BTreeMap<String, Layer>,
    /// What had been moved and unpacked at a time.
    past: VecDeque<(Instant, i64, i64)>,
    /// When something came last.
    came: Instant,
    accounted: Instant,
    spent: [Duration; 3],
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            layers: BTreeMap::new(),
            past: VecDeque::new(),
            came: now,
            accounted: now,
            spent: [Duration::ZERO; 3],
        }
    }

    /// A message of the daemon's.
    pub(super) fn heard(&mut self, message: &Message, now: Instant) {
        if message.id.is_empty() || message.progress_detail.is_none() {
            return;
        }
        let phase = match message.status.as_str() {
            "Downloading" | "Pushing" => Phase::Moving,
            "Extracting" => Phase::Unpacking,
            "Verifying Checksum" | "Download complete" => Phase::Unpacking,
            "Pull complete" | "Already exists" | "Pushed" | "Layer already exists" => Phase::Done,
            "Pulling fs layer" | "Waiting" | "Preparing" => Phase::Waiting,
            status if status.starts_with("Mounted from ") => Phase::Done,
            _ => return,
        };
        let layer = self.layers.entry(message.id.clone()).or_insert(Layer {
            phase,
            moved: 0,
            unpacked: 0,
            total: 0,
        });
        layer.phase = phase;
        let detail = message.progress_detail.as_ref();
        if let Some(detail) = detail.filter(|detail| detail.current > 0 || detail.total > 0) {
            layer.total = layer.total.max(detail.total);
            match phase {
                Phase::Moving => layer.moved = detail.current,
                Phase::Unpacking => layer.unpacked = detail.current,
                Phase::Waiting | Phase::Done => {}
            }
        }
        match phase {
            Phase::Unpacking => layer.moved = layer.total,
            Phase::Done => (layer.moved, layer.unpacked) = (layer.total, layer.total),
            Phase::Waiting | Phase::Moving => {}
        }
        self.look(now);
    }

    /// Remembers how far all is.
    fn look(&mut self, now: Instant) {
        let moved = self.layers.values().map(|layer| layer.moved).sum();
        let unpacked = self.layers.values().map(|layer| layer.unpacked).sum();
        if self
            .past
            .back()
            .is_none_or(|past| (past.1, past.2) != (moved, unpacked))
        {
            self.came = now;
        }
        self.past.push_back((now, moved, unpacked));
        // The one before the window is its beginning.
        while self.past.get(1).is_some_and(|past| now - past.0 >= WINDOW) {
            self.past.pop_front();
        }
    }

    /// What is waited for now; `disk` is how much of the time somebody waited for a disk, where that is known.
    pub(super) fn cause(&self, disk: Option<f64>) -> Option<Cause> {
        let any = |phase| self.layers.values().any(|layer| layer.phase == phase);
        if any(Phase::Moving) {
            return Some(Cause::Network);
        }
        if any(Phase::Unpacking) {
            let busy = disk.is_some_and(|share| share >= BUSY);
            return Some(if busy { Cause::Disk } else { Cause::Unpacking });
        }
        // Nothing has begun: the registry is asked.
        any(Phase::Waiting).then_some(Cause::Network)
    }

    /// Counts the time since the last call for what was waited for.
    pub(super) fn account(&mut self, cause: Option<Cause>, now: Instant) {
        if let Some(cause) = cause {
            self.spent[cause as usize] += now - self.accounted;
        }
        self.accounted = now;
    }

    /// The line below the bars.
    pub(super) fn line(&self, cause: Option<Cause>, now: Instant) -> Option<String> {
        let cause = cause?;
        let total: i64 = self.layers.values().map(|layer| layer.total).sum();
        let &(_, moved, unpacked) = self.past.back()?;
        let still = now - self.came;
        Some(match cause {
            Cause::Network if still >= STILL => {
                format!(
                    "Waiting for the network: nothing has come for {}",
                    seconds(still)
                )
            }
            // It begins.
            Cause::Network if moved == 0 => return None,
            Cause::Network => self.speed("Network", (moved, total), now, |past| past.1),
            Cause::Unpacking => self.speed("Unpacking", (unpacked, total), now, |past| past.2),
            Cause::Disk => self.speed("Waiting for the disk", (unpacked, total), now, |past| {
                past.2
            }),
        })
    }

    fn speed(
        &self,
        what: &str,
        (done, total): (i64, i64),
        now: Instant,
        of: impl Fn(&(Instant, i64, i64)) -> i64,
    ) -> String {
        let mut text = format!("{what}: {} of {}", size(done), size(total));
        let first = self.past.front();
        let took = first.map_or(Duration::ZERO, |first| now - first.0);
        if took < Duration::from_millis(500) {
            return text;
        }
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let speed = (done - first.map_or(0, of)).max(0) as f64 / took.as_secs_f64();
        text.push_str(&format!(", {}/s", human_size(speed, 3)));
        #[expect(clippy::cast_precision_loss, reason = "shown in seconds")]
        let left = (total - done).max(0) as f64 / speed;
        // Longer than a day is a guess about nothing.
        if left < 86_400.0 {
            text.push_str(&format!(
                ", {} left",
                seconds(Duration::from_secs_f64(left))
            ));
        }
        text
    }

    /// What took the time, when it took some.
    pub(super) fn account_of_all(&self) -> Option<String> {
        let all: Duration = self.spent.iter().sum();
        if all < SHORT {
            return None;
        }
        let mut parts: Vec<(Duration, Cause)> = self.spent.into_iter().zip(Cause::ALL).collect();
        parts.retain(|(spent, _)| *spent >= Duration::from_millis(500));
        parts.sort_by_key(|(spent, _)| std::cmp::Reverse(*spent));
        let parts: Vec<String> = parts
            .into_iter()
            .map(|(spent, cause)| format!("{} {}", cause.name(), seconds(spent)))
            .collect();
        let total: i64 = self.layers.values().map(|layer| layer.moved).sum();
        Some(format!(
            "{} in {}: {}",
            size(total),
            seconds(all),
            parts.join(", ")
        ))
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn size(bytes: i64) -> String {
    human_size(bytes as f64, 3)
}

/// `7s`, `2m05s`.
fn seconds(time: Duration) -> String {
    let seconds = (time + Duration::from_millis(500)).as_secs();
    match seconds / 60 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{:02}s", seconds % 60),
    }
}

/// How much of the time somebody waits for a disk, as the kernel counts it (`/proc/pressure/io`, Linux 4.20). Where it
/// does not, nothing is known.
#[derive(Debug)]
pub(super) struct Pressure {
    since: Instant,
    total: Option<u64>,
    share: Option<f64>,
}

impl Pressure {
    /// `here`: the daemon is on this machine.
    pub(super) fn new(here: bool, now: Instant) -> Self {
        Self {
            since: now,
            total: here.then(read_pressure).flatten(),
            share: None,
        }
    }

    /// The share of the time since the last look that was long enough ago.
    pub(super) fn share(&mut self, now: Instant) -> Option<f64> {
        let took = now - self.since;
        if took >= Duration::from_millis(500)
            && let Some(before) = self.total
        {
            self.total = read_pressure();
            self.since = now;
            let waited = self.total.map(|total| total.saturating_sub(before));
            self.share =
                waited.map(|us| Duration::from_micros(us).as_secs_f64() / took.as_secs_f64());
        }
        self.share
    }
}

fn read_pressure() -> Option<u64> {
    some_total(&fs_err::read_to_string("/proc/pressure/io").ok()?)
}

/// Microseconds in which some task waited.
fn some_total(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split_once("total=")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_api::progress::Detail;

    fn message(id: &str, status: &str, current: i64, total: i64) -> Message {
        Message {
            id: id.to_owned(),
            status: status.to_owned(),
            progress_detail: Some(Detail {
                current,
                total,
                ..Detail::default()
            }),
            ..Message::default()
        }
    }

    #[test]
    fn the_line_says_what_is_slow() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);
        assert_eq!(pace.cause(None), None);
        pace.heard(&message("a", "Pulling fs layer", 0, 0), start);
        assert_eq!(pace.line(pace.cause(None), start), None);
        pace.heard(&message("a", "Downloading", 1_000_000, 9_000_000), at(1));
        pace.heard(&message("b", "Downloading", 1_000_000, 1_000_000), at(2));
        let line = pace.line(pace.cause(None), at(2)).unwrap();
        assert_eq!(line, "Network: 2MB of 10MB, 1MB/s, 8s left");
        assert_eq!(
            pace.line(pace.cause(None), at(70)).unwrap(),
            "Waiting for the network: nothing has come for 1m08s"
        );
        pace.account(pace.cause(None), at(4));
        for id in ["a", "b"] {
            pace.heard(&message(id, "Download complete", 0, 0), at(4));
        }
        pace.heard(&message("a", "Extracting", 4_000_000, 9_000_000), at(6));
        let line = pace.line(pace.cause(Some(0.1)), at(6)).unwrap();
        assert!(line.starts_with("Unpacking: 4MB of 10MB, "), "{line}");
        let line = pace.line(pace.cause(Some(0.9)), at(6)).unwrap();
        assert!(
            line.starts_with("Waiting for the disk: 4MB of 10MB, "),
            "{line}"
        );
        pace.account(pace.cause(Some(0.9)), at(5));
        pace.account(pace.cause(None), at(7));
        for id in ["a", "b"] {
            pace.heard(&message(id, "Pull complete", 0, 0), at(7));
        }
        assert_eq!(pace.cause(None), None);
        assert_eq!(
            pace.account_of_all().unwrap(),
            "10MB in 7s: network 4s, unpacking 2s, disk 1s"
        );
    }

    #[test]
    fn what_is_no_transfer_has_no_line() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.heard(&message("a", "Loading layer", 5, 10), now);
        pace.heard(&message("", "Status: done", 0, 0), now);
        assert_eq!(pace.cause(Some(1.0)), None);
        assert_eq!(pace.account_of_all(), None);
    }

    #[test]
    fn pressure_is_read_as_the_kernel_writes_it() {
        let text = "some avg10=0.00 avg60=0.10 avg300=0.20 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n";
        assert_eq!(some_total(text), Some(123_456));
        assert_eq!(some_total("nothing"), None);
        assert_eq!(
            Pressure::new(false, Instant::now()).share(Instant::now()),
            None
        );
    }
}
