//! Health checks: what is asked, and what the results make of a container. Who asks is in `health/watch.rs`.

mod watch;

use super::record::Record;
use hull_spec::image::Healthcheck;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use watch::Watch;

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// How many results are kept, as in Docker.
const KEPT: usize = 5;

/// How a container's health is checked. Zeros and an empty test are the image's, or else Docker's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheck {
    /// `NONE`; `CMD` and a command's words; or `CMD-SHELL` and a line for the shell.
    pub test: Vec<String>,
    /// From the end of one check to the next; 30 s.
    pub interval: Duration,
    /// After which a check is killed and has failed; 30 s.
    pub timeout: Duration,
    /// From the start of the container, while failures do not count until the first success; none.
    pub start_period: Duration,
    /// In place of the interval during the start period, until the first success; 5 s.
    pub start_interval: Duration,
    /// Failures in a row that make a container unhealthy; 3.
    pub retries: u32,
}

impl HealthCheck {
    /// The request, filled up with what the image says.
    pub(super) fn merged(asked: Option<&Self>, image: Option<&Healthcheck>) -> Option<Self> {
        let image = image.map(Self::from);
        let (Some(asked), Some(image)) = (asked, &image) else {
            return asked.cloned().or(image);
        };
        let duration =
            |asked: Duration, image: Duration| if asked.is_zero() { image } else { asked };
        Some(Self {
            test: if asked.test.is_empty() {
                image.test.clone()
            } else {
                asked.test.clone()
            },
            interval: duration(asked.interval, image.interval),
            timeout: duration(asked.timeout, image.timeout),
            start_period: duration(asked.start_period, image.start_period),
            start_interval: duration(asked.start_interval, image.start_interval),
            retries: if asked.retries == 0 {
                image.retries
            } else {
                asked.retries
            },
        })
    }

    /// What is run; `None` where nothing is checked. Words that Docker does not know check nothing, there too.
    pub(super) fn command(&self, shell: Option<&[String]>) -> Option<Vec<String>> {
        let (kind, words) = self.test.split_first()?;
        match kind.as_str() {
            "CMD" => Some(words.to_vec()),
            "CMD-SHELL" => {
                let usual = ["/bin/sh".to_owned(), "-c".to_owned()];
                let shell = shell.filter(|shell| !shell.is_empty()).unwrap_or(&usual);
                Some([shell, words].concat())
            }
            _ => None,
        }
    }

    fn interval(&self) -> Duration {
        or(self.interval, INTERVAL)
    }

    pub(super) fn timeout(&self) -> Duration {
        or(self.timeout, TIMEOUT)
    }

    /// How long to wait for the next check of a container that runs for so long.
    fn pause(&self, status: HealthStatus, runs: Duration) -> Duration {
        if runs < self.start_period && status == HealthStatus::Starting {
            or(self.start_interval, START_INTERVAL)
        } else {
            self.interval()
        }
    }
}

fn or(asked: Duration, default: Duration) -> Duration {
    if asked.is_zero() { default } else { asked }
}

impl From<&Healthcheck> for HealthCheck {
    /// Negative numbers, which no builder writes, count as nothing said.
    fn from(image: &Healthcheck) -> Self {
        let duration =
            |nanoseconds: i64| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
        Self {
            test: image.test.clone().unwrap_or_default(),
            interval: duration(image.interval),
            timeout: duration(image.timeout),
            start_period: duration(image.start_period),
            start_interval: duration(image.start_interval),
            retries: u32::try_from(image.retries).unwrap_or(0),
        }
    }
}

/// What happens to a container that becomes unhealthy: Hull's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnUnhealthy {
    /// Nothing, as in Docker.
    #[default]
    Nothing,
    /// It is stopped and started again.
    Restart,
    /// It is stopped, and stays so.
    Stop,
    /// It is killed; then its restart policy decides.
    Kill,
}

/// How a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthStatus {
    /// Not known yet.
    #[default]
    Starting,
    /// The last check was good.
    Healthy,
    /// Too many checks failed; or nobody checks, because it is paused or has ended.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What one check gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began.
    pub start: Timestamp,
    /// When it had ended.
    pub end: Timestamp,
    /// 0 is healthy; -1 when it could not be run, or took too long.
    pub exit_code: i32,
    /// What it wrote, or why it could not be run.
    pub output: String,
}

/// The health of a container that is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What the results make of it.
    pub status: HealthStatus,
    /// Failed checks since the last good one.
    pub failing_streak: u32,
    /// The last results, the latest at the end.
    pub log: Vec<HealthResult>,
}

impl Health {
    /// A run of the container begins: the results of the one before stay to be seen.
    fn begun(&self) -> Self {
        Self {
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: self.log.clone(),
        }
    }

    /// Takes in a result; `runs`: how long the container ran when the check began.
    fn after(&self, result: HealthResult, check: &HealthCheck, runs: Duration) -> Self {
        let mut next = self.clone();
        if result.exit_code == 0 {
            next.status = HealthStatus::Healthy;
            next.failing_streak = 0;
        } else if !(self.status == HealthStatus::Starting && runs < check.start_period) {
            next.failing_streak += 1;
            let retries = if check.retries == 0 {
                RETRIES
            } else {
                check.retries
            };
            if next.failing_streak >= retries {
                next.status = HealthStatus::Unhealthy;
            }
        }
        next.log.push(result);
        let surplus = next.log.len().saturating_sub(KEPT);
        next.log.drain(..surplus);
        next
    }
}

impl Record {
    /// The command that checks it; `None` when nothing is checked.
    pub(super) fn health_command(&self) -> Option<Vec<String>> {
        let check = self.effective.health_check.as_ref()?;
        check.command(self.effective.shell.as_deref())
    }

    /// It has been started: its health is to be found out.
    pub(super) fn begin_health(&mut self) {
        self.health = self.health_command().map(|_| {
            let before = self.health.take().unwrap_or_default();
            Arc::new(before.begun())
        });
    }

    /// Nobody checks any more: Docker shows that as unhealthy.
    pub(super) fn end_health(&mut self) {
        if let Some(health) = &mut self.health {
            Arc::make_mut(health).status = HealthStatus::Unhealthy;
        }
    }
}

/// A duration in Go's words: `1m30s`, `1.5s`, `500ms`.
fn words(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let scaled = |whole: u128, rest: u128, digits: usize, unit: &str| {
        let fraction = format!("{rest:0digits$}");
        match fraction.trim_end_matches('0') {
            "" => format!("{whole}{unit}"),
            fraction => format!("{whole}.{fraction}{unit}"),
        }
    };
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let seconds = || {
        let whole = u128::from(duration.as_secs() % 60);
        scaled(whole, duration.subsec_nanos().into(), 9, "s")
    };
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => scaled(nanoseconds / 1_000, nanoseconds % 1_000, 3, "µs"),
        1_000_000..1_000_000_000 => {
            scaled(nanoseconds / 1_000_000, nanoseconds % 1_000_000, 6, "ms")
        }
        _ if hours > 0 => format!("{hours}h{minutes}m{}", seconds()),
        _ if minutes > 0 => format!("{minutes}m{}", seconds()),
        _ => seconds(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn result(exit_code: i32) -> HealthResult {
        HealthResult {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            exit_code,
            output: String::new(),
        }
    }

    fn check(words: &[&str]) -> HealthCheck {
        HealthCheck {
            test: words.iter().map(|&word| word.to_owned()).collect(),
            ..HealthCheck::default()
        }
    }

    #[test]
    fn the_request_comes_before_the_image_member_by_member() {
        let image = Healthcheck {
            test: Some(vec!["CMD".to_owned(), "x".to_owned()]),
            interval: 7_000_000_000,
            retries: 9,
            ..Healthcheck::default()
        };
        let asked = HealthCheck {
            retries: 2,
            timeout: SECOND,
            ..HealthCheck::default()
        };
        let merged = HealthCheck::merged(Some(&asked), Some(&image)).unwrap();
        assert_eq!(merged.test, ["CMD", "x"]);
        assert_eq!((merged.interval, merged.retries), (7 * SECOND, 2));
        assert_eq!(merged.timeout, SECOND);
        assert_eq!(HealthCheck::merged(None, Some(&image)).unwrap().retries, 9);
        assert_eq!(HealthCheck::merged(None, None), None);
    }

    #[test]
    fn the_first_word_says_how_it_is_run() {
        let run = |words: &[&str]| check(words).command(None);
        assert_eq!(run(&["CMD", "a", "b"]).unwrap(), ["a", "b"]);
        assert_eq!(
            run(&["CMD-SHELL", "a b"]).unwrap(),
            ["/bin/sh", "-c", "a b"]
        );
        let shell = ["/bin/ash".to_owned()];
        let own = check(&["CMD-SHELL", "a"]).command(Some(&shell));
        assert_eq!(own.unwrap(), ["/bin/ash", "a"]);
        for nothing in [&["NONE"][..], &["NONE", "x"], &["FOO", "x"], &[]] {
            assert_eq!(run(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let check = HealthCheck {
            retries: 2,
            start_period: SECOND,
            ..check(&["CMD", "x"])
        };
        let mut health = Health::default();
        let mut seen = Vec::new();
        for (code, runs) in [
            (1, Duration::ZERO), // in the start period: does not count
            (1, SECOND),
            (0, SECOND),
            (1, Duration::ZERO), // was healthy: counts at any time
            (1, SECOND),
            (1, SECOND),
            (0, SECOND),
        ] {
            health = health.after(result(code), &check, runs);
            seen.push((health.status.as_str(), health.failing_streak));
        }
        let expected = [
            ("starting", 0),
            ("starting", 1),
            ("healthy", 0),
            ("healthy", 1),
            ("unhealthy", 2),
            ("unhealthy", 3),
            ("healthy", 0),
        ];
        assert_eq!(seen, expected);
        assert_eq!(health.log.len(), KEPT);
        assert_eq!(health.log.last(), Some(&result(0)));
        assert_eq!(health.begun().status, HealthStatus::Starting);
    }

    #[test]
    fn it_is_asked_more_often_while_it_starts() {
        let check = HealthCheck {
            start_period: 10 * SECOND,
            start_interval: SECOND,
            interval: 30 * SECOND,
            ..HealthCheck::default()
        };
        let (starting, healthy) = (HealthStatus::Starting, HealthStatus::Healthy);
        assert_eq!(check.pause(starting, Duration::ZERO), SECOND);
        assert_eq!(check.pause(healthy, Duration::ZERO), 30 * SECOND);
        assert_eq!(check.pause(starting, 10 * SECOND), 30 * SECOND);
        let plain = HealthCheck::default();
        assert_eq!(plain.pause(starting, Duration::ZERO), 30 * SECOND);
    }

    #[test]
    fn durations_are_in_the_words_of_go() {
        for (milliseconds, text) in [
            (1, "1ms"),
            (1_500, "1.5s"),
            (30_000, "30s"),
            (90_000, "1m30s"),
            (3_600_000, "1h0m0s"),
            (0, "0s"),
        ] {
            assert_eq!(words(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(words(Duration::from_micros(1_500)), "1.5ms");
        assert_eq!(words(Duration::from_nanos(1_500)), "1.5µs");
        assert_eq!(words(Duration::from_nanos(15)), "15ns");
    }
}
