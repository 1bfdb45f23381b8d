//! `attach` and `resize`.

use super::live::Pending;
use super::{AttachOptions, Attached, State};
use crate::{Engine, Error, ErrorKind, Result, blocking};
use futures_util::FutureExt;
use hull_shim::AttachOptions as Wanted;
use std::sync::Arc;
use tokio::sync::oneshot;

pub(super) fn wanted(options: AttachOptions) -> Wanted {
    Wanted {
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr,
    }
}

impl Engine {
    /// Attaches a client, also to a container that is yet to be started.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for a paused container.
    pub async fn attach(self: &Arc<Self>, name: &str, options: AttachOptions) -> Result<Attached> {
        let container = self.find(name)?;
        let record = container.record();
        if matches!(record.state, State::Paused { .. }) {
            let text = format!("container {name} is paused, unpause the container before attach");
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        self.tell_container(&container, "attach", &[]);
        let (sender, receiver) = oneshot::channel();
        let shim = {
            let mut link = container.link();
            if link.shim.is_none() {
                link.pending.push(Pending {
                    options,
                    stream: sender,
                });
            }
            link.shim.clone()
        };
        let stream = match shim {
            Some(shim) => {
                let attached = blocking(move || {
                    let gone = |e: hull_shim::Error| {
                        Error::new(ErrorKind::Conflict, "the container has just ended").caused_by(e)
                    };
                    shim.attach(wanted(options)).map_err(gone)
                });
                attached
                    .await
                    .and_then(to_tokio)
                    .map(|stream| std::future::ready(Ok(stream)).boxed())?
            }
            None => async move {
                match receiver.await {
                    Ok(stream) => to_tokio(stream?),
                    Err(_) => Err(Error::new(ErrorKind::NotFound, "the container was removed")),
                }
            }
            .boxed(),
        };
        Ok(Attached {
            tty: record.config.tty,
            stream,
        })
    }

    /// Tells of a client that left by the detach keys, for the event.
    pub fn detached(&self, name: &str) {
        if let Ok(container) = self.find(name) {
            self.tell_container(&container, "detach", &[]);
        }
    }

    /// Changes the size of a container's terminal.
    ///
    /// # Errors
    /// `Conflict` when it does not run.
    pub async fn resize(&self, name: &str, rows: u16, columns: u16) -> Result<()> {
        let container = self.find(name)?;
        let shim = container.shim()?;
        // Without a terminal there is nothing to change, and dockerd does not mind.
        let tty = container.read(|record| record.config.tty);
        let resized = Arc::clone(&container);
        blocking(move || {
            if !tty {
                return Ok(());
            }
            shim.resize(None, rows, columns).map_err(|error| {
                resized.refused(&shim, error, |error| {
                    Error::new(ErrorKind::Internal, error.to_string())
                })
            })
        })
        .await?;
        self.tell_container(
            &container,
            "resize",
            &[
                ("height", &rows.to_string()),
                ("width", &columns.to_string()),
            ],
        );
        Ok(())
    }
}

pub(super) fn to_tokio(stream: std::os::unix::net::UnixStream) -> Result<tokio::net::UnixStream> {
    stream
        .set_nonblocking(true)
        .and_then(|()| tokio::net::UnixStream::from_std(stream))
        .map_err(|e| {
            Error::new(ErrorKind::Internal, "could not use the shim's connection").caused_by(e)
        })
}
