//! From statements to stages of instructions.

mod health;

use super::flags::{Flags, Kind};
use super::heredoc::heredoc;
use super::instruction::{
    Action, Add, Argument, CommandLine, Copy, InlineFile, Instruction, Network, Run, RunFile,
    Sources, Stage,
};
use super::lint::{Linter, Rule};
use super::mount::{Device, MountText};
use super::place::{Error, Lines};
use super::suggest;
use super::syntax::{Arguments, Pair, Statement, Syntax};

/// The names of all instructions.
const INSTRUCTIONS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A Dockerfile's stages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// The character that escapes others.
    pub escape: char,
    /// `ARG` before the first stage.
    pub global_args: Vec<Instruction>,
    /// The stages.
    pub stages: Vec<Stage>,
}

impl Dockerfile {
    /// Checks each statement and sorts them into stages.
    ///
    /// # Errors
    /// With BuildKit's message, and the place.
    pub fn read(syntax: &Syntax, linter: &mut Linter) -> Result<Self, Error> {
        for lines in &syntax.empty_continuations {
            linter.warn(Rule::NoEmptyContinuation, *lines, "Empty continuation line");
        }
        let mut file = Self {
            escape: syntax.escape,
            ..Self::default()
        };
        for statement in &syntax.statements {
            let line = statement.lines.first;
            let read = read(statement, linter).map_err(|error| {
                let error = error.at(statement.lines);
                error.within(format_args!("dockerfile parse error on line {line}"))
            })?;
            match (read, file.stages.last_mut()) {
                (Read::Stage(stage), _) => file.stages.push(*stage),
                (Read::Instruction(instruction), Some(stage)) => {
                    stage.instructions.push(*instruction);
                }
                (Read::Instruction(instruction), None) => match instruction.action {
                    Action::Arg(_) => file.global_args.push(*instruction),
                    _ => {
                        let error = Error::new("no build stage in current context");
                        return Err(error.at(statement.lines));
                    }
                },
            }
        }
        Ok(file)
    }
}

enum Read {
    Stage(Box<Stage>),
    Instruction(Box<Instruction>),
}

/// The instruction of an `ONBUILD`, to be done where `lines` are.
///
/// # Errors
/// It is not one, or more than one.
pub fn trigger(text: &str, lines: Lines) -> Result<Instruction, Error> {
    let syntax = super::syntax::parse(text.as_bytes())?;
    let [statement] = syntax.statements.as_slice() else {
        return Err(Error::new("onbuild trigger should be a single expression"));
    };
    let statement = Statement {
        lines,
        ..statement.clone()
    };
    match read(&statement, &mut Linter::default()).map_err(|error| error.at(lines))? {
        Read::Instruction(instruction) => Ok(*instruction),
        Read::Stage(_) => Err(Error::new("FROM isn't allowed as an ONBUILD trigger").at(lines)),
    }
}

fn read(statement: &Statement, linter: &mut Linter) -> Result<Read, Error> {
    let keyword = statement.keyword();
    let action = match keyword.as_str() {
        "from" => return Ok(Read::Stage(Box::new(from(statement, linter)?))),
        "add" => Action::Add(add(statement)?),
        "arg" => Action::Arg(arg(statement, linter)?),
        "cmd" => Action::Cmd(without_flags(statement).map(|()| command_line(statement))?),
        "copy" => Action::Copy(copy(statement)?),
        "entrypoint" => {
            Action::Entrypoint(without_flags(statement).map(|()| command_line(statement))?)
        }
        "env" => Action::Env(pairs(statement, "ENV")?),
        "expose" => {
            let mut ports = at_least_one(statement, "EXPOSE")?.to_vec();
            without_flags(statement)?;
            ports.sort();
            Action::Expose(ports)
        }
        "healthcheck" => Action::Healthcheck(health::healthcheck(statement)?),
        "label" => Action::Label(pairs(statement, "LABEL")?),
        "maintainer" => {
            let message = "Maintainer instruction is deprecated in favor of using label";
            linter.warn(Rule::MaintainerDeprecated, statement.lines, message);
            Action::Maintainer(only_one(statement, "MAINTAINER", true)?)
        }
        "onbuild" => Action::OnBuild(onbuild(statement)?),
        "run" => Action::Run(Box::new(run(statement)?)),
        "shell" => Action::Shell(shell(statement)?),
        "stopsignal" => Action::StopSignal(only_one(statement, "STOPSIGNAL", false)?),
        "user" => Action::User(only_one(statement, "USER", true)?),
        "volume" => Action::Volume(volume(statement)?),
        "workdir" => Action::Workdir(only_one(statement, "WORKDIR", true)?),
        _ => {
            let message = format!("unknown instruction: {}", statement.name);
            let message = match near_instruction(&statement.name) {
                Some(name) => format!("{message} (did you mean {name}?)"),
                None => message,
            };
            return Err(Error::new(message));
        }
    };
    Ok(Read::Instruction(Box::new(Instruction {
        name: statement.name.clone(),
        code: statement.text.trim().to_owned(),
        lines: statement.lines,
        action,
    })))
}

/// The instruction that was meant, in the case of the word.
fn near_instruction(word: &str) -> Option<String> {
    let found = suggest::near(&word.to_uppercase(), INSTRUCTIONS)?;
    Some(match word.to_lowercase() == word {
        true => found.to_lowercase(),
        false if word.to_uppercase() == word => found.to_owned(),
        false => found.to_lowercase(),
    })
}

fn without_flags(statement: &Statement) -> Result<(), Error> {
    Flags::read(&statement.flags, &[]).map(drop)
}

fn at_least_one<'a>(statement: &'a Statement, name: &str) -> Result<&'a [String], Error> {
    match statement.arguments.words() {
        [] => Err(Error::new(format!("{name} requires at least one argument"))),
        words => Ok(words),
    }
}

fn only_one(statement: &Statement, name: &str, checks_flags: bool) -> Result<String, Error> {
    let [word] = statement.arguments.words() else {
        return Err(Error::new(format!("{name} requires exactly one argument")));
    };
    if checks_flags {
        without_flags(statement)?;
    }
    Ok(word.clone())
}

fn pairs(statement: &Statement, name: &str) -> Result<Vec<Pair>, Error> {
    without_flags(statement)?;
    match &statement.arguments {
        Arguments::Pairs(pairs) if pairs.iter().any(|pair| pair.name.is_empty()) => {
            Err(Error::new(format!("{name} names can not be blank")))
        }
        Arguments::Pairs(pairs) if !pairs.is_empty() => Ok(pairs.clone()),
        _ => Err(Error::new(format!("{name} requires at least one argument"))),
    }
}

fn command_line(statement: &Statement) -> CommandLine {
    CommandLine {
        words: statement.arguments.words().to_vec(),
        shell: !statement.arguments.is_json(),
    }
}

fn from(statement: &Statement, linter: &mut Linter) -> Result<Stage, Error> {
    let words = statement.arguments.words();
    check_casing(statement, words, linter);
    let name = match words {
        [_, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
            let lower = name.to_lowercase();
            let valid = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
            };
            if !lower.starts_with(|c: char| c.is_ascii_lowercase()) || !lower.bytes().all(valid) {
                return Err(Error::new(format!(
                    "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
                )));
            }
            lower
        }
        [_] => String::new(),
        _ => return Err(Error::new("FROM requires either one or three arguments")),
    };
    let flags = Flags::read(&statement.flags, &[("platform", Kind::Value)])?;
    if !name.is_empty() {
        check_description("FROM", &[name.as_str()], statement, linter);
    }
    Ok(Stage {
        comment: comment(&statement.comments, &name),
        name,
        base: words[0].clone(),
        platform: flags.value("platform"),
        keyword: statement.name.clone(),
        code: statement.text.trim().to_owned(),
        lines: statement.lines,
        instructions: Vec::new(),
    })
}

fn check_casing(statement: &Statement, words: &[String], linter: &mut Linter) {
    if let [_, _, name] = words
        && *name != name.to_lowercase()
    {
        let message = format!("Stage name '{name}' should be lowercase");
        linter.warn(Rule::StageNameCasing, statement.lines, message);
    }
    let [_, keyword, _, ..] = words else { return };
    let from = &statement.name;
    // Of a name in both cases another rule speaks.
    let fits = match (from == &from.to_lowercase(), from == &from.to_uppercase()) {
        (true, _) => *keyword == keyword.to_lowercase(),
        (_, true) => *keyword == keyword.to_uppercase(),
        _ => true,
    };
    if !fits {
        let message = format!("'{keyword}' and '{from}' keywords' casing do not match");
        linter.warn(Rule::FromAsCasing, statement.lines, message);
    }
}

/// What a comment says about a name: `# name text`.
fn comment(comments: &[String], name: &str) -> String {
    let about = |line: &String| {
        let rest = line.strip_prefix(name)?.strip_prefix(' ')?;
        Some(rest.to_owned())
    };
    let found = comments.iter().find_map(about).filter(|_| !name.is_empty());
    found.unwrap_or_default()
}

fn check_description(
    instruction: &str,
    names: &[&str],
    statement: &Statement,
    linter: &mut Linter,
) {
    let (Some(last), Some(first)) = (statement.comments.last(), names.first()) else {
        return;
    };
    let about = last.split(' ').next().unwrap_or_default();
    if names.contains(&about) {
        return;
    }
    let example = if names.len() > 1 { "<arg_key>" } else { first };
    let message =
        format!("Comment for {instruction} should follow the format: `# {example} <description>`");
    linter.warn(Rule::InvalidDefinitionDescription, statement.lines, message);
}

fn arg(statement: &Statement, linter: &mut Linter) -> Result<Vec<Argument>, Error> {
    let words = at_least_one(statement, "ARG")?;
    let read = |word: &String| {
        let (name, value) = match word.split_once('=') {
            Some(("", _)) => return Err(Error::new("ARG names can not be blank")),
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        Ok(Argument {
            name: name.to_owned(),
            value,
            comment: comment(&statement.comments, name),
        })
    };
    let arguments: Vec<Argument> = words.iter().map(read).collect::<Result<_, _>>()?;
    let names: Vec<&str> = arguments.iter().map(|one| one.name.as_str()).collect();
    check_description("ARG", &names, statement, linter);
    Ok(arguments)
}

/// The sources and the destination of `ADD` and `COPY`.
fn sources(statement: &Statement, name: &str, flags: &Flags) -> Result<Sources, Error> {
    let words = statement.arguments.words();
    let (dest, words) = words.split_last().ok_or_else(|| no_destination(name))?;
    let is_heredoc = |word: &str| heredoc(word).ok().flatten();
    if is_heredoc(dest).is_some() {
        let message = format!("{name} cannot accept a heredoc as a destination");
        return Err(Error::new(message));
    }
    let mut sources = Sources {
        dest: dest.clone(),
        chown: flags.value("chown"),
        chmod: flags.value("chmod"),
        link: flags.on("link"),
        exclude: flags.values("exclude"),
        ..Sources::default()
    };
    for word in words {
        let Some(found) = is_heredoc(word) else {
            sources.paths.push(word.clone());
            continue;
        };
        // Of two with one name the last counts.
        let mut all = statement.heredocs.iter().rev();
        let content = all.find(|document| document.name == found.name);
        sources.files.push(InlineFile {
            content: content.map(|document| document.text()).unwrap_or_default(),
            name: found.name,
            expand: found.expand,
        });
    }
    Ok(sources)
}

fn no_destination(name: &str) -> Error {
    Error::new(format!(
        "{name} requires at least two arguments, but only one was provided. Destination could not be determined"
    ))
}

fn add(statement: &Statement) -> Result<Add, Error> {
    if statement.arguments.words().len() < 2 {
        return Err(no_destination("ADD"));
    }
    let flags = Flags::read(
        &statement.flags,
        &[
            ("chown", Kind::Value),
            ("chmod", Kind::Value),
            ("link", Kind::Switch),
            ("keep-git-dir", Kind::Switch),
            ("checksum", Kind::Value),
            ("unpack", Kind::Switch),
            ("exclude", Kind::Values),
        ],
    )?;
    Ok(Add {
        sources: sources(statement, "ADD", &flags)?,
        keep_git_dir: flags.switch("keep-git-dir"),
        checksum: flags.value("checksum"),
        unpack: flags.switch("unpack"),
    })
}

fn copy(statement: &Statement) -> Result<Copy, Error> {
    if statement.arguments.words().len() < 2 {
        return Err(no_destination("COPY"));
    }
    let flags = Flags::read(
        &statement.flags,
        &[
            ("chown", Kind::Value),
            ("from", Kind::Value),
            ("chmod", Kind::Value),
            ("link", Kind::Switch),
            ("parents", Kind::Switch),
            ("exclude", Kind::Values),
        ],
    )?;
    Ok(Copy {
        sources: sources(statement, "COPY", &flags)?,
        from: flags.value("from"),
        parents: flags.on("parents"),
    })
}

fn run(statement: &Statement) -> Result<Run, Error> {
    let flags = Flags::read(
        &statement.flags,
        &[
            ("mount", Kind::Values),
            ("network", Kind::Value),
            ("security", Kind::Value),
            ("device", Kind::Values),
        ],
    )?;
    let network = match flags.optional("network").as_deref() {
        None | Some("default") => Network::Default,
        Some("none") => Network::None,
        Some("host") => Network::Host,
        Some(other) => return Err(Error::new(format!("invalid network mode {other:?}"))),
    };
    let insecure = match flags.optional("security").as_deref() {
        None | Some("sandbox") => false,
        Some("insecure") => true,
        Some(other) => return Err(Error::new(format!("security {other:?} is not valid"))),
    };
    let mounts = flags.values("mount");
    let devices = flags.values("device");
    let file = |document: &super::Heredoc| RunFile {
        name: document.name.clone(),
        content: document.content.clone(),
        text: document.text(),
    };
    Ok(Run {
        command: command_line(statement),
        files: statement.heredocs.iter().map(file).collect(),
        mounts: mounts
            .iter()
            .map(|text| MountText::new(text))
            .collect::<Result<_, _>>()?,
        network,
        insecure,
        devices: devices
            .iter()
            .map(|text| Device::new(text))
            .collect::<Result<_, _>>()?,
    })
}

fn onbuild(statement: &Statement) -> Result<String, Error> {
    let Arguments::Trigger(inner) = &statement.arguments else {
        return Err(Error::new("ONBUILD requires at least one argument"));
    };
    without_flags(statement)?;
    match inner.name.to_uppercase().as_str() {
        "ONBUILD" => {
            return Err(Error::new(
                "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            ));
        }
        name @ ("MAINTAINER" | "FROM") => {
            let message = format!("{name} isn't allowed as an ONBUILD trigger");
            return Err(Error::new(message));
        }
        _ => {}
    }
    let text = statement.text.trim_start();
    let mut text = text[statement.name.len()..].trim_start().to_owned();
    for document in &statement.heredocs {
        text = format!("{text}\n{}{}", document.content, document.name);
    }
    Ok(text)
}

fn shell(statement: &Statement) -> Result<Vec<String>, Error> {
    without_flags(statement)?;
    let words = at_least_one(statement, "SHELL")?;
    if !statement.arguments.is_json() {
        let message = "SHELL requires the arguments to be in JSON form";
        return Err(Error::new(message));
    }
    Ok(words.to_vec())
}

fn volume(statement: &Statement) -> Result<Vec<String>, Error> {
    let words = at_least_one(statement, "VOLUME")?;
    without_flags(statement)?;
    let trimmed = words.iter().map(|word| match word.trim() {
        "" => Err(Error::new("VOLUME specified can not be an empty string")),
        path => Ok(path.to_owned()),
    });
    trimmed.collect()
}
