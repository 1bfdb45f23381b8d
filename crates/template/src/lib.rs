//! Go's `text/template` for `--format`: fields, pipes, variables, `if`, `with`, `range`, templates of one's own,
//! comparisons, and Docker's functions (`json`, `join`, `lower`, …).
//!
//! ```text
//! text ─ lex ─► tokens ─ parse ─► nodes ─ eval(data) ─► text
//! ```
//!
//! The texts of errors are Go's, for scripts and people know them. What Go decides by types is decided by values here: there is
//! nothing but what JSON has, and rows of tables ([`Record`]).
#![forbid(unsafe_code)]

mod compare;
mod data;
mod eval;
mod functions;
pub mod fuzz;
mod lex;
mod node;
mod operand;
mod parse;
mod printf;
mod quote;

pub use data::{Data, Empty, Record, Shape};
pub use quote::quote;

use node::Node;
use std::collections::BTreeMap;

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    name: &'static str,
    /// For the places that errors name.
    text: String,
    nodes: Vec<Node>,
    defined: BTreeMap<String, Vec<Node>>,
}

/// Why a template cannot be used; the texts are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("template: {name}:{line}: {message}")]
    Parse {
        /// The template's name, mostly empty.
        name: &'static str,
        /// Counted from one.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// It cannot be filled in with this data.
    #[error("template: {name}:{line}:{column}: executing \"{name}\" at <{node}>: {message}")]
    Execute {
        /// The template's name, mostly empty.
        name: &'static str,
        /// Counted from one.
        line: usize,
        /// In bytes, counted from zero.
        column: usize,
        /// What was evaluated.
        node: String,
        /// What is wrong.
        message: String,
    },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::named("", text)
    }

    /// Reads a template that errors call by a name.
    ///
    /// # Errors
    /// When it is none.
    pub fn named(own: &'static str, text: &str) -> Result<Self, Error> {
        let (nodes, defined) = parse::parse(text).map_err(|error| match error {
            Error::Parse { line, message, .. } => Error::Parse {
                name: own,
                line,
                message,
            },
            other => other,
        })?;
        Ok(Self {
            name: own,
            text: text.to_owned(),
            nodes,
            defined,
        })
    }

    /// Fills it in.
    ///
    /// # Errors
    /// When it asks for what is not there, or calls a function with what it does not take.
    pub fn render(&self, data: &Data) -> Result<String, Error> {
        eval::Evaluator::new(self, data, false).run()
    }

    /// Fills it in with what is a Go struct of the type `root`, as errors tell.
    ///
    /// # Errors
    /// As for [`Template::render`].
    pub fn render_struct(&self, data: &Data, root: &'static str) -> Result<String, Error> {
        let evaluator = eval::Evaluator::new(self, data, false);
        evaluator.of_type(root).run()
    }

    /// Fills it in with the headings of a table: functions leave their argument as it is, and what has no heading has
    /// `<no value>`.
    ///
    /// # Errors
    /// When a function is called with what it does not take.
    pub fn render_header(&self, headings: &Data) -> Result<String, Error> {
        eval::Evaluator::new(self, headings, true).run()
    }
}

#[cfg(test)]
mod tests;
