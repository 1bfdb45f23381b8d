//! `hull debug`: a shell with tools beside a container that has none.
//!
//! ```text
//! it runs         a container of the tools' image in its process, network and IPC namespaces;
//!                 its files are at /target, a link to /proc/PID/root: what is mounted in it is there, too
//! it does not     what it has written becomes an image for as long as this lasts, mounted at /target
//! ```
//!
//! Docker's engine can do all of that, so it works with dockerd as well.

use super::run::run_words;
use crate::command::{Arity, Command};
use crate::context::Cli;
use crate::failure::Outcome;
use crate::flags::{Flag, Matches, flag, value};
use hull_api::client::CommitOptions;
use hull_api::container::Inspect;

static FLAGS: &[Flag] = &[
    value("image", "string", "Image with the tools").default("\"busybox\""),
    flag("privileged", "Give all privileges to the shell"),
    value(
        "user",
        "string",
        "User to run as (name or uid, and a group after a colon)",
    )
    .short('u'),
];

pub(crate) static COMMAND: Command = Command {
    words: &["container debug", "debug"],
    usage: "[OPTIONS] CONTAINER [COMMAND] [ARG...]",
    about: "Run a shell with tools beside a container, with its processes, network and files",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    interspersed: false,
    run,
};

/// The label of such shells: whom they are beside.
pub(super) const LABEL: &str = "hull.debug";

/// Where the files are seen.
const TARGET: &str = "/target";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let inspect = cli.block_on(client.container(&matches.args[0]))?;
    let mut words = common(matches, &inspect);
    if inspect.state.running && !inspect.state.paused {
        words.extend(joined(&inspect));
        words.push(image(matches));
        words.extend(script(&root(&inspect), &matches.args[1..]));
        return run_words(cli, &words);
    }
    let tag = inspect.id.get(..12).unwrap_or(&inspect.id).to_owned();
    let name = format!("hull-debug:{tag}");
    let options = CommitOptions {
        container: inspect.id.clone(),
        repository: "hull-debug".to_owned(),
        tag,
        ..CommitOptions::default()
    };
    cli.block_on(client.commit(&options))?;
    words.extend(["--network", "none"].map(str::to_owned));
    words.push("--mount".to_owned());
    words.push(format!("type=image,source={name},target={TARGET}"));
    words.push(image(matches));
    words.extend(script(TARGET, &matches.args[1..]));
    let outcome = run_words(cli, &words);
    // Another such shell may use it still: the last one to end removes it.
    let _ = cli.block_on(client.remove_image(&name, false, false, &[]));
    outcome
}

fn image(matches: &Matches) -> String {
    match matches.text("image") {
        "" => "busybox".to_owned(),
        image => image.to_owned(),
    }
}

/// Words that every such container has.
fn common(matches: &Matches, inspect: &Inspect) -> Vec<String> {
    let mut words = vec![
        "--rm".to_owned(),
        "--interactive".to_owned(),
        "--entrypoint".to_owned(),
        String::new(),
        "--label".to_owned(),
        format!("{LABEL}={}", inspect.name.trim_start_matches('/')),
    ];
    if crate::terminal::stdin_is_terminal() && crate::terminal::stdout_is_terminal() {
        words.push("--tty".to_owned());
    }
    if matches.bool("privileged") {
        words.push("--privileged".to_owned());
    }
    let user = matches.text("user");
    if !user.is_empty() {
        words.extend(["--user".to_owned(), user.to_owned()]);
    }
    words
}

/// Words for the namespaces of a container that runs.
fn joined(inspect: &Inspect) -> Vec<String> {
    let host = &inspect.host_config;
    let its = format!("container:{}", inspect.id);
    let mode = |mode: &str| {
        if mode == "host" {
            "host".to_owned()
        } else {
            its.clone()
        }
    };
    let mut words = vec![
        "--pid".to_owned(),
        mode(&host.pid_mode),
        "--network".to_owned(),
        mode(&host.network_mode),
        // To see its files, and to trace its processes.
        "--cap-add".to_owned(),
        "SYS_PTRACE".to_owned(),
    ];
    // Others' shared memory is its own matter, unless it says so.
    if host.ipc_mode == "shareable" || host.ipc_mode == "host" {
        words.extend(["--ipc".to_owned(), mode(&host.ipc_mode)]);
    }
    words
}

/// Where the files of its first process are, as its process namespace counts.
fn root(inspect: &Inspect) -> String {
    let pid = inspect.state.pid;
    let seen = match inspect.host_config.pid_mode.as_str() {
        "" | "private" => 1,
        "host" => pid,
        // In another's namespace: the last of its numbers (proc_pid_status(5), NSpid).
        _ => inner_pid(pid).unwrap_or(1),
    };
    format!("/proc/{seen}/root")
}

fn inner_pid(pid: i64) -> Option<i64> {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().next_back()?.parse().ok()
}

/// What is run: first the way to the files is made.
fn script(root: &str, command: &[String]) -> Vec<String> {
    let link = match root {
        TARGET => String::new(),
        root => format!("ln -s {root} {TARGET}; "),
    };
    let begin = format!(
        "{link}cd {TARGET}/ || echo 'its files cannot be seen' >&2; [ $# -gt 0 ] && exec \"$@\"; exec sh"
    );
    let mut words = ["sh", "-c", begin.as_str(), "sh"]
        .map(str::to_owned)
        .to_vec();
    words.extend(command.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_process_is_found_in_its_namespace() {
        let mut inspect = Inspect::default();
        inspect.state.pid = 4711;
        for (mode, wanted) in [("", "/proc/1/root"), ("host", "/proc/4711/root")] {
            inspect.host_config.pid_mode = mode.to_owned();
            assert_eq!(root(&inspect), wanted);
        }
        let own = i64::from(std::process::id());
        assert!(inner_pid(own).is_some() && inner_pid(-1).is_none());
    }

    #[test]
    fn namespaces_are_joined_and_the_hosts_stay_the_hosts() {
        let mut inspect = Inspect {
            id: "x".to_owned(),
            ..Inspect::default()
        };
        inspect.host_config.network_mode = "host".to_owned();
        inspect.host_config.ipc_mode = "private".to_owned();
        let words = joined(&inspect).join(" ");
        assert_eq!(
            words,
            "--pid container:x --network host --cap-add SYS_PTRACE"
        );
    }
}
