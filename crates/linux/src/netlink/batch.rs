//! Several changes in one system call.

use super::link::{Link, get_link, read_link};
use super::message::Message;
use super::{Error, Socket};

/// Changes that are sent together, in their order. The kernel goes on after one that failed: whoever
/// sends several must be able to take back all of them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    requests: Vec<Request>,
}

#[derive(Clone, Debug)]
struct Request {
    operation: &'static str,
    object: String,
    message: Message,
}

impl Batch {
    /// Without changes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn push(
        &mut self,
        operation: &'static str,
        object: impl Into<String>,
        message: Message,
    ) -> &mut Self {
        self.requests.push(Request {
            operation,
            object: object.into(),
            message,
        });
        self
    }

    fn split(self) -> (Vec<Message>, Vec<(&'static str, String)>) {
        let requests = self.requests.into_iter();
        requests
            .map(|r| (r.message, (r.operation, r.object)))
            .unzip()
    }
}

fn blame(mut names: Vec<(&'static str, String)>, (at, error): (usize, std::io::Error)) -> Error {
    let at = at.min(names.len().saturating_sub(1));
    match names.is_empty() {
        true => Error::new("send", "a batch", error),
        false => {
            let (operation, object) = names.swap_remove(at);
            Error::new(operation, object, error)
        }
    }
}

impl Socket {
    /// Makes all the changes; an empty batch does nothing.
    ///
    /// # Errors
    /// The first failure; the changes after it were tried all the same.
    pub fn run(&mut self, batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let (messages, names) = batch.split();
        self.change(messages).map_err(|failed| blame(names, failed))
    }

    /// Makes all the changes, then tells how the device with this name is.
    ///
    /// # Errors
    /// As [`Socket::run`]; [`Error::is_absent`] when there is no such device.
    pub fn run_and_look(&mut self, batch: Batch, name: &str) -> Result<Link, Error> {
        let (mut messages, mut names) = batch.split();
        messages.push(get_link(name));
        names.push(("look up link", name.to_owned()));
        self.change_and_get(messages, read_link)
            .map_err(|failed| blame(names, failed))
    }
}
