//! `--ssh`: agents that steps talk to, and keys that get an agent for the build.

use crate::failure::Failure;
use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Sockets of agents, by id.
#[derive(Debug, Default)]
pub(super) struct Agents {
    sockets: BTreeMap<String, PathBuf>,
    /// Those that are ours.
    own: Vec<KeyAgent>,
}

impl Agents {
    /// `default`, `id=socket`, `id=key,key`.
    ///
    /// # Errors
    /// In the words of BuildKit's clients.
    pub(super) fn read(typed: &[String]) -> Result<Self, Failure> {
        let mut agents = Self::default();
        for text in typed {
            let (id, paths) = text.split_once('=').unwrap_or((text, ""));
            let paths: Vec<PathBuf> = paths
                .split(',')
                .filter(|path| !path.is_empty())
                .map(PathBuf::from)
                .collect();
            let socket = match paths.as_slice() {
                [] => environment()?,
                [socket] if is_socket(socket) => socket.clone(),
                keys => {
                    let agent = KeyAgent::start(keys)?;
                    let socket = agent.socket.clone();
                    agents.own.push(agent);
                    socket
                }
            };
            agents.sockets.insert(id.to_owned(), socket);
        }
        Ok(agents)
    }

    pub(super) fn get(&self, id: &str) -> Option<&PathBuf> {
        self.sockets.get(id)
    }
}

fn environment() -> Result<PathBuf, Failure> {
    let set = env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
    let path: PathBuf = set
        .ok_or_else(|| {
            Failure::new("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
        })?
        .into();
    match is_socket(&path) {
        true => Ok(path),
        false => {
            let path = path.display();
            Err(Failure::new(format!("{path} is no socket of an agent")))
        }
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// OpenSSH's agent with some keys; it ends with us, whatever ends us: it lives as long as a program of its own that
/// reads from us.
#[derive(Debug)]
struct KeyAgent {
    child: Child,
    socket: PathBuf,
    _directory: super::context::Scratch,
}

/// What the agent runs. The keys' passphrases are asked for at the terminal. Without the last command the agent would see
/// only within ten seconds that its program has ended.
const SCRIPT: &str =
    "ssh-add -q \"$@\" </dev/null >&2 && echo ready && cat; kill \"$SSH_AGENT_PID\"";

impl KeyAgent {
    fn start(keys: &[PathBuf]) -> Result<Self, Failure> {
        for key in keys {
            if is_socket(key) {
                return Err(Failure::new("only single socket allowed"));
            }
            fs_err::metadata(key)
                .map_err(|error| Failure::new(format!("failed to open ssh key: {error}")))?;
        }
        let directory = super::context::Scratch::new()?;
        let socket = directory.path().join("agent");
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new(format!("could not start an agent for the keys: {why}"))
        };
        let mut child = Command::new("ssh-agent")
            .arg("-a")
            .arg(&socket)
            .args(["sh", "-c", SCRIPT, "sh"])
            // A path that looks like a flag is none.
            .args(keys.iter().map(|key| Path::new(".").join(key)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&format!("ssh-agent: {error}")))?;
        let mut line = String::new();
        let read = match child.stdout.take() {
            Some(out) => BufReader::new(out).read_line(&mut line),
            None => Ok(0),
        };
        let agent = Self {
            child,
            socket,
            _directory: directory,
        };
        match read {
            Ok(_) if line == "ready\n" => Ok(agent),
            Ok(_) => Err(failed(&"ssh-add did not take them")),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        // Its program ends with its input, and the agent with that.
        drop(self.child.stdin.take());
        // There is nobody left to tell.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_keys_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let typed = format!("a={}", socket.display());
        let found = Agents::read(std::slice::from_ref(&typed)).unwrap();
        assert_eq!(found.get("a"), Some(&socket));
        assert_eq!(found.get("b"), None);
        let several = format!("{typed},{}", socket.display());
        for (bad, text) in [
            ("a=/nowhere/key", "failed to open ssh key"),
            (several.as_str(), "only single socket"),
        ] {
            let error = Agents::read(&[bad.to_owned()]).unwrap_err();
            let error = error.message().unwrap_or_default();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_key_gets_an_agent_that_ends_with_us() {
        if Command::new("ssh-agent").arg("-?").output().is_err() {
            println!("skipped: there is no ssh-agent");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "a-key", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let agents = Agents::read(&[format!("k={}", key.display())]).unwrap();
        let socket = agents.get("k").unwrap().clone();
        let listed = Command::new("ssh-add")
            .arg("-l")
            .env("SSH_AUTH_SOCK", &socket)
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&listed.stdout).contains("a-key"));
        drop(agents);
        assert!(std::os::unix::net::UnixStream::connect(&socket).is_err());
        fs_err::write(&key, "no key").unwrap();
        assert!(Agents::read(&[format!("k={}", key.display())]).is_err());
    }
}
