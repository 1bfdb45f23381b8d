//! Asks a container again and again how it is.
//!
//! ```text
//! started, unpaused, found by a new daemon ──► pause ──► probe ──► result ──┐
//!                                                ▲                          │
//!                                                └──────────────────────────┘
//! ended, paused ──► the watch is dropped; a probe under way ends by itself and counts no more
//! ```

use super::{HealthResult, HealthStatus, OnUnhealthy, words};
use crate::container::live::Container;
use crate::container::{Probed, State};
use crate::{Engine, Error, blocking};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The task that asks; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch(tokio::task::AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Engine {
    /// Begins to check a running container's health, if it is to be checked.
    pub(in crate::container) fn watch_health(self: &Arc<Self>, container: &Arc<Container>) {
        let Some(command) = container.read(super::Record::health_command) else {
            return;
        };
        let (engine, watched) = (Arc::clone(self), Arc::clone(container));
        let task = tokio::spawn(async move { engine.keep_asking(watched, command).await });
        *container.health_watch() = Some(Watch(task.abort_handle()));
    }

    async fn keep_asking(self: Arc<Self>, container: Arc<Container>, command: Vec<String>) {
        while let Some((pause, limit)) = next(&container) {
            tokio::time::sleep(pause).await;
            let start = Timestamp::now();
            let ran = container.ran().unwrap_or_default();
            // A task of its own: whoever drops the watch does not wait for it, and it cleans up after itself.
            let (engine, asked, command) =
                (Arc::clone(&self), Arc::clone(&container), command.clone());
            let probe = tokio::spawn(async move { engine.probe(&asked, command, limit).await });
            let Ok(outcome) = probe.await else {
                return; // It panicked, and the log says where.
            };
            self.take_result(&container, result(outcome, start, limit), ran)
                .await;
        }
    }

    /// Takes in the result of a check that began when the container had run for so long, tells of a change, and
    /// does what is to be done about it.
    async fn take_result(
        self: &Arc<Self>,
        container: &Arc<Container>,
        result: HealthResult,
        ran: Duration,
    ) {
        let _operation = container.operation.lock().await;
        if runs(container).is_none() {
            return; // It has ended, or stands still.
        }
        self.tally.checks.add(1);
        if result.exit_code != 0 {
            self.tally.failed_checks.add(1);
        }
        let changed = container.change(|record| {
            let check = record.effective.health_check.clone()?;
            let before = record.health.clone()?;
            let now = before.after(result, &check, ran);
            let status = now.status;
            record.health = Some(Arc::new(now));
            (status != before.status).then_some(status)
        });
        let Some(status) = changed else {
            return;
        };
        // Only changes are written down: with each result the disk would be kept busy.
        let (rows, record) = (self.rows.clone(), container.record());
        if let Err(error) = blocking(move || rows.put(&record)).await {
            tracing::warn!(container = %container.id, error = %error.full_message(), "a container's health could not be written down");
        }
        self.tell_container(
            container,
            &format!("health_status: {}", status.as_str()),
            &[],
        );
        if status == HealthStatus::Unhealthy {
            self.act_on_unhealthy(container);
        }
    }

    fn act_on_unhealthy(self: &Arc<Self>, container: &Arc<Container>) {
        let action = container.read(|record| record.config.on_unhealthy);
        let (engine, container) = (Arc::clone(self), Arc::clone(container));
        let act = async move {
            let done = match action {
                OnUnhealthy::Nothing => Ok(()),
                OnUnhealthy::Restart => engine.restart_unhealthy(&container).await,
                OnUnhealthy::Stop => engine.stop_container(&container, None, None).await,
                OnUnhealthy::Kill => engine.kill_unasked(&container).await,
            };
            if let Err(error) = done {
                tracing::warn!(container = %container.id, error = %error.full_message(), "the action on an unhealthy container failed");
            }
        };
        // Not in the watch, which ends with the container. Boxed and told to be Send: starting begins a watch.
        tokio::spawn(Box::pin(act) as futures_util::future::BoxFuture<'static, ()>);
    }
}

/// How long to wait for the next check, and how long that may take; `None` when there is to be none.
fn next(container: &Container) -> Option<(Duration, Duration)> {
    let runs = runs(container)?;
    container.read(|record| {
        let check = record.effective.health_check.as_ref()?;
        let status = record.health.as_ref()?.status;
        Some((check.pause(status, runs), check.timeout()))
    })
}

/// How long a container has run; `None` when it does not.
fn runs(container: &Container) -> Option<Duration> {
    let running = container.read(|record| matches!(record.state, State::Running { .. }));
    running.then(|| container.ran())?
}

fn result(outcome: Result<Probed, Error>, start: Timestamp, limit: Duration) -> HealthResult {
    match outcome {
        Ok(probed) => {
            let output = match (probed.exit_code, probed.output.is_empty()) {
                (Some(_), _) => probed.output,
                (None, true) => format!("Health check exceeded timeout ({})", words(limit)),
                (None, false) => {
                    let limit = words(limit);
                    format!("Health check exceeded timeout ({limit}): {}", probed.output)
                }
            };
            HealthResult {
                start: probed.start,
                end: probed.end,
                exit_code: probed.exit_code.unwrap_or(-1),
                output,
            }
        }
        Err(error) => HealthResult {
            start,
            end: Timestamp::now(),
            exit_code: -1,
            output: error.full_message(),
        },
    }
}
