//! From tokens to nodes.

use crate::lex::{Kind, Token, lex};
use crate::node::{Block, Node, Operand, Pipe};
use crate::{Error, operand};
use std::collections::BTreeMap;

/// How deep blocks and parentheses may stand in each other.
pub(crate) const DEEPEST: usize = 200;

/// The nodes of a template, and the templates that it defines.
pub(crate) type Parsed = (Vec<Node>, BTreeMap<String, Vec<Node>>);

/// Reads a template.
pub(crate) fn parse(text: &str) -> Result<Parsed, Error> {
    let mut parser = Parser {
        tokens: lex(text),
        next: 0,
        variables: vec!["$".to_owned()],
        loops: 0,
        depth: 0,
        action_line: 0,
        defined: BTreeMap::new(),
    };
    let mut nodes = Vec::new();
    while parser.peek().kind != Kind::End {
        if parser.peek().kind == Kind::Open && parser.second_is("define") {
            parser.define()?;
            continue;
        }
        match parser.text_or_action()? {
            Piece::Node(node) => nodes.push(node),
            Piece::End => return Err(parser.error("unexpected {{end}}")),
            Piece::Else(_) => return Err(parser.error("unexpected {{else}}")),
        }
    }
    Ok((nodes, parser.defined))
}

/// What an action is to those around it.
enum Piece {
    Node(Node),
    End,
    /// `{{else}}`, or the beginning of `{{else if …}}` and `{{else with …}}`.
    Else(Option<Block>),
}

pub(crate) struct Parser {
    tokens: Vec<Token>,
    next: usize,
    /// Names in scope.
    pub(crate) variables: Vec<String>,
    loops: usize,
    pub(crate) depth: usize,
    action_line: usize,
    defined: BTreeMap<String, Vec<Node>>,
}

impl Parser {
    /// The next token; after the last it stays there.
    pub(crate) fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    pub(crate) fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    pub(crate) fn back(&mut self) {
        self.next -= 1;
    }

    pub(crate) fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    pub(crate) fn take_solid(&mut self) -> Token {
        self.skip_space();
        self.take()
    }

    /// Whether the action that begins here has this keyword.
    fn second_is(&self, word: &str) -> bool {
        let inside = self.tokens[self.next + 1..].iter();
        let mut solid = inside.filter(|token| token.kind != Kind::Space);
        solid.next().is_some_and(|token| token.is_keyword(word))
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        let last = self.next.saturating_sub(1).min(self.tokens.len() - 1);
        Error::Parse {
            name: "",
            line: self.tokens[last].line,
            message: message.into(),
        }
    }

    pub(crate) fn unexpected(&self, token: &Token, context: &str) -> Error {
        if token.kind != Kind::Error {
            return self.error(format!("unexpected {} in {context}", token.shown()));
        }
        let started = if self.action_line != 0 && self.action_line != token.line {
            let started = format!(" started at :{}", self.action_line);
            match token.text.ends_with(" action") {
                true => started,
                false => format!(" in action{started}"),
            }
        } else {
            String::new()
        };
        self.error(format!("{}{started}", token.text))
    }

    pub(crate) fn deeper(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("too many blocks or parentheses in each other"));
        }
        Ok(())
    }

    fn expect_close(&mut self, context: &str) -> Result<(), Error> {
        let token = self.take_solid();
        match token.kind {
            Kind::Close => Ok(()),
            _ => Err(self.unexpected(&token, context)),
        }
    }

    fn text_or_action(&mut self) -> Result<Piece, Error> {
        let token = self.take_solid();
        match token.kind {
            Kind::Text => Ok(Piece::Node(Node::Text(token.text))),
            Kind::Open => {
                self.action_line = token.line;
                let piece = self.action();
                self.action_line = 0;
                piece
            }
            _ => Err(self.unexpected(&token, "input")),
        }
    }

    fn action(&mut self) -> Result<Piece, Error> {
        let token = self.take_solid();
        if token.kind != Kind::Keyword || token.text == "nil" {
            self.back();
            let pipe = self.pipeline("command", Kind::Close)?;
            return Ok(Piece::Node(Node::Action(pipe)));
        }
        match token.text.as_str() {
            "if" => self.control("if", Block::If),
            "with" => self.control("with", Block::With),
            "range" => self.control("range", Block::Range),
            "end" => self.expect_close("end").map(|()| Piece::End),
            "else" => self.otherwise(),
            "break" => self.out_of_loop("{{break}}", Node::Break),
            "continue" => self.out_of_loop("{{continue}}", Node::Continue),
            "block" => self.block(),
            "template" => self.template(),
            _ => Err(self.unexpected(&token, "command")),
        }
    }

    fn out_of_loop(&mut self, name: &str, node: Node) -> Result<Piece, Error> {
        self.expect_close(name)?;
        if self.loops == 0 {
            return Err(self.error(format!("{name} outside {{{{range}}}}")));
        }
        Ok(Piece::Node(node))
    }

    fn otherwise(&mut self) -> Result<Piece, Error> {
        self.skip_space();
        for (word, block) in [("if", Block::If), ("with", Block::With)] {
            if self.peek().is_keyword(word) {
                return Ok(Piece::Else(Some(block)));
            }
        }
        self.expect_close("else").map(|()| Piece::Else(None))
    }

    fn control(&mut self, word: &str, kind: Block) -> Result<Piece, Error> {
        self.deeper()?;
        let scope = self.variables.len();
        let pipe = self.pipeline(word, Kind::Close)?;
        self.loops += usize::from(kind == Block::Range);
        let inner = self.list();
        self.loops -= usize::from(kind == Block::Range);
        let (body, end) = inner?;
        let otherwise = match end {
            Piece::Else(Some(again)) if again == kind => {
                // `else if` is an `if` in the `else`; both have one end.
                self.take();
                match self.control(word, kind)? {
                    Piece::Node(node) => vec![node],
                    _ => Vec::new(),
                }
            }
            Piece::Else(Some(_)) => {
                let token = self.take();
                return Err(self.unexpected(&token, "else"));
            }
            Piece::Else(None) => match self.list()? {
                (nodes, Piece::End) => nodes,
                _ => return Err(self.error("expected end; found {{else}}")),
            },
            _ => Vec::new(),
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Piece::Node(Node::Block {
            kind,
            pipe,
            body,
            otherwise,
        }))
    }

    /// Nodes up to an `end` or `else`.
    fn list(&mut self) -> Result<(Vec<Node>, Piece), Error> {
        let mut nodes = Vec::new();
        loop {
            if self.peek().kind == Kind::End {
                self.take();
                return Err(self.error("unexpected EOF"));
            }
            match self.text_or_action()? {
                Piece::Node(node) => nodes.push(node),
                end => return Ok((nodes, end)),
            }
        }
    }

    /// The body of a definition, in which nothing from outside is known.
    fn body(&mut self, context: &str) -> Result<Vec<Node>, Error> {
        self.deeper()?;
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (nodes, end) = self.list()?;
        self.variables = outer;
        self.loops = loops;
        self.depth -= 1;
        match end {
            Piece::End => Ok(nodes),
            _ => Err(self.error(format!("unexpected {{{{else}}}} in {context}"))),
        }
    }

    fn define(&mut self) -> Result<(), Error> {
        self.take_solid();
        self.take_solid();
        let name = self.name("define clause")?;
        self.expect_close("define clause")?;
        let nodes = self.body("define clause")?;
        self.defined.insert(name, nodes);
        Ok(())
    }

    fn block(&mut self) -> Result<Piece, Error> {
        self.skip_space();
        let at = self.peek().at;
        let name = self.name("block clause")?;
        let pipe = self.pipeline("block clause", Kind::Close)?;
        let nodes = self.body("block clause")?;
        self.defined.entry(name.clone()).or_insert(nodes);
        let pipe = Some(pipe);
        Ok(Piece::Node(Node::Template { name, pipe, at }))
    }

    fn template(&mut self) -> Result<Piece, Error> {
        self.skip_space();
        let at = self.peek().at;
        let name = self.name("template clause")?;
        self.skip_space();
        let pipe = if self.peek().kind == Kind::Close {
            self.take();
            None
        } else {
            Some(self.pipeline("template clause", Kind::Close)?)
        };
        Ok(Piece::Node(Node::Template { name, pipe, at }))
    }

    fn name(&mut self, context: &str) -> Result<String, Error> {
        let token = self.take_solid();
        match token.kind {
            Kind::String => {
                operand::unquote(&token.text).ok_or_else(|| self.error("invalid syntax"))
            }
            _ => Err(self.unexpected(&token, context)),
        }
    }

    /// A pipe up to `end`.
    pub(crate) fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe, Error> {
        self.skip_space();
        let at = self.peek().at;
        let (variables, assigns) = self.targets(context)?;
        let mut commands: Vec<Vec<Operand>> = Vec::new();
        loop {
            let token = self.take_solid();
            match token.kind {
                kind if kind == end => break,
                Kind::Letter
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {}
                Kind::Keyword if token.text == "nil" => {}
                _ => return Err(self.unexpected(&token, context)),
            }
            self.back();
            let command = self.command()?;
            commands.push(command);
        }
        if commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (number, command) in commands.iter().enumerate().skip(1) {
            if command[0].kind.is_constant() {
                let stage = number + 1;
                return Err(self.error(format!("non executable command in pipeline stage {stage}")));
            }
        }
        Ok(Pipe {
            variables,
            assigns,
            commands,
            at,
        })
    }

    /// `$x :=`, `$x =`, `$i, $x :=` at the front.
    fn targets(&mut self, context: &str) -> Result<(Vec<String>, bool), Error> {
        let mut names = Vec::new();
        loop {
            self.skip_space();
            if self.peek().kind != Kind::Variable {
                return Ok((names, false));
            }
            let start = self.next;
            let variable = self.take();
            let next = self.take_solid();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    names.push(variable.text.clone());
                    self.variables.push(variable.text);
                    return Ok((names, next.kind == Kind::Assign));
                }
                Kind::Char if next.text == "," => {
                    names.push(variable.text.clone());
                    self.variables.push(variable.text);
                    if context != "range" || names.len() > 1 {
                        return Err(self.error(format!("too many declarations in {context}")));
                    }
                    self.skip_space();
                    match self.peek().kind {
                        Kind::Variable | Kind::Close | Kind::RightParen => {}
                        _ => return Err(self.error("range can only initialize variables")),
                    }
                }
                _ => {
                    self.next = start;
                    return Ok((names, false));
                }
            }
        }
    }

    /// Operands up to a pipe's sign or its end.
    fn command(&mut self) -> Result<Vec<Operand>, Error> {
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = operand::read(self)? {
                operands.push(operand);
            }
            let token = self.take();
            match token.kind {
                Kind::Space => {}
                Kind::Close | Kind::RightParen => {
                    self.back();
                    break;
                }
                Kind::Pipe => break,
                _ => return Err(self.unexpected(&token, "operand")),
            }
        }
        if operands.is_empty() {
            return Err(self.error("empty command"));
        }
        Ok(operands)
    }
}
