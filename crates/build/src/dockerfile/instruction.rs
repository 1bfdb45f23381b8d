//! What instructions say.

use super::mount::{Device, Mount, MountText};
use super::place::Lines;
use super::syntax::Pair;
use hull_spec::image::Healthcheck;

/// An instruction inside of a stage, or `ARG` before the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Its name as it is written.
    pub name: String,
    /// The whole statement on one line.
    pub code: String,
    /// Where it is.
    pub lines: Lines,
    /// What it says.
    pub action: Action,
}

/// What an instruction says. Variables are not in place yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `ADD`
    Add(Add),
    /// `ARG`
    Arg(Vec<Argument>),
    /// `CMD`
    Cmd(CommandLine),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(CommandLine),
    /// `ENV`
    Env(Vec<Pair>),
    /// `EXPOSE`, sorted.
    Expose(Vec<String>),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`
    Label(Vec<Pair>),
    /// `MAINTAINER`
    Maintainer(String),
    /// `ONBUILD`: the instruction as text.
    OnBuild(String),
    /// `RUN`
    Run(Box<Run>),
    /// `SHELL`
    Shell(Vec<String>),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `USER`
    User(String),
    /// `VOLUME`
    Volume(Vec<String>),
    /// `WORKDIR`
    Workdir(String),
}

/// A build argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its default.
    pub value: Option<String>,
    /// What the comment above says about it.
    pub comment: String,
}

/// A program and its arguments, or a line for the shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The words; of a line for the shell one, or none.
    pub words: Vec<String>,
    /// Whether it is for the shell.
    pub shell: bool,
}

/// A file whose content stands in the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineFile {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub content: String,
    /// Whether variables are put in place.
    pub expand: bool,
}

/// What is copied, and where to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Paths, patterns, URLs.
    pub paths: Vec<String>,
    /// Files of the Dockerfile's own; copied after the others.
    pub files: Vec<InlineFile>,
    /// Where to.
    pub dest: String,
    /// `--chown`
    pub chown: String,
    /// `--chmod`
    pub chmod: String,
    /// `--link`
    pub link: bool,
    /// `--exclude`
    pub exclude: Vec<String>,
}

/// `ADD`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Add {
    /// What, and where to.
    pub sources: Sources,
    /// `--keep-git-dir`
    pub keep_git_dir: Option<bool>,
    /// `--checksum`
    pub checksum: String,
    /// `--unpack`
    pub unpack: Option<bool>,
}

/// `COPY`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// What, and where to.
    pub sources: Sources,
    /// `--from`: a stage, an image or a named context; empty is the context.
    pub from: String,
    /// `--parents`
    pub parents: bool,
}

/// `RUN`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// What.
    pub command: CommandLine,
    /// Its heredocs: name, content as it is written, and the same without the tabs that are to go.
    pub files: Vec<RunFile>,
    /// `--mount`, as it is written.
    pub mounts: Vec<MountText>,
    /// `--network`
    pub network: Network,
    /// `--security=insecure`
    pub insecure: bool,
    /// `--device`
    pub devices: Vec<Device>,
}

/// A heredoc of `RUN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFile {
    /// Its name.
    pub name: String,
    /// What is in it, as it is written.
    pub content: String,
    /// The same without tabs where these are to go.
    pub text: String,
}

/// `RUN --network`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The build's.
    #[default]
    Default,
    /// None.
    None,
    /// The host's.
    Host,
}

/// A stage: `FROM` and what follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// Its name in lower case; empty without `AS`.
    pub name: String,
    /// The image or stage it begins with, without variables in place.
    pub base: String,
    /// `--platform`
    pub platform: String,
    /// `FROM` as it is written.
    pub keyword: String,
    /// The whole `FROM`.
    pub code: String,
    /// Where it is.
    pub lines: Lines,
    /// What the comment above says about it.
    pub comment: String,
    /// What is done.
    pub instructions: Vec<Instruction>,
}

impl Run {
    /// Its mounts, with variables in place.
    ///
    /// # Errors
    /// A mount is wrong, or `expand` fails.
    pub fn mounts(
        &self,
        expand: &mut dyn FnMut(&str) -> Result<String, super::Error>,
    ) -> Result<Vec<Mount>, super::Error> {
        self.mounts.iter().map(|text| text.read(expand)).collect()
    }
}
