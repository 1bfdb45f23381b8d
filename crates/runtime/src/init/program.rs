//! The user's program: found as its user would find it, and executed.

use super::{Common, First, reaper};
use crate::error::{Error, Step as _, chain, said};
use crate::handshake::{ToInit, ToRuntime};
use crate::seccomp::Filter;
use hull_linux::process;
use hull_spec::runtime::{ContainerStatus, Process};
use rustix::fd::AsFd as _;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, accessat, openat2, stat,
};
use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufRead as _, Read as _, Write as _};

/// The annotation that asks for an init above the program.
const INIT: &str = "org.hull.runtime.init";

/// A program that is ready to be executed.
pub(super) struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// A filter that is installed last.
    filter: Option<Filter>,
}

impl Program {
    /// Finds it in the `PATH` of its own environment, if its name has no slash.
    pub(super) fn find(
        process: &Process,
        environment: &[String],
        filter: Option<Filter>,
    ) -> Result<Self, Error> {
        let name = process
            .args
            .first()
            .ok_or_else(|| said("args must not be empty"))?;
        let path = environment
            .iter()
            .find_map(|pair| pair.strip_prefix("PATH="))
            .unwrap_or_default();
        let path = look_up(name, path)?;
        let strings = |texts: &[String]| {
            let strings: Result<Vec<_>, _> = texts
                .iter()
                .map(|text| CString::new(text.as_str()))
                .collect();
            strings.step(|| "arguments with a zero byte")
        };
        Ok(Self {
            path: CString::new(path).step(|| "a path with a zero byte")?,
            arguments: strings(&process.args)?,
            environment: strings(environment)?,
            filter,
        })
    }

    /// Puts a filter on now that leaves calls to an agent: the runtime, which hands the listener over, is
    /// not there any more when the program is executed.
    pub(super) fn enforce_if_listened(&mut self, common: &Common<'_>) -> Result<(), Error> {
        match self.filter.take_if(|filter| filter.notifies()) {
            Some(filter) => filter.enforce(common.channel),
            None => Ok(()),
        }
    }

    /// Waits for `start`, runs the hooks of that moment, becomes the program.
    pub(super) fn wait_and_execute(
        self,
        common: &Common<'_>,
        first: &First<'_>,
    ) -> Result<Infallible, Error> {
        match first.fifo {
            Some(fifo) => {
                let mut byte = [0];
                rustix::io::retry_on_intr(|| rustix::io::read(fifo, &mut byte))
                    .step(|| "wait for start")?;
            }
            None => common.channel.expect(ToInit::Exec)?,
        }
        if !common.spec.hooks.start_container.is_empty() {
            Self::run_hooks(common, first).inspect_err(|error| {
                if first.fifo.is_some() {
                    // The runtime is gone: nobody but the reader of the container's output is there.
                    let _ = writeln!(io::stderr(), "{}", chain(error));
                }
            })?;
        }
        if common
            .spec
            .annotations
            .get(INIT)
            .is_some_and(|on| on == "true")
        {
            return self.become_init(common);
        }
        self.execute(common)
    }

    /// The hooks of the container's namespace.
    fn run_hooks(common: &Common<'_>, first: &First<'_>) -> Result<(), Error> {
        let hooks = &common.spec.hooks.start_container;
        let state = first.state(common, ContainerStatus::Created)?;
        // As in runc, where the process has taken its environment by then.
        crate::hooks::run_in(Some(&common.process.env), "startContainer", hooks, &state)
    }

    /// Becomes the program. The runtime sees its end of the socket close.
    ///
    /// The host's descriptors are closed before the kernel looks the program up: its path, or that of
    /// its interpreter, could lead through `/proc/self/fd` to the host (CVE-2024-21626).
    pub(super) fn execute(self, common: &Common<'_>) -> Result<Infallible, Error> {
        process::close_from(3 + common.preserved, common.channel.as_fd(), || {
            common.proc.own_descriptors()
        })
        .step(|| "close descriptors")?;
        // Nothing that owns a descriptor may be dropped from here on.
        self.replace_or_say(common)
    }

    /// Becomes the init of a container, whose command is the first child: reaps what is left to it and passes
    /// signals on.
    fn become_init(self, common: &Common<'_>) -> Result<Infallible, Error> {
        let descriptors = || common.proc.own_descriptors();
        // Nobody else is in its PID namespace yet, while it still has the host's descriptors.
        reaper::open_to_its_own();
        reaper::set_title(common, &common.process.args);
        process::close_from(3 + common.preserved, common.channel.as_fd(), descriptors)
            .step(|| "close descriptors")?;
        process::block_all().step(|| "block signals")?;
        let child = process::fork(|| {
            reaper::take_terminal();
            // Only a failure comes back.
            let Err(_told) = self.replace_or_say(common);
            127
        });
        let reaping = child.step(|| "start the command below the init");
        let reaping = reaping.and_then(|child| {
            // The program has these; who waits for the channel's end must not wait for ours.
            process::close_from(3, rustix::stdio::stderr(), descriptors)
                .step(|| "close descriptors")?;
            self.confine()?;
            reaper::run(child)
        });
        let code = reaping.unwrap_or_else(|error| {
            let _ = writeln!(io::stderr(), "{}", chain(&error));
            1
        });
        process::exit_now(code)
    }

    fn confine(&self) -> Result<(), Error> {
        match &self.filter {
            Some(filter) => filter.install().step(|| "install the seccomp filter"),
            None => Ok(()),
        }
    }

    fn replace_or_say(&self, common: &Common<'_>) -> Result<Infallible, Error> {
        let error = self.replace_process();
        let text = chain(&error);
        // After `create` has ended, nobody but the reader of the container's output is there.
        let _ = writeln!(io::stderr(), "{text}");
        let _ = common.channel.send(&ToRuntime::Failed(text));
        process::exit_now(1)
    }

    fn replace_process(&self) -> Error {
        process::reset_all();
        if let Err(error) = self.confine() {
            return error;
        }
        let error = process::execute(&self.path, &self.arguments, &self.environment);
        let failed: Result<Infallible, Error> =
            Err(error).step(|| format!("exec {}", self.path.to_string_lossy()));
        match failed {
            Err(error) => error,
        }
    }
}

/// The environment with `HOME`; of a name that comes twice, the last counts.
pub(super) fn environment(process: &Process) -> Vec<String> {
    let name = |pair: &str| {
        pair.split_once('=')
            .map_or(pair, |(name, _)| name)
            .to_owned()
    };
    let mut last = HashMap::new();
    for (index, pair) in process.env.iter().enumerate() {
        last.insert(name(pair), index);
    }
    let mut environment: Vec<String> = process
        .env
        .iter()
        .enumerate()
        .filter(|(index, pair)| pair.contains('=') && last.get(&name(pair)) == Some(index))
        .map(|(_, pair)| pair.clone())
        .collect();
    if !last.contains_key("HOME") || process.env.iter().any(|pair| pair == "HOME=") {
        environment.retain(|pair| pair != "HOME=");
        environment.push(format!("HOME={}", home(process.user.uid)));
    }
    environment
}

/// The container's own passwd(5), if that is a plain file: no pipe that nobody writes to, and nothing of
/// the host behind a link of procfs.
fn passwd() -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let file = openat2(CWD, "/etc/passwd", flags, Mode::empty(), resolve)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if kind == FileType::RegularFile {
        Ok(File::from(file))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// The most bytes of a passwd(5) that are read.
const MAX_PASSWD: u64 = 16 * 1024 * 1024;

/// The home directory of a user by the container's own passwd(5).
fn home(uid: u32) -> String {
    let uid = uid.to_string();
    let Ok(file) = passwd() else {
        return "/".to_owned();
    };
    let lines = io::BufReader::new(file.take(MAX_PASSWD))
        .lines()
        .map_while(Result::ok)
        .take(100_000);
    let fields = lines.map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    let mut homes = fields
        .filter(|fields| fields.get(2) == Some(&uid))
        .filter_map(|fields| fields.get(5).cloned());
    homes
        .next()
        .filter(|home| !home.is_empty())
        .unwrap_or_else(|| "/".to_owned())
}

/// Where a program is, and when it is nowhere, why, in Go's words.
pub(super) fn look_up(name: &str, path: &str) -> Result<String, Error> {
    if name.contains('/') {
        return match check(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(Unusable::Missing(error)) => Err(io::Error::from(error))
                .step(|| format!("stat {name}"))
                .step(|| format!("exec: {name:?}")),
            Err(Unusable::Directory) => Err(said(format!("exec: {name:?}: is a directory"))),
            Err(Unusable::Denied) => Err(said(format!("exec: {name:?}: permission denied"))),
        };
    }
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{}/{name}", directory.trim_end_matches('/'));
        if check(&candidate).is_ok() {
            if !directory.starts_with('/') {
                return Err(said(format!(
                    "exec: {name:?}: cannot run executable found relative to current directory"
                )));
            }
            return Ok(candidate);
        }
    }
    Err(said(format!(
        "exec: {name:?}: executable file not found in $PATH"
    )))
}

enum Unusable {
    Missing(rustix::io::Errno),
    Directory,
    Denied,
}

fn check(path: &str) -> Result<(), Unusable> {
    let stat = stat(path).map_err(Unusable::Missing)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Unusable::Directory);
    }
    let executable = stat.st_mode & 0o111 != 0;
    let allowed = accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS);
    // faccessat2 is younger than some seccomp profiles: then the permission bits must do.
    let allowed = matches!(
        allowed,
        Ok(()) | Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM)
    );
    if executable && allowed {
        Ok(())
    } else {
        Err(Unusable::Denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_in_gos_words() {
        let text = |name, path| chain(&look_up(name, path).expect_err("missing"));
        assert_eq!(
            text("nosuch", "/bin"),
            "exec: \"nosuch\": executable file not found in $PATH"
        );
        assert_eq!(
            text("/nosuch", ""),
            "exec: \"/nosuch\": stat /nosuch: no such file or directory"
        );
        assert_eq!(text("/etc", ""), "exec: \"/etc\": is a directory");
        assert_eq!(
            text("/etc/passwd", ""),
            "exec: \"/etc/passwd\": permission denied"
        );
        assert_eq!(look_up("sh", "/nosuch:/bin").expect("found"), "/bin/sh");
    }

    #[test]
    fn of_a_variable_set_twice_the_last_counts() {
        let process = Process {
            env: vec!["A=1".into(), "HOME=/x".into(), "A=2".into(), "bad".into()],
            ..Process::default()
        };
        assert_eq!(environment(&process), ["HOME=/x", "A=2"]);
    }
}
