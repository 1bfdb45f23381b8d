//! Pieces of a log for a client. A thread is needed only while there is something to read and the client
//! takes it: clients that wait, and clients that do not read, may be many.

use super::files::Place;
use super::read::{Reader, Step, Write};
use super::watch::Watch;
use super::{LogOptions, Logs};
use crate::container::live::{Container, Progress};
use crate::container::{log_is_readable, log_place};
use crate::stream::{Outgoing, Task, pieces_of, told_by};
use crate::{Engine, Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;

/// How many pieces wait for a client at most, besides the one that is made meanwhile.
const WAITING: usize = 1;

impl Engine {
    /// A container's log.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` when no stream is asked for; `NotImplemented` for a log driver
    /// that cannot be read.
    pub async fn logs(self: &Arc<Self>, name: &str, options: LogOptions) -> Result<Logs> {
        let container = self.find(name)?;
        if !options.stdout && !options.stderr {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "Bad parameters: you must choose at least one stream",
            ));
        }
        let record = container.record();
        if !log_is_readable(&record.config.log) {
            return Err(Error::new(
                ErrorKind::NotImplemented,
                "configured logging driver does not support reading",
            ));
        }
        // Before it is asked whether the container runs: an end after that is noticed.
        let progress = container.progress.subscribe();
        let run = container.progress.borrow().exits;
        let follow = options.follow && container.read(crate::container::record::Record::is_running);
        let place = log_place(&self.container_dir(&record.id), &record);
        let watch = match follow {
            true => Some(self.log_watches.watch(place.directory()).map_err(|e| {
                Error::new(ErrorKind::Internal, "could not follow the log").caused_by(e)
            })?),
            false => None,
        };
        Ok(Logs {
            tty: record.config.tty,
            job: Job {
                place,
                options: LogOptions { follow, ..options },
                end: End { progress, run },
                watch,
                _container: container,
            },
        })
    }
}

/// When a container's run is over.
#[derive(Debug)]
struct End {
    progress: Receiver<Progress>,
    /// How many runs were over before.
    run: u64,
}

impl End {
    async fn comes(&mut self) {
        let run = self.run;
        // An error means that the container is gone altogether.
        let over = |now: &Progress| now.exits > run || now.removed;
        let _ = self.progress.wait_for(over).await;
    }
}

/// A log to be read.
#[derive(Debug)]
pub(super) struct Job {
    place: Place,
    options: LogOptions,
    end: End,
    watch: Option<Watch>,
    _container: Arc<Container>,
}

impl Job {
    pub(super) fn run(self, write: Write) -> Outgoing {
        let (sender, pieces) = mpsc::channel(WAITING);
        let work = tokio::spawn(async move {
            if let Err(error) = self.pump(write, &sender).await {
                // The error means that nobody listens any more.
                let _ = sender.send(Err(error)).await;
            }
        });
        told_by(pieces_of(pieces), Task(work).ended())
    }

    async fn pump(
        mut self,
        write: Write,
        sender: &mpsc::Sender<Result<bytes::Bytes>>,
    ) -> Result<()> {
        let mut reader = Reader::new(self.place, self.options, write);
        loop {
            // Room first: who does not take what there is needs no more.
            let Ok(room) = sender.reserve().await else {
                return Ok(());
            };
            let step;
            (reader, step) = crate::blocking(move || {
                let step = reader.step().map_err(|e| {
                    Error::new(ErrorKind::Internal, "could not read the log").caused_by(e)
                });
                step.map(|step| (reader, step))
            })
            .await?;
            match (step, &mut self.watch) {
                (Step::Piece(piece), _) => room.send(Ok(piece)),
                (Step::Wait, Some(watch)) => tokio::select! {
                    () = watch.changed() => {}
                    // What the container wrote last is in the file by now.
                    () = self.end.comes() => reader.live = false,
                    () = sender.closed() => return Ok(()),
                },
                _ => return Ok(()),
            }
        }
    }
}
