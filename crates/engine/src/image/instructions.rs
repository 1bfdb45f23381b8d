//! Dockerfile instructions that change an image's config: `--change` of `commit` and `import`.
//!
//! Lines are read as dockerd's builder reads them, by its own small rules: a name, then words or a
//! JSON list; in some of them `$name` stands for a variable of the image's environment.

mod lines;
mod words;

use crate::container::Port;
use crate::{Error, ErrorKind, Result};
use hull_spec::image::{ContainerConfig, Empty, Healthcheck};
use lines::Line;

/// What these lines may be, as in Docker.
const ALLOWED: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text)
}

/// Applies changes, each of which may be several lines, to a config.
///
/// # Errors
/// `InvalidInput` in dockerd's words.
pub(crate) fn apply(config: &mut ContainerConfig, changes: &[String]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let lines = lines::parse(&changes.join("\n"));
    if lines.is_empty() {
        return Err(invalid("file with no instructions"));
    }
    if let Some(line) = lines.iter().find(|l| !ALLOWED.contains(&l.name.as_str())) {
        return Err(invalid(format!(
            "{} is not a valid change command",
            line.name
        )));
    }
    // An entrypoint silences the command that was there before all of these.
    let mut change = Change {
        config,
        cmd_set: false,
    };
    lines.iter().try_for_each(|line| change.one(line))
}

struct Change<'c> {
    config: &'c mut ContainerConfig,
    cmd_set: bool,
}

impl Change<'_> {
    fn one(&mut self, line: &Line) -> Result<()> {
        match line.name.as_str() {
            "CMD" => {
                self.config.cmd = Some(self.command(line));
                self.cmd_set = true;
            }
            "ENTRYPOINT" => {
                self.config.entrypoint = match line.list() {
                    Some(words) if words.is_empty() => None,
                    _ => Some(self.command(line)),
                };
                if !self.cmd_set {
                    self.config.cmd = None;
                }
            }
            "ENV" => self.env(line)?,
            "EXPOSE" => self.expose(line)?,
            "HEALTHCHECK" => self.config.healthcheck = Some(healthcheck(line)?),
            "LABEL" => self.label(line)?,
            "ONBUILD" => self.on_build(line)?,
            "STOPSIGNAL" => self.stop_signal(line)?,
            "USER" => self.config.user = self.only(line)?,
            "VOLUME" => self.volume(line)?,
            _ => self.working_dir(line)?,
        }
        Ok(())
    }

    /// A JSON list as it is; anything else is for the shell.
    fn command(&self, line: &Line) -> Vec<String> {
        if let Some(words) = line.list() {
            return words;
        }
        let shell = self
            .config
            .shell
            .clone()
            .unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
        let rest = line.rest.trim();
        let rest = (!rest.is_empty()).then(|| rest.to_owned());
        shell.into_iter().chain(rest).collect()
    }

    fn expand(&self, text: &str) -> Result<String> {
        let env = self.config.env.as_deref().unwrap_or_default();
        words::expand(text, env).map_err(invalid)
    }

    fn only(&self, line: &Line) -> Result<String> {
        match line.words().as_slice() {
            [] => Err(invalid(format!(
                "{} requires exactly one argument",
                line.name
            ))),
            [one] => self.expand(one),
            _ => self.expand(line.rest.trim()),
        }
    }

    fn pairs(&self, line: &Line) -> Result<Vec<(String, String)>> {
        let pairs = words::pairs(&line.rest)
            .map_err(|()| invalid(format!("{} must have two arguments", line.name)))?;
        if pairs.is_empty() {
            let text = format!("{} requires at least one argument", line.name);
            return Err(invalid(text));
        }
        let expanded = |(name, value): &(String, String)| {
            let name = self.expand(name)?;
            if name.is_empty() {
                return Err(invalid(format!("{} names can not be blank", line.name)));
            }
            Ok((name, self.expand(value)?))
        };
        pairs.iter().map(expanded).collect()
    }

    fn env(&mut self, line: &Line) -> Result<()> {
        for (name, value) in self.pairs(line)? {
            let env = self.config.env.get_or_insert_default();
            let variable = format!("{name}={value}");
            let of_name = |known: &&mut String| known.split('=').next() == Some(&name);
            match env.iter_mut().find(of_name) {
                Some(known) => *known = variable,
                None => env.push(variable),
            }
        }
        Ok(())
    }

    fn label(&mut self, line: &Line) -> Result<()> {
        let pairs = self.pairs(line)?;
        self.config.labels.get_or_insert_default().extend(pairs);
        Ok(())
    }

    fn expose(&mut self, line: &Line) -> Result<()> {
        let words = line.words();
        if words.is_empty() {
            return Err(invalid("EXPOSE requires at least one argument"));
        }
        for word in words {
            let expanded = self.expand(&word)?;
            for word in expanded.split_whitespace() {
                let ports = ports(word)?;
                let exposed = self.config.exposed_ports.get_or_insert_default();
                exposed.extend(
                    ports
                        .into_iter()
                        .map(|port| (format!("{}/{}", port.number, port.protocol), Empty {})),
                );
            }
        }
        Ok(())
    }

    fn on_build(&mut self, line: &Line) -> Result<()> {
        let trigger = line.rest.trim();
        let name = trigger.split_whitespace().next().unwrap_or_default();
        match name.to_uppercase().as_str() {
            "" => return Err(invalid("ONBUILD requires at least one argument")),
            "ONBUILD" => {
                let text = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed";
                return Err(invalid(text));
            }
            name @ ("MAINTAINER" | "FROM") => {
                return Err(invalid(format!(
                    "{name} isn't allowed as an ONBUILD trigger"
                )));
            }
            _ => {}
        }
        self.config
            .on_build
            .get_or_insert_default()
            .push(trigger.to_owned());
        Ok(())
    }

    fn stop_signal(&mut self, line: &Line) -> Result<()> {
        let signal = self.only(line)?;
        if crate::container::signal(&signal).is_err() {
            return Err(invalid(format!("invalid signal: {signal}")));
        }
        self.config.stop_signal = Some(signal);
        Ok(())
    }

    fn volume(&mut self, line: &Line) -> Result<()> {
        let words = line.list().unwrap_or_else(|| line.words());
        if words.is_empty() {
            return Err(invalid("VOLUME requires at least one argument"));
        }
        for word in words {
            let path = self.expand(&word)?;
            if path.trim().is_empty() {
                return Err(invalid("VOLUME specified can not be an empty string"));
            }
            let volumes = self.config.volumes.get_or_insert_default();
            volumes.insert(path, Empty {});
        }
        Ok(())
    }

    fn working_dir(&mut self, line: &Line) -> Result<()> {
        let path = self.only(line)?;
        let path = if path.starts_with('/') {
            path
        } else {
            format!("{}/{path}", self.config.working_dir)
        };
        self.config.working_dir = crate::container::clean(&path);
        Ok(())
    }
}

/// `8080`, `8080-8090`, each with `/protocol`.
fn ports(text: &str) -> Result<Vec<Port>> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    // What stands before a colon is for publishing, which an image cannot ask for.
    let numbers = numbers.rsplit(':').next().unwrap_or_default();
    let bad = || invalid(format!("Invalid containerPort: {numbers}"));
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(invalid(format!("Invalid proto: {protocol}")));
    }
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let first: u16 = first.parse().map_err(|_| bad())?;
    let last: u16 = last.parse().map_err(|_| bad())?;
    if first > last {
        return Err(bad());
    }
    let port = |number| Port {
        number,
        protocol: protocol.clone(),
    };
    Ok((first..=last).map(port).collect())
}

fn healthcheck(line: &Line) -> Result<Healthcheck> {
    let (flags, line) = line.flags();
    let mut words = line.rest.trim().splitn(2, char::is_whitespace);
    let kind = words.next().unwrap_or_default().to_uppercase();
    let rest = words.next().unwrap_or_default();
    let mut check = Healthcheck::default();
    match kind.as_str() {
        "" => return Err(invalid("HEALTHCHECK requires at least one argument")),
        "NONE" if rest.trim().is_empty() => check.test = Some(vec!["NONE".to_owned()]),
        "NONE" => return Err(invalid("HEALTHCHECK NONE takes no arguments")),
        "CMD" => {
            let command = Line::new("CMD", rest);
            let (kind, words) = match command.list() {
                Some(words) => ("CMD", words),
                None => ("CMD-SHELL", vec![rest.trim().to_owned()]),
            };
            if words.iter().all(String::is_empty) {
                return Err(invalid("Missing command after HEALTHCHECK CMD"));
            }
            let test = std::iter::once(kind.to_owned()).chain(words);
            check.test = Some(test.collect());
        }
        other => {
            let text = format!("Unknown type \"{other}\" in HEALTHCHECK (try CMD)");
            return Err(invalid(text));
        }
    }
    for (name, value) in flags {
        let duration = || {
            words::nanoseconds(&value)
                .filter(|time| *time >= 0)
                .ok_or_else(|| invalid(format!("time: invalid duration {value:?}")))
        };
        match name.as_str() {
            "interval" => check.interval = duration()?,
            "timeout" => check.timeout = duration()?,
            "start-period" => check.start_period = duration()?,
            "start-interval" => check.start_interval = duration()?,
            "retries" => {
                let retries = value.parse().ok().filter(|retries| *retries >= 0);
                let bad = || invalid(format!("--retries cannot be {value}"));
                check.retries = retries.ok_or_else(bad)?;
            }
            _ => return Err(invalid(format!("unknown flag: --{name}"))),
        }
    }
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &[&str]) -> Result<ContainerConfig> {
        let mut config = ContainerConfig {
            env: Some(vec!["A=B".to_owned()]),
            cmd: Some(vec!["old".to_owned()]),
            ..ContainerConfig::default()
        };
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        apply(&mut config, &changes).map(|()| config)
    }

    /// The results are those of dockerd 28.5 for the same changes.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn configs_become_what_dockerd_makes_of_them() {
        let json = |changes: &[&str]| serde_json::to_string(&applied(changes).unwrap()).unwrap();
        let base = r#"{"Env":["A=B"],"Cmd":["old"]"#;
        for (changes, expected) in [
            (
                vec!["CMD foo bar"],
                r#"{"Env":["A=B"],"Cmd":["/bin/sh","-c","foo bar"]}"#.to_owned(),
            ),
            (
                vec!["CMD"],
                r#"{"Env":["A=B"],"Cmd":["/bin/sh","-c"]}"#.to_owned(),
            ),
            (
                vec!["CMD x\nCMD [\"y\", \"z\"]"],
                r#"{"Env":["A=B"],"Cmd":["y","z"]}"#.to_owned(),
            ),
            (
                vec!["ENTRYPOINT a b"],
                r#"{"Env":["A=B"],"Entrypoint":["/bin/sh","-c","a b"]}"#.to_owned(),
            ),
            (
                vec!["ENV X=Y Z=1"],
                r#"{"Env":["A=B","X=Y","Z=1"],"Cmd":["old"]}"#.to_owned(),
            ),
            (
                vec!["ENV a b c"],
                r#"{"Env":["A=B","a=b c"],"Cmd":["old"]}"#.to_owned(),
            ),
            (
                vec!["ENV P=${A}x"],
                r#"{"Env":["A=B","P=Bx"],"Cmd":["old"]}"#.to_owned(),
            ),
            (
                vec!["LABEL \"a b\"=$A 'c'='$A'"],
                format!("{base},\"Labels\":{{\"a b\":\"B\",\"c\":\"$A\"}}}}"),
            ),
            (
                vec!["WORKDIR /abs", "WORKDIR rel"],
                format!("{base},\"WorkingDir\":\"/abs/rel\"}}"),
            ),
            (
                vec!["EXPOSE 80 90/udp"],
                r#"{"ExposedPorts":{"80/tcp":{},"90/udp":{}},"Env":["A=B"],"Cmd":["old"]}"#
                    .to_owned(),
            ),
            (
                vec!["VOLUME /a /b"],
                format!("{base},\"Volumes\":{{\"/a\":{{}},\"/b\":{{}}}}}}"),
            ),
            (
                vec!["VOLUME [\"/a\"]"],
                format!("{base},\"Volumes\":{{\"/a\":{{}}}}}}"),
            ),
            (
                vec!["# nothing\nuser  u"],
                r#"{"User":"u","Env":["A=B"],"Cmd":["old"]}"#.to_owned(),
            ),
            (
                vec!["STOPSIGNAL SIGHUP"],
                format!("{base},\"StopSignal\":\"SIGHUP\"}}"),
            ),
            (
                vec!["ONBUILD RUN x"],
                format!("{base},\"OnBuild\":[\"RUN x\"]}}"),
            ),
            (
                vec!["HEALTHCHECK --interval=5s --retries=2 CMD foo bar"],
                format!(
                    "{base},\"Healthcheck\":{{\"Test\":[\"CMD-SHELL\",\"foo bar\"],\"Interval\":5000000000,\"Retries\":2}}}}"
                ),
            ),
        ] {
            assert_eq!(json(&changes), expected, "{changes:?}");
        }
    }

    #[test]
    fn refusals_are_in_dockerds_words() {
        for (change, message) in [
            ("RUN x", "RUN is not a valid change command"),
            ("foo x", "FOO is not a valid change command"),
            ("SHELL [\"a\"]", "SHELL is not a valid change command"),
            ("ENV x", "ENV must have two arguments"),
            ("EXPOSE zz", "Invalid containerPort: zz"),
            ("STOPSIGNAL foo", "invalid signal: foo"),
            ("# comment", "file with no instructions"),
            (
                "ONBUILD ONBUILD RUN x",
                "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            ),
            ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ] {
            assert_eq!(applied(&[change]).unwrap_err().message(), message);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_change_makes_it_panic(change in "(CMD|ENV|LABEL|EXPOSE|HEALTHCHECK|VOLUME|USER) [\\PC]{0,40}") {
            let _ = applied(&[&change]);
        }
    }
}
