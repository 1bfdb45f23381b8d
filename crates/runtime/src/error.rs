//! Errors in the words of runc, which clients show and tests compare.

use hull_spec::runtime::ContainerStatus;
use rustix::io::Errno;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;

/// Why a command failed. The whole chain is put into words by `chain`, once, at the edge.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No state directory has this id.
    #[error("container does not exist")]
    NotFound,
    /// The id is taken.
    #[error("container with given ID already exists")]
    Exists,
    /// There is no process.
    #[error("container not running")]
    NotRunning,
    /// `resume` of what is not paused.
    #[error("container not paused")]
    NotPaused,
    /// `delete` without `--force`.
    #[error("cannot delete container {id} that is not stopped: {}", status_name(*.status))]
    NotStopped {
        /// The container.
        id: String,
        /// What it is instead.
        status: ContainerStatus,
    },
    /// A text that says it all.
    #[error("{0}")]
    Said(String),
    /// A step, and what went wrong in it.
    #[error("{step}")]
    Step {
        /// What was being done, to what.
        step: String,
        /// The cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// The error with all its causes, in the words the program prints: `a: b: no such file or directory`.
    #[must_use]
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// The word of a status.
pub(crate) fn status_name(status: ContainerStatus) -> &'static str {
    match status {
        ContainerStatus::Creating => "creating",
        ContainerStatus::Created => "created",
        ContainerStatus::Running => "running",
        ContainerStatus::Paused => "paused",
        ContainerStatus::Stopped => "stopped",
    }
}

/// An error with a fixed text.
pub(crate) fn said(text: impl Into<String>) -> Error {
    Error::Said(text.into())
}

/// Names the step in which something failed.
pub(crate) trait Step<T> {
    /// Names the step; the text is made only when it is needed.
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Step<T> for Result<T, E> {
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|source| Error::Step {
            step: step().into(),
            source: source.into(),
        })
    }
}

/// The chain of an error as Go prints it: `a: b: no such file or directory`.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        // Writing to a String cannot fail.
        let _ = if let Some(error) = error.downcast_ref::<io::Error>() {
            write!(text, "{}", go_words(error))
        } else if let Some(number) = error.downcast_ref::<Errno>() {
            write!(text, "{}", go_words(&io::Error::from(*number)))
        } else {
            write!(text, "{error}")
        };
        next = error.source();
    }
    text
}

/// An operating system error in Go's words: lower case, without the number. Errors of `fs_err` name the
/// file first: "failed to open file `/x`: No such file or directory" is "open /x: no such file or directory".
fn go_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let lower = |text: &str| {
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_ascii_lowercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    if error.raw_os_error().is_some() {
        return lower(text);
    }
    let named = text
        .strip_prefix("failed to ")
        .and_then(|text| text.split_once(" `"))
        .and_then(|(action, rest)| {
            rest.rsplit_once("`: ")
                .map(|(path, why)| (action, path, why))
        });
    match named {
        Some((action, path, why)) => {
            let action = match action {
                "create file" => "open",
                action => action.split(' ').next().unwrap_or_default(),
            };
            format!("{action} {path}: {}", lower(why))
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_by_runc() {
        let error = fs_err::read("/nosuch/file").expect_err("not there");
        assert_eq!(
            chain(&error),
            "open /nosuch/file: no such file or directory"
        );
        assert_eq!(chain(&Errno::NOTDIR), "not a directory");
    }

    #[test]
    fn a_chain_reads_as_runc_prints_it() {
        let error = Err::<(), _>(io::Error::from_raw_os_error(2))
            .step(|| "open /x")
            .unwrap_err();
        let error = Err::<(), _>(error)
            .step(|| "error during container init")
            .unwrap_err();
        assert_eq!(
            chain(&error),
            "error during container init: open /x: no such file or directory"
        );
    }
}
