//! How long what is done to containers takes: dockerd's histogram.

use super::text::Page;
use http::Method;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The upper ends of the buckets, seconds: Prometheus' usual ones.
const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// What is counted, by dockerd's word.
static ACTIONS: [(&str, Method, &str); 5] = [
    ("changes", Method::GET, "/containers/{}/changes"),
    ("commit", Method::POST, "/commit"),
    ("create", Method::POST, "/containers/create"),
    ("delete", Method::DELETE, "/containers/{}"),
    ("start", Method::POST, "/containers/{}/start"),
];

#[derive(Clone, Copy, Debug, Default)]
struct Histogram {
    /// One more than there are ends: the last is of what took longer.
    counts: [u64; BUCKETS.len() + 1],
    sum: f64,
}

/// The histogram of each action.
#[derive(Debug, Default)]
pub(crate) struct Actions(Mutex<[Histogram; ACTIONS.len()]>);

impl Actions {
    /// Counts a request that went well, if it is one of them.
    pub(crate) fn observe(&self, method: &Method, pattern: &str, took: Duration) {
        let action = ACTIONS
            .iter()
            .position(|(_, own, path)| own == method && *path == pattern);
        let Some(action) = action else { return };
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|end| seconds <= *end);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all[action].counts[bucket.unwrap_or(BUCKETS.len())] += 1;
        all[action].sum += seconds;
    }

    pub(super) fn write(&self, page: &mut Page) {
        let all = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        page.family(
            "engine_daemon_container_actions_seconds",
            "histogram",
            "The number of seconds it takes to process each container action",
        );
        for ((action, _, _), histogram) in ACTIONS.iter().zip(all) {
            let mut count = 0.0;
            let ends = BUCKETS
                .iter()
                .map(ToString::to_string)
                .chain(["+Inf".to_owned()]);
            for (end, more) in ends.zip(histogram.counts) {
                count += more as f64;
                page.line("_bucket", &[("action", action), ("le", &end)], count);
            }
            page.line("_sum", &[("action", action)], histogram.sum);
            page.line("_count", &[("action", action)], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::Form;
    use super::*;

    #[test]
    fn buckets_add_up() {
        let actions = Actions::default();
        for took in [4, 5, 20, 11_000] {
            actions.observe(&Method::POST, "/commit", Duration::from_millis(took));
        }
        actions.observe(&Method::GET, "/commit", Duration::ZERO);
        let mut page = Page::new(Form::Plain);
        actions.write(&mut page);
        let text = page.finish();
        for line in [
            "_bucket{action=\"commit\",le=\"0.005\"} 2",
            "_bucket{action=\"commit\",le=\"0.01\"} 2",
            "_bucket{action=\"commit\",le=\"0.025\"} 3",
            "_bucket{action=\"commit\",le=\"1\"} 3",
            "_bucket{action=\"commit\",le=\"10\"} 3",
            "_bucket{action=\"commit\",le=\"+Inf\"} 4",
            "_sum{action=\"commit\"} 11.029",
            "_count{action=\"commit\"} 4",
            "_count{action=\"start\"} 0",
        ] {
            let line = format!("engine_daemon_container_actions_seconds{line}\n");
            assert!(text.contains(&line), "{line} {text}");
        }
    }
}
