//! The two command lines, driven as a person drives them.

use crate::command::{Finished, run};
use crate::daemon::Daemon;
use crate::host::reference;
use std::process::Command;

/// Which command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Hull's own.
    Hull,
    /// The real `docker`, unmodified.
    Docker,
}

impl Client {
    /// Those that are installed: Hull's always, Docker's where it is; on the reference only Docker's.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut clients = if reference().is_some() {
            Vec::new()
        } else {
            vec![Self::Hull]
        };
        if crate::can_run("the docker client", crate::command::exists("docker")) {
            clients.push(Self::Docker);
        }
        clients
    }

    /// Whether it is Hull's own.
    #[must_use]
    pub fn is_own(self) -> bool {
        self == Self::Hull
    }

    /// A command of this client for `daemon`, without arguments.
    #[must_use]
    pub fn command(self, daemon: &Daemon<'_>) -> Command {
        let mut command = match self {
            Self::Hull => Command::new(crate::binaries().join("hull")),
            Self::Docker => Command::new("docker"),
        };
        command
            .env("DOCKER_HOST", daemon.address())
            .env("DOCKER_CONFIG", daemon.path("client"));
        command.env_remove("HULL_HOST");
        command
    }

    /// Runs one command to its end.
    #[must_use]
    pub fn run(self, daemon: &Daemon<'_>, arguments: &[&str]) -> Finished {
        run(self.command(daemon).args(arguments), &[])
    }

    /// Runs one command with something on its standard input.
    #[must_use]
    pub fn feed(self, daemon: &Daemon<'_>, arguments: &[&str], input: &[u8]) -> Finished {
        run(self.command(daemon).args(arguments), input)
    }

    /// Runs one command on a terminal. Each step waits until the screen has received its first text
    /// since the step before, then types its second. Gives all that the screen received.
    ///
    /// # Panics
    /// When an awaited text does not come.
    #[must_use]
    pub fn converse(
        self,
        daemon: &Daemon<'_>,
        arguments: &[&str],
        steps: &[(&str, &str)],
    ) -> Finished {
        let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
        let inner = self.command(daemon);
        let mut line = quoted(&inner.get_program().to_string_lossy());
        for word in arguments {
            line.push(' ');
            line.push_str(&quoted(word));
        }
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("TERM", "xterm");
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        crate::command::converse(&mut command, steps)
    }
}
