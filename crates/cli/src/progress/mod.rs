//! What a pull says, as it goes: live bars on a terminal, plain lines elsewhere.

mod bar;
mod screen;

use crate::failure::{Failure, Outcome};
use crate::terminal;
use hull_api::client::JsonLines;
use hull_api::progress::Message;
use screen::{Plain, Screen};
use std::io::{self, IsTerminal as _, Write as _};

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
    None,
}

impl Output {
    fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
            Self::None => false,
        }
    }

    fn write(self, text: &str) {
        // A reader that went away does not stop the pull.
        let _ = match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            Self::Stderr => io::stderr().write_all(text.as_bytes()),
            Self::None => Ok(()),
        };
    }
}

/// Shows a stream of messages until its end; an error in it is the command's.
pub(crate) async fn show(messages: JsonLines<Message>, output: Output) -> Outcome {
    show_with(messages, output, |_| ()).await
}

/// As [`show`]; what is meant for programs goes to `aux`.
pub(crate) async fn show_with(
    mut messages: JsonLines<Message>,
    output: Output,
    mut aux: impl FnMut(&serde_json::Value),
) -> Outcome {
    let live = output.is_terminal();
    let mut screen = Screen::default();
    while let Some(message) = messages.next().await? {
        if let Some(failure) = error_of(&message) {
            return Err(failure);
        }
        if let Some(value) = &message.aux {
            aux(value);
            continue;
        }
        let text = if live {
            screen.update(&message, terminal::columns())
        } else {
            Plain::line(&message)
        };
        output.write(&text);
    }
    Ok(())
}

fn error_of(message: &Message) -> Option<Failure> {
    let text = match &message.error_detail {
        Some(detail) if !detail.message.is_empty() => &detail.message,
        _ if !message.error.is_empty() => &message.error,
        _ => return None,
    };
    Some(Failure::new(text.clone()))
}
