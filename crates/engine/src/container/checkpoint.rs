//! Checkpoints: a running container saved as files, and started again from them, by CRIU through the runtime.
//!
//! They lie in the container's directory and go with it, or in a directory of the client's choice.

use super::State;
use crate::{Engine, Error, ErrorKind, Result, blocking, names};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is to be saved, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointRequest {
    /// Its name.
    pub name: String,
    /// Where it goes, on the daemon's host; `None`: with the container.
    pub directory: Option<PathBuf>,
    /// Whether the container ends.
    pub exit: bool,
}

impl Engine {
    /// Saves a running container.
    ///
    /// # Errors
    /// `Conflict` when it does not run or has a checkpoint of this name, `InvalidInput` for a name that is none,
    /// and what the runtime said: above all, that there is no CRIU.
    pub async fn checkpoint(
        self: &Arc<Self>,
        name: &str,
        request: CheckpointRequest,
    ) -> Result<()> {
        let container = self.find(name)?;
        let operation = container.operation.lock().await;
        if !container.read(|record| matches!(record.state, State::Running { .. })) {
            return Err(container.not_running());
        }
        let parent = self.checkpoints_dir(&container.id, request.directory.as_deref())?;
        let images = parent.join(checked(&request.name)?);
        let shim = container.shim()?;
        let (named, saved) = (name.to_owned(), Arc::clone(&container));
        blocking(move || {
            make(&parent, &images, &named, &request.name)?;
            shim.checkpoint(&images, !request.exit).map_err(|error| {
                // Half a checkpoint is none.
                let _ = fs_err::remove_dir_all(&images);
                saved.refused(&shim, error, |error| {
                    let text = format!("Cannot checkpoint container {named}: {error}");
                    Error::new(ErrorKind::Internal, text)
                })
            })
        })
        .await?;
        drop(operation);
        self.tell_container(&container, "checkpoint", &[]);
        Ok(())
    }

    /// The names of a container's checkpoints, sorted.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn checkpoints(&self, name: &str, directory: Option<PathBuf>) -> Result<Vec<String>> {
        let container = self.find(name)?;
        let parent = self.checkpoints_dir(&container.id, directory.as_deref())?;
        blocking(move || {
            let entries = match fs_err::read_dir(&parent) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                entries => entries.map_err(|e| {
                    Error::new(ErrorKind::Internal, "could not list the checkpoints").caused_by(e)
                })?,
            };
            let directories = entries.flatten().filter(|entry| entry.path().is_dir());
            let mut names: Vec<String> = directories
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect();
            names.sort_unstable();
            Ok(names)
        })
        .await
    }

    /// Removes a checkpoint.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_checkpoint(
        &self,
        name: &str,
        checkpoint: &str,
        directory: Option<PathBuf>,
    ) -> Result<()> {
        let container = self.find(name)?;
        let images = self.existing_checkpoint(name, &container.id, checkpoint, directory)?;
        blocking(move || {
            fs_err::remove_dir_all(&images).map_err(|e| {
                Error::new(ErrorKind::Internal, "could not remove the checkpoint").caused_by(e)
            })
        })
        .await
    }

    /// Starts a container where a checkpoint left it.
    ///
    /// # Errors
    /// `NotFound` without this checkpoint; as [`Engine::start`].
    pub async fn start_checkpoint(
        self: &Arc<Self>,
        name: &str,
        checkpoint: &str,
        directory: Option<PathBuf>,
    ) -> Result<()> {
        let container = self.find(name)?;
        let images = self.existing_checkpoint(name, &container.id, checkpoint, directory)?;
        self.start_from(&container.id, Some(images)).await
    }

    fn existing_checkpoint(
        &self,
        named: &str,
        id: &str,
        checkpoint: &str,
        directory: Option<PathBuf>,
    ) -> Result<PathBuf> {
        let parent = self.checkpoints_dir(id, directory.as_deref())?;
        let images = parent.join(checked(checkpoint)?);
        if images.is_dir() {
            return Ok(images);
        }
        let text = format!("checkpoint {checkpoint} does not exist for container {named}");
        Err(Error::new(ErrorKind::NotFound, text))
    }

    fn checkpoints_dir(&self, id: &str, directory: Option<&Path>) -> Result<PathBuf> {
        match directory {
            None => Ok(self.container_dir(id).join("checkpoints")),
            Some(directory) if directory.is_absolute() => Ok(directory.to_owned()),
            Some(directory) => {
                let text = format!(
                    "the directory of checkpoints must be an absolute path: {}",
                    directory.display()
                );
                Err(Error::new(ErrorKind::InvalidInput, text))
            }
        }
    }
}

/// Makes the directory of a checkpoint, for nobody but root: in it is the memory of processes.
fn make(parent: &Path, images: &Path, named: &str, checkpoint: &str) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700);
    let made = builder
        .recursive(true)
        .create(parent)
        .and_then(|()| builder.recursive(false).create(images));
    made.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            let text = format!(
                "cannot checkpoint container {named}: checkpoint with name {checkpoint} already exists for container {named}"
            );
            return Error::new(ErrorKind::Conflict, text);
        }
        let text = format!("could not make the directory {}", images.display());
        Error::new(ErrorKind::Internal, text).caused_by(error)
    })
}

/// A checkpoint's name, which becomes a directory's.
fn checked(name: &str) -> Result<&str> {
    if !name.starts_with('/') && names::checked(name).is_ok() {
        return Ok(name);
    }
    let text =
        format!("Invalid checkpoint ID ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
    Err(Error::new(ErrorKind::InvalidInput, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_paths() {
        assert_eq!(checked("before.1").unwrap(), "before.1");
        for bad in ["", "..", "/a1", "a/b", "../up", ".hidden"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
