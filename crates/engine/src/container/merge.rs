//! Request and image, put together as Docker does.

use super::record::Effective;
use super::{Config, HealthCheck};
use crate::container::{Mount, MountKind, NetworkMode, Port};
use crate::{Error, ErrorKind, Result};
use hull_spec::image::ContainerConfig;
use std::collections::BTreeSet;

/// Docker's search path, for images that set none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

/// What will run.
///
/// # Errors
/// Docker's complaints: nothing to run, a relative working directory.
pub(super) fn effective(config: &Config, image: &ContainerConfig, id: &str) -> Result<Effective> {
    let (entrypoint, cmd) = command(config, image);
    let args: Vec<String> = entrypoint
        .iter()
        .chain(cmd.iter())
        .flatten()
        .cloned()
        .collect();
    if args.is_empty() {
        return Err(invalid("no command specified"));
    }
    let working_dir = if config.working_dir.is_empty() {
        &image.working_dir
    } else {
        &config.working_dir
    };
    if !working_dir.is_empty() && !working_dir.starts_with('/') {
        return Err(invalid(format!(
            "the working directory '{working_dir}' is invalid, it needs to be an absolute path"
        )));
    }
    let mut labels = image.labels.clone().unwrap_or_default();
    labels.extend(config.labels.clone());
    let mut exposed_ports: BTreeSet<Port> = image
        .exposed_ports
        .iter()
        .flatten()
        .filter_map(|(text, _)| port(text))
        .collect();
    exposed_ports.extend(config.exposed_ports.iter().cloned());
    Ok(Effective {
        args,
        entrypoint,
        cmd,
        env: environment(config, image)?,
        // Empty where nobody said anything: inspect shows it so, and the process starts at the root.
        working_dir: if working_dir.is_empty() {
            String::new()
        } else {
            clean(working_dir)
        },
        user: or(&config.user, &image.user),
        hostname: hostname(config, id),
        labels,
        exposed_ports,
        volumes: image
            .volumes
            .iter()
            .flatten()
            .map(|(path, _)| path.clone())
            .chain(config.volumes.iter().cloned())
            .collect(),
        stop_signal: config
            .stop_signal
            .clone()
            .or_else(|| image.stop_signal.clone()),
        runtime: String::new(),
        health_check: HealthCheck::merged(config.health_check.as_ref(), image.healthcheck.as_ref()),
        shell: config.shell.clone().or_else(|| image.shell.clone()),
    })
}

/// What was asked for, unless it is empty.
fn or(asked: &str, image: &str) -> String {
    if asked.is_empty() { image } else { asked }.to_owned()
}

/// An entrypoint of the request silences the image's command.
fn command(config: &Config, image: &ContainerConfig) -> (Option<Vec<String>>, Option<Vec<String>>) {
    // An empty list of words is as good as none; an empty entrypoint is none at all.
    let cmd = config.cmd.clone().filter(|words| !words.is_empty());
    match &config.entrypoint {
        Some(words) if words.is_empty() => (None, cmd.or_else(|| image.cmd.clone())),
        Some(words) if *words == [String::new()] => (None, cmd),
        Some(words) => (Some(words.clone()), cmd),
        None => (image.entrypoint.clone(), cmd.or_else(|| image.cmd.clone())),
    }
}

fn hostname(config: &Config, id: &str) -> String {
    match &config.hostname {
        Some(name) => name.clone(),
        None if config.network == NetworkMode::Host || config.host_uts => {
            crate::system::host_name()
        }
        None => id[..12].to_owned(),
    }
}

/// The request's variables as they were given, then those of the image that it does not replace; one without
/// `=` removes the image's, and is no process's.
fn environment(config: &Config, image: &ContainerConfig) -> Result<Vec<String>> {
    let nameless = |variable: &&String| variable.is_empty() || variable.starts_with('=');
    if let Some(variable) = config.env.iter().find(nameless) {
        return Err(invalid(format!("invalid environment variable: {variable}")));
    }
    let given: BTreeSet<&str> = config.env.iter().map(|own| name_of(own)).collect();
    let inherited = image.env.iter().flatten();
    let inherited = inherited.filter(|variable| !given.contains(name_of(variable)));
    Ok(config.env.iter().chain(inherited).cloned().collect())
}

/// What stands before the `=` of a variable.
fn name_of(variable: &str) -> &str {
    variable.split('=').next().unwrap_or_default()
}

/// Of variables with one name the last, at its place.
fn last_of_each(variables: &[String]) -> Vec<&String> {
    let mut seen = BTreeSet::new();
    let mut left: Vec<&String> = variables
        .iter()
        .rev()
        .filter(|variable| seen.insert(name_of(variable)))
        .collect();
    left.reverse();
    left
}

/// `80/tcp`; without a protocol it is TCP.
fn port(text: &str) -> Option<Port> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    Some(Port {
        number: number.parse().ok()?,
        protocol: protocol.to_owned(),
    })
}

/// An absolute path without `.`, `..` and doubled slashes; empty becomes `/`.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// What every process of the container sees besides [`Effective::env`]: first what Docker puts
/// before, with the container's own variables over it; of those with one name the last.
pub(super) fn process_environment(effective: &Effective, tty: bool, home: &str) -> Vec<String> {
    let own = last_of_each(&effective.env);
    let known: BTreeSet<&str> = own.iter().map(|variable| name_of(variable)).collect();
    let mut env = Vec::new();
    let mut add = |name: &str, value: &str| {
        if !known.contains(name) {
            env.push(format!("{name}={value}"));
        }
    };
    add("HOSTNAME", &effective.hostname);
    if tty {
        add("TERM", "xterm");
    }
    let is_path = |v: &&&String| v.starts_with("PATH=");
    let path = own.iter().find(is_path);
    let rest = own.iter().filter(|v| !is_path(v) && v.contains('='));
    let mut all: Vec<String> = match path {
        Some(path) => vec![(*path).clone()],
        None if known.contains("PATH") => Vec::new(),
        None => vec![PATH.to_owned()],
    };
    all.append(&mut env);
    all.extend(rest.map(|variable| (*variable).clone()));
    if !known.contains("HOME") {
        all.push(format!("HOME={home}"));
    }
    all
}

/// Checks what does not depend on the host. The texts are dockerd's.
pub(super) fn check(config: &Config) -> Result<()> {
    if let Some(signal) = &config.stop_signal {
        super::kill::parse(signal)?;
    }
    if let Some(hostname) = &config.hostname
        && (hostname.len() > 64 || hostname.contains(|c: char| c == '/' || c < ' '))
    {
        return Err(invalid(format!("invalid hostname format: {hostname}")));
    }
    check_mounts(&config.mounts)
}

fn check_mounts(mounts: &[Mount]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for mount in mounts {
        let target = mount.target.to_string_lossy();
        if !target.starts_with('/') {
            let text = format!(
                "invalid mount config for type \"bind\": invalid mount path: '{target}' mount path must be absolute"
            );
            return Err(invalid(text));
        }
        let target = clean(&target);
        if target == "/" {
            return Err(invalid("invalid specification: destination can't be '/'"));
        }
        if !seen.insert(target.clone()) {
            return Err(invalid(format!("Duplicate mount point: {target}")));
        }
        if let MountKind::Bind(bind) = &mount.kind
            && !bind.source.is_absolute()
        {
            return Err(invalid(format!(
                "invalid mount path: '{}' mount path must be absolute",
                bind.source.display()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ContainerConfig {
        ContainerConfig {
            entrypoint: Some(vec!["entry".to_owned()]),
            cmd: Some(vec!["cmd".to_owned()]),
            env: Some(vec!["A=1".to_owned(), "B=2".to_owned()]),
            working_dir: "/srv".to_owned(),
            ..ContainerConfig::default()
        }
    }

    fn with(change: impl FnOnce(&mut Config)) -> Result<Effective> {
        let mut config = Config::default();
        change(&mut config);
        effective(&config, &image(), &"a".repeat(64))
    }

    #[test]
    fn commands_merge_as_dockers() {
        assert_eq!(with(|_| {}).unwrap().args, ["entry", "cmd"]);
        assert_eq!(
            with(|c| c.cmd = Some(vec!["x".to_owned()])).unwrap().args,
            ["entry", "x"]
        );
        assert_eq!(
            with(|c| c.entrypoint = Some(vec!["e".to_owned()]))
                .unwrap()
                .args,
            ["e"]
        );
        assert_eq!(
            with(|c| (c.entrypoint, c.cmd) = (Some(vec![]), Some(vec![])))
                .unwrap()
                .args,
            ["cmd"]
        );
        let none = with(|c| c.entrypoint = Some(vec![String::new()])).unwrap_err();
        assert_eq!(none.message(), "no command specified");
    }

    #[test]
    fn variables_are_replaced_and_removed() {
        let env = with(|c| c.env = vec!["A=9".to_owned(), "B".to_owned(), "C=3".to_owned()])
            .unwrap()
            .env;
        assert_eq!(env, ["A=9", "B", "C=3"]);
        let twice = with(|c| c.env = ["A=1", "D=0", "A=2"].map(str::to_owned).to_vec()).unwrap();
        assert_eq!(twice.env, ["A=1", "D=0", "A=2", "B=2"]);
        let env = process_environment(&twice, false, "/root");
        assert_eq!(env[2..], ["D=0", "A=2", "B=2", "HOME=/root"]);
        let effective = with(|c| c.env = vec!["A".to_owned(), "PATH".to_owned()]).unwrap();
        let env = process_environment(&effective, false, "/root");
        assert_eq!(env, ["HOSTNAME=aaaaaaaaaaaa", "B=2", "HOME=/root"]);
        let inherited = with(|_| {}).unwrap().env;
        assert!(
            !inherited.is_empty() && !inherited.contains(&PATH.to_owned()),
            "{inherited:?}"
        );
        assert!(with(|c| c.env = vec!["=x".to_owned()]).is_err());
    }

    #[test]
    fn names_and_directories() {
        let plain = with(|_| {}).unwrap();
        assert_eq!(
            (plain.hostname.as_str(), plain.working_dir.as_str()),
            ("aaaaaaaaaaaa", "/srv")
        );
        assert_eq!(
            with(|c| c.working_dir = "/a/../b//./c".to_owned())
                .unwrap()
                .working_dir,
            "/b/c"
        );
        assert!(with(|c| c.working_dir = "a".to_owned()).is_err());
    }

    #[test]
    fn signals_are_checked_in_dockers_words() {
        let config = Config {
            stop_signal: Some("NOPE".to_owned()),
            ..Config::default()
        };
        let error = check(&config).unwrap_err();
        assert_eq!(error.message(), "invalid signal: NOPE");
    }
}
