//! Daemons behind `ssh`: each connection is the input and output of `docker system dial-stdio` there.

use crate::failure::Failure;
use hull_api::client::Dialer;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// `[user@]host[:port][/socket]`.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    user: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
    /// Where the daemon listens there.
    socket: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let (authority, socket) = match text.find('/') {
            Some(at) => (&text[..at], Some(&text[at..]).filter(|path| *path != "/")),
            None => (text, None),
        };
        let (user, rest) = match authority.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err("plain-text password is not supported".to_owned());
        }
        let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if is_port(port) => (host, Some(port)),
            _ => (rest, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // A host that begins with a dash would be an option of ssh.
        if host.is_empty() || host.starts_with('-') {
            return Err("no host specified".to_owned());
        }
        if user.is_some_and(|user| user.is_empty() || user.starts_with('-')) {
            return Err("no user specified".to_owned());
        }
        Ok(Self {
            user,
            host,
            port,
            socket,
        })
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["-o", "ConnectTimeout=30", "-T"].map(str::to_owned).into();
        // Questions cannot be answered from another process group than the terminal's; better to fail than to hang.
        if std::env::var_os("SSH_ASKPASS").is_none() {
            arguments.extend(["-o", "BatchMode=yes"].map(str::to_owned));
        }
        for (option, value) in [("-l", self.user), ("-p", self.port)] {
            if let Some(value) = value {
                arguments.extend([option.to_owned(), value.to_owned()]);
            }
        }
        arguments.extend(["--".to_owned(), self.host.to_owned(), self.remote()]);
        arguments
    }

    /// What the other end's shell runs.
    fn remote(&self) -> String {
        let host = self.socket.map_or(String::new(), |path| {
            format!(
                " --host '{}'",
                format!("unix://{path}").replace('\'', r"'\''")
            )
        });
        let docker = format!("docker{host} system dial-stdio");
        if crate::command::is_docker() {
            return docker;
        }
        format!(
            "if command -v hull >/dev/null 2>&1; then exec hull{host} system dial-stdio; else exec {docker}; fi"
        )
    }
}

/// Starts an `ssh` for each connection.
pub(super) fn dialer(place: &str) -> Result<Dialer, Failure> {
    let arguments = Place::parse(place)
        .map_err(|error| Failure::new(format!("invalid ssh URL ssh://{place}: {error}")))?
        .arguments();
    // They end with their connections; kept, so that those are not waited for before.
    let started: Mutex<Vec<Child>> = Mutex::default();
    Ok(Box::new(move || {
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let child = Command::new("ssh")
            .args(&arguments)
            // A Ctrl-C is for the command; it must not cut the connection that the command speaks through.
            .process_group(0)
            .stdin(Stdio::from(theirs.try_clone()?))
            .stdout(Stdio::from(theirs))
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    io::Error::other("ssh: executable file not found in $PATH")
                }
                _ => error,
            })?;
        let mut started = started.lock().unwrap_or_else(PoisonError::into_inner);
        started.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        started.push(child);
        Ok(ours)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_passed_on() {
        let place = Place::parse("u@h.example:2222/run/user/1/docker.sock").unwrap();
        assert_eq!(
            (place.user, place.host, place.port, place.socket),
            (
                Some("u"),
                "h.example",
                Some("2222"),
                Some("/run/user/1/docker.sock")
            )
        );
        let arguments = place.arguments().join(" ");
        assert!(
            arguments.contains("-l u -p 2222 -- h.example if command"),
            "{arguments}"
        );
        assert!(
            arguments.contains("hull --host 'unix:///run/user/1/docker.sock' system dial-stdio"),
            "{arguments}"
        );
        assert_eq!(Place::parse("[::1]:22").unwrap().host, "::1");
        assert_eq!(Place::parse("h/").unwrap().socket, None);
    }

    #[test]
    fn nothing_in_an_address_becomes_an_option_or_a_command() {
        for bad in ["-oProxyCommand=x", "u:secret@h", "", "@h", "-x@h", ":22"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
        let place = Place::parse("h/x';id;'").unwrap();
        assert!(place.remote().contains(r"'unix:///x'\'';id;'\'''"));
    }
}
