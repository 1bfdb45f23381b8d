//! A container's end: noticed, written down, cleaned up after, perhaps started again.

use super::live::Container;
use super::record::Record;
use super::state::Event;
use super::{Exit, RestartPolicy, WaitResult};
use crate::{Engine, Error, ErrorKind, Result, blocking};
use hull_shim::protocol::Decoder;
use hull_shim::{Event as ShimEvent, Events, ExitRecord, Handle};
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::UnixStream;

/// Docker's back-off between restarts: doubled each time, from and to these.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A run that lasted so long begins the back-off anew.
const LONG_RUN: Duration = Duration::from_secs(10);

impl Engine {
    /// Follows a container's shim from now on, by its events.
    pub(super) fn watch(
        self: &Arc<Self>,
        container: &Arc<Container>,
        shim: &Handle,
        events: UnixStream,
    ) {
        container.link().shim = Some(shim.clone());
        let (engine, container) = (Arc::clone(self), Arc::clone(container));
        tokio::spawn(async move { engine.follow(container, events).await });
    }

    /// The shim went before it could be followed.
    pub(super) fn follow_none(self: &Arc<Self>, container: &Arc<Container>) {
        let (engine, container) = (Arc::clone(self), Arc::clone(container));
        tokio::spawn(async move {
            let record = engine.after_killed_shim(&container, None).await;
            Box::pin(engine.ended(&container, record)).await;
        });
    }

    async fn follow(self: Arc<Self>, container: Arc<Container>, stream: UnixStream) {
        let mut decoder = Decoder::default();
        let mut pending = Vec::new();
        let mut exited = None;
        loop {
            while let Ok(Some(event)) = decoder.next::<ShimEvent>() {
                match event {
                    ShimEvent::ExecExited { id, exit_code } => {
                        self.exec_ended(&container, &id, exit_code)
                    }
                    ShimEvent::Exited(record) => exited = Some(record),
                    ShimEvent::OutOfMemory => self.out_of_memory(&container),
                    ShimEvent::Unmounted => {}
                    ShimEvent::Cleaned => pending.push(()),
                }
            }
            if let Some(record) = &exited
                && !pending.is_empty()
            {
                // Boxed, as below: there are as many of these as containers, and nearly all just wait.
                Box::pin(self.ended(&container, record.clone())).await;
                return;
            }
            if !read_some(&stream, &mut decoder).await {
                break;
            }
        }
        let record = self.after_killed_shim(&container, exited).await;
        Box::pin(self.ended(&container, record)).await;
    }

    /// The kernel has killed something in the container for want of memory.
    fn out_of_memory(&self, container: &Container) {
        container.change(|record| record.out_of_memory = true);
        self.tell_container(container, "oom", &[]);
    }

    /// The shim is gone without having cleaned up: do it in its place.
    async fn after_killed_shim(
        self: &Arc<Self>,
        container: &Arc<Container>,
        told: Option<ExitRecord>,
    ) -> ExitRecord {
        let engine = Arc::clone(self);
        let id = container.id.clone();
        let runtime = container.read(|record| record.effective.runtime.clone());
        let found = blocking(move || {
            engine.kill_shim(&engine.bundle_dir(&id));
            engine.delete_remains(&id, &runtime);
            Ok(ExitRecord::read(&engine.exit_file(&id)).ok().flatten())
        });
        let found = found.await.ok().flatten();
        told.or(found).unwrap_or_else(killed)
    }

    /// Writes the end down and tells everybody.
    async fn ended(self: &Arc<Self>, container: &Arc<Container>, record: ExitRecord) {
        let operation = container.operation.lock().await;
        container.link().shim = None;
        self.execs.container_ended(&container.id);
        let exit = Exit {
            code: record.exit_code,
            oom_killed: record.oom_killed,
            at: record
                .exited_at
                .parse()
                .unwrap_or_else(|_| Timestamp::now()),
            error: String::new(),
        };
        let code = exit.code;
        let ran = container.ran().unwrap_or_default();
        let restart = container.read(|kept| wants_restart(kept, code));
        let remove = container.read(|kept| kept.config.auto_remove)
            && !container.comes_back.load(Ordering::Relaxed);
        let engine = Arc::clone(self);
        let ending = Arc::clone(container);
        let oom = exit.oom_killed && !container.read(|kept| kept.out_of_memory);
        *container.health_watch() = None;
        let again = restart.then_some(ran);
        let kept = blocking(move || engine.write_end(&ending, exit, again, remove)).await;
        if let Err(error) = kept {
            tracing::error!(container = %container.id, error = %error.full_message(), "the end of a container could not be written down");
        }
        if oom {
            self.out_of_memory(container);
        }
        self.tell_networks(container, "disconnect");
        self.tell_end(container, code, ran);
        if remove {
            let removed = self.remove_locked(container, true).await;
            if let Err(error) = removed {
                tracing::warn!(container = %container.id, error = %error.full_message(), "auto-remove failed");
            }
        }
        container.tell(|progress| {
            progress.running = restart;
            progress.exits += 1;
            progress.last = WaitResult { code, error: None };
        });
        drop(operation);
        if restart {
            let pause = pause(container.read(|record| record.short_runs));
            self.restart_later(container, pause);
        }
    }

    /// Tells of the end of a run that lasted so long.
    pub(super) fn tell_end(&self, container: &Container, code: i32, ran: Duration) {
        let (code, seconds) = (code.to_string(), ran.as_secs().to_string());
        let more = [
            ("exitCode", code.as_str()),
            ("execDuration", seconds.as_str()),
        ];
        self.tell_container(container, "die", &more);
    }

    fn write_end(
        &self,
        container: &Container,
        exit: Exit,
        again_after: Option<Duration>,
        remove: bool,
    ) -> Result<()> {
        let apply = |event| {
            container
                .apply(event)
                .map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))
        };
        self.unwire(container);
        self.unmount_volumes(&container.record());
        self.release_memory(container);
        let _ = fs_err::remove_dir_all(self.bundle_dir(&container.id));
        apply(Event::Exited(exit))?;
        container.change(Record::end_health);
        if let Some(ran) = again_after {
            apply(Event::WillRestart)?;
            container.change(|record| record.count_restart(ran));
        }
        // One that goes at once need not be written down: without its shim the next daemon removes it.
        if remove {
            Ok(())
        } else {
            self.rows.put_progress(&container.record())
        }
    }

    /// Starts the container again after a pause, unless somebody decides otherwise meanwhile.
    pub(super) fn restart_later(self: &Arc<Self>, container: &Arc<Container>, pause: Duration) {
        let (engine, container) = (Arc::clone(self), Arc::clone(container));
        let restart = async move {
            tokio::time::sleep(pause).await;
            engine.restart_now(&container).await;
        };
        // Boxed and told to be Send: starting and ending call each other.
        tokio::spawn(Box::pin(restart) as futures_util::future::BoxFuture<'static, ()>);
    }

    /// Starts a container that its restart policy is to start, if it still is.
    pub(super) async fn restart_now(self: &Arc<Self>, container: &Arc<Container>) {
        let _operation = container.operation.lock().await;
        if !container.read(|record| matches!(record.state, super::State::Restarting { .. })) {
            return;
        }
        if let Err(error) = self.start_locked(container).await {
            tracing::warn!(container = %container.id, error = %error.full_message(), "restart failed");
            container.tell(|progress| {
                progress.running = false;
                progress.exits += 1;
            });
        }
    }
}

impl Record {
    /// Its restart policy starts it again after a run that lasted so long.
    pub(super) fn count_restart(&mut self, ran: Duration) {
        self.restart_count += 1;
        self.short_runs = if ran >= LONG_RUN {
            1
        } else {
            self.short_runs.saturating_add(1)
        };
    }
}

/// A shim's events, to be followed.
pub(super) fn stream_of(events: Events) -> Result<UnixStream> {
    let stream = events.into_stream();
    let stream = stream
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(stream));
    stream
        .map_err(|e| Error::new(ErrorKind::Internal, "could not follow the container").caused_by(e))
}

/// Waits for something to read and hands it over; `false` at the end. There is no buffer while it waits.
async fn read_some(stream: &UnixStream, decoder: &mut Decoder) -> bool {
    loop {
        if stream.readable().await.is_err() {
            return false;
        }
        let mut buffer = [0; 4096];
        match stream.try_read(&mut buffer) {
            Ok(length @ 1..) => {
                decoder.push(&buffer[..length]);
                return true;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => return false,
        }
    }
}

fn killed() -> ExitRecord {
    ExitRecord {
        exit_code: 137,
        oom_killed: false,
        exited_at: Timestamp::now().to_string(),
    }
}

/// How long a restart policy waits after so many short runs in a row.
fn pause(short_runs: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(
            1_u32
                .checked_shl(short_runs.saturating_sub(1))
                .unwrap_or(u32::MAX),
        )
        .min(LONGEST_PAUSE)
}

/// Whether the container's restart policy starts it again after this exit code.
pub(super) fn wants_restart(record: &Record, code: i32) -> bool {
    match record.config.restart {
        _ if record.stopped_on_request => false,
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { max_retries } => {
            code != 0 && (max_retries == 0 || record.restart_count < max_retries)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        assert_eq!(pause(1), Duration::from_millis(100));
        assert_eq!(pause(3), Duration::from_millis(400));
        assert_eq!(pause(40), LONGEST_PAUSE);
    }
}
