//! Dockerfiles: text in, stages of instructions with their places out. What BuildKit's frontend
//! (`docker/dockerfile:1`) reads is read, and refused in its words.
//!
//! ```text
//! bytes ─ syntax::parse ─► statements (lines joined, arguments split) ─ Dockerfile::read ─► stages, checked
//! ```
//!
//! Variables are put in place later, where their values are known: [`shell`].

mod directive;
mod flags;
mod heredoc;
mod instruction;
mod lint;
mod mount;
mod place;
mod print;
mod read;
pub mod shell;
mod suggest;
mod syntax;
mod words;

pub use directive::{Directive, directive, syntax as detect_syntax};
pub use heredoc::{Heredoc, heredoc};
pub use instruction::{
    Action, Add, Argument, CommandLine, Copy, InlineFile, Instruction, Network, Run, RunFile,
    Sources, Stage,
};
pub use lint::{Checks, Linter, Rule, Warning};
pub(crate) use mount::csv;
pub use mount::{Device, Mount, MountText, MountType, Sharing};
pub use place::{Error, Lines, excerpt};
pub use read::{Dockerfile, trigger};
pub(crate) use suggest::{hinted, near};
pub use syntax::{Arguments, MAX_SIZE, Pair, Statement, Syntax, parse};

/// Go's `strconv.ParseBool`.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
