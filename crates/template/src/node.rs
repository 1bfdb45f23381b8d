//! What a template is made of.

use std::fmt;

/// A piece of a template.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Text(String),
    /// `{{pipe}}`
    Action(Pipe),
    /// `if`, `with` and `range` with their `else`.
    Block {
        kind: Block,
        pipe: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// `{{template "name" pipe}}`
    Template {
        name: String,
        pipe: Option<Pipe>,
        at: usize,
    },
    Break,
    Continue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    If,
    With,
    Range,
}

/// Commands, each of which takes the result of the one before as its last argument.
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    /// Variables that take the result, `$` included.
    pub(crate) variables: Vec<String>,
    /// `=`, not `:=`.
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Vec<Operand>>,
    pub(crate) at: usize,
}

/// One operand of a command, and the offset that errors name.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) kind: Term,
    pub(crate) at: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Term {
    Dot,
    Nil,
    Bool(bool),
    /// A number as it is written.
    Int(i64, String),
    Float(f64, String),
    /// A string, and how it is written.
    Text(String, String),
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A.B`, the variable first.
    Variable(Vec<String>),
    Function(String),
    /// `(pipe)`
    Group(Box<Pipe>),
    /// Fields of something else.
    Chain(Box<Operand>, Vec<String>),
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |f: &mut fmt::Formatter<'_>, names: &[String]| {
            names.iter().try_for_each(|name| write!(f, ".{name}"))
        };
        match &self.kind {
            Term::Dot => f.write_str("."),
            Term::Nil => f.write_str("nil"),
            Term::Bool(value) => value.fmt(f),
            Term::Int(_, text) | Term::Float(_, text) | Term::Text(_, text) => f.write_str(text),
            Term::Field(names) => path(f, names),
            Term::Variable(names) => f.write_str(&names.join(".")),
            Term::Function(name) => f.write_str(name),
            Term::Group(pipe) => write!(f, "({pipe})"),
            Term::Chain(inner, names) => {
                inner.fmt(f)?;
                path(f, names)
            }
        }
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (number, command) in self.commands.iter().enumerate() {
            if number > 0 {
                f.write_str(" | ")?;
            }
            for (number, operand) in command.iter().enumerate() {
                let space = if number > 0 { " " } else { "" };
                write!(f, "{space}{operand}")?;
            }
        }
        Ok(())
    }
}
