//! From nodes and data to text.

use super::TemplateError;
use super::data::Data;
use super::functions;
use super::parse::{Block, Node, Operand, Pipe, Position};

/// What a body asks of the loop around it.
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Evaluator<'a> {
    root: &'a Data,
    header: bool,
    /// Innermost last.
    variables: Vec<(String, Data)>,
    out: String,
}

/// An error before its place is known.
type Failed = String;

impl<'a> Evaluator<'a> {
    pub(super) fn new(root: &'a Data, header: bool) -> Self {
        Self {
            root,
            header,
            variables: vec![(String::new(), root.clone())],
            out: String::new(),
        }
    }

    pub(super) fn run(mut self, nodes: &[Node]) -> Result<String, TemplateError> {
        self.nodes(nodes, self.root)?;
        Ok(self.out)
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Data) -> Result<Flow, TemplateError> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.variables.is_empty() {
                        self.out.push_str(&value.to_string());
                    } else {
                        self.assign(pipe, value);
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
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
                            if !pipe.variables.is_empty() {
                                self.assign(pipe, value.clone());
                            }
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

    fn range(
        &mut self,
        pipe: &Pipe,
        body: &[Node],
        otherwise: &[Node],
        dot: &Data,
    ) -> Result<Flow, TemplateError> {
        let items: Vec<(Data, Data)> = match self.pipe(pipe, dot)? {
            Data::List(items) => (0..).map(Data::Int).zip(items).collect(),
            Data::Object(mut members) => {
                members.sort_by(|(a, _), (b, _)| a.cmp(b));
                let pair = |(name, value)| (Data::Text(name), value);
                members.into_iter().map(pair).collect()
            }
            Data::Int(count) => (0..count).map(|n| (Data::Int(n), Data::Int(n))).collect(),
            Data::Null => Vec::new(),
            other => {
                let message = format!("range can't iterate over {other}");
                return Err(fail(pipe.at, &describe(pipe), message));
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let scope = self.variables.len();
        for (key, value) in items {
            match pipe.variables.as_slice() {
                [only] => self.variables.push((only.clone(), value.clone())),
                [first, second, ..] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), value.clone()));
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

    fn assign(&mut self, pipe: &Pipe, value: Data) {
        let Some(name) = pipe.variables.first() else {
            return;
        };
        if !pipe.declares
            && let Some(known) = self
                .variables
                .iter_mut()
                .rev()
                .find(|(known, _)| known == name)
        {
            known.1 = value;
            return;
        }
        self.variables.push((name.clone(), value));
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Data) -> Result<Data, TemplateError> {
        let mut last: Option<Data> = None;
        for command in &pipe.commands {
            let value = self
                .command(command, last, dot)?
                .map_err(|message| fail(pipe.at, &describe(pipe), message))?;
            last = Some(value);
        }
        Ok(last.unwrap_or(Data::Null))
    }

    fn command(
        &mut self,
        command: &[Operand],
        last: Option<Data>,
        dot: &Data,
    ) -> Result<Result<Data, Failed>, TemplateError> {
        let [head, rest @ ..] = command else {
            return Ok(Ok(Data::Null));
        };
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            match self.operand(operand, dot)? {
                Ok(value) => arguments.push(value),
                Err(message) => return Ok(Err(message)),
            }
        }
        arguments.extend(last);
        Ok(match head {
            Operand::Function(name) => functions::call(name, arguments, self.header),
            Operand::Field(path, _) if !arguments.is_empty() => self.method(path, &arguments, dot),
            _ if arguments.is_empty() => self.operand(head, dot)?,
            _ => Err("can't give argument to non-function".to_owned()),
        })
    }

    /// The one method with an argument that Docker's rows have.
    fn method(&self, path: &[String], arguments: &[Data], dot: &Data) -> Result<Data, Failed> {
        match (path, arguments, dot) {
            ([name], [Data::Text(label)], Data::Record(record)) if name == "Label" => {
                if self.header {
                    return Ok(label.as_str().into());
                }
                let found = record.labels.iter().find(|(name, _)| name == label);
                Ok(found.map_or("", |(_, value)| value).into())
            }
            _ => Err(format!(
                "{} is not a method but has arguments",
                path.last().map_or("", String::as_str)
            )),
        }
    }

    fn operand(
        &mut self,
        operand: &Operand,
        dot: &Data,
    ) -> Result<Result<Data, Failed>, TemplateError> {
        let at_path = |value: &Data, path: &[String], at: &Position, shown: String| {
            fields(value, path).map_err(|message| fail(*at, &shown, message))
        };
        Ok(Ok(match operand {
            Operand::Dot => dot.clone(),
            Operand::Text(text) => text.as_str().into(),
            Operand::Int(number) => Data::Int(*number),
            Operand::Float(number) => Data::Float(*number),
            Operand::Bool(value) => Data::Bool(*value),
            Operand::Nil => Data::Null,
            Operand::Field(path, at) => at_path(dot, path, at, format!(".{}", path.join(".")))?,
            Operand::Variable(name, path, at) => {
                let variable = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = variable.map_or(&Data::Null, |(_, value)| value);
                at_path(value, path, at, format!("${name}.{}", path.join(".")))?
            }
            Operand::Group(pipe, path, at) => {
                let value = self.pipe(pipe, dot)?;
                at_path(&value, path, at, format!("(…).{}", path.join(".")))?
            }
            Operand::Function(name) => return Ok(functions::call(name, Vec::new(), self.header)),
        }))
    }
}

fn fields(value: &Data, path: &[String]) -> Result<Data, Failed> {
    let mut value = value;
    for name in path {
        value = match value {
            Data::Object(members) => members
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value)
                .ok_or_else(|| format!("map has no entry for key \"{name}\""))?,
            Data::Record(record) => record
                .fields
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value)
                .ok_or_else(|| {
                    format!("can't evaluate field {name} in type {}", record.type_name)
                })?,
            Data::Null => return Err(format!("nil data; no entry for key \"{name}\"")),
            other => {
                return Err(format!(
                    "can't evaluate field {name} in type {}",
                    functions::type_name(other)
                ));
            }
        };
    }
    Ok(value.clone())
}

fn fail(at: Position, node: &str, message: String) -> TemplateError {
    TemplateError::Execute {
        line: at.line,
        column: at.column,
        node: node.to_owned(),
        message,
    }
}

/// A pipe as errors show it: its first command.
fn describe(pipe: &Pipe) -> String {
    match pipe.commands.first().and_then(|command| command.first()) {
        Some(Operand::Function(name)) => name.clone(),
        Some(Operand::Field(path, _)) => format!(".{}", path.join(".")),
        Some(Operand::Variable(name, _, _)) => format!("${name}"),
        _ => ".".to_owned(),
    }
}
