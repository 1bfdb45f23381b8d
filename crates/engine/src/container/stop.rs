//! `stop` and `restart`.

use super::live::Container;
use super::state::Event;
use super::{State, kill};
use crate::{Engine, Error, ErrorKind, Result, blocking};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Docker's patience before it kills, seconds.
const TIMEOUT: i64 = 10;

impl Engine {
    /// Stops a container, by force after `timeout` seconds (`None`: its own; negative: never), with
    /// `signal` instead of its own.
    ///
    /// # Errors
    /// `AlreadyInThatState` when it does not run.
    pub async fn stop(
        self: &Arc<Self>,
        name: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        let container = self.find(name)?;
        self.stop_container(&container, signal, timeout).await
    }

    pub(super) async fn stop_container(
        self: &Arc<Self>,
        container: &Arc<Container>,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        let signal = signal
            .filter(|signal| !signal.is_empty())
            .map(kill::parse)
            .transpose()?;
        if self.call_off_restart(container).await? {
            return Ok(());
        }
        let record = container.record();
        if !record.is_running() {
            return Err(Error::new(
                ErrorKind::AlreadyInThatState,
                "container is already stopped",
            ));
        }
        let own = record
            .effective
            .stop_signal
            .as_deref()
            .and_then(|name| kill::parse(name).ok());
        let signal = signal.or(own).unwrap_or(15);
        let timeout = timeout.or(record.config.stop_timeout).unwrap_or(TIMEOUT);
        self.bring_down(container, signal, timeout).await?;
        self.tell_container(container, "stop", &[]);
        Ok(())
    }

    /// Ends a container's run, and what its restart policy made of an end that came just before.
    pub(super) async fn bring_down(
        self: &Arc<Self>,
        container: &Arc<Container>,
        signal: i32,
        timeout: i64,
    ) -> Result<()> {
        while container.read(super::record::Record::is_running) {
            self.silence_policy(container).await?;
            self.signal_and_wait(container, signal, timeout).await?;
            self.call_off_restart(container).await?;
        }
        Ok(())
    }

    /// Sends `signal`, and SIGKILL when that did not end it within `timeout` seconds.
    async fn signal_and_wait(
        self: &Arc<Self>,
        container: &Arc<Container>,
        signal: i32,
        timeout: i64,
    ) -> Result<()> {
        const SIGKILL: i32 = 9;
        let mut progress = container.progress.subscribe();
        let exits = progress.borrow_and_update().exits;
        let ended = async |patience: Option<Duration>| {
            let mut progress = container.progress.subscribe();
            let end = progress.wait_for(|now| now.exits > exits || now.removed || !now.running);
            match patience {
                Some(patience) => tokio::time::timeout(patience, end).await.is_ok(),
                None => end.await.is_ok(),
            }
        };
        // What does not run any more cannot be signalled; that is as good.
        let _ = self.send_signal(&container.id, &signal.to_string()).await;
        let patience = u64::try_from(timeout).ok().map(Duration::from_secs);
        if ended(patience).await {
            return Ok(());
        }
        let _ = self.send_signal(&container.id, &SIGKILL.to_string()).await;
        if ended(Some(Duration::from_secs(30))).await {
            return Ok(());
        }
        let text = format!(
            "container {} could not be killed: its processes do not end",
            container.id
        );
        Err(Error::new(ErrorKind::Internal, text))
    }

    /// Ends the waiting of a restart policy; tells whether there was one.
    pub(super) async fn call_off_restart(
        self: &Arc<Self>,
        container: &Arc<Container>,
    ) -> Result<bool> {
        let _operation = container.operation.lock().await;
        if !container.read(|record| matches!(record.state, State::Restarting { .. })) {
            return Ok(false);
        }
        container.change(|record| record.stopped_on_request = true);
        container
            .apply(Event::RestartCancelled)
            .map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
        let (rows, record) = (self.rows.clone(), container.record());
        blocking(move || rows.put(&record)).await?;
        container.tell(|progress| {
            progress.running = false;
            progress.exits += 1;
        });
        Ok(true)
    }

    /// Restarts a container that has become unhealthy, and counts it as its restart policy's restarts.
    pub(super) async fn restart_unhealthy(
        self: &Arc<Self>,
        container: &Arc<Container>,
    ) -> Result<()> {
        let count = container.read(|record| record.restart_count);
        self.restart(&container.id, None, None).await?;
        container.change(|record| record.restart_count = count.saturating_add(1));
        Ok(())
    }

    /// Stops, as [`Engine::stop`], and starts again.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn restart(
        self: &Arc<Self>,
        name: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<()> {
        let container = self.find(name)?;
        container.comes_back.store(true, Ordering::Relaxed);
        let stopped = self.stop_container(&container, signal, timeout).await;
        container.comes_back.store(false, Ordering::Relaxed);
        let failed = |error: Error| {
            let text = format!("Cannot restart container {name}: {}", error.full_message());
            Error::new(error.kind(), text)
        };
        match stopped {
            Err(error) if error.kind() != ErrorKind::AlreadyInThatState => {
                return Err(failed(error));
            }
            _ => {}
        }
        self.start(&container.id).await.map_err(failed)?;
        self.tell_container(&container, "restart", &[]);
        Ok(())
    }
}
