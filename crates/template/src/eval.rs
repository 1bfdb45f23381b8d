//! From nodes and data to text.

use crate::data::Data;
use crate::functions::{self, Failed};
use crate::node::{Block, Node, Operand, Pipe, Term};
use crate::parse::DEEPEST;
use crate::{Error, Template};

/// What a body asks of the loop around it.
enum Flow {
    Next,
    Break,
    Continue,
}

pub(crate) struct Evaluator<'a> {
    template: &'a Template,
    root: &'a Data,
    /// The Go type of the root, where it is a struct.
    root_type: Option<&'static str>,
    header: bool,
    /// Innermost last.
    variables: Vec<(String, Data)>,
    /// Of templates that call templates.
    depth: usize,
    out: String,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(template: &'a Template, root: &'a Data, header: bool) -> Self {
        Self {
            template,
            root,
            root_type: None,
            header,
            variables: vec![("$".to_owned(), root.clone())],
            depth: 0,
            out: String::new(),
        }
    }

    pub(crate) fn of_type(mut self, name: &'static str) -> Self {
        self.root_type = Some(name);
        self
    }

    pub(crate) fn run(mut self) -> Result<String, Error> {
        self.nodes(&self.template.nodes, self.root)?;
        Ok(self.out)
    }

    /// An error at a place of the template.
    fn fail(&self, at: usize, node: impl ToString, message: impl Into<String>) -> Error {
        let before = self.template.text.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Error::Execute {
            name: self.template.name,
            line: before.matches('\n').count() + 1,
            column: at - line_start,
            node: node.to_string(),
            message: message.into(),
        }
    }

    fn nodes(&mut self, nodes: &'a [Node], dot: &Data) -> Result<Flow, Error> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.out.push_str(&value.to_string());
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
                Node::Template { name, pipe, at } => {
                    self.call_template(name, pipe.as_ref(), *at, dot)?;
                }
                Node::Block {
                    kind,
                    pipe,
                    body,
                    otherwise,
                } => {
                    let scope = self.variables.len();
                    let flow = match kind {
                        Block::Range => self.range(pipe, body, otherwise, dot)?,
                        Block::If | Block::With => {
                            let value = self.pipe(pipe, dot)?;
                            let inner = if *kind == Block::With { &value } else { dot };
                            if value.is_true() {
                                self.nodes(body, inner)?
                            } else {
                                self.nodes(otherwise, dot)?
                            }
                        }
                    };
                    self.variables.truncate(scope);
                    if !matches!(flow, Flow::Next) {
                        return Ok(flow);
                    }
                }
            }
        }
        Ok(Flow::Next)
    }

    fn call_template(
        &mut self,
        name: &str,
        pipe: Option<&'a Pipe>,
        at: usize,
        dot: &Data,
    ) -> Result<(), Error> {
        let shown = || {
            let arguments = pipe.map_or(String::new(), |pipe| format!(" {pipe}"));
            format!("{{{{template {}{arguments}}}}}", crate::quote(name))
        };
        let Some(nodes) = self.template.defined.get(name) else {
            let message = format!("template {} not defined", functions::quoted(name));
            return Err(self.fail(at, shown(), message));
        };
        if self.depth >= DEEPEST {
            let message = format!("exceeded maximum template depth ({DEEPEST})");
            return Err(self.fail(at, shown(), message));
        }
        let value = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Data::Missing,
        };
        let own = vec![("$".to_owned(), value.clone())];
        let outer = std::mem::replace(&mut self.variables, own);
        self.depth += 1;
        self.nodes(nodes, &value)?;
        self.depth -= 1;
        self.variables = outer;
        Ok(())
    }

    fn range(
        &mut self,
        pipe: &'a Pipe,
        body: &'a [Node],
        otherwise: &'a [Node],
        dot: &Data,
    ) -> Result<Flow, Error> {
        let value = self.pipe(pipe, dot)?;
        let items: Box<dyn Iterator<Item = (Data, Data)>> = match value {
            Data::List(items) => Box::new((0..).map(Data::Int).zip(items)),
            Data::Object(mut members) | Data::Struct(mut members, _) => {
                members.sort_by(|(a, _), (b, _)| a.cmp(b));
                let pair = |(name, value)| (Data::Text(name), value);
                Box::new(members.into_iter().map(pair))
            }
            Data::Int(count) => Box::new((0..count).map(|n| (Data::Int(n), Data::Int(n)))),
            Data::Null | Data::Missing | Data::NullOf(_) => Box::new(std::iter::empty()),
            other => {
                let message = format!("range can't iterate over {other}");
                return Err(self.fail(pipe.at, pipe, message));
            }
        };
        let mut items = items.peekable();
        if items.peek().is_none() {
            return self.nodes(otherwise, dot);
        }
        let scope = self.variables.len();
        for (key, value) in items {
            match pipe.variables.as_slice() {
                [only] => self.set(only, value.clone()),
                [first, second, ..] => {
                    self.set(first, key);
                    self.set(second, value.clone());
                }
                [] => {}
            }
            let flow = self.nodes(body, &value)?;
            self.variables.truncate(scope);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// Changes the innermost variable of the name.
    fn set(&mut self, name: &str, value: Data) {
        let mut known = self.variables.iter_mut().rev();
        if let Some((_, old)) = known.find(|(known, _)| known == name) {
            *old = value;
        }
    }

    fn pipe(&mut self, pipe: &'a Pipe, dot: &Data) -> Result<Data, Error> {
        let mut last: Option<Data> = None;
        for command in &pipe.commands {
            last = Some(self.command(command, last, dot)?);
        }
        let value = last.unwrap_or(Data::Missing);
        for name in &pipe.variables {
            if pipe.assigns {
                self.set(name, value.clone());
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        command: &'a [Operand],
        last: Option<Data>,
        dot: &Data,
    ) -> Result<Data, Error> {
        let [head, rest @ ..] = command else {
            return Ok(Data::Missing);
        };
        let has_arguments = !rest.is_empty() || last.is_some();
        match &head.kind {
            Term::Function(_) => self.function(head, rest, last, dot),
            Term::Field(path) if has_arguments => {
                let mut arguments = Vec::new();
                for operand in rest {
                    arguments.push(self.operand(operand, dot)?);
                }
                arguments.extend(last);
                self.method(path, &arguments, head, dot)
            }
            Term::Nil => Err(self.fail(head.at, head, "nil is not a command")),
            _ if has_arguments => {
                let message = format!("can't give argument to non-function {head}");
                Err(self.fail(head.at, head, message))
            }
            _ => self.operand(head, dot),
        }
    }

    /// Calls the function that `head` is.
    fn function(
        &mut self,
        head: &'a Operand,
        rest: &'a [Operand],
        last: Option<Data>,
        dot: &Data,
    ) -> Result<Data, Error> {
        let name = head.to_string();
        let lazy = matches!(name.as_str(), "and" | "or");
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            let value = self.operand(operand, dot)?;
            // What comes after the operand that decides is not looked at.
            if lazy && value.is_true() == (name == "or") {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(last);
        let (count, given) = (arguments.len(), arguments.clone());
        functions::call(&name, arguments, self.header).map_err(|failed| match failed {
            Failed::Calling(message) => {
                let operands = std::iter::once(head).chain(rest);
                let command: Vec<String> = operands.map(Operand::to_string).collect();
                let message = format!("error calling {name}: {message}");
                self.fail(head.at, command.join(" "), message)
            }
            Failed::Count { least, want } => {
                let least = if least { "at least " } else { "" };
                let message =
                    format!("wrong number of args for {name}: want {least}{want} got {count}");
                self.fail(head.at, head, message)
            }
            Failed::Argument(number, wanted) => {
                let operand = rest.get(number).unwrap_or(head);
                let message = match &operand.kind {
                    kind if kind.is_constant() && !matches!(kind, Term::Dot) => {
                        format!("expected {wanted}; found {operand}")
                    }
                    _ => {
                        let found = functions::type_name(&given[number]);
                        format!("wrong type for value; expected {wanted}; got {found}")
                    }
                };
                self.fail(operand.at, operand, message)
            }
        })
    }

    /// The one method with an argument that Docker's rows have.
    fn method(
        &self,
        path: &[String],
        arguments: &[Data],
        head: &Operand,
        dot: &Data,
    ) -> Result<Data, Error> {
        let last = path.last().map_or("", String::as_str);
        match (path, arguments, dot) {
            ([name], [Data::Text(label)], _) if name == "Label" && self.header => {
                // The last part of the name, as words.
                let short = label.rsplit('.').next().unwrap_or(label);
                Ok(short.replace(['-', '_'], " ").into())
            }
            ([name], [Data::Text(label)], Data::Record(record)) if name == "Label" => {
                let found = record.labels.iter().find(|(name, _)| name == label);
                Ok(found.map_or("", |(_, value)| value).into())
            }
            _ => {
                let (parent, _) = path.split_at(path.len().saturating_sub(1));
                let value = self.fields(dot, parent, head)?;
                let message = match value {
                    Data::Record(_) => {
                        format!("{last} has arguments but cannot be invoked as function")
                    }
                    Data::Object(_) | Data::Struct(..) => {
                        format!("{last} is not a method but has arguments")
                    }
                    other => {
                        let name = functions::type_name(&other);
                        format!("can't evaluate field {last} in type {name}")
                    }
                };
                Err(self.fail(head.at, head, message))
            }
        }
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Data) -> Result<Data, Error> {
        match &operand.kind {
            Term::Dot => Ok(dot.clone()),
            Term::Nil => Ok(Data::Null),
            Term::Bool(value) => Ok(Data::Bool(*value)),
            Term::Int(number, _) => Ok(Data::Int(*number)),
            Term::Float(number, _) => Ok(Data::Float(*number)),
            Term::Text(text, _) => Ok(text.as_str().into()),
            Term::Field(path) => self.fields(dot, path, operand),
            Term::Variable(path) => {
                let (name, path) = path
                    .split_first()
                    .map_or(("$", &path[..]), |(n, p)| (n.as_str(), p));
                let mut variables = self.variables.iter().rev();
                let variable = variables.find(|(known, _)| known == name);
                let value = variable.map_or(&Data::Missing, |(_, value)| value);
                self.fields(value, path, operand)
            }
            Term::Group(pipe) => self.pipe(pipe, dot),
            Term::Chain(inner, path) => {
                let value = self.operand(inner, dot)?;
                self.fields(&value, path, operand)
            }
            Term::Function(_) => self.function(operand, &[], None, dot),
        }
    }

    /// The Go type of a value that is the root.
    fn type_of(&self, value: &Data) -> Option<&'static str> {
        self.root_type.filter(|_| std::ptr::eq(value, self.root))
    }

    fn fields(&self, value: &Data, path: &[String], operand: &Operand) -> Result<Data, Error> {
        let mut value = value;
        for name in path {
            let missing = |message: String| self.fail(operand.at, operand, message);
            let found = match value {
                Data::Object(members) | Data::Struct(members, _) => {
                    members.iter().find(|(known, _)| known == name)
                }
                Data::Record(record) => {
                    let field = record.fields.iter().find(|(known, _)| known == name);
                    match field {
                        Some((_, field)) => {
                            value = field;
                            continue;
                        }
                        None if self.header => return Ok(Data::Missing),
                        None => None,
                    }
                }
                _ => None,
            };
            value = match (found, value) {
                (Some((_, member)), _) => member,
                (None, Data::Object(_)) if let Some(kind) = self.type_of(value) => {
                    return Err(missing(format!(
                        "can't evaluate field {name} in type {kind}"
                    )));
                }
                (None, Data::Object(_) | Data::Struct(..)) => {
                    return Err(missing(format!(
                        "map has no entry for key {}",
                        crate::quote(name)
                    )));
                }
                (None, Data::Missing) => return Ok(Data::Missing),
                (None, Data::Null | Data::NullOf(_)) => {
                    return Err(missing(format!(
                        "nil data; no entry for key {}",
                        crate::quote(name)
                    )));
                }
                (None, other) => {
                    let kind = functions::type_name(other);
                    return Err(missing(format!(
                        "can't evaluate field {name} in type {kind}"
                    )));
                }
            };
        }
        Ok(value.clone())
    }
}
