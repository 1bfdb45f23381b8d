//! Containers that ran and do not any more.

use super::facts::Facts;
use super::finding::Finding;
use super::{phrases, start};
use crate::format::bytes_size;

/// Names and meanings of signals (signal(7)) that end programs.
const SIGNALS: &[(i64, &str, &str)] = &[
    (1, "SIGHUP", "its terminal went away"),
    (2, "SIGINT", "it was interrupted, as with Ctrl-C"),
    (3, "SIGQUIT", "it was asked to quit"),
    (
        4,
        "SIGILL",
        "it has an instruction that this processor does not have",
    ),
    (6, "SIGABRT", "it gave up by itself"),
    (7, "SIGBUS", "memory behind a file was not there"),
    (8, "SIGFPE", "it divided by zero"),
    (9, "SIGKILL", "it was killed"),
    (11, "SIGSEGV", "it used memory that it does not have"),
    (13, "SIGPIPE", "who read its output went away"),
    (15, "SIGTERM", "it was asked to end"),
    (24, "SIGXCPU", "it used more time than its limit allows"),
    (
        25,
        "SIGXFSZ",
        "it wrote a larger file than its limit allows",
    ),
    (
        31,
        "SIGSYS",
        "its seccomp profile kills whoever makes a system call that it refuses",
    ),
];

fn signal(code: i64) -> Option<(i64, &'static str, &'static str)> {
    SIGNALS
        .iter()
        .copied()
        .find(|(number, ..)| number + 128 == code)
}

/// An exit code in words.
pub(super) fn code(code: i64) -> String {
    match (code, signal(code)) {
        (0, _) => "code 0: it says that all went well".to_owned(),
        (_, Some((_, name, meaning))) => format!("code {code}, {name}: {meaning}"),
        (126, _) => "code 126: a command is there and cannot be executed".to_owned(),
        (127, _) => "code 127: a command is not there".to_owned(),
        _ => format!("code {code}"),
    }
}

/// All that is known of why it ended.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let state = &facts.inspect.state;
    let mut found: Vec<Finding> = start::said(facts).into_iter().collect();
    if !state.error.is_empty() && !found.is_empty() {
        return found;
    }
    if state.oom_killed {
        found.push(memory(facts));
        return found;
    }
    let code = state.exit_code;
    match code {
        0 => found.push(well(facts)),
        _ if unstarted(facts) => found.extend(start::file(facts)),
        126 | 127 => found.push(no_command(facts, code)),
        _ => found.extend(by_signal(facts, code)),
    }
    if found.is_empty() || !matches!(code, 0 | 130 | 143) {
        found.extend(phrases::told(facts));
    }
    if found.is_empty() {
        let what = format!(
            "The program ended by itself and said so with {code}; what that means is its own matter."
        );
        let image = match facts.inspect.config.image.as_str() {
            "" => "IMAGE",
            image => image,
        };
        let by_hand = format!(
            "run it with a shell instead, and try by hand: hull run -it --entrypoint sh {image}"
        );
        found.push(
            Finding::new(what, "")
                .fix(its_log("its log tells more", facts))
                .fix(by_hand),
        );
    }
    found
}

/// Where its log is.
pub(super) fn its_log(what: &str, facts: &Facts) -> String {
    format!("{what}: hull logs {}", facts.name())
}

/// Whether the runtime could not execute the container's own program: it says so where the program would have written.
fn unstarted(facts: &Facts) -> bool {
    let Some(last) = facts.log.last() else {
        return false;
    };
    last.starts_with(&format!("exec {}: ", facts.inspect.path))
        || last.contains("exec user process caused")
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
fn memory(facts: &Facts) -> Finding {
    let limit = facts.inspect.host_config.memory;
    if limit == 0 {
        return Finding::new(
            "The kernel killed a process of it, for the machine had no memory left. It has no limit of its own.",
            "OOMKilled is true, and there is no -m",
        )
        .fix("give it a limit, so that it and nothing else pays: -m 512m")
        .fix("hull top shows which container uses most");
    }
    let more = bytes_size(2.0 * limit as f64)
        .replace("iB", "")
        .to_lowercase();
    Finding::new(
        "The kernel killed a process of it: together they needed more memory than its limit.",
        format!("OOMKilled is true, and -m is {}", bytes_size(limit as f64)),
    )
    .fix(format!(
        "more: hull update -m {more} --memory-swap {more} {}, and start it again",
        facts.name()
    ))
    .fix("or tell the program how much there is (as -Xmx, --max-old-space-size)")
}

fn well(facts: &Facts) -> Finding {
    let config = &facts.inspect.config;
    let program = facts.inspect.path.rsplit('/').next().unwrap_or_default();
    let shell =
        matches!(program, "sh" | "bash" | "ash" | "dash" | "zsh") && facts.inspect.args.is_empty();
    if shell && !config.open_stdin {
        return Finding::new(
            "It is a shell without input: it read its end at once, and was done.",
            "its standard input was not kept open",
        )
        .fix("for a shell to type into: -it")
        .fix("for a container that stays: a command that does, as sleep infinity");
    }
    let server = [
        "nginx",
        "httpd",
        "apachectl",
        "apache2",
        "service",
        "supervisord",
        "redis-server",
        "sshd",
    ];
    let line = format!("{program} {}", facts.inspect.args.join(" "));
    if let Some(server) = server.iter().find(|server| line.contains(*server)) {
        return Finding::new(
            format!("Its program ended, and with it the container: {server} may have gone on in the background."),
            "a container lives as long as its first process",
        )
        .fix("have it stay in the foreground: nginx -g 'daemon off;', httpd -DFOREGROUND, sshd -D");
    }
    Finding::new(
        "Its program did what it had to do and ended, and with it the container.",
        "a container lives as long as its first process",
    )
    .fix("if it should run again and again: --restart unless-stopped")
}

fn no_command(facts: &Facts, code: i64) -> Finding {
    let line = facts
        .log
        .iter()
        .rev()
        .find(|line| line.contains("not found") || line.to_lowercase().contains("denied"));
    let rule = line.map_or_else(String::new, |line| format!("its log says: {}", line.trim()));
    let what = match code {
        127 => "Its shell called a command that is not in the image.",
        _ => {
            "Its shell called a command that cannot be executed: it is no program, or has no x bit."
        }
    };
    Finding::new(what, rule).fix("install it in the image, or correct the script")
}

fn by_signal(facts: &Facts, code: i64) -> Option<Finding> {
    let (number, name, meaning) = signal(code)?;
    Some(match number {
        9 => killed(facts),
        15 | 2 | 3 | 1 => Finding::new(
            format!("It was asked to end ({name}), and did."),
            who(facts),
        ),
        31 => Finding::new(
            "It made a system call that its seccomp profile answers with death.",
            "SIGSYS comes of seccomp alone",
        )
        .fix("a profile that allows it: --security-opt seccomp=FILE.json"),
        4 => Finding::new("It was built for a newer processor than this one.", name).fix(
            "a build for the common ground (x86-64, x86-64-v2) instead of -march=native or v3",
        ),
        7 => phrases::shm(facts),
        _ => Finding::new(format!("It crashed: {meaning}."), name)
            .fix("that is an error of the program; a core or a debugger tells more: hull debug"),
    })
}

/// Who sent the last signal, by the daemon's events.
fn who(facts: &Facts) -> String {
    let kill = facts
        .events
        .iter()
        .rev()
        .find(|event| event.action == "kill");
    match kill {
        Some(event) => {
            let signal = event
                .actor
                .attributes
                .get("signal")
                .map_or("", String::as_str);
            format!("somebody asked the daemon to stop or kill it (signal {signal})")
        }
        None => {
            "nobody asked the daemon for it: it came from a program of the container or the host"
                .to_owned()
        }
    }
}

fn killed(facts: &Facts) -> Finding {
    let signals: Vec<&str> = facts
        .events
        .iter()
        .filter(|event| event.action == "kill")
        .filter_map(|event| event.actor.attributes.get("signal").map(String::as_str))
        .collect();
    let stopped = signals.len() > 1 && signals.last() == Some(&"9");
    if stopped {
        let name = facts.inspect.path.as_str();
        let shell =
            name.ends_with("sh") && facts.inspect.args.first().is_some_and(|word| word == "-c");
        let mut finding = Finding::new(
            "It was asked to stop, did not within its time, and was killed.",
            format!(
                "signal {} was sent first, then 9",
                signals[signals.len() - 2]
            ),
        );
        if shell {
            finding = finding.fix("its shell does not pass signals on: write CMD [\"program\", \"word\"], or exec program in the script");
        }
        return finding
            .fix("process 1 ignores signals it has no handler for: --init puts one before it that passes them on")
            .fix("another signal: --stop-signal INT; more time: --stop-timeout 60");
    }
    if signals.is_empty() {
        return Finding::new(
            "Something other than the daemon killed it.",
            "no kill was asked of the daemon, and its own limit of memory was not met",
        )
        .fix("was the machine out of memory? journalctl -k | grep -i 'out of memory'");
    }
    Finding::new("Somebody had it killed.", who(facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_api::event::{Actor, Event};

    fn facts(code: i64) -> Facts {
        let mut facts = Facts::default();
        facts.inspect.state.exit_code = code;
        facts.inspect.path = "/bin/sh".to_owned();
        facts.file = Some(super::super::facts::File {
            path: "/bin/sh".to_owned(),
            program: super::super::program::Program::Elf {
                machine: 62,
                loader: None,
            },
            helper: None,
            executable: true,
        });
        facts
    }

    fn kill(signal: &str) -> Event {
        Event {
            action: "kill".to_owned(),
            actor: Actor {
                attributes: [("signal".to_owned(), signal.to_owned())].into(),
                ..Actor::default()
            },
            ..Event::default()
        }
    }

    fn first(facts: &Facts) -> String {
        findings(facts)[0].what.clone()
    }

    #[test]
    fn ends_are_told_apart() {
        let mut memory = facts(137);
        memory.inspect.state.oom_killed = true;
        memory.inspect.host_config.memory = 64 << 20;
        let told = findings(&memory);
        assert_eq!(told[0].rule, "OOMKilled is true, and -m is 64MiB");
        assert!(told[0].fixes[0].contains("-m 128m"), "{told:?}");
        assert!(first(&facts(137)).contains("other than the daemon"));
        let mut stopped = facts(137);
        stopped.events = vec![kill("15"), kill("9")];
        assert!(first(&stopped).contains("asked to stop"));
        stopped.events.remove(0);
        assert!(first(&stopped).contains("had it killed"));
        assert!(first(&facts(0)).contains("a shell without input"));
        assert!(first(&facts(139)).contains("crashed"));
        assert!(first(&facts(3)).contains("said so with 3"));
        let mut script = facts(1);
        script.log = vec!["exec /bin/sh: no such file or directory".to_owned()];
        if let Some(file) = &mut script.file {
            file.program = super::super::program::Program::Unknown;
        }
        assert!(first(&script).contains("is no program"));
        let mut absent = facts(127);
        absent.log = vec!["a".to_owned(), "sh: foo: not found".to_owned()];
        assert!(findings(&absent)[0].rule.contains("foo: not found"));
    }

    #[test]
    fn codes_have_words() {
        assert_eq!(
            code(139),
            "code 139, SIGSEGV: it used memory that it does not have"
        );
        assert_eq!(code(3), "code 3");
    }
}
